//! The exact index.

use crate::scan::scan;
use crate::unit_rows::UnitRows;
use crate::{Index, IndexError, Neighbor};
use nearkin_kernels::{Beta, Mat, MatMut, dot_rows, gemm_sequential};

/// All vectors as they are, each compared with every query: what it finds is what there is.
///
/// ```text
/// score = q·x / (‖q‖ ‖x‖)      bytes = 4 N D
/// ```
#[derive(Clone, Debug)]
pub struct Flat {
    rows: UnitRows,
}

impl Flat {
    /// Indexes `[N, D]` vectors.
    ///
    /// # Errors
    /// A number is not finite, or the vectors have none.
    pub fn new(rows: Mat) -> Result<Self, IndexError> {
        let rows = UnitRows::new(rows)?;
        Ok(Self { rows })
    }

    /// The scores of some vectors for a query of length one.
    pub(crate) fn judge(&self, query: &[f32], ids: &[u32]) -> Vec<f32> {
        let mut scores = vec![0.0; ids.len()];
        dot_rows(query, &self.rows.data, ids, &mut scores);
        scores
    }
}

impl Index for Flat {
    fn len(&self) -> usize {
        self.rows.count
    }

    fn dim(&self) -> usize {
        self.rows.dim
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let queries = UnitRows::of_queries(queries, self.rows.dim)?;
        Ok(scan(queries.count, self.rows.count, k, |tile| {
            let (q, x) = (queries.mat(tile.queries), self.rows.mat(tile.items));
            let scores = MatMut::new(tile.scores, q.rows, x.rows);
            gemm_sequential(scores, Beta::Overwrite, 1.0, q, x.t());
        }))
    }
}
