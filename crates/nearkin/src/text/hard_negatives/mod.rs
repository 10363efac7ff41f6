//! Hard negatives: documents that a model takes for answers although they are none.
//!
//! First each query's nearest documents are found, then they are filtered. Between the two steps a better model, such
//! as a cross-encoder, may score [`Candidates`] anew.
//!
//! ```
//! use nearkin::{Mat, text::{NonNegative, hard_negatives::{HardNegatives, Pool}}};
//! let [who, she, he, it] = ["Who wrote it?", "She did.", "He did.", "It rained."].map(str::to_owned);
//! let pool = Pool::new(&[who], &[she], &[he, it])?;
//! // The corpus, positives last, and its embeddings; the negative of rank 0 is too close to the positive.
//! let corpus = [0.99, 0.14, 0.6, 0.8, 1.0, 0.0];
//! let relative_margin = Some(NonNegative::literal(0.05));
//! let miner = HardNegatives { relative_margin, ..HardNegatives::default() };
//! let candidates = miner.candidates(Mat::new(&[1.0, 0.0], 1, 2), Mat::new(&corpus, 3, 2), &pool.positives)?;
//! let mined = miner.select(&candidates)?;
//! assert_eq!(mined.negatives[0], [(1, 0.6)]);
//! let triplet = mined.triplets(&pool).next();
//! assert_eq!(triplet, Some(["Who wrote it?", "She did.", "It rained."]));
//! # Ok::<(), nearkin::text::TextError>(())
//! ```

mod pool;
#[cfg(test)]
mod tests;

pub use pool::Pool;

use std::num::NonZeroUsize;

use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::{Mat, Neighbor};
use nearkin_losses::range::{Finite, NonNegative};
use rand::seq::index;
use serde::{Deserialize, Serialize};

use super::error::{TextError, check_count};
use crate::search::{Search, Similarity};

/// Which of the candidates left are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The nearest.
    #[default]
    Top,
    /// Any, drawn at random.
    Random,
}

/// What makes a document a hard negative of a query.
///
/// Documents are ranked by their score, the positives left out. A document is passed over if its score is
///
/// ```text
/// above  p − absolute_margin,  above  p − |p| relative_margin,  above max_score  or  below min_score
/// ```
///
/// where p is the lowest score among the query's positives. Of those left, ranks `range_min` to `range_max − 1` are
/// candidates, from 0. These are the rules of sentence-transformers' `mine_hard_negatives` (6.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HardNegatives {
    /// Negatives of each query, at most.
    pub negatives: NonZeroUsize,
    /// Ranks to pass over: the nearest documents may be answers that nobody marked.
    pub range_min: usize,
    /// The rank to stop before; without it, one that leaves enough candidates for the other filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_max: Option<usize>,
    /// The highest score of a negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_score: Option<Finite>,
    /// The lowest score of a negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<Finite>,
    /// How far below the positive's score a negative's must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_margin: Option<NonNegative>,
    /// The same as a share of the positive's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_margin: Option<NonNegative>,
    /// Which candidates are taken.
    pub sampling: Sampling,
    /// Decides what is drawn at random.
    pub seed: u64,
    /// How a query and a document are scored.
    pub similarity: Similarity,
}

impl Default for HardNegatives {
    fn default() -> Self {
        Self {
            negatives: const { NonZeroUsize::new(3).unwrap() },
            range_min: 0,
            range_max: None,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            sampling: Sampling::Top,
            seed: 0,
            similarity: Similarity::Cosine,
        }
    }
}

/// The documents nearest to each query, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// Document and score of the candidates of each query, without its positives, in any order.
    pub documents: Vec<Vec<(u32, f32)>>,
    /// The score of each positive of each query.
    pub positives: Vec<Vec<f32>>,
}

/// The negatives that were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// Document and score of each query's negatives, the highest score first.
    pub negatives: Vec<Vec<(u32, f32)>>,
    /// Queries with fewer negatives than asked for.
    pub short: usize,
    /// Candidates passed over by `absolute_margin`.
    pub within_absolute_margin: usize,
    /// Candidates passed over by `relative_margin` alone.
    pub within_relative_margin: usize,
    /// Candidates passed over by `max_score` alone.
    pub above_max_score: usize,
    /// Candidates passed over by `min_score` alone.
    pub below_min_score: usize,
}

impl HardNegatives {
    /// Finds each query's nearest documents, exactly and in blocks.
    ///
    /// # Shapes
    /// - `queries`: `[Q, D]`, `corpus`: `[N, D]`, `positives`: `Q`
    ///
    /// # Errors
    /// Shapes or counts differ, a number is not finite, a query has no positive or one that is not in the corpus, or
    /// the ranks leave too few candidates.
    pub fn candidates(
        &self,
        queries: Mat,
        corpus: Mat,
        positives: &[Vec<u32>],
    ) -> Result<Candidates, TextError> {
        check_count("lists of positives", "query", queries.rows, positives.len())?;
        check_positives(positives, corpus.rows)?;
        let most = positives.iter().map(Vec::len).max().unwrap_or(0);
        let depth = self.last_rank(most)? + most;
        let search = Search::new(queries, corpus, self.similarity)?;
        let documents = search.map(depth, |query, found| {
            let others = found
                .iter()
                .filter(|n| !positives[query].contains(&n.index));
            others.map(|n| (n.index, n.score)).collect()
        });
        Ok(Candidates {
            documents,
            positives: self.score_positives(queries, corpus, positives)?,
        })
    }

