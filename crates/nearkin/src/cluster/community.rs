//! Community detection: groups of items close to one of their own.

use nearkin_kernels::Mat;
use nearkin_losses::range::Finite;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ClusterError;
use crate::unit_rows::{COLUMNS, ROWS, UnitRows, pieces};

/// What makes a community.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Communities {
    /// The cosine similarity to the center that a member has at least.
    pub threshold: Finite,
    /// Members of a community at least, the center among them.
    pub min_size: usize,
}

impl Default for Communities {
    fn default() -> Self {
        Self {
            threshold: Finite::literal(0.75),
            min_size: 10,
        }
    }
}

impl Communities {
    /// Groups of items, none in two of them; the largest first, each with its center first and then the nearest.
    ///
    /// Every item is the center of a group: those at least as like it as the threshold. Groups are taken from the
    /// largest down, without the items that an earlier group has; groups whose center is taken, or that are too small
    /// then, are passed over. This is sentence-transformers' `community_detection` (6.2), with ties to smaller indices.
    /// Groups are counted in one pass and found again in a second: memory is that of the embeddings and one block.
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// A number is not finite.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::Communities};
    /// let points = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, 0.1, 0.9, 0.2, 0.8];
    /// let communities = Communities { min_size: 2, ..Communities::default() };
    /// assert_eq!(communities.detect(Mat::new(&points, 5, 2))?, [vec![2, 3, 4], vec![0, 1]]);
    /// # Ok::<(), nearkin::cluster::ClusterError>(())
    /// ```
    pub fn detect(&self, embeddings: Mat) -> Result<Vec<Vec<usize>>, ClusterError> {
        let rows = UnitRows::new(embeddings)?;
        let sizes = self.sizes(&rows);
        let smallest = self.min_size.max(1);
        let mut centers: Vec<usize> = (0..rows.count)
            .filter(|&row| sizes[row] >= smallest)
            .collect();
        centers.sort_by_key(|&row| std::cmp::Reverse(sizes[row]));
        let mut taken = vec![false; rows.count];
        let mut communities: Vec<Vec<usize>> = Vec::new();
        let mut rest = centers.into_iter();
        loop {
            let block: Vec<usize> = rest
                .by_ref()
                .filter(|&row| !taken[row])
                .take(ROWS)
                .collect();
            if block.is_empty() {
                break;
            }
            for (&center, members) in block.iter().zip(self.members(&rows, &block)) {
                if taken[center] {
                    continue;
                }
                let free = members
                    .into_iter()
                    .filter(|&row| row != center && !taken[row]);
                let community: Vec<usize> = std::iter::once(center).chain(free).collect();
                if community.len() >= smallest {
                    for &row in &community {
                        taken[row] = true;
                    }
                    communities.push(community);
                }
            }
        }
        communities.sort_by_key(|community| std::cmp::Reverse(community.len()));
        Ok(communities)
    }

    /// How many items are as like each item as the threshold, itself among them.
    fn sizes(&self, rows: &UnitRows) -> Vec<usize> {
        let blocks: Vec<_> = pieces(0..rows.count, ROWS).collect();
        let threshold = self.threshold.get();
        let sizes = blocks.into_par_iter().flat_map_iter(|block| {
            let (mut sizes, mut cosines) = (vec![0; block.len()], Vec::new());
            for columns in pieces(0..rows.count, COLUMNS) {
                let cosines = rows.cosines(block.clone(), rows, columns.clone(), &mut cosines);
                for (size, row) in sizes.iter_mut().zip(cosines.chunks_exact(columns.len())) {
                    *size += row.iter().filter(|cosine| **cosine >= threshold).count();
                }
            }
            sizes
        });
        sizes.collect()
    }

