//! Many faces of each identity, and random ones of others.

use std::collections::HashSet;

use nearkin_losses::range::Count;
use serde::{Deserialize, Serialize};

use super::{Pool, Purpose, SamplerError, Shape, permutation};
use crate::documented::documented;

documented! {
    /// About so many items of each of some identities, then random items of other identities.
    ///
    /// ```text
    /// [ identity 1: ≤ per_identity | identity 2: ≤ per_identity | … | negatives ]      exemplars in all
    /// ```
    ///
    /// Within an epoch every identity with two items or more comes once, with all its items or `per_identity` of them that come
    /// in turn from epoch to epoch. The sequence of identities is cut into batches, so that one at the edge is shared by two.
    /// Negatives are of identities that the batch has no other item of, those with a single item among them; where these run
    /// out, of any. No item is twice in a batch.
    ///
    /// All anchor–positive pairs and the negatives of every anchor are then found within the batch, by the loss and its miner.
    /// FaceNet first passes the batch without gradient to select triplets and trains on these in small parts: so does
    /// `train.chunk`. Chunks are embedded, the miner sees the whole batch, and the items of the triplets it keeps are passed
    /// again in chunks for their gradient. Under batch norms or dropout what an item becomes depends on its chunk: there each
    /// chunk with such an item is passed again whole.
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, §3.2: "around 40 faces are selected per identity per
    /// mini-batch", "randomly sampled negative faces are added", "a batch size of around 1,800 exemplars". It does not say how
    /// many of them are negatives: here 200.
    ///
    /// # Example
    /// ```
    /// use nearkin::sampler::{Draw, Pool, Sampler};
    /// let items: Vec<usize> = (0..40).collect();
    /// let labels: Vec<u32> = (0..40).map(|item| item / 4).collect();
    /// let sampler: Sampler = toml::from_str("[identities]\nexemplars = 11\nper_identity = 4\nnegatives = 3")?;
    /// let batch = Draw::new(&sampler, Pool::new(&items, &labels), 0)?.batch(0);
    /// assert_eq!(batch.len(), 11);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Identities {
        /// Items of a batch, negatives included.
        pub exemplars: Count,
        /// The most items of one identity.
        pub per_identity: Count,
        /// Items drawn at random from other identities.
        pub negatives: usize,
    }
}

impl Default for Identities {
    fn default() -> Self {
        Self {
            exemplars: Count::literal(1800),
            per_identity: Count::literal(40),
            negatives: 200,
        }
    }
}

/// The identities to draw from; items are places in the pool.
#[derive(Debug, Clone)]
pub(super) struct Faces {
    settings: Identities,
    seed: u64,
    items: Vec<usize>,
    identity_of: Vec<u32>,
    /// The places of each identity with two items or more.
    places_of: Vec<Vec<usize>>,
    singletons: usize,
    /// The places of an epoch that identities fill.
    total: usize,
    epoch: Option<u64>,
    /// The identities in the order of the epoch, with the places at which each ends.
    order: Vec<(u32, usize)>,
    /// All items in the order in which negatives of the epoch are tried.
    tried: Vec<u32>,
}

impl Faces {
    pub(super) fn new(
        settings: Identities,
        pool: Pool<'_>,
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let exemplars = settings.exemplars.get();
        if settings.negatives + 2 > exemplars || settings.per_identity.get() < 2 {
            return Err(SamplerError::Unfit {
                sampler: "identities",
                expected:
                    "per_identity of 2 or more, and at least two exemplars beside the negatives"
                        .into(),
                found: format!(
                    "has exemplars = {exemplars}, per_identity = {} and negatives = {}",
                    settings.per_identity, settings.negatives
                ),
            });
        }
        let mut places_of = pool.places_of_classes();
        let singletons = places_of.iter().filter(|places| places.len() == 1).count();
        places_of.retain(|places| places.len() >= 2);
        let rations = places_of
            .iter()
            .map(|p| p.len().min(settings.per_identity.get()));
        let total = rations.sum();
        let structured = exemplars - settings.negatives;
        if structured > total || exemplars > pool.items.len() {
            return Err(SamplerError::TooFewItems {
                batch: format!(
                    "a batch of {exemplars}, {structured} of them of identities with at most {} items each,",
                    settings.per_identity
                ),
                items: total.min(pool.items.len()),
            });
        }
        Ok(Self {
            settings,
            seed,
            items: pool.items.to_vec(),
            identity_of: pool.labels.to_vec(),
            places_of,
            singletons,
            total,
            epoch: None,
            order: Vec::new(),
            tried: Vec::new(),
        })
    }

