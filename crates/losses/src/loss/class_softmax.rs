//! The softmax over classes, and the sums over anchors, that losses over class proxies share.

use super::{Evaluation, Matrix, Row};
use crate::exact::Exact;
use crate::lanes::{largest, total};
use crate::reducer::{Term, Terms};
use rayon::prelude::*;

/// Numbers whose exponentials are added in `f32` before they join the sum in `f64`.
const BLOCK: usize = 256;

/// Rows whose columns are added up by one thread: fixed, so that sums have the same bits on any number of threads.
const ROWS: usize = 32;

/// What came of the target of a softmax.
pub(super) struct Odds {
    /// `log(1 + Σ exp z_j)`, or without the one.
    pub value: f64,
    /// The share of the other classes: minus the slope in the target's logit.
    pub miss: f32,
    /// Whether some other class has at least the logit of the target.
    pub beaten: bool,
}

/// `log(1 + Σ_j exp z_j)` over the classes but the target, whose own logit is the zero of `z`; without the one if the
/// target does not take part in the sum. The entries of `z` become their slopes times `of_slopes`, with zero in place of the
/// target.
pub(super) fn cross_entropy(
    z: &mut [f32],
    target: usize,
    (with_target, of_slopes): (bool, f32),
) -> Odds {
    let (before, rest) = z.split_at_mut(target);
    let after = &mut rest[1..];
    let top = largest(before).max(largest(after));
    let shift = if with_target { top.max(0.0) } else { top };
    let others = exp_in_place(before, shift) + exp_in_place(after, shift);
    let own = if with_target {
        (-f64::from(shift)).exp()
    } else {
        0.0
    };
    let total = own + others;
    let factor = of_slopes * total.recip() as f32;
    for z in z.iter_mut() {
        *z *= factor;
    }
    z[target] = 0.0;
    Odds {
        value: if own == 1.0 {
            others.ln_1p()
        } else {
            f64::from(shift) + total.ln()
        },
        miss: (others / total) as f32,
        beaten: top >= 0.0,
    }
}

/// `z = exp(z - shift)`; the sum.
pub(super) fn exp_in_place(z: &mut [f32], shift: f32) -> f64 {
    let mut sum = 0.0;
    for z in z.chunks_mut(BLOCK) {
        let mut exponents = [0.0; BLOCK];
        exponents
            .iter_mut()
            .zip(&*z)
            .for_each(|(e, &z)| *e = z - shift);
        nearkin_kernels::exp(&exponents[..z.len()], z);
        sum += total(z);
    }
    sum
}

/// The softmax of an anchor over classes of one proxy each, with logits `-scale · d`.
pub(super) struct ClassSoftmax {
    /// What distances are multiplied by.
    pub scale: f32,
    /// Whether the target is in the denominator.
    pub with_target: bool,
}

impl ClassSoftmax {
    /// The term of an anchor. `shifted` makes of the distance to the target's proxy that which enters the softmax, with
    /// its slope.
    pub fn row(
        &self,
        row: &Row<'_>,
        g: &mut [f32],
        shifted: impl Fn(f32) -> (f32, f32),
    ) -> [Terms; 2] {
        let Some(target) = row.pairs.positives(row.a).next() else {
            return Row::nothing();
        };
        let d = row.d();
        if d.len() == 1 && !self.with_target {
            return Row::nothing();
        }
        let scale = self.scale;
        let (own, slope) = shifted(d[target]);
        g.iter_mut()
            .zip(d)
            .for_each(|(z, d)| *z = scale * (own - d));
        let odds = cross_entropy(g, target, (self.with_target, -scale));
        g[target] = scale * odds.miss * slope;
        row.whole(odds.value, [1, usize::from(odds.beaten)], g)
    }
}

/// What losses over class proxies say alike: the distance to so many proxies of each class, the share of the classes that
/// is sampled, and nothing for a miner to choose.
macro_rules! class_definition {
    ($name:ident, $distance:expr, $per_class:expr, $sampled:expr $(, { $($rest:tt)* })?) => {
        impl $crate::loss::Definition for $name {
            fn default_distance(&self) -> Option<$crate::distance::Distance> {
                Some($distance.into())
            }

            fn default_miner(&self) -> Option<$crate::miner::Miner> {
                None
            }

            fn columns(&self) -> $crate::loss::Columns {
                let per_class: fn(&Self) -> usize = $per_class;
                $crate::loss::Columns::Proxies {
                    per_class: per_class(self),
                }
            }

            fn sampled(&self) -> f32 {
                let sampled: fn(&Self) -> f32 = $sampled;
                sampled(self)
            }

            $($($rest)*)?
        }
    };
}

pub(super) use class_definition;

/// The terms of the anchors of a matrix loss reduced, and the rows of `G` multiplied by the weights that come with it.
pub(super) fn reduce(
    matrix: &Matrix<'_>,
    terms: &[Terms],
    g: &mut [f32],
) -> (Evaluation, Vec<f64>) {
    let mut weights = matrix.reducer.weights(terms, matrix.labels, None);
    let mut evaluation = Evaluation::default();
    for (terms, weight) in terms.iter().zip(&mut weights) {
        evaluation.value += terms.value * *weight;
        evaluation.tuples += terms.tuples;
        evaluation.active += terms.active;
        if terms.kept == 0 {
            *weight = 0.0;
        }
    }
    matrix.pairs.each_anchor(g, |a, g| {
        let weight = weights[a] as f32;
        for g in g {
            *g *= weight;
        }
    });
    (evaluation, weights)
}

/// For each column the sum of what `add` finds in each row of `G`, given its number.
pub(super) fn column_sums(
    g: &[f32],
    cols: usize,
    add: impl Fn(usize, &[f32], &mut [f64]) + Sync,
) -> Vec<f64> {
    let blocks: Vec<Vec<f64>> = g
        .par_chunks(ROWS * cols)
        .enumerate()
        .map(|(block, rows)| {
            let mut sums = vec![0.0; cols];
            for (i, row) in rows.chunks_exact(cols).enumerate() {
                add(block * ROWS + i, row, &mut sums);
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; cols];
    for block in blocks {
        sums.iter_mut()
            .zip(block)
            .for_each(|(sum, part)| *sum += part);
    }
    sums
}

/// The terms of the anchors for the references, `log(1 + Σ_c exp(odds(i, y, c)))` over the classes `c` but the anchor's class
/// `y`, both as the columns of their proxies.
pub(super) fn terms(
    batch: &Exact<'_>,
    odds: impl Fn(usize, &[usize], &[usize]) -> f64,
) -> Vec<Term> {
    let mut terms = Vec::new();
    for anchor in 0..batch.rows() {
        let (y, others) = (batch.positives(anchor), batch.negatives(anchor));
        if y.is_empty() {
            continue;
        }
        let classes =
            others.chunk_by(|&j, &k| batch.label_of_column(j) == batch.label_of_column(k));
        terms.push(Term {
            anchor,
            group: 0,
            value: log_one_plus(classes.map(|c| odds(anchor, &y, c))),
        });
    }
    terms
}

/// `log(1 + Σ exp x)` for the references, also where `exp x` is beyond `f64`.
pub(super) fn log_one_plus(exponents: impl IntoIterator<Item = f64>) -> f64 {
    let exponents: Vec<f64> = exponents.into_iter().collect();
    let top = exponents.iter().copied().fold(0.0, f64::max);
    let sum: f64 = exponents.iter().map(|x| (x - top).exp()).sum();
    if top > 0.0 {
        top + ((-top).exp() + sum).ln()
    } else {
        sum.ln_1p()
    }
}
