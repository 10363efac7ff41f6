//! How good embeddings are: retrieval and clustering on labeled items, with uncertainty.
//!
//! For a query q: R is the number of relevant items (q itself excluded, by index), rel(i) is 1 if
//! the i-th nearest is relevant, P(i) is the share of relevant ones among the first i. Queries with
//! R = 0 are excluded from every mean and counted. Ties go to the smaller index.

mod ami;
mod ari;
mod at_k;
mod bcubed;
mod bootstrap;
mod calinski_harabasz;
mod class_distances;
mod compressions;
mod contingency;
mod davies_bouldin;
mod draws;
mod effective_rank;
mod eigenvalues;
mod enrollment;
mod few_shot;
mod gallery;
mod grouping;
mod hubness;
mod identification;
mod k_nn;
mod label_noise;
mod lfw;
mod metric;
mod n_way;
mod nmi;
mod paired;
mod pairwise_f1;
mod query_expansion;
mod ranks;
mod reid;
mod relevance;
mod rerank;
mod retrieval;
mod roc;
mod sign_flips;
mod silhouette;
mod uniformity;
mod v_measure;
mod verification;
mod videos;

pub use ami::adjusted_mutual_information;
pub use ari::adjusted_rand_index;
pub use at_k::AtK;
pub(crate) use at_k::{Hits, SCORES};
pub use bcubed::{BCubed, b_cubed};
pub use bootstrap::{Estimate, Unit};
pub(crate) use bootstrap::{Groups, estimates};
pub use calinski_harabasz::calinski_harabasz;
pub use class_distances::{ClassDistances, Spread, class_distances};
pub use compressions::{
    ByLabels, CompressedAt, Compression, CompressionOptions, Compressions, compressions,
};
pub use davies_bouldin::davies_bouldin;
pub use draws::OverDraws;
pub use enrollment::{
    Enrolled, IdentificationDraws, IdentificationOptions, enroll, identification_draws,
};
pub use few_shot::{FewShot, Labeled, References, few_shot};
pub use gallery::GalleryRetrieval;
pub use grouping::{Grouping, grouping};
pub use hubness::{Hubness, hubness};
pub use identification::{Detected, Identification, identification};
pub use k_nn::{KNearest, k_nearest};
pub use label_noise::{LabelNoise, Planted, Recovered, Suspect, label_noise};
pub use lfw::{FARTHEST, FoldScores, OverFolds, over_folds};
pub use metric::{Metric, metrics};
pub use n_way::{NWay, n_way};
pub use nmi::normalized_mutual_information;
pub use paired::{Paired, paired};
pub use pairwise_f1::pairwise_f1;
pub use query_expansion::QueryExpansion;
pub use reid::{Ranking, Reid, ReidOptions, ReidRows, Scene, Seen, reid};
pub use relevance::Relevance;
pub use rerank::KReciprocal;
pub use retrieval::{ClassScores, MacroAverage, QueryScores, Retrieval, Role, Searched, retrieval};
pub use roc::{At, Point, Rates, Roc};
pub use sign_flips::sign_flips;
pub(crate) use silhouette::centered;
pub use silhouette::silhouette;
pub use uniformity::{OnSphere, on_sphere};
pub use v_measure::homogeneity_completeness;
pub use verification::{
    Accepted, Calibration, Verification, VerificationOptions, calibrate, squared_distances,
    verification,
};
pub use videos::video_distances;

use crate::search::Similarity;
use nearkin_kernels::{Mat, normalize_rows};
use serde::{Deserialize, Serialize};

