//! P classes × K items, the usual batch of metric learning.

use serde::{Deserialize, Serialize};

use super::turns::turns;
use super::{Pool, Purpose, SamplerError, Shape, permutation};
use crate::documented::documented;

documented! {
    /// Batches of P classes and K items of each, class by class.
    ///
    /// Within an epoch every class is drawn once before any is drawn twice, and at least once. The items of a class come
    /// in turn: all are drawn before one comes again, except that the last draw of a round is filled up from the
    /// round's beginning where K does not divide the class. An item is twice in one batch only where its class has fewer
    /// than K. Classes with a single item are left out and counted.
    ///
    /// With the N-pair loss this is its N × M construction: N classes, M items of each.
    ///
    /// # Reference
    /// Hermans, Beyer, Leibe: In Defense of the Triplet Loss for Person Re-Identification, 2017, section 2 (PK batches).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Pk {
        /// P, the number of classes in a batch.
        pub classes: usize,
        /// K, the number of items of each class.
        pub per_class: usize,
    }
}

impl Default for Pk {
    fn default() -> Self {
        Self {
            classes: 16,
            per_class: 4,
        }
    }
}

/// The classes to draw from.
///
/// An epoch is a sequence of passes over the classes, cut into batches of P; all passes but perhaps the last are
/// whole. Draw `j` of a class over the whole run is then `epoch × whole passes + pass`, which is what makes the items
/// of a class come in turn without any memory of what was drawn.
#[derive(Debug, Clone)]
pub(super) struct Classes {
    p: usize,
    k: usize,
    seed: u64,
    items_of: Vec<Vec<usize>>,
    singletons: usize,
    batches: usize,
    /// Passes of an epoch in which every class is drawn.
    whole: usize,
    /// The epoch whose classes are in `slots`.
    epoch: Option<u64>,
    slots: Vec<u32>,
    /// The round of each class and its order, kept since a round serves several draws.
    rounds: Vec<(u64, Vec<u32>)>,
}

impl Classes {
    /// The classes of a pool, for the sampler of this name.
    pub(super) fn new(
        pk: Pk,
        (sampler, pool): (&'static str, Pool<'_>),
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let Pk {
            classes: p,
            per_class: k,
        } = pk;
        if p < 2 || k < 2 {
            return Err(SamplerError::TooSmall {
                sampler,
                classes: p,
                per_class: k,
            });
        }
        let places = pool.places_of_classes().into_iter();
        let items = |places: Vec<usize>| places.into_iter().map(|at| pool.items[at]).collect();
        let mut items_of: Vec<Vec<usize>> = places.map(items).collect();
        let singletons = items_of.iter().filter(|items| items.len() == 1).count();
        items_of.retain(|items| items.len() >= 2);
        if items_of.len() < p {
            return Err(SamplerError::TooFewClasses {
                sampler,
                asked: p,
                usable: items_of.len(),
                singletons,
            });
        }
        let count: usize = items_of.iter().map(Vec::len).sum();
        if p.checked_mul(k).is_none_or(|batch| batch > count) {
            let batch = format!("a batch of {p} × {k} = {}", p.saturating_mul(k));
            return Err(SamplerError::TooFewItems {
                batch,
                items: count,
            });
        }
        // As many batches as draw each item once on average, and at least each class once.
        let batches = count.div_ceil(p * k).max(items_of.len().div_ceil(p));
        let whole = batches * p / items_of.len();
        let rounds = vec![(u64::MAX, Vec::new()); items_of.len()];
        Ok(Self {
            p,
            k,
            seed,
            items_of,
            singletons,
            batches,
            whole,
            epoch: None,
            slots: Vec::new(),
            rounds,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            batch_size: self.p * self.k,
            batches_per_epoch: self.batches as u64,
            left_out: self.singletons,
        }
    }

    pub(super) fn batch(&mut self, epoch: u64, place: usize) -> Vec<usize> {
        if self.epoch != Some(epoch) {
            self.slots = turns(self.items_of.len(), self.p, self.batches, |pass| {
                let of = [epoch, pass];
                permutation(self.items_of.len(), self.seed, Purpose::ClassesOfPass, of)
            });
            self.epoch = Some(epoch);
        }
        let mut batch = Vec::with_capacity(self.p * self.k);
        for slot in place * self.p..(place + 1) * self.p {
            let class = self.slots[slot] as usize;
            self.draw(class, epoch, slot / self.items_of.len(), &mut batch);
        }
        batch
    }

    /// Appends K items of a class.
    fn draw(&mut self, class: usize, epoch: u64, pass: usize, batch: &mut Vec<usize>) {
        let items = &self.items_of[class];
        let draws = items.len().div_ceil(self.k);
        if pass < self.whole {
            let draw = epoch * self.whole as u64 + pass as u64;
            let (round, place) = (draw / draws as u64, (draw % draws as u64) as usize);
            let kept = &mut self.rounds[class];
            if kept.0 != round || kept.1.is_empty() {
                *kept = (
                    round,
                    permutation(
                        items.len(),
                        self.seed,
                        Purpose::ItemsOfClass,
                        [class as u64, round],
                    ),
                );
            }
            let order = &kept.1;
            batch.extend(
                (0..self.k).map(|i| items[order[(place * self.k + i) % items.len()] as usize]),
            );
        } else {
            // Only some classes are in the last pass: it draws aside, so that the turn of the items stays complete.
            let order = permutation(
                items.len(),
                self.seed,
                Purpose::ExtraItemsOfClass,
                [class as u64, epoch],
            );
            batch.extend((0..self.k).map(|i| items[order[i % items.len()] as usize]));
        }
    }
}
