//! Vectors of length one.

use crate::IndexError;
use crate::error::NotFinite;
use nearkin_kernels::{Mat, normalize_rows};
use std::borrow::Cow;
use std::ops::Range;

/// Rows of length one, so that their products are cosines; a zero row stays zero.
#[derive(Clone, Debug)]
pub(crate) struct UnitRows {
    /// `[count, dim]`
    pub data: Vec<f32>,
    pub count: usize,
    pub dim: usize,
}

impl UnitRows {
    /// Scales `[N, D]` rows.
    pub fn new(rows: Mat) -> Result<Self, IndexError> {
        let (count, dim) = (rows.rows, rows.cols);
        let given = checked(rows)?;
        let mut data = vec![0.0; given.len()];
        normalize_rows(&given, dim, &mut data, &mut vec![0.0; count]);
        Ok(Self { data, count, dim })
    }

    /// Queries for an index of vectors of `dim` numbers.
    pub fn of_queries(queries: Mat, dim: usize) -> Result<Self, IndexError> {
        if queries.cols != dim {
            return Err(IndexError::Width {
                index: dim,
                queries: queries.cols,
            });
        }
        Self::new(queries)
    }

    pub fn row(&self, at: usize) -> &[f32] {
        &self.data[at * self.dim..(at + 1) * self.dim]
    }

    pub fn mat(&self, rows: Range<usize>) -> Mat<'_> {
        let data = &self.data[rows.start * self.dim..rows.end * self.dim];
        Mat::new(data, rows.len(), self.dim)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.data)
    }
}

/// The numbers of `[N, D]` vectors, row by row, if they can be compared.
pub(crate) fn checked(rows: Mat<'_>) -> Result<Cow<'_, [f32]>, IndexError> {
    if rows.rows > u32::MAX as usize {
        return Err(IndexError::TooMany { rows: rows.rows });
    }
    if rows.cols == 0 && rows.rows > 0 {
        return Err(IndexError::NoNumbers { rows: rows.rows });
    }
    let given = without_gaps(rows);
    NotFinite::check(Mat::new(&given, rows.rows, rows.cols))?;
    Ok(given)
}

/// The numbers of a view, row by row.
fn without_gaps(rows: Mat<'_>) -> Cow<'_, [f32]> {
    rows.as_contiguous().map_or_else(
        || {
            let at = |i: usize, j: usize| rows.data[i * rows.row_stride + j * rows.col_stride];
            let each = (0..rows.rows).flat_map(|i| (0..rows.cols).map(move |j| at(i, j)));
            Cow::Owned(each.collect())
        },
        Cow::Borrowed,
    )
}
