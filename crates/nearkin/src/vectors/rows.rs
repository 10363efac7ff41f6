//! What a file of vectors is written from, a block of rows at a time.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Vectors, VectorsError};

/// Numbers in a block: 16 MiB of them.
pub(super) const BLOCK: usize = 1 << 22;

/// The type of the numbers in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Element {
    /// `float32`.
    #[default]
    F32,
    /// Whole numbers from −128 to 127.
    I8,
    /// Whole numbers from 0 to 255.
    U8,
}

/// Numbers of a block of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers<'a> {
    /// Of [`Element::F32`].
    F32(Cow<'a, [f32]>),
    /// Of [`Element::I8`].
    I8(Vec<i8>),
    /// Of [`Element::U8`].
    U8(Vec<u8>),
}

/// One row, as JSON writes it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Row<'a> {
    F32(&'a [f32]),
    I8(&'a [i8]),
    U8(&'a [u8]),
}

impl Numbers<'_> {
    pub(super) fn row(&self, row: usize, dim: usize) -> Row<'_> {
        let range = row * dim..(row + 1) * dim;
        match self {
            Self::F32(numbers) => Row::F32(&numbers[range]),
            Self::I8(numbers) => Row::I8(&numbers[range]),
            Self::U8(numbers) => Row::U8(&numbers[range]),
        }
    }

    /// Little-endian bytes.
    pub(super) fn write(&self, file: &mut impl std::io::Write) -> std::io::Result<()> {
        match self {
            Self::F32(numbers) => super::staged::write_f32s(file, numbers),
            Self::I8(numbers) => {
                let bytes: Vec<u8> = numbers.iter().map(|x| x.cast_unsigned()).collect();
                file.write_all(&bytes)
            }
            Self::U8(numbers) => file.write_all(numbers),
        }
    }
}

/// An id or label, as JSON has it: a text, or a whole number for one.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Name {
    Text(String),
    Number(i64),
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name {
            Name::Text(text) => text,
            Name::Number(number) => number.to_string(),
        }
    }
}

/// Names of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Id,
    Label,
}

impl Names {
    pub const BOTH: [Self; 2] = [Self::Id, Self::Label];

    /// The column's name.
    pub fn column(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Label => "label",
        }
    }
}

/// Rows with their names, read in ascending order.
pub(super) trait Rows {
    /// The number of rows and of numbers in each.
    fn shape(&self) -> (usize, usize);
    fn element(&self) -> Element;
    fn has(&self, names: Names) -> bool;
    /// The names of some rows; none where there are none.
    fn names(&mut self, names: Names, rows: Range<usize>) -> Result<Vec<String>, VectorsError>;
    fn numbers(&mut self, rows: Range<usize>) -> Result<Numbers<'_>, VectorsError>;
}

/// The blocks in which rows of this shape are written.
pub(super) fn blocks((rows, dim): (usize, usize)) -> impl Iterator<Item = Range<usize>> {
    let height = (BLOCK / dim.max(1)).max(1);
    (0..rows)
        .step_by(height)
        .map(move |start| start..rows.min(start + height))
}

impl Rows for &Vectors {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.dim)
    }

    fn element(&self) -> Element {
        Element::F32
    }

    fn has(&self, names: Names) -> bool {
        self.texts(names).is_some()
    }

    fn names(&mut self, names: Names, rows: Range<usize>) -> Result<Vec<String>, VectorsError> {
        Ok(self
            .texts(names)
            .map_or(Vec::new(), |texts| texts[rows].to_vec()))
    }

    fn numbers(&mut self, rows: Range<usize>) -> Result<Numbers<'_>, VectorsError> {
        let numbers = &self.data[rows.start * self.dim..rows.end * self.dim];
        Ok(Numbers::F32(numbers.into()))
    }
}

impl Vectors {
    fn texts(&self, names: Names) -> Option<&Vec<String>> {
        match names {
            Names::Id => self.ids.as_ref(),
            Names::Label => self.labels.as_ref(),
        }
    }
}
