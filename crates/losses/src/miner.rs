//! Miners: which of the pairs and triplets of a batch a loss looks at.

pub mod all;
pub mod angular;
pub mod batch_easy_hard;
pub mod batch_hard;
pub mod distance_weighted;
pub mod hard_aware;
pub mod hard_negative_class;
pub mod hard_quadruplet;
pub mod margin_violating;
pub mod multi_similarity;
pub mod pair_margin;
pub mod semi_hard;
pub mod triplet_margin;
pub mod uniform_histogram;

pub use all::All;
pub use angular::Angular;
pub use batch_easy_hard::BatchEasyHard;
pub use batch_hard::BatchHard;
pub use distance_weighted::DistanceWeighted;
pub use hard_aware::HardAware;
pub use hard_negative_class::HardNegativeClass;
pub use hard_quadruplet::HardQuadruplet;
pub use margin_violating::MarginViolating;
pub use multi_similarity::MultiSimilarity;
pub use pair_margin::PairMargin;
pub use semi_hard::SemiHard;
pub use triplet_margin::TripletMargin;
pub use uniform_histogram::UniformHistogram;

use crate::catalogue::family;
use crate::described::Described;
use crate::distance::PairDistance;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::tuples::Tuples;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

family! {
    /// What decides which pairs or triplets of a batch take part.
    ///
    /// In a recipe: `[miner.batch_hard]`. Left out, the loss brings the miner of its paper.
    pub enum Miner: TupleMiner {
        all::All,
        angular::Angular,
        batch_easy_hard::BatchEasyHard,
        batch_hard::BatchHard,
        distance_weighted::DistanceWeighted,
        hard_aware::HardAware,
        hard_negative_class::HardNegativeClass,
        hard_quadruplet::HardQuadruplet,
        margin_violating::MarginViolating,
        multi_similarity::MultiSimilarity,
        pair_margin::PairMargin,
        semi_hard::SemiHard,
        triplet_margin::TripletMargin,
        uniform_histogram::UniformHistogram,
    }
}

/// A choice of pairs or triplets by their distances.
pub trait TupleMiner: Described + Send + Sync {
    /// The tuples that take part. Only a random choice draws from `rng`.
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples;

    /// The same by its definition, tuple by tuple; of a random choice, all it chooses from.
    fn reference(&self, batch: &Exact<'_>) -> Tuples;

    /// Whether the settings go together, and with the distance.
    ///
    /// # Errors
    /// What they lack, to be read after the name of the miner.
    fn check(&self, _distance: &dyn PairDistance) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether rows and columns have to be the same items, as where `S[p][n]` is needed.
    fn needs_square(&self) -> bool {
        false
    }
}

/// The triplets of every anchor, found in parallel, in the order of the anchors.
fn triplets_of_anchors(
    pairs: Pairs<'_>,
    of_anchor: impl Fn(usize) -> Vec<[u32; 3]> + Sync + Send,
) -> Tuples {
    let anchors: Vec<_> = (0..pairs.rows())
        .into_par_iter()
        .with_min_len(8)
        .map(of_anchor)
        .collect();
    Tuples::Triplets(anchors.concat())
}

/// One number for each anchor, drawn in order: random choices seeded by them do not depend on the number of threads.
fn seeds(anchors: usize, rng: &mut ChaCha8Rng) -> Vec<u64> {
    (0..anchors).map(|_| rng.next_u64()).collect()
}

/// The nearest negative of `a` farther away than `bound`, the first of equals.
fn nearest_negative(pairs: Pairs<'_>, a: usize, bound: f32) -> Option<usize> {
    let row = pairs.row(a);
    let (mut least, mut place) = (f32::INFINITY, 0..0);
    for range in pairs.negatives(a) {
        let of_range = least_beyond(&row[range.clone()], bound);
        if of_range < least {
            (least, place) = (of_range, range);
        }
    }
    place
        .into_iter()
        .find(|&n| row[n] > bound && row[n] <= least)
}

/// The least of the distances beyond `bound`, found in lanes that become vector instructions; `∞` without any.
fn least_beyond(distances: &[f32], bound: f32) -> f32 {
    let less = |d: f32, least: f32| {
        let beyond = if d > bound { d } else { f32::INFINITY };
        if beyond < least { beyond } else { least }
    };
    let mut lanes = [f32::INFINITY; 16];
    let (full, rest) = distances.as_chunks::<16>();
    for chunk in full {
        for (lane, &d) in lanes.iter_mut().zip(chunk) {
            *lane = less(d, *lane);
        }
    }
    rest.iter()
        .chain(&lanes)
        .fold(f32::INFINITY, |least, &d| less(d, least))
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
