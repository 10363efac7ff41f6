//! How wide classes are beside the gaps between them.

use super::EvaluateError;
use super::silhouette::Classes;
use nearkin_kernels::Mat;
use rayon::prelude::*;

/// The Davies–Bouldin index of true classes, from 0, smaller is better.
///
/// ```text
/// DB = 1/C Σ_i max_{j ≠ i} (S_i + S_j) / M_ij      S_i: mean distance of class i to its centroid, M_ij: of the centroids
/// ```
///
/// Euclidean distances of vectors as they are. Coinciding centroids are no pair, and 0 where all of them coincide or where no
/// class has any width, as in scikit-learn.
///
/// # Errors
/// A number is not finite, counts differ, or there are fewer than two classes.
///
/// # Reference
/// D. L. Davies, D. W. Bouldin, A Cluster Separation Measure, 1979; with true classes as in A. Medela, A. Picon, Constellation
/// Loss, 2019, table 1.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::davies_bouldin;
/// // Both classes half a unit wide, nine apart.
/// let found = davies_bouldin(Mat::new(&[0.0, 1.0, 9.0, 10.0], 4, 1), &[0, 0, 1, 1])?;
/// assert!((found - 1.0 / 9.0).abs() < 1e-12);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn davies_bouldin(embeddings: Mat<'_>, labels: &[u32]) -> Result<f64, EvaluateError> {
    let classes = Classes::new(embeddings, labels)?;
    let dim = embeddings.cols;
    let centroids = classes.means(embeddings);
    let rows = || embeddings.data.chunks_exact(dim.max(1)).zip(&classes.of);
    let centroid = |class: usize| &centroids[class * dim..][..dim];
    let mut widths = vec![0.0; classes.sizes.len()];
    for (row, &class) in rows() {
        let squares = row
            .iter()
            .zip(centroid(class))
            .map(|(&x, c)| (f64::from(x) - c).powi(2));
        widths[class] += squares.sum::<f64>().sqrt() / classes.sizes[class] as f64;
    }
    let worst = |i: usize| {
        let others = (0..widths.len()).filter(|&j| j != i);
        let ratio = |j: usize| {
            let squares = centroid(i)
                .iter()
                .zip(centroid(j))
                .map(|(x, y)| (x - y).powi(2));
            let apart = squares.sum::<f64>().sqrt();
            if apart > 0.0 {
                (widths[i] + widths[j]) / apart
            } else {
                0.0
            }
        };
        others.map(ratio).fold(0.0, f64::max)
    };
    let worst: Vec<f64> = (0..widths.len()).into_par_iter().map(worst).collect();
    Ok(worst.iter().sum::<f64>() / worst.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // import numpy as np
        // from sklearn.metrics import davies_bouldin_score
        // X = np.array([[i * 37 % 50, i * i % 23] for i in range(60)], dtype=float)
        // for y in ([i * i % 7 for i in range(60)], [i // 6 for i in range(60)]): print(davies_bouldin_score(X, y))
        let data: Vec<f32> = (0..60)
            .flat_map(|i| [(i * 37 % 50) as f32, (i * i % 23) as f32])
            .collect();
        let index = |labels: Vec<u32>| davies_bouldin(Mat::new(&data, 60, 2), &labels).unwrap();
        let found = [
            index((0..60).map(|i| i * i % 7).collect()),
            index((0..60).map(|i| i / 6).collect()),
        ];
        for (found, expected) in found.iter().zip(GOLDEN) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    const GOLDEN: [f64; 2] = [10.018_374_300_777_335, 11.622_731_033_898_535];

    #[test]
    fn coinciding_centroids_are_no_pair() {
        // Centroids 1, 1 and 5; widths 1, 1 and 0.
        let found = davies_bouldin(Mat::new(&[0.0, 2.0, 0.0, 2.0, 5.0], 5, 1), &[0, 0, 1, 1, 2]);
        assert_eq!(found, Ok(0.25));
        assert_eq!(
            davies_bouldin(Mat::new(&[0.0, 2.0, 0.0, 2.0], 4, 1), &[0, 0, 1, 1]),
            Ok(0.0)
        );
        assert!(davies_bouldin(Mat::new(&[0.0, 2.0], 2, 1), &[0, 0]).is_err());
    }
}
