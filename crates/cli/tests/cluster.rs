//! `nearkin cluster` over files of vectors: every method, and what does not go with it.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

/// Three groups of ten vectors by their directions, and one vector far from all.
fn place() -> Workplace {
    let place = Workplace::new();
    let mut rows = String::new();
    for i in 0..31 {
        let (group, step) = (i % 3, (i / 3) as f64 * 0.01);
        let mut vector = [step, step * step, 0.1 * step];
        vector[group] += 1.0;
        let class = if i < 30 { group } else { 3 };
        if i == 30 {
            vector = [-1.0, -1.0, -1.0];
        }
        writeln!(
            rows,
            "{{\"id\": \"item, {i}\", \"label\": \"{class}\", \"embedding\": {vector:?}}}"
        )
        .unwrap();
    }
    place.write("v.jsonl", rows.as_bytes());
    place
}

fn cluster(place: &Workplace, more: &[&str]) -> Said {
    place.run(&[&["cluster", "v.jsonl"], more].concat())
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

#[test]
fn every_method_finds_the_groups_and_says_how_good_they_are() {
    let place = place();
    let methods: [(&[&str], u64, u64); 7] = [
        (&["--method", "k-means", "--clusters", "4"], 4, 0),
        (
            &[
                "--method",
                "k-means",
                "--clusters",
                "4",
                "--batch",
                "32",
                "--seed",
                "1",
            ],
            4,
            0,
        ),
        (&["--within", "0.3"], 4, 0),
        (
            &[
                "--linkage",
                "ward",
                "--distance",
                "euclidean",
                "--clusters",
                "4",
            ],
            4,
            0,
        ),
        (&["--method", "dbscan", "--within", "0.05"], 3, 1),
        (&["--method", "hdbscan", "--min-size", "4"], 3, 1),
        (&["--method", "communities", "--min-size", "3"], 3, 1),
    ];
    for (method, clusters, noise) in methods {
        let said = json(&cluster(
            &place,
            &[method, &["-o", "c.csv", "--json"]].concat(),
        ));
        assert_eq!(
            (&said["clusters"], &said["noise"], &said["classes"]),
            (&clusters.into(), &noise.into(), &4.into()),
            "{method:?}: {said}"
        );
        for measure in ["ami", "ari", "nmi", "f1", "b_cubed"] {
            assert!(
                (said[measure].as_f64().unwrap() - 1.0).abs() < 1e-9,
                "{method:?}: {said}"
            );
        }
        assert!(said["silhouette"].as_f64().unwrap() > 0.5, "{said}");
        let table = place.read("c.csv");
        let mut lines = table.lines();
        assert_eq!(lines.next(), Some("cluster,medoid,row,item,class"));
        assert_eq!(lines.clone().count(), 31);
        assert_eq!(
            lines.filter(|line| line.contains(",true,")).count() as u64,
            clusters
        );
        let last = table.lines().last().unwrap();
        assert_eq!(last.starts_with(','), noise > 0, "{method:?}: {last}");
        assert!(last.ends_with(",30,\"item, 30\",3"), "{last}");
    }
    let said = cluster(&place, &["--method", "hdbscan", "-o", "c.tsv"]);
    let notes = &said.succeeds().stderr;
    for note in [
        "10 to 10 items a cluster, median 10, silhouette 0.",
        "against 4 classes: AMI 100.0, ARI 100.0, NMI 100.0, pairwise F1 100.0, B-cubed F1 100.0 percent",
        "wrote 3 clusters of 30 of 31 items to c.tsv",
    ] {
        assert!(notes.contains(note), "{note} is not in {notes}");
    }
    let lines = cluster(&place, &["--method", "hdbscan"])
        .succeeds()
        .stdout
        .clone();
    let alone =
        |line: &str| line.starts_with("{\"cluster\":null,") && line.contains("\"class\":\"3\"");
    assert!(lines.lines().any(alone), "{lines}");
}

#[test]
fn the_cut_is_chosen_by_items_whose_classes_are_known() {
    let place = place();
    for best in [&[][..], &["--best", "b-cubed"]] {
        let chosen = ["--threshold-from", "v.jsonl", "-o", "c.jsonl", "--json"];
        let said = cluster(&place, &[&chosen[..], best].concat());
        let note = &said.succeeds().stderr;
        let score = if best.is_empty() {
            "pairwise F1"
        } else {
            "B-cubed F1"
        };
        let end = "100.0 percent on v.jsonl, 4 clusters of 31 items of 4 classes";
        assert!(note.contains(score) && note.contains(end), "{note}");
        let said = json(&said);
        assert_eq!(said["clusters"], 4, "{said}");
        assert!(said["within"].as_f64().unwrap() > 0.05, "{said}");
    }
    place.write(
        "one.jsonl",
        b"{\"id\": \"a\", \"label\": \"x\", \"embedding\": [1, 2, 3]}\n",
    );
    cluster(&place, &["--threshold-from", "one.jsonl"])
        .fails(2, &["one.jsonl", "two classes or more, found 1"]);
}

#[test]
fn options_that_do_not_go_with_the_method_are_refused() {
    let place = place();
    for (more, message) in [
        (
            &["--method", "dbscan", "--clusters", "3"][..],
            "--clusters goes with --method k-means or agglomerative, not dbscan",
        ),
        (
            &["--batch", "9"],
            "--batch goes with --method k-means, not agglomerative",
        ),
        (
            &["--method", "k-means", "--within", "0.3"],
            "--within goes with --method agglomerative or dbscan or communities, not k-means",
        ),
        (
            &["--method", "k-means", "--clusters", "3", "--min-size", "2"],
            "--min-size goes with --method hdbscan or communities",
        ),
        (&["--method", "k-means"], "--clusters N"),
        (
            &["--method", "dbscan"],
            "say where to stop: --within DISTANCE",
        ),
        (
            &[],
            "--clusters N, --within DISTANCE or --threshold-from LABELED",
        ),
        (
            &["--clusters", "2", "--within", "0.3"],
            "cannot be used with",
        ),
        (&["--clusters", "2", "--best", "f1"], "--threshold-from"),
        (
            &["--method", "communities", "--distance", "euclidean"],
            "not by --distance euclidean",
        ),
        (
            &["--clusters", "32"],
            "--clusters 32: there are only 31 items to cluster",
        ),
        (
            &["--method", "k-means", "--clusters", "32"],
            "there are only 31 items to cluster",
        ),
        (&["--within", "2.5"], "a number from 0 to 2"),
        (&["--clusters", "2", "-o", "c.xls"], "jsonl, tsv or csv"),
    ] {
        cluster(&place, more).fails(2, &[message]);
    }
    cluster(&place, &["--clusters", "2", "--linkage", "ward"]).fails(1, &["ward", "euclidean"]);
    cluster(&place, &["--within", "2.5", "--distance", "euclidean"]).succeeds();
}
