//! Which items are relevant to which.

use super::at_k::Hits;
use rayon::prelude::*;
use std::collections::HashMap;

/// Which items are relevant to which: those that have a label in common.
#[derive(Clone, Copy, Debug)]
pub enum Relevance<'a> {
    /// Each item is of one class.
    Classes(&'a [u32]),
    /// Each item has any number of labels. For nDCG the gain is the number of labels that two items share.
    Labels(&'a [Vec<u32>]),
}

impl<'a> Relevance<'a> {
    /// Items.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Labels(labels) => labels.len(),
        }
    }

    /// The classes of some items; none where items have several labels.
    pub(super) fn classes_of(self, items: &[usize]) -> Vec<u32> {
        match self {
            Self::Classes(labels) => items.iter().map(|&item| labels[item]).collect(),
            Self::Labels(_) => Vec::new(),
        }
    }

    fn labels(&self, item: usize) -> &'a [u32] {
        match self {
            Self::Classes(labels) => &labels[item..=item],
            Self::Labels(labels) => &labels[item],
        }
    }

    /// What each of some items looks for in a gallery.
    pub(super) fn wanted<'w>(self, queries: &'w [usize], gallery: &[usize]) -> Wanted<'w>
    where
        'a: 'w,
    {
        let mut with: HashMap<u32, Vec<usize>> = HashMap::new();
        for &item in gallery {
            let mut labels = self.labels(item).to_vec();
            labels.sort_unstable();
            labels.dedup();
            for label in labels {
                with.entry(label).or_default().push(item);
            }
        }
        Wanted {
            relevance: self,
            queries,
            with,
        }
    }
}

/// What each of some items looks for in a gallery.
pub(super) struct Wanted<'a> {
    relevance: Relevance<'a>,
    queries: &'a [usize],
    /// The items of the gallery that have a label.
    with: HashMap<u32, Vec<usize>>,
}

