//! The Smooth-AP loss.

use super::rank::{NOT_NEARER, count, exact_sigmoid, nearer, pull};
use super::{Definition, Row, RowLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Average precision with the steps of its ranks made smooth.
    ///
    /// ```text
    /// L = 1/B Σ_a ( 1 - 1/|P| Σ_{p∈P} R(p, P) / R(p, P∪N) )
    /// R(p, Ω) = 1 + Σ_{k∈Ω, k≠p} σ( (d(a, p) - d(a, k)) / τ )
    /// ```
    ///
    /// An anchor needs a positive and a negative. Classes may differ in size and come in any order. A positive is active
    /// while some negative is at least as near.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// A. Brown, W. Xie, V. Kalogeiton, A. Zisserman, Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval,
    /// ECCV 2020, Eq. 7 and 8.
    ///
    /// # Differences
    /// The authors' code counts the query itself as its first positive, and so does the default here; `query = false` is
    /// the average precision of the other items. pytorch-metric-learning refuses classes of different sizes, and answers
    /// with a wrong number, without a word, where the items of a class do not follow one another.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::SmoothAp};
    /// // Equal points: the positive shares its place with the negative, so R is 1 among positives and 1 + ½ among all;
    /// // the third item has no positive and no term.
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(SmoothAp { query: false, ..SmoothAp::default() })
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (1.0 - 1.0 / 1.5)).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SmoothAp {
        /// Width `τ` of a step.
        pub temperature: Positive = Positive::literal(0.01),
        /// Count the query itself among its positives.
        pub query: bool = true,
    }
}

impl Definition for SmoothAp {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for SmoothAp {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, temperature) = (row.d(), self.temperature.get());
        let mut positives: Vec<_> = row.positives().collect();
        let [mut tuples, mut nearest] = [0.0, f32::INFINITY];
        row.negatives(|range| {
            tuples += range.len() as f32;
            nearest = d[range].iter().fold(nearest, |m, &d| m.min(d));
        });
        if positives.is_empty() || tuples == 0.0 {
            return Row::nothing();
        }
        let active = positives.iter().filter(|&&p| nearest <= d[p]).count();
        let counts = [positives.len(), active];
        positives.extend(row.pairs.own(row.a).filter(|_| self.query));
        let of_positives: Vec<_> = positives.iter().map(|&p| d[p]).collect();
        let share = 1.0 / positives.len() as f64;

        let mut value = 0.0;
        let (mut exponentials, mut exponentials_p) = (vec![0.0; d.len()], of_positives.clone());
        let mut slopes_p = vec![0.0; positives.len()];
        for (k, &p) in positives.iter().enumerate() {
            nearer(&of_positives, d[p], temperature, &mut exponentials_p);
            exponentials_p[k] = NOT_NEARER;
            let among_p = 1.0 + count(&exponentials_p);
            let mut among_n = 0.0;
            row.negatives(|range| {
                let out = &mut exponentials[range.clone()];
                among_n += nearer(&d[range], d[p], temperature, out);
            });
            let rank = among_p + among_n;
            value += share * among_n / rank;
            let of_p = -share * among_n / rank.powi(2);
            let of_n = (share * among_p / rank.powi(2)) as f32;
            let mut slope = pull(&exponentials_p, of_p as f32, temperature, &mut slopes_p);
            row.negatives(|range| {
                slope += pull(
                    &exponentials[range.clone()],
                    of_n,
                    temperature,
                    &mut g[range],
                );
            });
            slopes_p[k] += slope as f32;
        }
        positives.iter().zip(slopes_p).for_each(|(&p, s)| g[p] += s);
        row.whole(value, counts, g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
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
            let rank = |p: usize, omega: &[usize]| {
                let others = omega.iter().filter(|&&k| k != p);
                let nearer = others.map(|&k| {
                    let gap = batch.d(anchor, p) - batch.d(anchor, k);
                    exact_sigmoid(gap / self.temperature.exact())
                });
                1.0 + nearer.sum::<f64>()
            };
            let all = [positives.clone(), negatives].concat();
            let precisions = positives
                .iter()
                .map(|&p| rank(p, &positives) / rank(p, &all));
            let value = 1.0 - precisions.sum::<f64>() / positives.len() as f64;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
