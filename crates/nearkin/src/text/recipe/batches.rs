//! How batches of texts are drawn, `[batches]`.

use crate::sampler::Pk;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// How batches of texts are drawn, `[batches]`. A batch is of one data set.
///
/// In an epoch every item of a data set is drawn once, in an order that depends on the seed and the epoch alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batches {
    /// Items of a batch: pairs, triplets, texts.
    pub size: NonZeroUsize,
    /// Tokens of a batch in place of `size`: items of like length share a batch, so that each is about as much work. An item
    /// that is longer is a batch of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<NonZeroUsize>,
    /// Whether no text may be twice in a batch, since for losses over negatives in the batch a second copy is a false one. An
    /// item that would bring one waits for a later batch.
    pub no_duplicates: bool,
    /// Classes and items of each in a batch of labeled texts, in place of `size`.
    pub pk: Pk,
    /// How several data sets take turns.
    pub mix: Mix,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            size: NonZeroUsize::MIN.saturating_add(15),
            tokens: None,
            no_duplicates: false,
            pk: Pk {
                classes: 4,
                per_class: 4,
            },
            mix: Mix::default(),
        }
    }
}

/// How several data sets take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// In random order, each as often as it has batches: an epoch is one pass over all of them.
    #[default]
    Proportional,
    /// One after another, until the one with the fewest batches has none left: that is an epoch.
    RoundRobin,
}