    /// The rank to stop before.
    fn last_rank(&self, most_positives: usize) -> Result<usize, TextError> {
        let negatives = self.negatives.get();
        let filtered = self.absolute_margin.is_some()
            || self.relative_margin.is_some()
            || self.max_score.is_some();
        // Some candidates will be filtered out.
        let spare = if filtered { 10 } else { 1 };
        let last = self
            .range_max
            .unwrap_or(self.range_min + spare * negatives + most_positives);
        if last < self.range_min + negatives {
            return Err(TextError::Setting {
                setting: "range_max",
                reason: format!(
                    "ranks {} to {last} leave fewer candidates than negatives = {negatives}",
                    self.range_min
                ),
            });
        }
        Ok(last)
    }

    fn score_positives(
        &self,
        queries: Mat,
        corpus: Mat,
        positives: &[Vec<u32>],
    ) -> Result<Vec<Vec<f32>>, TextError> {
        let dim = queries.cols;
        let row = |mat: Mat<'_>, at: usize| mat.data[at * dim..(at + 1) * dim].to_vec();
        let mut all = Vec::with_capacity(positives.len());
        for (query, positives) in positives.iter().enumerate() {
            let rows: Vec<f32> = positives
                .iter()
                .flat_map(|&p| row(corpus, p as usize))
                .collect();
            let query = row(queries, query);
            let gallery = Mat::new(&rows, positives.len(), dim);
            let search = Search::new(Mat::new(&query, 1, dim), gallery, self.similarity)?;
            let scores = search.map(positives.len(), |_, found| in_order(found));
            all.extend(scores);
        }
        Ok(all)
    }

    /// Filters candidates and takes negatives from them.
    ///
    /// # Errors
    /// There are not as many queries with candidates as with positives, a query has no positive, or the ranks leave too
    /// few candidates.
    pub fn select(&self, candidates: &Candidates) -> Result<Mined, TextError> {
        let Candidates {
            documents,
            positives,
        } = candidates;
        check_count(
            "lists of candidates",
            "query",
            positives.len(),
            documents.len(),
        )?;
        let last = self.last_rank(positives.iter().map(Vec::len).max().unwrap_or(0))?;
        let mut mined = Mined {
            negatives: Vec::with_capacity(documents.len()),
            short: 0,
            within_absolute_margin: 0,
            within_relative_margin: 0,
            above_max_score: 0,
            below_min_score: 0,
        };
        for (query, (documents, positives)) in documents.iter().zip(positives).enumerate() {
            let lowest = positives
                .iter()
                .copied()
                .reduce(f32::min)
                .ok_or(NO_POSITIVE)?;
            let mut left = documents.clone();
            left.retain(|&(_, score)| self.passes(score, lowest, &mut mined));
            left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            left.truncate(last);
            left.drain(..self.range_min.min(left.len()));
            let taken = self.take(query, left);
            mined.short += usize::from(taken.len() < self.negatives.get());
            mined.negatives.push(taken);
        }
        Ok(mined)
    }

    /// Whether a score is that of a negative; the filter that says no counts it.
    fn passes(&self, score: f32, positive: f32, mined: &mut Mined) -> bool {
        let absolute = self
            .absolute_margin
            .is_some_and(|m| score > positive - m.get());
        let relative = self
            .relative_margin
            .is_some_and(|m| score > positive - positive.abs() * m.get());
        let above = self.max_score.is_some_and(|max| score > max.get());
        let below = self.min_score.is_some_and(|min| score < min.get());
        let reasons = [
            (absolute, &mut mined.within_absolute_margin),
            (relative, &mut mined.within_relative_margin),
            (above, &mut mined.above_max_score),
            (below, &mut mined.below_min_score),
        ];
        match reasons.into_iter().find(|(applies, _)| *applies) {
            Some((_, count)) => {
                *count += 1;
                false
            }
            None => true,
        }
    }

    fn take(&self, query: usize, mut left: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
        let count = self.negatives.get().min(left.len());
        if self.sampling == Sampling::Random {
            let mut rng = named_rng(self.seed, &format!("negatives/{query}"));
            let mut drawn = index::sample(&mut rng, left.len(), count).into_vec();
            drawn.sort_unstable();
            return drawn.into_iter().map(|at| left[at]).collect();
        }
        left.truncate(count);
        left
    }
}

const NO_POSITIVE: TextError = TextError::TooFew {
    what: "positives of a query",
    least: 1,
    found: 0,
};

fn check_positives(positives: &[Vec<u32>], corpus: usize) -> Result<(), TextError> {
    for (query, positives) in positives.iter().enumerate() {
        if positives.is_empty() {
            return Err(NO_POSITIVE);
        }
        if let Some(&document) = positives.iter().find(|&&p| p as usize >= corpus) {
            return Err(TextError::Index {
                what: "positive",
                index: document as usize,
                of: "query",
                row: query,
                count: corpus,
            });
        }
    }
    Ok(())
}

/// Scores in the order of the gallery.
fn in_order(found: &[Neighbor]) -> Vec<f32> {
    let mut scores = vec![0.0; found.len()];
    for neighbor in found {
        scores[neighbor.index as usize] = neighbor.score;
    }
    scores
}
