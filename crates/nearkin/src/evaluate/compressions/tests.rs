//! Tests of the table.

use super::*;
use crate::evaluate::{Options, Relevance, Role, Searched};
use crate::search::{Similarity, neighbors};
use nearkin_encoder::parameters::named_rng;
use rand::RngExt;

/// Points around the centers of some classes.
fn clustered(count: usize, dim: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let mut rng = named_rng(1, "clustered");
    let mut draw = |n: usize| {
        (0..n)
            .map(|_| rng.random_range(-1.0f32..1.0))
            .collect::<Vec<_>>()
    };
    let (centers, noise) = (draw(classes * dim), draw(count * dim));
    let at = |i: usize| centers[i / dim % classes * dim + i % dim] + noise[i];
    (
        (0..count * dim).map(at).collect(),
        (0..count).map(|i| (i % classes) as u32).collect(),
    )
}

#[test]
fn items_that_search_are_measured_as_by_the_exact_protocol() {
    let (count, dim) = (300, 32);
    let (rows, labels) = clustered(count, dim, 12);
    let matrix = Mat::new(&rows, count, dim);
    let options = CompressionOptions {
        ks: vec![1, 10, 30],
        ..CompressionOptions::default()
    };
    let mut told = Vec::new();
    let observe = &mut |what: &str| told.push(what.to_owned());
    let found = compressions(matrix, Some(&labels), &options, observe).unwrap();
    let names: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
    let expected = [
        "exact",
        "int8",
        "binary",
        "binary + int8 ×4",
        "binary + int8 ×16",
        "first 16",
        "first 8",
        "HNSW, ef 32",
        "HNSW, ef 128",
        "HNSW, ef 512",
    ];
    assert_eq!(names, expected);
    assert!(
        told.contains(&"building HNSW, ef 64".to_owned()),
        "{told:?}"
    );
    assert_eq!((found.items, found.dim, found.queries), (240, 32, 60));
    let drawn = Asked::new(matrix, None, &options).unwrap().queries.items;
    let role = |item| match drawn.binary_search(&item) {
        Ok(_) => Role::Query,
        Err(_) => Role::Gallery,
    };
    let roles: Vec<Role> = (0..count).map(role).collect();
    let searched = Searched {
        embeddings: matrix,
        relevance: Relevance::Classes(&labels),
        roles: Some(&roles),
    };
    let by_protocol = searched.retrieval(&Options::quick()).unwrap();
    let exact = found.rows[0].labels.unwrap();
    assert!((exact.recall_at_1 - by_protocol.at[0].recall_at_k.value).abs() < 1e-6);
    assert!((exact.map_at_r.unwrap() - by_protocol.map_at_r.value).abs() < 1e-6);
    for row in [&found.rows[0], &found.rows[9]] {
        assert!(row.at.iter().all(|at| at.recall == 1.0), "{row:?}");
        assert_eq!(row.labels.unwrap(), exact);
    }
    // What each row loses, in the order in which it must.
    let at_10 = |row: usize| found.rows[row].at[1].recall;
    assert!(at_10(1) > 0.9 && at_10(1) < 1.0, "int8 {}", at_10(1));
    assert!(
        at_10(2) < at_10(3) && at_10(3) < at_10(4),
        "bits and shortlists"
    );
    assert!(at_10(6) < at_10(5) && at_10(5) < 1.0, "a quarter, a half");
    assert!(
        found
            .rows
            .iter()
            .flat_map(|row| &row.at)
            .all(|at| at.queries_per_second > 0.0)
    );
}

