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

#[test]
fn labels_and_ids_are_read_as_they_were_meant_or_refused() {
    let place = Workplace::new();
    let vectors = |name: &str, labels: &[&str], ids: bool| {
        let mut text = String::new();
        for (row, label) in labels.iter().enumerate() {
            let id = if ids {
                format!("\"id\":{row},")
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "{{{id}\"embedding\":[1,{}],\"label\":{label}}}",
                row + 1
            );
        }
        place.write(name, text.as_bytes());
    };
    // Whole numbers are names too.
    vectors("numbers.jsonl", &["0", "0", "7", "7"], true);
    let found = json(&place.run(&["evaluate", "numbers.jsonl", "--json"]));
    assert_eq!(found["vectors"]["classes"], 2);
    vectors("empty.jsonl", &["\"a\"", "\"\"", "\"a\""], true);
    place
        .run(&["evaluate", "empty.jsonl"])
        .fails(2, &["empty.jsonl: the label of vector 2 of 3 is empty"]);
    vectors(
        "blanks.jsonl",
        &["\"a\"", "\"a\"", "\"a \"", "\"a \""],
        true,
    );
    let said = place.run(&["evaluate", "blanks.jsonl"]);
    assert!(
        said.succeeds()
            .stderr
            .contains("differ in blanks around them alone"),
        "{}",
        said.stderr
    );
    // The same labels, other items.
    place.write(
        "turned.jsonl",
        b"{\"id\":1,\"embedding\":[1,1],\"label\":0}\n{\"id\":0,\"embedding\":[1,2],\"label\":0}\n\
          {\"id\":2,\"embedding\":[1,3],\"label\":7}\n{\"id\":3,\"embedding\":[1,4],\"label\":7}\n",
    );
    place
        .run(&["evaluate", "numbers.jsonl", "--against", "turned.jsonl"])
        .fails(2, &["its ids are not those of the first file"]);
    // A mark of UTF-8 is no part of the first label.
    place.run(&["evaluate", "numbers.jsonl"]).succeeds();
    two_by_two(&place, "v.npy");
    place.write("v.labels.txt", "\u{feff}a\na\n".as_bytes());
    let found = json(&place.run(&["evaluate", "v.npy", "--json"]));
    assert_eq!(found["vectors"]["classes"], 1);
    place.write("pairs.csv", b"first,second,same\n0,1,1\n1,1,1\n0,2,0\n");
    let pairs = ["--protocol", "verification", "--pairs", "pairs.csv"];
    place
        .run(&[&["evaluate", "numbers.jsonl"], &pairs[..]].concat())
        .fails(2, &["pairs.csv: pair 2 is of 1 with itself"]);
    place.write(
        "zero.jsonl",
        b"{\"embedding\":[0,0],\"label\":1}\n{\"embedding\":[1,0],\"label\":1}\n",
    );
    let said = place.run(&["evaluate", "zero.jsonl"]);
    assert!(
        said.succeeds().stderr.contains("1 vectors are zero"),
        "{}",
        said.stderr
    );
    place.write("roles.txt", b"gallery\ngallery\n");
    place
        .run(&["evaluate", "zero.jsonl", "--roles", "roles.txt"])
        .fails(1, &["0 queries and 2 items to search"]);
}

/// A `.npy` of two rows of two numbers.
fn two_by_two(place: &Workplace, name: &str) {
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    for number in [1.0_f32, 2.0, 3.0, 5.0] {
        bytes.extend(number.to_le_bytes());
    }
    place.write(name, &bytes);
}
