//! Information retrieval: does a query find its relevant documents in a corpus?

use nearkin_kernels::{Mat, Neighbor};
use serde::Serialize;

use super::error::{TextError, check_count};
use super::resample::Bootstrap;
use crate::evaluate::{Estimate, estimates};
use crate::search::{Exclude, Search, Similarity};

/// Which documents answer a query, and how answers are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The cut-offs k.
    pub ks: Vec<usize>,
    /// How alike a query and a document are.
    pub similarity: Similarity,
    /// How intervals over queries are made.
    pub bootstrap: Bootstrap,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ks: vec![1, 3, 5, 10, 100],
            similarity: Similarity::Cosine,
            bootstrap: Bootstrap::default(),
        }
    }
}

/// The result on a set of queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InformationRetrieval {
    /// Queries behind the means.
    pub queries: usize,
    /// Queries without a relevant document, which are in no mean.
    pub excluded: usize,
    /// Documents.
    pub corpus: usize,
    /// The scores at each cut-off.
    pub at: Vec<AtK>,
}

/// Means over queries at one cut-off k. With R relevant documents, rel(i) is 1 if the i-th found is one of them, P(i)
/// the share of relevant ones among the first i.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtK {
    /// The cut-off.
    pub k: usize,
    /// 1 if any of the first k is relevant.
    pub accuracy: Estimate,
    /// `Σ_{i≤k} rel(i) / k`.
    pub precision: Estimate,
    /// `Σ_{i≤k} rel(i) / R`.
    pub recall: Estimate,
    /// 1 / rank of the first relevant one, 0 if it is not among the first k.
    pub mrr: Estimate,
    /// `Σ_{i≤k} rel(i) / log₂(i + 1)`, divided by the same of a perfect ranking.
    pub ndcg: Estimate,
    /// `Σ_{i≤k} rel(i) P(i) / min(k, R)`.
    pub map: Estimate,
}

/// Searches the corpus for every query, exactly and in blocks, with 95% bootstrap intervals over queries.
///
/// `relevant[q]` lists the corpus rows that answer query q; a row named twice counts once. MAP@k divides by
/// `min(k, R)`, as sentence-transformers does; others divide by R. Ties go to the smaller corpus row.
///
/// # Shapes
/// - `queries`: `[Q, D]`, `corpus`: `[N, D]`, `relevant`: `Q`
///
/// # Errors
/// Shapes or counts differ, a number is not finite, a row is not in the corpus, a k is 0, or no query has an answer.
///
/// ```
/// use nearkin::Mat;
/// use nearkin::text::information_retrieval::{Options, information_retrieval};
/// let corpus = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0];
/// let relevant = [vec![1]];
/// let found = information_retrieval(
///     Mat::new(&[1.0, 0.1], 1, 2), Mat::new(&corpus, 3, 2), &relevant, &Options::default())?;
/// // The relevant document comes second.
/// assert_eq!((found.at[0].accuracy.value, found.at[1].mrr.value), (0.0, 0.5));
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn information_retrieval(
    queries: Mat,
    corpus: Mat,
    relevant: &[Vec<u32>],
    options: &Options,
) -> Result<InformationRetrieval, TextError> {
    check(queries, corpus, relevant, options)?;
    let depth = options.ks.iter().copied().max().unwrap_or(0);
    let search = Search::new(queries, corpus, options.similarity)?;
    let rows = search.map(depth, Exclude::Nothing, |query, found| {
        let mut relevant = relevant[query].clone();
        relevant.sort_unstable();
        relevant.dedup();
        let scores = |&k: &usize| scores(found, &relevant, k);
        (!relevant.is_empty()).then(|| options.ks.iter().map(scores).collect::<Vec<_>>())
    });
    let rows: Vec<Vec<[f32; 6]>> = rows.into_iter().flatten().collect();
    if rows.is_empty() {
        return Err(TextError::TooFew {
            what: "queries with a relevant document",
            least: 1,
            found: 0,
        });
    }
    let at = |(at, &k): (usize, &usize)| {
        let column: Vec<[f32; 6]> = rows.iter().map(|row| row[at]).collect();
        AtK::new(k, &column, options.bootstrap)
    };
    Ok(InformationRetrieval {
        queries: rows.len(),
        excluded: queries.rows - rows.len(),
        corpus: corpus.rows,
        at: options.ks.iter().enumerate().map(at).collect(),
    })
}

impl AtK {
    /// The means of the queries' scores, in the order of [`scores`].
    fn new(k: usize, rows: &[[f32; 6]], Bootstrap { resamples, seed }: Bootstrap) -> Self {
        let [accuracy, precision, recall, mrr, ndcg, map] = estimates(rows, resamples, seed);
        Self {
            k,
            accuracy,
            precision,
            recall,
            mrr,
            ndcg,
            map,
        }
    }
}

