//! The kinds of indices, as values.

use crate::{Binary, Flat, Hnsw, Index, IndexError, Int8, Parameters, Reranked, Truncated};
use nearkin_kernels::Mat;
use std::fmt;

/// A kind of index with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Flat`]
    Flat,
    /// [`Int8`]
    Int8,
    /// [`Binary`]
    Binary,
    /// [`Reranked::by_int8`]
    RerankedByInt8 {
        /// The shortlist's length over k.
        factor: usize,
    },
    /// [`Reranked::by_flat`]
    RerankedByFlat {
        /// The shortlist's length over k.
        factor: usize,
    },
    /// [`Truncated`]
    Truncated {
        /// Numbers kept.
        dim: usize,
    },
    /// [`Hnsw`]
    Hnsw(Parameters),
}

impl Kind {
    /// Indexes `[N, D]` vectors.
    ///
    /// # Errors
    /// A number is not finite, the vectors have none, or a parameter does not fit.
    pub fn build(self, rows: Mat) -> Result<Box<dyn Index>, IndexError> {
        Ok(match self {
            Self::Flat => Box::new(Flat::new(rows)?),
            Self::Int8 => Box::new(Int8::new(rows)?),
            Self::Binary => Box::new(Binary::new(rows)?),
            Self::RerankedByInt8 { factor } => Box::new(Reranked::by_int8(rows, factor)?),
            Self::RerankedByFlat { factor } => Box::new(Reranked::by_flat(rows, factor)?),
            Self::Truncated { dim } => Box::new(Truncated::new(rows, dim)?),
            Self::Hnsw(parameters) => Box::new(Hnsw::new(rows, parameters)?),
        })
    }

    /// The same with another [effort](Index::set_effort).
    #[must_use]
    pub fn with_effort(self, effort: usize) -> Self {
        match self {
            Self::RerankedByInt8 { .. } => Self::RerankedByInt8 { factor: effort },
            Self::RerankedByFlat { .. } => Self::RerankedByFlat { factor: effort },
            Self::Hnsw(parameters) => Self::Hnsw(Parameters {
                ef: effort,
                ..parameters
            }),
            other => other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat => write!(f, "exact"),
            Self::Int8 => write!(f, "int8"),
            Self::Binary => write!(f, "binary"),
            Self::RerankedByInt8 { factor } => write!(f, "binary + int8 ×{factor}"),
            Self::RerankedByFlat { factor } => write!(f, "binary + f32 ×{factor}"),
            Self::Truncated { dim } => write!(f, "first {dim}"),
            Self::Hnsw(parameters) => write!(f, "HNSW, ef {}", parameters.ef),
        }
    }
}
