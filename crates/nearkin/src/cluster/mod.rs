//! Clusters of embeddings: by centers, by merges, by density, by what is alike.
//!
//! | | number of clusters | noise | memory beside the embeddings |
//! |---|---|---|---|
//! | [`KMeans`] | given | no | O(N + K D) |
//! | [`Agglomerative`] | given, or a distance | no | `2 N²` bytes, bounded; beyond the bound O(N) |
//! | [`Dbscan`] | from a distance | yes | O(N) |
//! | [`Hdbscan`] | from the data | yes | O(N) |
//! | [`Communities`] | from a similarity | yes | O(N) |
//!
//! The distance of a tree's cut can be chosen by items whose classes are known, [`Dendrogram::best_cut`]. [`medoids`] names the
//! item that stands for each cluster, [`Quality`] and [`Agreement`] say how good the clusters are.

mod agglomerative;
mod best_cut;
mod chains;
mod community;
mod condensed;
mod condensed_tree;
mod dbscan;
mod dendrogram;
mod distance;
#[cfg(test)]
mod golden;
mod hdbscan;
mod kmeans;
mod medoids;
mod mini_batch;
mod neighbor_graph;
mod quality;
mod spanning_tree;

pub use agglomerative::{Agglomerative, Linkage};
pub use best_cut::{Cut, CutScore};
pub use community::Communities;
pub use dbscan::Dbscan;
pub use dendrogram::{Dendrogram, Merge};
pub use distance::Distance;
pub use hdbscan::Hdbscan;
pub use kmeans::{Centers, KMeans};
pub use medoids::medoids;
pub use nearkin_losses::range::{Finite, NonNegative};
pub use quality::{Agreement, Quality};

use crate::evaluate::EvaluateError;
use nearkin_kernels::Mat;

/// Why embeddings cannot be clustered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClusterError {
    /// A number is not finite, or counts differ.
    #[error(transparent)]
    Embeddings(#[from] EvaluateError),
    /// There is no item, or nothing in it.
    #[error("there is nothing to cluster")]
    Nothing,
    /// A linkage that is not defined for the distance.
    #[error(
        "linkage: ward is defined by squared Euclidean distances: set distance = \"euclidean\", or another linkage"
    )]
    Ward,
    /// The distances of all pairs are needed and too many.
    #[error(
        "the distances of all pairs of {items} items take {bytes} bytes, more than the {memory} allowed; average linkage of cosine distances, Ward's and single linkage do without"
    )]
    NoRoom {
        /// Items.
        items: usize,
        /// What the distances take.
        bytes: u64,
        /// What they may take.
        memory: u64,
    },
    /// Centers to start from have another width.
    #[error("centers have {centers} numbers each, but embeddings {embeddings}")]
    Width {
        /// Numbers of a center.
        centers: usize,
        /// Numbers of an embedding.
        embeddings: usize,
    },
    /// Items and their clusters differ in count.
    #[error("{rows} embeddings but {clusters} assignments to clusters")]
    Assignments {
        /// Embeddings.
        rows: usize,
        /// Assignments.
        clusters: usize,
    },
}

fn check_some(embeddings: Mat) -> Result<(), ClusterError> {
    if embeddings.rows == 0 || embeddings.cols == 0 {
        return Err(ClusterError::Nothing);
    }
    Ok(())
}
