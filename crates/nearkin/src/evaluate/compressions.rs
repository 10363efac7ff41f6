//! What indices that are smaller or faster than the exact one miss.

mod asked;
#[cfg(test)]
mod tests;

use super::{EvaluateError, check_finite};
use asked::Asked;
use nearkin_index::{Kind, Parameters};
use nearkin_kernels::{Mat, threads};
use serde::Serialize;
use std::time::Instant;

/// Lists of a graph's candidates.
const EFS: [usize; 3] = [32, 128, 512];
/// Lengths of a shortlist over K.
const FACTORS: [usize; 2] = [4, 16];
/// Numbers that a truncated vector has at least.
const LEAST: usize = 8;
/// One of so many items searches.
const SHARE: usize = 5;
/// From this many on an eighth of the numbers is worth a row.
const LONG: usize = 128;

/// What is searched for, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompressionOptions {
    /// The numbers K of neighbors; of each the share found is counted.
    pub ks: Vec<usize>,
    /// Items that search, and a fifth of all where that is less. They are drawn, and are in no index.
    pub queries: usize,
    /// Decides which these are, and the graph.
    pub seed: u64,
}

impl Default for CompressionOptions {
    fn default() -> Self {
        Self {
            ks: vec![1, 10, 100],
            queries: 1000,
            seed: 0,
        }
    }
}

impl CompressionOptions {
    /// The default without the K that so many items are too few for.
    pub fn of(items: usize) -> Self {
        let mut options = Self::default();
        let others = items - options.searching(items);
        options.ks.retain(|&k| k <= others.max(1));
        options
    }

    /// How many of so many items search.
    fn searching(&self, items: usize) -> usize {
        self.queries.min((items / SHARE).max(1)).min(items)
    }
}

/// A table of indices of the same vectors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compressions {
    /// Vectors in the indices.
    pub items: usize,
    /// Numbers of a vector.
    pub dim: usize,
    /// Vectors that searched.
    pub queries: usize,
    /// Threads that shared the queries.
    pub threads: usize,
    /// The conventions, in words.
    pub convention: String,
    /// The indices, the exact one first.
    pub rows: Vec<Compression>,
}

/// What an index is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compression {
    /// What it is.
    pub name: String,
    /// Bytes of memory for a vector.
    pub bytes_per_vector: f64,
    /// Bytes of memory.
    pub bytes: usize,
    /// How long it took to build. Rows that differ in how hard they search are of one index.
    pub build_seconds: f64,
    /// A search for each K.
    pub at: Vec<CompressedAt>,
    /// By the labels, where there are some.
    pub labels: Option<ByLabels>,
}

/// A search for K neighbors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CompressedAt {
    /// K.
    pub k: usize,
    /// The share of the K truly nearest that it finds, mean over the queries.
    pub recall: f64,
    /// Queries a second, on all threads.
    pub queries_per_second: f64,
}

/// What an index is worth by the labels, mean over the queries with an item of their class in the index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByLabels {
    /// Recall@1: the first found is of the query's class.
    pub recall_at_1: f64,
    /// MAP@R; absent where a class has more items than the largest K.
    pub map_at_r: Option<f64>,
}

