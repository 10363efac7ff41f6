//! Whether kin are near, and all are spread over the sphere.

use super::EvaluateError;
use super::effective_rank::effective_rank;
use super::silhouette::Classes;
use crate::search::{Search, Similarity};
use nearkin_kernels::{Mat, normalize_rows};
use rayon::prelude::*;
use serde::Serialize;

/// Rows of a covariance that one task sums up.
const BAND: usize = 16;

/// How embeddings lie on the unit sphere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OnSphere {
    /// Mean square distance of two items of a class, from 0 to 4, smaller is better; absent where no class has two.
    pub alignment: Option<f64>,
    /// Logarithm of the mean Gaussian potential of two items, at most 0, smaller is better.
    pub uniformity: f64,
    /// Dimensions that carry variance, from 1 to `D`: the participation ratio of the covariance's eigenvalues.
    pub dimensions: f64,
    /// The effective rank, from 1 to `D`; absent beyond 2,048 dimensions.
    pub effective_rank: Option<f64>,
}

/// Alignment, uniformity, used dimensions and effective rank of embeddings, each divided by its norm.
///
/// ```text
/// alignment  = mean over pairs of one class of ‖u - v‖²
/// uniformity = log( mean over all pairs of exp(-2 ‖u - v‖²) )
/// dimensions = (tr Σ)² / tr Σ²        Σ: covariance of the unit vectors; 1 if they do not vary
/// effective rank = exp( - Σ_k p_k log p_k )        p_k: share of the root of an eigenvalue of Σ in the sum of the roots
/// ```
///
/// Pairs are made a row at a time.
///
/// # Errors
/// A number is not finite, counts differ, or there are fewer than two classes.
///
/// # Reference
/// T. Wang, P. Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere,
/// ICML 2020, §4.1, with α = 2 and t = 2; all pairs of a class stand for their positive pairs. O. Roy, M. Vetterli, The Effective
/// Rank, EUSIPCO 2007.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::on_sphere;
/// // Two classes opposite each other, each a point.
/// let found = on_sphere(Mat::new(&[1.0, 2.0, -3.0, -1.0], 4, 1), &[0, 0, 1, 1])?;
/// assert_eq!((found.alignment, found.dimensions), (Some(0.0), 1.0));
/// assert!((found.uniformity - ((2.0 + 4.0 * (-8.0_f64).exp()) / 6.0).ln()).abs() < 1e-6);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn on_sphere(embeddings: Mat<'_>, labels: &[u32]) -> Result<OnSphere, EvaluateError> {
    let classes = Classes::new(embeddings, labels)?;
    let (count, dim) = (embeddings.rows, embeddings.cols);
    let mut unit = vec![0.0; embeddings.data.len()];
    normalize_rows(embeddings.data, dim, &mut unit, &mut vec![0.0; count]);
    let unit = Mat::new(&unit, count, dim);
    let search = Search::among(unit, Similarity::Euclidean)?;
    let rows = search.rows(|item, scores| {
        let others = scores.iter().enumerate().filter(|(j, _)| *j != item);
        let [mut potential, mut kin] = [0.0; 2];
        for (other, &score) in others {
            let square = f64::from(-score);
            potential += (-2.0 * square).exp();
            if classes.of[other] == classes.of[item] {
                kin += square;
            }
        }
        [potential, kin]
    });
    let sum = |k: usize| rows.iter().map(|row| row[k]).sum::<f64>();
    let pairs = (count * (count - 1)) as f64;
    let of_kin: usize = classes.sizes.iter().map(|n| n * (n - 1)).sum();
    let mut covariance = covariance(unit);
    Ok(OnSphere {
        alignment: (of_kin > 0).then(|| sum(1) / of_kin as f64),
        uniformity: (sum(0) / pairs).ln(),
        dimensions: dimensions(&covariance, dim),
        effective_rank: effective_rank(&mut covariance, dim),
    })
}

