//! Embeddings of length one, and blocks of their cosine similarities.

use std::ops::Range;

use nearkin_kernels::{Beta, Mat, MatMut, gemm_sequential, normalize_rows};

use crate::evaluate::{EvaluateError, check_finite};

/// Rows of a block: enough for an efficient product.
pub(crate) const ROWS: usize = 64;
/// Columns of a block, which then stays in the cache.
pub(crate) const COLUMNS: usize = 1024;

/// Rows of length one; a zero row stays zero and is like nothing.
pub(crate) struct UnitRows {
    data: Vec<f32>,
    pub count: usize,
    dim: usize,
}

impl UnitRows {
    pub fn new(embeddings: Mat) -> Result<Self, EvaluateError> {
        check_finite(embeddings)?;
        let mut data = embeddings.data.to_vec();
        normalize_rows(
            embeddings.data,
            embeddings.cols,
            &mut data,
            &mut vec![0.0; embeddings.rows],
        );
        Ok(Self {
            data,
            count: embeddings.rows,
            dim: embeddings.cols,
        })
    }

    fn mat(&self, rows: Range<usize>) -> Mat<'_> {
        let data = &self.data[rows.start * self.dim..rows.end * self.dim];
        Mat::new(data, rows.len(), self.dim)
    }

    /// Copies of single rows.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let row = |&row: &usize| &self.data[row * self.dim..(row + 1) * self.dim];
        Self {
            data: rows.iter().flat_map(row).copied().collect(),
            count: rows.len(),
            dim: self.dim,
        }
    }

    /// The cosines of `rows` of these and `columns` of the others, row-major in `block`.
    pub fn cosines<'b>(
        &self,
        rows: Range<usize>,
        others: &Self,
        columns: Range<usize>,
        block: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        let (height, width) = (rows.len(), columns.len());
        block.resize(height * width, 0.0);
        gemm_sequential(
            MatMut::new(block, height, width),
            Beta::Overwrite,
            1.0,
            self.mat(rows),
            others.mat(columns).t(),
        );
        block
    }
}

/// Pieces of `range` of at most `length`.
pub(crate) fn pieces(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(length)
        .map(move |start| start..(start + length).min(end))
}
