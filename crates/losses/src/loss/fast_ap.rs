//! The Fast-AP loss.

use super::bins::{Bins, exact_share, sums_from, sums_to};
use super::{Definition, Row, RowLoss};
use crate::described::described;
use crate::distance::{Distance, SquaredL2};
use crate::exact::Exact;
use crate::lanes::smallest;
use crate::range::{Count, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Average precision from histograms of distances.
    ///
    /// ```text
    /// L = 1/B Σ_a ( 1 - 1/|P| Σ_l h⁺_l H⁺_l / H_l )
    /// h_l = Σ_j [ 1 - |d(a, j) - l Δ| / Δ ]₊,  Δ = span / bins;  H_l = Σ_{m≤l} h_m;  h = h⁺ + h⁻
    /// ```
    ///
    /// Distances are clamped to `0..span`, outside of which they have no slope. An anchor needs a positive and a negative.
    /// A positive is active while some negative is at least as near.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// F. Cakir, K. He, X. Xia, B. Kulis, S. Sclaroff, Deep Metric Learning to Rank, CVPR 2019, Eq. 6, 9 and 10.
    ///
    /// # Differences
    /// As in pytorch-metric-learning, but for any distance, with its range as `span`, and in time linear in the bins.
    /// Anchors without a negative, whose precision is perfect, are no terms.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::FastAp};
    /// // Equal points: the first bin holds a positive and a negative, so the precision is ½.
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(FastAp::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.5).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct FastAp {
        /// Steps of the histogram.
        pub bins: Count = Count::literal(10),
        /// The largest distance: 4 for the squared one of normalized embeddings, 2 for cosine.
        pub span: Positive = Positive::literal(4.0),
    }
}

impl Definition for FastAp {
    fn default_distance(&self) -> Option<Distance> {
        Some(SquaredL2::default().into())
    }
}

impl RowLoss for FastAp {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, bins) = (row.d(), Bins::new(self.bins.get(), self.span.get()));
        let [mut of_positives, mut of_negatives] = [bins.tallies(), bins.tallies()];
        let (mut negatives, mut nearest) = (0, f32::INFINITY);
        row.negatives(|range| {
            negatives += range.len();
            nearest = nearest.min(smallest(&d[range.clone()]));
            bins.count(&d[range], &mut of_negatives);
        });
        let to_positives: Vec<f32> = row.positives().map(|p| d[p]).collect();
        if to_positives.is_empty() || negatives == 0 {
            return Row::nothing();
        }
        bins.count(&to_positives, &mut of_positives);
        let active = to_positives.iter().filter(|&&d| nearest <= d).count();
        let [h_p, h_n] = [of_positives, of_negatives].map(|tallies| tallies.histogram());

        let share = 1.0 / to_positives.len() as f64;
        let (to_p, to_n) = (sums_to(h_p.iter().copied()), sums_to(h_n.iter().copied()));
        let over = |x: f64, l: usize| {
            let all = to_p[l] + to_n[l];
            if all > 0.0 { x / all } else { 0.0 }
        };
        // 1 - Σ h⁺ H⁺ / H is Σ h⁺ H⁻ / H, which does not cancel: here are the slopes of its factors at each node.
        let nodes = 0..h_p.len();
        let value: f64 = nodes
            .clone()
            .map(|l| share * h_p[l] * over(to_n[l], l))
            .sum();
        let by_sum_p = |l| -share * h_p[l] * over(over(to_n[l], l), l);
        let by_sum_n = |l| share * h_p[l] * over(over(to_p[l], l), l);
        let mut of_p = sums_from(nodes.clone().map(by_sum_p));
        let of_n = sums_from(nodes.map(by_sum_n));
        for (l, of_p) in of_p.iter_mut().enumerate() {
            *of_p += share * over(to_n[l], l);
        }
        let [of_p, of_n] = [of_p, of_n].map(|nodes| bins.slopes(&nodes));
        let mut pulls = vec![0.0; to_positives.len()];
        of_p(&to_positives, &mut pulls);
        row.positives().zip(pulls).for_each(|(p, pull)| g[p] = pull);
        row.negatives(|range| of_n(&d[range.clone()], &mut g[range]));
        row.whole(value, [to_positives.len(), active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let size = [self.bins.get() as f64, self.span.exact()];
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let h = |columns: &[usize], l: usize| {
                let shares = columns
                    .iter()
                    .map(|&j| exact_share(batch.d(anchor, j), l, size));
                shares.sum::<f64>()
            };
            let [mut sum_p, mut sum, mut precision] = [0.0; 3];
            for l in 0..=self.bins.get() {
                let h_p = h(&positives, l);
                sum_p += h_p;
                sum += h_p + h(&negatives, l);
                if sum > 0.0 {
                    precision += h_p * sum_p / sum;
                }
            }
            let value = 1.0 - precision / positives.len() as f64;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
