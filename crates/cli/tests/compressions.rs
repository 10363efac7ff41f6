//! What indices lose, from the command line.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

/// Vectors of 32 numbers around 6 centers, a JSON object a line, with labels or without.
fn lines(count: usize, labeled: bool) -> String {
    let mut text = String::new();
    for item in 0..count {
        let class = item % 6;
        let number = |d: usize| {
            let noise = (item * 31 + d * 17 + item * d) % 101;
            ((class * 7 + d * 5) as f64).sin() + noise as f64 / 101.0
        };
        let numbers: Vec<String> = (0..32).map(|d| format!("{:.4}", number(d))).collect();
        let label = if labeled {
            format!("\"label\":\"c{class}\",")
        } else {
            String::new()
        };
        writeln!(text, "{{{label}\"embedding\":[{}]}}", numbers.join(",")).unwrap();
    }
    text
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

const NAMES: [&str; 10] = [
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

#[test]
fn a_file_of_vectors_shows_what_each_index_loses() {
    let place = Workplace::new();
    place.write("v.jsonl", lines(240, true).as_bytes());
    place.write("bare.jsonl", lines(240, false).as_bytes());
    let shown = place.run(&["evaluate", "v.jsonl", "--compressions"]);
    let parts = [
        "240 vectors of v.jsonl",
        "queries/s",
        "top 100",
        "Recall@1",
        "MAP@R",
        "seed 0",
    ];
    for part in NAMES.iter().chain(&parts) {
        assert!(
            shown.succeeds().stdout.contains(part),
            "{part}: {}",
            shown.stdout
        );
    }
    let bare = place.run(&["evaluate", "bare.jsonl", "--compressions"]);
    assert!(!bare.succeeds().stdout.contains("MAP@R"), "{}", bare.stdout);
    let found = json(&place.run(&["evaluate", "v.jsonl", "--compressions", "--json"]));
    let found = &found["compressions"];
    assert_eq!(
        (&found["items"], &found["dim"], &found["queries"]),
        (&192.into(), &32.into(), &48.into())
    );
    let rows = found["rows"].as_array().unwrap();
    for (row, name) in rows.iter().zip(NAMES) {
        assert_eq!(row["name"], name);
        let at = row["at"].as_array().unwrap();
        let ks: Vec<u64> = at.iter().map(|at| at["k"].as_u64().unwrap()).collect();
        assert_eq!(ks, [1, 10, 100]);
        let recall = |at: &Value| at["recall"].as_f64().unwrap();
        assert!(
            at.iter().all(|at| (0.0..=1.0).contains(&recall(at))),
            "{row}"
        );
        assert!(
            at.iter()
                .all(|at| at["queries_per_second"].as_f64().unwrap() > 0.0)
        );
        let all_found = at.iter().all(|at| recall(at) == 1.0);
        assert!(
            all_found || !["exact", "HNSW, ef 512"].contains(&name),
            "{row}"
        );
        assert!(row["labels"]["map_at_r"].is_number(), "{row}");
    }
    let bytes = |row: usize| rows[row]["bytes_per_vector"].as_f64().unwrap();
    assert_eq!(
        (rows.len(), bytes(0), bytes(2), bytes(5)),
        (10, 128.0, 8.0, 64.0)
    );
    // A graph that finds all is worth by labels what the exact index is.
    assert_eq!(rows[0]["labels"], rows[9]["labels"]);
}

#[test]
fn a_model_with_its_data_is_measured_as_its_vectors() {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    place.train("recipe.toml", &["--out", "run"]).succeeds();
    let of_model = [
        "evaluate",
        "run/model",
        "--data",
        "photos",
        "--compressions",
    ];
    let shown = place.run(&of_model);
    assert!(
        shown.succeeds().stdout.contains("all of photos"),
        "{}",
        shown.stdout
    );
    // 32 images: there are no 100 others.
    assert!(!shown.stdout.contains("top 100"), "{}", shown.stdout);
    place
        .run(&["embed", "run/model", "photos", "-o", "v.npy"])
        .succeeds();
    let model = json(&place.run(&[&of_model[..], &["--json"]].concat()));
    let file = json(&place.run(&["evaluate", "v.npy", "--compressions", "--json"]));
    let of = |found: &Value| {
        let rows = found["compressions"]["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| (row["bytes"].clone(), row["labels"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&model), of(&file));
    let refused = |more: &[&str], text: &str| {
        place.run(&[&of_model[..], more].concat()).fails(2, &[text]);
    };
    refused(
        &["--protocol", "clustering"],
        "--compressions goes with --protocol retrieval",
    );
    refused(
        &["--protocol", "reid"],
        "--compressions goes with --protocol retrieval",
    );
    refused(&["--at", "1"], "cannot be used with");
    refused(&["--against", "run/model"], "cannot be used with");
}

#[test]
fn what_has_no_neighbors_or_no_vectors_is_refused() {
    let place = Workplace::new();
    place.write("one.jsonl", lines(1, true).as_bytes());
    let run =
        |arguments: &[&str]| place.run(&[&["evaluate"], arguments, &["--compressions"]].concat());
    run(&["one.jsonl"]).fails(1, &["1 queries among 1 vectors"]);
    run(&["gone.npy"]).fails(1, &["gone.npy"]);
    run(&["tfidf"]).fails(2, &["--compressions is of vectors", "nearkin embed"]);
    run(&["one.jsonl", "--data", "photos"]).fails(2, &["--data goes with a model"]);
}
