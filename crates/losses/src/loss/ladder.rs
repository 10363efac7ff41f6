//! Hinges over all pairs of two sets at once: sorted distances, and sums looked up in them.

use super::{Evaluation, Matrix};
use crate::reducer::{Keep, Terms};
use rayon::prelude::*;

/// Distances in ascending order, each with something to add up over those before it.
pub(super) struct Ladder {
    d: Vec<f32>,
    before: Vec<f64>,
}

impl Ladder {
    /// Of distances with what each adds.
    pub fn new(mut entries: Vec<(f32, f64)>) -> Self {
        entries.par_sort_by(|x, y| x.0.total_cmp(&y.0));
        let before = sums(entries.iter().map(|entry| entry.1));
        let d = entries.into_iter().map(|entry| entry.0).collect();
        Self { d, before }
    }

    /// Of distances that add themselves.
    pub fn of(mut d: Vec<f32>) -> Self {
        d.par_sort_unstable_by(f32::total_cmp);
        let before = sums(d.iter().map(|&d| f64::from(d)));
        Self { d, before }
    }

    pub fn len(&self) -> usize {
        self.d.len()
    }

    /// Distances below `bound`, with their sum.
    fn below(&self, bound: f64) -> (usize, f64) {
        self.first(bound, |d| d < bound)
    }

    /// Distances at and below `bound`, with their sum.
    fn up_to(&self, bound: f64) -> (usize, f64) {
        self.first(bound, |d| d <= bound)
    }

    /// The distances up to some bound, which most reducers do not have.
    fn first(&self, bound: f64, inside: impl Fn(f64) -> bool) -> (usize, f64) {
        let count = if bound.is_infinite() {
            if bound > 0.0 { self.len() } else { 0 }
        } else {
            self.d.partition_point(|&d| inside(f64::from(d)))
        };
        (count, self.before[count])
    }
}

/// The sum of the first none, one, two and so on.
fn sums(adds: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    let mut before = Vec::with_capacity(adds.len() + 1);
    let mut sum = 0.0;
    before.push(sum);
    before.extend(adds.map(|adds| {
        sum += adds;
        sum
    }));
    before
}

/// Hinges `[d_p - d_n + margin]₊`, of which those count that a reducer keeps.
#[derive(Clone, Copy)]
pub(super) struct Hinges {
    pub margin: f64,
    pub keep: Keep,
}

/// The hinges of one positive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Met {
    pub all: usize,
    pub violated: usize,
    /// Those that count, at zero or above.
    pub kept: usize,
    /// Those that count and have a slope.
    pub pulling: usize,
    /// The sum of those that count.
    pub value: f64,
}

impl Met {
    /// Without the hinges of a part of the negatives.
    pub fn without(self, part: Self) -> Self {
        Self {
            all: self.all - part.all,
            violated: self.violated - part.violated,
            kept: self.kept - part.kept,
            pulling: self.pulling - part.pulling,
            value: self.value - part.value,
        }
    }
}

impl Hinges {
    /// Bounds of the values that count and have a slope, both excluded.
    fn bounds(self) -> [f64; 2] {
        [f64::from(self.keep.low).max(0.0), f64::from(self.keep.high)]
    }

    /// The hinges of a positive at `d_p` with all negatives.
    pub fn of_positive(self, d_p: f32, negatives: &Ladder) -> Met {
        let [low, high] = self.bounds();
        let reach = f64::from(d_p) + self.margin;
        let ((inside, sum), (beyond, too_much)) =
            (negatives.below(reach - low), negatives.up_to(reach - high));
        let pulling = inside.saturating_sub(beyond);
        Met {
            all: negatives.len(),
            violated: if low > 0.0 {
                negatives.below(reach).0
            } else {
                inside
            },
            kept: if self.keep.low < 0.0 {
                negatives.len() - beyond
            } else {
                pulling
            },
            pulling,
            value: pulling as f64 * reach - (sum - too_much),
        }
    }

    /// What the positives add whose hinge with a negative at `d_n` counts and has a slope.
    pub fn of_negative(self, d_n: f32, positives: &Ladder) -> f64 {
        let [low, high] = self.bounds();
        let nearest = f64::from(d_n) - self.margin;
        positives.below(nearest + high).1 - positives.up_to(nearest + low).1
    }
}

/// The terms that an anchor's hinges are.
pub(super) fn terms(met: impl Iterator<Item = Met>) -> Terms {
    let mut terms = met.fold(Terms::default(), |terms, met| Terms {
        value: terms.value + met.value,
        kept: terms.kept + met.kept,
        tuples: terms.tuples + met.all,
        active: terms.active + met.violated,
        ..terms
    });
    terms.terms = terms.tuples;
    terms
}

/// The terms of two kinds of each anchor reduced, each kind apart, and what those of each anchor are multiplied by.
pub(super) fn reduced(matrix: &Matrix<'_>, terms: &[[Terms; 2]]) -> (Evaluation, [Vec<f64>; 2]) {
    let mut evaluation = Evaluation::default();
    let weights = [0, 1].map(|kind| {
        let terms: Vec<_> = terms.iter().map(|terms| terms[kind]).collect();
        let weights = matrix.reducer.weights(&terms, matrix.labels, None);
        for (terms, weight) in terms.iter().zip(&weights) {
            evaluation.value += terms.value * weight;
            evaluation.tuples += terms.tuples;
            evaluation.active += terms.active;
        }
        weights
    });
    (evaluation, weights)
}