/// Searches items among all others by the exact index and by smaller or faster ones: int8, bits, bits ranked again by int8,
/// the first half, quarter and, from 128 numbers on, eighth of the numbers, and a graph with several `ef`.
///
/// ```text
/// recall@K = mean over queries q of |{x found for q: cos(q, x) ≥ cos(q, x_K)}| / K,     x_K the K-th nearest to q
/// ```
///
/// Those that search are in no index: a graph leads from a vector of its own straight to those that it was linked with, and
/// would find more than it does for others. Each K is a search of its own, so that a shortlist is as long, and a graph's list
/// of candidates as short, as it would be for who asks for K. Speeds are of the same queries once more. `observe` is told what
/// is worked on.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `labels`: `N`
///
/// # Errors
/// A number is not finite, there are fewer than two vectors, labels are not as many, or a K is 0 or more than are in the
/// index.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{CompressionOptions, compressions};
/// let points: Vec<f32> = (0..400).map(|i| ((i * i % 97) as f32).sin()).collect();
/// let options = CompressionOptions { ks: vec![1, 5], ..CompressionOptions::default() };
/// let found = compressions(Mat::new(&points, 25, 16), None, &options, &mut |_| {})?;
/// let [exact, .., graph] = found.rows.as_slice() else { unreachable!("there are several") };
/// assert_eq!((exact.name.as_str(), exact.bytes, exact.at[1].recall), ("exact", 1280, 1.0));
/// assert_eq!((graph.name.as_str(), graph.at[1].recall), ("HNSW, ef 512", 1.0));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn compressions(
    embeddings: Mat,
    labels: Option<&[u32]>,
    options: &CompressionOptions,
    observe: &mut dyn FnMut(&str),
) -> Result<Compressions, EvaluateError> {
    check(embeddings, labels, options)?;
    observe("searching exactly");
    let asked = Asked::new(embeddings, labels, options)?;
    let mut rows = Vec::new();
    for (kind, efforts) in kinds(embeddings.cols, options.seed) {
        observe(&format!("building {kind}"));
        let start = Instant::now();
        let mut index = kind
            .build(asked.gallery.vectors())
            .map_err(EvaluateError::Index)?;
        let build_seconds = start.elapsed().as_secs_f64();
        for effort in efforts {
            let kind = kind.with_effort(effort);
            observe(&format!("searching by {kind}"));
            index.set_effort(effort);
            let (at, labels) = asked.measure(&*index)?;
            rows.push(Compression {
                name: kind.to_string(),
                bytes_per_vector: index.bytes() as f64 / index.len() as f64,
                bytes: index.bytes(),
                build_seconds,
                at,
                labels,
            });
        }
    }
    Ok(Compressions {
        items: asked.gallery.items.len(),
        dim: embeddings.cols,
        queries: asked.queries.items.len(),
        threads: threads(),
        convention: convention(&asked, options.seed),
        rows,
    })
}

fn check(
    embeddings: Mat,
    labels: Option<&[u32]>,
    options: &CompressionOptions,
) -> Result<(), EvaluateError> {
    check_finite(embeddings)?;
    let rows = embeddings.rows;
    if rows < 2 || options.queries == 0 {
        return Err(EvaluateError::TooFewVectors {
            items: rows,
            queries: options.queries.min(rows),
        });
    }
    if let Some(labels) = labels.map(<[u32]>::len).filter(|&labels| labels != rows) {
        return Err(EvaluateError::Labels { rows, labels });
    }
    let others = rows - options.searching(rows);
    let wrong = |&&k: &&usize| k == 0 || k > others;
    // Nothing to search for is K = 0.
    let wrong = options.ks.iter().find(wrong).copied();
    match wrong.or(options.ks.is_empty().then_some(0)) {
        Some(k) => Err(EvaluateError::CutOff { k, others }),
        None => Ok(()),
    }
}

/// What is built, and how hard each is searched.
fn kinds(dim: usize, seed: u64) -> Vec<(Kind, Vec<usize>)> {
    let once = |kind| (kind, vec![0]);
    let eighth = (dim >= LONG).then_some(dim / 8);
    let cuts = [dim / 2, dim / 4].into_iter().chain(eighth);
    let cuts = cuts.filter(|&dim| dim >= LEAST);
    let graph = Parameters {
        seed,
        ..Parameters::default()
    };
    let mut kinds = vec![
        once(Kind::Flat),
        once(Kind::Int8),
        once(Kind::Binary),
        (
            Kind::RerankedByInt8 { factor: FACTORS[0] },
            FACTORS.to_vec(),
        ),
    ];
    kinds.extend(cuts.map(|dim| once(Kind::Truncated { dim })));
    kinds.push((Kind::Hnsw(graph), EFS.to_vec()));
    kinds
}

fn convention(asked: &Asked, seed: u64) -> String {
    let graph = Parameters::default();
    format!(
        "{} items drawn by seed {seed} search the other {} by cosine similarity, each K by a search of its own; top K: the share \
         of the K truly nearest that is found, equal scores count; ×4: of the 4 K best by bits; memory with all that a search reads; HNSW with M {}, \
         ef_construction {}, and an ef of at least K, built by one thread",
        asked.queries.items.len(),
        asked.gallery.items.len(),
        graph.m,
        graph.ef_construction
    )
}
