//! Tables as other commands read them: JSON lines or TSV.

use std::path::Path;

use serde_json::Value;

use super::{Format, format_of};
use crate::data::DataError;

/// The bytes of a table for the file `path`: JSON lines, or TSV, in whose texts tabs and line breaks become spaces.
///
/// # Errors
/// The extension names neither.
///
/// ```
/// use nearkin::text::table::table_bytes;
/// let rows = [["a\tb".into(), 1.into()]];
/// let bytes = table_bytes("t.tsv".as_ref(), &["text", "label"], rows.map(Vec::from))?;
/// assert_eq!(bytes, b"text\tlabel\na b\t1\n");
/// # Ok::<(), nearkin::data::DataError>(())
/// ```
pub fn table_bytes(
    path: &Path,
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<Value>>,
) -> Result<Vec<u8>, DataError> {
    let mut text = String::new();
    match format_of(path) {
        Some(Format::Jsonl) => {
            for row in rows {
                let row = columns.iter().map(|name| (*name).to_owned()).zip(row);
                text += &Value::Object(row.collect()).to_string();
                text.push('\n');
            }
        }
        Some(Format::Tsv) => {
            text = columns.join("\t") + "\n";
            for row in rows {
                let fields: Vec<String> = row.iter().map(field).collect();
                text += &fields.join("\t");
                text.push('\n');
            }
        }
        _ => {
            return Err(DataError::UnknownFormat {
                path: path.to_owned(),
                expected: "jsonl or tsv",
            });
        }
    }
    Ok(text.into_bytes())
}

fn field(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(['\t', '\n', '\r'], " "),
        other => other.to_string(),
    }
}
