//! What can be wrong with a batch or a choice of parts.

/// Why a loss could not be computed.
///
/// A batch without positives or without negatives is not an error: it gives a value and a gradient of zero
/// and [`Outcome::tuples`](crate::Outcome::tuples) counts zero tuples.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Labels and rows of the batch do not match.
    #[error("the batch has {rows} embeddings and {labels} labels, expected one label for each")]
    Labels {
        /// Rows of the embedding matrix.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A NaN or an infinity came in.
    #[error("embedding {row} holds {value} in column {column}, expected finite numbers")]
    NonFinite {
        /// Row of the embedding matrix, that is, the item of the batch.
        row: usize,
        /// Column of the embedding matrix.
        column: usize,
        /// The value found there.
        value: f32,
    },
    /// Finite embeddings so large that the loss leaves the range of `f32`.
    #[error(
        "the loss overflows: the largest embedding component is {largest:e}; normalize or lower the learning rate"
    )]
    Overflow {
        /// Largest magnitude in the embedding matrix.
        largest: f32,
    },
    /// The loss forms its own tuples.
    #[error(
        "loss {loss} forms its own tuples from the labels, miner {miner} has no effect on it: leave the miner out"
    )]
    Miner {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Recipe key of the miner.
        miner: &'static str,
    },
}

impl Error {
    /// [`Error::Overflow`] of these embeddings.
    pub(crate) fn overflow(embeddings: &[f32]) -> Self {
        let largest = embeddings.iter().fold(0.0, |m: f32, e| m.max(e.abs()));
        Self::Overflow { largest }
    }
}
