//! Tables as other commands read them: JSON lines, TSV or CSV.

use std::path::Path;

use serde::Serializer;
use serde_json::Value;

use super::{Format, format_of};
use crate::data::DataError;

/// The bytes of a table for the file `path`: JSON lines, whose keys keep the order of the columns; CSV; or TSV, in whose texts tabs and line breaks become spaces. What is
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
    match format_of(path) {
        Some(Format::Jsonl) => Ok(jsonl_bytes(columns, rows)?),
        Some(Format::Tsv) => Ok(tsv_bytes(columns, rows)),
        Some(Format::Csv) => Ok(csv_bytes(columns, rows)?),
        _ => Err(DataError::UnknownFormat {
            path: path.to_owned(),
            expected: "jsonl, tsv or csv",
        }),
    }
}

/// Keys in the order of the columns, which readers take for the roles of the texts: a [`serde_json::Map`] would sort them.
fn jsonl_bytes(
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<Value>>,
) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::Serializer::new(&mut bytes).collect_map(columns.iter().zip(&row))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn tsv_bytes(columns: &[&str], rows: impl IntoIterator<Item = Vec<Value>>) -> Vec<u8> {
    let mut text = columns.join("\t") + "\n";
    for row in rows {
        let fields: Vec<String> = row.iter().map(field).collect();
        text += &fields.join("\t");
        text.push('\n');
    }
    text.into_bytes()
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

    #[test]
    fn keys_of_json_lines_are_in_the_order_of_the_columns() {
        let rows = [vec!["q".into(), "yes".into(), "no".into()]];
        let columns = ["anchor", "positive", "negative"];
        let bytes = table_bytes("t.jsonl".as_ref(), &columns, rows).unwrap();
        let expected = "{\"anchor\":\"q\",\"positive\":\"yes\",\"negative\":\"no\"}\n";
        assert_eq!(bytes, expected.as_bytes());
    }
}
