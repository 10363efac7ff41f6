//! Minimum spanning trees, a row of distances at a time.

use rayon::prelude::*;

use super::distance::Points;
use crate::unit_rows::COLUMNS;

/// The edges of a minimum spanning tree over all pairs, by Prim's algorithm, in the order in which it finds them.
///
/// The length of an edge is `max(d(i, j), least_i, least_j)`; with zeros it is the distance. Each step makes the distances of one
/// item to the others, so memory is O(N) and time O(N² D). Ties go to the smaller index.
pub(super) fn spanning_tree(points: &Points, least: &[f32]) -> Vec<(u32, u32, f32)> {
    let count = points.count();
    let mut tree = Vec::with_capacity(count.saturating_sub(1));
    // How far each item is from the tree, and from which item of it; those inside have an end, no distance.
    let mut outside: Vec<Outside> = (0..count).map(|_| Outside::default()).collect();
    let mut last = 0;
    for _ in 1..count {
        outside[last].is_inside = true;
        let chunks = outside.par_chunks_mut(COLUMNS).enumerate();
        let nearest = chunks.map_init(Vec::new, |block, (chunk, outside)| {
            let start = chunk * COLUMNS;
            let distances = points.block(last..last + 1, start..start + outside.len(), block);
            let each = outside.iter_mut().zip(distances).zip(start..);
            let reached = each.filter(|((item, _), _)| !item.is_inside);
            reached.fold(NONE, |nearest, ((item, &distance), at)| {
                let length = distance.max(least[last]).max(least[at]);
                if length < item.length {
                    (item.length, item.from) = (length, last as u32);
                }
                nearer(nearest, (item.length, at))
            })
        });
        let (length, next) = nearest.reduce(|| NONE, nearer);
        tree.push((outside[next].from, next as u32, length));
        last = next;
    }
    tree
}

/// An item on its way to the tree.
struct Outside {
    length: f32,
    from: u32,
    is_inside: bool,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            length: f32::INFINITY,
            from: 0,
            is_inside: false,
        }
    }
}

/// Farther than any item.
const NONE: (f32, usize) = (f32::INFINITY, usize::MAX);

fn nearer(a: (f32, usize), b: (f32, usize)) -> (f32, usize) {
    if b.0 < a.0 || (b.0 == a.0 && b.1 < a.1) {
        b
    } else {
        a
    }
}

#[cfg(test)]
mod tests {
    use super::super::distance::Distance;
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use nearkin_kernels::Mat;
    use rand::RngExt;

    /// Kruskal: the shortest edges that close no circle.
    fn reference(points: &Points, least: &[f32]) -> Vec<f32> {
        let count = points.count();
        let mut block = Vec::new();
        let distances = points.block(0..count, 0..count, &mut block);
        let pairs = (0..count).flat_map(|i| (0..i).map(move |j| (i, j)));
        let length = |i: usize, j: usize| distances[i * count + j].max(least[i]).max(least[j]);
        let mut edges: Vec<(f32, usize, usize)> =
            pairs.map(|(i, j)| (length(i, j), i, j)).collect();
        edges.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut part: Vec<usize> = (0..count).collect();
        let mut lengths = Vec::new();
        for (length, i, j) in edges {
            let (gone, kept) = (part[i], part[j]);
            if gone != kept {
                part.iter_mut()
                    .filter(|p| **p == gone)
                    .for_each(|p| *p = kept);
                lengths.push(length);
            }
        }
        lengths
    }

    #[test]
    fn lengths_are_those_of_the_shortest_edges_that_close_no_circle() {
        let (count, dim) = (1100, 3);
        let mut rng = named_rng(5, "spanning tree");
        let data: Vec<f32> = (0..count * dim)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        for distance in [Distance::Cosine, Distance::Euclidean] {
            let points = Points::new(Mat::new(&data, count, dim), distance).unwrap();
            for least in [vec![0.0; count], points.to_neighbor(5)] {
                let tree = spanning_tree(&points, &least);
                let mut found: Vec<f32> = tree.iter().map(|edge| edge.2).collect();
                found.sort_by(f32::total_cmp);
                for (found, expected) in found.iter().zip(reference(&points, &least)) {
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn one_item_has_no_edge_and_distances_that_overflow_do_not_fail() {
        for count in [1, 3] {
            let data = [f32::MAX, -f32::MAX, 1.0];
            let points = Points::new(Mat::new(&data[..count], count, 1), Distance::Euclidean);
            let tree = spanning_tree(&points.unwrap(), &vec![0.0; count]);
            assert_eq!(tree.len(), count - 1);
        }
    }
}
