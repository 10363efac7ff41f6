//! HDBSCAN: dense clusters of any density, and the rest is noise.

use std::num::NonZeroUsize;

use nearkin_kernels::Mat;
use serde::{Deserialize, Serialize};

use super::dendrogram::Dendrogram;
use super::distance::{Distance, Points};
use super::spanning_tree::spanning_tree;
use super::{ClusterError, check_some, condensed_tree};

/// What is a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hdbscan {
    /// The distance of two items.
    pub distance: Distance,
    /// Items of a cluster at least; 1 is taken for 2.
    pub min_size: NonZeroUsize,
    /// The neighbor whose distance says how dense it is around an item, the item itself the first; as `min_size` where absent.
    pub min_samples: Option<NonZeroUsize>,
}

impl Default for Hdbscan {
    fn default() -> Self {
        Self {
            distance: Distance::default(),
            min_size: NonZeroUsize::MIN.saturating_add(4),
            min_samples: None,
        }
    }
}

impl Hdbscan {
    /// The cluster of each item, numbered in the order of their first items, or none for noise.
    ///
    /// ```text
    /// core(i) = distance to the min_samples-th nearest item, i itself the first
    /// reach(i, j) = max(core(i), core(j), d(i, j))                                        mutual reachability
    /// ```
    ///
    /// Single linkage of these distances gives a tree, in which parts of fewer than `min_size` items count as items that leave
    /// their cluster (the condensed tree). Chosen are the clusters that together have the largest excess of mass, none within
    /// another, and never all items at once:
    ///
    /// ```text
    /// stability(C) = Σ_{i ∈ C} (1 / d_leave(i) − 1 / d_birth(C))
    /// ```
    ///
    /// Merges at one distance count as one merge of many, as the paper has it; other programs take them one by one in any order,
    /// which can decide over items at the rim. The spanning tree is Prim's: memory is O(N), time O(N² D).
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// There is no item or a number is not finite.
    ///
    /// # Reference
    /// R. J. G. B. Campello, D. Moulavi, J. Sander, Density-based clustering based on hierarchical density estimates, PAKDD 2013,
    /// definitions 1 to 4, algorithms 1 to 3 and equation 3.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Distance, Hdbscan}};
    /// let points = [0.0, 0.1, 0.2, 20.0, 21.0, 22.0, 60.0];
    /// let hdbscan = Hdbscan { distance: Distance::Euclidean, min_size: 3.try_into()?, min_samples: Some(2.try_into()?) };
    /// let found = hdbscan.cluster(Mat::new(&points, 7, 1))?;
    /// assert_eq!(found, [Some(0), Some(0), Some(0), Some(1), Some(1), Some(1), None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cluster(&self, embeddings: Mat) -> Result<Vec<Option<u32>>, ClusterError> {
        check_some(embeddings)?;
        let points = Points::new(embeddings, self.distance)?;
        let cores = points.to_neighbor(self.min_samples.unwrap_or(self.min_size).get());
        let tree = Dendrogram::of_pairs(points.count(), spanning_tree(&points, &cores));
        Ok(condensed_tree::clusters(&tree, self.min_size.get().max(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{groups, letters};
    use super::*;
    use crate::cluster::dendrogram::in_order_of_items;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn hdbscan(distance: Distance, min_size: usize, min_samples: usize) -> Hdbscan {
        Hdbscan {
            distance,
            min_size: min_size.try_into().unwrap(),
            min_samples: min_samples.try_into().ok(),
        }
    }

    /// A cluster of the reference: its items, and when each leaves.
    struct Part {
        birth: f64,
        stability: f64,
        items: Vec<usize>,
        children: Vec<Part>,
    }

    /// Slow and plain, after the paper: edges of the whole graph are removed from the longest down, those of one length at
    /// once, and each time the parts that are left are looked at.
    fn grow(items: Vec<usize>, birth: f64, reach: &[Vec<f64>], min_size: usize) -> Part {
        let mut left = items.clone();
        let mut stability = 0.0;
        loop {
            let mut lengths: Vec<f64> = Vec::new();
            for &i in &left {
                lengths.extend(left.iter().filter(|&&j| j < i).map(|&j| reach[i][j]));
            }
            lengths.sort_by(|a, b| b.total_cmp(a));
            lengths.dedup();
            // The longest length whose removal takes the items apart.
            let split = lengths.iter().find_map(|&length| {
                let parts = parts(&left, length, reach);
                (parts.len() > 1).then_some((length, parts))
            });
            let Some((length, parts)) = split else {
                unreachable!("every part comes apart in the end");
            };
            let lambda = 1.0 / length;
            let (mut large, small): (Vec<_>, Vec<_>) =
                parts.into_iter().partition(|part| part.len() >= min_size);
            if large.len() == 1 {
                let gone: usize = small.iter().map(Vec::len).sum();
                stability += gone as f64 * (lambda - birth);
                left = large.remove(0);
                continue;
            }
            stability += left.len() as f64 * (lambda - birth);
            let children = large
                .into_iter()
                .map(|part| grow(part, lambda, reach, min_size))
                .collect();
            return Part {
                birth,
                stability,
                items,
                children,
            };
        }
    }

    /// The parts of items that edges shorter than `length` join.
    fn parts(items: &[usize], length: f64, reach: &[Vec<f64>]) -> Vec<Vec<usize>> {
        let mut open: Vec<usize> = items.to_vec();
        let mut parts = Vec::new();
        while let Some(first) = open.pop() {
            let mut part = vec![first];
            let mut at = 0;
            while at < part.len() {
                let i = part[at];
                let near: Vec<usize> = open
                    .iter()
                    .copied()
                    .filter(|&j| reach[i][j] < length)
                    .collect();
                open.retain(|j| !near.contains(j));
                part.extend(near);
                at += 1;
            }
            parts.push(part);
        }
        parts
    }

    /// The best stability within a part, and the clusters that have it.
    fn best(part: &Part) -> (f64, Vec<&Part>) {
        let below: Vec<_> = part.children.iter().map(best).collect();
        let sum: f64 = below.iter().map(|(stability, _)| stability).sum();
        if part.birth > 0.0 && part.stability >= sum {
            (part.stability, vec![part])
        } else {
            (
                sum,
                below.into_iter().flat_map(|(_, parts)| parts).collect(),
            )
        }
    }

    fn reference(data: &[f32], dim: usize, settings: Hdbscan) -> Vec<Option<u32>> {
        let count = data.len() / dim;
        let points = Points::new(Mat::new(data, count, dim), settings.distance).unwrap();
        let mut block = Vec::new();
        let distances = points.block(0..count, 0..count, &mut block);
        let core = |i: usize| {
            let mut row = distances[i * count..][..count].to_vec();
            row.sort_by(f32::total_cmp);
            row[settings.min_samples.unwrap().get() - 1]
        };
        let cores: Vec<f32> = (0..count).map(core).collect();
        let reach = |i: usize, j: usize| {
            let distance = distances[i.max(j) * count + i.min(j)];
            f64::from(distance.max(cores[i]).max(cores[j]))
        };
        let reach: Vec<Vec<f64>> = (0..count)
            .map(|i| (0..count).map(|j| reach(i, j)).collect())
            .collect();
        let root = grow((0..count).collect(), 0.0, &reach, settings.min_size.get());
        let mut found = vec![None; count];
        for (number, part) in best(&root).1.into_iter().enumerate() {
            for &item in &part.items {
                found[item] = Some(number);
            }
        }
        in_order_of_items(found)
    }

    #[test]
    fn clusters_are_those_of_the_paper() {
        let (count, dim) = (90, 2);
        for seed in 0..6 {
            let mut rng = named_rng(seed, "hdbscan");
            let data: Vec<f32> = (0..count * dim)
                .map(|at| {
                    let group = (at / dim % 5) as f32;
                    let spread = 0.05 + 0.2 * group / 5.0;
                    let center = if at % dim == 0 {
                        group
                    } else {
                        (group * 2.0) % 3.0
                    };
                    // The last group is scattered over all.
                    let wide = if group == 4.0 { 4.0 } else { spread };
                    center + rng.random_range(-wide..wide)
                })
                .collect();
            for settings in [
                hdbscan(Distance::Euclidean, 5, 5),
                hdbscan(Distance::Euclidean, 4, 1),
                hdbscan(Distance::Cosine, 6, 3),
            ] {
                let found = settings.cluster(Mat::new(&data, count, dim)).unwrap();
                assert!(found.iter().flatten().max() > Some(&0), "{settings:?}");
                assert_eq!(
                    found,
                    reference(&data, dim, settings),
                    "{seed}, {settings:?}"
                );
            }
        }
    }

    /// tests/golden/cluster.py, function `hdbscan`.
    #[test]
    fn clusters_are_those_of_scikit_learn() {
        let of = |distance, size, samples, shift| {
            let settings = hdbscan(distance, size, samples);
            letters(settings.cluster(Mat::new(&groups(shift), 60, 2)).unwrap())
        };
        for (size, samples, expected) in [
            (
                4,
                1,
                "abbabcabbabcab-abbabbabbabbabbabbabcab-abbabcab-abbab-abcabc",
            ),
            (
                6,
                2,
                "abbabcabbabcab-abbabbabbabbabbabbabcab-abbabcab-abbab-abcabc",
            ),
            (
                3,
                3,
                "abcabdab-abdab-abca--ab-abbabbab-abdab-ab-abdab-abcab-abdabd",
            ),
        ] {
            let found = of(Distance::Euclidean, size, samples, 0.0);
            assert_eq!(found, expected, "{size} {samples}");
        }
        assert_eq!(
            of(Distance::Cosine, 5, 2, 3.0),
            "a--b--b-cdefdecb-ab-fb-cbeddebaeabeabecbef-efdecb-abecb--bef"
        );
    }

    #[test]
    fn items_that_coincide_are_clusters_and_one_group_alone_is_noise() {
        let data: Vec<f32> = (0..30).flat_map(|i| [1.0, (i % 2) as f32]).collect();
        for distance in [Distance::Cosine, Distance::Euclidean] {
            let settings = hdbscan(distance, 5, 5);
            let found = settings.cluster(Mat::new(&data, 30, 2)).unwrap();
            let expected: Vec<Option<u32>> = (0..30).map(|i| Some(i % 2)).collect();
            assert_eq!(found, expected);
            let same = settings.cluster(Mat::new(&[1.0; 20], 10, 2));
            assert_eq!(same, Ok(vec![None; 10]));
        }
    }

    #[test]
    fn fewer_items_than_a_cluster_has_are_noise() {
        let settings = Hdbscan::default();
        for count in 1..5 {
            let found = settings.cluster(Mat::new(&[1.0, 2.0, 0.5, 0.0][..count], count, 1));
            assert_eq!(found, Ok(vec![None; count]));
        }
        let nothing = settings.cluster(Mat::new(&[], 0, 3));
        assert_eq!(nothing, Err(ClusterError::Nothing));
        let error = settings
            .cluster(Mat::new(&[f32::INFINITY], 1, 1))
            .unwrap_err();
        assert!(error.to_string().contains("row 0"), "{error}");
    }
}