/// Why embeddings cannot be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// A number is NaN or infinite.
    #[error("the embeddings are not finite: row {row}, column {column} is {value}")]
    NotFinite {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The number.
        value: f32,
    },
    /// A score of a pair of items is NaN or infinite.
    #[error("the scores are not finite: that of query {query} and item {item} is {value}")]
    Score {
        /// The query.
        query: usize,
        /// The item.
        item: usize,
        /// The number.
        value: f32,
    },
    /// Rows and labels differ in count.
    #[error("{rows} embeddings but {labels} labels")]
    Labels {
        /// Rows.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// Nothing can be retrieved.
    #[error("{items} items, none with another of its class: nothing can be retrieved")]
    NothingRelevant {
        /// Items.
        items: usize,
    },
    /// Nobody can be found again by another camera.
    #[error(
        "{queries} queries, none with an item of its class by another camera in the gallery; cameras in all: {cameras}"
    )]
    NoOtherCamera {
        /// Queries.
        queries: usize,
        /// Cameras of queries and gallery.
        cameras: usize,
    },
    /// Every item is alone in its class.
    #[error("{items} items, each the only one of its class: a class of two or more is needed")]
    Alone {
        /// Items.
        items: usize,
    },
    /// No probe is of an identity of the gallery.
    #[error(
        "{probes} probes, none of the {identities} identities of the gallery: nobody can be identified"
    )]
    NoGenuine {
        /// Probes.
        probes: usize,
        /// Identities of the gallery.
        identities: usize,
    },
    /// Nothing searches, or nothing is searched.
    #[error("{queries} queries and {gallery} items to search: at least one of each is needed")]
    Sides {
        /// Items that search.
        queries: usize,
        /// Items that are searched.
        gallery: usize,
    },
    /// Pairs of both kinds are needed.
    #[error("{pairs} pairs, {same} of them of the same class: pairs of both kinds are needed")]
    OneKind {
        /// Pairs.
        pairs: usize,
        /// Those of the same class.
        same: usize,
    },
    /// A fold cannot be tested, or there is none to choose a threshold on.
    #[error(
        "{folds} folds: at least two folds are needed, each with pairs of the same and of different classes; fold {fold} has not"
    )]
    Folds {
        /// Folds.
        folds: usize,
        /// The first that is not so.
        fold: usize,
    },
    /// More classes are needed.
    #[error("{needed} classes are needed, but there are {found}")]
    TooFewClasses {
        /// Classes needed.
        needed: usize,
        /// Classes there are.
        found: usize,
    },
    /// A class has too few items to take some of them for references.
    #[error("{shots} items of each class are references, but no class has more")]
    TooFewShots {
        /// References of each class.
        shots: usize,
    },
    /// A number that stands for no item.
    #[error("number {item} is asked for, but there are {items}")]
    NoSuchItem {
        /// The number.
        item: usize,
        /// How many there are.
        items: usize,
    },
    /// Two sides that are to be compared were not measured alike.
    #[error(
        "the two sides have different {what}: they can be compared query by query on the same data alone"
    )]
    Unpaired {
        /// What differs.
        what: &'static str,
    },
    /// More rows than there are numbers for.
    #[error("at most {} rows can be searched, found {found}", u32::MAX)]
    TooMany {
        /// Rows.
        found: usize,
    },
    /// The lists of what is found have no room.
    #[error(
        "{queries} queries with the {depth} nearest of each take {} MiB, {} are allowed: measure fewer queries at a time, or classes of fewer items",
        needed >> 20,
        allowed >> 20
    )]
    Lists {
        /// Queries.
        queries: usize,
        /// Neighbors of each, as many as the largest class has items in the gallery.
        depth: usize,
        /// Bytes that they need.
        needed: usize,
        /// Bytes that they may take.
        allowed: usize,
    },
    /// Too few vectors to search one among others.
    #[error("{queries} queries among {items} vectors: a query and another vector are needed")]
    TooFewVectors {
        /// Vectors.
        items: usize,
        /// Those that search.
        queries: usize,
    },
    /// A cut-off that no list of neighbors has.
    #[error("K = {k}: from 1 to {others} neighbors can be looked for, as many as are searched")]
    CutOff {
        /// The cut-off; 0 also where none is given.
        k: usize,
        /// Items that are searched.
        others: usize,
    },
    /// The vectors cannot be indexed.
    #[error(transparent)]
    Index(nearkin_index::IndexError),
    /// Queries and gallery have different widths.
    #[error("queries have {query} numbers, the gallery {gallery}")]
    Width {
        /// Width of a query.
        query: usize,
        /// Width of a gallery row.
        gallery: usize,
    },
}

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// The K of Recall@K.
    pub ks: Vec<usize>,
    /// How alike two embeddings are.
    pub similarity: Similarity,
    /// Bootstrap resamples behind an interval; 0 for none.
    pub resamples: usize,
    /// What resamples draw.
    pub unit: Unit,
    /// Seeds of k-means behind NMI; 0 leaves clustering out.
    pub cluster_seeds: u64,
    /// Decides resamples and k-means.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ks: vec![1, 2, 4, 8],
            similarity: Similarity::Cosine,
            resamples: 1000,
            unit: Unit::Query,
            cluster_seeds: 3,
            seed: 0,
        }
    }
}

