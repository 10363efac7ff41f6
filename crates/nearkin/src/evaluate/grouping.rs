//! Whether clusters find the classes again, and how classes and items lie.

use super::{
    EvaluateError, Hubness, OnSphere, OverDraws, adjusted_mutual_information, adjusted_rand_index,
    b_cubed, calinski_harabasz, davies_bouldin, homogeneity_completeness, hubness,
    normalized_mutual_information, on_sphere, pairwise_f1, silhouette,
};
use crate::cluster::{Distance, KMeans};
use crate::search::Similarity;
use nearkin_kernels::{Mat, normalize_rows};
use serde::Serialize;
use std::num::NonZeroUsize;

/// Neighbors whose occurrences are counted.
const NEIGHBORS: usize = 10;

/// Agreement of clusters with classes, mean and deviation over the seeds of k-means, and what the vectors themselves say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grouping {
    /// Clusters, as many as classes.
    pub clusters: usize,
    /// Normalized mutual information, also the V-measure.
    pub nmi: OverDraws,
    /// Adjusted mutual information.
    pub ami: OverDraws,
    /// Adjusted Rand index.
    pub ari: OverDraws,
    /// Homogeneity.
    pub homogeneity: OverDraws,
    /// Completeness.
    pub completeness: OverDraws,
    /// Pairwise F1.
    pub f1: OverDraws,
    /// B-cubed F1.
    pub b_cubed: OverDraws,
    /// Mean silhouette of the true classes.
    pub silhouette: f64,
    /// Davies–Bouldin index of the true classes.
    pub davies_bouldin: f64,
    /// Calinski–Harabasz index of the true classes.
    pub calinski_harabasz: f64,
    /// Whether few items are near to most; absent with ten items or fewer.
    pub hubness: Option<Hubness>,
    /// Alignment, uniformity and used dimensions.
    pub sphere: OnSphere,
}

/// Clusters the unit vectors of labeled embeddings by k-means, with as many clusters as classes, for `seeds` seeds from `seed`
/// on, and measures how they lie.
///
/// # Errors
/// A number is not finite, counts differ, there are fewer than two classes, or every item is a class of its own.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::grouping;
/// let points = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9];
/// let found = grouping(Mat::new(&points, 4, 2), &[0, 0, 1, 1], (10, 0))?;
/// assert_eq!((found.ami.mean, found.ari.mean, found.b_cubed.mean), (1.0, 1.0, 1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn grouping(
    embeddings: Mat<'_>,
    labels: &[u32],
    (seeds, seed): (u64, u64),
) -> Result<Grouping, EvaluateError> {
    // Checked by the first measure, before k-means.
    let sphere = on_sphere(embeddings, labels)?;
    let (rows, cols) = (embeddings.rows, embeddings.cols);
    let mut unit = vec![0.0; embeddings.data.len()];
    normalize_rows(embeddings.data, cols, &mut unit, &mut vec![0.0; rows]);
    let unit = Mat::new(&unit, rows, cols);
    let mut distinct = labels.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let clusters = distinct.len();
    let agreement = |seed| {
        let found = k_means(unit, clusters, seed);
        let [homogeneity, completeness] = homogeneity_completeness(&found, labels);
        [
            normalized_mutual_information(&found, labels),
            adjusted_mutual_information(&found, labels),
            adjusted_rand_index(&found, labels),
            homogeneity,
            completeness,
            pairwise_f1(&found, labels),
            b_cubed(&found, labels).f1,
        ]
    };
    let agreements: Vec<[f64; 7]> = (seed..seed + seeds).map(agreement).collect();
    let over = |k: usize| OverDraws::of(&agreements.iter().map(|a| a[k]).collect::<Vec<_>>());
    Ok(Grouping {
        clusters,
        nmi: over(0),
        ami: over(1),
        ari: over(2),
        homogeneity: over(3),
        completeness: over(4),
        f1: over(5),
        b_cubed: over(6),
        silhouette: silhouette(unit, labels)?,
        davies_bouldin: davies_bouldin(unit, labels)?,
        calinski_harabasz: calinski_harabasz(unit, labels)?,
        hubness: (rows > NEIGHBORS)
            .then(|| hubness(unit, NEIGHBORS, Similarity::Cosine))
            .transpose()?,
        sphere,
    })
}

/// One start of k-means and at most 50 rounds: a score is of clusters that are found, not of the best of many.
pub(super) fn k_means(points: Mat<'_>, clusters: usize, seed: u64) -> Vec<u32> {
    let kmeans = KMeans {
        clusters: NonZeroUsize::new(clusters).unwrap_or(NonZeroUsize::MIN),
        distance: Distance::Euclidean,
        restarts: NonZeroUsize::MIN,
        iterations: 50,
        batch: None,
        seed,
    };
    kmeans.of_points(points).assigned
}
