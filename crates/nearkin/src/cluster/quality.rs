//! How good clusters are: by themselves, and by classes that are known.

use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::seq::index;
use serde::Serialize;

use super::kmeans::unit_rows;
use super::{ClusterError, Distance};
use crate::evaluate::{
    BCubed, adjusted_mutual_information, adjusted_rand_index, b_cubed,
    normalized_mutual_information, pairwise_f1, silhouette,
};

/// Items that the silhouette is taken of at most: all their distances are made.
const SAMPLE: usize = 10_000;

/// What clusters say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Clusters that have items.
    pub clusters: usize,
    /// Items of no cluster.
    pub noise: usize,
    /// Items of the smallest cluster, 0 where there is none.
    pub smallest: usize,
    /// Of the median one, the smaller of two.
    pub median: usize,
    /// Of the largest one.
    pub largest: usize,
    /// The mean silhouette without noise, of 10,000 items drawn at random where there are more; absent with fewer than two
    /// clusters. By Euclidean distances; of rows of length one where the distance is the cosine's.
    pub silhouette: Option<f64>,
}

impl Quality {
    /// Of the cluster of each item, or none for noise.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// The counts differ or a number is not finite.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Distance, Quality}};
    /// let clusters = [Some(0), Some(0), None, Some(1), Some(1), Some(1)];
    /// let found = Quality::new(Mat::new(&[0.0, 0.0, 3.0, 5.0, 5.0, 5.0], 6, 1), &clusters, Distance::Euclidean)?;
    /// assert_eq!((found.clusters, found.noise, found.smallest, found.largest), (2, 1, 2, 3));
    /// assert_eq!(found.silhouette, Some(1.0));
    /// # Ok::<(), nearkin::cluster::ClusterError>(())
    /// ```
    pub fn new(
        embeddings: Mat,
        clusters: &[Option<u32>],
        distance: Distance,
    ) -> Result<Self, ClusterError> {
        if clusters.len() != embeddings.rows {
            let (rows, clusters) = (embeddings.rows, clusters.len());
            return Err(ClusterError::Assignments { rows, clusters });
        }
        let last = clusters.iter().flatten().max();
        let mut sizes = vec![0; last.map_or(0, |&last| last as usize + 1)];
        for cluster in clusters.iter().flatten() {
            sizes[*cluster as usize] += 1;
        }
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable();
        Ok(Self {
            clusters: sizes.len(),
            noise: clusters.iter().filter(|cluster| cluster.is_none()).count(),
            smallest: sizes.first().copied().unwrap_or(0),
            median: sizes
                .get(sizes.len().saturating_sub(1) / 2)
                .copied()
                .unwrap_or(0),
            largest: sizes.last().copied().unwrap_or(0),
            silhouette: sampled_silhouette(embeddings, clusters, distance)?,
        })
    }
}

fn sampled_silhouette(
    embeddings: Mat,
    clusters: &[Option<u32>],
    distance: Distance,
) -> Result<Option<f64>, ClusterError> {
    let members = clusters.iter().enumerate();
    let mut members: Vec<(usize, u32)> = members
        .filter_map(|(item, cluster)| Some((item, (*cluster)?)))
        .collect();
    if members.len() > SAMPLE {
        let mut rng = named_rng(0, "silhouette");
        let mut drawn = index::sample(&mut rng, members.len(), SAMPLE).into_vec();
        drawn.sort_unstable();
        members = drawn.into_iter().map(|at| members[at]).collect();
    }
    let (items, labels): (Vec<usize>, Vec<u32>) = members.into_iter().unzip();
    if labels.iter().all(|label| *label == labels[0]) {
        return Ok(None);
    }
    let dim = embeddings.cols;
    let rows = items
        .iter()
        .flat_map(|item| &embeddings.data[item * dim..][..dim]);
    let mut rows: Vec<f32> = rows.copied().collect();
    if distance == Distance::Cosine {
        rows = unit_rows(&rows, dim);
    }
    Ok(Some(silhouette(
        Mat::new(&rows, items.len(), dim),
        &labels,
    )?))
}