    /// Places of a batch that identities fill.
    fn structured(&self) -> usize {
        self.settings.exemplars.get() - self.settings.negatives
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            batch_size: self.settings.exemplars.get(),
            batches_per_epoch: self.total.div_ceil(self.structured()) as u64,
            left_out: if self.settings.negatives > 0 {
                0
            } else {
                self.singletons
            },
        }
    }

    pub(super) fn batch(&mut self, epoch: u64, place: usize) -> Vec<usize> {
        if self.epoch != Some(epoch) {
            self.begin(epoch);
        }
        let mut batch = self.of_identities(epoch, place);
        let present: HashSet<u32> = batch.iter().map(|&at| self.identity_of[at]).collect();
        let taken: HashSet<usize> = batch.iter().copied().collect();
        let count = self.items.len();
        let first = (place * self.settings.negatives) % count;
        let tried = (first..first + count).map(|at| self.tried[at % count] as usize);
        let is_other = |at: &usize| !present.contains(&self.identity_of[*at]);
        let others = tried.clone().filter(is_other);
        let rest = tried.filter(|at| !is_other(at) && !taken.contains(at));
        batch.extend(others.chain(rest).take(self.settings.negatives));
        batch.into_iter().map(|at| self.items[at]).collect()
    }

    fn begin(&mut self, epoch: u64) {
        let identities = self.places_of.len();
        let order = permutation(identities, self.seed, Purpose::ClassesOfPass, [epoch, 0]);
        let mut end = 0;
        let ends = order.into_iter().map(|identity| {
            end += self.places_of[identity as usize]
                .len()
                .min(self.settings.per_identity.get());
            (identity, end)
        });
        self.order = ends.collect();
        let purpose = Purpose::NegativesOfEpoch;
        self.tried = permutation(self.items.len(), self.seed, purpose, [epoch, 0]);
        self.epoch = Some(epoch);
    }

    /// The places of the pool that fill a batch's share of the epoch; the last batch goes on at the epoch's beginning.
    fn of_identities(&self, epoch: u64, place: usize) -> Vec<usize> {
        let first = place * self.structured();
        let (mut at, mut left) = (first % self.total, self.structured());
        let mut next = self.order.partition_point(|(_, end)| *end <= at);
        let mut batch = Vec::with_capacity(self.settings.exemplars.get());
        while left > 0 {
            let (identity, end) = self.order[next];
            let faces = self.faces(identity as usize, epoch);
            let begun = faces.len() - (end - at);
            let taken = &faces[begun..][..left.min(end - at)];
            batch.extend(taken);
            left -= taken.len();
            next = (next + 1) % self.order.len();
            at = if next == 0 { 0 } else { end };
        }
        batch
    }

    /// The items of an identity in an epoch: all, or as many as it may have, in turn.
    fn faces(&self, identity: usize, epoch: u64) -> Vec<usize> {
        let places = &self.places_of[identity];
        let count = places.len().min(self.settings.per_identity.get());
        let draws = places.len().div_ceil(count) as u64;
        let (round, draw) = (epoch / draws, (epoch % draws) as usize);
        let of = [identity as u64, round];
        let order = permutation(places.len(), self.seed, Purpose::ItemsOfClass, of);
        let faces = (0..count).map(|i| places[order[(draw * count + i) % places.len()] as usize]);
        faces.collect()
    }
}
