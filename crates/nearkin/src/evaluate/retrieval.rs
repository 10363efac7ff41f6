//! Retrieval of items among themselves, or of queries among a gallery.

use super::at_k::{AtK, Hits, SCORES};
use super::bootstrap::{Estimate, Groups, Unit};
use super::relevance::Relevance;
use super::{EvaluateError, Options};
use crate::search::{Search, Similarity};
use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

/// How well items find others of their class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retrieval {
    /// The scores at each cut-off.
    pub at: Vec<AtK>,
    /// R-precision.
    pub r_precision: Estimate,
    /// MAP@R.
    pub map_at_r: Estimate,
    /// Means over classes of the means over their queries; absent where items have several labels.
    pub macro_average: Option<MacroAverage>,
    /// Queries behind the means.
    pub queries: usize,
    /// Queries for which nothing is relevant, such as items alone in their class: in no mean.
    pub excluded: usize,
    /// What was drawn anew for the intervals.
    pub unit: Unit,
    /// The conventions, in words.
    pub convention: String,
    /// The scores of each query.
    #[serde(skip)]
    pub scores: QueryScores,
}

impl Retrieval {
    /// Recall@K by K, as metric learning has it: a hit among the first K.
    pub fn recall(&self) -> impl ExactSizeIterator<Item = (usize, Estimate)> {
        self.at.iter().map(|at| (at.k, at.recall_at_k))
    }
}

/// Means over classes, each of as much weight as any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MacroAverage {
    /// Classes with a query.
    pub classes: usize,
    /// Recall@K by K.
    pub recall: Vec<(usize, f64)>,
    /// R-precision.
    pub r_precision: f64,
    /// MAP@R.
    pub map_at_r: f64,
}

/// The scores of each query, behind the means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryScores {
    /// Names of the columns, such as `Recall@1` and `MAP@R`.
    pub names: Vec<String>,
    /// Rows of the queries.
    pub queries: Vec<usize>,
    /// Their labels; empty where items have several.
    pub labels: Vec<u32>,
    /// `[queries, names]`, row-major.
    pub numbers: Vec<f32>,
}

/// The mean scores of the queries of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The label.
    pub label: u32,
    /// Queries.
    pub queries: usize,
    /// One for each name.
    pub scores: Vec<f32>,
}

impl QueryScores {
    /// One score of all queries.
    pub fn column(&self, at: usize) -> impl Iterator<Item = f32> {
        let rows = self.numbers.chunks_exact(self.names.len().max(1));
        rows.map(move |row| row[at])
    }

    /// The means of each class, in the order of labels; none where items have several labels.
    pub fn by_class(&self) -> Vec<ClassScores> {
        let columns = self.names.len();
        let means = Groups::of_labels(&self.numbers, columns, &self.labels).group_means();
        let mut labels = self.labels.clone();
        labels.sort_unstable();
        let of_classes = labels.chunk_by(|a, b| a == b);
        let means = means.chunks_exact(columns.max(1));
        let of_classes = of_classes.zip(means).map(|(labels, scores)| ClassScores {
            label: labels[0],
            queries: labels.len(),
            scores: scores.to_vec(),
        });
        of_classes.collect()
    }
}

/// What an item is in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It searches, and is searched for by others.
    Both,
    /// It searches alone.
    Query,
    /// It is searched through alone.
    Gallery,
    /// It is not there.
    Ignored,
}

/// Items, what is relevant to which, and which search.
#[derive(Clone, Copy, Debug)]
pub struct Searched<'a> {
    /// `[N, D]`
    pub embeddings: Mat<'a>,
    /// Which items are relevant to which.
    pub relevance: Relevance<'a>,
    /// What each item is; every item searches all others where absent.
    pub roles: Option<&'a [Role]>,
}

/// Every item searches all others; searched exactly and in blocks.
///
/// # Shapes
/// - `embeddings`: `[N, D]`, `labels`: `N`
///
/// # Errors
/// A number is not finite, the counts differ, or no class has two items.
pub fn retrieval(
    embeddings: Mat,
    labels: &[u32],
    options: &Options,
) -> Result<Retrieval, EvaluateError> {
    let searched = Searched {
        embeddings,
        relevance: Relevance::Classes(labels),
        roles: None,
    };
    searched.retrieval(options)
}