#[test]
fn the_share_found_is_that_of_plain_lists() {
    let (count, dim, k) = (120, 16, 7);
    let (rows, _) = clustered(count, dim, 5);
    let matrix = Mat::new(&rows, count, dim);
    let options = CompressionOptions {
        ks: vec![k],
        ..CompressionOptions::default()
    };
    let found = compressions(matrix, None, &options, &mut |_| {}).unwrap();
    let asked = Asked::new(matrix, None, &options).unwrap();
    let (queries, gallery) = (asked.queries.vectors(), asked.gallery.vectors());
    let exact = neighbors(queries, gallery, Similarity::Cosine, k).unwrap();
    // The signs agreed on, one by one; equal numbers go to the smaller index there too.
    let row = |of: Mat, at: usize| of.data[at * dim..(at + 1) * dim].to_vec();
    let mut shared = 0;
    for query in 0..queries.rows {
        let agreed = |item: usize| {
            let (a, b) = (row(queries, query), row(gallery, item));
            a.iter()
                .zip(b)
                .filter(|(a, b)| (**a > 0.0) == (*b > 0.0))
                .count()
        };
        let mut items: Vec<usize> = (0..gallery.rows).collect();
        items.sort_by(|&a, &b| agreed(b).cmp(&agreed(a)).then(a.cmp(&b)));
        let nearest: Vec<usize> = exact.row(query).map(|(item, _)| item).collect();
        shared += items[..k]
            .iter()
            .filter(|item| nearest.contains(item))
            .count();
    }
    let recall = shared as f64 / (queries.rows * k) as f64;
    assert!(
        (found.rows[2].at[0].recall - recall).abs() < 1e-12,
        "{recall}"
    );
    assert_eq!(found.rows[2].labels, None);
}

#[test]
fn doubles_count_as_found_whichever_is_found() {
    // All are copies of two opposite points: whatever is found among one's own kind is right.
    let rows: Vec<f32> = (0..60)
        .flat_map(|i| {
            if i % 2 == 0 {
                [1.0f32, 2.0]
            } else {
                [-1.0, -2.0]
            }
        })
        .collect();
    let options = CompressionOptions {
        ks: vec![5],
        queries: 10,
        seed: 3,
    };
    let found = compressions(Mat::new(&rows, 60, 2), None, &options, &mut |_| {}).unwrap();
    assert_eq!(found.queries, 10);
    assert!(
        found.rows.iter().all(|row| row.at[0].recall == 1.0),
        "{found:?}"
    );
    // Too short to be cut.
    assert!(found.rows.iter().all(|row| !row.name.starts_with("first")));
}

#[test]
fn map_at_r_is_left_out_where_lists_are_shorter_than_classes() {
    let (rows, labels) = clustered(60, 16, 3);
    let measure = |labels: &[u32]| {
        let options = CompressionOptions {
            ks: vec![10],
            ..CompressionOptions::default()
        };
        let matrix = Mat::new(&rows, 60, 16);
        let found = compressions(matrix, Some(labels), &options, &mut |_| {}).unwrap();
        found.rows[0].labels
    };
    assert_eq!(measure(&labels).unwrap().map_at_r, None);
    let alone: Vec<u32> = (0..60).collect();
    assert_eq!(measure(&alone), None);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let rows = [1.0, 2.0, 3.0, f32::NAN];
    let message = |rows: &[f32], count: usize, labels: Option<&[u32]>, ks: &[usize]| {
        let options = CompressionOptions {
            ks: ks.to_vec(),
            ..CompressionOptions::default()
        };
        let matrix = Mat::new(rows, count, rows.len() / count.max(1));
        compressions(matrix, labels, &options, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(message(&rows, 2, None, &[1]).contains("row 1, column 1 is NaN"));
    assert!(message(&rows[..2], 2, None, &[2]).contains("K = 2: from 1 to 1"));
    assert!(message(&rows[..2], 2, None, &[0]).contains("K = 0"));
    assert!(message(&rows[..2], 2, None, &[]).contains("K = 0"));
    assert!(message(&rows[..2], 2, Some(&[1]), &[1]).contains("2 embeddings but 1 labels"));
    assert!(message(&rows[..2], 1, None, &[1]).contains("1 vectors"));
    assert!(message(&[], 0, None, &[1]).contains("0 vectors"));
    assert_eq!(CompressionOptions::of(120).ks, [1, 10]);
    assert_eq!(CompressionOptions::of(1).ks, [1]);
}
