//! K-means clustering.

use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Beta, Mat, MatMut, gemm_sequential};
use rand::RngExt;
use rayon::prelude::*;

/// Rounds after which Lloyd's iteration stops in any case.
const ROUNDS: usize = 50;
/// Rows of one block of distances.
const BLOCK: usize = 256;

/// A clustering.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The cluster of each row.
    pub assigned: Vec<u32>,
    /// Sum of squared distances to the centers.
    pub inertia: f64,
}

/// K-means: seeds by k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's iteration.
///
/// ```text
/// minimize Σ_i ‖x_i − c_{a(i)}‖²
/// ```
///
/// # Shapes
/// - `points`: `[N, D]`
///
/// A cluster that loses all its rows takes the row farthest from its own center.
pub fn kmeans(points: Mat, clusters: usize, seed: u64) -> Clusters {
    let clusters = clusters.clamp(1, points.rows.max(1));
    let mut centers = plus_plus(points, clusters, seed);
    let mut best = assign(points, &centers);
    for _ in 0..ROUNDS {
        centers = means(points, &best, clusters);
        let next = assign(points, &centers);
        let done = next.iter().map(|(c, _)| c).eq(best.iter().map(|(c, _)| c));
        best = next;
        if done {
            break;
        }
    }
    let inertia = best.iter().map(|(_, d)| f64::from(*d)).sum();
    Clusters {
        assigned: best.into_iter().map(|(c, _)| c).collect(),
        inertia,
    }
}

fn row(points: Mat<'_>, at: usize) -> &[f32] {
    &points.data[at * points.cols..(at + 1) * points.cols]
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Each further center is drawn with probability proportional to its squared distance from those before.
fn plus_plus(points: Mat, clusters: usize, seed: u64) -> Vec<f32> {
    let mut rng = named_rng(seed, "kmeans");
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
fn assign(points: Mat, centers: &[f32]) -> Vec<(u32, f32)> {
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

/// The mean of each cluster's rows.
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
    let mut farthest: Vec<usize> = (0..assigned.len()).collect();
    farthest.sort_by(|&a, &b| assigned[b].1.total_cmp(&assigned[a].1).then(a.cmp(&b)));
    let mut spare = farthest.into_iter();
    let mut centers = Vec::with_capacity(sums.len());
    for (sum, &count) in sums.chunks_exact(points.cols).zip(&counts) {
        match (count, spare.as_slice().first()) {
            (0, Some(&lonely)) => {
                spare.next();
                centers.extend_from_slice(row(points, lonely));
            }
            _ => centers.extend(sum.iter().map(|s| (s / count.max(1) as f64) as f32)),
        }
    }
    centers
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn separate_groups_become_clusters() {
        let points = corners();
        let found = kmeans(Mat::new(&points, 40, 2), 4, 1);
        for i in 0..40 {
            assert_eq!(found.assigned[i], found.assigned[i % 4]);
        }
        // Each group: Σ (j − 4.5)² · 0.01² · 2 over j = 0..10 is 0.0165.
        assert!(
            (found.inertia - 4.0 * 0.0165).abs() < 1e-3,
            "{}",
            found.inertia
        );
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
        let found = kmeans(Mat::new(&[1.0, 1.0, 1.0, 2.0], 4, 1), 3, 1);
        assert_eq!(found.inertia, 0.0);
        assert_eq!(kmeans(Mat::new(&[1.0, 2.0], 2, 1), 9, 1).inertia, 0.0);
    }

    #[test]
    fn the_seed_decides() {
        let points = corners();
        let run = |seed| kmeans(Mat::new(&points, 40, 2), 5, seed);
        assert_eq!(run(3), run(3));
    }
}