impl Searched<'_> {
    /// Searches exactly and in blocks. An item never finds itself, by index.
    ///
    /// # Errors
    /// A number is not finite, the counts differ, or nothing is relevant to any query.
    ///
    /// # Example
    /// ```
    /// use nearkin::Mat;
    /// use nearkin::evaluate::{Options, Relevance, Role, Searched};
    /// // A query among three others; it shares a label with the last two.
    /// let labels = [vec![0, 1], vec![2], vec![1], vec![0, 3]];
    /// let found = Searched {
    ///     embeddings: Mat::new(&[0.0, 0.1, 0.2, 0.3], 4, 1),
    ///     relevance: Relevance::Labels(&labels),
    ///     roles: Some(&[Role::Query, Role::Gallery, Role::Gallery, Role::Gallery]),
    /// };
    /// let options = Options { similarity: nearkin::search::Similarity::Euclidean, ..Options::default() };
    /// let found = found.retrieval(&options)?;
    /// assert_eq!((found.queries, found.r_precision.value), (1, 0.5));
    /// # Ok::<(), nearkin::evaluate::EvaluateError>(())
    /// ```
    pub fn retrieval(&self, options: &Options) -> Result<Retrieval, EvaluateError> {
        let (count, labels) = (self.embeddings.rows, self.relevance.count());
        for other in [Some(labels), self.roles.map(<[Role]>::len)] {
            if let Some(labels) = other.filter(|&other| other != count) {
                return Err(EvaluateError::Labels {
                    rows: count,
                    labels,
                });
            }
        }
        let is = |roles: [Role; 2]| {
            let of = |item: &usize| self.roles.is_none_or(|of| roles.contains(&of[*item]));
            (0..count).filter(of).collect::<Vec<usize>>()
        };
        let sides = Sides {
            queries: is([Role::Both, Role::Query]),
            gallery: is([Role::Both, Role::Gallery]),
        };
        if sides.queries.is_empty() || sides.gallery.is_empty() {
            return Err(EvaluateError::Sides {
                queries: sides.queries.len(),
                gallery: sides.gallery.len(),
            });
        }
        let scores = self.scores(&sides, options)?;
        let excluded = sides.queries.len() - scores.queries.len();
        let mut found = scores.retrieval(excluded, options);
        if self.roles.is_some() || found.scores.labels.is_empty() {
            found.convention = format!(
                "{} queries, each among {} items, itself left out, by {}, exact, ties to the smaller index; {excluded} \
                 more find nothing relevant there and are in no mean",
                found.queries,
                sides.gallery.len(),
                by(options.similarity)
            );
        }
        Ok(found)
    }

    fn scores(&self, sides: &Sides, options: &Options) -> Result<QueryScores, EvaluateError> {
        let wanted = self.relevance.wanted(&sides.queries, &sides.gallery);
        let counts = wanted.counts();
        let deepest = counts.iter().copied().max().unwrap_or(0);
        if deepest == 0 {
            return Err(EvaluateError::NothingRelevant {
                items: self.embeddings.rows,
            });
        }
        let depth = deepest.max(options.ks.iter().copied().max().unwrap_or(0));
        let search = sides.search(self.embeddings, options.similarity)?;
        // Where queries and gallery are lists of their own, an item in both finds itself.
        let spare = usize::from(self.roles.is_some());
        let found = search.map(depth + spare, |query, neighbors| {
            let item = sides.queries[query];
            let others = neighbors.iter().map(|n| sides.gallery[n.index as usize]);
            let others = others.filter(|&other| other != item);
            (counts[query] > 0).then(|| row_of(&wanted.hits(query, others), &options.ks))
        });
        let kept = found
            .iter()
            .zip(&sides.queries)
            .filter(|(f, _)| f.is_some());
        let queries: Vec<usize> = kept.map(|(_, &query)| query).collect();
        Ok(QueryScores {
            names: names(&options.ks),
            labels: self.relevance.classes_of(&queries),
            queries,
            numbers: found.into_iter().flatten().flatten().collect(),
        })
    }
}

/// The scores of a query, in the order of [`names`].
pub(super) fn row_of(hits: &Hits, ks: &[usize]) -> Vec<f32> {
    let at = ks.iter().flat_map(|&k| hits.at(k));
    at.chain(hits.at_relevant()).collect()
}

/// Items that search, and items that are searched through.
struct Sides {
    queries: Vec<usize>,
    gallery: Vec<usize>,
}

