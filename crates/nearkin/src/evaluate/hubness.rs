//! Whether few items are near to most others.

use super::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;
use serde::Serialize;

/// How often items are among the nearest of others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hubness {
    /// Neighbors of each item that are looked at.
    pub k: usize,
    /// Skewness of the numbers of occurrences; near 0 without hubs, and above 1.4 strong hubness by Schnitzer et al. 2012.
    pub skewness: f64,
    /// The most occurrences of one item.
    pub largest: usize,
    /// Share of the items that are no one's neighbor.
    pub orphans: f64,
}

/// Counts for each item how often it is among the `k` nearest others of an item, `N_k`.
///
/// ```text
/// skewness = E[ (N_k - k)³ ] / Var(N_k)^(3/2)        0 if all occur as often
/// ```
///
/// # Errors
/// A number is not finite, or there are not more than `k` items.
///
/// # Reference
/// M. Radovanović, A. Nanopoulos, M. Ivanović, Hubs in Space, JMLR 11, 2010, equation 1.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::hubness;
/// use nearkin::search::Similarity;
/// // The middle of a star is everyone's nearest; its own is one of the tips.
/// let star = [0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
/// let found = hubness(Mat::new(&star, 5, 2), 1, Similarity::Euclidean)?;
/// assert_eq!((found.largest, found.orphans), (4, 0.6));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn hubness(
    embeddings: Mat<'_>,
    k: usize,
    similarity: Similarity,
) -> Result<Hubness, EvaluateError> {
    if embeddings.rows <= k {
        return Err(EvaluateError::NothingRelevant {
            items: embeddings.rows,
        });
    }
    let search = Search::among(embeddings, similarity)?;
    let neighbors = search.map(k, |_, neighbors| {
        neighbors.iter().map(|n| n.index).collect::<Vec<_>>()
    });
    let mut occurrences = vec![0_usize; embeddings.rows];
    for index in neighbors.into_iter().flatten() {
        occurrences[index as usize] += 1;
    }
    let count = embeddings.rows as f64;
    // The mean is k: each item has so many neighbors.
    let moment = |power| {
        let terms = occurrences
            .iter()
            .map(|&n| (n as f64 - k as f64).powi(power));
        terms.sum::<f64>() / count
    };
    let variance = moment(2);
    Ok(Hubness {
        k,
        skewness: if variance > 0.0 {
            moment(3) / variance.powf(1.5)
        } else {
            0.0
        },
        largest: occurrences.iter().copied().max().unwrap_or(0),
        orphans: occurrences.iter().filter(|&&n| n == 0).count() as f64 / count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn occurrences_are_those_of_all_distances() {
        let (count, dim, k) = (90, 6, 5);
        let mut rng = named_rng(1, "hubness");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let mut occurrences = vec![0.0f64; count];
        for i in 0..count {
            let distance = |&j: &usize| -> f64 {
                (0..dim)
                    .map(|c| f64::from(data[i * dim + c] - data[j * dim + c]).powi(2))
                    .sum()
            };
            let mut others: Vec<usize> = (0..count).filter(|&j| j != i).collect();
            others.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            others[..k].iter().for_each(|&j| occurrences[j] += 1.0);
        }
        let mean = |of: &dyn Fn(f64) -> f64| {
            occurrences.iter().map(|&n| of(n)).sum::<f64>() / count as f64
        };
        let deviation = mean(&|n| (n - 5.0).powi(2)).sqrt();
        let expected = mean(&|n| ((n - 5.0) / deviation).powi(3));
        let found = hubness(Mat::new(&data, count, dim), k, Similarity::Euclidean).unwrap();
        assert!(
            (found.skewness - expected).abs() < 1e-9,
            "{found:?} {expected}"
        );
    }

    #[test]
    fn a_ring_has_no_hubs_and_too_few_items_are_refused() {
        let ring: Vec<f32> = (0..12)
            .flat_map(|i| {
                let angle = std::f32::consts::TAU * i as f32 / 12.0;
                [angle.cos(), angle.sin()]
            })
            .collect();
        let found = hubness(Mat::new(&ring, 12, 2), 2, Similarity::Cosine).unwrap();
        assert_eq!(
            (found.skewness, found.largest, found.orphans),
            (0.0, 2, 0.0)
        );
        let error = hubness(Mat::new(&ring, 12, 2), 12, Similarity::Cosine).unwrap_err();
        assert_eq!(error, EvaluateError::NothingRelevant { items: 12 });
    }
}
