//! Search through a gallery that comes in parts.

use super::{Search, Similarity};
use crate::evaluate::EvaluateError;
use nearkin_kernels::{Mat, Neighbor};
use rayon::prelude::*;

/// The best `k` gallery rows of each query, while the gallery comes in a part at a time: memory holds one part.
///
/// A gallery that is in memory as a whole is searched by [`neighbors`](super::neighbors), with the same result.
///
/// ```
/// use nearkin::{Mat, search::{SearchInParts, Similarity}};
/// let queries = [1.0, 0.0];
/// let mut search = SearchInParts::new(Mat::new(&queries, 1, 2), Similarity::Cosine, 2);
/// search.add(Mat::new(&[0.0, 1.0, 0.6, 0.8], 2, 2))?;
/// search.add(Mat::new(&[2.0, 0.0], 1, 2))?;
/// assert_eq!(search.hits().next(), Some(vec![(2, 1.0), (1, 0.6)]));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub struct SearchInParts<'q> {
    queries: Mat<'q>,
    similarity: Similarity,
    k: usize,
    best: Vec<Vec<Neighbor>>,
    /// Gallery rows that came in.
    rows: usize,
}

impl<'q> SearchInParts<'q> {
    /// A search for `[Q, D]` queries, before any of the gallery.
    pub fn new(queries: Mat<'q>, similarity: Similarity, k: usize) -> Self {
        Self {
            queries,
            similarity,
            k,
            best: vec![Vec::new(); queries.rows],
            rows: 0,
        }
    }

    /// Searches the next `[N, D]` rows of the gallery.
    ///
    /// # Errors
    /// The widths differ, a number is not finite, or the gallery has more than 2³² rows.
    pub fn add(&mut self, part: Mat) -> Result<(), EvaluateError> {
        let total = self.rows + part.rows;
        let Ok(first) = u32::try_from(total).map(|_| self.rows as u32) else {
            return Err(EvaluateError::TooMany { found: total });
        };
        let search = Search::new(self.queries, part, self.similarity)?;
        let found = search.map(self.k, |_, found| found.to_vec());
        let k = self.k;
        let both = self.best.par_iter_mut().zip(found);
        both.for_each(|(best, found)| {
            best.extend(found.into_iter().map(|neighbor| Neighbor {
                index: first + neighbor.index,
                ..neighbor
            }));
            best.sort_unstable_by(Neighbor::order);
            best.truncate(k);
        });
        self.rows = total;
        Ok(())
    }

    /// The gallery row and likeness of each query's hits, the best first; ties go to the smaller row.
    pub fn hits(&self) -> impl ExactSizeIterator<Item = Vec<(usize, f32)>> {
        let pairs =
            |hits: &Vec<Neighbor>| hits.iter().map(|n| (n.index as usize, n.score)).collect();
        self.best.iter().map(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::neighbors;

    #[test]
    fn parts_give_what_the_whole_gallery_gives() {
        let number = |i: usize| (i * 7919 % 1009) as f32 / 500.0 - 1.0;
        let queries: Vec<f32> = (0..21).map(number).collect();
        // Rows repeat, so that there are ties across parts.
        let gallery: Vec<f32> = (0..600).map(|i| number(i % 240 + 30)).collect();
        let queries = Mat::new(&queries, 7, 3);
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let mut search = SearchInParts::new(queries, similarity, 9);
            for part in gallery.chunks(3 * 47) {
                search.add(Mat::new(part, part.len() / 3, 3)).unwrap();
            }
            let whole = neighbors(queries, Mat::new(&gallery, 200, 3), similarity, 9).unwrap();
            for (query, hits) in search.hits().enumerate() {
                assert_eq!(hits, whole.row(query).collect::<Vec<_>>(), "{similarity:?}");
            }
        }
    }

    #[test]
    fn a_part_of_another_width_is_refused() {
        let data = [1.0, 2.0];
        let mut search = SearchInParts::new(Mat::new(&data, 1, 2), Similarity::Dot, 1);
        assert!(search.add(Mat::new(&data, 2, 1)).is_err());
    }
}
