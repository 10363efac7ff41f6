//! Centers that move after each batch of rows drawn at random.

use nearkin_kernels::Mat;
use rand::{Rng, RngExt};

use super::distance::Distance;
use super::kmeans::{assign, row, unit_rows};

/// Batches of `size` rows each.
pub(super) struct Batches {
    pub size: usize,
    pub count: usize,
}

impl Batches {
    /// Moves each center towards the rows that are nearest to it (Sculley 2010, algorithm 1).
    ///
    /// ```text
    /// n_c ← n_c + 1,   c ← (1 − 1 / n_c) c + x / n_c        for each row x of a batch and its center c
    /// ```
    ///
    /// The nearest centers of a batch are found before any of them moves; a center is thus the mean of all rows it was given. For
    /// the cosine, centers then get length one.
    pub fn fit(
        &self,
        points: Mat,
        mut centers: Vec<f32>,
        distance: Distance,
        rng: &mut impl Rng,
    ) -> Vec<f32> {
        let dim = points.cols;
        let mut counts = vec![0.0f64; centers.len() / dim];
        for _ in 0..self.count {
            let batch = sample(points, self.size, rng);
            let nearest = assign(Mat::new(&batch, self.size, dim), &centers);
            for (x, (cluster, _)) in batch.chunks_exact(dim).zip(nearest) {
                let cluster = cluster as usize;
                counts[cluster] += 1.0;
                let rate = 1.0 / counts[cluster];
                for (c, &x) in centers[cluster * dim..][..dim].iter_mut().zip(x) {
                    *c += ((f64::from(x) - f64::from(*c)) * rate) as f32;
                }
            }
            if distance == Distance::Cosine {
                centers = unit_rows(&centers, dim);
            }
        }
        centers
    }
}

/// Rows drawn at random, with replacement.
pub(super) fn sample(points: Mat, count: usize, rng: &mut impl Rng) -> Vec<f32> {
    let rows = (0..count).map(|_| row(points, rng.random_range(0..points.rows)));
    rows.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::KMeans;
    use super::*;
    use nearkin_encoder::parameters::named_rng;

    #[test]
    fn a_center_is_the_mean_of_the_rows_it_was_given() {
        let data = [0.0, 1.0, 2.0, 10.0, 11.0];
        let points = Mat::new(&data, 5, 1);
        let (size, count) = (7, 3);
        let batches = Batches { size, count };
        let mut rng = named_rng(4, "mini batch");
        let found = batches.fit(points, vec![1.0, 10.0], Distance::Euclidean, &mut rng);
        let mut rng = named_rng(4, "mini batch");
        let drawn = sample(points, size * count, &mut rng);
        let mean = |rows: Vec<f32>| rows.iter().sum::<f32>() / rows.len() as f32;
        let (low, high) = drawn.into_iter().partition(|x| *x < 5.0);
        for (found, expected) in found.into_iter().zip([mean(low), mean(high)]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn passes_over_all_rows_have_little_to_add() {
        let (count, dim) = (3000, 8);
        let mut rng = named_rng(1, "mini batch");
        let data: Vec<f32> = (0..count * dim)
            .map(|at| ((at / dim * 7 + at % dim * 3) % 10) as f32 + rng.random_range(-1.0..1.0))
            .collect();
        let rows = Mat::new(&data, count, dim);
        for distance in [Distance::Euclidean, Distance::Cosine] {
            let settings = KMeans {
                clusters: 10.try_into().unwrap(),
                distance,
                batch: 256.try_into().ok(),
                ..KMeans::default()
            };
            let found = settings.cluster(rows).unwrap();
            let centers = Mat::new(&found.centers, 10, dim);
            let passed = settings.cluster_from(rows, centers).unwrap();
            let share = found.inertia / passed.inertia;
            assert!((1.0 - 1e-5..1.05).contains(&share), "{distance:?}: {share}");
            // One cluster alone says how much there was to find.
            let one = KMeans {
                clusters: 1.try_into().unwrap(),
                ..settings
            };
            let whole = one.cluster(rows).unwrap().inertia;
            assert!(
                found.inertia < 0.25 * whole,
                "{distance:?}: {whole} {found:?}"
            );
        }
    }
}
