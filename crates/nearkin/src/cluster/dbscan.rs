//! DBSCAN: clusters are what is dense, and the rest is noise.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use nearkin_kernels::Mat;
use nearkin_losses::range::NonNegative;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::dendrogram::{Forest, in_order_of_items};
use super::distance::{Distance, Points};
use super::{ClusterError, check_some};
use crate::unit_rows::{COLUMNS, ROWS, pieces};

/// What is dense.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dbscan {
    /// The distance of two items.
    pub distance: Distance,
    /// The largest distance of two neighbors, ε; in general no default fits.
    pub radius: NonNegative,
    /// Items within the radius of a core item at least, itself among them.
    pub min_samples: NonZeroUsize,
}

impl Default for Dbscan {
    fn default() -> Self {
        Self {
            distance: Distance::default(),
            radius: NonNegative::literal(0.25),
            min_samples: NonZeroUsize::MIN.saturating_add(4),
        }
    }
}

impl Dbscan {
    /// The cluster of each item, numbered in the order of their first items, or none for noise.
    ///
    /// ```text
    /// core:     |{j : d(i, j) ≤ ε}| ≥ min_samples, i itself among them
    /// cluster:  core items joined by steps of at most ε
    /// border:   no core, but within ε of one
    /// ```
    ///
    /// A border item within reach of several clusters goes to that of its nearest core item, ties to the smaller index, so that
    /// the order of items decides nothing; in the paper the cluster found first takes it, as in scikit-learn. Distances
    /// are made twice, in blocks: memory is O(N).
    ///
    /// # Shapes
    /// - `embeddings`: `[N, D]`
    ///
    /// # Errors
    /// There is no item or a number is not finite.
    ///
    /// # Reference
    /// M. Ester, H.-P. Kriegel, J. Sander, X. Xu, A density-based algorithm for discovering clusters in large spatial databases with
    /// noise, KDD 1996, definitions 1 to 6.
    ///
    /// ```
    /// use nearkin::{Mat, cluster::{Dbscan, Distance, NonNegative}};
    /// let points = [0.0, 0.5, 1.0, 9.0, 20.0, 20.5, 21.0];
    /// let dbscan = Dbscan { distance: Distance::Euclidean, radius: NonNegative::new(0.6)?, min_samples: 2.try_into()? };
    /// let found = dbscan.cluster(Mat::new(&points, 7, 1))?;
    /// assert_eq!(found, [Some(0), Some(0), Some(0), None, Some(1), Some(1), Some(1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cluster(&self, embeddings: Mat) -> Result<Vec<Option<u32>>, ClusterError> {
        check_some(embeddings)?;
        let points = Points::new(embeddings, self.distance)?;
        let cores = self.cores(&points);
        let forest = Mutex::new(Forest::new(points.count()));
        let blocks: Vec<_> = pieces(0..points.count(), ROWS).collect();
        let borders = blocks.into_par_iter().flat_map_iter(|rows| {
            let mut reached = Reached::new(&cores, rows.start, rows.len());
            let mut block = Vec::new();
            for columns in pieces(0..points.count(), COLUMNS) {
                let distances = points.block(rows.clone(), columns.clone(), &mut block);
                for (at, row) in distances.chunks_exact(columns.len()).enumerate() {
                    reached.pass(at, columns.start, row, self.radius.get());
                }
                let mut forest = forest.lock().unwrap_or_else(PoisonError::into_inner);
                for (a, b) in reached.joined.drain(..) {
                    let [a, b] = [a, b].map(|item| forest.root(item));
                    forest.join(a, b);
                }
            }
            reached.nearest.into_iter().map(|(core, _)| core)
        });
        // The core item that each item belongs to: itself, or the nearest.
        let core_of: Vec<Option<usize>> = borders.collect();
        let mut forest = forest.into_inner().unwrap_or_else(PoisonError::into_inner);
        let clusters = core_of.into_iter();
        Ok(in_order_of_items(
            clusters.map(|core| core.map(|core| forest.root(core))),
        ))
    }

    fn cores(&self, points: &Points) -> Vec<bool> {
        let blocks: Vec<_> = pieces(0..points.count(), ROWS).collect();
        let cores = blocks.into_par_iter().flat_map_iter(|rows| {
            let (mut counts, mut block) = (vec![0; rows.len()], Vec::new());
            for columns in pieces(0..points.count(), COLUMNS) {
                let distances = points.block(rows.clone(), columns.clone(), &mut block);
                for (count, row) in counts.iter_mut().zip(distances.chunks_exact(columns.len())) {
                    *count += row.iter().filter(|d| **d <= self.radius.get()).count();
                }
            }
            counts
                .into_iter()
                .map(|count| count >= self.min_samples.get())
        });
        cores.collect()
    }
}

/// What the items of a block reach.
struct Reached<'c> {
    cores: &'c [bool],
    first: usize,
    /// The nearest core item of each, itself if it is one, and how far it is.
    nearest: Vec<(Option<usize>, f32)>,
    /// Pairs of core items within reach.
    joined: Vec<(usize, usize)>,
}

impl<'c> Reached<'c> {
    fn new(cores: &'c [bool], first: usize, count: usize) -> Self {
        let own = |item: usize| (cores[item].then_some(item), f32::INFINITY);
        Self {
            cores,
            first,
            nearest: (first..first + count).map(own).collect(),
            joined: Vec::new(),
        }
    }

