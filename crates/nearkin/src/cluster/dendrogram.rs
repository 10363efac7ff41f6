//! Trees of merges, and the clusters that they are cut into.

use std::collections::HashMap;

use serde::Serialize;

/// Two clusters that became one. Clusters below N are the items; merge m makes cluster N + m.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Merge {
    /// The smaller number.
    pub first: usize,
    /// The larger number.
    pub second: usize,
    /// Their distance.
    pub distance: f32,
    /// Items of the new cluster.
    pub size: usize,
}

/// All merges, from the nearest clusters to the farthest: the rows of scipy's linkage matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dendrogram {
    /// Items, N.
    pub items: usize,
    /// `N − 1` merges.
    pub merges: Vec<Merge>,
}

impl Dendrogram {
    /// From an item of each of two clusters and the distance at which they merge. A merge that needs another comes after it,
    /// or is farther.
    pub(super) fn of_pairs(items: usize, mut pairs: Vec<(u32, u32, f32)>) -> Self {
        pairs.sort_by(|a, b| a.2.total_cmp(&b.2));
        let merges = number(items, &pairs);
        Self { items, merges }
    }

    /// The cluster of each item when `count` clusters are left, numbered in the order of their first items.
    pub fn clusters(&self, count: usize) -> Vec<u32> {
        self.cut(self.items.saturating_sub(count.max(1)))
    }

    /// The cluster of each item when only clusters at most `distance` apart are merged, numbered in the order of their
    /// first items.
    pub fn within(&self, distance: f32) -> Vec<u32> {
        self.cut(
            self.merges
                .partition_point(|merge| merge.distance <= distance),
        )
    }

    /// The clusters after the first `merges`.
    fn cut(&self, merges: usize) -> Vec<u32> {
        let mut forest = Forest::new(self.items);
        // An item of each cluster.
        let mut member: Vec<usize> = (0..self.items).collect();
        for merge in &self.merges[..merges] {
            let [a, b] = [merge.first, merge.second].map(|cluster| forest.root(member[cluster]));
            member.push(forest.join(a, b));
        }
        in_order_of_items((0..self.items).map(|item| Some(forest.root(item))))
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Clusters of any numbers, numbered in the order of their first items; items of none stay so.
pub(super) fn in_order_of_items(
    clusters: impl IntoIterator<Item = Option<usize>>,
) -> Vec<Option<u32>> {
    let mut numbers = HashMap::new();
    let mut number = |cluster| {
        let next = numbers.len() as u32;
        *numbers.entry(cluster).or_insert(next)
    };
    clusters
        .into_iter()
        .map(|cluster| cluster.map(&mut number))
        .collect()
}

/// Numbers the clusters of merges that are sorted by distance.
fn number(items: usize, pairs: &[(u32, u32, f32)]) -> Vec<Merge> {
    let mut forest = Forest::new(items);
    let mut cluster: Vec<(usize, usize)> = (0..items).map(|item| (item, 1)).collect();
    let merges = pairs.iter().enumerate().map(|(m, &(a, b, distance))| {
        let [a, b] = [a, b].map(|place| forest.root(place as usize));
        let ((one, one_size), (other, other_size)) = (cluster[a], cluster[b]);
        let size = one_size + other_size;
        cluster[forest.join(a, b)] = (items + m, size);
        Merge {
            first: one.min(other),
            second: one.max(other),
            distance,
            size,
        }
    });
    merges.collect()
}

/// Disjoint sets of items.
pub(super) struct Forest(Vec<u32>);

impl Forest {
    pub fn new(items: usize) -> Self {
        Self((0..items as u32).collect())
    }

    pub fn root(&mut self, mut item: usize) -> usize {
        while self.0[item] as usize != item {
            let above = self.0[item] as usize;
            self.0[item] = self.0[above];
            item = above;
        }
        item
    }

    /// Joins the sets of two roots; the root of both.
    pub fn join(&mut self, a: usize, b: usize) -> usize {
        self.0[b] = a as u32;
        a
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agglomerative, Distance, Linkage};
    use nearkin_kernels::Mat;

    #[test]
    fn cuts_are_the_merges_up_to_them() {
        let data = [0.0, 10.0, 0.5, 30.0, 11.0];
        let clustering = Agglomerative {
            distance: Distance::Euclidean,
            linkage: Linkage::Single,
            ..Agglomerative::default()
        };
        let dendrogram = clustering.cluster(Mat::new(&data, 5, 1)).unwrap();
        assert_eq!(dendrogram.clusters(5), [0, 1, 2, 3, 4]);
        assert_eq!(dendrogram.clusters(3), [0, 1, 0, 2, 1]);
        assert_eq!(
            (dendrogram.clusters(1), dendrogram.clusters(0)),
            (vec![0; 5], vec![0; 5])
        );
        assert_eq!(dendrogram.within(0.5), [0, 1, 0, 2, 3]);
        assert_eq!(dendrogram.within(9.5), [0, 0, 0, 1, 0]);
        assert_eq!(dendrogram.within(-1.0), [0, 1, 2, 3, 4]);
    }
}
