//! Fewer numbers.

use crate::unit_rows::checked;
use crate::{Flat, Index, IndexError, Neighbor};
use nearkin_kernels::Mat;

/// The first `d` numbers of each vector, scaled to length one again. It loses little where a model was trained so that they
/// carry most: Kusupati et al., "Matryoshka representation learning" (2022).
///
/// ```text
/// score = q[..d]·x[..d] / (‖q[..d]‖ ‖x[..d]‖)      bytes = 4 N d
/// ```
#[derive(Clone, Debug)]
pub struct Truncated {
    cut: Flat,
    dim: usize,
}

impl Truncated {
    /// Indexes `[N, D]` vectors by their first `dim` numbers.
    ///
    /// # Errors
    /// A number is not finite, also among those left out; or `dim` is 0 or more than there are.
    pub fn new(rows: Mat, dim: usize) -> Result<Self, IndexError> {
        if dim == 0 || dim > rows.cols {
            return Err(IndexError::Cut { dim, of: rows.cols });
        }
        checked(rows)?;
        Ok(Self {
            cut: Flat::new(first(rows, dim))?,
            dim: rows.cols,
        })
    }
}

/// The first columns.
fn first(rows: Mat, dim: usize) -> Mat {
    Mat { cols: dim, ..rows }
}

impl Index for Truncated {
    fn len(&self) -> usize {
        self.cut.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn bytes(&self) -> usize {
        self.cut.bytes()
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        if queries.cols != self.dim {
            return Err(IndexError::Width {
                index: self.dim,
                queries: queries.cols,
            });
        }
        checked(queries)?;
        self.cut.search(first(queries, self.cut.dim()), k)
    }
}
