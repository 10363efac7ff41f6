//! Retrieval of queries in a gallery that comes in parts.

use super::relevance::{Relevance, Wanted};
use super::retrieval::{by, names, row_of};
use super::{EvaluateError, Options, QueryScores, Retrieval};
use crate::search::SearchInParts;
use nearkin_kernels::{Mat, Neighbor};
use rayon::prelude::*;

/// Bytes that the lists of what is found may take.
const LISTS: usize = 1 << 30;

/// Retrieval of queries in a gallery that comes in parts: memory holds one part, and for each query a list as long as the
/// largest class of the gallery.
///
/// # Example
/// ```
/// use nearkin::Mat;
/// use nearkin::evaluate::{GalleryRetrieval, Options};
/// let queries = [1.0, 0.1];
/// // The labels of the whole gallery come first: they say how many neighbors are looked for.
/// let mut search = GalleryRetrieval::new((Mat::new(&queries, 1, 2), &[7]), &[7, 5, 7], &Options::default())?;
/// search.add(Mat::new(&[1.0, 0.0, 0.0, 1.0], 2, 2))?;
/// search.add(Mat::new(&[-0.1, 1.0], 1, 2))?;
/// let found = search.finish()?;
/// // Of the two that are relevant the first is found first, the second is farther than the one that is not.
/// assert_eq!((found.queries, found.r_precision.value, found.map_at_r.value), (1, 0.5, 0.5));
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
pub struct GalleryRetrieval<'q> {
    search: SearchInParts<'q>,
    /// Of the queries and, after them, of the gallery.
    labels: Vec<u32>,
    queries: usize,
    /// Rows of the gallery that came in.
    rows: usize,
    options: Options,
}

