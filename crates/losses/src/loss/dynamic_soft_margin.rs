//! The dynamic soft margin loss.

use super::ladder::{Ladder, Steps, Tally, above, count};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::{Count, Positive};
use crate::reducer::{Reducer, Term};
use crate::tuples::Tuples;
use std::ops::Range;

described! {
    /// Weighs each triplet by the share of triplets that are placed no worse, in place of a margin.
    ///
    /// ```text
    /// x = d(a, p) - d(a, n)
    /// L = mean over (a, p, n) of F(x) x,  F(x) the share of the batch's triplets in the bins up to that of x
    /// ```
    ///
    /// Each `x` is divided between the two edges next to it of `bins` bins over `[-range, range]`, and the clamped ones beyond.
    /// `F` is a constant of the gradient. The value falls below zero as triplets become easy. All triplets are summed exactly
    /// without visiting each, by searching among the edges of each positive; one is active while `x > 0`.
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

/// The negatives of an anchor, at their places among the bounds of its positives.
struct Placed<'a> {
    d: &'a [f32],
    positives: Vec<usize>,
    negatives: Vec<Range<usize>>,
    steps: Steps,
    /// Of each column that is a negative.
    places: Vec<u32>,
    tallies: Vec<Tally>,
}

impl<'a> Placed<'a> {
    fn new(pairs: Pairs<'a>, a: usize, loss: &DynamicSoftMargin) -> Self {
        let d = pairs.row(a);
        let positives: Vec<_> = pairs.positives(a).collect();
        let bounds = |&p: &usize| {
            let edges = (0..=loss.bins.get()).map(move |k| loss.bound(d[p], k));
            // A negative below the positive itself has `x > 0`.
            edges.chain([d[p]])
        };
        let steps = Steps::new(positives.iter().flat_map(bounds).collect());
        let mut placed = Self {
            d,
            positives,
            negatives: pairs.negatives(a).collect(),
            places: vec![0; d.len()],
            tallies: vec![[0.0; 2]; steps.places()],
            steps,
        };
        for range in placed.negatives.iter().cloned() {
            let (d, places) = (&d[range.clone()], &mut placed.places[range]);
            placed.steps.find(d, places);
            count(&mut placed.tallies, d, places);
        }
        placed
    }
}

/// The triplets of an anchor.
struct Triplets {
    /// How many are at each edge.
    shares: Vec<f64>,
    /// The sum of `x` from each edge up to the next.
    gaps: Vec<f64>,
    count: usize,
    active: usize,
}

impl DynamicSoftMargin {
    /// Edge `k` of the bins.
    fn edge(&self, k: usize) -> f64 {
        let bins = self.bins.get() as f64;
        self.range.exact() * (2.0 * k as f64 - bins) / bins
    }

    /// What the negatives of a positive are below when `x` is at edge `k` or above.
    fn bound(&self, d_p: f32, k: usize) -> f32 {
        above(f64::from(d_p) - self.edge(k))
    }

    fn triplets(&self, pairs: Pairs<'_>, a: usize) -> Triplets {
        let placed = Placed::new(pairs, a, self);
        let negatives = Ladder::new(&placed.steps, &placed.tallies);
        let (bins, all) = (self.bins.get(), negatives.below(f32::INFINITY));
        let mut triplets = Triplets {
            shares: vec![0.0; bins + 1],
            gaps: vec![0.0; bins + 1],
            count: 0,
            active: 0,
        };
        for &p in &placed.positives {
            let d_p = placed.d[p];
            // How many `x` there are, and their sum.
            let x =
                |(count, sum): (usize, f64)| [count as f64, count as f64 * f64::from(d_p) - sum];
            let mut from_next = [0.0; 2];
            for k in (0..=bins).rev() {
                let from = x(negatives.below(self.bound(d_p, k)));
                let [count, sum] = [0, 1].map(|part| from[part] - from_next[part]);
                triplets.shares[k] += count;
                triplets.gaps[k] += sum;
                if k < bins {
                    let step = self.edge(k + 1) - self.edge(k);
                    let of_next = (sum - count * self.edge(k)) / step;
                    triplets.shares[k] -= of_next;
                    triplets.shares[k + 1] += of_next;
                }
                from_next = from;
            }
            // Those below all edges are at the first.
            let below = x(all);
            triplets.shares[0] += below[0] - from_next[0];
            triplets.gaps[0] += below[1] - from_next[1];
            triplets.count += all.0;
            triplets.active += negatives.below(d_p).0;
        }
        triplets
    }

    /// Writes the slopes of an anchor, given what a triplet that reaches each edge weighs more than below it.
    fn slopes(&self, pairs: Pairs<'_>, (a, weights): (usize, &[f64]), g: &mut [f32]) {
        let placed = Placed::new(pairs, a, self);
        let negatives = Ladder::new(&placed.steps, &placed.tallies);
        let mut bounds = Vec::new();
        for &p in &placed.positives {
            let mut pull = 0.0;
            for (k, &weight) in weights.iter().enumerate() {
                // Every triplet weighs what those at the first edge do.
                let bound = match k {
                    0 => f32::INFINITY,
                    _ => self.bound(placed.d[p], k),
                };
                pull += weight * negatives.below(bound).0 as f64;
                bounds.push((bound, weight));
            }
            g[p] = pull as f32;
        }
        let pushes = placed.steps.above(bounds.into_iter());
        for range in placed.negatives {
            let places = &placed.places[range.clone()];
            for (g, &place) in g[range].iter_mut().zip(places) {
                *g = -pushes[place as usize] as f32;
            }
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
        let anchors = pairs.each_anchor(gradients.g, |a, _| self.triplets(pairs, a));
        let count: usize = anchors.iter().map(|anchor| anchor.count).sum();
        let weight = 1.0 / count.max(1) as f64;
        let total = |k: usize, of: fn(&Triplets) -> &[f64]| {
            anchors.iter().map(|anchor| of(anchor)[k]).sum::<f64>() * weight
        };
        let (mut value, mut below) = (0.0, 0.0);
        let mut weights = Vec::new();
        for k in 0..=self.bins.get() {
            let share = total(k, |anchor| &anchor.shares);
            below += share;
            value += below * total(k, |anchor| &anchor.gaps);
            weights.push(share * weight);
        }
        pairs.each_anchor(gradients.g, |a, g| {
            self.slopes(pairs, (a, &weights), g);
        });
        Evaluation {
            value,
            tuples: count,
            active: anchors.iter().map(|anchor| anchor.active).sum(),
        }
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
