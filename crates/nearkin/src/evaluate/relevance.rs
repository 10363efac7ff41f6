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