impl<'q> GalleryRetrieval<'q> {
    /// For queries `[Q, D]` with a label each, and the labels of the whole gallery.
    ///
    /// # Errors
    /// The counts differ, nothing is relevant to any query, or the lists have no room: a GiB is allowed.
    pub fn new(
        (queries, labels): (Mat<'q>, &[u32]),
        gallery: &[u32],
        options: &Options,
    ) -> Result<Self, EvaluateError> {
        if labels.len() != queries.rows {
            return Err(EvaluateError::Labels {
                rows: queries.rows,
                labels: labels.len(),
            });
        }
        super::check_finite(queries)?;
        let labels = [labels, gallery].concat();
        let sides = sides(queries.rows, labels.len());
        let deepest = wanted(&labels, &sides).counts().into_iter().max();
        let Some(deepest) = deepest.filter(|&deepest| deepest > 0) else {
            return Err(EvaluateError::NothingRelevant {
                items: labels.len(),
            });
        };
        let most = options.ks.iter().copied().max().unwrap_or(0);
        let depth = deepest.max(most).min(gallery.len());
        // What is found in a part stands beside what was found before.
        let needed = 2 * queries.rows * depth * size_of::<Neighbor>();
        if needed > LISTS {
            return Err(EvaluateError::Lists {
                queries: queries.rows,
                depth,
                needed,
                allowed: LISTS,
            });
        }
        Ok(Self {
            search: SearchInParts::new(queries, options.similarity, depth),
            queries: queries.rows,
            labels,
            rows: 0,
            options: options.clone(),
        })
    }

    /// Searches the next rows of the gallery, `[N, D]`.
    ///
    /// # Errors
    /// The widths differ, or a number is not finite.
    pub fn add(&mut self, part: Mat) -> Result<(), EvaluateError> {
        self.search.add(part)?;
        self.rows += part.rows;
        Ok(())
    }

    /// The scores, once all of the gallery has come in.
    ///
    /// # Errors
    /// It has other rows than labels.
    pub fn finish(self) -> Result<Retrieval, EvaluateError> {
        let gallery = self.labels.len() - self.queries;
        if self.rows != gallery {
            return Err(EvaluateError::Labels {
                rows: self.rows,
                labels: gallery,
            });
        }
        let sides = sides(self.queries, self.labels.len());
        let wanted = wanted(&self.labels, &sides);
        let counts = wanted.counts();
        let hits: Vec<Vec<(usize, f32)>> = self.search.hits().collect();
        let rows = hits.into_par_iter().enumerate().map(|(query, found)| {
            let found = found.into_iter().map(|(row, _)| self.queries + row);
            (counts[query] > 0).then(|| row_of(&wanted.hits(query, found), &self.options.ks))
        });
        let rows: Vec<Option<Vec<f32>>> = rows.collect();
        let queries: Vec<usize> = (0..self.queries).filter(|&q| rows[q].is_some()).collect();
        let excluded = self.queries - queries.len();
        let scores = QueryScores {
            names: names(&self.options.ks),
            labels: queries.iter().map(|&query| self.labels[query]).collect(),
            queries,
            numbers: rows.into_iter().flatten().flatten().collect(),
        };
        let mut found = scores.retrieval(excluded, &self.options);
        found.convention = format!(
            "{} queries, each among {gallery} items of the gallery, by {}, exact, ties to the smaller index; {excluded} more have \
             nothing of their class there and are in no mean",
            found.queries,
            by(self.options.similarity)
        );
        Ok(found)
    }
}

/// The numbers of queries, and those of the gallery after them.
fn sides(queries: usize, all: usize) -> [Vec<usize>; 2] {
    [(0..queries).collect(), (queries..all).collect()]
}

fn wanted<'w>(labels: &'w [u32], [queries, gallery]: &'w [Vec<usize>; 2]) -> Wanted<'w> {
    Relevance::Classes(labels).wanted(queries, gallery)
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Searched};
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn parts_give_what_queries_and_gallery_give_in_one_matrix() {
        let mut rng = named_rng(2, "gallery");
        let (queries, gallery, dim) = (30, 211, 5);
        let numbers: Vec<f32> = (0..(queries + gallery) * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let labels: Vec<u32> = (0..queries + gallery)
            .map(|_| rng.random_range(0..9))
            .collect();
        let mut labels = labels;
        labels[3] = 77; // of no class of the gallery
        let options = Options::default();
        let roles: Vec<Role> = (0..queries + gallery)
            .map(|i| {
                if i < queries {
                    Role::Query
                } else {
                    Role::Gallery
                }
            })
            .collect();
        let whole = Searched {
            embeddings: Mat::new(&numbers, queries + gallery, dim),
            relevance: Relevance::Classes(&labels),
            roles: Some(&roles),
        };
        let whole = whole.retrieval(&options).unwrap();
        let (of_queries, of_gallery) = numbers.split_at(queries * dim);
        let both = (Mat::new(of_queries, queries, dim), &labels[..queries]);
        let mut search = GalleryRetrieval::new(both, &labels[queries..], &options).unwrap();
        for part in of_gallery.chunks(dim * 50) {
            search.add(Mat::new(part, part.len() / dim, dim)).unwrap();
        }
        let found = search.finish().unwrap();
        assert_eq!(found.scores, whole.scores);
        assert_eq!((found.queries, found.excluded), (queries - 1, 1));
        assert_eq!(found.map_at_r, whole.map_at_r);
        assert!(
            found.convention.contains("each among 211 items"),
            "{}",
            found.convention
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = [1.0, 2.0];
        let query = Mat::new(&one, 1, 2);
        let new = |labels: &[u32], gallery: &[u32]| {
            let found = GalleryRetrieval::new((query, labels), gallery, &Options::default());
            found.map(drop)
        };
        assert_eq!(
            new(&[1, 2], &[1]),
            Err(EvaluateError::Labels { rows: 1, labels: 2 })
        );
        assert_eq!(
            new(&[1], &[2, 3]),
            Err(EvaluateError::NothingRelevant { items: 3 })
        );
        let (many, labels) = (vec![1.0; 9000], vec![1; 9000]);
        let queries = (Mat::new(&many, 9000, 1), &labels[..]);
        let found = GalleryRetrieval::new(queries, &labels[..8000], &Options::default());
        let error = found.map(drop).unwrap_err().to_string();
        assert!(
            error.contains("8000 nearest of each take 1098 MiB, 1024 are allowed"),
            "{error}"
        );
        let mut search =
            GalleryRetrieval::new((query, &[1]), &[1, 1], &Options::default()).unwrap();
        search.add(query).unwrap();
        assert!(search.add(Mat::new(&one, 2, 1)).is_err());
        let unfinished = search.finish().map(drop);
        assert_eq!(
            unfinished,
            Err(EvaluateError::Labels { rows: 1, labels: 2 })
        );
    }
}
