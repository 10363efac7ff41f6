//! Clusters of embeddings that nobody counted beforehand: merged while they are near enough.

mod agglomerative;
mod condensed;
mod medoids;

pub use agglomerative::{Agglomerative, Dendrogram, Distance, Linkage, Merge};
pub use medoids::medoids;

use crate::evaluate::EvaluateError;

/// Why embeddings cannot be clustered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClusterError {
    /// A number is not finite.
    #[error(transparent)]
    Embeddings(#[from] EvaluateError),
    /// There is no item.
    #[error("there is nothing to cluster")]
    Nothing,
    /// A linkage that is not defined for the distance.
    #[error(
        "linkage: ward is defined by squared Euclidean distances: set distance = \"euclidean\", or another linkage"
    )]
    Ward,
    /// Items and their clusters differ in count.
    #[error("{rows} embeddings but {clusters} assignments to clusters")]
    Assignments {
        /// Embeddings.
        rows: usize,
        /// Assignments.
        clusters: usize,
    },
}
