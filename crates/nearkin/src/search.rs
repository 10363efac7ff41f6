//! Exact nearest neighbors, in blocks: the whole matrix of similarities is never in memory.

mod in_parts;

pub use in_parts::SearchInParts;

use crate::evaluate::EvaluateError;
use nearkin_kernels::{Beta, Mat, MatMut, Neighbor, TopK, gemm_sequential, normalize_rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

/// Queries of one block: enough rows for an efficient product.
const QUERIES: usize = 64;
/// Gallery rows of one block: a block of similarities stays in the cache.
const GALLERY: usize = 1024;
/// Items on each side of a block of similarities among themselves.
const SIDE: usize = 512;
/// Bytes for the lists of all items at once, which such blocks need.
const LISTS: usize = 1 << 30;
/// Similarities of one block of whole rows: 16 MiB for each thread, or one row where that is longer.
const ROWS: usize = 1 << 22;

/// How alike two vectors are; larger is closer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `q·g / (‖q‖ ‖g‖)`; 0 with a zero vector.
    #[default]
    Cosine,
    /// `q·g`.
    Dot,
    /// `−‖q − g‖²`.
    Euclidean,
}

impl Similarity {
    /// The name in recipes and in the settings of sentence encoders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
        }
    }

    /// A similarity as it is shown: of `Euclidean` the negative distance `−‖q − g‖`, as sentence-transformers has it, which ranks
    /// as its square does.
    ///
    /// ```
    /// use nearkin::search::Similarity;
    /// assert_eq!(Similarity::Euclidean.shown(-4.0), -2.0);
    /// assert_eq!(Similarity::Dot.shown(-4.0), -4.0);
    /// ```
    pub fn shown(self, similarity: f32) -> f32 {
        if self == Self::Euclidean {
            -(-similarity).sqrt()
        } else {
            similarity
        }
    }
}

/// The nearest gallery rows of each query, the nearest first.
#[derive(Clone, Debug)]
pub struct Neighbors(Vec<Vec<Neighbor>>);

impl Neighbors {
    /// Gallery index and similarity of the neighbors of query `query`.
    pub fn row(&self, query: usize) -> impl ExactSizeIterator<Item = (usize, f32)> {
        self.0[query].iter().map(|n| (n.index as usize, n.score))
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The `k` nearest gallery rows of every query, exactly; ties go to the smaller index.
///
/// # Shapes
/// - `query`: `[Q, D]`, `gallery`: `[N, D]`
///
/// # Errors
/// The widths differ, or a number is not finite.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::search::{Similarity, neighbors};
/// let gallery = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let found = neighbors(Mat::new(&[2.0, 0.0], 1, 2), Mat::new(&gallery, 3, 2), Similarity::Cosine, 2)?;
/// assert_eq!(found.row(0).collect::<Vec<_>>(), [(0, 1.0), (2, 0.6)]);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn neighbors(
    query: Mat,
    gallery: Mat,
    similarity: Similarity,
    k: usize,
) -> Result<Neighbors, EvaluateError> {
    let search = Search::new(query, gallery, similarity)?;
    Ok(Neighbors(search.map(k, |_, found| found.to_vec())))
}

/// The `k` nearest others of every item, exactly; none finds itself, by index, and ties go to the smaller index.
///
/// The similarity of two items is computed once for both, unless the lists of all items together take more than a GiB.
///
/// # Shapes
/// - `items`: `[N, D]`
///
/// # Errors
/// A number is not finite.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::search::{Similarity, neighbors_among};
/// let found = neighbors_among(Mat::new(&[0.0, 1.0, 3.0], 3, 1), Similarity::Euclidean, 1)?;
/// assert_eq!(found.row(2).collect::<Vec<_>>(), [(1, -4.0)]);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub fn neighbors_among(
    items: Mat,
    similarity: Similarity,
    k: usize,
) -> Result<Neighbors, EvaluateError> {
    let search = Search::among(items, similarity)?;
    Ok(Neighbors(search.map(k, |_, found| found.to_vec())))
}

/// A search made ready: vectors as the similarity needs them.
pub(crate) struct Search {
    query: Prepared,
    /// `None` where items are searched among themselves.
    gallery: Option<Prepared>,
    dim: usize,
    similarity: Similarity,
}

/// Rows with their squared norms.
struct Prepared {
    rows: Vec<f32>,
    squares: Vec<f32>,
    count: usize,
}

