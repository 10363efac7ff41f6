//! Rows of TSV and CSV tables.

use std::path::Path;

use csv::ByteRecord;

use super::TextTable;
use super::lines::{Lines, open};
use super::reader::Next;
use crate::data::{DataError, Quotations, Unclosed, unknown_column};

/// A header's columns: how many there are, and which of them are wanted.
struct Columns {
    width: usize,
    wanted: Vec<usize>,
}

/// The names that a header holds.
fn names(header: &[&[u8]]) -> Vec<String> {
    let name = |name: &&[u8]| String::from_utf8_lossy(name).trim().to_owned();
    header.iter().map(name).collect()
}

impl Columns {
    fn new(path: &Path, header: &[&[u8]], wanted: &[&str]) -> Result<Self, DataError> {
        let names = names(header);
        let position = |column: &&str| {
            names
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| unknown_column(path, column, &names))
        };
        Ok(Self {
            width: header.len(),
            wanted: wanted.iter().map(position).collect::<Result<_, _>>()?,
        })
    }

    /// The wanted fields of a row, or why the row is damaged.
    fn pick(&self, row: &[&[u8]], fields: &mut Vec<String>) -> Result<(), String> {
        if row.len() != self.width {
            return Err(format!(
                "expected {} fields as in the header, found {}",
                self.width,
                row.len()
            ));
        }
        for &column in &self.wanted {
            let text = str::from_utf8(row[column])
                .map_err(|error| format!("field {} is not UTF-8 text: {error}", column + 1))?;
            fields.push(text.to_owned());
        }
        Ok(())
    }
}

fn no_header(path: &Path) -> DataError {
    DataError::NoRows {
        path: path.to_owned(),
        reason: ", not even a header".to_owned(),
    }
}

/// A tab-separated table: what lies between two tabs is the field, whatever its characters.
pub(super) struct Tsv {
    lines: Lines,
    columns: Columns,
}

impl Tsv {
    pub fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        let mut lines = Lines::open(table)?;
        let columns = match lines.next_line()? {
            Some(header) => Columns::new(&table.path, &split(header), wanted)?,
            None => return Err(no_header(&table.path)),
        };
        Ok(Self { lines, columns })
    }

    pub fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        loop {
            match self.lines.next_line()? {
                None => return Ok(Next::End),
                // In a table of one column an empty line is a row with an empty text.
                Some([]) if self.columns.width > 1 => {}
                Some(line) => {
                    return Ok(Next::of(self.columns.pick(&split(line), fields)));
                }
            }
        }
    }

    pub fn line(&self) -> u64 {
        self.lines.number
    }
}

/// The columns of a tab-separated table.
pub(super) fn tsv_columns(table: &TextTable) -> Result<Vec<String>, DataError> {
    let mut lines = Lines::open(table)?;
    let header = lines.next_line()?;
    let header = header.ok_or_else(|| no_header(&table.path))?;
    Ok(names(&split(header)))
}

fn split(line: &[u8]) -> Vec<&[u8]> {
    line.split(|&byte| byte == b'\t').collect()
}

/// A comma-separated table; a field in quotation marks may hold commas and line breaks.
pub(super) struct Csv {
    path: std::path::PathBuf,
    reader: csv::Reader<Quotations>,
    record: ByteRecord,
    columns: Columns,
}

impl Csv {
    pub fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        let (reader, header) = csv_header(table)?;
        Ok(Self {
            columns: Columns::new(&table.path, &header.iter().collect::<Vec<_>>(), wanted)?,
            path: table.path.clone(),
            reader,
            record: header,
        })
    }

    pub fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        let read = self.reader.read_byte_record(&mut self.record);
        if !read.map_err(|error| broken(&self.path, &self.reader, &error))? {
            return Ok(Next::End);
        }
        let row: Vec<&[u8]> = self.record.iter().collect();
        Ok(Next::of(self.columns.pick(&row, fields)))
    }

    pub fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }
}

/// The columns of a comma-separated table.
pub(super) fn csv_columns(table: &TextTable) -> Result<Vec<String>, DataError> {
    let (_, header) = csv_header(table)?;
    Ok(names(&header.iter().collect::<Vec<_>>()))
}

fn csv_header(table: &TextTable) -> Result<(csv::Reader<Quotations>, ByteRecord), DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Quotations::new(open(table)?, true));
    let mut header = ByteRecord::new();
    let read = reader.read_byte_record(&mut header);
    if !read.map_err(|error| broken(&table.path, &reader, &error))? {
        return Err(no_header(&table.path));
    }
    Ok((reader, header))
}

/// The file cannot be read on: unlike a damaged row, this is always an error.
fn broken(path: &Path, reader: &csv::Reader<Quotations>, error: &csv::Error) -> DataError {
    if let Some(unclosed) = Unclosed::of(error) {
        return unclosed.in_file(path);
    }
    DataError::Line {
        path: path.to_owned(),
        line: reader.position().line(),
        reason: error.to_string(),
    }
}
