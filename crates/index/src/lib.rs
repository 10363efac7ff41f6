//! Indices of vectors: the exact one, and those that are smaller or faster and miss some neighbors.
//!
//! Every [`Index`] compares by the cosine, `q·x / (‖q‖ ‖x‖)`, 0 with a zero vector, and answers with the `k` best of each
//! query, the best first, equal scores by index. What differs is what it keeps of a vector of D numbers:
//!
//! | index | keeps | score |
//! |---|---|---|
//! | [`Flat`] | D numbers | the cosine |
//! | [`Int8`] | D bytes | the cosine of the query and the middles of the levels |
//! | [`Binary`] | D bits | the cosine of the signs |
//! | [`Reranked`] | D bits and what judges the best of them | that of [`Int8`] or [`Flat`] |
//! | [`Truncated`] | the first d numbers | the cosine of these |
//! | [`Hnsw`] | D numbers and a graph | the cosine, of what the graph leads to |
//!
//! [`Kind`] names them all. What each misses on one's own vectors is measured by `nearkin::evaluate::compressions`.
//!
//! ```
//! use nearkin_index::{Index, Kind};
//! use nearkin_kernels::Mat;
//! let gallery = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
//! let index = Kind::Flat.build(Mat::new(&gallery, 3, 2))?;
//! let found = index.search(Mat::new(&[2.0, 0.0], 1, 2), 2)?;
//! assert_eq!(found[0].iter().map(|n| (n.index, n.score)).collect::<Vec<_>>(), [(0, 1.0), (2, 0.6)]);
//! assert_eq!(index.bytes(), 24);
//! # Ok::<(), nearkin_index::IndexError>(())
//! ```

mod binary;
mod error;
mod flat;
mod hnsw;
mod int8;
mod kind;
pub mod quantize;
#[cfg(test)]
mod reference;
mod reranked;
mod scan;
mod scratch;
mod truncated;
mod unit_rows;

pub use binary::Binary;
pub use error::{IndexError, NotFinite};
pub use flat::Flat;
pub use hnsw::{Hnsw, Parameters};
pub use int8::Int8;
pub use kind::Kind;
pub use nearkin_kernels::Neighbor;
pub use reranked::Reranked;
pub use truncated::Truncated;

use nearkin_kernels::Mat;

/// Vectors made ready to be searched.
pub trait Index: Send + Sync {
    /// How many vectors there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of a vector.
    fn dim(&self) -> usize;

    /// Bytes of memory that it holds.
    fn bytes(&self) -> usize;

    /// The `k` best of each query that it finds, the best first, equal scores by index; all threads share the queries. The
    /// lists are shorter where there are fewer vectors.
    ///
    /// # Shapes
    /// - `queries`: `[Q, D]`; result: `Q` lists
    ///
    /// # Errors
    /// The queries have another width, or a number is not finite.
    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError>;

    /// How hard it looks from now on: `ef` of [`Hnsw`], `factor` of [`Reranked`]; nothing to the others.
    fn set_effort(&mut self, _effort: usize) {}
}
