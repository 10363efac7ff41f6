//! Paraphrase mining: the pairs most alike among all pairs of a set.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nearkin_kernels::Mat;
use rayon::prelude::*;

use super::error::TextError;
use crate::unit_rows::{COLUMNS, ROWS, UnitRows, pieces};

/// Two items and their cosine similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The smaller index.
    pub first: usize,
    /// The larger index.
    pub second: usize,
    /// Cosine similarity.
    pub score: f32,
}

impl Pair {
    /// The order of results: larger score first, then smaller indices.
    fn order(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.first.cmp(&other.first))
            .then(self.second.cmp(&other.second))
    }
}

/// A pair in a heap whose root is the worst of the best.
struct Worst(Pair);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

/// The `max_pairs` pairs `i < j` of the largest cosine similarity, the best first; ties go to the smaller indices.
///
/// Exact over all N (N − 1) / 2 pairs, in blocks: memory is that of the embeddings and of the pairs that are kept.
/// sentence-transformers' `paraphrase_mining` looks at the 100 nearest of each item only, which gives the same pairs
/// unless one item is in more of them.
///
/// # Shapes
/// - `embeddings`: `[N, D]`
///
/// # Errors
/// A number is not finite.
///
/// ```
/// use nearkin::{Mat, text::paraphrase::paraphrases};
/// let points = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let pairs = paraphrases(Mat::new(&points, 3, 2), 2.try_into()?)?;
/// assert_eq!((pairs[0].first, pairs[0].second, pairs[0].score), (1, 2, 0.8));
/// assert_eq!((pairs[1].first, pairs[1].second, pairs[1].score), (0, 2, 0.6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn paraphrases(embeddings: Mat, max_pairs: NonZeroUsize) -> Result<Vec<Pair>, TextError> {
    let rows = UnitRows::new(embeddings)?;
    let best = Mutex::new(BinaryHeap::new());
    let blocks: Vec<_> = pieces(0..rows.count, ROWS).collect();
    blocks.into_par_iter().for_each(|block| {
        let (mut cosines, mut found) = (Vec::new(), Vec::new());
        for columns in pieces(block.start..rows.count, COLUMNS) {
            let cosines = rows.cosines(block.clone(), &rows, columns.clone(), &mut cosines);
            let bar = bar(&lock(&best), max_pairs);
            for (first, row) in block.clone().zip(cosines.chunks_exact(columns.len())) {
                // Most rows of a block have nothing good enough; equal scores may still win by their indices.
                let good = columns.clone().zip(row).filter(|(_, score)| **score >= bar);
                let later = good.filter(|(second, _)| *second > first);
                found.extend(later.map(|(second, &score)| Pair {
                    first,
                    second,
                    score: score + 0.0,
                }));
            }
            keep(&mut lock(&best), found.drain(..), max_pairs);
        }
    });
    let best = best.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut pairs: Vec<Pair> = best.into_iter().map(|Worst(pair)| pair).collect();
    pairs.sort_unstable_by(Pair::order);
    Ok(pairs)
}

fn lock(best: &Mutex<BinaryHeap<Worst>>) -> MutexGuard<'_, BinaryHeap<Worst>> {
    best.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The score below which no pair is among the best.
fn bar(best: &BinaryHeap<Worst>, max_pairs: NonZeroUsize) -> f32 {
    match best.peek() {
        Some(Worst(worst)) if best.len() == max_pairs.get() => worst.score,
        _ => f32::NEG_INFINITY,
    }
}

fn keep(best: &mut BinaryHeap<Worst>, found: impl Iterator<Item = Pair>, max_pairs: NonZeroUsize) {
    for pair in found.map(Worst) {
        if best.len() < max_pairs.get() {
            best.push(pair);
        } else if let Some(mut worst) = best.peek_mut().filter(|worst| pair < **worst) {
            *worst = pair;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn blocks_give_the_pairs_of_a_full_sort() {
        let (count, dim) = (1200, 3);
        let mut rng = named_rng(8, "paraphrase");
        let mut data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        // Copies: ties of cosine 1.
        let copy = data[..30].to_vec();
        data[2400..2430].copy_from_slice(&copy);
        let embeddings = Mat::new(&data, count, dim);
        let rows = UnitRows::new(embeddings).unwrap();
        let mut block = Vec::new();
        let cosines = rows.cosines(0..count, &rows, 0..count, &mut block).to_vec();
        let mut all: Vec<Pair> = (0..count)
            .flat_map(|first| (first + 1..count).map(move |second| (first, second)))
            .map(|(first, second)| Pair {
                first,
                second,
                score: cosines[first * count + second],
            })
            .collect();
        all.sort_by(Pair::order);
        for max_pairs in [1, 700, 20_000] {
            let found = paraphrases(embeddings, NonZeroUsize::new(max_pairs).unwrap()).unwrap();
            assert_eq!(found.len(), max_pairs);
            for (found, expected) in found.iter().zip(&all) {
                // The last bit depends on the shape of a block, and with it the order of near ties.
                assert!((found.score - expected.score).abs() < 1e-6);
                let exact = cosines[found.first * count + found.second];
                assert!(found.first < found.second && (exact - found.score).abs() < 1e-6);
            }
            let mut distinct: Vec<_> = found.iter().map(|p| (p.first, p.second)).collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), max_pairs);
        }
    }

    #[test]
    fn fewer_pairs_than_asked_for_are_all_pairs() {
        let data = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let pairs = paraphrases(Mat::new(&data, 3, 2), NonZeroUsize::MAX).unwrap();
        let found: Vec<_> = pairs.iter().map(|p| (p.first, p.second, p.score)).collect();
        assert_eq!(found, [(0, 1, 1.0), (0, 2, 0.0), (1, 2, 0.0)]);
        assert!(
            paraphrases(Mat::new(&[], 0, 2), NonZeroUsize::MIN)
                .unwrap()
                .is_empty()
        );
    }
}
