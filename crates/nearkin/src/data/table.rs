//! CSV and TSV tables, plain or gzipped, with a header or without.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, StringRecord};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{DataError, Quotations, Unclosed};
use crate::nearest::nearest;

/// A column of a table: its name, or its number from 0 (from the end if negative, -1 being the last).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Column {
    /// By the name in the header.
    Name(String),
    /// By position.
    Number(i64),
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a column name, or a column number from 0 (-1 is the last)")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Column, E> {
                Ok(Column::Name(name.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Column, E> {
                Ok(Column::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Column, E> {
                i64::try_from(number).map(Column::Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Number(number) => write!(f, "number {number}"),
        }
    }
}

/// The separator a file's name stands for, and whether it is gzipped; `None` if it is no table.
pub(super) fn table_format(path: &Path) -> Option<(u8, bool)> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let (plain, gzipped) = name
        .strip_suffix(".gz")
        .map_or((name.as_str(), false), |p| (p, true));
    match Path::new(plain).extension()?.to_str()? {
        "csv" => Some((b',', gzipped)),
        "tsv" | "tab" => Some((b'\t', gzipped)),
        _ => None,
    }
}

/// A text without its carriage returns: with them the `csv` crate counts a line less for every row that ends in CR LF.
pub(super) struct LineFeeds(pub(super) Box<dyn Read>);

impl Read for LineFeeds {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                if buffer[at] != b'\r' {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            // A block of nothing but carriage returns is not the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

/// An open table, read row by row.
pub(super) struct Table {
    path: PathBuf,
    reader: csv::Reader<Quotations>,
    header: Option<Vec<String>>,
    width: usize,
    /// The first row, where it turned out to be no header.
    first: Option<StringRecord>,
}

impl Table {
    /// Opens the file by its extension; `header: None` looks whether the first row has no number in it.
    pub(super) fn open(path: &Path, header: Option<bool>) -> Result<Self, DataError> {
        Self::from_reader(path, Box::new(fs_err::File::open(path)?), header)
    }

    /// Reads `content` as if it were the file `path`.
    pub(super) fn from_reader(
        path: &Path,
        content: Box<dyn Read>,
        header: Option<bool>,
    ) -> Result<Self, DataError> {
        let Some((delimiter, gzipped)) = table_format(path) else {
            return Err(DataError::UnknownFormat {
                path: path.to_owned(),
                expected: "csv, tsv, csv.gz, tsv.gz",
            });
        };
        let content: Box<dyn Read> = if gzipped {
            Box::new(flate2::read::MultiGzDecoder::new(content))
        } else {
            content
        };
        // Tab-separated text has no quoting: a quotation mark is a character like any other.
        let quoting = delimiter == b',';
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(delimiter)
            .quoting(quoting)
            .from_reader(Quotations::new(content, quoting));
        let mut table = Self {
            path: path.to_owned(),
            reader,
            header: None,
            width: 0,
            first: None,
        };
        let mut first = StringRecord::new();
        if !table.next_row(&mut first)? {
            return Err(DataError::NoRows {
                path: path.to_owned(),
                reason: String::new(),
            });
        }
        table.width = first.len();
        let is_number = |field: &str| field.trim().parse::<f64>().is_ok_and(f64::is_finite);
        if header.unwrap_or_else(|| !first.iter().any(is_number)) {
            table.header = Some(first.iter().map(|name| name.trim().to_owned()).collect());
        } else {
            table.first = Some(first);
        }
        Ok(table)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// The name of a column in messages: from the header, or its number.
    pub(super) fn column_name(&self, index: usize) -> String {
        self.header
            .as_ref()
            .map_or_else(|| index.to_string(), |names| format!("{:?}", names[index]))
    }

    /// The position of `column`.
    pub(super) fn column(&self, column: &Column) -> Result<usize, DataError> {
        let names = self.header.as_deref().unwrap_or_default();
        let found = match column {
            Column::Name(name) => names.iter().position(|known| known == name),
            Column::Number(number) => {
                let distance = usize::try_from(number.unsigned_abs()).ok();
                if *number < 0 {
                    distance.and_then(|from_end| self.width.checked_sub(from_end))
                } else {
                    distance.filter(|&index| index < self.width)
                }
            }
        };
        found.ok_or_else(|| match (&self.header, column) {
            (Some(names), Column::Name(name)) => unknown_column(&self.path, name, names),
            (header, column) => DataError::UnknownColumn {
                path: self.path.clone(),
                column: column.to_string(),
                hint: String::new(),
                known: match header {
                    Some(names) => summarize(names),
                    None => format!("{} columns and no header", self.width),
                },
            },
        })
    }

    /// Reads the next row into `row`; false at the end.
    pub(super) fn next_row(&mut self, row: &mut StringRecord) -> Result<bool, DataError> {
        match self.first.take() {
            Some(first) => {
                *row = first;
                Ok(true)
            }
            None => self
                .reader
                .read_record(row)
                .map_err(|error| self.error(&error)),
        }
    }

    /// The error for a field that is not what was `expected`.
    pub(super) fn wrong(&self, row: &StringRecord, column: usize, expected: &str) -> DataError {
        DataError::Value {
            path: self.path.clone(),
            line: line_of(row),
            column: self.column_name(column),
            expected: expected.to_owned(),
            found: row[column].to_owned(),
        }
    }

    fn error(&self, error: &csv::Error) -> DataError {
        if let Some(unclosed) = Unclosed::of(error) {
            return unclosed.in_file(&self.path);
        }
        let line = error
            .position()
            .map_or_else(|| self.reader.position().line(), csv::Position::line);
        let reason = match error.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                format!("expected {expected_len} fields as in the first row, found {len}")
            }
            ErrorKind::Utf8 { err, .. } => format!("not UTF-8 text: {err}"),
            _ => error.to_string(),
        };
        DataError::Line {
            path: self.path.clone(),
            line,
            reason,
        }
    }
}

/// The line that a row begins on, from 1.
pub(super) fn line_of(row: &StringRecord) -> u64 {
    row.position().map_or(1, csv::Position::line)
}

/// The error for a column that `names` lacks, with the name that was probably meant.
pub(crate) fn unknown_column(path: &Path, column: &str, names: &[String]) -> DataError {
    DataError::UnknownColumn {
        path: path.to_owned(),
        column: format!("{column:?}"),
        hint: nearest(column, names.iter().map(String::as_str))
            .map(|near| format!(" (did you mean {near:?}?)"))
            .unwrap_or_default(),
        known: summarize(names),
    }
}

/// The names, cut short where there are many.
fn summarize(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn table(name: &str, content: &[u8]) -> Result<Table, DataError> {
        Table::from_reader(
            Path::new(name),
            Box::new(Cursor::new(content.to_vec())),
            None,
        )
    }

    fn rows(mut table: Table) -> Vec<(u64, Vec<String>)> {
        let (mut rows, mut row) = (Vec::new(), StringRecord::new());
        while table.next_row(&mut row).unwrap() {
            rows.push((line_of(&row), row.iter().map(str::to_owned).collect()));
        }
        rows
    }

    #[test]
    fn the_header_is_told_from_data_by_the_numbers_in_it() {
        let with = table("a.csv", b"\xef\xbb\xbfx,label\n1,a\n").unwrap();
        assert_eq!(with.column(&Column::Name("x".into())).unwrap(), 0);
        assert_eq!(rows(with), [(2, vec!["1".to_owned(), "a".to_owned()])]);
        let without = table("a.csv", b"1,a\n2,b\n").unwrap();
        assert!(without.header.is_none());
        assert_eq!(rows(without).len(), 2);
    }

    #[test]
    fn gzip_and_tabs_are_read_by_extension_and_tabs_have_no_quotes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"text\tn\nthe \"cat\t1\n").unwrap();
        let read = rows(table("a.TSV.gz", &gzip.finish().unwrap()).unwrap());
        assert_eq!(read, [(2, vec!["the \"cat".to_owned(), "1".to_owned()])]);
        let message = table("a.txt", b"1").err().unwrap().to_string();
        assert!(message.contains("csv, tsv"), "{message}");
    }

    #[test]
    fn a_row_of_another_length_is_named_by_its_line_whatever_ends_the_lines() {
        for (content, line) in [
            (&b"x,y\n1,2\n3\n"[..], 3),
            (b"x,y\r\n1,2\r\n3\r\n", 3),
            (b"x,y\n\"1\r\n1\",2\n3", 4),
        ] {
            let mut table = table("a.csv", content).unwrap();
            let mut row = StringRecord::new();
            table.next_row(&mut row).unwrap();
            let message = table.next_row(&mut row).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("a.csv:{line}: expected 2 fields as in the first row, found 1")
            );
        }
    }

    #[test]
    fn a_truncated_gzip_is_an_error_not_a_short_table() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for line in 0..5000 {
            writeln!(gzip, "{line},{}", line * 7919 % 1000).unwrap();
        }
        let bytes = gzip.finish().unwrap();
        let mut table = table("a.csv.gz", &bytes[..bytes.len() / 2]).unwrap();
        let mut row = StringRecord::new();
        let error = loop {
            match table.next_row(&mut row) {
                Ok(true) => {}
                other => break other.unwrap_err(),
            }
        };
        assert!(error.to_string().contains("a.csv.gz"), "{error}");
    }

    #[test]
    fn a_quotation_that_does_not_end_is_named_by_its_line() {
        let mut table = table("a.csv", b"label,text\n1,ok\n2,\"unclosed\n3,c\n4,d").unwrap();
        let mut row = StringRecord::new();
        assert!(table.next_row(&mut row).unwrap());
        let message = table.next_row(&mut row).unwrap_err().to_string();
        assert!(message.starts_with("a.csv:3: the quotation"), "{message}");
    }

    #[test]
    fn columns_count_from_either_end_and_a_misspelled_one_gets_a_suggestion() {
        let table = table("a.csv", b"path,label,part\nx,y,z\n").unwrap();
        assert_eq!(table.column(&Column::Number(-1)).unwrap(), 2);
        let message = table
            .column(&Column::Name("lable".into()))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("did you mean \"label\"") && message.contains("path, label, part"),
            "{message}"
        );
        assert!(
            table.column(&Column::Number(3)).is_err() && table.column(&Column::Number(-4)).is_err()
        );
    }
}
