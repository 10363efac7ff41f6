//! The histogram loss.

use super::bins::{Bins, exact_share, sums_from, sums_to};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::lanes::{largest, smallest};
use crate::pairs::Pairs;
use crate::range::{Count, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::{KeptPairs, Tuples};
use rayon::prelude::*;
use std::ops::Range;

described! {
    /// The probability that a random negative pair is nearer than a random positive one, from histograms of either kind.
    ///
    /// ```text
    /// L = Σ_r h⁻_r Σ_{q≥r} h⁺_q        h_r = mean over pairs of [ 1 - |d - r Δ| / Δ ]₊,  Δ = span / bins
    /// ```
    ///
    /// Distances are clamped to `0..span`, outside of which they have no slope. Active are the negatives no farther than
    /// the farthest positive, and the positives no nearer than the nearest negative.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// E. Ustinova, V. Lempitsky, Learning Deep Embeddings with Histogram Loss, NIPS 2016, Eq. 1 to 6.
    ///
    /// # Differences
    /// As in the paper, all pairs of the batch make the histograms, also those of an item whose class has no other.
    /// pytorch-metric-learning takes only the pairs of triplets. Bins run over distances here, so any distance will do.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Histogram};
    /// // Equal points: all pairs are in the first bin, and a tie counts in full.
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(Histogram::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 1.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Histogram {
        /// Steps of the histograms.
        pub bins: Count = Count::literal(100),
        /// The largest distance: 2 for cosine.
        pub span: Positive = Positive::literal(2.0),
    }
}

impl Definition for Histogram {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }
}

/// Rows that are counted together: fixed, so that sums have the same bits on any number of threads.
const ROWS: usize = 32;

/// The pairs that take part, positive and negative.
struct Counted {
    histograms: [Vec<f64>; 2],
    counts: [usize; 2],
    /// Distance of the farthest positive.
    farthest: f32,
    /// Distance of the nearest negative.
    nearest: f32,
}

impl Counted {
    fn new(pairs: Pairs<'_>, kept: &KeptPairs<'_>, bins: Bins) -> Self {
        let blocks: Vec<_> = (0..pairs.rows().div_ceil(ROWS)).collect();
        let of_block = |block: usize| {
            let rows = block * ROWS..pairs.rows().min((block + 1) * ROWS);
            Self::of_rows(rows, pairs, kept, bins)
        };
        let blocks: Vec<Self> = blocks.into_par_iter().map(of_block).collect();
        let none = Self::of_rows(0..0, pairs, kept, bins);
        blocks.into_iter().fold(none, Self::plus)
    }

    fn of_rows(rows: Range<usize>, pairs: Pairs<'_>, kept: &KeptPairs<'_>, bins: Bins) -> Self {
        let [mut positives, mut negatives] = [bins.tallies(), bins.tallies()];
        let (mut counts, mut nearest) = ([0; 2], f32::INFINITY);
        let mut to_positives = Vec::new();
        for a in rows {
            let d = pairs.row(a);
            to_positives.extend(kept.positives(a).map(|p| d[p]));
            kept.negatives(a, |range| {
                counts[1] += range.len();
                nearest = nearest.min(smallest(&d[range.clone()]));
                bins.count(&d[range], &mut negatives);
            });
        }
        counts[0] = to_positives.len();
        bins.count(&to_positives, &mut positives);
        Self {
            histograms: [positives, negatives].map(|tallies| tallies.histogram()),
            counts,
            farthest: largest(&to_positives),
            nearest,
        }
    }

    fn plus(mut self, other: Self) -> Self {
        for (sum, part) in self.histograms.iter_mut().zip(other.histograms) {
            sum.iter_mut().zip(part).for_each(|(s, h)| *s += h);
        }
        Self {
            counts: [0, 1].map(|k| self.counts[k] + other.counts[k]),
            farthest: self.farthest.max(other.farthest),
            nearest: self.nearest.min(other.nearest),
            ..self
        }
    }
}

impl MatrixLoss for Histogram {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let pairs = matrix.pairs;
        let kept = matrix.tuples.pairs(pairs);
        let bins = Bins::new(self.bins.get(), self.span.get());
        let Counted {
            histograms: [h_p, h_n],
            counts,
            farthest,
            nearest,
        } = Counted::new(pairs, &kept, bins);
        if counts.contains(&0) {
            return Evaluation::default();
        }
        let scale = 1.0 / (counts[0] as f64 * counts[1] as f64);
        let of_n = sums_from(h_p.iter().map(|h| h * scale));
        let of_p = sums_to(h_n.iter().map(|h| h * scale));
        let (push, pull) = (bins.slopes(&of_n), bins.slopes(&of_p));
        let active = pairs.each_anchor(gradients.g, |a, g| {
            let (d, mut active) = (pairs.row(a), 0);
            for p in kept.positives(a) {
                pull(&d[p..=p], &mut g[p..=p]);
                active += u32::from(d[p] >= nearest);
            }
            kept.negatives(a, |range| {
                push(&d[range.clone()], &mut g[range.clone()]);
                active += d[range]
                    .iter()
                    .map(|&d| u32::from(d <= farthest))
                    .sum::<u32>();
            });
            active as usize
        });
        Evaluation {
            value: h_n.iter().zip(of_n).map(|(h, sum)| h * sum).sum(),
            tuples: counts[0] + counts[1],
            active: active.iter().sum(),
        }
    }

    fn needs_square(&self) -> bool {
        false
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let size = [self.bins.get() as f64, self.span.exact()];
        let same = |&(i, j): &(usize, usize)| batch.label(i) == batch.label_of_column(j);
        let (positives, negatives): (Vec<_>, Vec<_>) =
            batch.pairs(tuples).into_iter().partition(same);
        let h = |pairs: &[(usize, usize)], r: usize| {
            let shares = pairs
                .iter()
                .map(|&(i, j)| exact_share(batch.d(i, j), r, size));
            shares.sum::<f64>() / pairs.len().max(1) as f64
        };
        let nodes = 0..=self.bins.get();
        let h_p: Vec<_> = nodes.clone().map(|r| h(&positives, r)).collect();
        let value = nodes
            .map(|r| h(&negatives, r) * h_p[r..].iter().sum::<f64>())
            .sum();
        vec![Term {
            anchor: 0,
            group: 0,
            value,
        }]
    }
}
