//! The dynamic soft margin loss.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::{Count, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;

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
        pub bins: Count = Count::literal(10),
        /// Largest magnitude of `x` that bins tell apart.
        pub range: Positive = Positive::literal(2.0),
    }
}

/// Triplets that are placed side by side.
const BLOCK: usize = 256;

/// Tables that neighboring triplets are counted in by turns, so that none waits for the one before it.
const TABLES: usize = 4;

/// Triplets of one positive: `x`, the edge at or below it, and how far it is to the next.
struct Placed {
    x: [f64; BLOCK],
    edge: [u32; BLOCK],
    beyond: [f64; BLOCK],
}

impl DynamicSoftMargin {
    /// Calls `f` on blocks of the triplets of an anchor: the positive, the first negative, their number and their places.
    fn triplets(&self, pairs: Pairs<'_>, a: usize, mut f: impl FnMut([usize; 3], &Placed)) {
        let (d, range) = (pairs.row(a), self.range.exact());
        let scale = self.bins.get() as f64 / (2.0 * range);
        let mut placed = Placed {
            x: [0.0; BLOCK],
            edge: [0; BLOCK],
            beyond: [0.0; BLOCK],
        };
        for p in pairs.positives(a) {
            let d_p = f64::from(d[p]);
            for negatives in pairs.negatives(a) {
                for first in negatives.clone().step_by(BLOCK) {
                    let d = &d[first..negatives.end.min(first + BLOCK)];
                    let Placed { x, edge, beyond } = &mut placed;
                    let each = x.iter_mut().zip(edge).zip(beyond).zip(d);
                    for (((x, edge), beyond), d) in each {
                        *x = d_p - f64::from(*d);
                        let place = (x.clamp(-range, range) + range) * scale;
                        let below = place as i32;
                        *edge = below as u32;
                        *beyond = place - f64::from(below);
                    }
                    f([p, first, d.len()], &placed);
                }
            }
        }
    }

    /// The weights of the edges of an anchor's triplets, and their number.
    fn edges(&self, pairs: Pairs<'_>, a: usize) -> (Vec<f64>, usize) {
        let mut tables = vec![[[0.0; 2]; TABLES]; self.bins.get() + 1];
        let mut count = 0;
        self.triplets(pairs, a, |[_, _, len], placed| {
            count += len;
            let each = placed.edge.iter().zip(&placed.beyond).take(len);
            for (k, (&edge, beyond)) in each.enumerate() {
                let tally = &mut tables[edge as usize][k % TABLES];
                *tally = [tally[0] + 1.0, tally[1] + beyond];
            }
        });
        let mut edges = vec![0.0; self.bins.get() + 1];
        for (edge, table) in tables.iter().enumerate() {
            let [count, beyond] = [0, 1].map(|k| table.iter().map(|tally| tally[k]).sum::<f64>());
            edges[edge] += count - beyond;
            if let Some(next) = edges.get_mut(edge + 1) {
                *next += beyond;
            }
        }
        (edges, count)
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
        let of_anchors = pairs.each_anchor(gradients.g, |a, _| self.edges(pairs, a));
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
        // What a triplet at or above an edge weighs.
        for share in &mut shares {
            *share *= weight;
        }
        let anchors = pairs.each_anchor(gradients.g, |a, g| {
            let mut of_anchor = Evaluation::default();
            self.triplets(pairs, a, |[p, first, len], placed| {
                let mut pull = 0.0;
                let each = placed
                    .x
                    .iter()
                    .zip(&placed.edge)
                    .zip(&mut g[first..first + len]);
                for ((x, &edge), g) in each {
                    let share = shares[edge as usize];
                    of_anchor.value += share * x;
                    of_anchor.active += usize::from(*x > 0.0);
                    pull += share;
                    *g -= share as f32;
                }
                of_anchor.tuples += len;
                g[p] += pull as f32;
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