    /// Looks at the distances of a row to the items from `start` on.
    fn pass(&mut self, at: usize, start: usize, distances: &[f32], radius: f32) {
        let item = self.first + at;
        let near = (start..).zip(distances).filter(|(_, d)| **d <= radius);
        for (other, &distance) in near.filter(|(other, _)| self.cores[*other]) {
            if !self.cores[item] {
                let nearest = &mut self.nearest[at];
                if distance < nearest.1 {
                    *nearest = (Some(other), distance);
                }
            } else if other < item {
                self.joined.push((other, item));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{groups, letters};
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    fn dbscan(distance: Distance, radius: f64, min_samples: usize) -> Dbscan {
        Dbscan {
            distance,
            radius: NonNegative::literal(radius),
            min_samples: min_samples.try_into().unwrap(),
        }
    }

    /// Slow and plain: clusters grow from core items over the whole matrix.
    fn reference(data: &[f32], dim: usize, settings: Dbscan) -> Vec<Option<u32>> {
        let count = data.len() / dim;
        let row = |i: usize| data[i * dim..][..dim].iter().map(|&x| f64::from(x));
        let dot = |i: usize, j: usize| row(i).zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        let apart = |i: usize, j: usize| match settings.distance {
            _ if i == j => 0.0,
            Distance::Cosine => 1.0 - dot(i, j) / (dot(i, i) * dot(j, j)).sqrt(),
            Distance::Euclidean => (dot(i, i) + dot(j, j) - 2.0 * dot(i, j)).sqrt(),
        };
        let radius = f64::from(settings.radius.get());
        let near = |i: usize| (0..count).filter(move |&j| apart(i, j) <= radius);
        let cores: Vec<bool> = (0..count)
            .map(|i| near(i).count() >= settings.min_samples.get())
            .collect();
        let mut part: Vec<Option<usize>> = vec![None; count];
        for seed in (0..count).filter(|&i| cores[i]) {
            let mut open = vec![seed];
            while let Some(i) = open.pop() {
                if part[i].is_none() {
                    part[i] = Some(seed);
                    open.extend(near(i).filter(|&j| cores[j]));
                }
            }
        }
        for i in (0..count).filter(|&i| !cores[i]) {
            let core = near(i).filter(|&j| cores[j]);
            let nearest = core.min_by(|&a, &b| apart(i, a).total_cmp(&apart(i, b)));
            part[i] = nearest.and_then(|core| part[core]);
        }
        in_order_of_items(part)
    }

    #[test]
    fn blocks_give_the_clusters_that_grow_from_core_items() {
        let (count, dim) = (1100, 2);
        let mut rng = named_rng(7, "dbscan");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        for settings in [
            dbscan(Distance::Euclidean, 0.06, 5),
            dbscan(Distance::Euclidean, 0.04, 3),
            dbscan(Distance::Cosine, 2e-5, 4),
        ] {
            let found = settings.cluster(Mat::new(&data, count, dim)).unwrap();
            let clusters = found.iter().flatten().max().unwrap() + 1;
            assert!(clusters > 5 && found.contains(&None), "{clusters}");
            assert_eq!(found, reference(&data, dim, settings), "{settings:?}");
        }
    }

    /// tests/golden/cluster.py, function `dbscan`.
    #[test]
    fn clusters_are_those_of_scikit_learn() {
        for (distance, radius, shift, expected) in [
            (
                Distance::Euclidean,
                0.6,
                0.0,
                "ab-ab-ab-ac-ac-a--a--ab-a--ac-a--a--ac-ac-ac-ac-a--a--ab-ac-",
            ),
            (
                Distance::Cosine,
                0.001,
                3.0,
                "aa-aa-aa-abcabdaaaaacaa-abaabaabaabaabdabcabcabdaaaabdaa-abc",
            ),
        ] {
            let settings = dbscan(distance, radius, 4);
            let found = settings.cluster(Mat::new(&groups(shift), 60, 2));
            assert_eq!(letters(found.unwrap()), expected, "{distance:?}");
        }
    }

    #[test]
    fn a_border_item_goes_to_its_nearest_core_whatever_comes_first() {
        // Cores at 0.0 to 0.2 and 1.0 to 1.2; between them an item within reach of both.
        let data = [0.0, 0.1, 0.2, 0.65, 1.0, 1.1, 1.2];
        let settings = dbscan(Distance::Euclidean, 0.5, 4);
        let found = settings.cluster(Mat::new(&data, 7, 1)).unwrap();
        assert_eq!(found, reference(&data, 1, settings));
    }

    #[test]
    fn alone_is_noise_unless_one_is_enough_and_zero_vectors_are_near_to_nothing() {
        let one = Mat::new(&[1.0, 2.0], 1, 2);
        let cosine = |min_samples| dbscan(Distance::Cosine, 0.5, min_samples);
        assert_eq!(cosine(2).cluster(one), Ok(vec![None]));
        assert_eq!(cosine(1).cluster(one), Ok(vec![Some(0)]));
        let same = [1.0, 2.0].repeat(9);
        let all = cosine(9).cluster(Mat::new(&same, 9, 2));
        assert_eq!(all, Ok(vec![Some(0); 9]));
        let zeros = cosine(2).cluster(Mat::new(&[0.0; 6], 3, 2));
        assert_eq!(zeros, Ok(vec![None; 3]));
        assert_eq!(
            cosine(2).cluster(Mat::new(&[], 0, 2)),
            Err(ClusterError::Nothing)
        );
        let error = cosine(2).cluster(Mat::new(&[0.0, 1.0, 2.0, f32::NAN], 2, 2));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("row 1") && error.contains("column 1"),
            "{error}"
        );
    }
}
