//! k-reciprocal re-ranking.

use super::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_kernels::{Mat, TopK, normalize_rows};
use nearkin_losses::range::{Count, Fraction};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Ranks by what two items' neighbors have in common: two that are near have neighbors that list both.
///
/// ```text
/// d(i, j)  = ‖u_i − u_j‖² / max_k ‖u_i − u_k‖²              of unit vectors, over queries and gallery together
/// N(i, k)  = i and its k nearest                            R(i, k) = { j ∈ N(i, k) : i ∈ N(j, k) }
/// R*(i)    = R(i, k1), and R(j, k1/2) of each j ∈ R(i, k1) that shares more than 2/3 of it with R(i, k1)
/// V_ij     ∝ exp(−d(i, j)) on R*(i), adding up to 1;        then V_i ← mean of V over N(i, k2 − 1)
/// distance = (1 − λ) (1 − s / (2 − s)) + λ d(i, j),         s = Σ_k min(V_ik, V_jk)
/// ```
///
/// Only the entries of `V` that are not zero are kept, some `k1 · k2` an item, and distances are made a query at a time: no
/// matrix of all pairs. Half of an odd `k1` is rounded to the even number. Neighbors of equal distance go to the smaller index.
///
/// # Reference
/// Z. Zhong, L. Zheng, D. Cao, S. Li, Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017, §3, with the
/// settings and the normalization of the authors' code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KReciprocal {
    /// Neighbors that may be reciprocal.
    pub k1: Count,
    /// Items that a row of `V` is averaged over, itself among them.
    pub k2: Count,
    /// Weight of the distance itself.
    pub lambda: Fraction,
}

impl Default for KReciprocal {
    fn default() -> Self {
        Self {
            k1: Count::literal(20),
            k2: Count::literal(6),
            lambda: Fraction::literal(0.3),
        }
    }
}

/// A row of `V`: items by number with their weights.
type Row = Vec<(u32, f32)>;

/// Items ready to be re-ranked.
pub(super) struct Reranked {
    lambda: f64,
    weights: Vec<Row>,
    /// For each item the items that have a weight on it.
    inverted: Vec<Row>,
    farthest: Vec<f32>,
}

impl Reranked {
    /// Prepares all items, queries and gallery together.
    pub fn new(vectors: Mat<'_>, settings: KReciprocal) -> Result<Self, EvaluateError> {
        let (k1, k2) = (settings.k1.get(), settings.k2.get());
        let search = Search::new(vectors, vectors, Similarity::Cosine)?;
        let depth = (k1 + 1).max(k2);
        let near = search.rows(|_, scores| {
            let mut best = TopK::new(1, depth, scores.len());
            best.offer_rows(scores, 0);
            let near: Vec<u32> = best.finish().iter().flatten().map(|n| n.index).collect();
            let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
            (near, squared(least))
        });
        let (near, farthest): (Vec<Vec<u32>>, Vec<f32>) = near.into_iter().unzip();
        let mut unit = vectors.data.to_vec();
        normalize_rows(
            vectors.data,
            vectors.cols,
            &mut unit,
            &mut vec![0.0; vectors.rows],
        );
        let row = |item: usize| &unit[item * vectors.cols..][..vectors.cols];
        let encode = |i: usize| {
            let d = |j: u32| {
                let product: f32 = row(i).iter().zip(row(j as usize)).map(|(x, y)| x * y).sum();
                normalized(squared(product), farthest[i])
            };
            encoded(&near, i, k1)
                .into_iter()
                .map(|j| (j, (-d(j)).exp()))
                .collect::<Vec<_>>()
        };
        let encoded: Vec<Row> = (0..near.len())
            .into_par_iter()
            .map(encode)
            .map(to_one)
            .collect();
        let average = |i: usize| mean(near[i].iter().take(k2).map(|&j| &encoded[j as usize]));
        let weights: Vec<Row> = (0..near.len()).into_par_iter().map(average).collect();
        let mut inverted = vec![Vec::new(); near.len()];
        for (i, row) in weights.iter().enumerate() {
            for &(j, weight) in row {
                inverted[j as usize].push((i as u32, weight));
            }
        }
        Ok(Self {
            lambda: settings.lambda.exact(),
            weights,
            inverted,
            farthest,
        })
    }

