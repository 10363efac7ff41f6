//! The generalized lifted structure loss.

use super::{Definition, Row, RowLoss, exponentials, picks};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::range::NonNegative;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Keeps the nearest negative of an anchor beyond its farthest positive by a margin, both softly.
    ///
    /// ```text
    /// L = mean over a of [ log Σ_p exp(d(a, p)) + log Σ_n exp(margin - d(a, n)) ]₊
    /// ```
    ///
    /// Anchors without positives or without negatives have no term.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification, arXiv 2017, Eq. 8.
    ///
    /// # Differences
    /// pytorch-metric-learning has the same with margin 1 over normalized `l2`, which is the default here. The paper's
    /// embeddings are not normalized.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::GeneralizedLiftedStructure};
    /// // All four embeddings equal: log 1 for the positive, log 2 + margin for the negatives.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(GeneralizedLiftedStructure::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (2_f32.ln() + 1.0)).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct GeneralizedLiftedStructure {
        /// Required gap of the soft extremes.
        pub margin: NonNegative = NonNegative::literal(1.0),
    }
}

impl Definition for GeneralizedLiftedStructure {
    fn default_distance(&self) -> Option<Distance> {
        Some(L2 { normalize: true }.into())
    }
}

impl RowLoss for GeneralizedLiftedStructure {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, nearest) = (row.d(), picks::nearest_negative(row));
        let farthest = row
            .positives()
            .map(|p| d[p])
            .fold(f32::NEG_INFINITY, f32::max);
        if nearest == f32::INFINITY || farthest == f32::NEG_INFINITY {
            return Row::nothing();
        }
        let [mut of_positives, mut of_negatives] = [0.0; 2];
        for p in row.positives() {
            g[p] = (d[p] - farthest).exp();
            of_positives += f64::from(g[p]);
        }
        row.negatives(|range| {
            of_negatives += exponentials(&d[range.clone()], |d| nearest - d, &mut g[range]);
        });
        let gap = f64::from(farthest) - f64::from(nearest) + self.margin.exact();
        let violation = gap + of_positives.ln() + of_negatives.ln();
        let active = violation > 0.0;
        let slope = f32::from(active);
        row.positives()
            .for_each(|p| g[p] *= slope / of_positives as f32);
        let factor = -slope / of_negatives as f32;
        row.negatives(|range| g[range].iter_mut().for_each(|g| *g *= factor));
        row.whole(violation.max(0.0), [1, usize::from(active)], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let margin = self.margin.exact();
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let d = |&j: &usize| batch.d(anchor, j);
            let violation = picks::log_sum_exp(positives.iter().map(d))
                + picks::log_sum_exp(negatives.iter().map(|n| margin - d(n)));
            let value = violation.max(0.0);
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
