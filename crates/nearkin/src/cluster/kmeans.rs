//! K-means: every item is in the cluster with the nearest center.

use std::iter::Peekable;
use std::num::NonZeroUsize;
use std::vec::IntoIter;

use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Beta, Mat, MatMut, gemm_sequential, normalize_rows};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::distance::Distance;
use super::{ClusterError, check_some, mini_batch};
use crate::evaluate::{centered, check_finite};

/// Rows of one block of distances.
const BLOCK: usize = 256;

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeans {
    /// Clusters, K; no more than there are items.
    pub clusters: NonZeroUsize,
    /// Euclidean, or the cosine's: then rows and centers have length one (spherical k-means, Dhillon and Modha 2001).
    pub distance: Distance,
    /// Starts, of which the one with the lowest inertia is kept.
    pub restarts: NonZeroUsize,
    /// Rounds of Lloyd's iteration at most, or batches.
    pub iterations: usize,
    /// Rows of a batch: centers move after each batch drawn at random (Sculley 2010), and once more after all rows at the end.
    pub batch: Option<NonZeroUsize>,
    /// Of the starts and the batches.
    pub seed: u64,
}

impl Default for KMeans {
    fn default() -> Self {
        Self {
            clusters: NonZeroUsize::MIN.saturating_add(7),
            distance: Distance::default(),
            restarts: NonZeroUsize::MIN.saturating_add(2),
            iterations: 300,
            batch: None,
            seed: 0,
        }
    }
}

/// Centers, and the nearest of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Centers {
    /// The cluster of each row.
    pub assigned: Vec<u32>,
    /// The centers, `[K, D]`.
    pub centers: Vec<f32>,
    /// Sum of squared distances to the centers, of rows of length one for the cosine.
    pub inertia: f64,
}

