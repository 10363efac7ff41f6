//! The histogram loss.

use super::bins::{Bins, exact_share, sums_from, sums_to};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::{Count, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;

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

impl MatrixLoss for Histogram {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let pairs = matrix.pairs;
        let kept = matrix.tuples.pairs(pairs);
        let bins = Bins::new(self.bins.get(), self.span.get());
        let [mut h_p, mut h_n, mut counts] = [bins.empty(), bins.empty(), vec![0.0; 2]];
        let (mut farthest, mut nearest) = (f32::NEG_INFINITY, f32::INFINITY);
        for a in 0..pairs.rows() {
            let d = pairs.row(a);
            for p in kept.positives(a) {
                bins.add(d[p], &mut h_p);
                farthest = farthest.max(d[p]);
                counts[0] += 1.0;
            }
            kept.negatives(a, |range| {
                counts[1] += range.len() as f64;
                for &d in &d[range] {
                    bins.add(d, &mut h_n);
                    nearest = nearest.min(d);
                }
            });
        }
        if counts.contains(&0.0) {
            return Evaluation::default();
        }
        let scale = 1.0 / (counts[0] * counts[1]);
        let of_n = sums_from(h_p.iter().map(|h| h * scale));
        let of_p = sums_to(h_n.iter().map(|h| h * scale));
        let active = pairs.each_anchor(gradients.g, |a, g| {
            let (d, mut active) = (pairs.row(a), 0);
            for p in kept.positives(a) {
                g[p] = bins.slope(d[p], &of_p);
                active += usize::from(d[p] >= nearest);
            }
            kept.negatives(a, |range| {
                for (g, &d) in g[range.clone()].iter_mut().zip(&d[range]) {
                    *g = bins.slope(d, &of_n);
                    active += usize::from(d <= farthest);
                }
            });
            active
        });
        Evaluation {
            value: h_n.iter().zip(of_n).map(|(h, sum)| h * sum).sum(),
            tuples: (counts[0] + counts[1]) as usize,
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
