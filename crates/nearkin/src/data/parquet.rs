//! Rows of Parquet files, decoded a batch at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{DataError, unknown_column};

/// Rows decoded at a time.
const BATCH: usize = 1024;

/// The bytes of a text, of a number written out or of anything else that is stored as bytes, or why there are none.
pub(crate) type Field = Result<Vec<u8>, String>;

/// Columns of scalars: those of groups are called by their path (`image.bytes`), lists are none.
pub(crate) struct Parquet {
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

fn open(path: &Path) -> Result<SerializedFileReader<std::fs::File>, DataError> {
    let (file, _) = fs_err::File::open(path)?.into_parts();
    guarded(|| SerializedFileReader::new(file)).map_err(|reason| damaged(path, 1, reason))
}

/// The leaf columns that are no lists, with their names.
fn leaves(file: &SerializedFileReader<std::fs::File>) -> Vec<(usize, String)> {
    let schema = file.metadata().file_metadata().schema_descr();
    (0..schema.num_columns())
        .filter(|&leaf| schema.column(leaf).max_rep_level() == 0)
        .map(|leaf| (leaf, schema.column(leaf).path().string()))
        .collect()
}

impl Parquet {
    /// The names of the columns that can be read.
    pub(crate) fn columns(path: &Path) -> Result<Vec<String>, DataError> {
        let leaves = leaves(&open(path)?).into_iter();
        Ok(leaves.map(|(_, name)| name).collect())
    }

    /// Those of them that hold bytes which the file does not call text.
    pub(crate) fn columns_of_bytes(path: &Path) -> Result<Vec<String>, DataError> {
        let file = open(path)?;
        let schema = file.metadata().file_metadata().schema_descr();
        let is_of_bytes = |leaf: usize| {
            let column = schema.column(leaf);
            column.physical_type() == PhysicalType::BYTE_ARRAY
                && column.converted_type() == ConvertedType::NONE
                && column.logical_type_ref().is_none()
        };
        let leaves = leaves(&file).into_iter();
        let of_bytes = leaves.filter(|(leaf, _)| is_of_bytes(*leaf));
        Ok(of_bytes.map(|(_, name)| name).collect())
    }

    pub(crate) fn open(path: &Path, wanted: &[&str]) -> Result<Self, DataError> {
        let file = open(path)?;
        let leaves = leaves(&file);
        let position = |name: &&str| {
            let found = leaves.iter().find(|(_, known)| known == name).cloned();
            found.ok_or_else(|| {
                let names: Vec<String> = leaves.iter().map(|(_, name)| name.clone()).collect();
                unknown_column(path, name, &names)
            })
        };
        Ok(Self {
            path: path.to_owned(),
            wanted: wanted.iter().map(position).collect::<Result<_, _>>()?,
            file,
            group: 0,
            readers: Vec::new(),
            batch: Vec::new(),
            at: 0,
            row: 0,
        })
    }

    /// The fields of the next row, in the order of the wanted columns; `None` after the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<Vec<Field>>, DataError> {
        if self.at == self.batch.first().map_or(0, Vec::len) && !self.fill()? {
            return Ok(None);
        }
        self.row += 1;
        let at = self.at;
        self.at += 1;
        let fields = self.batch.iter_mut();
        Ok(Some(
            fields
                .map(|column| std::mem::replace(&mut column[at], Ok(Vec::new())))
                .collect(),
        ))
    }

    /// The row read last, from 1.
    pub(crate) fn row(&self) -> u64 {
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

fn damaged(path: &Path, row: u64, reason: String) -> DataError {
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
    match reader {
        ColumnReader::ByteArrayColumnReader(column) => {
            scalars(column, name, full, |x| x.data().to_vec())
        }
        ColumnReader::BoolColumnReader(column) => scalars(column, name, full, written),
        ColumnReader::Int32ColumnReader(column) => scalars(column, name, full, written),
        ColumnReader::Int64ColumnReader(column) => scalars(column, name, full, written),
        ColumnReader::FloatColumnReader(column) => scalars(column, name, full, written),
        ColumnReader::DoubleColumnReader(column) => scalars(column, name, full, written),
        _ => Err(ParquetError::General(format!(
            "the column {name:?} holds neither text nor numbers"
        ))),
    }
}

fn written(value: &impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn scalars<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    name: &str,
    full: i16,
    to_bytes: impl Fn(&T::T) -> Vec<u8>,
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
            Some(value) => Ok(to_bytes(value)),
            None => Err(format!("{name:?} is missing")),
        }
    });
    Ok(fields.collect())
}