impl Sides {
    fn search(&self, items: Mat, similarity: Similarity) -> Result<Search, EvaluateError> {
        let all = |side: &[usize]| side.len() == items.rows;
        if all(&self.queries) && all(&self.gallery) {
            return Search::among(items, similarity);
        }
        super::check_finite(items)?;
        let rows = |side: &[usize]| {
            let row = |&item: &usize| &items.data[item * items.cols..(item + 1) * items.cols];
            side.iter().flat_map(row).copied().collect::<Vec<f32>>()
        };
        let (queries, gallery) = (rows(&self.queries), rows(&self.gallery));
        Search::new(
            Mat::new(&queries, self.queries.len(), items.cols),
            Mat::new(&gallery, self.gallery.len(), items.cols),
            similarity,
        )
    }
}

pub(super) fn names(ks: &[usize]) -> Vec<String> {
    const OF: [&str; SCORES] = [
        "Recall",
        "precision",
        "coverage",
        "MRR",
        "nDCG",
        "MAP",
        "MAP/R",
        "MAP/F",
    ];
    let at = ks.iter().flat_map(|k| OF.map(|name| format!("{name}@{k}")));
    at.chain(["R-precision".to_owned(), "MAP@R".to_owned()])
        .collect()
}

impl QueryScores {
    /// The means, with intervals.
    pub(super) fn retrieval(self, excluded: usize, options: &Options) -> Retrieval {
        let columns = self.names.len();
        let by_class = options.unit == Unit::Class && !self.labels.is_empty();
        let groups = if by_class {
            Groups::of_labels(&self.numbers, columns, &self.labels)
        } else {
            Groups::of_rows(&self.numbers, columns)
        };
        let means = groups.estimates(options.resamples, options.seed);
        let at = options.ks.iter().zip(means.chunks_exact(SCORES));
        let at = at.map(|(&k, means)| AtK::new(k, std::array::from_fn(|score| means[score])));
        let queries = self.queries.len();
        Retrieval {
            at: at.collect(),
            r_precision: means[columns - 2],
            map_at_r: means[columns - 1],
            macro_average: self.macro_average(&options.ks),
            queries,
            excluded,
            unit: if by_class { Unit::Class } else { Unit::Query },
            convention: convention(options, queries, excluded),
            scores: self,
        }
    }

    fn macro_average(&self, ks: &[usize]) -> Option<MacroAverage> {
        if self.labels.is_empty() {
            return None;
        }
        let classes = self.by_class();
        let mean = |at: usize| {
            let scores = classes.iter().map(|class| f64::from(class.scores[at]));
            scores.sum::<f64>() / classes.len() as f64
        };
        let columns = self.names.len();
        Some(MacroAverage {
            classes: classes.len(),
            recall: (0..)
                .zip(ks)
                .map(|(at, &k)| (k, mean(at * SCORES)))
                .collect(),
            r_precision: mean(columns - 2),
            map_at_r: mean(columns - 1),
        })
    }
}

pub(super) fn by(similarity: Similarity) -> &'static str {
    match similarity {
        Similarity::Cosine => "cosine similarity",
        Similarity::Dot => "dot product",
        Similarity::Euclidean => "Euclidean distance",
    }
}

