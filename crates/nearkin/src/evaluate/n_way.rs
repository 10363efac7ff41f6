//! Is the positive nearer than each of some negatives?

use super::draws::OverDraws;
use super::{EvaluateError, check_finite};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Mat, normalize_rows};
use rand::RngExt;
use rand::seq::index::sample;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Verification among so many.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NWay {
    /// The share of queries that succeed, by the number of negatives.
    pub success: Vec<(usize, OverDraws)>,
    /// Queries of each draw.
    pub queries: usize,
    /// Items that are alone in their class: no queries, but negatives.
    pub excluded: usize,
}

/// VRF(neg = n): a query succeeds if a positive is nearer than n negatives of n other classes.
///
/// ```text
/// success(q) = 1  if  cos(q, p) > cos(q, n_i) for every i ≤ n,     y_p = y_q, p ≠ q;  y_{n_i} ≠ y_q, all different
/// ```
///
/// Every item with another of its class is a query in each draw; its positive, the classes and the items of the negatives are
/// drawn at random. A tie is a failure. The negatives of a smaller n are the first of a larger.
///
/// # Errors
/// A number is not finite, counts differ, no class has two items, or there are not enough classes.
///
/// # Reference
/// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, §4.1, with n of 1 and 71.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::n_way;
/// let points = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9];
/// let found = n_way(Mat::new(&points, 4, 2), &[0, 0, 1, 1], &[1], (5, 0))?;
/// assert_eq!((found.success[0].1.mean, found.queries), (1.0, 4));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn n_way(
    embeddings: Mat<'_>,
    labels: &[u32],
    negatives: &[usize],
    (draws, seed): (usize, u64),
) -> Result<NWay, EvaluateError> {
    if labels.len() != embeddings.rows {
        return Err(EvaluateError::Labels {
            rows: embeddings.rows,
            labels: labels.len(),
        });
    }
    check_finite(embeddings)?;
    let items = Items::new(embeddings, labels);
    let queries: Vec<usize> = (0..labels.len())
        .filter(|&item| items.of_class[items.class_of[item]].len() >= 2)
        .collect();
    if queries.is_empty() {
        return Err(EvaluateError::NothingRelevant {
            items: labels.len(),
        });
    }
    let most = negatives.iter().copied().max().unwrap_or(0);
    let others = items.of_class.len() - 1;
    if most > others {
        return Err(EvaluateError::TooFewClasses {
            needed: most + 1,
            found: others + 1,
        });
    }
    let held = |draw: usize| -> Vec<usize> {
        let nearer = queries
            .par_iter()
            .map(|&query| items.nearer(query, most, (seed, draw)));
        nearer.collect()
    };
    // For each draw and query the negatives that are farther than the positive, before the first that is not.
    let held: Vec<Vec<usize>> = (0..draws).map(held).collect();
    let success = negatives.iter().map(|&n| {
        let share = |held: &Vec<usize>| {
            held.iter().filter(|&&h| h >= n).count() as f64 / queries.len() as f64
        };
        (
            n,
            OverDraws::of(&held.iter().map(share).collect::<Vec<_>>()),
        )
    });
    Ok(NWay {
        success: success.collect(),
        queries: queries.len(),
        excluded: labels.len() - queries.len(),
    })
}

/// Unit vectors with their classes, numbered from 0.
struct Items {
    unit: Vec<f32>,
    dim: usize,
    class_of: Vec<usize>,
    of_class: Vec<Vec<usize>>,
}

impl Items {
    fn new(embeddings: Mat<'_>, labels: &[u32]) -> Self {
        let mut unit = embeddings.data.to_vec();
        normalize_rows(
            embeddings.data,
            embeddings.cols,
            &mut unit,
            &mut vec![0.0; embeddings.rows],
        );
        let mut items_of = BTreeMap::<u32, Vec<usize>>::new();
        for (item, &label) in labels.iter().enumerate() {
            items_of.entry(label).or_default().push(item);
        }
        let mut class_of = vec![0; labels.len()];
        for (class, items) in items_of.values().enumerate() {
            for &item in items {
                class_of[item] = class;
            }
        }
        Self {
            unit,
            dim: embeddings.cols,
            class_of,
            of_class: items_of.into_values().collect(),
        }
    }

