//! How far items are from their own class, beside the nearest other.

use super::{EvaluateError, check_finite};
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;

/// The mean silhouette of items in their true classes, from −1 to 1, larger is better.
///
/// ```text
/// s(i) = (b − a) / max(a, b)      a: mean distance to the others of its class, b: the smallest mean distance to another class
/// ```
///
/// Euclidean distances of vectors as they are; 0 for an item alone in its class, and where `a` and `b` are 0. Distances are
/// made a row at a time.
///
/// # Errors
/// A number is not finite, counts differ, or there are fewer than two classes.
///
/// # Reference
/// P. J. Rousseeuw, Silhouettes: A graphical aid, 1987, as in scikit-learn; with true classes as in A. Medela, A. Picon,
/// Constellation Loss, 2019, table 1.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::silhouette;
/// // a = 1 and b = 9.5, 8.5 and again.
/// let found = silhouette(Mat::new(&[0.0, 1.0, 9.0, 10.0], 4, 1), &[0, 0, 1, 1])?;
/// assert!((found - ((1.0 - 1.0 / 9.5) + (1.0 - 1.0 / 8.5)) / 2.0).abs() < 1e-6);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn silhouette(embeddings: Mat<'_>, labels: &[u32]) -> Result<f64, EvaluateError> {
    let classes = Classes::new(embeddings, labels)?;
    // Around their mean, distances lose the fewest digits.
    let centered = centered(embeddings);
    let matrix = Mat::new(&centered, embeddings.rows, embeddings.cols);
    let search = Search::among(matrix, Similarity::Euclidean)?;
    let values = search.rows(|item, scores| {
        let mut sums = vec![0.0; classes.sizes.len()];
        for (other, &score) in scores
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != item)
        {
            sums[classes.of[other]] += f64::from(-score).sqrt();
        }
        let own = classes.of[item];
        if classes.sizes[own] < 2 {
            return 0.0;
        }
        let a = sums[own] / (classes.sizes[own] - 1) as f64;
        let others = (0..sums.len()).filter(|&class| class != own);
        let b = others.map(|class| sums[class] / classes.sizes[class] as f64);
        let b = b.fold(f64::INFINITY, f64::min);
        let larger = a.max(b);
        if larger > 0.0 { (b - a) / larger } else { 0.0 }
    });
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// Rows less their mean.
pub(crate) fn centered(matrix: Mat<'_>) -> Vec<f32> {
    let mut mean = vec![0.0f64; matrix.cols];
    for row in matrix.data.chunks_exact(matrix.cols.max(1)) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, &x)| *m += f64::from(x) / matrix.rows as f64);
    }
    let rows = matrix.data.chunks_exact(matrix.cols.max(1));
    rows.flat_map(|row| {
        row.iter()
            .zip(&mean)
            .map(|(&x, m)| (f64::from(x) - m) as f32)
    })
    .collect()
}

/// The class of each item, numbered from 0, and how many each has.
pub(super) struct Classes {
    pub of: Vec<usize>,
    pub sizes: Vec<usize>,
}

impl Classes {
    /// The classes of finite embeddings, two or more.
    pub fn new(embeddings: Mat<'_>, labels: &[u32]) -> Result<Self, EvaluateError> {
        if labels.len() != embeddings.rows {
            return Err(EvaluateError::Labels {
                rows: embeddings.rows,
                labels: labels.len(),
            });
        }
        check_finite(embeddings)?;
        let mut distinct = labels.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < 2 {
            return Err(EvaluateError::TooFewClasses {
                needed: 2,
                found: distinct.len(),
            });
        }
        let of: Vec<usize> = labels
            .iter()
            .map(|label| distinct.partition_point(|d| d < label))
            .collect();
        let mut sizes = vec![0; distinct.len()];
        for &class in &of {
            sizes[class] += 1;
        }
        Ok(Self { of, sizes })
    }

    /// The mean of the items of each class, `[C, D]`.
    pub fn means(&self, embeddings: Mat<'_>) -> Vec<f64> {
        let dim = embeddings.cols;
        let mut means = vec![0.0; self.sizes.len() * dim];
        for (row, &class) in embeddings.data.chunks_exact(dim.max(1)).zip(&self.of) {
            let mean = &mut means[class * dim..][..dim];
            for (m, &x) in mean.iter_mut().zip(row) {
                *m += f64::from(x) / self.sizes[class] as f64;
            }
        }
        means
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// By the definition, in f64, over all pairs.
    fn reference(rows: &[Vec<f64>], labels: &[u32]) -> f64 {
        let d = |i: usize, j: usize| {
            rows[i]
                .iter()
                .zip(&rows[j])
                .map(|(x, y)| (x - y).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let mean = |i: usize, class: u32| {
            let of: Vec<usize> = (0..rows.len())
                .filter(|&j| j != i && labels[j] == class)
                .collect();
            of.iter().map(|&j| d(i, j)).sum::<f64>() / of.len() as f64
        };
        let s = |i: usize| {
            let a = mean(i, labels[i]);
            let others = labels.iter().filter(|&&class| class != labels[i]);
            let b = others
                .map(|&class| mean(i, class))
                .fold(f64::INFINITY, f64::min);
            // Alone in its class: no mean.
            if a.is_nan() { 0.0 } else { (b - a) / a.max(b) }
        };
        (0..rows.len()).map(s).sum::<f64>() / rows.len() as f64
    }

    #[test]
    fn blocks_give_the_mean_of_the_definition() {
        let (count, dim) = (120, 5);
        let mut rng = named_rng(3, "silhouette");
        let labels: Vec<u32> = (0..count)
            .map(|i| if i == 50 { 99 } else { (i * i % 7) as u32 })
            .collect();
        // Far from the origin, where squared norms would drown the distances.
        let data: Vec<f32> = (0..count * dim)
            .map(|at| 40.0 + labels[at / dim] as f32 * 0.3 + rng.random_range(-1.0..1.0))
            .collect();
        let rows: Vec<Vec<f64>> = data
            .chunks(dim)
            .map(|row| row.iter().map(|&x| x.into()).collect())
            .collect();
        let found = silhouette(Mat::new(&data, count, dim), &labels).unwrap();
        assert!((found - reference(&rows, &labels)).abs() < 1e-5, "{found}");
    }

    #[test]
    fn values_are_those_of_scikit_learn() {
        // import numpy as np
        // from sklearn.metrics import silhouette_score
        // X = np.array([[i * 37 % 50, i * i % 23] for i in range(60)], dtype=float); y = [i * i % 7 for i in range(60)]
        // print(silhouette_score(X, y))
        let data: Vec<f32> = (0..60)
            .flat_map(|i| [(i * 37 % 50) as f32, (i * i % 23) as f32])
            .collect();
        let labels: Vec<u32> = (0..60).map(|i| i * i % 7).collect();
        let found = silhouette(Mat::new(&data, 60, 2), &labels).unwrap();
        assert!((found - GOLDEN).abs() < 1e-6, "{found}");
    }

    const GOLDEN: f64 = -0.118_667_299_769_200_6;

    #[test]
    fn coinciding_items_are_zero_and_one_class_is_refused() {
        let same = [1.0; 4];
        assert_eq!(silhouette(Mat::new(&same, 4, 1), &[0, 0, 1, 1]), Ok(0.0));
        let error = silhouette(Mat::new(&same, 4, 1), &[3; 4]).unwrap_err();
        assert_eq!(
            error,
            EvaluateError::TooFewClasses {
                needed: 2,
                found: 1
            }
        );
    }
}