/// The covariance of the rows, `[D, D]`, in `f64`: the small eigenvalues of a steep spectrum are below what sums in `f32` keep.
fn covariance(unit: Mat<'_>) -> Vec<f64> {
    let (count, dim) = (unit.rows, unit.cols);
    let mut mean = vec![0.0; dim];
    for row in unit.data.chunks_exact(dim.max(1)) {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / count as f64;
        }
    }
    let mut sums = vec![0.0; dim * dim];
    let bands = sums.par_chunks_mut(BAND * dim.max(1)).enumerate();
    bands.for_each(|(band, sums)| {
        let mut row = vec![0.0; dim];
        for numbers in unit.data.chunks_exact(dim) {
            for ((x, &number), mean) in row.iter_mut().zip(numbers).zip(&mean) {
                *x = f64::from(number) - mean;
            }
            for (sums, &x) in sums.chunks_exact_mut(dim).zip(&row[band * BAND..]) {
                for (sum, &y) in sums.iter_mut().zip(&row) {
                    *sum += x * y;
                }
            }
        }
        for sum in sums {
            *sum /= count as f64;
        }
    });
    sums
}

/// The participation ratio of the eigenvalues of a covariance, without the eigenvalues: `tr Σ²` is the sum of the squares of the
/// entries of `Σ`.
fn dimensions(covariance: &[f64], dim: usize) -> f64 {
    let trace: f64 = covariance.iter().step_by(dim + 1).sum();
    let squares: f64 = covariance.iter().map(|x| x * x).sum();
    // Rounding of f32 makes a little variance of none.
    if trace > 1e-12 {
        trace * trace / squares
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn values_are_those_of_all_pairs() {
        let (count, dim) = (70, 4);
        let mut rng = named_rng(2, "on sphere");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let labels: Vec<u32> = (0..count).map(|i| (i * i % 9) as u32).collect();
        let unit: Vec<Vec<f64>> = data
            .chunks(dim)
            .map(|row| {
                let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                row.iter().map(|&x| f64::from(x) / norm.sqrt()).collect()
            })
            .collect();
        let [mut potential, mut pairs, mut kin, mut of_kin] = [0.0; 4];
        for i in 0..count {
            for j in 0..i {
                let square: f64 = (0..dim).map(|c| (unit[i][c] - unit[j][c]).powi(2)).sum();
                potential += (-2.0 * square).exp();
                pairs += 1.0;
                if labels[i] == labels[j] {
                    kin += square;
                    of_kin += 1.0;
                }
            }
        }
        let found = on_sphere(Mat::new(&data, count, dim), &labels).unwrap();
        assert!((found.uniformity - f64::ln(potential / pairs)).abs() < 1e-5);
        assert!((found.alignment.unwrap() - kin / of_kin).abs() < 1e-5);
    }

    /* Equivalent python code, for σ_k ∝ 1 / k, k = 1 to 512:
    import numpy as np
    p = 1 / np.arange(1, 513); p /= p.sum()
    print(np.exp(-(p * np.log(p)).sum()))
    */
    #[test]
    fn a_steep_spectrum_keeps_its_small_singular_values() {
        let dim = 512;
        // Axes of lengths 1 / k, both ways: singular values of that, and no mean.
        let data: Vec<f32> = (0..2 * dim)
            .flat_map(|row| {
                let mut numbers = vec![0.0; dim];
                let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
                numbers[row / 2] = sign / (1 + row / 2) as f32;
                numbers
            })
            .collect();
        let mut covariance = covariance(Mat::new(&data, 2 * dim, dim));
        let found = effective_rank(&mut covariance, dim).unwrap();
        assert!((found - 117.231).abs() < 0.01, "{found}");
    }

    #[test]
    fn dimensions_are_those_that_vary() {
        // The corners of an octahedron of three of five dimensions, and of one.
        let corners = |used: usize| -> Vec<f32> {
            (0..2 * used)
                .flat_map(|i| {
                    let mut corner = [0.0; 5];
                    corner[i / 2] = if i % 2 == 0 { 1.0 } else { -1.0 };
                    corner
                })
                .collect()
        };
        for used in [1, 3] {
            let data = corners(used);
            let mut covariance = covariance(Mat::new(&data, 2 * used, 5));
            let found = dimensions(&covariance, 5);
            assert!((found - used as f64).abs() < 1e-9, "{found}");
            let rank = effective_rank(&mut covariance, 5).unwrap();
            assert!((rank - used as f64).abs() < 1e-6, "{rank}");
        }
        let still = covariance(Mat::new(&[0.6, 0.8, 0.6, 0.8], 2, 2));
        assert_eq!(dimensions(&still, 2), 1.0);
    }
}
