//! The dynamic soft margin loss.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::Positive;
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;
use std::num::NonZeroUsize;

described! {
    /// Weighs each triplet by the share of triplets that are placed no worse, in place of a margin.
    ///
    /// ```text
    /// x = d(a, p) - d(a, n)
    /// L = mean over (a, p, n) of F(x) x,  F(x) the share of the batch's triplets in the bins up to that of x
    /// ```
    ///
    /// Each `x` is divided between the two edges next to it of `bins` bins over `[-range, range]`, and the clamped ones beyond.
    /// `F` is a constant of the gradient. The value falls below zero as triplets become easy. All triplets are visited, in
    /// `O(B² K)` for classes of `K`; one is active while `x > 0`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// L. Zhang, S. Rusinkiewicz, Learning Local Descriptors with a CDF-Based Dynamic Soft Margin, ICCV 2019.
    ///
    /// # Differences
    /// The paper and pytorch-metric-learning keep a moving average of the histogram over batches (`momentum`); here it is that
    /// of the batch alone, the same as theirs for a first batch, so that equal batches have equal values. The paper takes the
    /// nearest negative of each pair; with labels, pytorch-metric-learning takes every triplet, as here. There the histogram is
    /// part of the gradient, which in the paper it is not.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::DynamicSoftMargin};
    /// // Two triplets: x is √2 - 2 from the one end and √2 - √2 from the other, of which F is all.
    /// let batch = Mat::new(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(DynamicSoftMargin::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// // -0.586 is 3.536 bins from -2: 0.464 of it are at edge 3, up to which F counts, or 0.232 of the two.
    /// assert!((outcome.value - (2_f32.sqrt() - 2.0) * 0.23223 / 2.0).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct DynamicSoftMargin {
        /// Bins of the histogram.
        pub bins: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9),
        /// Largest magnitude of `x` that bins tell apart.
        pub range: Positive = Positive::literal(2.0),
    }
}

impl DynamicSoftMargin {
    /// The edge at or below `x`, and how far it is to the next.
    fn place(&self, x: f64) -> (usize, f64) {
        let range = self.range.exact();
        let place = (x.clamp(-range, range) + range) / (2.0 * range) * self.bins.get() as f64;
        (place as usize, place.fract())
    }

    /// Adds a triplet to the weights of the edges.
    fn count(&self, x: f64, edges: &mut [f64]) {
        let (edge, beyond) = self.place(x);
        edges[edge] += 1.0 - beyond;
        if beyond > 0.0 {
            edges[edge + 1] += beyond;
        }
    }
}

/// Calls `f` on `p`, `n` and `d(a, p) - d(a, n)` of each triplet of an anchor.
fn triplets(pairs: Pairs<'_>, a: usize, mut f: impl FnMut(usize, usize, f64)) {
    let d = pairs.row(a);
    for p in pairs.positives(a) {
        for n in pairs.negatives(a).flatten() {
            f(p, n, f64::from(d[p]) - f64::from(d[n]));
        }
    }
}

impl Definition for DynamicSoftMargin {
    fn default_distance(&self) -> Option<Distance> {
        Some(L2::default().into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }
}

impl MatrixLoss for DynamicSoftMargin {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let pairs = matrix.pairs;
        let of_anchors = pairs.each_anchor(gradients.g, |a, _| {
            let mut edges = vec![0.0; self.bins.get() + 1];
            let mut count = 0;
            triplets(pairs, a, |_, _, x| {
                self.count(x, &mut edges);
                count += 1;
            });
            (edges, count)
        });
        let mut shares = vec![0.0; self.bins.get() + 1];
        for (edges, _) in &of_anchors {
            shares.iter_mut().zip(edges).for_each(|(sum, e)| *sum += e);
        }
        let count: usize = of_anchors.iter().map(|(_, count)| count).sum();
        let weight = 1.0 / count.max(1) as f64;
        let mut below = 0.0;
        for share in &mut shares {
            below += *share * weight;
            *share = below;
        }
        let anchors = pairs.each_anchor(gradients.g, |a, g| {
            let mut of_anchor = Evaluation::default();
            triplets(pairs, a, |p, n, x| {
                let weight = weight * shares[self.place(x).0];
                of_anchor.value += weight * x;
                of_anchor.tuples += 1;
                of_anchor.active += usize::from(x > 0.0);
                g[p] += weight as f32;
                g[n] -= weight as f32;
            });
            of_anchor
        });
        anchors
            .into_iter()
            .fold(Evaluation::default(), |sum, anchor| Evaluation {
                value: sum.value + anchor.value,
                tuples: sum.tuples + anchor.tuples,
                active: sum.active + anchor.active,
            })
    }

    fn needs_square(&self) -> bool {
        false
    }

    fn reference(&self, batch: &Exact<'_>, _tuples: &Tuples) -> Vec<Term> {
        let (m, count) = (self.range.exact(), self.bins.get());
        let delta = 2.0 * m / count as f64;
        let triplets = batch.triplets(&Tuples::All);
        let x = |batch: &Exact<'_>, [a, p, n]: [usize; 3]| batch.d(a, p) - batch.d(a, n);
        let edge = |k: usize| -m + k as f64 * delta;
        let inside = |t: &[usize; 3]| x(batch.held(), *t).clamp(-m, m);
        // A triangle around each edge.
        let weight = |k: usize| {
            let near = triplets
                .iter()
                .map(|t| 1.0 - (inside(t) - edge(k)).abs() / delta);
            near.map(|w| w.max(0.0)).sum::<f64>() / triplets.len() as f64
        };
        let weights: Vec<f64> = (0..=count).map(weight).collect();
        let mut value = 0.0;
        for t in &triplets {
            let up_to = (inside(t) + m) / delta;
            let f: f64 = weights.iter().take(up_to as usize + 1).sum();
            value += f * x(batch, *t) / triplets.len() as f64;
        }
        vec![Term {
            anchor: 0,
            group: 0,
            value,
        }]
    }
}
