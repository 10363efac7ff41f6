//! Miners: which of the pairs and triplets of a batch a loss looks at.

pub mod all;
pub mod batch_hard;
pub mod multi_similarity;
pub mod semi_hard;
pub mod triplet_margin;

pub use all::All;
pub use batch_hard::BatchHard;
pub use multi_similarity::MultiSimilarity;
pub use semi_hard::SemiHard;
pub use triplet_margin::TripletMargin;

use crate::catalogue::family;
use crate::described::Described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

family! {
    /// What decides which pairs or triplets of a batch take part.
    ///
    /// In a recipe: `[miner.batch_hard]`. Left out, the loss brings the miner of its paper.
    pub enum Miner: TupleMiner {
        all::All,
        batch_hard::BatchHard,
        multi_similarity::MultiSimilarity,
        semi_hard::SemiHard,
        triplet_margin::TripletMargin,
    }
}

/// A choice of pairs or triplets by their distances.
pub trait TupleMiner: Described + Send + Sync {
    /// The tuples that take part. Only a random choice draws from `rng`.
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples;

    /// The same by its definition, tuple by tuple; of a random choice, all it chooses from.
    fn reference(&self, batch: &Exact<'_>) -> Tuples;
}

/// The triplets of every anchor, found in parallel, in the order of the anchors.
fn triplets_of_anchors(
    pairs: Pairs<'_>,
    of_anchor: impl Fn(usize) -> Vec<[u32; 3]> + Sync + Send,
) -> Tuples {
    let anchors: Vec<_> = (0..pairs.size())
        .into_par_iter()
        .with_min_len(8)
        .map(of_anchor)
        .collect();
    Tuples::Triplets(anchors.concat())
}

/// The nearest negative of `a`, the first of equals.
fn nearest_negative(pairs: Pairs<'_>, a: usize) -> Option<usize> {
    let row = pairs.row(a);
    let lowest = |range: std::ops::Range<usize>| {
        row[range]
            .iter()
            .fold(f32::INFINITY, |m, &d| if d < m { d } else { m })
    };
    let nearest = pairs.negatives(a).map(lowest).fold(f32::INFINITY, f32::min);
    pairs.negatives(a).flatten().find(|&n| row[n] <= nearest)
}

/// The farthest of `items` by distance, the first of equals.
fn farthest(row: &[f32], items: impl Iterator<Item = usize>) -> Option<usize> {
    items.fold(None, |best, i| match best {
        Some(j) if row[i] <= row[j] => best,
        _ => Some(i),
    })
}

/// The first of `items` with the least `key`; for the references.
fn first_least(items: &[usize], key: impl Fn(usize) -> f64) -> Option<usize> {
    items
        .iter()
        .copied()
        .min_by(|&i, &j| key(i).total_cmp(&key(j)))
}
