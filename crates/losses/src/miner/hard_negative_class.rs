//! Classes that are hard to tell apart.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::Count;
use crate::tuples::{PairMask, Tuples, insert_bit};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

described! {
    /// All pairs among a few classes of the batch that violate triplets with one another, chosen one by one.
    ///
    /// ```text
    /// S = {random class};   until |S| = classes: add argmax_{c ∉ S} max_{s ∈ S} v(c, s)
    /// v(c, s) = max( d(a, p) - d(a, n) ),   a and p of one of the two classes, n of the other
    /// ```
    ///
    /// A batch with many classes of few items is embedded, and the loss sees the hard ones among them. An anchor without
    /// a positive counts as its own, at distance zero. Of equal violations the first class is taken. A batch of no more
    /// classes than asked for is kept whole. Only classes of one batch are compared: no references and no memory.
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, §3.2.1, "hard negative
    /// class mining".
    ///
    /// # Differences
    /// The paper embeds one or two items of each of many classes and then draws two more of each class chosen; here the
    /// batch is both. It does not say how violations are scored: here the worst triplet of the two classes decides. It
    /// breaks ties at random.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss::Contrastive, miner::HardNegativeClass};
    /// // Classes at 0, 1 and at 10, 11 on a line, and far from both one at 100, 101: two of them are kept, each the
    /// // hardest of the other, 100 with 10.
    /// let miner = HardNegativeClass { classes: 2.try_into().unwrap() };
    /// let objective = Objective::from(Contrastive::default()).with_miner(miner).with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 1.0, 10.0, 11.0, 100.0, 101.0], 6, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1, 2, 2], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 4 * 3); // of four items each is compared with three
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct HardNegativeClass {
        /// Classes that are kept.
        pub classes: Count = Count::literal(16),
    }
}

impl HardNegativeClass {
    /// Whether each class is chosen, starting from one; `v` is `[classes, classes]`.
    fn chosen(&self, v: &[f32], classes: usize, start: usize) -> Vec<bool> {
        let (mut chosen, mut worst) = (vec![false; classes], vec![f32::NEG_INFINITY; classes]);
        let mut next = Some(start);
        for _ in 0..self.classes.get() {
            let Some(class) = next else { break };
            chosen[class] = true;
            for (worst, v) in worst.iter_mut().zip(&v[class * classes..]) {
                *worst = worst.max(*v);
            }
            let open = (0..classes).filter(|&c| !chosen[c]);
            next = open.fold(None, |best, c| match best {
                Some(b) if worst[c] <= worst[b] => best,
                _ => Some(c),
            });
        }
        chosen
    }
}

/// `v` of every two classes, `[classes, classes]`.
fn violations(pairs: Pairs<'_>) -> Vec<f32> {
    let classes: Vec<&[usize]> = pairs.classes().iter().collect();
    let of_anchor = |a: usize| {
        let row = pairs.row(a);
        let farthest = pairs.positives(a).map(|p| row[p]).reduce(f32::max);
        let nearest = |class: &&[usize]| class.iter().fold(f32::INFINITY, |m, &n| m.min(row[n]));
        classes
            .iter()
            .map(|class| farthest.unwrap_or(0.0) - nearest(class))
            .collect::<Vec<_>>()
    };
    let anchors: Vec<_> = (0..pairs.rows())
        .into_par_iter()
        .with_min_len(8)
        .map(of_anchor)
        .collect();
    let count = classes.len();
    let mut v = vec![f32::NEG_INFINITY; count * count];
    for (a, of_a) in anchors.into_iter().enumerate() {
        let Some(own) = pairs.class_of(a) else {
            continue;
        };
        for (class, violation) in of_a
            .into_iter()
            .enumerate()
            .filter(|&(class, _)| class != own)
        {
            for place in [own * count + class, class * count + own] {
                v[place] = v[place].max(violation);
            }
        }
    }
    v
}

