//! Losses: functions of the pair matrix.

pub mod contrastive;
mod hinge;
pub mod multi_similarity;
pub mod n_pair;
pub mod triplet_margin;

pub use contrastive::Contrastive;
pub use multi_similarity::MultiSimilarity;
pub use n_pair::NPair;
pub use triplet_margin::TripletMargin;

use crate::catalogue::family;
use crate::described::Described;
use crate::distance::Distance;
use crate::exact::Exact;
use crate::miner::{All, Miner};
use crate::pairs::{Classes, Pairs};
use crate::tuples::Tuples;
use rayon::prelude::*;

family! {
    /// A loss over the pairs, triplets or tuplets of a batch.
    ///
    /// In a recipe: `[loss.triplet_margin]` with its parameters below it.
    pub enum Loss: PairLoss {
        contrastive::Contrastive,
        multi_similarity::MultiSimilarity,
        n_pair::NPair,
        triplet_margin::TripletMargin,
    }
}

/// What a loss made of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// `L`.
    pub value: f64,
    /// Tuples that took part.
    pub tuples: usize,
    /// Those still violated: the ones a hinge would count. A smooth loss counts the same ones.
    pub active: usize,
}

impl Evaluation {
    /// Adds the term of one tuple.
    fn add(&mut self, term: f32) {
        self.value += f64::from(term);
        self.tuples += 1;
        self.active += usize::from(term > 0.0);
    }
}

impl std::iter::Sum for Evaluation {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            value: sum.value + part.value,
            tuples: sum.tuples + part.tuples,
            active: sum.active + part.active,
        })
    }
}

/// A loss as a function of the pair matrix: `(S, labels, tuples) → (L, G = ∂L/∂S)`.
///
/// [`value_and_grad`](Self::value_and_grad) is fused and in `f32`; [`reference`](Self::reference) is the formula of the
/// paper in `f64`, tuple by tuple. Neither calls the other.
pub trait PairLoss: Described + Send + Sync {
    /// What the loss needs to know of each item.
    fn targets(&self) -> &'static str {
        "labels"
    }

    /// The distance of the paper.
    fn default_distance(&self) -> Distance;

    /// The miner of the paper.
    fn default_miner(&self) -> Miner {
        All {}.into()
    }

    /// Whether the loss forms its own tuples, so that a miner would have nothing to choose.
    fn forms_tuples(&self) -> bool {
        false
    }

    /// `L`, with `G = ∂L/∂S` added to `g`, shape `[B, B]`, which comes filled with zeros.
    ///
    /// `S[i][j]` and `S[j][i]` are independent entries here: the distance adds up `G` and its transpose.
    fn value_and_grad(&self, pairs: Pairs<'_>, tuples: &Tuples, g: &mut [f32]) -> Evaluation;

    /// The part of the loss on the embeddings themselves, such as a penalty of their norms: its value, with its gradient
    /// added to `gradient`. Both are `[B, D]`, row-major; the embeddings are as they came, before any normalization.
    fn embedding_term(
        &self,
        _embeddings: &[f32],
        _classes: &Classes,
        _gradient: &mut [f32],
    ) -> f64 {
        0.0
    }

    /// The whole loss, embedding term included, in the letters of the paper.
    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> f64;
}

/// Multiplies `G` by a number.
fn scale(g: &mut [f32], factor: f64) {
    let factor = factor as f32;
    g.par_chunks_mut(1 << 14)
        .for_each(|chunk| chunk.iter_mut().for_each(|g| *g *= factor));
}

/// `log(1 + e^x)` and its derivative, for any `x`.
fn softplus(x: f32) -> (f32, f32) {
    let e = (-x.abs()).exp();
    let sigmoid = if x >= 0.0 {
        1.0 / (1.0 + e)
    } else {
        e / (1.0 + e)
    };
    (x.max(0.0) + e.ln_1p(), sigmoid)
}
