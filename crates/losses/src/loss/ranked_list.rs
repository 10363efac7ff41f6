//! The ranked list loss.

use super::{Definition, Row, RowLoss};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::range::{Fraction, NonNegative};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Gathers the positives of an anchor in a ball and keeps its negatives out of a larger one.
    ///
    /// ```text
    /// L = 1/B Σ_a { (1 - λ) Σ_p w_p (d(a, p) - (α - m)) / Σ_p w_p  +  λ Σ_n w_n (α - d(a, n)) / Σ_n w_n }
    /// w_p = exp(T_p (d(a, p) - (α - m))) of positives with d > α - m
    /// w_n = exp(T_n (α - d(a, n)))       of negatives with d < α
    /// ```
    ///
    /// Pairs in their place have no weight, and so no term; those out of it are active.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// X. Wang, Y. Hua, E. Kodirov, G. Hu, R. Garnier, N. M. Robertson, Ranked List Loss for Deep Metric Learning, CVPR
    /// 2019, Eq. 5 to 9.
    ///
    /// # Differences
    /// The gradient is that of the formula, through the weights too, as in pytorch-metric-learning; the paper holds the
    /// weights fixed in its Eq. 10. pytorch-metric-learning adds 1e-5 to the weight of every item of the batch, in its
    /// place or not, so that its values are a little smaller, and has no default margin and temperature.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, distance::L2, loss::RankedList};
    /// // Points 0, 1 and 1.2 on a line: the positives are 0.2 beyond α - m = 0.8, which costs their two anchors half of it.
    /// // The second and third are 1 inside α = 1.2 of each other, which costs them half of that; 0 and 1.2 are far enough.
    /// let batch = Mat::new(&[0.0, 1.0, 1.2], 3, 1);
    /// let outcome = Objective::from(RankedList::default()).with_distance(L2 { normalize: false })
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (0.1 + (0.1 + 0.5) + 0.5) / 3.0).abs() < 1e-3);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct RankedList {
        /// Gap `m` between the two balls.
        pub margin: NonNegative = NonNegative::literal(0.4),
        /// Distance `α` beyond which negatives cost nothing.
        pub alpha: NonNegative = NonNegative::literal(1.2),
        /// Temperature `T_p` of the weights of positives.
        pub positive_temperature: NonNegative = NonNegative::literal(0.0),
        /// Temperature `T_n` of the weights of negatives.
        pub negative_temperature: NonNegative = NonNegative::literal(10.0),
        /// Share `λ` of the negatives' part.
        pub imbalance: Fraction = Fraction::literal(0.5),
    }
}

/// The weighted mean of the excesses of the pairs of one kind.
#[derive(Clone, Copy)]
struct Mean {
    temperature: f32,
    largest: f32,
    weights: f64,
    sum: f64,
    active: usize,
}

impl Mean {
    /// Of excesses whose largest is known: weights are relative to it, so that none overflows.
    fn new(temperature: f32, largest: f32) -> Self {
        let [weights, sum] = [0.0; 2];
        Self {
            temperature,
            largest,
            weights,
            sum,
            active: 0,
        }
    }

    fn weight(&self, excess: f32) -> f32 {
        (self.temperature * (excess - self.largest)).exp()
    }

    fn add(&mut self, excess: f32) {
        if excess > 0.0 {
            let weight = f64::from(self.weight(excess));
            self.weights += weight;
            self.sum += weight * f64::from(excess);
            self.active += 1;
        }
    }

    fn value(&self) -> f64 {
        if self.active > 0 {
            self.sum / self.weights
        } else {
            0.0
        }
    }

    fn slope(&self, excess: f32) -> f32 {
        if excess <= 0.0 {
            return 0.0;
        }
        let from_mean = f64::from(excess) - self.value();
        let slope = 1.0 + f64::from(self.temperature) * from_mean;
        (f64::from(self.weight(excess)) / self.weights * slope) as f32
    }
}

impl Definition for RankedList {
    fn default_distance(&self) -> Option<Distance> {
        Some(L2::default().into())
    }
}

impl RowLoss for RankedList {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, alpha, imbalance) = (row.d(), self.alpha.get(), self.imbalance.get());
        let inner = (self.alpha.exact() - self.margin.exact()) as f32;
        let (mut farthest, mut nearest, mut tuples) = (inner, alpha, 0);
        for p in row.positives() {
            farthest = farthest.max(d[p]);
            tuples += 1;
        }
        row.negatives(|range| {
            tuples += range.len();
            nearest = d[range].iter().fold(nearest, |m, &d| m.min(d));
        });
        let mut positives = Mean::new(self.positive_temperature.get(), farthest - inner);
        row.positives().for_each(|p| positives.add(d[p] - inner));
        let mut negatives = Mean::new(self.negative_temperature.get(), alpha - nearest);
        row.negatives(|range| d[range].iter().for_each(|&d| negatives.add(alpha - d)));

        for p in row.positives() {
            g[p] = (1.0 - imbalance) * positives.slope(d[p] - inner);
        }
        row.negatives(|range| {
            for (g, &d) in g[range.clone()].iter_mut().zip(&d[range]) {
                *g = -imbalance * negatives.slope(alpha - d);
            }
        });
        let share = self.imbalance.exact();
        let value = (1.0 - share) * positives.value() + share * negatives.value();
        row.whole(value, [tuples, positives.active + negatives.active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (alpha, margin) = (self.alpha.exact(), self.margin.exact());
        let lambda = self.imbalance.exact();
        let (t_p, t_n) = (
            self.positive_temperature.exact(),
            self.negative_temperature.exact(),
        );
        let mean = |excesses: Vec<f64>, t: f64| {
            let outside: Vec<_> = excesses.into_iter().filter(|&x| x > 0.0).collect();
            let weights: f64 = outside.iter().map(|x| (t * x).exp()).sum();
            let sum: f64 = outside.iter().map(|x| (t * x).exp() * x).sum();
            if outside.is_empty() {
                0.0
            } else {
                sum / weights
            }
        };
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            let d = |&j: &usize| batch.d(anchor, j);
            let l_p = mean(
                positives.iter().map(|p| d(p) - (alpha - margin)).collect(),
                t_p,
            );
            let l_n = mean(negatives.iter().map(|n| alpha - d(n)).collect(), t_n);
            let value = (1.0 - lambda) * l_p + lambda * l_n;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