    /// The similarities of an item to all, the negative of the distance above, from their cosines.
    pub fn scores(&self, item: usize, cosines: &[f32]) -> Vec<f32> {
        let mut shared = vec![0.0f32; cosines.len()];
        for &(k, own) in &self.weights[item] {
            for &(j, other) in &self.inverted[k as usize] {
                shared[j as usize] += own.min(other);
            }
        }
        let distance = |(&shared, &cosine): (&f32, &f32)| {
            let shared = f64::from(shared);
            let jaccard = 1.0 - shared / (2.0 - shared);
            let own = f64::from(normalized(squared(cosine), self.farthest[item]));
            -((1.0 - self.lambda) * jaccard + self.lambda * own) as f32
        };
        shared.iter().zip(cosines).map(distance).collect()
    }
}

/// `‖u − v‖²` of unit vectors from their product.
fn squared(product: f32) -> f32 {
    (2.0 - 2.0 * product).max(0.0)
}

/// A distance as a share of the farthest; zero where all items are one.
fn normalized(distance: f32, farthest: f32) -> f32 {
    if farthest > 0.0 {
        distance / farthest
    } else {
        0.0
    }
}

/// `R*(i)`, rising.
fn encoded(near: &[Vec<u32>], i: usize, k1: usize) -> Vec<u32> {
    let reciprocal = |i: u32, k: usize| {
        let is_mutual = |j: &&u32| near[**j as usize].iter().take(k + 1).any(|&back| back == i);
        let near = near[i as usize].iter().take(k + 1);
        near.filter(is_mutual).copied().collect::<Vec<u32>>()
    };
    let own = reciprocal(i as u32, k1);
    let half = (k1 as f64 / 2.0).round_ties_even() as usize;
    let mut all = own.clone();
    for &candidate in &own {
        let theirs = reciprocal(candidate, half);
        let shared = theirs.iter().filter(|item| own.contains(item)).count();
        if 3 * shared > 2 * theirs.len() {
            all.extend(theirs);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The row with weights that add up to 1.
fn to_one(mut row: Row) -> Row {
    let sum: f32 = row.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut row {
        *weight /= sum;
    }
    row
}

/// The mean of some rows.
fn mean<'a>(rows: impl ExactSizeIterator<Item = &'a Row>) -> Row {
    let count = rows.len().max(1) as f32;
    let mut entries: Row = rows.flatten().copied().collect();
    // Stable: weights of one item are added in the order of the rows.
    entries.sort_by_key(|(item, _)| *item);
    let mut mean = Row::new();
    for (item, weight) in entries {
        match mean.last_mut().filter(|last| last.0 == item) {
            Some(last) => last.1 += weight / count,
            None => mean.push((item, weight / count)),
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// The authors' program, dense and in f64, over the squared distances of all items.
    fn reference(squares: &[Vec<f64>], settings: KReciprocal) -> Vec<Vec<f64>> {
        let all = squares.len();
        let (k1, k2, lambda) = (
            settings.k1.get(),
            settings.k2.get(),
            settings.lambda.exact(),
        );
        let d: Vec<Vec<f64>> = squares
            .iter()
            .map(|row| {
                row.iter()
                    .map(|x| x / row.iter().copied().fold(0.0, f64::max))
                    .collect()
            })
            .collect();
        let rank: Vec<Vec<usize>> = d
            .iter()
            .map(|row| {
                let mut order: Vec<usize> = (0..all).collect();
                order.sort_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
                order
            })
            .collect();
        let reciprocal = |i: usize, k: usize| -> Vec<usize> {
            let forward = &rank[i][..=k];
            forward
                .iter()
                .copied()
                .filter(|&j| rank[j][..=k].contains(&i))
                .collect()
        };
        let mut v = vec![vec![0.0; all]; all];
        for i in 0..all {
            let own = reciprocal(i, k1);
            let mut expanded = own.clone();
            for &candidate in &own {
                let theirs = reciprocal(candidate, (k1 as f64 / 2.0).round_ties_even() as usize);
                let shared = theirs.iter().filter(|j| own.contains(j)).count() as f64;
                if shared > 2.0 / 3.0 * theirs.len() as f64 {
                    expanded.extend(theirs);
                }
            }
            expanded.sort_unstable();
            expanded.dedup();
            let sum: f64 = expanded.iter().map(|&j| (-d[i][j]).exp()).sum();
            for j in expanded {
                v[i][j] = (-d[i][j]).exp() / sum;
            }
        }
        let average = |i: usize| -> Vec<f64> {
            let column =
                |j: usize| rank[i][..k2].iter().map(|&near| v[near][j]).sum::<f64>() / k2 as f64;
            (0..all).map(column).collect()
        };
        let v: Vec<Vec<f64>> = (0..all).map(average).collect();
        let distance = |i: usize, j: usize| {
            let shared: f64 = (0..all).map(|k| v[i][k].min(v[j][k])).sum();
            (1.0 - lambda) * (1.0 - shared / (2.0 - shared)) + lambda * d[i][j]
        };
        (0..all)
            .map(|i| (0..all).map(|j| distance(i, j)).collect())
            .collect()
    }

    /// Noisy clusters on the unit sphere: neighbors overlap, and no two distances are equal.
    fn clusters(count: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = named_rng(seed, "clusters");
        let centers: Vec<f32> = (0..6 * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        let at = |i: usize| centers[(i % 6) * dim..][..dim].to_vec();
        (0..count)
            .flat_map(at)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|x| x + rng.random_range(-0.6..0.6))
            .collect()
    }

    #[test]
    fn sparse_distances_equal_the_dense_program() {
        let (count, dim) = (90, 8);
        for (seed, k1, k2, lambda) in [
            (1, 20, 6, 0.3),
            (2, 7, 1, 0.0),
            (3, 4, 9, 0.5),
            (4, 20, 6, 1.0),
        ] {
            let data = clusters(count, dim, seed);
            let settings = KReciprocal {
                k1: Count::literal(k1),
                k2: Count::literal(k2),
                lambda: Fraction::literal(lambda),
            };
            let unit: Vec<Vec<f64>> = data
                .chunks(dim)
                .map(|row| {
                    let row: Vec<f64> = row.iter().map(|&x| x.into()).collect();
                    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.into_iter().map(|x| x / norm).collect()
                })
                .collect();
            let square =
                |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
            let squares: Vec<Vec<f64>> = unit
                .iter()
                .map(|x| unit.iter().map(|y| square(x, y)).collect())
                .collect();
            let expected = reference(&squares, settings);
            let matrix = Mat::new(&data, count, dim);
            let reranked = Reranked::new(matrix, settings).unwrap();
            let search = Search::new(matrix, matrix, Similarity::Cosine).unwrap();
            let found = search.rows(|item, cosines| reranked.scores(item, cosines));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                for (j, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        (f64::from(-found) - expected).abs() < 2e-5,
                        "{i}, {j}: {found} and {expected}"
                    );
                }
            }
            let entries = reranked.weights.iter().map(Vec::len).max().unwrap();
            assert!(entries < count, "some entries are zero");
        }
    }

    #[test]
    fn items_that_are_all_one_stay_finite() {
        let data = [1.0; 120];
        let matrix = Mat::new(&data, 60, 2);
        let reranked = Reranked::new(matrix, KReciprocal::default()).unwrap();
        let scores = reranked.scores(50, &[1.0; 60]);
        assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
    }
}