impl TupleMiner for HardNegativeClass {
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        let classes: Vec<&[usize]> = pairs.classes().iter().collect();
        if classes.is_empty() {
            return Tuples::Pairs(mask);
        }
        let start = rng.random_range(0..classes.len());
        let chosen = self.chosen(&violations(pairs), classes.len(), start);
        let columns: Vec<usize> = classes
            .iter()
            .zip(&chosen)
            .filter(|(_, chosen)| **chosen)
            .flat_map(|(class, _)| class.iter().copied())
            .collect();
        mask.rows_mut().enumerate().for_each(|(a, bits)| {
            if pairs.class_of(a).is_some_and(|class| chosen[class]) {
                let others = columns.iter().filter(|&&j| Some(j) != pairs.own(a));
                others.for_each(|&j| insert_bit(bits, j));
            }
        });
        Tuples::Pairs(mask)
    }

    fn needs_square(&self) -> bool {
        // References may be of so many classes that comparing every two of them is out of the question.
        true
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut mask = PairMask::empty(batch.rows(), batch.columns());
        for start in 0..batch.columns() {
            insert_from(
                batch,
                batch.label_of_column(start),
                self.classes.get(),
                &mut mask,
            );
        }
        Tuples::Pairs(mask)
    }
}

/// Adds the pairs that a start from one class leads to, by the definition.
fn insert_from(batch: &Exact<'_>, start: u32, classes: usize, mask: &mut PairMask) {
    let violation = |a: usize, n: usize| {
        let d = |p: usize| batch.d(a, p);
        let farthest = batch.positives(a).into_iter().map(d).reduce(f64::max);
        farthest.unwrap_or(0.0) - batch.d(a, n)
    };
    let between = |c: u32, s: u32| {
        let mut worst = f64::NEG_INFINITY;
        for a in 0..batch.rows() {
            for n in batch.negatives(a) {
                let labels = [batch.label(a), batch.label_of_column(n)];
                if labels == [c, s] || labels == [s, c] {
                    worst = worst.max(violation(a, n));
                }
            }
        }
        worst
    };
    let mut open: Vec<u32> = Vec::new();
    for j in 0..batch.columns() {
        let label = batch.label_of_column(j);
        if label != start && !open.contains(&label) {
            open.push(label);
        }
    }
    let mut chosen = vec![start];
    while chosen.len() < classes && !open.is_empty() {
        let worst = |c: u32| {
            chosen
                .iter()
                .map(|&s| between(c, s))
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let next = (1..open.len()).fold(0, |best, k| {
            if worst(open[k]) > worst(open[best]) {
                k
            } else {
                best
            }
        });
        chosen.push(open.remove(next));
    }
    for a in (0..batch.rows()).filter(|&a| chosen.contains(&batch.label(a))) {
        for j in batch.others(a) {
            if chosen.contains(&batch.label_of_column(j)) {
                mask.insert(a, j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{Distances, L2};
    use crate::pairs::Classes;
    use rand::SeedableRng;

    #[test]
    fn the_classes_are_those_that_some_start_leads_to() {
        let labels: Vec<u32> = (0..40).map(|i| (i * i + i / 7) % 13).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let embeddings: Vec<f32> = (0..120).map(|_| rng.random::<f32>() - 0.5).collect();
        let exact: Vec<f64> = embeddings.iter().map(|&e| f64::from(e)).collect();
        let distance = L2::default();
        let batch = Exact::new(&exact, 3, &labels, &distance);
        let distances = Distances::among(&distance, &embeddings, 3).unwrap();
        let classes = Classes::new(&labels);
        let pairs = Pairs::new(distances.s(), &classes);
        let mut starts = labels.clone();
        starts.sort_unstable();
        starts.dedup();
        let miner = HardNegativeClass {
            classes: Count::literal(4),
        };
        let expected: Vec<_> = starts
            .iter()
            .map(|&start| {
                let mut mask = PairMask::empty(40, 40);
                insert_from(&batch, start, 4, &mut mask);
                Tuples::Pairs(mask)
            })
            .collect();
        let mut found = vec![false; starts.len()];
        for _ in 0..200 {
            let mined = miner.mine(pairs, &mut rng);
            assert!(expected.contains(&mined));
            let same = expected.iter().map(|expected| *expected == mined);
            found
                .iter_mut()
                .zip(same)
                .for_each(|(found, same)| *found |= same);
        }
        assert!(found.iter().all(|&found| found), "every class is a start");
    }
}
