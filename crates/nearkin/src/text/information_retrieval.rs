//! Information retrieval: does a query find its relevant documents in a corpus?

use nearkin_kernels::{Mat, Neighbor};
use serde::Serialize;
use std::collections::HashMap;

use super::error::{TextError, check_count};
use super::resample::Bootstrap;
use crate::evaluate::{AtK, Estimate, Groups, Hits, SCORES};
use crate::search::{Search, Similarity};

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

/// Means over queries at one cut-off k, under the names that sentence-transformers' evaluator gives them: what is an [`AtK`]'s
/// Recall@K is an accuracy here, and its coverage the recall.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AnswersAtK {
    /// The cut-off.
    pub k: usize,
    /// 1 if any of the first k is relevant.
    pub accuracy: Estimate,
    /// The share of the first k that is relevant.
    pub precision: Estimate,
    /// The share of the relevant ones that is among the first k.
    pub recall: Estimate,
    /// 1 / rank of the first relevant one, 0 if it is not among the first k.
    pub mrr: Estimate,
    /// See [`AtK::ndcg`].
    pub ndcg: Estimate,
    /// See [`AtK::map`], which divides as sentence-transformers does.
    pub map: Estimate,
    /// See [`AtK::map_of_relevant`].
    pub map_of_relevant: Estimate,
    /// See [`AtK::map_of_found`].
    pub map_of_found: Estimate,
}

impl AnswersAtK {
    /// Accuracy, precision, recall, MRR, nDCG and MAP, as tables show them.
    pub fn shown(&self) -> [Estimate; 6] {
        [
            self.accuracy,
            self.precision,
            self.recall,
            self.mrr,
            self.ndcg,
            self.map,
        ]
    }
}

