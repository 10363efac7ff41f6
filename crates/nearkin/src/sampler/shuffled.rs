//! Items in random order.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::{Purpose, SamplerError, Shape, permutation};
use crate::documented::documented;

documented! {
    /// Batches of items in random order, each item once an epoch, whatever its class.
    ///
    /// Where the batch does not divide the data, the last batch of an epoch is filled up from the epoch's beginning.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Shuffled {
        /// The number of items in a batch.
        pub batch: NonZeroUsize,
    }
}

/// The items to draw from.
#[derive(Debug, Clone)]
pub(super) struct Order {
    batch: usize,
    seed: u64,
    items: Vec<usize>,
    /// The epoch whose permutation is kept.
    epoch: Option<u64>,
    permutation: Vec<u32>,
}

impl Order {
    pub(super) fn new(
        shuffled: Shuffled,
        items: &[usize],
        seed: u64,
    ) -> Result<Self, SamplerError> {
        let batch = shuffled.batch.get();
        if batch > items.len() {
            return Err(SamplerError::TooFewItems {
                batch: format!("a batch of {batch}"),
                items: items.len(),
            });
        }
        Ok(Self {
            batch,
            seed,
            items: items.to_vec(),
            epoch: None,
            permutation: Vec::new(),
        })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            batch_size: self.batch,
            batches_per_epoch: self.items.len().div_ceil(self.batch) as u64,
            left_out: 0,
        }
    }

    pub(super) fn batch(&mut self, epoch: u64, place: usize) -> Vec<usize> {
        if self.epoch != Some(epoch) {
            self.permutation = permutation(
                self.items.len(),
                self.seed,
                Purpose::ItemsOfEpoch,
                [epoch, 0],
            );
            self.epoch = Some(epoch);
        }
        let start = place * self.batch;
        (start..start + self.batch)
            .map(|at| self.items[self.permutation[at % self.permutation.len()] as usize])
            .collect()
    }
}