impl Wanted<'_> {
    /// How many items are relevant to each query.
    pub fn counts(&self) -> Vec<usize> {
        let queries = 0..self.queries.len();
        queries
            .into_par_iter()
            .map(|query| match self.relevance {
                Relevance::Classes(labels) => {
                    let item = self.queries[query];
                    let kin = self.with.get(&labels[item]).map_or(&[][..], Vec::as_slice);
                    // Lists are in the order of the gallery, which rises.
                    kin.len() - usize::from(kin.binary_search(&item).is_ok())
                }
                Relevance::Labels(_) => self.shared(query).len(),
            })
            .collect()
    }

    /// What a query found, given the items in the order in which it found them.
    pub fn hits(&self, query: usize, found: impl Iterator<Item = usize>) -> Hits {
        let ranked = (1..).zip(found);
        let item = self.queries[query];
        match self.relevance {
            Relevance::Classes(labels) => {
                let kin = self.with.get(&labels[item]).map_or(&[][..], Vec::as_slice);
                let is_kin = |(rank, other)| (labels[other] == labels[item]).then_some((rank, 1.0));
                Hits {
                    found: ranked.filter_map(is_kin).collect(),
                    relevant: kin.len() - usize::from(kin.binary_search(&item).is_ok()),
                    gains: Vec::new(),
                }
            }
            Relevance::Labels(_) => {
                let shared = self.shared(query);
                let gain = |(rank, other)| shared.get(&other).map(|&gain| (rank, gain));
                let found = ranked.filter_map(gain).collect();
                let mut gains: Vec<f32> = shared.values().copied().collect();
                gains.sort_unstable_by(|a, b| b.total_cmp(a));
                Hits {
                    found,
                    relevant: gains.len(),
                    gains,
                }
            }
        }
    }

    /// The items that have labels in common with a query, and how many.
    fn shared(&self, query: usize) -> HashMap<usize, f32> {
        let item = self.queries[query];
        let mut labels = self.relevance.labels(item).to_vec();
        labels.sort_unstable();
        labels.dedup();
        let lists = labels.iter().filter_map(|label| self.with.get(label));
        let mut shared = HashMap::new();
        for &other in lists.flatten().filter(|&&other| other != item) {
            *shared.entry(other).or_default() += 1.0;
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EvaluateError, Options, Role, Searched};
    use super::*;
    use crate::search::Similarity;
    use nearkin_encoder::parameters::named_rng;
    use nearkin_kernels::Mat;
    use rand::RngExt;

    /// Coverage, nDCG and MAP over R at `k` by their definitions, mean over queries, of items on a line.
    fn reference(
        points: &[f32],
        labels: &[Vec<u32>],
        roles: &[Role],
        k: usize,
    ) -> ([f64; 3], usize) {
        let (mut sums, mut queries) = ([0.0; 3], 0);
        let is = |item: usize, role| [Role::Both, role].contains(&roles[item]);
        for q in (0..points.len()).filter(|&q| is(q, Role::Query)) {
            let mut others: Vec<usize> = (0..points.len())
                .filter(|&j| j != q && is(j, Role::Gallery))
                .collect();
            let distance = |j: usize| (points[q] - points[j]).abs();
            others.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
            let shared = |j: usize| {
                let of_both = (0..9).filter(|l| labels[q].contains(l) && labels[j].contains(l));
                of_both.count() as f64
            };
            let mut ideal: Vec<f64> = others.iter().map(|&j| shared(j)).collect();
            let gains = ideal.clone();
            ideal.sort_by(|a, b| b.total_cmp(a));
            let relevant = gains.iter().filter(|gain| **gain > 0.0).count() as f64;
            if relevant == 0.0 {
                continue;
            }
            queries += 1;
            let dcg = |gains: &[f64]| -> f64 {
                let ranked = (1..).zip(&gains[..k.min(gains.len())]);
                ranked
                    .map(|(rank, gain)| gain / f64::from(rank + 1).log2())
                    .sum()
            };
            let (mut hits, mut precisions) = (0.0, 0.0);
            for (rank, gain) in (1..=k).zip(&gains) {
                if *gain > 0.0 {
                    hits += 1.0;
                    precisions += hits / rank as f64;
                }
            }
            let scores = [
                hits / relevant,
                dcg(&gains) / dcg(&ideal),
                precisions / relevant,
            ];
            sums.iter_mut()
                .zip(scores)
                .for_each(|(sum, score)| *sum += score);
        }
        (sums.map(|sum| sum / f64::from(queries)), queries as usize)
    }

    #[test]
    fn several_labels_and_roles_are_measured_by_their_definitions() {
        let mut rng = named_rng(4, "relevance");
        let roles = [Role::Both, Role::Query, Role::Gallery, Role::Ignored];
        for case in 0..5 {
            let count = 40 + case;
            let points: Vec<f32> = (0..count)
                .map(|_| rng.random_range(0..400) as f32)
                .collect();
            // Some with no label, some with one twice.
            let labels: Vec<Vec<u32>> = (0..count)
                .map(|_| {
                    (0..rng.random_range(0..4))
                        .map(|_| rng.random_range(0..9))
                        .collect()
                })
                .collect();
            let roles: Vec<Role> = (0..count).map(|_| roles[rng.random_range(0..4)]).collect();
            let searched = Searched {
                embeddings: Mat::new(&points, count, 1),
                relevance: Relevance::Labels(&labels),
                roles: Some(&roles),
            };
            let options = Options {
                ks: vec![5],
                similarity: Similarity::Euclidean,
                ..Options::quick()
            };
            let found = searched.retrieval(&options).unwrap();
            let ([coverage, ndcg, map], queries) = reference(&points, &labels, &roles, 5);
            assert_eq!(found.queries, queries);
            assert!((found.at[0].coverage.value - coverage).abs() < 1e-6);
            assert!((found.at[0].ndcg.value - ndcg).abs() < 1e-6);
            assert!((found.at[0].map_of_relevant.value - map).abs() < 1e-6);
            assert!(found.macro_average.is_none());
        }
    }

    #[test]
    fn an_empty_gallery_is_refused() {
        let searched = Searched {
            embeddings: Mat::new(&[1.0, 2.0], 2, 1),
            relevance: Relevance::Classes(&[0, 0]),
            roles: Some(&[Role::Query, Role::Query]),
        };
        let error = searched.retrieval(&Options::quick()).unwrap_err();
        let (queries, gallery) = (2, 0);
        assert_eq!(error, EvaluateError::Sides { queries, gallery });
    }
}
