//! Rows of JSON lines.

use serde_json::{Map, Value};

use super::TextTable;
use super::lines::Lines;
use super::reader::Next;
use crate::data::{DataError, unknown_column};

/// The object on a line, or why there is none.
type Object = Result<Map<String, Value>, String>;

/// One JSON object a line; other keys than the wanted ones may come and go.
pub(super) struct Jsonl {
    lines: Lines,
    wanted: Vec<String>,
    /// The first object, read to see whether the columns exist.
    first: Option<Map<String, Value>>,
}

/// The keys of the first object; none where there is none to read.
pub(super) fn columns(table: &TextTable) -> Result<Vec<String>, DataError> {
    let mut jsonl = Jsonl::open(table, &[])?;
    let first = jsonl.first.take();
    Ok(first
        .into_iter()
        .flat_map(|object| object.into_iter().map(|(key, _)| key))
        .collect())
}

impl Jsonl {
    pub fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        let mut jsonl = Self {
            lines: Lines::open(table)?,
            wanted: wanted.iter().map(ToString::to_string).collect(),
            first: None,
        };
        let Some(Ok(first)) = jsonl.next_object()? else {
            // Nothing, or a damaged line: the rows after it decide.
            jsonl.lines = Lines::open(table)?;
            return Ok(jsonl);
        };
        if let Some(missing) = wanted.iter().find(|name| !first.contains_key(**name)) {
            let names = first.keys().cloned().collect::<Vec<_>>();
            return Err(unknown_column(&table.path, missing, &names));
        }
        jsonl.first = Some(first);
        Ok(jsonl)
    }

    /// The object of the next line that is not blank, or why there is none on it.
    fn next_object(&mut self) -> Result<Option<Object>, DataError> {
        while let Some(line) = self.lines.next_line()? {
            if !line.trim_ascii().is_empty() {
                let object = serde_json::from_slice(line);
                return Ok(Some(object.map_err(|error| error.to_string())));
            }
        }
        Ok(None)
    }

    pub fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        let object = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.next_object()?,
        };
        Ok(match object {
            None => Next::End,
            Some(object) => Next::of(object.and_then(|object| self.pick(&object, fields))),
        })
    }

    fn pick(&self, object: &Map<String, Value>, fields: &mut Vec<String>) -> Result<(), String> {
        for name in &self.wanted {
            fields.push(match object.get(name) {
                None => return Err(format!("no {name:?}")),
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                Some(value) => {
                    let found = match value {
                        Value::Null => "null",
                        Value::Array(_) => "a list",
                        _ => "an object",
                    };
                    return Err(format!(
                        "{name:?}: expected text or a number, found {found}"
                    ));
                }
            });
        }
        Ok(())
    }

    pub fn line(&self) -> u64 {
        self.lines.number
    }
}
