//! Every kind of index against a slow and plain search in `f64`.

use crate::{Hnsw, Index, IndexError, Kind, Neighbor, Parameters};
use nearkin_kernels::{Mat, normalize_rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// All kinds, the graph with candidates for all vectors.
fn kinds(count: usize, dim: usize) -> Vec<Kind> {
    let graph = Parameters {
        m: 4,
        ef_construction: 20,
        ef: count.max(1),
        seed: 3,
    };
    let mut kinds = vec![
        Kind::Flat,
        Kind::Int8,
        Kind::Binary,
        Kind::RerankedByInt8 { factor: 4 },
        Kind::RerankedByFlat { factor: 1 },
        Kind::Truncated { dim },
        Kind::Truncated {
            dim: dim.div_ceil(2),
        },
        Kind::Hnsw(graph),
    ];
    // A kind that is not in the list above does not compile.
    kinds.retain(|kind| match kind {
        Kind::Flat
        | Kind::Int8
        | Kind::Binary
        | Kind::RerankedByInt8 { .. }
        | Kind::RerankedByFlat { .. }
        | Kind::Truncated { .. }
        | Kind::Hnsw(_) => true,
    });
    kinds
}

fn random(numbers: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..numbers).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Points around centers, which are the rows of the center matrix in turn.
fn clustered(count: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let centers = random(clusters * dim, seed);
    let noise = random(count * dim, seed + 1);
    let at = |i: usize| centers[i / dim % clusters * dim + i % dim] + 0.3 * noise[i];
    (0..count * dim).map(at).collect()
}

/// Random vectors among which some are zero and some are copies of others.
fn awkward(count: usize, dim: usize) -> Vec<f32> {
    let mut rows = random(count * dim, (count * dim) as u64);
    for i in 0..count {
        if i % 7 == 3 {
            rows[i * dim..(i + 1) * dim].fill(0.0);
        } else if i % 5 == 4 {
            rows.copy_within((i - 2) * dim..(i - 1) * dim, i * dim);
        }
    }
    rows
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

/// The middle of the level of each number of unit rows: levels in f32, as they are defined.
fn middles(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut unit = vec![0.0; rows.len()];
    normalize_rows(rows, dim, &mut unit, &mut vec![0.0; rows.len() / dim]);
    let of_column = |d: usize| unit.iter().skip(d).step_by(dim).copied();
    let ends: Vec<(f32, f32)> = (0..dim)
        .map(|d| {
            (
                of_column(d).reduce(f32::min).unwrap(),
                of_column(d).reduce(f32::max).unwrap(),
            )
        })
        .collect();
    let middle = |(i, &x): (usize, &f32)| {
        let (low, high) = ends[i % dim];
        let step = (high - low) / 255.0;
        if step == 0.0 {
            return f64::from(low);
        }
        let level = ((x - low) / step).floor().clamp(0.0, 255.0);
        f64::from(low) + (f64::from(level) + 0.5) * f64::from(step)
    };
    unit.iter().enumerate().map(middle).collect()
}

/// The score of every vector for a query; `None` for those that a shortlist leaves out.
fn scores(kind: Kind, rows: &[f32], query: &[f32], k: usize) -> Vec<Option<f64>> {
    let dim = query.len();
    let each = || rows.chunks_exact(dim);
    let by = |kind| scores(kind, rows, query, k);
    let shortlist = |factor: usize, judge: Kind| {
        let bits: Vec<f64> = by(Kind::Binary).into_iter().flatten().collect();
        let mut order: Vec<usize> = (0..bits.len()).collect();
        order.sort_by(|&a, &b| bits[b].total_cmp(&bits[a]).then(a.cmp(&b)));
        let kept: HashSet<usize> = order.into_iter().take(k * factor).collect();
        let judged = by(judge).into_iter().enumerate();
        judged
            .map(|(i, score)| score.filter(|_| kept.contains(&i)))
            .collect()
    };
    match kind {
        Kind::Flat | Kind::Hnsw(_) => each().map(|row| Some(cosine(query, row))).collect(),
        Kind::Truncated { dim } => each()
            .map(|row| Some(cosine(&query[..dim], &row[..dim])))
            .collect(),
        Kind::Binary => each()
            .map(|row| {
                let agree =
                    |(a, b): (&f32, &f32)| if (*a > 0.0) == (*b > 0.0) { 1.0 } else { -1.0 };
                Some(query.iter().zip(row).map(agree).sum::<f64>() / dim as f64)
            })
            .collect(),
        Kind::Int8 if rows.is_empty() => Vec::new(),
        Kind::Int8 => {
            let norm = query
                .iter()
                .map(|&x| f64::from(x).powi(2))
                .sum::<f64>()
                .sqrt();
            let middles = middles(rows, dim);
            let dot = |row: &[f64]| {
                let products = row.iter().zip(query).map(|(x, &q)| x * f64::from(q));
                Some(products.sum::<f64>() / norm.max(1e-12))
            };
            middles.chunks_exact(dim).map(dot).collect()
        }
        Kind::RerankedByInt8 { factor } => shortlist(factor, Kind::Int8),
        Kind::RerankedByFlat { factor } => shortlist(factor, Kind::Flat),
    }
}

/// Holds what was found against the scores: in order, without doubles, right, and nothing better left out.
fn assert_best(found: &[Neighbor], scores: &[Option<f64>], k: usize, what: &str) {
    const TOLERANCE: f64 = 1e-5;
    let there = scores.iter().flatten().count();
    assert_eq!(found.len(), k.min(there), "{what}");
    assert!(
        found.is_sorted_by(|a, b| Neighbor::order(a, b).is_lt()),
        "{what}: {found:?}"
    );
    let ids: HashSet<u32> = found.iter().map(|n| n.index).collect();
    assert_eq!(ids.len(), found.len(), "{what}");
    for n in found {
        let score = scores[n.index as usize].unwrap_or_else(|| panic!("{what}: {n:?}"));
        assert!(
            (f64::from(n.score) - score).abs() < TOLERANCE,
            "{what}: {n:?} {score}"
        );
    }
    let Some(last) = found.last() else { return };
    let others = (0..).zip(scores).filter(|(i, _)| !ids.contains(i));
    let best = others
        .filter_map(|(_, score)| *score)
        .fold(f64::MIN, f64::max);
    assert!(
        best <= f64::from(last.score) + TOLERANCE,
        "{what}: {best} {last:?}"
    );
}

#[test]
fn every_kind_finds_what_a_plain_search_finds() {
    for (count, dim) in [
        (0, 3),
        (1, 1),
        (1, 70),
        (2, 5),
        (50, 3),
        (130, 64),
        (300, 33),
        (1100, 128),
    ] {
        let rows = awkward(count, dim);
        let mut queries = random(4 * dim, 9);
        // One that is a vector of the index, or zero where there is none, and one that is zero.
        let known = rows.get(..dim).map_or(vec![0.0; dim], <[f32]>::to_vec);
        queries.splice(..dim, known);
        queries[3 * dim..].fill(0.0);
        for kind in kinds(count, dim) {
            let index = kind.build(Mat::new(&rows, count, dim)).unwrap();
            assert_eq!(
                (index.len(), index.dim(), index.is_empty()),
                (count, dim, count == 0)
            );
            for k in [0, 1, 5, count, count + 7] {
                let found = index.search(Mat::new(&queries, 4, dim), k).unwrap();
                assert_eq!(found.len(), 4);
                for (query, list) in queries.chunks_exact(dim).zip(&found) {
                    let what = format!("{kind}, {count} of {dim}, k {k}");
                    assert_best(list, &scores(kind, &rows, query, k), k, &what);
                }
            }
        }
    }
}

#[test]
fn indices_say_what_they_hold() {
    let (count, dim) = (100, 128);
    let rows = random(count * dim, 1);
    let bytes = |kind: Kind| kind.build(Mat::new(&rows, count, dim)).unwrap().bytes();
    let [number, byte, bit] = [4 * count * dim, count * dim + 8 * dim, count * dim / 8];
    assert_eq!(bytes(Kind::Flat), number);
    assert_eq!(bytes(Kind::Int8), byte);
    assert_eq!(bytes(Kind::Binary), bit);
    assert_eq!(bytes(Kind::RerankedByInt8 { factor: 4 }), bit + byte);
    assert_eq!(bytes(Kind::RerankedByFlat { factor: 4 }), bit + number);
    assert_eq!(bytes(Kind::Truncated { dim: 32 }), number / 4);
    let graph = bytes(Kind::Hnsw(Parameters::default()));
    // At most 2 M links of four bytes and a list's head in layer 0, and some in the layers above.
    assert!(
        (number + 100 * 60..number + 100 * 200).contains(&graph),
        "{graph}"
    );
}

#[test]
fn the_same_vectors_and_seed_give_the_same_lists_and_another_graph_others() {
    let rows = clustered(600, 24, 20, 1);
    let matrix = Mat::new(&rows, 600, 24);
    for kind in kinds(40, 24) {
        let kind = kind.with_effort(5);
        let search = || kind.build(matrix).unwrap().search(matrix, 7).unwrap();
        assert_eq!(search(), search(), "{kind}");
    }
    let links = |seed| {
        let parameters = Parameters {
            seed,
            ..Parameters::default()
        };
        Kind::Hnsw(parameters).build(matrix).unwrap().bytes()
    };
    assert_eq!(links(1), links(1));
    assert_ne!(links(1), links(2));
}

/// The share of the true neighbors that a graph with the default parameters finds.
fn recall(rows: Mat, queries: Mat, k: usize, effort: usize) -> f64 {
    let mut graph = Hnsw::new(rows, Parameters::default()).unwrap();
    graph.set_effort(effort);
    let lists = |index: &dyn Index| index.search(queries, k).unwrap();
    let exact = lists(&*Kind::Flat.build(rows).unwrap());
    let found = lists(&graph).into_iter().zip(exact).map(|(found, exact)| {
        let exact: HashSet<u32> = exact.iter().map(|n| n.index).collect();
        found.iter().filter(|n| exact.contains(&n.index)).count()
    });
    found.sum::<usize>() as f64 / (k * queries.rows) as f64
}

#[test]
fn a_graph_of_clusters_finds_nearly_all_also_where_data_are_sorted_by_cluster() {
    let (count, dim, clusters) = (2000, 32, 40);
    let mixed = clustered(count, dim, clusters, 5);
    let ids = (0..clusters).flat_map(|c| (c..count).step_by(clusters));
    let sorted: Vec<f32> = ids
        .flat_map(|i| mixed[i * dim..(i + 1) * dim].to_vec())
        .collect();
    let spread = random(count * dim, 6);
    for (rows, least) in [(&mixed, 0.99), (&sorted, 0.99), (&spread, 0.95)] {
        let rows = Mat::new(rows, count, dim);
        let found = recall(rows, rows, 10, Parameters::default().ef);
        assert!(found >= least, "{found}");
        assert_eq!(recall(rows, rows, 10, count), 1.0);
    }
    // Other points than its own find less by a short list of candidates, and all by one of all.
    let queries = random(count * dim, 7);
    let queries = Mat::new(&queries, count, dim);
    let spread = Mat::new(&spread, count, dim);
    let short = recall(spread, queries, 10, 10);
    assert!((0.5..0.95).contains(&short), "{short}");
    assert_eq!(recall(spread, queries, 10, count), 1.0);
}

#[test]
fn a_graph_leads_to_each_of_many_doubles() {
    // Three points, each so often that its copies would fill all links of one another.
    let (count, dim) = (900, 4);
    let points = random(3 * dim, 8);
    let rows: Vec<f32> = (0..count)
        .flat_map(|i| points[i % 3 * dim..][..dim].to_vec())
        .collect();
    let parameters = Parameters {
        m: 3,
        ef_construction: 8,
        ef: count,
        seed: 0,
    };
    let index = Hnsw::new(Mat::new(&rows, count, dim), parameters).unwrap();
    let found = index.search(Mat::new(&points, 3, dim), count).unwrap();
    for (point, list) in found.iter().enumerate() {
        assert_eq!(list.len(), count);
        let own = list.iter().take(count / 3);
        assert!(own.zip(0..).all(|(n, i)| n.index == point as u32 + 3 * i));
    }
}

#[test]
fn what_cannot_be_indexed_or_searched_is_said() {
    let rows = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0];
    let good = [1.0, 2.0, 3.0, 4.0];
    for kind in kinds(2, 2) {
        let error = |result: Result<Box<dyn Index>, IndexError>| result.err().unwrap().to_string();
        let text = error(kind.build(Mat::new(&rows, 3, 2)));
        assert!(text.contains("row 1, column 1 is NaN"), "{kind}: {text}");
        let text = error(kind.build(Mat::new(&[], 3, 0)));
        assert!(
            text.contains("no numbers") || text.contains("cut"),
            "{kind}: {text}"
        );
        let index = kind.build(Mat::new(&good, 2, 2)).unwrap();
        let width = IndexError::Width {
            index: 2,
            queries: 1,
        };
        assert_eq!(
            index.search(Mat::new(&[1.0], 1, 1), 1),
            Err(width),
            "{kind}"
        );
        let text = index
            .search(Mat::new(&rows, 3, 2), 1)
            .unwrap_err()
            .to_string();
        assert!(text.contains("row 1, column 1"), "{kind}: {text}");
        assert_eq!(
            index.search(Mat::new(&[], 0, 2), 1),
            Ok(Vec::new()),
            "{kind}"
        );
        // A view with gaps is read as what it shows.
        let gaps = Mat {
            cols: 2,
            ..Mat::new(&[1.0, 2.0, f32::NAN, 3.0, 4.0, f32::NAN], 2, 3)
        };
        let (a, b) = (kind.build(gaps).unwrap(), gaps);
        assert_eq!(
            a.search(b, 2),
            index.search(Mat::new(&good, 2, 2), 2),
            "{kind}"
        );
    }
    let wrong = |kind: Kind| kind.build(Mat::new(&good, 2, 2)).err().unwrap().to_string();
    assert!(
        wrong(Kind::Truncated { dim: 0 }).contains("of 2 numbers cannot be cut to their first 0")
    );
    assert!(wrong(Kind::Truncated { dim: 3 }).contains("first 3"));
    assert!(wrong(Kind::RerankedByInt8 { factor: 0 }).contains("factor of a shortlist is 0"));
    for (m, ef_construction, ef, text) in [
        (1, 9, 9, "M is 1, at least 2"),
        (2, 0, 9, "ef_construction is 0"),
        (2, 9, 0, "ef is 0"),
    ] {
        let parameters = Parameters {
            m,
            ef_construction,
            ef,
            seed: 0,
        };
        let found = wrong(Kind::Hnsw(parameters));
        assert!(found.contains(text), "{found}");
    }
}
