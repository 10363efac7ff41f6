//! Retrieval of items among themselves.

use super::bootstrap::{Estimate, estimates};
use super::{EvaluateError, Options, check_finite};
use crate::search::{Exclude, Search};
use nearkin_kernels::{Mat, Neighbor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How well items find others of their class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retrieval {
    /// Recall@K by K.
    pub recall: Vec<(usize, Estimate)>,
    /// R-precision.
    pub r_precision: Estimate,
    /// MAP@R.
    pub map_at_r: Estimate,
    /// Queries behind the means.
    pub queries: usize,
    /// Items whose class has no other: searched, but no queries.
    pub excluded: usize,
    /// The conventions, in words.
    pub convention: String,
}

/// What one query found.
struct Found {
    /// Rank of the first relevant item, from 1; 0 if none within the depth.
    first: usize,
    r_precision: f32,
    map_at_r: f32,
}

/// Every item searches all others; searched exactly and in blocks.
///
/// # Errors
/// A number is not finite, the counts differ, or no class has two items.
pub fn retrieval(
    embeddings: Mat,
    labels: &[u32],
    options: &Options,
) -> Result<Retrieval, EvaluateError> {
    if labels.len() != embeddings.rows {
        return Err(EvaluateError::Labels {
            rows: embeddings.rows,
            labels: labels.len(),
        });
    }
    check_finite(embeddings)?;
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    for &label in labels {
        *sizes.entry(label).or_default() += 1;
    }
    let relevant: Vec<usize> = labels.iter().map(|label| sizes[label] - 1).collect();
    let deepest = relevant.iter().copied().max().unwrap_or(0);
    if deepest == 0 {
        return Err(EvaluateError::NothingRelevant {
            items: labels.len(),
        });
    }
    let depth = deepest.max(options.ks.iter().copied().max().unwrap_or(0));
    let search = Search::new(embeddings, embeddings, options.similarity)?;
    let found = search.map(depth, Exclude::Itself, |query, neighbors| {
        (relevant[query] > 0).then(|| Found::new(neighbors, labels, labels[query], relevant[query]))
    });
    let found: Vec<Found> = found.into_iter().flatten().collect();
    let [r_precision, map_at_r] = {
        let rows: Vec<[f32; 2]> = found.iter().map(|f| [f.r_precision, f.map_at_r]).collect();
        estimates(&rows, options.resamples, options.seed)
    };
    let recall = options.ks.iter().map(|&k| {
        let rows: Vec<[f32; 1]> = found
            .iter()
            .map(|f| [f32::from(u8::from(f.first > 0 && f.first <= k))])
            .collect();
        let [estimate] = estimates(&rows, options.resamples, options.seed);
        (k, estimate)
    });
    Ok(Retrieval {
        recall: recall.collect(),
        r_precision,
        map_at_r,
        queries: found.len(),
        excluded: labels.len() - found.len(),
        convention: convention(options, found.len(), labels.len() - found.len()),
    })
}

fn convention(options: &Options, queries: usize, excluded: usize) -> String {
    let similarity = match options.similarity {
        crate::search::Similarity::Cosine => "cosine similarity",
        crate::search::Similarity::Dot => "dot product",
        crate::search::Similarity::Euclidean => "Euclidean distance",
    };
    format!(
        "{queries} queries, each among all other items by {similarity}, exact, ties to the smaller index; \
         {excluded} items alone in their class are no queries"
    )
}

impl Found {
    fn new(neighbors: &[Neighbor], labels: &[u32], label: u32, relevant: usize) -> Self {
        let (mut first, mut hits, mut precisions) = (0, 0, 0.0f64);
        for (at, neighbor) in neighbors.iter().enumerate() {
            if at >= relevant && first > 0 {
                break;
            }
            if labels[neighbor.index as usize] == label {
                first = if first == 0 { at + 1 } else { first };
                if at < relevant {
                    hits += 1;
                    precisions += f64::from(hits) / (at + 1) as f64;
                }
            }
        }
        let share = relevant as f64;
        Self {
            first,
            r_precision: (f64::from(hits) / share) as f32,
            map_at_r: (precisions / share) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Similarity;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn options() -> Options {
        Options {
            ks: vec![1, 2, 5, 10],
            similarity: Similarity::Euclidean,
            resamples: 0,
            ..Options::default()
        }
    }

    /// Slow and plain: a full sort for each query; R-precision, MAP@R and Recall@K by their definitions.
    fn reference(rows: &[Vec<f64>], labels: &[u32], ks: &[usize]) -> (f64, f64, Vec<f64>) {
        let (mut r_precision, mut map, mut recall, mut queries) =
            (0.0, 0.0, vec![0.0; ks.len()], 0.0);
        for q in 0..rows.len() {
            let mut others: Vec<usize> = (0..rows.len()).filter(|&j| j != q).collect();
            let d = |j: usize| {
                rows[q]
                    .iter()
                    .zip(&rows[j])
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
            };
            others.sort_by(|&a, &b| d(a).total_cmp(&d(b)).then(a.cmp(&b)));
            let rel = |i: usize| {
                if labels[others[i - 1]] == labels[q] {
                    1.0
                } else {
                    0.0
                }
            };
            let r = others.iter().filter(|&&j| labels[j] == labels[q]).count();
            if r == 0 {
                continue;
            }
            queries += 1.0;
            let p = |i: usize| (1..=i).map(rel).sum::<f64>() / i as f64;
            r_precision += p(r);
            map += (1..=r).map(|i| rel(i) * p(i)).sum::<f64>() / r as f64;
            for (sum, &k) in recall.iter_mut().zip(ks) {
                *sum += if (1..=k.min(others.len())).any(|i| rel(i) > 0.0) {
                    1.0
                } else {
                    0.0
                };
            }
        }
        (
            r_precision / queries,
            map / queries,
            recall.iter().map(|s| s / queries).collect(),
        )
    }

    /// Points on a small grid, so that many distances are equal and exact in f32.
    fn grid(count: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<u32>) {
        let mut rng = named_rng(seed, "grid");
        let points = (0..count)
            .map(|_| (0..2).map(|_| f64::from(rng.random_range(0..6))).collect())
            .collect();
        // Unequal classes, some of one item.
        let labels = (0..count).map(|i| {
            if i % 17 == 0 {
                100 + i as u32
            } else {
                (i * i % 7) as u32
            }
        });
        (points, labels.collect())
    }

    #[test]
    fn metrics_equal_a_full_sort_with_ties_and_unequal_classes() {
        for seed in 0..4 {
            let (points, labels) = grid(150, seed);
            let flat: Vec<f32> = points.iter().flatten().map(|&x| x as f32).collect();
            let result = retrieval(Mat::new(&flat, 150, 2), &labels, &options()).unwrap();
            let (r_precision, map, recall) = reference(&points, &labels, &options().ks);
            assert!((result.r_precision.value - r_precision).abs() < 1e-6);
            assert!((result.map_at_r.value - map).abs() < 1e-6);
            for ((k, estimate), expected) in result.recall.iter().zip(recall) {
                assert!((estimate.value - expected).abs() < 1e-6, "Recall@{k}");
            }
            assert_eq!(result.excluded, 9);
        }
    }

    #[test]
    fn the_reported_metrics_equal_a_full_sort_by_cosine_with_doubles_in_other_classes() {
        // Each vector three times, so that every query ties with its doubles and must not find itself.
        let (distinct, dim) = (60, 5);
        let mut rng = named_rng(5, "doubles");
        let base: Vec<f32> = (0..distinct * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let flat = [base.clone(), base.clone(), base].concat();
        let count = 3 * distinct;
        // Items 0, 25, 50, … are alone in their class.
        let label = |i: usize| {
            if i.is_multiple_of(25) {
                1000 + i
            } else {
                i * 7 % 13
            }
        };
        let labels: Vec<u32> = (0..count).map(|i| label(i) as u32).collect();
        let unit = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|&x| x.into()).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect()
        };
        let points: Vec<Vec<f64>> = flat.chunks(dim).map(unit).collect();
        let reported = Options::default();
        assert_eq!(reported.ks, [1, 2, 4, 8]);
        let result = retrieval(Mat::new(&flat, count, dim), &labels, &reported).unwrap();
        let (r_precision, map, recall) = reference(&points, &labels, &reported.ks);
        assert!((result.r_precision.value - r_precision).abs() < 1e-6);
        assert!((result.map_at_r.value - map).abs() < 1e-6);
        for ((k, estimate), expected) in result.recall.iter().zip(recall) {
            assert!((estimate.value - expected).abs() < 1e-6, "Recall@{k}");
        }
        assert_eq!((result.queries, result.excluded), (172, 8));
        assert!(
            result.convention.contains("172 queries")
                && result.convention.contains("8 items alone"),
            "{}",
            result.convention
        );
    }

    #[test]
    fn the_worked_example_holds() {
        // Relevance 1 0 1 1 0 with R = 3: R-precision 2/3, MAP@R (1 + 2/3) / 3.
        let points = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let labels = [0, 0, 1, 0, 0, 1];
        let neighbors: Vec<Neighbor> = (1..6)
            .map(|index| Neighbor {
                index,
                score: -points[index as usize],
            })
            .collect();
        let found = Found::new(&neighbors, &labels, 0, 3);
        assert_eq!(found.first, 1);
        assert!((found.r_precision - 2.0 / 3.0).abs() < 1e-7);
        assert!((found.map_at_r - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-7);
    }

    #[test]
    fn a_first_hit_behind_r_still_counts_for_recall() {
        let neighbors: Vec<Neighbor> = [1, 2, 3]
            .map(|index| Neighbor { index, score: 0.0 })
            .to_vec();
        let found = Found::new(&neighbors, &[7, 8, 9, 7], 7, 1);
        assert_eq!(
            (found.first, found.r_precision, found.map_at_r),
            (3, 0.0, 0.0)
        );
    }

    #[test]
    fn renamed_classes_change_nothing() {
        let (points, labels) = grid(80, 9);
        let flat: Vec<f32> = points.iter().flatten().map(|&x| x as f32).collect();
        let renamed: Vec<u32> = labels.iter().map(|l| 1_000_000 - l).collect();
        let value = |labels: &[u32]| {
            retrieval(Mat::new(&flat, 80, 2), labels, &options())
                .unwrap()
                .map_at_r
        };
        assert_eq!(value(&labels), value(&renamed));
    }
}