impl KMeans {
    /// Starts by k-means++, then Lloyd's iteration until no row changes its cluster, or mini-batches.
    ///
    /// ```text
    /// minimize Σ_i ‖x_i − c_{a(i)}‖²
    /// ```
    ///
    /// A cluster that loses all its rows takes the row farthest from its own center; with fewer distinct rows than clusters some
    /// stay empty.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// There is no item or a number is not finite.
    ///
    /// # Reference
    /// S. P. Lloyd, Least squares quantization in PCM, 1982; D. Arthur, S. Vassilvitskii, k-means++: The advantages of careful
    /// seeding, SODA 2007; D. Sculley, Web-scale k-means clustering, WWW 2010, algorithm 1; I. S. Dhillon, D. S. Modha, Concept
    /// decompositions for large sparse text data using clustering, 2001.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Distance, KMeans}};
    /// let points = [0.0, 1.0, 9.0, 10.0];
    /// let kmeans = KMeans { clusters: 2.try_into()?, distance: Distance::Euclidean, ..KMeans::default() };
    /// let found = kmeans.cluster(Mat::new(&points, 4, 1))?;
    /// assert!(found.assigned[0] == found.assigned[1] && found.assigned[0] != found.assigned[2]);
    /// assert_eq!(found.inertia, 4.0 * 0.5 * 0.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cluster(&self, embeddings: Mat) -> Result<Centers, ClusterError> {
        check_some(embeddings)?;
        check_finite(embeddings)?;
        let (rows, shift) = self.prepare(embeddings);
        let found = self.of_points(Mat::new(&rows, embeddings.rows, embeddings.cols));
        Ok(found.shifted(&shift))
    }

    /// Lloyd's iteration from given centers.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`, `centers`: `[K, D]`
    ///
    /// # Errors
    /// As [`Self::cluster`]; widths differ.
    pub fn cluster_from(&self, embeddings: Mat, centers: Mat) -> Result<Centers, ClusterError> {
        for rows in [embeddings, centers] {
            check_some(rows)?;
            check_finite(rows)?;
        }
        let dim = embeddings.cols;
        if centers.cols != dim {
            return Err(ClusterError::Width {
                centers: centers.cols,
                embeddings: dim,
            });
        }
        let (rows, shift) = self.prepare(embeddings);
        let start = match self.distance {
            Distance::Cosine => unit_rows(centers.data, dim),
            Distance::Euclidean => {
                let shift = shift.iter().cycle();
                centers.data.iter().zip(shift).map(|(c, s)| c - s).collect()
            }
        };
        let found = self.lloyd(Mat::new(&rows, embeddings.rows, dim), start);
        Ok(found.shifted(&shift))
    }

    /// Rows as they are compared, of length one for the cosine, else around their mean, where products lose the fewest digits; and
    /// what was taken from each.
    fn prepare(&self, embeddings: Mat) -> (Vec<f32>, Vec<f32>) {
        match self.distance {
            Distance::Cosine => {
                let unit = unit_rows(embeddings.data, embeddings.cols);
                (unit, vec![0.0; embeddings.cols])
            }
            Distance::Euclidean => {
                let centered = centered(embeddings);
                let pairs = embeddings.data.iter().zip(&centered);
                let shift = pairs.take(embeddings.cols).map(|(x, c)| x - c).collect();
                (centered, shift)
            }
        }
    }

    /// The best of all starts, for finite rows as they are, which have length one for the cosine.
    pub(crate) fn of_points(&self, points: Mat) -> Centers {
        let first = self.start(points, 0);
        let others = (1..self.restarts.get()).map(|number| self.start(points, number));
        others.fold(first, |best, next| {
            if next.inertia < best.inertia {
                next
            } else {
                best
            }
        })
    }

    fn start(&self, points: Mat, number: usize) -> Centers {
        let name = match number {
            0 => "kmeans".to_owned(),
            number => format!("kmeans/{number}"),
        };
        let mut rng = named_rng(self.seed, &name);
        let clusters = self.clusters.get().min(points.rows);
        let Some(batch) = self.batch else {
            return self.lloyd(points, plus_plus(points, clusters, &mut rng));
        };
        let count = 3 * batch.get().max(clusters);
        let drawn = mini_batch::sample(points, count, &mut rng);
        let centers = plus_plus(Mat::new(&drawn, count, points.cols), clusters, &mut rng);
        let batches = mini_batch::Batches {
            size: batch.get(),
            count: self.iterations,
        };
        let centers = batches.fit(points, centers, self.distance, &mut rng);
        // Centers still remember the rows of their first batches: a round over all rows lets them forget.
        let last = Self {
            iterations: self.iterations.min(1),
            ..*self
        };
        last.lloyd(points, centers)
    }

    fn lloyd(&self, points: Mat, mut centers: Vec<f32>) -> Centers {
        let clusters = centers.len() / points.cols;
        let mut best = assign(points, &centers);
        for _ in 0..self.iterations {
            centers = means(points, &best, clusters);
            if self.distance == Distance::Cosine {
                centers = unit_rows(&centers, points.cols);
            }
            let next = assign(points, &centers);
            let done = next.iter().map(|(c, _)| c).eq(best.iter().map(|(c, _)| c));
            best = next;
            if done {
                break;
            }
        }
        Centers::new(best, centers)
    }
}

impl Centers {
    fn new(nearest: Vec<(u32, f32)>, centers: Vec<f32>) -> Self {
        Self {
            inertia: nearest.iter().map(|(_, d)| f64::from(*d)).sum(),
            assigned: nearest.into_iter().map(|(c, _)| c).collect(),
            centers,
        }
    }

    fn shifted(mut self, shift: &[f32]) -> Self {
        let numbers = self.centers.iter_mut().zip(shift.iter().cycle());
        numbers.for_each(|(center, s)| *center += s);
        self
    }
}

/// Rows of length one; those of zeros stay so.
pub(super) fn unit_rows(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut unit = vec![0.0; rows.len()];
    normalize_rows(rows, dim, &mut unit, &mut vec![0.0; rows.len() / dim]);
    unit
}

