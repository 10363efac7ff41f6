//! What can be wrong with vectors.

use crate::quantize::QuantizeError;
use nearkin_kernels::{Mat, first_non_finite};

/// A number is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the embeddings are not finite: row {row}, column {column} is {value}")]
pub struct NotFinite {
    /// The row.
    pub row: usize,
    /// The column.
    pub column: usize,
    /// The number.
    pub value: f32,
}

impl NotFinite {
    /// Names the first number of `[N, D]` embeddings without gaps that is not finite.
    pub(crate) fn check(embeddings: Mat) -> Result<(), Self> {
        first_non_finite(embeddings.data).map_or(Ok(()), |at| {
            Err(Self {
                row: at / embeddings.cols,
                column: at % embeddings.cols,
                value: embeddings.data[at],
            })
        })
    }
}

/// Why vectors cannot be indexed or searched.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// A number is NaN or infinite.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// Vectors without a number.
    #[error("{rows} vectors of no numbers cannot be compared")]
    NoNumbers {
        /// Vectors.
        rows: usize,
    },
    /// More vectors than indices are counted in.
    #[error("{rows} vectors: an index holds at most {}", u32::MAX)]
    TooMany {
        /// Vectors.
        rows: usize,
    },
    /// Queries of another width.
    #[error("the index is of vectors of {index} numbers, the queries have {queries}")]
    Width {
        /// Numbers of a vector of the index.
        index: usize,
        /// Numbers of a query.
        queries: usize,
    },
    /// A vector cannot be cut to this.
    #[error("vectors of {of} numbers cannot be cut to their first {dim}")]
    Cut {
        /// Numbers that were to be kept.
        dim: usize,
        /// Numbers there are.
        of: usize,
    },
    /// A parameter of a graph or a shortlist is too small.
    #[error("{name} is {found}, at least {least} is needed")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: usize,
        /// What it must be.
        least: usize,
    },
    /// Numbers cannot become bytes or bits.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
}

impl IndexError {
    /// Refuses a parameter below its least value.
    pub(crate) fn at_least(least: usize, name: &'static str, found: usize) -> Result<(), Self> {
        if found < least {
            return Err(Self::Parameter { name, found, least });
        }
        Ok(())
    }
}
