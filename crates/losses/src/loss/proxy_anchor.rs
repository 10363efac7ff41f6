//! The proxy-anchor loss.

use super::class_softmax::{column_sums, exp_in_place, log_one_plus};
use super::{Columns, Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::{NonNegative, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;
use rayon::prelude::*;

described! {
    /// Takes each class proxy as an anchor, and weighs the batch around it by how badly each item is placed.
    ///
    /// ```text
    /// L = 1/|P⁺| Σ_{p∈P⁺} log( 1 + Σ_{x of p's class}  exp(  alpha (d(x, p) - (1 - margin)) ) )
    ///   + 1/|P|  Σ_{p∈P}  log( 1 + Σ_{x of no such class} exp( -alpha (d(x, p) - (1 + margin)) ) )
    /// ```
    ///
    /// `P` are all proxies and `P⁺` those whose class is in the batch. A pair is active while it is on the wrong side of
    /// its `1 ± margin`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`, each below the number of classes
    /// - proxies: `[classes, D]`, learned
    /// - value: a number, gradients: `[B, D]` and `[classes, D]`
    ///
    /// # Reference
    /// S. Kim, D. Kim, M. Cho, S. Kwak, Proxy Anchor Loss for Deep Metric Learning, CVPR 2020, Eq. 4.
    ///
    /// # Differences
    /// None in the value; the defaults are those of the paper and of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets, loss::{ProxyAnchor, Shape}};
    /// let mut criterion = Criterion::new(ProxyAnchor::default().into(), Shape { dim: 1, classes: 2 }, 0)?;
    /// criterion.parameters_mut()[0].values = vec![1.0, -1.0];
    /// // At the other proxy, opposite its own: 32 (2 - 0.9), and half of 32 (1.1 - 0).
    /// let batch = Batch { embeddings: Mat::new(&[1.0], 1, 1), targets: Targets::Labels(&[1]) };
    /// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (35.2 + 17.6)).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ProxyAnchor {
        /// Sharpness, `α` in the paper.
        pub alpha: Positive = Positive::literal(32.0),
        /// Half the width of the band around distance 1 that pairs are to leave, `δ` in the paper.
        pub margin: NonNegative = NonNegative::literal(0.1),
    }
}

impl Definition for ProxyAnchor {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }

    fn columns(&self) -> Columns {
        Columns::Proxies { per_class: 1 }
    }
}

/// The farthest positive and the nearest negative of each proxy, if beyond the bounds that they start from.
struct Worst {
    farthest: Vec<f32>,
    nearest: Vec<f32>,
}

impl Worst {
    fn of(pairs: Pairs<'_>, targets: &[Option<usize>], [far, near]: [f32; 2]) -> Self {
        let cols = pairs.cols();
        let start = || Self {
            farthest: vec![far; cols],
            nearest: vec![near; cols],
        };
        let rows: Vec<usize> = (0..pairs.rows()).collect();
        // Extremes are the same in any order.
        rows.par_chunks(32)
            .map(|rows| {
                let mut worst = start();
                for &i in rows {
                    worst.see(pairs.row(i), targets[i]);
                }
                worst
            })
            .reduce(start, |mut a, b| {
                let far = a.farthest.iter_mut().zip(b.farthest);
                far.for_each(|(a, b)| *a = a.max(b));
                let near = a.nearest.iter_mut().zip(b.nearest);
                near.for_each(|(a, b)| *a = a.min(b));
                a
            })
    }

    fn see(&mut self, d: &[f32], target: Option<usize>) {
        let before = target.map(|y| (y, self.nearest[y]));
        for (nearest, &d) in self.nearest.iter_mut().zip(d) {
            *nearest = if d < *nearest { d } else { *nearest };
        }
        if let Some((y, nearest)) = before {
            self.nearest[y] = nearest;
            self.farthest[y] = self.farthest[y].max(d[y]);
        }
    }
}

/// For each proxy, the sum of its positives and of its negatives in `g`.
fn sums(pairs: Pairs<'_>, targets: &[Option<usize>], g: &[f32]) -> [Vec<f64>; 2] {
    let mut positives = vec![0.0; pairs.cols()];
    for (i, y) in targets.iter().enumerate() {
        if let Some(y) = *y {
            positives[y] += f64::from(g[i * pairs.cols() + y]);
        }
    }
    let negatives = column_sums(g, pairs.cols(), |i, g, sums| {
        let before = targets[i].map(|y| (y, sums[y]));
        sums.iter_mut()
            .zip(g)
            .for_each(|(sum, &g)| *sum += f64::from(g));
        if let Some((y, sum)) = before {
            sums[y] = sum;
        }
    });
    [positives, negatives]
}

