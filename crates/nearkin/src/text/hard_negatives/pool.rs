//! The texts behind queries and documents, and negatives in the forms that training takes.

use std::collections::HashMap;

use super::Mined;
use crate::text::error::{TextError, check_count};

/// Texts without repetitions, and which of them belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Distinct queries, in the order of their first appearance.
    pub queries: Vec<String>,
    /// Distinct documents: those of the corpus, then the positives that it lacks.
    pub corpus: Vec<String>,
    /// The documents that answer each query.
    pub positives: Vec<Vec<u32>>,
}

impl Pool {
    /// From pairs of a query and a positive, and further documents: a text that comes several times is one.
    ///
    /// # Errors
    /// There are not as many positives as queries.
    pub fn new(
        queries: &[String],
        positives: &[String],
        corpus: &[String],
    ) -> Result<Self, TextError> {
        check_count("positives", "query", queries.len(), positives.len())?;
        let (documents, document) = distinct(corpus.iter().chain(positives));
        let (distinct_queries, query) = distinct(queries);
        let mut of_query = vec![Vec::new(); distinct_queries.len()];
        for (text, positive) in queries.iter().zip(positives) {
            let (list, positive) = (
                &mut of_query[query[text.as_str()] as usize],
                document[positive.as_str()],
            );
            if !list.contains(&positive) {
                list.push(positive);
            }
        }
        Ok(Self {
            queries: distinct_queries,
            corpus: documents,
            positives: of_query,
        })
    }

    fn document(&self, number: u32) -> &str {
        &self.corpus[number as usize]
    }
}

/// Each text once, and its place.
fn distinct<'t>(
    texts: impl IntoIterator<Item = &'t String>,
) -> (Vec<String>, HashMap<&'t str, u32>) {
    let (mut all, mut place) = (Vec::new(), HashMap::new());
    for text in texts {
        place.entry(text.as_str()).or_insert_with(|| {
            all.push(text.clone());
            all.len() as u32 - 1
        });
    }
    (all, place)
}

impl Mined {
    /// Anchor, positive and negative, for each positive and each negative of a query.
    pub fn triplets<'p>(&'p self, pool: &'p Pool) -> impl Iterator<Item = [&'p str; 3]> {
        self.of_positives(pool)
            .flat_map(move |(query, positive, negatives)| {
                let negatives = negatives.iter();
                negatives.map(move |&(negative, _)| [query, positive, pool.document(negative)])
            })
    }

    /// Anchor, positive and `count` negatives; queries with fewer negatives are left out.
    pub fn tuples<'p>(
        &'p self,
        pool: &'p Pool,
        count: usize,
    ) -> impl Iterator<Item = Vec<&'p str>> {
        self.of_positives(pool)
            .filter_map(move |(query, positive, negatives)| {
                let negatives = negatives.get(..count)?.iter();
                let documents = negatives.map(|&(negative, _)| pool.document(negative));
                Some([query, positive].into_iter().chain(documents).collect())
            })
    }

    /// Anchor, document and whether it is a positive: for each query its positives, then its negatives.
    pub fn labeled_pairs<'p>(
        &'p self,
        pool: &'p Pool,
    ) -> impl Iterator<Item = (&'p str, &'p str, bool)> {
        self.of_queries(pool)
            .flat_map(move |(query, positives, negatives)| {
                let positives = positives.iter().map(|&document| (document, true));
                let negatives = negatives.iter().map(|&(document, _)| (document, false));
                let both = positives.chain(negatives);
                both.map(move |(document, label)| (query, pool.document(document), label))
            })
    }

    /// Each query with its positives and its negatives.
    fn of_queries<'p>(&'p self, pool: &'p Pool) -> impl Iterator<Item = OfQuery<'p, &'p [u32]>> {
        let lists = pool.positives.iter().zip(&self.negatives);
        let queries = pool.queries.iter().zip(lists);
        queries.map(|(query, (positives, negatives))| (&query[..], &positives[..], &negatives[..]))
    }

    /// Each query with one of its positives and its negatives.
    fn of_positives<'p>(&'p self, pool: &'p Pool) -> impl Iterator<Item = OfQuery<'p, &'p str>> {
        self.of_queries(pool)
            .flat_map(move |(query, positives, negatives)| {
                let positives = positives.iter();
                positives.map(move |&positive| (query, pool.document(positive), negatives))
            })
    }
}

/// A query, what is positive, and its negatives.
type OfQuery<'p, P> = (&'p str, P, &'p [(u32, f32)]);
