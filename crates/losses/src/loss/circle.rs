//! The circle loss.

use super::{Definition, Row, RowLoss, exponentials, picks, softplus};
use crate::described::{described, words};
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::{NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

words! {
    /// What the gradient of a pair's own weight is.
    pub enum Weights {
        /// None: weights are constants.
        Stopped = "stop_weights",
        /// The derivative of the value.
        Full = "full",
    }
}

described! {
    /// Weighs each pair by its distance from where it should be, so that pairs well placed stop pulling.
    ///
    /// ```text
    /// L = mean over a of log( 1 + Σ_p exp(γ [d(a, p) + m]₊ (d(a, p) - m)) · Σ_n exp(γ [1 + m - d(a, n)]₊ (1 - m - d(a, n))) )
    /// ```
    ///
    /// Anchors without positives or without negatives have no term. Pairs count as tuples, and a pair is active while it is on
    /// the wrong side of its margin: a positive beyond `m`, a negative nearer than `1 - m`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// Y. Sun, C. Cheng, Y. Zhang, C. Zhang, L. Zheng, Z. Wang, Y. Wei, Circle Loss: A Unified Perspective of Pair Similarity
    /// Optimization, CVPR 2020, the form with self-paced weights and margins.
    ///
    /// # Differences
    /// The paper writes similarities: over the cosine distance, `s = 1 - d`, `O_p = 1 + m`, `O_n = -m`, `Δ_p = 1 - m` and
    /// `Δ_n = m`. The factors `[·]₊` are weights `α` that its gradient treats as constants, as pytorch-metric-learning does:
    /// `γ α`, times the pair's share of the softmax. The derivative of the value, `gradient = "full"`, has `2 γ d(a, p)` and
    /// `2 γ (1 - d(a, n))` in place of `γ α`: with it, pairs better placed than `d = 0` and `d = 1` are pulled back.
    /// The paper's `m` and `γ` are 0.25 and 256 for faces, 0.25 and 128 for persons, 0.4 and 80 for retrieval.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Circle, range::Positive};
    /// // Both positives at d = 0 and all negatives at d = 1: log(1 + exp(-γ m²) 2 exp(-γ m²)), γ = 1, m = 0.4.
    /// let objective = Objective::from(Circle { gamma: Positive::literal(1.0), ..Circle::default() });
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0], 4, 2);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (2.0 * (-0.32_f32).exp()).ln_1p()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Circle {
        /// Relaxation `m`: how near a positive and, from one on, how far a negative should be.
        pub margin: NonNegative = NonNegative::literal(0.4),
        /// Scale `γ`.
        pub gamma: Positive = Positive::literal(80.0),
        /// The gradient: `stop_weights` as in the paper, or `full`.
        pub gradient: Weights = Weights::Stopped,
    }
}

impl Circle {
    /// Exponent of a positive at `d` with its slope; a negative at `d` is a positive at `1 - d`, with the opposite slope.
    fn exponent(&self, d: f32) -> (f32, f32) {
        let (m, gamma) = (self.margin.get(), self.gamma.get());
        let weight = gamma * (d + m).max(0.0);
        let slope = match self.gradient {
            Weights::Stopped => weight,
            Weights::Full if weight > 0.0 => 2.0 * gamma * d,
            Weights::Full => 0.0,
        };
        (weight * (d - m), slope)
    }
}

impl Definition for Circle {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for Circle {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, m) = (row.d(), self.margin.get());
        let [mut tuples, mut active] = [0; 2];
        let [mut worst_p, mut worst_n] = [f32::NEG_INFINITY; 2];
        for p in row.positives() {
            tuples += 1;
            active += usize::from(d[p] > m);
            worst_p = worst_p.max(self.exponent(d[p]).0);
        }
        row.negatives(|range| {
            tuples += range.len();
            for &d in &d[range] {
                active += usize::from(d < 1.0 - m);
                worst_n = worst_n.max(self.exponent(1.0 - d).0);
            }
        });
        if worst_p == f32::NEG_INFINITY || worst_n == f32::NEG_INFINITY {
            return Row::nothing();
        }
        let [mut of_positives, mut of_negatives] = [0.0; 2];
        for p in row.positives() {
            g[p] = (self.exponent(d[p]).0 - worst_p).exp();
            of_positives += f64::from(g[p]);
        }
        row.negatives(|range| {
            let exponent = |d: f32| self.exponent(1.0 - d).0 - worst_n;
            of_negatives += exponentials(&d[range.clone()], exponent, &mut g[range]);
        });
        let logs = of_positives.ln() + of_negatives.ln();
        let (value, sigmoid) = softplus(worst_p + worst_n + logs as f32);
        let factor = sigmoid / of_positives as f32;
        for p in row.positives() {
            g[p] *= factor * self.exponent(d[p]).1;
        }
        let factor = -sigmoid / of_negatives as f32;
        row.negatives(|range| {
            for (g, &d) in g[range.clone()].iter_mut().zip(&d[range]) {
                *g *= factor * self.exponent(1.0 - d).1;
            }
        });
        row.whole(f64::from(value), [tuples, active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (m, gamma) = (self.margin.exact(), self.gamma.exact());
        let (o_p, o_n, delta_p, delta_n) = (1.0 + m, -m, 1.0 - m, m);
        let weighed = match self.gradient {
            Weights::Stopped => batch.held(),
            Weights::Full => batch,
        };
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let s = |batch: &Exact<'_>, j: usize| 1.0 - batch.d(anchor, j);
            let of_positives = positives.iter().map(|&p| {
                let alpha = (o_p - s(weighed, p)).max(0.0);
                -gamma * alpha * (s(batch, p) - delta_p)
            });
            let of_negatives = negatives.iter().map(|&n| {
                let alpha = (s(weighed, n) - o_n).max(0.0);
                gamma * alpha * (s(batch, n) - delta_n)
            });
            let product = picks::log_sum_exp(of_positives) + picks::log_sum_exp(of_negatives);
            terms.push(Term {
                anchor,
                group: 0,
                value: picks::log_sum_exp([0.0, product].into_iter()),
            });
        }
        terms
    }
}