fn check(
    queries: Mat,
    corpus: Mat,
    relevant: &[Vec<u32>],
    options: &Options,
) -> Result<(), TextError> {
    check_count(
        "lists of relevant documents",
        "query",
        queries.rows,
        relevant.len(),
    )?;
    if options.ks.contains(&0) {
        return Err(TextError::Setting {
            setting: "ks",
            reason: "0: a cut-off is at least 1".to_owned(),
        });
    }
    for (query, documents) in relevant.iter().enumerate() {
        if let Some(&document) = documents.iter().find(|&&d| d as usize >= corpus.rows) {
            return Err(TextError::Index {
                what: "relevant document",
                index: document as usize,
                of: "query",
                row: query,
                count: corpus.rows,
            });
        }
    }
    Ok(())
}

/// Accuracy, precision, recall, reciprocal rank, nDCG and average precision of one query at `k`.
fn scores(found: &[Neighbor], relevant: &[u32], k: usize) -> [f32; 6] {
    let (mut hits, mut first, mut gain, mut precisions) = (0.0f64, 0.0, 0.0, 0.0);
    for (at, neighbor) in found.iter().take(k).enumerate() {
        if relevant.binary_search(&neighbor.index).is_ok() {
            let rank = (at + 1) as f64;
            hits += 1.0;
            first = f64::max(first, 1.0 / rank);
            gain += discount(rank);
            precisions += hits / rank;
        }
    }
    let reachable = k.min(relevant.len());
    let ideal: f64 = (1..=reachable).map(|rank| discount(rank as f64)).sum();
    [
        hits.min(1.0),
        hits / k as f64,
        hits / relevant.len() as f64,
        first,
        gain / ideal,
        precisions / reachable as f64,
    ]
    .map(|score| score as f32)
}

fn discount(rank: f64) -> f64 {
    1.0 / (rank + 1.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn the_worked_example_of_relevance_1_0_1_1_0() {
        let found: Vec<Neighbor> = (0..5).map(|index| Neighbor { index, score: 0.0 }).collect();
        let close = |found: [f32; 6], expected: [f32; 6]| {
            let pairs = found.iter().zip(expected);
            assert!(
                pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4),
                "{found:?} {expected:?}"
            );
        };
        let relevant = [0, 2, 3];
        close(
            scores(&found, &relevant, 5),
            [1.0, 0.6, 1.0, 1.0, 0.9060, 0.8056],
        );
        close(
            scores(&found, &relevant, 2),
            [1.0, 0.5, 0.3333, 1.0, 0.6131, 0.5],
        );
        close(
            scores(&found, &relevant, 1),
            [1.0, 1.0, 0.3333, 1.0, 1.0, 1.0],
        );
    }

    #[test]
    fn blocks_give_the_means_of_a_full_sort() {
        let mut rng = named_rng(1, "ir");
        let mut random = |rows: usize| -> Vec<f32> {
            (0..rows * 3).map(|_| rng.random_range(-1.0..1.0)).collect()
        };
        let (queries, corpus) = (random(70), random(1300));
        let relevant: Vec<Vec<u32>> = (0..70u32)
            .map(|q| (0..q % 5).map(|i| (q * 37 + i * 211) % 1300).collect())
            .collect();
        let options = Options {
            ks: vec![7, 200],
            similarity: Similarity::Dot,
            ..Options::default()
        };
        let (q, c) = (Mat::new(&queries, 70, 3), Mat::new(&corpus, 1300, 3));
        let result = information_retrieval(q, c, &relevant, &options).unwrap();
        assert_eq!((result.queries, result.excluded), (56, 14));
        let mut means = [[0.0f64; 6]; 2];
        for (query, relevant) in queries
            .chunks(3)
            .zip(&relevant)
            .filter(|(_, r)| !r.is_empty())
        {
            let dot = |d: &[f32]| {
                d.iter()
                    .zip(query)
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum::<f64>()
            };
            let mut order: Vec<(f64, u32)> = corpus
                .chunks(3)
                .zip(0..)
                .map(|(d, i)| (dot(d), i))
                .collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut sorted = relevant.clone();
            sorted.sort_unstable();
            let found: Vec<Neighbor> = order
                .iter()
                .map(|&(_, index)| Neighbor { index, score: 0.0 })
                .collect();
            for (mean, k) in means.iter_mut().zip([7, 200]) {
                for (mean, score) in mean.iter_mut().zip(scores(&found, &sorted, k)) {
                    *mean += f64::from(score) / 56.0;
                }
            }
        }
        for (at, mean) in result.at.iter().zip(means) {
            let found = [
                at.accuracy,
                at.precision,
                at.recall,
                at.mrr,
                at.ndcg,
                at.map,
            ];
            for (found, expected) in found.iter().zip(mean) {
                assert!((found.value - expected).abs() < 1e-6, "{at:?} {mean:?}");
                assert!(found.low <= found.value && found.value <= found.high);
            }
        }
    }

    #[test]
    fn documents_beyond_the_corpus_and_queries_without_answers_are_refused() {
        let data = [1.0, 2.0];
        let mat = Mat::new(&data, 2, 1);
        let error = |relevant: &[Vec<u32>]| {
            information_retrieval(mat, mat, relevant, &Options::default())
                .unwrap_err()
                .to_string()
        };
        assert!(error(&[vec![0], vec![2]]).contains("relevant document 2 of query 1"));
        assert!(error(&[vec![], vec![]]).contains("at least 1 needed, 0 given"));
        assert!(error(&[vec![0]]).contains("one for each query"));
    }
}
