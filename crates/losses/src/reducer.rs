//! Reducers: how the terms of a batch become one number.
//!
//! A loss is a sum of terms: one for each pair, triplet or anchor. A reducer weighs the terms of each anchor, so that
//! the value and the rows of `G` are multiplied by the same numbers, whatever the terms are.

pub mod class_weighted;
pub mod divisor;
pub mod mean;
pub mod mean_nonzero;
pub mod per_anchor;
pub mod sum;
pub mod threshold;

pub use class_weighted::{ClassWeighted, ClassWeights};
pub use divisor::Divisor;
pub use mean::Mean;
pub use mean_nonzero::MeanNonzero;
pub use per_anchor::PerAnchor;
pub use sum::Sum;
pub use threshold::Threshold;

use crate::catalogue::family;
use crate::described::Described;
use crate::lanes::total;

family! {
    /// How the terms of a batch become one number; without terms that number is zero.
    ///
    /// In a recipe: `[reducer.mean]`. Left out, the loss brings the reducer of its paper.
    pub enum Reducer: TermReducer {
        mean::Mean,
        mean_nonzero::MeanNonzero,
        sum::Sum,
        threshold::Threshold,
        class_weighted::ClassWeighted,
        per_anchor::PerAnchor,
        divisor::Divisor,
    }
}

/// Which terms count, by their value `v`: `low < v < high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keep {
    /// Lower bound, excluded.
    pub low: f32,
    /// Upper bound, excluded.
    pub high: f32,
}

impl Keep {
    /// Every term.
    pub const ALL: Self = Self {
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };

    /// Whether a term of this value counts.
    #[must_use]
    pub fn holds(self, value: f32) -> bool {
        self.low < value && value < self.high
    }

    /// Whether terms at and below zero may count, or large ones may not.
    #[must_use]
    pub fn is_selective(self) -> bool {
        self.low > 0.0 || self.high < f32::INFINITY
    }
}

/// The terms of one anchor, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Sum of the terms that count.
    pub value: f64,
    /// Terms.
    pub terms: usize,
    /// Those that count for the reducer.
    pub kept: usize,
    /// Pairs, triplets or tuplets that took part: the terms themselves, or what they are made of.
    pub tuples: usize,
    /// Those still violated: the ones a hinge would count. A smooth loss counts the same ones.
    pub active: usize,
}

impl Terms {
    /// Adds the term of a tuple; the share of its slope that counts, one or zero.
    pub fn add(&mut self, value: f32, active: bool, keep: Keep) -> f32 {
        self.terms += 1;
        self.tuples += 1;
        self.active += usize::from(active);
        if !keep.holds(value) {
            return 0.0;
        }
        self.value += f64::from(value);
        self.kept += 1;
        1.0
    }

    /// Adds the terms of a run of pairs, given their distances: `term` is the value, active above zero, and the slope, which
    /// goes to `slopes` where the term counts.
    pub fn add_run(
        &mut self,
        d: &[f32],
        slopes: &mut [f32],
        keep: Keep,
        term: impl Fn(f32) -> (f32, f32),
    ) {
        const BLOCK: usize = 256;
        for (slopes, d) in slopes.chunks_mut(BLOCK).zip(d.chunks(BLOCK)) {
            let mut values = [0.0; BLOCK];
            let [mut kept, mut active] = [0_u32; 2];
            for ((v, slope), &d) in values.iter_mut().zip(&mut *slopes).zip(d) {
                let (value, of) = term(d);
                let counts = keep.holds(value);
                kept += u32::from(counts);
                active += u32::from(value > 0.0);
                *v = if counts { value } else { 0.0 };
                *slope = if counts { of } else { 0.0 };
            }
            self.value += total(&values);
            self.terms += d.len();
            self.tuples += d.len();
            self.kept += kept as usize;
            self.active += active as usize;
        }
    }

    /// The one term of an anchor, made of so many tuples.
    #[must_use]
    pub fn whole(value: f64, [tuples, active]: [usize; 2], keep: Keep) -> Self {
        let kept = keep.holds(value as f32);
        Self {
            value: if kept { value } else { 0.0 },
            terms: 1,
            kept: usize::from(kept),
            tuples,
            active,
        }
    }
}

impl std::iter::Sum for Terms {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            value: sum.value + part.value,
            terms: sum.terms + part.terms,
            tuples: sum.tuples + part.tuples,
            kept: sum.kept + part.kept,
            active: sum.active + part.active,
        })
    }
}

/// One term, as the references list them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Row of the anchor.
    pub anchor: usize,
    /// Terms of different groups, such as positive and negative pairs, are reduced apart and then added.
    pub group: usize,
    /// Its value.
    pub value: f64,
}

/// A rule for the weights of the terms.
pub trait TermReducer: Described + Send + Sync {
    /// Which terms count.
    fn keep(&self) -> Keep {
        Keep::ALL
    }

    /// Whether all anchors weigh the same, whatever their terms are, so that slopes can be multiplied last.
    fn is_even(&self) -> bool {
        false
    }

    /// What the terms of each anchor are multiplied by, from their sums; `labels` are those of the anchors and `divisor`
    /// is the loss's own, if it has one.
    fn weights(&self, anchors: &[Terms], labels: &[u32], divisor: Option<f64>) -> Vec<f64>;

    /// The same for a list of terms of one group, plainly: the reduced value.
    fn reference(&self, terms: &[Term], labels: &[u32], divisor: Option<f64>) -> f64;
}

/// The same weight for each anchor: one over a count, or zero if it counts nothing.
fn one_over(count: f64, anchors: &[Terms]) -> Vec<f64> {
    let weight = if count > 0.0 { 1.0 / count } else { 0.0 };
    vec![weight; anchors.len()]
}