/// How well clusters agree with classes; each item of noise counts as a cluster of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Classes.
    pub classes: usize,
    /// Adjusted mutual information.
    pub ami: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Normalized mutual information.
    pub nmi: f64,
    /// Pairwise F1.
    pub f1: f64,
    /// B-cubed precision, recall and F1.
    pub b_cubed: BCubed,
}

impl Agreement {
    /// Of clusters and classes of the same items; what is longer than the other is cut.
    ///
    /// ```
    /// use nearkin::cluster::Agreement;
    /// let found = Agreement::new(&[Some(1), Some(1), None, Some(0), Some(0)], &[4, 4, 9, 7, 7]);
    /// assert_eq!((found.classes, found.ari, found.b_cubed.f1), (3, 1.0, 1.0));
    /// ```
    pub fn new(clusters: &[Option<u32>], classes: &[u32]) -> Self {
        let next = clusters.iter().flatten().max().map_or(0, |last| last + 1);
        let mut alone = next..;
        let clusters: Vec<u32> = clusters
            .iter()
            .filter_map(|cluster| cluster.or_else(|| alone.next()))
            .collect();
        let mut distinct = classes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        Self {
            classes: distinct.len(),
            ami: adjusted_mutual_information(&clusters, classes),
            ari: adjusted_rand_index(&clusters, classes),
            nmi: normalized_mutual_information(&clusters, classes),
            f1: pairwise_f1(&clusters, classes),
            b_cubed: b_cubed(&clusters, classes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_and_empty_clusters_do_not_count_as_clusters() {
        let data: Vec<f32> = (0..9).map(|i| i as f32).collect();
        let clusters = [0, 0, 0, 5, 5, 7, 7, 7, 7].map(Some);
        let quality = |clusters: &[Option<u32>]| {
            Quality::new(Mat::new(&data, 9, 1), clusters, Distance::Euclidean).unwrap()
        };
        let found = quality(&clusters);
        assert_eq!(
            (found.clusters, found.smallest, found.median, found.largest),
            (3, 2, 3, 4)
        );
        let expected = silhouette(Mat::new(&data, 9, 1), &[0, 0, 0, 5, 5, 7, 7, 7, 7]).unwrap();
        assert_eq!(found.silhouette, Some(expected));
        let mut some = clusters;
        some[8] = None;
        let expected = silhouette(Mat::new(&data[..8], 8, 1), &[0, 0, 0, 5, 5, 7, 7, 7]).unwrap();
        assert_eq!(
            (quality(&some).noise, quality(&some).silhouette),
            (1, Some(expected))
        );
        let none = quality(&[None; 9]);
        assert_eq!(
            (none.clusters, none.noise, none.largest, none.silhouette),
            (0, 9, 0, None)
        );
        assert_eq!(quality(&[Some(3); 9]).silhouette, None);
        let short = Quality::new(Mat::new(&data, 9, 1), &[None], Distance::Cosine);
        assert!(matches!(short, Err(ClusterError::Assignments { .. })));
    }

    #[test]
    fn the_silhouette_of_many_items_is_nearly_that_of_all() {
        let count = SAMPLE + 2_000;
        let data: Vec<f32> = (0..count)
            .flat_map(|i| [(i % 3) as f32 + 0.1, (i * i % 101) as f32 / 60.0])
            .collect();
        let clusters: Vec<Option<u32>> = (0..count).map(|i| Some((i % 3) as u32)).collect();
        let labels: Vec<u32> = clusters.iter().flatten().copied().collect();
        let rows = Mat::new(&data, count, 2);
        let found = Quality::new(rows, &clusters, Distance::Euclidean).unwrap();
        let all = silhouette(rows, &labels).unwrap();
        assert!(
            (found.silhouette.unwrap() - all).abs() < 0.01,
            "{found:?} {all}"
        );
    }
}