impl From<AtK> for AnswersAtK {
    fn from(at: AtK) -> Self {
        Self {
            k: at.k,
            accuracy: at.recall_at_k,
            precision: at.precision,
            recall: at.coverage,
            mrr: at.mrr,
            ndcg: at.ndcg,
            map: at.map,
            map_of_relevant: at.map_of_relevant,
            map_of_found: at.map_of_found,
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
    /// How alike a query and a document are, by which documents were ranked.
    pub similarity: Similarity,
    /// The scores at each cut-off.
    pub at: Vec<AnswersAtK>,
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
    let judged = |rows: &Vec<u32>| rows.iter().map(|&row| (row, 1.0)).collect();
    let judged: Vec<Vec<(u32, f32)>> = relevant.iter().map(judged).collect();
    graded_retrieval(queries, corpus, &judged, options)
}

/// [`information_retrieval`] with a gain for each answer, by which nDCG alone is weighed.
///
/// `judged[q]` lists corpus rows with their gains, as a file of judgments (qrels) does; those with a gain of 0 or less are not
/// relevant, and of a row named twice the larger gain counts.
///
/// # Errors
/// As there, or a gain is not finite.
///
/// ```
/// use nearkin::Mat;
/// use nearkin::text::information_retrieval::{Options, graded_retrieval};
/// let corpus = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0];
/// // What comes first is less relevant than what comes second: (1 + 2 / log₂ 3) / (2 + 1 / log₂ 3).
/// let found = graded_retrieval(
///     Mat::new(&[1.0, 0.1], 1, 2), Mat::new(&corpus, 3, 2), &[vec![(0, 1.0), (1, 2.0)]], &Options::default())?;
/// assert!((found.at[1].ndcg.value - 0.8597).abs() < 1e-4);
/// # Ok::<(), nearkin::text::TextError>(())
/// ```
pub fn graded_retrieval(
    queries: Mat,
    corpus: Mat,
    judged: &[Vec<(u32, f32)>],
    options: &Options,
) -> Result<InformationRetrieval, TextError> {
    check(queries, corpus, judged, options)?;
    let depth = options.ks.iter().copied().max().unwrap_or(0);
    let search = Search::new(queries, corpus, options.similarity)?;
    let rows = search.map(depth, |query, found| {
        let gains = gains(&judged[query]);
        let hits = hits(found, &gains);
        (!gains.is_empty()).then(|| {
            let scores = options.ks.iter().flat_map(|&k| hits.at(k));
            scores.collect::<Vec<f32>>()
        })
    });
    let rows: Vec<Vec<f32>> = rows.into_iter().flatten().collect();
    if rows.is_empty() {
        return Err(TextError::TooFew {
            what: "queries with a relevant document",
            least: 1,
            found: 0,
        });
    }
    let Bootstrap { resamples, seed } = options.bootstrap;
    let groups = Groups::of_rows(&rows.concat(), SCORES * options.ks.len());
    let means = groups.estimates(resamples, seed);
    let at = options.ks.iter().zip(means.chunks_exact(SCORES));
    Ok(InformationRetrieval {
        queries: rows.len(),
        excluded: queries.rows - rows.len(),
        corpus: corpus.rows,
        similarity: options.similarity,
        at: at
            .map(|(&k, means)| AtK::new(k, std::array::from_fn(|score| means[score])).into())
            .collect(),
    })
}

/// The gain of each relevant document.
fn gains(judged: &[(u32, f32)]) -> HashMap<u32, f32> {
    let mut gains = HashMap::new();
    for &(document, gain) in judged.iter().filter(|(_, gain)| *gain > 0.0) {
        let known: &mut f32 = gains.entry(document).or_default();
        *known = known.max(gain);
    }
    gains
}

fn hits(found: &[Neighbor], gains: &HashMap<u32, f32>) -> Hits {
    let ranked = (1..).zip(found);
    let hit = |(rank, neighbor): (usize, &Neighbor)| Some((rank, *gains.get(&neighbor.index)?));
    let mut ideal: Vec<f32> = gains.values().copied().collect();
    ideal.sort_unstable_by(|a, b| b.total_cmp(a));
    Hits {
        found: ranked.filter_map(hit).collect(),
        relevant: ideal.len(),
        gains: ideal,
    }
}

fn check(
    queries: Mat,
    corpus: Mat,
    judged: &[Vec<(u32, f32)>],
    options: &Options,
) -> Result<(), TextError> {
    check_count(
        "lists of relevant documents",
        "query",
        queries.rows,
        judged.len(),
    )?;
    let setting = |setting, reason| TextError::Setting { setting, reason };
    if options.ks.contains(&0) {
        return Err(setting("ks", "0: a cut-off is at least 1".to_owned()));
    }
    for (query, documents) in judged.iter().enumerate() {
        if let Some((document, gain)) = documents.iter().find(|(_, gain)| !gain.is_finite()) {
            let reason = format!("that of document {document} for query {query} is {gain}");
            return Err(setting("gains", reason));
        }
        let beyond = documents.iter().find(|(d, _)| *d as usize >= corpus.rows);
        if let Some(&(document, _)) = beyond {
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

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

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
        let mut means = [[0.0f64; SCORES]; 2];
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
            let mut distinct = relevant.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let rel: Vec<f64> = order
                .iter()
                .map(|(_, document)| f64::from(u8::from(distinct.contains(document))))
                .collect();
            for (mean, k) in means.iter_mut().zip([7, 200]) {
                for (mean, score) in mean.iter_mut().zip(reference(&rel, k, distinct.len())) {
                    *mean += score / 56.0;
                }
            }
        }
        for (at, mean) in result.at.iter().zip(means) {
            let others = [at.map_of_relevant, at.map_of_found];
            let scores = at.shown().into_iter().chain(others);
            for (found, expected) in scores.zip(mean) {
                assert!((found.value - expected).abs() < 1e-6, "{at:?} {mean:?}");
                assert!(found.low <= found.value && found.value <= found.high);
            }
        }
    }

    /// The scores by their definitions, of the relevance of the whole ranking.
    fn reference(rel: &[f64], k: usize, relevant: usize) -> [f64; SCORES] {
        let (first_k, r) = (&rel[..k], relevant as f64);
        let found: f64 = first_k.iter().sum();
        let p = |i: usize| rel[..i].iter().sum::<f64>() / i as f64;
        let sum: f64 = (1..=k).map(|i| rel[i - 1] * p(i)).sum();
        let discount = |i: usize| 1.0 / (i as f64 + 1.0).log2();
        let ideal: f64 = (1..=k.min(relevant)).map(discount).sum();
        let first = first_k.iter().position(|&x| x > 0.0);
        [
            f64::from(u8::from(found > 0.0)),
            found / k as f64,
            found / r,
            first.map_or(0.0, |at| 1.0 / (at as f64 + 1.0)),
            (1..=k).map(|i| rel[i - 1] * discount(i)).sum::<f64>() / ideal,
            sum / k.min(relevant) as f64,
            sum / r,
            if found > 0.0 { sum / found } else { 0.0 },
        ]
    }

    #[test]
    fn scores_have_the_names_of_sentence_transformers() {
        // Two answers, of which the nearest document is one: a hit, and half of what is looked for.
        let corpus = [1.0, 0.0, 0.8, 0.6, 0.0, 1.0];
        let (query, corpus) = (Mat::new(&[1.0, 0.1], 1, 2), Mat::new(&corpus, 3, 2));
        let found =
            information_retrieval(query, corpus, &[vec![0, 2]], &Options::default()).unwrap();
        let at_1 = serde_json::to_value(&found).unwrap()["at"][0].clone();
        assert_eq!(at_1["k"], 1);
        assert_eq!(at_1["accuracy"]["value"], 1.0);
        assert_eq!(at_1["recall"]["value"], 0.5);
        assert!(at_1.get("recall_at_k").is_none() && at_1.get("coverage").is_none());
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
        let judged = [vec![(0, 1.0)], vec![(1, f32::NAN)]];
        let error = graded_retrieval(mat, mat, &judged, &Options::default());
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("document 1 for query 1 is NaN"),
            "{message}"
        );
    }
}
