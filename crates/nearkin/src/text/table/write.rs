//! Tables as other commands read them: JSON lines, TSV or CSV.

use std::path::Path;

use serde_json::Value;

use super::{Format, format_of};
use crate::data::DataError;

/// The bytes of a table for the file `path`: JSON lines; CSV; or TSV, in whose texts tabs and line breaks become spaces. What is
/// null is an empty field.
///
/// # Errors
/// The extension names none of them.
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
        Some(Format::Csv) => {
            return Ok(csv_bytes(columns, rows)?);
        }
        _ => {
            return Err(DataError::UnknownFormat {
                path: path.to_owned(),
                expected: "jsonl, tsv or csv",
            });
        }
    }
    Ok(text.into_bytes())
}

fn field(value: &Value) -> String {
    plain(value).replace(['\t', '\n', '\r'], " ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn csv_bytes(
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<Value>>,
) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row.iter().map(plain))?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_null_is_empty() {
        let rows = || [vec![Value::Null, "a,\"b\"\n".into(), 1.into()]];
        let bytes = |path: &str| table_bytes(path.as_ref(), &["x", "y z", "n"], rows()).unwrap();
        assert_eq!(bytes("t.csv"), b"x,y z,n\n,\"a,\"\"b\"\"\n\",1\n");
        assert_eq!(bytes("t.tsv"), b"x\ty z\tn\n\ta,\"b\" \t1\n");
        assert!(table_bytes("t.txt".as_ref(), &[], rows()).is_err());
    }
}
