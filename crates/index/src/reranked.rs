//! Bits choose, bytes or numbers decide.

use crate::unit_rows::UnitRows;
use crate::{Binary, Flat, Index, IndexError, Int8, Neighbor};
use nearkin_kernels::Mat;
use rayon::prelude::*;

/// A shortlist of the best `factor · k` by [`Binary`], ranked anew by [`Int8`] or [`Flat`]: Yamada, Asai and Hajishirzi,
/// "Efficient passage retrieval with hashing for open-domain question answering" (2021).
///
/// Both are in memory here; where the second is read from a disk, only the bits take memory.
#[derive(Clone, Debug)]
pub struct Reranked {
    bits: Binary,
    judge: Judge,
    factor: usize,
}

/// What ranks the shortlist.
#[derive(Clone, Debug)]
enum Judge {
    Int8(Int8),
    Flat(Flat),
}

impl Reranked {
    /// Indexes `[N, D]` vectors; the shortlist is ranked by their bytes.
    ///
    /// # Errors
    /// A number is not finite, the vectors have none, or the factor is 0.
    pub fn by_int8(rows: Mat, factor: usize) -> Result<Self, IndexError> {
        Self::new(rows, Judge::Int8(Int8::new(rows)?), factor)
    }

    /// Likewise, ranked by the vectors themselves.
    ///
    /// # Errors
    /// As [`by_int8`](Self::by_int8).
    pub fn by_flat(rows: Mat, factor: usize) -> Result<Self, IndexError> {
        Self::new(rows, Judge::Flat(Flat::new(rows)?), factor)
    }

    fn new(rows: Mat, judge: Judge, factor: usize) -> Result<Self, IndexError> {
        IndexError::at_least(1, "the factor of a shortlist", factor)?;
        let bits = Binary::new(rows)?;
        Ok(Self {
            bits,
            judge,
            factor,
        })
    }
}

impl Judge {
    fn scores(&self, query: &[f32], ids: &[u32]) -> Vec<f32> {
        match self {
            Self::Int8(index) => index.judge(query, ids),
            Self::Flat(index) => index.judge(query, ids),
        }
    }
}

impl Index for Reranked {
    fn len(&self) -> usize {
        self.bits.len()
    }

    fn dim(&self) -> usize {
        self.bits.dim()
    }

    fn bytes(&self) -> usize {
        let second = match &self.judge {
            Judge::Int8(index) => index.bytes(),
            Judge::Flat(index) => index.bytes(),
        };
        self.bits.bytes() + second
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let chosen = self.bits.search(queries, k.saturating_mul(self.factor))?;
        let queries = UnitRows::of_queries(queries, self.dim())?;
        let ranked = chosen.into_par_iter().enumerate().map(|(query, mut list)| {
            // In the order in which they lie in memory.
            list.sort_unstable_by_key(|neighbor| neighbor.index);
            let ids: Vec<u32> = list.iter().map(|neighbor| neighbor.index).collect();
            let scores = self.judge.scores(queries.row(query), &ids);
            let pairs = list.iter_mut().zip(scores);
            pairs.for_each(|(neighbor, score)| neighbor.score = score);
            list.sort_unstable_by_key(|neighbor| neighbor.key());
            list.truncate(k);
            list
        });
        Ok(ranked.collect())
    }

    fn set_effort(&mut self, effort: usize) {
        self.factor = effort.max(1);
    }
}
