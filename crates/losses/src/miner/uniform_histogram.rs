//! As many pairs of each distance.

use super::{TupleMiner, seeds};
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::Count;
use crate::tuples::{PairMask, Tuples};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

described! {
    /// Random positive pairs and random negative pairs, as many from each bin of a histogram of their distances.
    ///
    /// ```text
    /// of each kind: min(per_bin, pairs in the bin) of the pairs with d in bin b,   b = ⌊bins · (d - d_min) / (d_max - d_min)⌋
    /// ```
    ///
    /// The bins of a kind divide the span of its distances in the batch; the farthest pair is in the last bin. Against more
    /// references than fit in memory at once there is a histogram for each block of anchors.
    ///
    /// # Reference
    /// `UniformHistogramMiner` of pytorch-metric-learning, after C.-Y. Wu et al., Sampling Matters in Deep Embedding
    /// Learning, ICCV 2017, §4.1, which wants distances uniform.
    ///
    /// # Differences
    /// pytorch-metric-learning draws with repetition, and a pair drawn twice counts twice; here no pair is drawn twice.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss::Contrastive, miner::UniformHistogram};
    /// // Points 0, 1 | 3, 6 on a line in two bins, one pair of each: positives at 1 and 3, negatives at 2, 3 and 5, 6.
    /// let miner = UniformHistogram { bins: 2.try_into().unwrap(), positives: 1.try_into().unwrap(), negatives: 1.try_into().unwrap() };
    /// let objective = Objective::from(Contrastive::default()).with_miner(miner).with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 6.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 2 + 2);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct UniformHistogram {
        /// Bins of the histogram of a kind.
        pub bins: Count = Count::literal(100),
        /// Positive pairs drawn from each bin.
        pub positives: Count = Count::literal(10),
        /// Negative pairs drawn from each bin.
        pub negatives: Count = Count::literal(10),
    }
}

/// A pair with a random number: those with the smallest numbers of a bin are drawn.
type Ticket = (u64, u32, u32);

/// The tickets that are still in, of each bin, in no order.
struct Draw {
    per_bin: usize,
    bins: Vec<Vec<Ticket>>,
}

impl Draw {
    fn empty(bins: usize, per_bin: usize) -> Self {
        Self {
            per_bin,
            bins: vec![Vec::new(); bins],
        }
    }

    /// Enters a ticket; a bin is cut back to the smallest when it has twice as many as it may keep.
    fn enter(&mut self, bin: usize, ticket: Ticket) {
        let tickets = &mut self.bins[bin];
        tickets.push(ticket);
        if tickets.len() >= self.per_bin.saturating_mul(2) {
            tickets.select_nth_unstable(self.per_bin - 1);
            tickets.truncate(self.per_bin);
        }
    }

    fn merged(mut self, other: Self) -> Self {
        for (bin, tickets) in other.bins.into_iter().enumerate() {
            for ticket in tickets {
                self.enter(bin, ticket);
            }
        }
        self
    }

    fn insert_into(self, mask: &mut PairMask) {
        for mut tickets in self.bins {
            tickets.sort_unstable();
            tickets.truncate(self.per_bin);
            for (_, a, j) in tickets {
                mask.insert(a as usize, j as usize);
            }
        }
    }
}

impl UniformHistogram {
    /// Draws pairs of one kind; `of(a)` lists the columns of an anchor.
    fn draw<I: Iterator<Item = usize>>(
        &self,
        pairs: Pairs<'_>,
        (of, per_bin): (impl Fn(usize) -> I + Sync, usize),
        seeds: &[u64],
    ) -> Draw {
        let bins = self.bins.get();
        let wider = |[low, high]: [f32; 2], d: f32| [low.min(d), high.max(d)];
        let rows = || (0..pairs.rows()).into_par_iter();
        let [low, high] = rows()
            .map(|a| {
                of(a)
                    .map(|j| pairs.at(a, j))
                    .fold([f32::INFINITY, f32::NEG_INFINITY], wider)
            })
            .reduce(
                || [f32::INFINITY, f32::NEG_INFINITY],
                |x, y| wider(wider(x, y[0]), y[1]),
            );
        // Bins in double precision: the width of one is a small part of the span.
        let scale = bins as f64 / (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE);
        let bin = |d: f32| (((f64::from(d) - f64::from(low)) * scale) as usize).min(bins - 1);
        rows()
            .fold(
                || Draw::empty(bins, per_bin),
                |mut draw, a| {
                    let mut rng = ChaCha8Rng::seed_from_u64(seeds[a]);
                    for j in of(a) {
                        draw.enter(bin(pairs.at(a, j)), (rng.next_u64(), a as u32, j as u32));
                    }
                    draw
                },
            )
            // The smallest numbers of a bin are the same however the anchors were split.
            .reduce(|| Draw::empty(bins, per_bin), Draw::merged)
    }
}

impl TupleMiner for UniformHistogram {
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        let of_positives = seeds(pairs.rows(), rng);
        let positives = (|a| pairs.positives(a), self.positives.get());
        self.draw(pairs, positives, &of_positives)
            .insert_into(&mut mask);
        let of_negatives = seeds(pairs.rows(), rng);
        let negatives = (|a| pairs.negatives(a).flatten(), self.negatives.get());
        self.draw(pairs, negatives, &of_negatives)
            .insert_into(&mut mask);
        Tuples::Pairs(mask)
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut mask = PairMask::empty(batch.rows(), batch.columns());
        for a in 0..batch.rows() {
            for j in batch.others(a) {
                mask.insert(a, j);
            }
        }
        Tuples::Pairs(mask)
    }
}
