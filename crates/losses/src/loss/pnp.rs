//! The PNP loss.

use super::rank::{exact_sigmoid, nearer, pull};
use super::{Definition, Row, RowLoss};
use crate::described::{described, words};
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

words! {
    /// What a positive costs that `R` negatives come before.
    pub enum Variant {
        /// `R`: every negative costs the same.
        Plain = "o",
        /// `(1 + R) log(1 + R)`: the more there are, the more each costs.
        IncreasingUnbounded = "iu",
        /// `(b R - log(1 + b R)) / b²`: the same, up to a bound.
        IncreasingBounded = "ib",
        /// `log(1 + R)`: the more there are, the less each costs.
        DecreasingSlow = "ds",
        /// `1 - (1 + R)^-α`: the same, quickly.
        DecreasingQuick = "dq",
    }
}

described! {
    /// Penalizes the negatives that come before a positive, and nothing else.
    ///
    /// ```text
    /// L = 1/B Σ_a 1/|P| Σ_{p∈P} f(R_p)        R_p = Σ_n σ( (d(a, p) - d(a, n)) / τ )
    /// o: f = R    iu: f = (1 + R) log(1 + R)    ib: f = (b R - log(1 + b R)) / b²
    ///             ds: f = log(1 + R)            dq: f = 1 - (1 + R)^-α
    /// ```
    ///
    /// An anchor needs a positive and a negative. A positive is active while some negative is at least as near.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, Rethinking the Optimization of Average
    /// Precision: Only Penalizing Negative Instances before Positive Ones is Enough, AAAI 2022, §3.
    ///
    /// # Differences
    /// The authors' code and pytorch-metric-learning count the query itself among its positives, and so does the default
    /// here. pytorch-metric-learning also averages over anchors without a positive.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Pnp};
    /// // Equal points: either item of the pair has half a negative before its positive.
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(Pnp::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.5).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Pnp {
        /// What a positive costs.
        pub variant: Variant = Variant::Plain,
        /// The bound `b` of `ib`.
        pub b: Positive = Positive::literal(2.0),
        /// The power `α` of `dq`.
        pub alpha: Positive = Positive::literal(1.0),
        /// Width `τ` of a step.
        pub temperature: Positive = Positive::literal(0.01),
        /// Count the query itself among its positives.
        pub query: bool = true,
    }
}

impl Pnp {
    /// `f(R)` and its slope.
    fn cost(&self, rank: f64) -> (f64, f64) {
        let (b, alpha, log) = (self.b.exact(), self.alpha.exact(), rank.ln_1p());
        match self.variant {
            Variant::Plain => (rank, 1.0),
            Variant::IncreasingUnbounded => ((1.0 + rank) * log, 1.0 + log),
            Variant::IncreasingBounded => {
                let x = b * rank;
                ((x - x.ln_1p()) / b.powi(2), rank / (1.0 + x))
            }
            Variant::DecreasingSlow => (log, 1.0 / (1.0 + rank)),
            Variant::DecreasingQuick => {
                let slope = alpha * (-(alpha + 1.0) * log).exp();
                (-(-alpha * log).exp_m1(), slope)
            }
        }
    }
}

impl Definition for Pnp {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for Pnp {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, temperature) = (row.d(), self.temperature.get());
        let mut positives: Vec<_> = row.positives().collect();
        let mut nearest = f32::INFINITY;
        row.negatives(|range| nearest = d[range].iter().fold(nearest, |m, &d| m.min(d)));
        if positives.is_empty() || nearest == f32::INFINITY {
            return Row::nothing();
        }
        let active = positives.iter().filter(|&&p| nearest <= d[p]).count();
        let counts = [positives.len(), active];
        positives.extend(row.pairs.own(row.a).filter(|_| self.query));
        let share = 1.0 / positives.len() as f64;

        let mut value = 0.0;
        let mut exponentials = vec![0.0; d.len()];
        for &p in &positives {
            let mut rank = 0.0;
            row.negatives(|range| {
                let out = &mut exponentials[range.clone()];
                rank += nearer(&d[range], d[p], temperature, out);
            });
            let (cost, slope) = self.cost(rank);
            value += share * cost;
            let (weight, mut of_p) = ((share * slope) as f32, 0.0);
            row.negatives(|range| {
                of_p += pull(
                    &exponentials[range.clone()],
                    weight,
                    temperature,
                    &mut g[range],
                );
            });
            g[p] += of_p as f32;
        }
        row.whole(value, counts, g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (b, alpha) = (self.b.exact(), self.alpha.exact());
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [mut positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            if self.query {
                let others = batch.others(anchor);
                positives.extend((0..batch.columns()).filter(|j| !others.contains(j)));
            }
            let costs = positives.iter().map(|&p| {
                let before = negatives.iter().map(|&n| {
                    let gap = batch.d(anchor, p) - batch.d(anchor, n);
                    exact_sigmoid(gap / self.temperature.exact())
                });
                let r: f64 = before.sum();
                match self.variant {
                    Variant::Plain => r,
                    Variant::IncreasingUnbounded => (1.0 + r) * (1.0 + r).ln(),
                    Variant::IncreasingBounded => (b * r - (1.0 + b * r).ln()) / (b * b),
                    Variant::DecreasingSlow => (1.0 + r).ln(),
                    Variant::DecreasingQuick => 1.0 - (1.0 + r).powf(-alpha),
                }
            });
            let value = costs.sum::<f64>() / positives.len() as f64;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