fn convention(options: &Options, queries: usize, excluded: usize) -> String {
    let similarity = by(options.similarity);
    format!(
        "{queries} queries, each among all other items by {similarity}, exact, ties to the smaller index; \
         {excluded} items alone in their class are no queries"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Similarity;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn options() -> Options {
        Options {
            ks: vec![1, 2, 5, 10],
            similarity: Similarity::Euclidean,
            resamples: 0,
            ..Options::default()
        }
    }

    /// Slow and plain: a full sort for each query; R-precision, MAP@R and Recall@K by their definitions.
    fn reference(rows: &[Vec<f64>], labels: &[u32], ks: &[usize]) -> (f64, f64, Vec<f64>) {
        let (mut r_precision, mut map, mut recall, mut queries) =
            (0.0, 0.0, vec![0.0; ks.len()], 0.0);
        for q in 0..rows.len() {
            let mut others: Vec<usize> = (0..rows.len()).filter(|&j| j != q).collect();
            let d = |j: usize| {
                rows[q]
                    .iter()
                    .zip(&rows[j])
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
            };
            others.sort_by(|&a, &b| d(a).total_cmp(&d(b)).then(a.cmp(&b)));
            let rel = |i: usize| {
                if labels[others[i - 1]] == labels[q] {
                    1.0
                } else {
                    0.0
                }
            };
            let r = others.iter().filter(|&&j| labels[j] == labels[q]).count();
            if r == 0 {
                continue;
            }
            queries += 1.0;
            let p = |i: usize| (1..=i).map(rel).sum::<f64>() / i as f64;
            r_precision += p(r);
            map += (1..=r).map(|i| rel(i) * p(i)).sum::<f64>() / r as f64;
            for (sum, &k) in recall.iter_mut().zip(ks) {
                *sum += if (1..=k.min(others.len())).any(|i| rel(i) > 0.0) {
                    1.0
                } else {
                    0.0
                };
            }
        }
        (
            r_precision / queries,
            map / queries,
            recall.iter().map(|s| s / queries).collect(),
        )
    }

    /// Points on a small grid, so that many distances are equal and exact in f32.
    fn grid(count: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<u32>) {
        let mut rng = named_rng(seed, "grid");
        let points = (0..count)
            .map(|_| (0..2).map(|_| f64::from(rng.random_range(0..6))).collect())
            .collect();
        // Unequal classes, some of one item.
        let labels = (0..count).map(|i| {
            if i % 17 == 0 {
                100 + i as u32
            } else {
                (i * i % 7) as u32
            }
        });
        (points, labels.collect())
    }

    #[test]
    fn metrics_equal_a_full_sort_with_ties_and_unequal_classes() {
        for seed in 0..4 {
            let (points, labels) = grid(150, seed);
            let flat: Vec<f32> = points.iter().flatten().map(|&x| x as f32).collect();
            let result = retrieval(Mat::new(&flat, 150, 2), &labels, &options()).unwrap();
            let (r_precision, map, recall) = reference(&points, &labels, &options().ks);
            assert!((result.r_precision.value - r_precision).abs() < 1e-6);
            assert!((result.map_at_r.value - map).abs() < 1e-6);
            for ((k, estimate), expected) in result.recall().zip(recall) {
                assert!((estimate.value - expected).abs() < 1e-6, "Recall@{k}");
            }
            assert_eq!(result.excluded, 9);
        }
    }

    #[test]
    fn the_reported_metrics_equal_a_full_sort_by_cosine_with_doubles_in_other_classes() {
        // Each vector three times, so that every query ties with its doubles and must not find itself.
        let (distinct, dim) = (60, 5);
        let mut rng = named_rng(5, "doubles");
        let base: Vec<f32> = (0..distinct * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let flat = [base.clone(), base.clone(), base].concat();
        let count = 3 * distinct;
        // Items 0, 25, 50, … are alone in their class.
        let label = |i: usize| {
            if i.is_multiple_of(25) {
                1000 + i
            } else {
                i * 7 % 13
            }
        };
        let labels: Vec<u32> = (0..count).map(|i| label(i) as u32).collect();
        let unit = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|&x| x.into()).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect()
        };
        let points: Vec<Vec<f64>> = flat.chunks(dim).map(unit).collect();
        let reported = Options::default();
        assert_eq!(reported.ks, [1, 2, 4, 8]);
        let result = retrieval(Mat::new(&flat, count, dim), &labels, &reported).unwrap();
        let (r_precision, map, recall) = reference(&points, &labels, &reported.ks);
        assert!((result.r_precision.value - r_precision).abs() < 1e-6);
        assert!((result.map_at_r.value - map).abs() < 1e-6);
        for ((k, estimate), expected) in result.recall().zip(recall) {
            assert!((estimate.value - expected).abs() < 1e-6, "Recall@{k}");
        }
        assert_eq!((result.queries, result.excluded), (172, 8));
        assert!(
            result.convention.contains("172 queries")
                && result.convention.contains("8 items alone"),
            "{}",
            result.convention
        );
    }

    #[test]
    fn renamed_classes_change_nothing() {
        let (points, labels) = grid(80, 9);
        let flat: Vec<f32> = points.iter().flatten().map(|&x| x as f32).collect();
        let renamed: Vec<u32> = labels.iter().map(|l| 1_000_000 - l).collect();
        let value = |labels: &[u32]| {
            retrieval(Mat::new(&flat, 80, 2), labels, &options())
                .unwrap()
                .map_at_r
        };
        assert_eq!(value(&labels), value(&renamed));
    }
}