impl ProxyAnchor {
    /// Distances beyond which positives, and below which negatives, are on the wrong side.
    fn bounds(&self) -> [f32; 2] {
        [1.0 - self.margin.get(), 1.0 + self.margin.get()]
    }

    /// Writes the exponentials of the pairs to `g`, relative to the largest of their proxy, so that none overflows; the
    /// number of active pairs.
    fn exponentiate(
        &self,
        pairs: Pairs<'_>,
        targets: &[Option<usize>],
        worst: &Worst,
        g: &mut [f32],
    ) -> usize {
        let (alpha, [far, near]) = (self.alpha.get(), self.bounds());
        let active = pairs.each_anchor(g, |i, g| {
            let d = pairs.row(i);
            for ((g, d), nearest) in g.iter_mut().zip(d).zip(&worst.nearest) {
                *g = alpha * (nearest - d);
            }
            let mut active = d.iter().filter(|&&d| d < near).count();
            if let Some(y) = targets[i] {
                g[y] = alpha * (d[y] - worst.farthest[y]);
                active -= usize::from(d[y] < near);
                active += usize::from(d[y] > far);
            }
            exp_in_place(g, 0.0);
            active
        });
        active.into_iter().sum()
    }
}

impl MatrixLoss for ProxyAnchor {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let (pairs, g) = (matrix.pairs, &mut *gradients.g);
        let alpha = self.alpha.get();
        let bounds = self.bounds();
        let targets: Vec<_> = (0..pairs.rows())
            .map(|i| pairs.positives(i).next())
            .collect();
        let worst = Worst::of(pairs, &targets, bounds);
        let active = self.exponentiate(pairs, &targets, &worst, g);
        let [mut positives, mut negatives] = sums(pairs, &targets, g);
        let mut classes: Vec<usize> = targets.iter().flatten().copied().collect();
        classes.sort_unstable();
        classes.dedup();
        let present = classes.len() as f64;
        let proxies = pairs.cols() as f64;
        let mut value = 0.0;
        // Each sum with the one beside it becomes what its exponentials are multiplied by.
        let mut finish = |sum: &mut f64, beyond: f32, weight: f64| {
            *sum += (-f64::from(alpha * beyond)).exp();
            value += weight * (f64::from(alpha * beyond) + sum.ln());
            *sum = weight * f64::from(alpha) / *sum;
        };
        for y in classes {
            finish(
                &mut positives[y],
                worst.farthest[y] - bounds[0],
                present.recip(),
            );
        }
        for (sum, nearest) in negatives.iter_mut().zip(&worst.nearest) {
            finish(sum, bounds[1] - nearest, proxies.recip());
        }
        let factors: Vec<f32> = negatives.iter().map(|&factor| -factor as f32).collect();
        pairs.each_anchor(g, |i, g| {
            let positive = targets[i].map(|y| (y, g[y] * positives[y] as f32));
            g.iter_mut()
                .zip(&factors)
                .for_each(|(g, factor)| *g *= factor);
            if let Some((y, slope)) = positive {
                g[y] = slope;
            }
        });
        Evaluation {
            value,
            tuples: pairs.rows() * pairs.cols(),
            active,
        }
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let (alpha, delta) = (self.alpha.exact(), self.margin.exact());
        let [mut positive, mut negative, mut present] = [0.0; 3];
        for p in 0..batch.columns() {
            let [mut pull, mut push] = [Vec::new(), Vec::new()];
            for x in 0..batch.rows() {
                let s = 1.0 - batch.d(x, p);
                if batch.label(x) == batch.label_of_column(p) {
                    pull.push(-alpha * (s - delta));
                } else {
                    push.push(alpha * (s + delta));
                }
            }
            present += if pull.is_empty() { 0.0 } else { 1.0 };
            positive += log_one_plus(pull);
            negative += log_one_plus(push);
        }
        let value = positive / f64::max(present, 1.0) + negative / batch.columns() as f64;
        vec![Term {
            anchor: 0,
            group: 0,
            value,
        }]
    }
}
