//! Rows of text from Parquet files.

use super::TextTable;
use super::reader::Next;
use crate::data::{self, DataError};

/// Columns of text and numbers.
pub(super) struct Parquet {
    rows: data::Parquet,
    wanted: Vec<String>,
}

/// The columns that are no lists.
pub(super) fn columns(table: &TextTable) -> Result<Vec<String>, DataError> {
    refuse_gzip(table)?;
    data::Parquet::columns(&table.path)
}

fn refuse_gzip(table: &TextTable) -> Result<(), DataError> {
    if table.is_gzipped() {
        return Err(DataError::UnknownFormat {
            path: table.path.clone(),
            expected: "parquet without .gz: the format compresses by itself",
        });
    }
    Ok(())
}

impl Parquet {
    pub fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        refuse_gzip(table)?;
        Ok(Self {
            rows: data::Parquet::open(&table.path, wanted)?,
            wanted: wanted.iter().map(ToString::to_string).collect(),
        })
    }

    pub fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        let Some(row) = self.rows.next_row()? else {
            return Ok(Next::End);
        };
        for (field, name) in row.into_iter().zip(&self.wanted) {
            let text = field.and_then(|bytes| {
                let text = String::from_utf8(bytes);
                text.map_err(|error| format!("{name:?} is not UTF-8 text: {}", error.utf8_error()))
            });
            match text {
                Ok(text) => fields.push(text),
                Err(reason) => return Ok(Next::Damaged(reason)),
            }
        }
        Ok(Next::Row)
    }

    /// The row read last, from 1.
    pub fn line(&self) -> u64 {
        self.rows.row()
    }
}
