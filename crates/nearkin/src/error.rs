//! What can go wrong in training, embedding and evaluating.

use std::borrow::Cow;
use std::path::PathBuf;

/// Error of the nearkin library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// The split does not fit the data.
    #[error(transparent)]
    Split(#[from] crate::split::SplitError),
    /// The batches do not fit the data.
    #[error(transparent)]
    Sampler(#[from] crate::sampler::SamplerError),
    /// The network, an image or the model folder is wrong.
    #[error(transparent)]
    Encoder(#[from] nearkin_encoder::Error),
    /// The embeddings or labels cannot be measured.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// Embeddings cannot be clustered.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// Embeddings cannot be made smaller.
    #[error(transparent)]
    Quantize(#[from] crate::quantize::QuantizeError),
    /// Embeddings of text cannot be measured or searched.
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    /// A model is neither a folder nor on the hub.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// A file of embeddings cannot be read or written.
    #[error(transparent)]
    Vectors(#[from] crate::vectors::VectorsError),
    /// Reading or writing a file failed; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// More images are damaged than the recipe allows.
    #[error(
        "{found} damaged image{}, data.damaged allows {allowed}; the last: {last}",
        if *found == 1 { "" } else { "s" }
    )]
    Damaged {
        /// Damaged items found.
        found: usize,
        /// Items that may be damaged.
        allowed: usize,
        /// The last one, with what is wrong with it.
        last: String,
    },
    /// Not one image can be read.
    #[error("{data}: none of {of} can be read; the first: {first}")]
    Unreadable {
        /// The data set.
        data: String,
        /// `its 40 images`, or a part of them.
        of: String,
        /// The first one, with what is wrong with it.
        first: String,
    },
    /// A model that aligns faces, and images without the points that this takes.
    #[error(
        "{data}: its images have no landmarks, by which the model aligns faces (input.align); list them in a table with ten columns of landmarks, called as data.source.manifest.landmark_columns of the model's recipe says"
    )]
    NoLandmarks {
        /// The data set.
        data: String,
    },
    /// The items are of another kind than the model reads.
    #[error("{data} holds {found}, the model reads {expected}")]
    Input {
        /// The data set.
        data: String,
        /// What the model reads.
        expected: String,
        /// What the items are.
        found: String,
    },
    /// A part that is to be measured has no two items of one class.
    #[error(
        "data.split leaves {items} items to {part}, none with another of its class: nothing could be retrieved; hold out more"
    )]
    NothingToFind {
        /// `test` or `validate`.
        part: &'static str,
        /// Its items.
        items: usize,
    },
    /// Of a part no image is there.
    #[error(
        "data.split leaves {items} items to {part}, none of which is there; the first: {first}"
    )]
    NothingThere {
        /// `test` or `validate`.
        part: &'static str,
        /// Its items.
        items: usize,
        /// Why the first is not there.
        first: String,
    },
    /// What tests is of one class.
    #[error(
        "data.split leaves a single class to test, {class:?} with {items} items, on which every answer is right: hold out two or more"
    )]
    SingleClass {
        /// The class.
        class: String,
        /// Its items there.
        items: usize,
    },
    /// Loss, distance, miner, reducer and regularizers do not go together, or not with labels.
    #[error(transparent)]
    Objective(nearkin_losses::Error),
    /// A loss does not fit the data set that it is for.
    #[error("data set {data}: {source}")]
    DataLoss {
        /// The dotted key of the loss in the recipe.
        key: String,
        /// The data set's name.
        data: String,
        /// What does not fit.
        source: nearkin_losses::Error,
    },
    /// The loss refused the batch.
    #[error("step {step}, loss {loss}: {source}")]
    Loss {
        /// The optimizer step, from 1.
        step: u64,
        /// The loss's name.
        loss: String,
        /// What was wrong.
        source: nearkin_losses::Error,
    },
    /// A number of training became NaN or infinite.
    #[error(
        "step {step}, loss {loss}: {tensor} is not finite ({value}); lower the learning rate or set train.clip"
    )]
    NotFinite {
        /// The optimizer step, from 1.
        step: u64,
        /// The loss's name.
        loss: String,
        /// The tensor at fault.
        tensor: String,
        /// The number found.
        value: f32,
    },
    /// A run folder is not what the command needs.
    #[error("{path}: {reason}")]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// What was expected and what came.
        reason: String,
    },
}

impl Error {
    /// Whether training ended in numbers that are not finite or leave the range of `f32`: another rate may do.
    pub fn is_divergence(&self) -> bool {
        use nearkin_losses::Error as Loss;
        match self {
            Self::NotFinite { .. } => true,
            Self::Loss { source, .. } => {
                matches!(source, Loss::Overflow { .. } | Loss::NonFinite { .. })
            }
            _ => false,
        }
    }

    /// The dotted key of the recipe that has to change, where the error is about one.
    pub fn recipe_key(&self) -> Option<Cow<'_, str>> {
        use nearkin_losses::Error as Objective;
        Some(Cow::Borrowed(match self {
            Self::Encoder(nearkin_encoder::Error::Setting { key, .. })
            | Self::DataLoss { key, .. } => key,
            Self::Sampler(_) => "sampler",
            Self::Objective(
                Objective::NoProxies { place, .. } | Objective::Centers { place, .. },
            ) => return Some(Cow::Owned(format!("regularizers.{place}"))),
            Self::Objective(Objective::MinerSettings { .. }) => "miner",
            Self::Objective(_) => "loss",
            Self::Split(_)
            | Self::NothingToFind { .. }
            | Self::NothingThere { .. }
            | Self::SingleClass { .. } => "data.split",
            _ => return None,
        }))
    }
}

impl From<nearkin_encoder::host::TensorError> for Error {
    fn from(error: nearkin_encoder::host::TensorError) -> Self {
        Self::Encoder(error.into())
    }
}

/// Result of the nearkin library.
pub type Result<T> = std::result::Result<T, Error>;
