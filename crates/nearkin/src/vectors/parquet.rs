//! `.parquet`: columns `id`, `label` (text) and `embedding` (list of float), with the `parquet` crate's column API.

use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::rows::{Element, Names, Numbers, Rows, blocks};
use super::staged::Staged;
use super::{Vectors, VectorsError};

pub(super) fn write(path: &Path, source: &mut dyn Rows) -> Result<(), VectorsError> {
    Staged::write(path, |file| {
        write_to(file, source).map_err(|error| VectorsError::Write {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    })?
    .commit()
}

/// A block of rows is a row group: a reader that takes one group at a time needs 16 MiB.
fn write_to(file: impl std::io::Write + Send, source: &mut dyn Rows) -> Result<(), ParquetError> {
    let text = |names: Names| {
        if source.has(names) {
            format!("REQUIRED BYTE_ARRAY {} (UTF8);", names.column())
        } else {
            String::new()
        }
    };
    let element = match source.element() {
        Element::F32 => "FLOAT element",
        Element::I8 => "INT32 element (INT_8)",
        Element::U8 => "INT32 element (UINT_8)",
    };
    let schema = parse_message_type(&format!(
        "message embeddings {{ {} {} REQUIRED GROUP embedding (LIST) {{ REPEATED GROUP list {{ REQUIRED {element}; }} }} }}",
        text(Names::Id),
        text(Names::Label),
    ))?;
    let numbers = ColumnPath::from(vec![
        "embedding".to_owned(),
        "list".to_owned(),
        "element".to_owned(),
    ]);
    // Floats of embeddings neither repeat nor compress.
    let properties = WriterProperties::builder()
        .set_created_by("nearkin".to_owned())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::SNAPPY)
        .set_column_compression(numbers.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(numbers, source.element() != Element::F32)
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let dim = source.shape().1;
    let external = |error: VectorsError| ParquetError::External(Box::new(error));
    for rows in blocks(source.shape()) {
        let mut group = writer.next_row_group()?;
        for names in Names::BOTH {
            if source.has(names) {
                let texts = source.names(names, rows.clone()).map_err(external)?;
                write_texts(&mut group, &texts)?;
            }
        }
        match source.numbers(rows).map_err(external)? {
            Numbers::F32(numbers) => write_lists::<FloatType, _>(&mut group, &numbers, dim)?,
            Numbers::I8(numbers) => {
                let wide: Vec<i32> = numbers.into_iter().map(i32::from).collect();
                write_lists::<Int32Type, _>(&mut group, &wide, dim)?;
            }
            Numbers::U8(numbers) => {
                let wide: Vec<i32> = numbers.into_iter().map(i32::from).collect();
                write_lists::<Int32Type, _>(&mut group, &wide, dim)?;
            }
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn write_texts<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    texts: &[String],
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = texts
        .iter()
        .map(|text| ByteArray::from(text.as_str()))
        .collect();
    if let Some(mut column) = group.next_column()? {
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)?;
        column.close()?;
    }
    Ok(())
}

fn write_lists<T: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    data: &[T::T],
    dim: usize,
) -> Result<(), ParquetError> {
    // A repetition level of 0 starts a row; a definition level of 1 says that the number is there.
    let repetition: Vec<i16> = (0..data.len()).map(|at| i16::from(at % dim != 0)).collect();
    let definition = vec![1; data.len()];
    if let Some(mut column) = group.next_column()? {
        column
            .typed::<T>()
            .write_batch(data, Some(&definition), Some(&repetition))?;
        column.close()?;
    }
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<Vectors, VectorsError> {
    let (file, _) = fs_err::File::open(path)?.into_parts();
    // The crate panics on some damaged files, for instance where the footer has a negative offset.
    let read =
        catch_unwind(|| read_from(file)).unwrap_or_else(|_| Err("the file is damaged".to_owned()));
    read.map_err(|reason| VectorsError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

fn read_from(file: std::fs::File) -> Result<Vectors, String> {
    let reader = SerializedFileReader::new(file).map_err(display)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let embedding = find(schema, "embedding").ok_or_else(|| {
        let mut names: Vec<&str> = schema
            .root_schema()
            .get_fields()
            .iter()
            .map(|field| field.name())
            .collect();
        names.sort_unstable();
        format!("no column \"embedding\"; it has {}", names.join(", "))
    })?;
    let (id, label) = (find(schema, "id"), find(schema, "label"));
    let descriptor = schema.column(embedding);
    if descriptor.max_rep_level() != 1 {
        return Err("the column \"embedding\" is not a list of numbers".to_owned());
    }
    let mut lists = Lists {
        max_definition: descriptor.max_def_level(),
        ..Lists::default()
    };
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(display)?;
        for (name, column, texts) in [("id", id, &mut ids), ("label", label, &mut labels)] {
            if let Some(column) = column {
                read_texts(
                    name,
                    group.get_column_reader(column).map_err(display)?,
                    texts,
                )?;
            }
        }
        match group.get_column_reader(embedding).map_err(display)? {
            ColumnReader::FloatColumnReader(column) => lists.read(column, |value| *value)?,
            ColumnReader::DoubleColumnReader(column) => {
                lists.read(column, |value| *value as f32)?;
            }
            ColumnReader::Int32ColumnReader(column) => {
                lists.read(column, |value| *value as f32)?;
            }
            _ => return Err("the column \"embedding\" holds no numbers".to_owned()),
        }
    }
    lists.end_row()?;
    let mut vectors = Vectors::new(lists.rows, lists.dim, lists.data);
    vectors.ids = id.map(|_| ids);
    vectors.labels = label.map(|_| labels);
    Ok(vectors)
}

/// The leaf column below the top-level field `name`.
fn find(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema
        .columns()
        .iter()
        .position(|column| column.path().parts().first().is_some_and(|top| top == name))
}

/// A column of lists, all of one length, taken in as it is decoded.
#[derive(Default)]
struct Lists {
    max_definition: i16,
    rows: usize,
    dim: usize,
    /// Where the row that is being read begins in `data`.
    start: usize,
    open: bool,
    data: Vec<f32>,
}

/// Records decoded at a time: memory follows the file's content, not the counts it claims.
const RECORDS: usize = 1024;

impl Lists {
    fn read<T: DataType>(
        &mut self,
        mut column: ColumnReaderImpl<T>,
        to_f32: fn(&T::T) -> f32,
    ) -> Result<(), String> {
        let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            definition.clear();
            repetition.clear();
            values.clear();
            let (records, _, _) = column
                .read_records(
                    RECORDS,
                    Some(&mut definition),
                    Some(&mut repetition),
                    &mut values,
                )
                .map_err(display)?;
            if records == 0 {
                return Ok(());
            }
            let mut values = values.iter();
            for (&definition, &repetition) in definition.iter().zip(&repetition) {
                if repetition == 0 {
                    self.end_row()?;
                    self.open = true;
                }
                match values.next().filter(|_| definition == self.max_definition) {
                    Some(value) => self.data.push(to_f32(value)),
                    None => {
                        return Err(format!(
                            "row {} of \"embedding\" is empty or has a null in it",
                            self.rows
                        ));
                    }
                }
            }
        }
    }

    /// Closes the row that is open and compares its length with the first row's.
    fn end_row(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let len = self.data.len() - self.start;
        if self.rows == 0 {
            self.dim = len;
        }
        if len != self.dim {
            return Err(format!(
                "row {} of \"embedding\" has {len} numbers, the first has {}",
                self.rows, self.dim
            ));
        }
        self.start = self.data.len();
        self.rows += 1;
        Ok(())
    }
}

/// Appends a column of text or whole numbers to `texts`.
fn read_texts(name: &str, column: ColumnReader, texts: &mut Vec<String>) -> Result<(), String> {
    match column {
        ColumnReader::ByteArrayColumnReader(column) => read_scalars(name, column, texts, |bytes| {
            bytes.as_utf8().map(str::to_owned).map_err(display)
        }),
        ColumnReader::Int32ColumnReader(column) => {
            read_scalars(name, column, texts, |number| Ok(number.to_string()))
        }
        ColumnReader::Int64ColumnReader(column) => {
            read_scalars(name, column, texts, |number| Ok(number.to_string()))
        }
        _ => Err(format!(
            "the column {name:?} holds neither text nor whole numbers"
        )),
    }
}

fn read_scalars<T: DataType>(
    name: &str,
    mut column: ColumnReaderImpl<T>,
    texts: &mut Vec<String>,
    to_text: fn(&T::T) -> Result<String, String>,
) -> Result<(), String> {
    let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        definition.clear();
        repetition.clear();
        values.clear();
        let (records, present, _) = column
            .read_records(
                RECORDS,
                Some(&mut definition),
                Some(&mut repetition),
                &mut values,
            )
            .map_err(display)?;
        if records == 0 {
            return Ok(());
        }
        if present != records {
            return Err(format!(
                "the column {name:?} has a null after row {}",
                texts.len()
            ));
        }
        for value in &values {
            texts.push(to_text(value)?);
        }
    }
}

fn display(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one group of one column of lists, as other programs may write it.
    fn parquet_of(
        schema: &str,
        data: &[f32],
        definition: &[i16],
        repetition: &[i16],
    ) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<FloatType>()
            .write_batch(data, Some(definition), Some(repetition))
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file
    }

    /// The nullable list of nullable numbers that is the default elsewhere.
    const NULLABLE: &str = "message m { OPTIONAL GROUP embedding (LIST) { REPEATED GROUP list { OPTIONAL FLOAT element; } } }";

    #[test]
    fn nullable_lists_are_read_where_nothing_is_null() {
        let file = parquet_of(NULLABLE, &[1.0, 2.0, 3.0, 4.0], &[3; 4], &[0, 1, 0, 1]);
        let vectors = read_from(file).unwrap();
        assert_eq!(vectors, Vectors::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn ragged_lists_nulls_and_other_columns_are_refused() {
        let number = "message m { REPEATED GROUP embedding { REPEATED FLOAT x; } }";
        let other = NULLABLE.replace("embedding", "vector");
        for (schema, data, definition, repetition, words) in [
            (
                NULLABLE,
                &[1.0, 2.0, 3.0][..],
                &[3, 3, 3][..],
                &[0, 1, 0][..],
                "row 1 of \"embedding\" has 1 numbers, the first has 2",
            ),
            (
                NULLABLE,
                &[1.0, 2.0],
                &[3, 2, 3],
                &[0, 1, 0],
                "row 0 of \"embedding\" is empty or has a null",
            ),
            (
                NULLABLE,
                &[1.0],
                &[3, 0],
                &[0, 0],
                "row 1 of \"embedding\" is empty or has a null",
            ),
            (number, &[1.0], &[2], &[0], "not a list of numbers"),
            (
                &other,
                &[1.0],
                &[3],
                &[0],
                "no column \"embedding\"; it has vector",
            ),
        ] {
            let message = read_from(parquet_of(schema, data, definition, repetition)).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_file_damaged_anywhere_is_read_or_refused_but_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        super::super::write(&path, &Vectors::new(3, 2, vec![0.5; 6])).unwrap();
        let whole = fs_err::read(&path).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            for damage in [0x01, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= damage;
                fs_err::write(&path, bytes).unwrap();
                refused += usize::from(super::super::read(&path).is_err());
            }
        }
        assert!(
            refused > whole.len() / 2,
            "{refused} of {}",
            2 * whole.len()
        );
    }

    #[test]
    fn several_row_groups_are_read_as_one_matrix() {
        let dim = super::super::rows::BLOCK / 2; // two rows a group
        let data = (0..5 * dim).map(|i| i as f32).collect();
        let mut vectors = Vectors::new(5, dim, data);
        vectors.ids = Some((0..5).map(|i| i.to_string()).collect());
        let mut file = tempfile::tempfile().unwrap();
        write_to(&mut file, &mut &vectors).unwrap();
        assert!(read_from(file).unwrap() == vectors);
    }
}
