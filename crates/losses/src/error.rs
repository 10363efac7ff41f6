//! What can be wrong with a batch or a choice of parts.

/// Why a loss could not be computed.
///
/// A batch without positives or without negatives is not an error: it gives a value and a gradient of zero
/// and [`Outcome::tuples`](crate::Outcome::tuples) counts zero tuples.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
    /// A label is not the number of a class.
    #[error("label {label} is out of range: the loss has proxies for classes 0 to {}", classes.saturating_sub(1))]
    Class {
        /// The label.
        label: u32,
        /// Classes that the loss knows.
        classes: usize,
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
    /// A network of pairs gave a pair a NaN or an infinity.
    #[error("the score of pair {pair} is {value}, expected finite numbers")]
    PairScore {
        /// Row of the matrix of outputs.
        pair: usize,
        /// The output found there.
        value: f32,
    },
    /// Finite scores of pairs so large that the loss leaves the range of `f32`.
    #[error(
        "the loss overflows: the largest score of a pair is {largest:e}; lower the learning rate"
    )]
    PairOverflow {
        /// Largest magnitude among the outputs.
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
    /// The settings of a miner do not go together, or not with the distance.
    #[error("miner {miner} {lacks}")]
    MinerSettings {
        /// Recipe key of the miner.
        miner: &'static str,
        /// What they lack.
        lacks: &'static str,
    },
    /// The miner cannot be used against references.
    #[error(
        "miner {miner} compares the items of a batch with one another and cannot take references or a memory"
    )]
    MinerReferences {
        /// Recipe key of the miner.
        miner: &'static str,
    },
    /// The loss learns no proxies.
    #[error(
        "loss {loss} has no proxies, regularizer {regularizer} has nothing to act on: say on = \"embeddings\", or move it to an objective whose loss has proxies"
    )]
    NoProxies {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Recipe key of the regularizer.
        regularizer: &'static str,
        /// Its place in the list, from 0.
        place: usize,
    },
    /// A regularizer of the centers of each class counts them otherwise than the loss.
    #[error(
        "regularizer {regularizer} takes {found} centers for each class, loss {loss} has {expected}: the two numbers have to be the same"
    )]
    Centers {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Recipe key of the regularizer.
        regularizer: &'static str,
        /// Its place in the list, from 0.
        place: usize,
        /// Proxies of each class that the loss has.
        expected: usize,
        /// Centers that the regularizer takes.
        found: usize,
    },
    /// The loss is no sum of terms.
    #[error(
        "loss {loss} is no sum of terms, reducer {reducer} has no effect on it: leave the reducer out"
    )]
    Reducer {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Recipe key of the reducer.
        reducer: &'static str,
    },
    /// The loss sees the embeddings themselves.
    #[error(
        "loss {loss} sees the embeddings themselves, a distance has no effect on it: leave the distance out"
    )]
    NoDistance {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// Embeddings of another width than the criterion was made for.
    #[error("embeddings have {found} components, expected {expected}")]
    Width {
        /// Components that came.
        found: usize,
        /// Components expected.
        expected: usize,
    },
    /// The rows are not whole blocks of views.
    #[error(
        "a batch of {rows} rows is not {views} views of the same items, expected at least two views and a multiple of their number"
    )]
    Views {
        /// Rows of the batch.
        rows: usize,
        /// Views said.
        views: usize,
    },
    /// The loss takes another number of views.
    #[error("loss {loss} takes {fewest} to {most} views of each item, found {found}")]
    ViewCount {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Fewest views.
        fewest: usize,
        /// Most views.
        most: usize,
        /// Views of the batch.
        found: usize,
    },
    /// The loss needs pairs or triplets.
    #[error("loss {loss} needs pairs or triplets of aligned items, found a batch with labels")]
    NotAligned {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// Numbers that the loss needs for each item are missing.
    #[error("loss {loss} needs {expected} scores for each item, found {found}")]
    Scores {
        /// Recipe key of the loss.
        loss: &'static str,
        /// Scores expected for each item.
        expected: usize,
        /// Scores found for each item.
        found: usize,
    },
    /// A score is NaN or infinite.
    #[error("item {item} has the score {value}, expected finite numbers")]
    Score {
        /// Number of the item.
        item: usize,
        /// The score found there.
        value: f32,
    },
    /// A class for each item is missing.
    #[error("loss {loss} needs a class for each pair, found none")]
    NoClasses {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// A teacher's embeddings are missing.
    #[error("loss {loss} needs a teacher's embeddings, found none")]
    NoTeacher {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// A teacher's embeddings do not match the batch.
    #[error(
        "the teacher has {found} embeddings, expected one for each of the {rows} rows of the batch"
    )]
    Teacher {
        /// Rows of the batch.
        rows: usize,
        /// Rows of the teacher.
        found: usize,
    },
    /// The loss cannot be used against references.
    #[error(
        "loss {loss} compares the items of a batch with one another and cannot take references or a memory"
    )]
    References {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// A batch does not fit the memory of earlier ones.
    #[error(
        "a memory of {size} embeddings cannot hold a batch of {rows}, expected a memory at least as large"
    )]
    Memory {
        /// Embeddings that the memory holds.
        size: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// A learned parameter is larger than any machine's memory would like.
    #[error("expected at most {most} numbers in the loss's {name}, found shape {shape:?}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its rows and columns.
        shape: [usize; 2],
        /// Numbers that it may have.
        most: usize,
    },
    /// The loss is no function of a pair matrix.
    #[error(
        "loss {loss} sees embeddings or is made of other losses: it is no function of pair scores alone"
    )]
    NoMatrix {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// A prefix is wider than the embeddings.
    #[error(
        "matryoshka has the width {width}, expected at most {dim}, which is that of the embeddings"
    )]
    Wider {
        /// The width of the recipe.
        width: usize,
        /// Components of the embeddings.
        dim: usize,
    },
    /// The views of an item cannot be the examples of a class for this loss.
    #[error(
        "loss {loss} cannot be self-supervised: items are classes only for losses over labels that learn nothing of a class and remember none"
    )]
    SelfSupervised {
        /// Recipe key of the loss.
        loss: &'static str,
    },
    /// The loss learns proxies or other parameters.
    #[error("loss {loss} has learned parameters: use a `Criterion`, which holds them")]
    Stateful {
        /// Recipe key of the loss.
        loss: &'static str,
    },
}

impl Error {
    /// [`Error::Overflow`] of these embeddings.
    pub(crate) fn overflow(embeddings: &[f32]) -> Self {
        let largest = embeddings.iter().fold(0.0, |m: f32, e| m.max(e.abs()));
        Self::Overflow { largest }
    }
}