    /// The items as like each center as the threshold, the nearest first.
    fn members(&self, rows: &UnitRows, centers: &[usize]) -> Vec<Vec<usize>> {
        let (own, threshold) = (rows.pick(centers), self.threshold.get());
        let parts: Vec<_> = pieces(0..rows.count, COLUMNS).collect();
        let parts: Vec<Vec<Vec<(usize, f32)>>> = parts
            .into_par_iter()
            .map(|columns| {
                let mut block = Vec::new();
                let cosines = own.cosines(0..own.count, rows, columns.clone(), &mut block);
                let near = |row: &[f32]| {
                    let pairs = columns.clone().zip(row.iter().copied());
                    pairs.filter(|(_, cosine)| *cosine >= threshold).collect()
                };
                cosines.chunks_exact(columns.len()).map(near).collect()
            })
            .collect();
        let all = |center: usize| {
            let mut members: Vec<(usize, f32)> = parts
                .iter()
                .flat_map(|part| part[center].iter().copied())
                .collect();
            members.sort_by(|a, b| b.1.total_cmp(&a.1));
            members.into_iter().map(|(row, _)| row).collect()
        };
        (0..centers.len()).map(all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// Slow and plain: the whole matrix in f64.
    fn reference(data: &[f32], dim: usize, threshold: f64, min_size: usize) -> Vec<Vec<usize>> {
        let count = data.len() / dim;
        let row = |i: usize| data[i * dim..(i + 1) * dim].iter().map(|&x| f64::from(x));
        let dot = |i: usize, j: usize| row(i).zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        let cosine = |i: usize, j: usize| dot(i, j) / (dot(i, i) * dot(j, j)).sqrt();
        let mut groups: Vec<(usize, Vec<usize>)> = (0..count)
            .map(|center| {
                let mut near: Vec<(f64, usize)> =
                    (0..count).map(|j| (cosine(center, j), j)).collect();
                near.retain(|(cosine, _)| *cosine >= threshold);
                near.sort_by(|a, b| b.0.total_cmp(&a.0));
                (center, near.into_iter().map(|(_, j)| j).collect())
            })
            .filter(|(_, near): &(usize, Vec<usize>)| near.len() >= min_size)
            .collect();
        groups.sort_by_key(|(_, near)| std::cmp::Reverse(near.len()));
        let mut taken = vec![false; count];
        let mut found: Vec<Vec<usize>> = Vec::new();
        for (center, near) in groups {
            let free: Vec<usize> = near.into_iter().filter(|&j| !taken[j]).collect();
            if !taken[center] && free.len() >= min_size {
                let mut community = vec![center];
                community.extend(free.into_iter().filter(|&j| j != center));
                for &j in &community {
                    taken[j] = true;
                }
                found.push(community);
            }
        }
        found.sort_by_key(|community| std::cmp::Reverse(community.len()));
        found
    }

    #[test]
    fn blocks_give_the_communities_of_the_whole_matrix() {
        let mut rng = named_rng(4, "community");
        for (count, dim, threshold, min_size) in
            [(1500, 4, 0.97, 8), (300, 3, 0.9, 3), (200, 8, 0.75, 2)]
        {
            let data: Vec<f32> = (0..count * dim)
                .map(|_| rng.random_range(-1.0..1.0))
                .collect();
            let communities = Communities {
                threshold: Finite::literal(threshold),
                min_size,
            };
            let found = communities.detect(Mat::new(&data, count, dim)).unwrap();
            assert!(found.len() > 2, "{} communities", found.len());
            assert_eq!(found, reference(&data, dim, threshold, min_size));
        }
    }

    /// tests/golden/cluster.py, function `community`: rows `(i² · 13 mod 101) / 50 − 1` of three numbers.
    #[test]
    fn communities_are_those_of_sentence_transformers() {
        let data: Vec<f32> = (0..120)
            .map(|i| (i * i * 13 % 101) as f32 / 50.0 - 1.0)
            .collect();
        let communities = Communities {
            threshold: Finite::literal(0.85),
            min_size: 4,
        };
        let found = communities.detect(Mat::new(&data, 40, 3)).unwrap();
        let expected: [&[usize]; 5] = [
            &[0, 35, 31, 36, 26],
            &[9, 5, 13, 22, 30],
            &[11, 29, 24, 28, 20],
            &[2, 15, 7, 33],
            &[12, 21, 38, 39],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn items_alike_are_one_community_and_lonely_ones_are_in_none() {
        let mut data = [1.0, 0.0].repeat(20);
        data.extend([0.0, 1.0]);
        let found = Communities::default()
            .detect(Mat::new(&data, 21, 2))
            .unwrap();
        assert_eq!(found, [(0..20).collect::<Vec<_>>()]);
        assert!(
            Communities::default()
                .detect(Mat::new(&[], 0, 2))
                .unwrap()
                .is_empty()
        );
    }
}
