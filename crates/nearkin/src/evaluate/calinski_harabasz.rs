//! How far classes are apart beside how wide they are, in variances.

use super::EvaluateError;
use super::silhouette::Classes;
use nearkin_kernels::Mat;

/// The Calinski–Harabasz index of true classes, from 0, larger is better.
///
/// ```text
/// CH = ( Σ_c n_c ‖m_c - m‖² / (C - 1) ) / ( Σ_c Σ_{i∈c} ‖x_i - m_c‖² / (N - C) )
/// ```
///
/// `m` is the mean of all `N` items, `m_c` that of the `n_c` items of a class. Euclidean distances of vectors as they are; 1
/// where classes have no width, as in scikit-learn.
///
/// # Errors
/// A number is not finite, counts differ, there are fewer than two classes, or every item is a class of its own.
///
/// # Reference
/// T. Caliński, J. Harabasz, A dendrite method for cluster analysis, Communications in Statistics 3, 1974, equation 3.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::calinski_harabasz;
/// // Between: 4 (4.5)² = 81 over 1; within: 4 (0.5)² = 1 over 2.
/// let found = calinski_harabasz(Mat::new(&[0.0, 1.0, 9.0, 10.0], 4, 1), &[0, 0, 1, 1])?;
/// assert!((found - 162.0).abs() < 1e-9);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn calinski_harabasz(embeddings: Mat<'_>, labels: &[u32]) -> Result<f64, EvaluateError> {
    let classes = Classes::new(embeddings, labels)?;
    let (count, many) = (embeddings.rows, classes.sizes.len());
    if many == count {
        return Err(EvaluateError::Alone { items: count });
    }
    let dim = embeddings.cols;
    let means = classes.means(embeddings);
    let mut mean = vec![0.0; dim];
    for (of_class, &size) in means.chunks_exact(dim.max(1)).zip(&classes.sizes) {
        let share = size as f64 / count as f64;
        let each = mean.iter_mut().zip(of_class);
        each.for_each(|(m, c)| *m += share * c);
    }
    let [mut between, mut within] = [0.0; 2];
    for (of_class, &size) in means.chunks_exact(dim.max(1)).zip(&classes.sizes) {
        let squares = of_class.iter().zip(&mean).map(|(c, m)| (c - m).powi(2));
        between += size as f64 * squares.sum::<f64>();
    }
    for (row, &class) in embeddings.data.chunks_exact(dim.max(1)).zip(&classes.of) {
        let of_class = &means[class * dim..][..dim];
        let squares = row.iter().zip(of_class);
        within += squares
            .map(|(&x, c)| (f64::from(x) - c).powi(2))
            .sum::<f64>();
    }
    Ok(if within > 0.0 {
        between * (count - many) as f64 / (within * (many - 1) as f64)
    } else {
        1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // The points of silhouette.rs, with calinski_harabasz_score.
        let data: Vec<f32> = (0..60)
            .flat_map(|i| [(i * 37 % 50) as f32, (i * i % 23) as f32])
            .collect();
        let labels: Vec<u32> = (0..60).map(|i| i * i % 7).collect();
        let found = calinski_harabasz(Mat::new(&data, 60, 2), &labels).unwrap();
        assert!((found - 0.665_179_559_758_008_6).abs() < 1e-9, "{found}");
    }

    #[test]
    fn points_and_singletons_are_no_division_by_zero() {
        let found = calinski_harabasz(Mat::new(&[1.0, 1.0, 3.0, 3.0], 4, 1), &[0, 0, 1, 1]);
        assert_eq!(found, Ok(1.0));
        let error = calinski_harabasz(Mat::new(&[1.0, 2.0], 2, 1), &[0, 1]).unwrap_err();
        assert_eq!(error, EvaluateError::Alone { items: 2 });
    }
}