pub(super) fn row(points: Mat<'_>, at: usize) -> &[f32] {
    &points.data[at * points.cols..(at + 1) * points.cols]
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Each further center is drawn with probability proportional to its squared distance from those before (Arthur and
/// Vassilvitskii 2007).
pub(super) fn plus_plus(points: Mat, clusters: usize, rng: &mut impl Rng) -> Vec<f32> {
    let mut centers = row(points, rng.random_range(0..points.rows)).to_vec();
    let mut nearest = vec![f32::INFINITY; points.rows];
    while centers.len() < clusters * points.cols {
        let last = &centers[centers.len() - points.cols..];
        nearest
            .par_iter_mut()
            .enumerate()
            .for_each(|(at, d)| *d = d.min(squared_distance(row(points, at), last)));
        let total: f64 = nearest.iter().map(|&d| f64::from(d)).sum();
        let mut left = rng.random_range(0.0..1.0) * total;
        let chosen = nearest.iter().position(|&d| {
            left -= f64::from(d);
            left < 0.0
        });
        // All points coincide with centers: any will do.
        centers.extend_from_slice(row(points, chosen.unwrap_or(points.rows - 1)));
    }
    centers
}

/// The nearest center of each row and its squared distance; ties to the smaller index.
pub(super) fn assign(points: Mat, centers: &[f32]) -> Vec<(u32, f32)> {
    let clusters = centers.len() / points.cols;
    let squares: Vec<f32> = centers
        .chunks_exact(points.cols)
        .map(|c| c.iter().map(|x| x * x).sum())
        .collect();
    let blocks = points.data.par_chunks(BLOCK * points.cols).map(|block| {
        let rows = block.len() / points.cols;
        let mut products = vec![0.0; rows * clusters];
        let (a, b) = (
            Mat::new(block, rows, points.cols),
            Mat::new(centers, clusters, points.cols),
        );
        gemm_sequential(
            MatMut::new(&mut products, rows, clusters),
            Beta::Overwrite,
            1.0,
            a,
            b.t(),
        );
        let nearest = products
            .chunks_exact(clusters)
            .zip(block.chunks_exact(points.cols))
            .map(|(products, x)| {
                let gaps = products
                    .iter()
                    .zip(&squares)
                    .map(|(p, c)| c - 2.0 * p)
                    .enumerate();
                let (best, gap) = gaps.fold((0, f32::INFINITY), |best, (c, gap)| {
                    if gap < best.1 { (c, gap) } else { best }
                });
                let own: f32 = x.iter().map(|v| v * v).sum();
                (best as u32, (own + gap).max(0.0))
            });
        nearest.collect::<Vec<_>>()
    });
    blocks.collect::<Vec<_>>().concat()
}

/// The mean of each cluster's rows; a cluster without any takes the row farthest from its own center.
fn means(points: Mat, assigned: &[(u32, f32)], clusters: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; clusters * points.cols];
    let mut counts = vec![0usize; clusters];
    for (at, (cluster, _)) in assigned.iter().enumerate() {
        let cluster = *cluster as usize;
        counts[cluster] += 1;
        let sum = &mut sums[cluster * points.cols..(cluster + 1) * points.cols];
        sum.iter_mut()
            .zip(row(points, at))
            .for_each(|(s, &x)| *s += f64::from(x));
    }
    let mut spare = farthest(assigned, counts.iter().filter(|count| **count == 0).count());
    let mut centers = Vec::with_capacity(sums.len());
    for (sum, &count) in sums.chunks_exact(points.cols).zip(&counts) {
        match spare.next_if(|_| count == 0) {
            Some(lonely) => centers.extend_from_slice(row(points, lonely)),
            None => centers.extend(sum.iter().map(|s| (s / count.max(1) as f64) as f32)),
        }
    }
    centers
}

/// So many rows, the farthest from their centers first.
fn farthest(assigned: &[(u32, f32)], count: usize) -> Peekable<IntoIter<usize>> {
    let mut rows: Vec<usize> = Vec::new();
    if count > 0 {
        rows.extend(0..assigned.len());
        rows.sort_by(|&a, &b| assigned[b].1.total_cmp(&assigned[a].1).then(a.cmp(&b)));
        rows.truncate(count);
    }
    rows.into_iter().peekable()
}

#[cfg(test)]
mod tests {
    use super::super::golden::{groups, letters};
    use super::*;

    /// Four tight groups at the corners of a square.
    fn corners() -> Vec<f32> {
        let at = |i: usize| {
            let (corner, jitter) = (i % 4, (i / 4) as f32 * 0.01);
            [
                10.0 * (corner % 2) as f32 + jitter,
                10.0 * (corner / 2) as f32 - jitter,
            ]
        };
        (0..40).flat_map(at).collect()
    }

    fn kmeans(clusters: usize, seed: u64) -> KMeans {
        KMeans {
            clusters: clusters.try_into().unwrap(),
            distance: Distance::Euclidean,
            seed,
            ..KMeans::default()
        }
    }

    fn scattered(count: usize, dim: usize) -> Vec<f32> {
        let mut rng = named_rng(11, "scattered");
        (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    }

    fn wide(data: &[f32], dim: usize, scale: impl Fn(Vec<f64>) -> Vec<f64>) -> Vec<Vec<f64>> {
        let rows = data.chunks(dim);
        let rows = rows.map(|row| row.iter().map(|&x| x.into()).collect());
        rows.map(scale).collect()
    }

    /// Lloyd's iteration, slow and plain, from given centers: the clusters and the inertia.
    fn reference(data: &[f32], dim: usize, start: &[f32], unit: bool) -> (Vec<u32>, f64) {
        let scale = |mut row: Vec<f64>| {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            for x in &mut row {
                *x /= if unit { norm } else { 1.0 };
            }
            row
        };
        let square = |a: &[f64], b: &[f64]| -> f64 {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| (a - b).powi(2)).sum()
        };
        let (rows, mut centers) = (wide(data, dim, scale), wide(start, dim, scale));
        loop {
            let nearest = |row: &Vec<f64>| {
                let squares = centers.iter().map(|center| square(row, center));
                let nearest = squares.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                nearest.unwrap()
            };
            let found: Vec<(usize, f64)> = rows.iter().map(nearest).collect();
            let mean = |cluster: usize| {
                let own = found.iter().zip(&rows).filter(|((c, _), _)| *c == cluster);
                let own: Vec<&Vec<f64>> = own.map(|(_, row)| row).collect();
                let sum = |d: usize| own.iter().map(|row| row[d]).sum::<f64>() / own.len() as f64;
                scale((0..dim).map(sum).collect())
            };
            let next: Vec<Vec<f64>> = (0..centers.len()).map(mean).collect();
            if next == centers {
                let clusters = found.iter().map(|(cluster, _)| *cluster as u32);
                return (clusters.collect(), found.iter().map(|(_, d)| d).sum());
            }
            centers = next;
        }
    }

    #[test]
    fn iterations_are_lloyds_from_the_same_centers() {
        let (count, dim) = (600, 5);
        let data = scattered(count, dim);
        let (rows, start) = (Mat::new(&data, count, dim), &data[..7 * dim]);
        for (distance, unit) in [(Distance::Euclidean, false), (Distance::Cosine, true)] {
            let settings = KMeans {
                distance,
                ..kmeans(7, 0)
            };
            let found = settings.cluster_from(rows, Mat::new(start, 7, dim));
            let found = found.unwrap();
            let (clusters, inertia) = reference(&data, dim, start, unit);
            assert_eq!(found.assigned, clusters, "{distance:?}");
            assert!((found.inertia - inertia).abs() < 1e-4 * inertia);
        }
        let narrow = kmeans(7, 0).cluster_from(rows, Mat::new(start, 5, 7));
        let (centers, embeddings) = (7, 5);
        assert_eq!(
            narrow,
            Err(ClusterError::Width {
                centers,
                embeddings
            })
        );
    }

    /// tests/golden/cluster.py, function `kmeans`.
    #[test]
    fn clusters_and_inertia_are_those_of_scikit_learn() {
        for shift in [0.0, 2000.0] {
            let data = groups(shift);
            let start = Mat::new(&data[..10], 5, 2);
            let found = kmeans(5, 0).cluster_from(Mat::new(&data, 60, 2), start);
            let found = found.unwrap();
            let error = (found.inertia - 58.529_225_388).abs();
            assert!(error < 1e-4 + 1e-6 * shift, "{shift}: {error}");
            assert_eq!(
                letters(found.assigned.into_iter().map(Some)),
                "abcabdabcaedaecabcaacabcaebaebaebaedaedaecaedaecabcaedabdaed"
            );
            // The centers are the means of their rows, where these are.
            let center = found.centers.iter().map(|&x| f64::from(x) - shift);
            assert!(
                center.clone().all(|x| (-3.0..7.0).contains(&x)),
                "{:?}",
                found.centers
            );
        }
    }

    #[test]
    fn separate_groups_become_clusters() {
        let points = corners();
        for batch in [None, NonZeroUsize::new(16)] {
            let settings = KMeans {
                batch,
                ..kmeans(4, 1)
            };
            let found = settings.cluster(Mat::new(&points, 40, 2)).unwrap();
            for i in 0..40 {
                assert_eq!(found.assigned[i], found.assigned[i % 4]);
            }
            // Each group: Σ (j − 4.5)² · 0.01² · 2 over j = 0..10 is 0.0165; batches come near the means.
            let error = (found.inertia - 4.0 * 0.0165).abs();
            assert!(error < if batch.is_none() { 1e-3 } else { 0.02 }, "{error}");
        }
    }

    #[test]
    fn the_best_of_several_starts_is_kept() {
        let data = scattered(400, 4);
        let inertia = |restarts: usize, seed| {
            let settings = KMeans {
                restarts: restarts.try_into().unwrap(),
                ..kmeans(12, seed)
            };
            settings.cluster(Mat::new(&data, 400, 4)).unwrap().inertia
        };
        let pairs: Vec<[f64; 2]> = (0..5)
            .map(|seed| [1, 8].map(|n| inertia(n, seed)))
            .collect();
        assert!(pairs.iter().all(|[one, many]| many <= one));
        assert!(pairs.iter().any(|[one, many]| many < one), "{pairs:?}");
    }

    #[test]
    fn assignment_is_to_the_nearest_center() {
        let points = corners();
        let matrix = Mat::new(&points, 40, 2);
        let centers = [1.0, 2.0, 9.0, 3.0, 4.0, 8.0];
        for (at, (cluster, distance)) in assign(matrix, &centers).into_iter().enumerate() {
            let distances = centers
                .chunks(2)
                .map(|c| squared_distance(row(matrix, at), c))
                .collect::<Vec<_>>();
            let nearest = distances.iter().copied().fold(f32::INFINITY, f32::min);
            assert!(
                (distance - nearest).abs() < 1e-3
                    && (distances[cluster as usize] - nearest).abs() < 1e-3
            );
        }
    }

    #[test]
    fn more_clusters_than_distinct_points_do_not_fail() {
        let found = |clusters, data: &[f32]| {
            let points = Mat::new(data, data.len(), 1);
            kmeans(clusters, 1).cluster(points).unwrap()
        };
        assert_eq!(found(3, &[1.0, 1.0, 1.0, 2.0]).inertia, 0.0);
        let more = found(9, &[1.0, 2.0]);
        assert_eq!((more.inertia, more.centers.len()), (0.0, 2));
        assert_eq!(found(1, &[5.0]).assigned, [0]);
        let settings = KMeans {
            distance: Distance::Cosine,
            ..kmeans(2, 0)
        };
        let zeros = settings.cluster(Mat::new(&[0.0, 0.0, 1.0, 2.0, 2.0, 4.0], 3, 2));
        let assigned = zeros.unwrap().assigned;
        assert_eq!(assigned[1], assigned[2]);
    }

    #[test]
    fn the_seed_decides() {
        let points = corners();
        let run = |seed| kmeans(5, seed).cluster(Mat::new(&points, 40, 2));
        assert_eq!(run(3), run(3));
    }

    #[test]
    fn what_is_not_finite_is_named_and_nothing_is_refused() {
        let data = [0.0, 1.0, f32::NAN, 3.0];
        let error = kmeans(2, 0).cluster(Mat::new(&data, 2, 2)).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("row 1") && error.contains("column 0"),
            "{error}"
        );
        for (rows, cols) in [(0, 2), (2, 0)] {
            let nothing = kmeans(2, 0).cluster(Mat::new(&[], rows, cols));
            assert_eq!(nothing, Err(ClusterError::Nothing));
        }
    }
}
