//! Batches that the weights decide, drawn at once for many steps.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::hard_classes::Candidates;
use super::offline_triplets::Extremes;
use super::{Pool, Sampler, SamplerError};
use crate::embed::Embedded;
use crate::error::Result;

/// The most items that the batches of a round may hold together: 64 MiB in memory, a tenth of that in a checkpoint.
const MOST: u64 = 1 << 23;

/// The batches between two looks at the weights.
///
/// A round is a function of the seed, the number of its first batch and the weights at that moment. It is made at a step
/// boundary and kept in the checkpoints until the next is made: a run resumed in the middle of a round draws what the
/// uninterrupted one drew, though the weights that decided it are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The number of the first batch.
    pub first: u64,
    /// The items of each batch.
    pub batches: Vec<Vec<usize>>,
}

impl Round {
    /// The items of a batch; a number beyond the round begins it again.
    pub fn batch(&self, number: u64) -> &[usize] {
        let count = self.batches.len().max(1) as u64;
        let place = number.saturating_sub(self.first) % count;
        self.batches.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether its items are among `count`: a round of other data is not for these.
    ///
    /// # Errors
    /// Names the first item that is not.
    pub fn check(&self, count: usize) -> std::result::Result<(), SamplerError> {
        match self.batches.iter().flatten().find(|item| **item >= count) {
            None => Ok(()),
            Some(item) => Err(SamplerError::OtherData { item: *item, count }),
        }
    }

    /// The number of the batch after the last.
    pub fn end(&self) -> u64 {
        self.first + self.batches.len() as u64
    }
}

/// Embeds items with the weights of the moment; damaged ones are left out.
pub type Embed<'a> = dyn FnMut(&[usize]) -> Result<Embedded> + 'a;

/// Draws the rounds of one run, for the samplers that look at embeddings.
#[derive(Debug, Clone)]
pub struct Mine(Kind);

#[derive(Debug, Clone)]
enum Kind {
    HardClasses(Candidates),
    OfflineTriplets(Extremes),
}

impl Mine {
    /// Prepares to draw from `pool` rounds of `batches` batches; `None` for a sampler that needs no embeddings.
    ///
    /// # Errors
    /// The batch is larger than the data, the data have too few classes, or a round would not fit into memory.
    pub fn new(
        sampler: &Sampler,
        pool: Pool<'_>,
        batches: u64,
        seed: u64,
    ) -> std::result::Result<Option<Self>, SamplerError> {
        let (kind, name, size) = match sampler {
            Sampler::HardClasses(hard) => {
                let candidates = Candidates::new(*hard, pool, seed)?;
                (Kind::HardClasses(candidates), "hard_classes", hard.batch())
            }
            Sampler::OfflineTriplets(offline) => {
                let extremes = Extremes::new(*offline, pool, seed)?;
                (
                    Kind::OfflineTriplets(extremes),
                    "offline_triplets",
                    offline.batch(),
                )
            }
            _ => return Ok(None),
        };
        let items = batches.saturating_mul(size as u64);
        if items > MOST {
            return Err(SamplerError::Unfit {
                sampler: name,
                expected: format!("a smaller `every`, for at most {MOST} items a round"),
                found: format!("{batches} batches of {size} are {items}"),
            });
        }
        Ok(Some(Self(kind)))
    }

    /// Draws the batches of these numbers with the weights of the moment.
    ///
    /// # Errors
    /// Items cannot be embedded, or too few of them to find what the sampler looks for.
    pub fn round(&self, numbers: Range<u64>, embed: &mut Embed<'_>) -> Result<Round> {
        let first = numbers.start;
        let batches = match &self.0 {
            Kind::HardClasses(candidates) => candidates.batches(numbers, embed)?,
            Kind::OfflineTriplets(extremes) => extremes.batches(numbers, embed)?,
        };
        Ok(Round { first, batches })
    }
}

/// The error of drawing batches without the embeddings that decide them.
pub(super) fn needs_weights(sampler: &'static str) -> SamplerError {
    SamplerError::Unfit {
        sampler,
        expected: "embeddings to draw by".into(),
        found: "there are none here".into(),
    }
}
