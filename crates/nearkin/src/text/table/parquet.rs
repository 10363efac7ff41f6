//! Rows of Parquet files, decoded a batch at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::TextTable;
use super::reader::Next;
use crate::data::{DataError, unknown_column};

/// Rows decoded at a time.
const BATCH: usize = 1024;

/// A field, or why it holds nothing that can be used.
type Field = Result<String, String>;

/// Top-level columns of scalars; lists and groups are no text.
pub(super) struct Parquet {
    path: PathBuf,
    file: SerializedFileReader<std::fs::File>,
    /// The leaf column and the name of each wanted column.
    wanted: Vec<(usize, String)>,
    /// The row group to read next.
    group: usize,
    readers: Vec<ColumnReader>,
    /// The decoded fields of each wanted column.
    batch: Vec<Vec<Field>>,
    /// The row to take next from the batch.
    at: usize,
    row: u64,
}

fn open(table: &TextTable) -> Result<SerializedFileReader<std::fs::File>, DataError> {
    if table.is_gzipped() {
        return Err(DataError::UnknownFormat {
            path: table.path.clone(),
            expected: "parquet without .gz: the format compresses by itself",
        });
    }
    let (file, _) = fs_err::File::open(&table.path)?.into_parts();
    guarded(|| SerializedFileReader::new(file)).map_err(|reason| damaged(&table.path, 1, reason))
}

/// The columns that are no lists or groups.
pub(super) fn columns(table: &TextTable) -> Result<Vec<String>, DataError> {
    Ok(names(&open(table)?))
}

fn names(file: &SerializedFileReader<std::fs::File>) -> Vec<String> {
    let schema = file.metadata().file_metadata().schema_descr();
    (0..schema.num_columns())
        .map(|leaf| schema.column(leaf))
        .filter(|column| column.path().parts().len() == 1)
        .map(|column| column.name().to_owned())
        .collect()
}

impl Parquet {
    pub fn open(table: &TextTable, wanted: &[&str]) -> Result<Self, DataError> {
        let file = open(table)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let leaf = |name: &str| {
            let is_it = |leaf: &usize| {
                let column = schema.column(*leaf);
                column.path().parts() == [name] && column.max_rep_level() == 0
            };
            (0..schema.num_columns()).find(is_it)
        };
        let position = |name: &&str| {
            let found = leaf(name).map(|leaf| (leaf, (*name).to_owned()));
            found.ok_or_else(|| unknown_column(&table.path, name, &names(&file)))
        };
        Ok(Self {
            path: table.path.clone(),
            wanted: wanted.iter().map(position).collect::<Result<_, _>>()?,
            file,
            group: 0,
            readers: Vec::new(),
            batch: Vec::new(),
            at: 0,
            row: 0,
        })
    }

    pub fn next(&mut self, fields: &mut Vec<String>) -> Result<Next, DataError> {
        if self.at == self.batch.first().map_or(0, Vec::len) && !self.fill()? {
            return Ok(Next::End);
        }
        self.row += 1;
        let at = self.at;
        self.at += 1;
        for column in &mut self.batch {
            match std::mem::replace(&mut column[at], Ok(String::new())) {
                Ok(text) => fields.push(text),
                Err(reason) => return Ok(Next::Damaged(reason)),
            }
        }
        Ok(Next::Row)
    }

    /// The row read last, from 1.
    pub fn line(&self) -> u64 {
        self.row
    }

    /// Decodes the next batch; false after the last.
    fn fill(&mut self) -> Result<bool, DataError> {
        let row = self.row + 1;
        let path = self.path.clone();
        guarded(|| self.decode()).map_err(|reason| damaged(&path, row, reason))
    }

    fn decode(&mut self) -> Result<bool, ParquetError> {
        self.at = 0;
        loop {
            self.batch.clear();
            for ((leaf, name), reader) in self.wanted.iter().zip(&mut self.readers) {
                let schema = self.file.metadata().file_metadata().schema_descr();
                let full = schema.column(*leaf).max_def_level();
                self.batch.push(decode_column(reader, name, full)?);
            }
            let rows = self.batch.first().map_or(0, Vec::len);
            if self.batch.iter().any(|column| column.len() != rows) {
                return Err(ParquetError::General(
                    "columns of unequal length".to_owned(),
                ));
            }
            if rows > 0 {
                return Ok(true);
            }
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.file.get_row_group(self.group)?;
            self.readers = (self.wanted.iter())
                .map(|(leaf, _)| group.get_column_reader(*leaf))
                .collect::<Result<_, _>>()?;
            self.group += 1;
        }
    }
}

/// Runs what the `parquet` crate may panic in, as it does on some damaged files.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the file is damaged".to_owned()),
    }
}

fn damaged(path: &std::path::Path, row: u64, reason: String) -> DataError {
    DataError::Line {
        path: path.to_owned(),
        line: row,
        reason,
    }
}

fn decode_column(
    reader: &mut ColumnReader,
    name: &str,
    full: i16,
) -> Result<Vec<Field>, ParquetError> {
    let text = |bytes: &parquet::data_type::ByteArray| {
        let text = str::from_utf8(bytes.data());
        text.map(str::to_owned)
            .map_err(|error| format!("{name:?} is not UTF-8 text: {error}"))
    };
    match reader {
        ColumnReader::ByteArrayColumnReader(column) => scalars(column, name, full, text),
        ColumnReader::BoolColumnReader(column) => {
            scalars(column, name, full, |x| Ok(x.to_string()))
        }
        ColumnReader::Int32ColumnReader(column) => {
            scalars(column, name, full, |x| Ok(x.to_string()))
        }
        ColumnReader::Int64ColumnReader(column) => {
            scalars(column, name, full, |x| Ok(x.to_string()))
        }
        ColumnReader::FloatColumnReader(column) => {
            scalars(column, name, full, |x| Ok(x.to_string()))
        }
        ColumnReader::DoubleColumnReader(column) => {
            scalars(column, name, full, |x| Ok(x.to_string()))
        }
        _ => Err(ParquetError::General(format!(
            "the column {name:?} holds neither text nor numbers"
        ))),
    }
}

fn scalars<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    name: &str,
    full: i16,
    to_text: impl Fn(&T::T) -> Field,
) -> Result<Vec<Field>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (records, _, _) = column.read_records(BATCH, Some(&mut levels), None, &mut values)?;
    // A required column has no definition levels: every value is there.
    levels.resize(records, full);
    let mut values = values.iter();
    let fields = levels.iter().map(|&level| {
        if level < full {
            return Err(format!("{name:?} is null"));
        }
        match values.next() {
            Some(value) => to_text(value),
            None => Err(format!("{name:?} is missing")),
        }
    });
    Ok(fields.collect())
}
