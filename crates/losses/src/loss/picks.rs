//! The positive against all negatives of its anchor, as a softmax picks it.

use super::{Row, exponentials, softplus};
use crate::exact::Exact;
use crate::lanes::smallest;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

/// `log(1 + Σ_n exp(scale (x(d(a, p)) - d(a, n))))` for each positive; `x` gives its value and its slope.
///
/// The negatives enter by one log-sum-exp, so an anchor costs as much as it has pairs.
pub(super) fn picks(
    row: &Row<'_>,
    scale: f32,
    x: impl Fn(f32) -> (f32, f32),
    g: &mut [f32],
) -> [Terms; 2] {
    let d = row.d();
    let nearest = nearest_negative(row);
    if nearest == f32::INFINITY {
        return Row::nothing();
    }
    let mut sum = 0.0;
    row.negatives(|range| {
        sum += exponentials(&d[range.clone()], |d| scale * (nearest - d), &mut g[range]);
    });
    let log_sum = sum.ln() as f32;
    let mut terms = Terms::default();
    let mut push = 0.0;
    for p in row.positives() {
        let (x, slope) = x(d[p]);
        let (value, sigmoid) = softplus(scale * (x - nearest) + log_sum);
        let pull = scale * sigmoid * terms.add(value, x >= nearest, row.keep);
        g[p] = slope * pull;
        push += pull;
    }
    let factor = -push / sum as f32;
    row.negatives(|range| g[range].iter_mut().for_each(|g| *g *= factor));
    [terms, Terms::default()]
}

/// The distance of the nearest negative that takes part; infinite without one.
pub(super) fn nearest_negative(row: &Row<'_>) -> f32 {
    let mut nearest = f32::INFINITY;
    row.negatives(|range| nearest = nearest.min(smallest(&row.d()[range])));
    nearest
}

/// The terms of [`picks`] by the definition.
pub(super) fn reference(
    batch: &Exact<'_>,
    tuples: &Tuples,
    scale: f64,
    x: impl Fn(f64) -> f64,
) -> Vec<Term> {
    let mut terms = Vec::new();
    for anchor in 0..batch.rows() {
        let [positives, negatives] = batch.kept(anchor, tuples);
        for &p in positives.iter().filter(|_| !negatives.is_empty()) {
            let exponents = negatives
                .iter()
                .map(|&n| scale * (x(batch.d(anchor, p)) - batch.d(anchor, n)));
            let value = log_sum_exp(exponents.chain([0.0]));
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
    }
    terms
}

/// `log Σ exp` for the references, which no exponent overflows.
pub(super) fn log_sum_exp(exponents: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + exponents.map(|x| (x - largest).exp()).sum::<f64>().ln()
}