    /// How many negatives are farther than the positive before the first that is not, up to `most`.
    fn nearer(&self, query: usize, most: usize, (seed, draw): (u64, usize)) -> usize {
        let mut rng = named_rng(seed, &format!("n-way/{draw}/{query}"));
        let own = self.class_of[query];
        let items = &self.of_class[own];
        let at = rng.random_range(0..items.len() - 1);
        // Any but the query, which stands at its own place among the items of its class.
        let place = items.partition_point(|&item| item < query);
        let positive = self.cosine(query, items[at + usize::from(at >= place)]);
        let classes = sample(&mut rng, self.of_class.len() - 1, most);
        for (n, class) in classes.iter().enumerate() {
            let items = &self.of_class[class + usize::from(class >= own)];
            let negative = items[rng.random_range(0..items.len())];
            if self.cosine(query, negative) >= positive {
                return n;
            }
        }
        most
    }

    fn cosine(&self, a: usize, b: usize) -> f64 {
        let row = |item: usize| &self.unit[item * self.dim..][..self.dim];
        row(a)
            .iter()
            .zip(row(b))
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance of success of each query over all positives and all choices of negatives, in f64: for one negative of each
    /// of n classes drawn from C, the mean over class subsets is the elementary symmetric polynomial of their chances.
    fn expected(rows: &[Vec<f64>], labels: &[u32], n: usize) -> f64 {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine = |a: usize, b: usize| {
            dot(&rows[a], &rows[b]) / (dot(&rows[a], &rows[a]) * dot(&rows[b], &rows[b])).sqrt()
        };
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let (mut sum, mut queries) = (0.0, 0.0);
        for q in 0..rows.len() {
            let positives: Vec<usize> = (0..rows.len())
                .filter(|&p| p != q && labels[p] == labels[q])
                .collect();
            if positives.is_empty() {
                continue;
            }
            queries += 1.0;
            for &p in &positives {
                let mut polynomial = vec![0.0; n + 1];
                polynomial[0] = 1.0;
                let mut subsets = polynomial.clone();
                for &class in classes.iter().filter(|&&class| class != labels[q]) {
                    let of: Vec<usize> = (0..rows.len()).filter(|&i| labels[i] == class).collect();
                    let farther = of.iter().filter(|&&i| cosine(q, i) < cosine(q, p)).count();
                    let chance = farther as f64 / of.len() as f64;
                    for k in (1..=n).rev() {
                        polynomial[k] += polynomial[k - 1] * chance;
                        subsets[k] += subsets[k - 1];
                    }
                }
                sum += polynomial[n] / subsets[n] / positives.len() as f64;
            }
        }
        sum / queries
    }

    #[test]
    fn the_mean_over_draws_is_the_expected_share() {
        let (count, dim) = (60, 3);
        let mut rng = named_rng(6, "n-way test");
        let labels: Vec<u32> = (0..count)
            .map(|i| if i == 7 { 500 } else { (i * i % 11) as u32 * 3 })
            .collect();
        let data: Vec<f32> = (0..count)
            .flat_map(|i| {
                let label = f64::from(labels[i]);
                [label.sin(), label.cos(), (2.0 * label).sin()]
                    .map(|x| x as f32 + rng.random_range(-0.8..0.8))
            })
            .collect();
        let rows: Vec<Vec<f64>> = data
            .chunks(dim)
            .map(|row| row.iter().map(|&x| x.into()).collect())
            .collect();
        let found = n_way(Mat::new(&data, count, dim), &labels, &[1, 3], (400, 1)).unwrap();
        assert_eq!((found.queries, found.excluded), (59, 1));
        for (n, success) in found.success {
            let expected = expected(&rows, &labels, n);
            // 400 draws: three standard errors.
            let error = 3.0 * success.std / 20.0;
            assert!(
                (success.mean - expected).abs() < error,
                "n = {n}: {} {expected}",
                success.mean
            );
            assert!(expected > 0.1 && expected < 0.95, "{expected}");
        }
    }

    #[test]
    fn ties_fail_and_more_negatives_than_classes_are_refused() {
        let same = [1.0; 8];
        let labels = [0, 0, 1, 1];
        let found = n_way(Mat::new(&same, 4, 2), &labels, &[1], (3, 0)).unwrap();
        assert_eq!(found.success[0].1.mean, 0.0);
        let error = n_way(Mat::new(&same, 4, 2), &labels, &[71], (3, 0)).unwrap_err();
        assert_eq!(
            error,
            EvaluateError::TooFewClasses {
                needed: 72,
                found: 2
            }
        );
        let alone = n_way(Mat::new(&same, 4, 2), &[0, 1, 2, 3], &[1], (3, 0)).unwrap_err();
        assert_eq!(alone, EvaluateError::NothingRelevant { items: 4 });
    }
}
