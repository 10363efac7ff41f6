//! Ranking what a search has found anew, by a cross-encoder.

use nearkin_encoder::text::CrossEncoder;

use crate::error::Result;

/// The items of each query, by what the cross-encoder makes of the query and the item's text, the best first; ties stay as
/// they were found.
///
/// ```no_run
/// use nearkin::text::{encoder::CrossEncoder, rerank::rerank};
/// let judge = CrossEncoder::load("cross-encoder".as_ref())?;
/// let corpus = ["Boil it.".to_owned(), "Paris.".to_owned()];
/// let best = rerank(&judge, &["How do I cook rice?".to_owned()], &corpus, &[vec![1, 0]], &mut |_| {})?;
/// assert_eq!(best[0][0].0, 0);
/// # Ok::<(), nearkin::Error>(())
/// ```
///
/// # Errors
/// The cross-encoder has classes rather than a score, or its tokenizer refuses a text.
///
/// # Panics
/// An item is not in the corpus, or there are more lists than queries.
pub fn rerank(
    judge: &CrossEncoder,
    queries: &[String],
    corpus: &[String],
    found: &[Vec<usize>],
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Vec<Vec<(usize, f32)>>> {
    let of_query = |(query, items): (usize, &Vec<usize>)| {
        let pair = |&item: &usize| [queries[query].as_str(), corpus[item].as_str()];
        items.iter().map(pair).collect::<Vec<_>>()
    };
    let pairs: Vec<[&str; 2]> = found.iter().enumerate().flat_map(of_query).collect();
    let mut scores = judge.score(&pairs, progress)?.into_iter();
    let ranked = found.iter().map(|items| {
        let mut scored: Vec<(usize, f32)> = items.iter().copied().zip(scores.by_ref()).collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored
    });
    Ok(ranked.collect())
}
