//! Queries together with what they find first.

use super::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_kernels::{Mat, normalize_rows};
use nearkin_losses::range::{Count, NonNegative};
use serde::{Deserialize, Serialize};

/// Average query expansion: a query gives way to its mean with the gallery items nearest to it.
///
/// ```text
/// q′ = q + Σ_{i ≤ k} [cos(q, g_i)]₊^α g_i        of unit vectors
/// ```
///
/// With `alpha = 0` this is the plain mean. An item is not among its own neighbors.
///
/// # Reference
/// O. Chum et al., Total Recall, ICCV 2007; weights: F. Radenović, G. Tolias, O. Chum, Fine-tuning CNN Image Retrieval with No
/// Human Annotation, 2018, with the k and α of fast-reid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryExpansion {
    /// Neighbors in the mean.
    pub k: Count,
    /// The power of the similarity that a neighbor counts by.
    pub alpha: NonNegative,
}

impl Default for QueryExpansion {
    fn default() -> Self {
        Self {
            k: Count::literal(5),
            alpha: NonNegative::literal(3.0),
        }
    }
}

/// The vectors of the queries after expansion, `[Q, D]`; queries and gallery are rows of `vectors`.
pub(super) fn expanded(
    vectors: Mat<'_>,
    (queries, gallery): (&[usize], &[usize]),
    settings: QueryExpansion,
) -> Result<Vec<f32>, EvaluateError> {
    let dim = vectors.cols;
    let mut unit = vectors.data.to_vec();
    normalize_rows(vectors.data, dim, &mut unit, &mut vec![0.0; vectors.rows]);
    let row = |item: usize| &unit[item * dim..][..dim];
    let rows = |items: &[usize]| {
        items
            .iter()
            .flat_map(|&item| row(item))
            .copied()
            .collect::<Vec<_>>()
    };
    let (of_queries, of_gallery) = (rows(queries), rows(gallery));
    let search = Search::new(
        Mat::new(&of_queries, queries.len(), dim),
        Mat::new(&of_gallery, gallery.len(), dim),
        Similarity::Cosine,
    )?;
    let k = settings.k.get();
    let found = search.map(k + 1, |query, neighbors| {
        let mut sum: Vec<f64> = row(queries[query]).iter().map(|&x| x.into()).collect();
        let others = neighbors
            .iter()
            .map(|n| (gallery[n.index as usize], n.score));
        for (item, score) in others.filter(|(item, _)| *item != queries[query]).take(k) {
            let weight = f64::from(score.max(0.0)).powf(settings.alpha.exact());
            for (sum, &x) in sum.iter_mut().zip(row(item)) {
                *sum += weight * f64::from(x);
            }
        }
        sum.into_iter().map(|x| x as f32).collect::<Vec<_>>()
    });
    Ok(found.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// By the definition, in f64, over all gallery items sorted.
    fn reference(
        rows: &[Vec<f64>],
        (query, gallery): (usize, &[usize]),
        settings: QueryExpansion,
    ) -> Vec<f64> {
        let unit = |row: &[f64]| {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        let q = unit(&rows[query]);
        let cosine = |item: usize| {
            q.iter()
                .zip(unit(&rows[item]))
                .map(|(x, y)| x * y)
                .sum::<f64>()
        };
        let mut others: Vec<usize> = gallery
            .iter()
            .copied()
            .filter(|&item| item != query)
            .collect();
        others.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
        let mut sum = q.clone();
        for &item in others.iter().take(settings.k.get()) {
            let weight = cosine(item).max(0.0).powf(settings.alpha.exact());
            sum.iter_mut()
                .zip(unit(&rows[item]))
                .for_each(|(s, x)| *s += weight * x);
        }
        sum
    }

    #[test]
    fn queries_are_the_means_of_the_definition_and_never_their_own_neighbors() {
        let (count, dim) = (60, 6);
        let mut rng = named_rng(2, "expansion");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let rows: Vec<Vec<f64>> = data
            .chunks(dim)
            .map(|row| row.iter().map(|&x| x.into()).collect())
            .collect();
        let (queries, gallery): (Vec<usize>, Vec<usize>) = ((0..20).collect(), (10..60).collect());
        for (k, alpha) in [(5, 3.0), (1, 0.0), (200, 1.0)] {
            let settings = QueryExpansion {
                k: Count::literal(k),
                alpha: NonNegative::literal(alpha),
            };
            let found =
                expanded(Mat::new(&data, count, dim), (&queries, &gallery), settings).unwrap();
            for (query, found) in found.chunks(dim).enumerate() {
                let expected = reference(&rows, (query, &gallery), settings);
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-5,
                        "query {query}, k {k}"
                    );
                }
            }
        }
    }
}
