//! How far apart items of the same and of different classes are.

use super::EvaluateError;
use super::silhouette::Classes;
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;
use serde::Serialize;

/// Distances of all pairs of items: of the same class, and of different ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassDistances {
    /// Pairs of the same class.
    pub intra: Spread,
    /// Pairs of different classes.
    pub inter: Spread,
}

/// Some distances in two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of the pairs as they are.
    pub std: f64,
    /// Pairs.
    pub pairs: u64,
}

/// Mean and deviation of the distances within and between classes, `‖u − v‖ / 2` of unit vectors, from 0 to 1.
///
/// All pairs count once, and are made a row at a time. A kind of which there is no pair is all zero.
///
/// # Errors
/// A number is not finite, counts differ, or there are fewer than two classes.
///
/// # Reference
/// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss, CVPR 2017, Figure 5, whose distances lie in [0, 1].
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::class_distances;
/// let points = [1.0, 0.0, 1.0, 0.0, -1.0, 0.0];
/// let found = class_distances(Mat::new(&points, 3, 2), &[0, 0, 1])?;
/// assert_eq!((found.intra.mean, found.inter.mean, found.inter.pairs), (0.0, 1.0, 2));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn class_distances(
    embeddings: Mat<'_>,
    labels: &[u32],
) -> Result<ClassDistances, EvaluateError> {
    let classes = Classes::new(embeddings, labels)?;
    let search = Search::among(embeddings, Similarity::Cosine)?;
    let sums = search.rows(|item, scores| {
        let mut sums = [(0.0, 0.0, 0u64); 2];
        for (other, &cosine) in scores.iter().enumerate().skip(item + 1) {
            let squared = f64::from((2.0 - 2.0 * cosine).max(0.0)) / 4.0;
            let kind = usize::from(classes.of[item] != classes.of[other]);
            let (sum, squares, pairs) = &mut sums[kind];
            (*sum, *squares, *pairs) = (*sum + squared.sqrt(), *squares + squared, *pairs + 1);
        }
        sums
    });
    let spread = |kind: usize| {
        let (sum, squares, pairs) = sums.iter().fold((0.0, 0.0, 0), |all, sums| {
            let (sum, squares, pairs) = sums[kind];
            (all.0 + sum, all.1 + squares, all.2 + pairs)
        });
        let count = pairs.max(1) as f64;
        let mean: f64 = sum / count;
        Spread {
            mean,
            std: (squares / count - mean * mean).max(0.0).sqrt(),
            pairs,
        }
    };
    Ok(ClassDistances {
        intra: spread(0),
        inter: spread(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn means_and_deviations_are_those_of_all_pairs() {
        let (count, dim) = (80, 6);
        let mut rng = named_rng(9, "class distances");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let labels: Vec<u32> = (0..count).map(|i| (i * i % 9) as u32).collect();
        let unit = |i: usize| {
            let row: Vec<f64> = data[i * dim..][..dim].iter().map(|&x| x.into()).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        let mut of = [Vec::new(), Vec::new()];
        for i in 0..count {
            for j in 0..i {
                let squares = unit(i)
                    .iter()
                    .zip(unit(j))
                    .map(|(x, y)| (x - y).powi(2))
                    .sum::<f64>();
                of[usize::from(labels[i] != labels[j])].push(squares.sqrt() / 2.0);
            }
        }
        let found = class_distances(Mat::new(&data, count, dim), &labels).unwrap();
        for (found, of) in [found.intra, found.inter].iter().zip(&of) {
            let mean = of.iter().sum::<f64>() / of.len() as f64;
            let variance = of.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / of.len() as f64;
            assert_eq!(found.pairs as usize, of.len());
            assert!((found.mean - mean).abs() < 1e-6 && (found.std - variance.sqrt()).abs() < 1e-6);
        }
    }
}
