//! The wanted columns of a table of any format: CSV, TSV or Parquet.

use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::DataError;
use super::parquet::{Field, Parquet};
use super::table::{Column, Table, line_of};

/// Rows of the wanted columns, in the order of these.
pub(super) struct Columns {
    path: PathBuf,
    wanted: Vec<String>,
    rows: Rows,
    line: u64,
}

enum Rows {
    Delimited {
        table: Table,
        /// The place of each wanted column.
        at: Vec<usize>,
        row: StringRecord,
    },
    Parquet(Parquet),
}

impl Columns {
    pub fn open(path: &Path, wanted: &[&str]) -> Result<Self, DataError> {
        let rows = if is_parquet(path) {
            Rows::Parquet(Parquet::open(path, wanted)?)
        } else {
            let table = Table::open(path, Some(true))?;
            let place = |name: &&str| table.column(&Column::Name((*name).to_owned()));
            let at = wanted.iter().map(place).collect::<Result<_, _>>()?;
            Rows::Delimited {
                table,
                at,
                row: StringRecord::new(),
            }
        };
        Ok(Self {
            path: path.to_owned(),
            wanted: wanted.iter().map(ToString::to_string).collect(),
            rows,
            line: 0,
        })
    }

    /// The fields of the next row, each or why there is none; `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Vec<Field>>, DataError> {
        match &mut self.rows {
            Rows::Delimited { table, at, row } => {
                if !table.next_row(row)? {
                    return Ok(None);
                }
                self.line = line_of(row);
                Ok(Some(at.iter().map(|&at| Ok(row[at].into())).collect()))
            }
            Rows::Parquet(parquet) => {
                let fields = parquet.next_row()?;
                self.line = parquet.row();
                Ok(fields)
            }
        }
    }

    /// The error for a field of the row read last that is none.
    pub fn damaged(&self, reason: &str) -> DataError {
        DataError::Line {
            path: self.path.clone(),
            line: self.line,
            reason: reason.to_owned(),
        }
    }

    /// The error for a field of the row read last that is not what was `expected`.
    pub fn wrong(&self, column: usize, expected: &str, found: &[u8]) -> DataError {
        DataError::Value {
            path: self.path.clone(),
            line: self.line,
            column: format!("{:?}", self.wanted[column]),
            expected: expected.to_owned(),
            found: shown(found),
        }
    }
}

/// A field as messages show it: an image in place of its name would fill the screen.
fn shown(found: &[u8]) -> String {
    const MOST: usize = 80;
    let bytes = found.len();
    let Ok(text) = str::from_utf8(found) else {
        return format!("{bytes} bytes that are no text");
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({bytes} bytes)", &text[..end]),
        None => text.to_owned(),
    }
}

/// The names of a table's columns.
pub(super) fn column_names(path: &Path) -> Result<Vec<String>, DataError> {
    if is_parquet(path) {
        return Parquet::columns(path);
    }
    let table = Table::open(path, Some(true))?;
    let name = |at| table.column_name(at).trim_matches('"').to_owned();
    Ok((0..table.width()).map(name).collect())
}

/// Whether a file is called as Parquet files are.
pub(super) fn is_parquet(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("parquet")
}