impl Search {
    /// Queries among other items.
    pub fn new(query: Mat, gallery: Mat, similarity: Similarity) -> Result<Self, EvaluateError> {
        if query.cols != gallery.cols {
            return Err(EvaluateError::Width {
                query: query.cols,
                gallery: gallery.cols,
            });
        }
        crate::evaluate::check_finite(query)?;
        crate::evaluate::check_finite(gallery)?;
        Ok(Self {
            query: Prepared::new(query, similarity),
            gallery: Some(Prepared::new(gallery, similarity)),
            dim: query.cols,
            similarity,
        })
    }

    /// Each item among all others; none finds itself.
    pub fn among(items: Mat, similarity: Similarity) -> Result<Self, EvaluateError> {
        crate::evaluate::check_finite(items)?;
        Ok(Self {
            query: Prepared::new(items, similarity),
            gallery: None,
            dim: items.cols,
            similarity,
        })
    }

    fn gallery(&self) -> &Prepared {
        self.gallery.as_ref().unwrap_or(&self.query)
    }

    /// Calls `work` with each query and its `k` neighbors, in parallel; results in the order of queries.
    pub fn map<T: Send>(&self, k: usize, work: impl Fn(usize, &[Neighbor]) -> T + Sync) -> Vec<T> {
        let count = self.query.count;
        if self.gallery.is_none() && TopK::bytes(count, k, count) <= LISTS {
            return self.map_among(k, work);
        }
        let blocks = (0..count).step_by(QUERIES).collect::<Vec<_>>();
        let results = blocks.into_par_iter().map(|first| {
            let lists = self.block(first, k).finish().into_iter().enumerate();
            let each = lists.map(|(at, list)| work(first + at, &list));
            each.collect::<Vec<_>>()
        });
        results.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// [`Search::map`] of items among themselves: the similarity of two items is computed once for both.
    fn map_among<T: Send>(
        &self,
        k: usize,
        work: impl Fn(usize, &[Neighbor]) -> T + Sync,
    ) -> Vec<T> {
        let count = self.query.count;
        let blocks: Vec<(usize, usize)> = (0..count)
            .step_by(SIDE)
            .map(|first| (first, SIDE.min(count - first)))
            .collect();
        let best = blocks.iter().map(|block| TopK::new(block.1, k, count));
        let best: Vec<Mutex<TopK>> = best.map(Mutex::new).collect();
        let pairs = (0..blocks.len()).flat_map(|a| (a..blocks.len()).map(move |b| (a, b)));
        let pairs: Vec<(usize, usize)> = pairs.collect();
        // What a list holds in the end does not depend on the order in which it was offered.
        let lock = |block: usize| best[block].lock().unwrap_or_else(PoisonError::into_inner);
        pairs.into_par_iter().for_each_init(
            || vec![0.0; SIDE * SIDE],
            |tile, (a, b)| {
                let tile = &mut tile[..blocks[a].1 * blocks[b].1];
                self.panel(blocks[a], blocks[b], tile);
                lock(a).offer_rows(tile, blocks[b].0 as u32);
                if a != b {
                    lock(b).offer_columns(tile, blocks[a].0 as u32);
                }
            },
        );
        let results = best.into_par_iter().zip(blocks).map(|(best, (first, _))| {
            let best = best.into_inner().unwrap_or_else(PoisonError::into_inner);
            let lists = best.finish().into_iter().enumerate();
            let each = lists.map(|(at, list)| work(first + at, &list));
            each.collect::<Vec<_>>()
        });
        results.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// Calls `work` with each query and its similarity to every gallery row, in parallel; results in the order of queries. Of
    /// items among themselves an item's similarity to itself is NaN.
    ///
    /// Rows of similarities are made in blocks of bounded size: the matrix of all is never in memory.
    pub fn rows<T: Send>(&self, work: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let all = self.gallery().count;
        let queries = (ROWS / all.max(1)).clamp(1, QUERIES);
        let blocks = (0..self.query.count).step_by(queries).collect::<Vec<_>>();
        let results = blocks.into_par_iter().map(|first| {
            let count = queries.min(self.query.count - first);
            let (mut rows, mut panel) = (vec![0.0; count * all], vec![0.0; count * GALLERY]);
            for start in (0..all).step_by(GALLERY) {
                let width = GALLERY.min(all - start);
                let panel = &mut panel[..count * width];
                self.panel((first, count), (start, width), panel);
                for (row, scores) in rows.chunks_exact_mut(all).zip(panel.chunks_exact(width)) {
                    row[start..start + width].copy_from_slice(scores);
                }
            }
            let each = (0..count).map(|at| work(first + at, &rows[at * all..(at + 1) * all]));
            each.collect::<Vec<_>>()
        });
        results.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// The best `k` of each query of a block.
    fn block(&self, first: usize, k: usize) -> TopK {
        let queries = QUERIES.min(self.query.count - first);
        let all = self.gallery().count;
        let mut best = TopK::new(queries, k, all);
        let mut scores = vec![0.0; queries * GALLERY];
        for start in (0..all).step_by(GALLERY) {
            let width = GALLERY.min(all - start);
            let scores = &mut scores[..queries * width];
            self.panel((first, queries), (start, width), scores);
            best.offer_rows(scores, start as u32);
        }
        best
    }

    /// The similarities of some queries to some gallery rows, each given by the first and their number.
    fn panel(
        &self,
        (first, queries): (usize, usize),
        (start, width): (usize, usize),
        scores: &mut [f32],
    ) {
        let gallery = self.gallery();
        let rows = &self.query.rows[first * self.dim..(first + queries) * self.dim];
        let others = &gallery.rows[start * self.dim..(start + width) * self.dim];
        let (a, b) = (
            Mat::new(rows, queries, self.dim),
            Mat::new(others, width, self.dim),
        );
        let product = MatMut::new(scores, queries, width);
        gemm_sequential(product, Beta::Overwrite, 1.0, a, b.t());
        if self.similarity == Similarity::Euclidean {
            for (at, scores) in scores.chunks_exact_mut(width).enumerate() {
                let own = self.query.squares[first + at];
                let squares = &gallery.squares[start..start + width];
                // Both squares in one sum, so that u is as far from v as v is from u.
                scores
                    .iter_mut()
                    .zip(squares)
                    .for_each(|(s, g)| *s = (2.0 * *s - (own + g)).min(0.0));
            }
        }
        if self.gallery.is_none() {
            let both = first.max(start)..(first + queries).min(start + width);
            both.for_each(|item| scores[(item - first) * width + item - start] = f32::NAN);
        }
    }
}

impl Prepared {
    fn new(matrix: Mat, similarity: Similarity) -> Self {
        let mut rows = matrix.data.to_vec();
        let mut squares = Vec::new();
        match similarity {
            Similarity::Cosine => {
                normalize_rows(
                    matrix.data,
                    matrix.cols,
                    &mut rows,
                    &mut vec![0.0; matrix.rows],
                );
            }
            Similarity::Euclidean => {
                squares = rows
                    .chunks_exact(matrix.cols)
                    .map(|row| row.iter().map(|x| x * x).sum())
                    .collect();
            }
            Similarity::Dot => {}
        }
        Self {
            rows,
            squares,
            count: matrix.rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn random(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = named_rng(seed, "search");
        (0..rows * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    }

    /// Slow and plain: every similarity in f64, sorted.
    fn reference(
        query: &[f32],
        gallery: &[f32],
        dim: usize,
        similarity: Similarity,
    ) -> Vec<Vec<(usize, f64)>> {
        let score = |q: &[f32], g: &[f32]| {
            let sum = |f: &dyn Fn(f64, f64) -> f64| {
                q.iter()
                    .zip(g)
                    .map(|(&a, &b)| f(a.into(), b.into()))
                    .sum::<f64>()
            };
            match similarity {
                Similarity::Dot => sum(&|a, b| a * b),
                Similarity::Cosine => {
                    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
                }
                Similarity::Euclidean => -sum(&|a, b| (a - b) * (a - b)),
            }
        };
        let ranked = query.chunks(dim).map(|q| {
            let mut all: Vec<(usize, f64)> = gallery
                .chunks(dim)
                .map(|g| score(q, g))
                .enumerate()
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all
        });
        ranked.collect()
    }

    #[test]
    fn blocks_give_the_neighbors_of_a_full_sort() {
        let dim = 7;
        let (query, gallery) = (random(70, dim, 1), random(2100, dim, 2));
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let found = neighbors(
                Mat::new(&query, 70, dim),
                Mat::new(&gallery, 2100, dim),
                similarity,
                9,
            )
            .unwrap();
            for (at, expected) in reference(&query, &gallery, dim, similarity)
                .iter()
                .enumerate()
            {
                for ((index, score), (wanted, value)) in found.row(at).zip(expected) {
                    assert_eq!(index, *wanted, "{similarity:?}, query {at}");
                    assert!((f64::from(score) - value).abs() < 1e-5, "{similarity:?}");
                }
            }
        }
    }

    #[test]
    fn euclidean_similarities_are_shown_as_distances() {
        let (query, gallery) = ([0.0, 0.0], [3.0, 4.0]);
        let found = neighbors(
            Mat::new(&query, 1, 2),
            Mat::new(&gallery, 1, 2),
            Similarity::Euclidean,
            1,
        );
        let (_, squared) = found.unwrap().row(0).next().unwrap();
        assert_eq!(
            (squared, Similarity::Euclidean.shown(squared)),
            (-25.0, -5.0)
        );
        for other in [Similarity::Cosine, Similarity::Dot] {
            assert_eq!(other.shown(-0.25), -0.25);
        }
    }

    #[test]
    fn whole_rows_hold_what_neighbors_say() {
        let dim = 7;
        let (query, gallery) = (random(70, dim, 1), random(2100, dim, 2));
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let matrices = (Mat::new(&query, 70, dim), Mat::new(&gallery, 2100, dim));
            let search = Search::new(matrices.0, matrices.1, similarity).unwrap();
            let rows = search.rows(|query, scores| (query, scores.to_vec()));
            let found = neighbors(matrices.0, matrices.1, similarity, 9).unwrap();
            assert_eq!(rows.len(), 70);
            for (at, (query, scores)) in rows.iter().enumerate() {
                assert_eq!((at, scores.len()), (*query, 2100));
                for (index, score) in found.row(at) {
                    assert_eq!(score, scores[index] + 0.0);
                    assert!(scores.iter().filter(|s| **s > score).count() < 9);
                }
            }
        }
    }

    #[test]
    fn equal_vectors_tie_wherever_they_lie_and_go_by_index() {
        // Three copies of each of 700 vectors: copies fall into different blocks and into their edges.
        let (dim, distinct) = (13, 700);
        let base = random(distinct, dim, 3);
        let gallery = [base.clone(), base.clone(), base.clone()].concat();
        let (rows, query) = (3 * distinct, random(65, dim, 4));
        let search = Search::new(
            Mat::new(&query, 65, dim),
            Mat::new(&gallery, rows, dim),
            Similarity::Cosine,
        )
        .unwrap();
        let lists = search.map(9, |_, found| {
            found.iter().map(|n| n.index as usize).collect::<Vec<_>>()
        });
        for list in lists {
            for triple in list.chunks(3) {
                assert_eq!(
                    [triple[1], triple[2]],
                    [triple[0] + distinct, triple[0] + 2 * distinct],
                    "{list:?}"
                );
            }
        }
    }

    #[test]
    fn an_item_is_excluded_by_index_and_not_its_double() {
        let gallery = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let matrix = Mat::new(&gallery, 3, 2);
        let search = Search::among(matrix, Similarity::Cosine).unwrap();
        let first = search.map(1, |_, found| found[0].index);
        assert_eq!(first, [1, 0, 0]);
    }

    #[test]
    fn items_among_themselves_find_what_a_full_sort_without_them_does() {
        // More than two blocks, each vector twice, so that doubles tie within and across blocks.
        let (dim, distinct) = (5, 600);
        let base = random(distinct, dim, 7);
        let items = [base.clone(), base].concat();
        let matrix = Mat::new(&items, 2 * distinct, dim);
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let search = Search::among(matrix, similarity).unwrap();
            for k in [1, 40] {
                let found = search.map(k, |item, list| (item, list.to_vec()));
                let whole = search.rows(|_, scores| {
                    let mut best = TopK::new(1, k, scores.len());
                    best.offer_rows(scores, 0);
                    best.finish().remove(0)
                });
                let sorted = reference(&items, &items, dim, similarity);
                for (at, (item, list)) in found.iter().enumerate() {
                    assert_eq!((at, list.len()), (*item, k));
                    assert_eq!(*list, whole[at], "{similarity:?}");
                    let others = sorted[at].iter().filter(|(other, _)| *other != at);
                    for (neighbor, (_, value)) in list.iter().zip(others) {
                        assert!(neighbor.index as usize != at);
                        assert!((f64::from(neighbor.score) - value).abs() < 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn more_neighbors_than_items_are_all_items() {
        let matrix = Mat::new(&[1.0, 2.0, 3.0], 3, 1);
        assert_eq!(
            neighbors(matrix, matrix, Similarity::Euclidean, 10)
                .unwrap()
                .row(1)
                .len(),
            3
        );
    }

    #[test]
    fn widths_and_numbers_are_checked() {
        let (a, b) = ([1.0, 2.0], [f32::NAN]);
        assert!(neighbors(Mat::new(&a, 1, 2), Mat::new(&a, 2, 1), Similarity::Dot, 1).is_err());
        let error = neighbors(Mat::new(&b, 1, 1), Mat::new(&a, 2, 1), Similarity::Dot, 1)
            .unwrap_err()
            .to_string();
        assert!(error.contains("row 0, column 0"), "{error}");
    }
}
