//! Files of vectors, some of which search and some are searched through.

#[allow(
    dead_code,
    reason = "models, images and full disks are for other tests"
)]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

/// Points on a line, `(id, place, label)`, as JSON lines.
fn lines(points: &[(&str, f32, &str)]) -> String {
    let mut text = String::new();
    for (id, x, label) in points {
        let _ = writeln!(
            text,
            "{{\"id\":\"{id}\",\"embedding\":[1.0,{x}],\"label\":\"{label}\"}}"
        );
    }
    text
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

fn value(found: &Value, score: &str) -> f64 {
    found["vectors"]["retrieval"][score]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn queries_are_looked_for_in_a_gallery_of_another_file() {
    let place = Workplace::new();
    let queries = lines(&[("q", 0.0, "a"), ("r", 1.0, "b"), ("s", 0.5, "z")]);
    place.write("queries.jsonl", queries.as_bytes());
    let gallery = [
        ("1", 0.1, "a"),
        ("2", 0.2, "c"),
        ("3", 0.3, "a"),
        ("4", 0.9, "b"),
    ];
    place.write("gallery.jsonl", lines(&gallery).as_bytes());
    let found = json(&place.run(&[
        "evaluate",
        "queries.jsonl",
        "--gallery",
        "gallery.jsonl",
        "--json",
    ]));
    // q: the first and the third are of its class, R = 2; r finds its one; s has none.
    assert_eq!(
        (value(&found, "r_precision"), value(&found, "map_at_r")),
        (0.75, 0.75)
    );
    let retrieval = &found["vectors"]["retrieval"];
    assert_eq!(
        (&retrieval["queries"], &retrieval["excluded"]),
        (&2.into(), &1.into())
    );
    assert_eq!(found["gallery"], 4);
    let said = place.run(&["evaluate", "queries.jsonl", "--gallery", "gallery.jsonl"]);
    let text = &said.succeeds().stdout;
    for part in [
        "3 vectors of queries.jsonl among 4 of gallery.jsonl",
        "each among 4 items of the gallery",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("NMI beside"), "{text}");
    assert!(
        said.stderr.contains("vectors of lengths 1.000 to 1.414"),
        "{}",
        said.stderr
    );
}

#[test]
fn roles_and_several_labels_say_who_searches_and_what_is_relevant() {
    let place = Workplace::new();
    let points = [
        ("1", 0.0, "a|b"),
        ("2", 0.1, "c"),
        ("3", 0.2, "b"),
        ("4", 0.3, "a | d"),
    ];
    place.write("v.jsonl", lines(&points).as_bytes());
    place.write("roles.txt", b"query\ngallery\ngallery\ngallery\n");
    let options = [
        "evaluate",
        "v.jsonl",
        "--roles",
        "roles.txt",
        "--json",
        "--label-separator",
        "|",
    ];
    let found = json(&place.run(&options));
    // Two are relevant; of the first two that are found one is.
    assert_eq!(
        (value(&found, "r_precision"), &found["gallery"]),
        (0.5, &3.into())
    );
    assert_eq!(found["vectors"]["classes"], 4);
    // As they are, the labels are four classes of one item.
    place
        .run(&["evaluate", "v.jsonl", "--roles", "roles.txt"])
        .fails(1, &["nothing can be retrieved"]);
    place.write("roles.txt", b"query\nbystander\ngallery\ngallery\n");
    place
        .run(&["evaluate", "v.jsonl", "--roles", "roles.txt"])
        .fails(
            2,
            &["roles.txt:2: expected query, gallery, both or ignored, found \"bystander\""],
        );
    place.write("roles.txt", b"query\n");
    place
        .run(&["evaluate", "v.jsonl", "--roles", "roles.txt"])
        .fails(2, &["roles.txt: 1 lines for 4 vectors"]);
}

#[test]
fn what_users_may_not_expect_is_said_and_what_cannot_be_is_refused() {
    let place = Workplace::new();
    let points = [
        ("x", 0.0, "a"),
        ("x", 0.1, "a"),
        ("y", 0.2, "b"),
        ("x", 0.3, "b"),
    ];
    place.write("v.jsonl", lines(&points).as_bytes());
    let said = place.run(&["evaluate", "v.jsonl"]);
    assert!(said.succeeds().stdout.contains("4 vectors of v.jsonl"));
    for part in [
        "2 ids are there before already, such as \"x\"",
        "lengths 1.000 to 1.044",
    ] {
        assert!(
            said.stderr.contains(part),
            "{part} is not in {}",
            said.stderr
        );
    }
    let gallery = |name: &str| place.run(&["evaluate", "v.jsonl", "--gallery", name]);
    place.write(
        "wide.jsonl",
        b"{\"embedding\":[1.0,2.0,3.0],\"label\":\"a\"}\n",
    );
    gallery("wide.jsonl").fails(1, &["queries have 2 numbers, the gallery 3"]);
    place.write("bare.jsonl", b"{\"embedding\":[1.0,2.0]}\n");
    gallery("bare.jsonl").fails(2, &["bare.jsonl: no labels"]);
    place.write("empty.jsonl", b"");
    gallery("empty.jsonl").fails(1, &["empty.jsonl"]);
    place.write("other.jsonl", lines(&[("1", 0.0, "q")]).as_bytes());
    gallery("other.jsonl").fails(1, &["nothing can be retrieved"]);
    place
        .run(&[
            "evaluate",
            "v.jsonl",
            "--gallery",
            "v.jsonl",
            "--protocol",
            "clustering",
        ])
        .fails(2, &["--gallery goes with --protocol retrieval"]);
}