impl Options {
    /// Retrieval alone, without intervals: for evaluations during training.
    pub fn quick() -> Self {
        Self {
            resamples: 0,
            cluster_seeds: 0,
            ..Self::default()
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Items.
    pub items: usize,
    /// Classes among them.
    pub classes: usize,
    /// Numbers an embedding.
    pub dim: usize,
    /// How far the embeddings are from one point, see [`spread`].
    pub spread: f32,
    /// Nearest neighbors.
    pub retrieval: Retrieval,
    /// Agreement of clusters with classes; absent if not asked for.
    pub clustering: Option<Clustering>,
}

/// Agreement of clusters with classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clustering {
    /// NMI, mean over the seeds.
    pub nmi: f64,
    /// Standard deviation over the seeds.
    pub nmi_std: f64,
    /// Pairwise F1, mean over the seeds.
    pub f1: f64,
    /// Standard deviation over the seeds.
    pub f1_std: f64,
    /// Clusters, as many as classes.
    pub clusters: usize,
    /// Seeds.
    pub seeds: u64,
}

/// Measures labeled embeddings.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `labels`: `N`
///
/// # Errors
/// A number is not finite, the counts differ, or no class has two items.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{Options, evaluate};
/// let points = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9];
/// let result = evaluate(Mat::new(&points, 4, 2), &[0, 0, 1, 1], &Options::default())?;
/// assert_eq!(result.retrieval.map_at_r.value, 1.0);
/// assert_eq!(result.clustering.map(|c| c.nmi), Some(1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn evaluate(
    embeddings: Mat,
    labels: &[u32],
    options: &Options,
) -> Result<Evaluation, EvaluateError> {
    let retrieval = retrieval(embeddings, labels, options)?;
    let mut distinct = labels.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let clustering = (options.cluster_seeds > 0)
        .then(|| clustering(embeddings, labels, distinct.len(), options));
    Ok(Evaluation {
        items: embeddings.rows,
        classes: distinct.len(),
        dim: embeddings.cols,
        spread: spread(embeddings),
        retrieval,
        clustering,
    })
}

/// K-means with as many clusters as classes, on unit vectors where similarity is the cosine.
fn clustering(embeddings: Mat, labels: &[u32], clusters: usize, options: &Options) -> Clustering {
    let mut unit = embeddings.data.to_vec();
    if options.similarity == Similarity::Cosine {
        normalize_rows(
            embeddings.data,
            embeddings.cols,
            &mut unit,
            &mut vec![0.0; embeddings.rows],
        );
    }
    let matrix = Mat::new(&unit, embeddings.rows, embeddings.cols);
    let score = |seed: u64| {
        let assigned = grouping::k_means(matrix, clusters, options.seed + seed);
        let nmi = normalized_mutual_information(&assigned, labels);
        (nmi, pairwise_f1(&assigned, labels))
    };
    let (nmi, f1): (Vec<f64>, Vec<f64>) = (0..options.cluster_seeds).map(score).unzip();
    let [nmi, f1] = [nmi, f1].map(|scores| OverDraws::of(&scores));
    Clustering {
        nmi: nmi.mean,
        nmi_std: nmi.std,
        f1: f1.mean,
        f1_std: f1.std,
        clusters,
        seeds: options.cluster_seeds,
    }
}

/// How far a set of embeddings is from one point: 0 when all are equal, near 1 when their mean is 0.
///
/// ```text
/// spread = 1 − ‖mean e‖² / mean ‖e‖²
/// ```
pub fn spread(embeddings: Mat) -> f32 {
    let (rows, cols) = (embeddings.rows, embeddings.cols);
    let mut mean = vec![0.0f64; cols];
    let mut squares = 0.0f64;
    for row in embeddings.data.chunks_exact(cols.max(1)) {
        for (m, &x) in mean.iter_mut().zip(row) {
            *m += f64::from(x) / rows as f64;
            squares += f64::from(x).powi(2) / rows as f64;
        }
    }
    let center: f64 = mean.iter().map(|m| m * m).sum();
    if squares > 0.0 {
        (1.0 - center / squares) as f32
    } else {
        0.0
    }
}

/// Names the first number that is not finite.
pub(crate) fn check_finite(matrix: Mat) -> Result<(), EvaluateError> {
    match nearkin_kernels::first_non_finite(matrix.data) {
        None => Ok(()),
        Some(at) => {
            let (row, column) = (at / matrix.cols, at % matrix.cols);
            Err(EvaluateError::NotFinite {
                row,
                column,
                value: matrix.data[at],
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_zero_at_a_point_and_one_around_the_origin() {
        assert!(spread(Mat::new(&[1.0, 2.0, 1.0, 2.0], 2, 2)).abs() < 1e-7);
        assert!((spread(Mat::new(&[1.0, 2.0, -1.0, -2.0], 2, 2)) - 1.0).abs() < 1e-7);
    }

    #[test]
    fn a_number_that_is_not_finite_is_placed() {
        let error = evaluate(
            Mat::new(&[1.0, 2.0, 3.0, f32::INFINITY], 2, 2),
            &[0, 0],
            &Options::default(),
        );
        assert_eq!(
            error.unwrap_err(),
            EvaluateError::NotFinite {
                row: 1,
                column: 1,
                value: f32::INFINITY
            }
        );
    }

    #[test]
    fn wrong_counts_and_classes_of_one_are_errors() {
        let matrix = Mat::new(&[1.0, 2.0], 2, 1);
        let error = |labels: &[u32]| evaluate(matrix, labels, &Options::default()).unwrap_err();
        assert_eq!(error(&[0]), EvaluateError::Labels { rows: 2, labels: 1 });
        assert_eq!(error(&[0, 1]), EvaluateError::NothingRelevant { items: 2 });
    }
}
