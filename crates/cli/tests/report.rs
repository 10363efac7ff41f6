//! `nearkin report` and `nearkin watch`.

#[allow(dead_code, reason = "images are enough here")]
mod workplace;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use workplace::{Said, Workplace};

const MARKUP: &str = "</script><script>alert(1)</script>";

fn json(said: &Said) -> Value {
    said.succeeds();
    serde_json::from_str(&said.stdout).unwrap()
}

/// A file of vectors in which two classes lie apart, called by `label` and `id`.
fn vectors(place: &Workplace, name: &str, label: &str, id: &str) {
    let line = |row: usize| {
        let (class, at) = (row % 2, row as f64 / 40.0);
        let label = if class == 0 { "plain" } else { label };
        let vector = if class == 0 { [1.0, at] } else { [at, 1.0] };
        serde_json::json!({"id": format!("{row} {id}"), "label": label, "embedding": vector})
            .to_string()
            + "\n"
    };
    let text: String = (0..24).map(line).collect();
    place.write(name, text.as_bytes());
}

#[test]
fn a_run_has_its_page_before_and_after_it_has_a_model() {
    let place = Workplace::new();
    place.images("photos", 12, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    place.train("recipe.toml", &[]).succeeds();
    let told = json(&place.run(&[
        "report",
        "runs/recipe",
        "-o",
        "page.html",
        "--json",
        "--threads",
        "2",
    ]));
    let page = place.read("page.html");
    assert_eq!(told["bytes"], page.len());
    assert_eq!(told["file"], "page.html");
    // What the report measures is what evaluating the model finds.
    let measured = json(&place.run(&["evaluate", "runs/recipe/model", "--json", "--threads", "2"]));
    assert_eq!(
        told["figures"]["recall_at_1"],
        measured["model"]["retrieval"]["at"][0]["recall_at_k"]["value"]
    );
    for section in [
        "scores",
        "curves",
        "rates",
        "distances",
        "map",
        "neighbors",
        "hardest",
        "classes",
        "confusions",
        "environment",
    ] {
        assert!(
            page.contains(&format!("<section id=\"{section}\"")),
            "{section}"
        );
    }
    for there in [
        "data:image/",
        "trained model",
        "nearkin report runs/recipe -o page.html",
        "[sampler",
    ] {
        assert!(page.contains(there), "{there}");
    }
    for loaded in ["<link", "src=\"http", "url(", "@import", "https://"] {
        assert!(!page.contains(loaded), "{loaded}");
    }
    let model = place.path("runs/recipe/model");
    std::fs::rename(&model, place.path("away")).unwrap();
    let said = place.run(&["report", "runs/recipe", "-o", "page.html"]);
    assert!(
        said.succeeds().stderr.contains("no model yet"),
        "{}",
        said.stderr
    );
    assert!(!place.read("page.html").contains("<section id=\"map\""));
    place
        .run(&["report", "away"])
        .fails(1, &["a model folder, expected that of the run"]);
}

#[test]
fn vectors_from_anywhere_have_a_page_in_which_nothing_foreign_is_markup() {
    let place = Workplace::new();
    vectors(&place, "v <b>.jsonl", MARKUP, MARKUP);
    let told = json(&place.run(&["report", "v <b>.jsonl", "--json"]));
    assert_eq!(told["figures"]["items"], 24.0);
    assert_eq!(told["figures"]["recall_at_1"], 1.0);
    let page = place.read("report.html");
    // The data of the map and the page's own script.
    assert_eq!(page.matches("<script").count(), 2);
    assert!(!page.contains("<b>") && page.contains("v &lt;b&gt;.jsonl"));
    let first = page.clone();
    json(&place.run(&["report", "v <b>.jsonl", "--json"]));
    assert_eq!(place.read("report.html"), first);
}

#[test]
fn pictures_are_found_by_ids() {
    let place = Workplace::new();
    place.images("photos", 2, 3);
    let line = |row: u8| {
        let (class, item) = (row / 3, row % 3);
        format!(
            "{{\"id\":\"c{class}/{item}.png\",\"label\":\"{class}\",\"embedding\":[{class},{item}]}}\n"
        )
    };
    place.write("v.jsonl", (0..6).map(line).collect::<String>().as_bytes());
    let told = json(&place.run(&["report", "v.jsonl", "--images", "photos", "--json"]));
    assert_eq!(told["notes"], serde_json::json!([]));
    assert!(place.read("report.html").contains("src=\"data:image/"));
    let told = json(&place.run(&["report", "v.jsonl", "--images", "nowhere", "--json"]));
    assert!(
        told["notes"][0]
            .as_str()
            .unwrap()
            .contains("pictures could not be read")
    );
}

#[test]
fn what_cannot_be_reported_is_said_and_nothing_is_written() {
    let place = Workplace::new();
    place
        .run(&["report", "nowhere"])
        .fails(1, &["nowhere", "expected the folder of a run"]);
    place.write("empty/metrics.jsonl", b"");
    place
        .run(&["report", "empty"])
        .fails(1, &["no step in it yet"]);
    place.write("broken/metrics.jsonl", b"{\"step\":1,\"loss\":1}\nwhat?\n");
    place
        .run(&["report", "broken"])
        .fails(1, &["metrics.jsonl", "line 2"]);
    place.write("bare.jsonl", b"{\"embedding\":[1,2]}\n");
    place
        .run(&["report", "bare.jsonl"])
        .fails(1, &["no labels"]);
    place.write(
        "one.jsonl",
        b"{\"embedding\":[1],\"label\":\"a\"}\n{\"embedding\":[2],\"label\":\"a\"}\n",
    );
    place
        .run(&["report", "one.jsonl"])
        .fails(1, &["2 classes are needed, but there are 1"]);
    place.write("nan.npy", &npy(&[1.0, 2.0, f32::NAN, 4.0]));
    place.write("nan.labels.txt", b"a\nb\n");
    place
        .run(&["report", "nan.npy"])
        .fails(1, &["nan.npy: row 1, column 0 is NaN"]);
    assert!(!place.path("report.html").exists());
    vectors(&place, "v.jsonl", "other", "id");
    place
        .run(&["report", "v.jsonl", "-o", "v.jsonl"])
        .fails(2, &["ends in .html"]);
    place
        .run(&["report", "v.jsonl", "-o", "no/such/page.html"])
        .fails(2, &["there is no folder no/such"]);
    place
        .run(&["report", "empty", "--images", "photos"])
        .fails(2, &["--images goes with a file of vectors"]);
    place.write("page.html", b"old");
    let full = workplace::limited(&place, 8, &["report", "v.jsonl", "-o", "page.html"]);
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert_eq!(place.read("page.html"), "old");
    assert_eq!(workplace::half_written(&place.path("")), [""; 0]);
}

/// A matrix of two columns.
fn npy(numbers: &[f32]) -> Vec<u8> {
    let head = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 2), }}",
        numbers.len() / 2
    );
    let head = format!("{head:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.bytes());
    file.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    file
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_run_can_be_watched_while_its_journal_grows() {
    let place = Workplace::new();
    place
        .run(&["watch", "nowhere"])
        .fails(1, &["expected the folder of a run"]);
    let line = "{\"step\":1,\"loss\":0.5,\"rate\":0.1}\n";
    place.write("run/metrics.jsonl", line.as_bytes());
    let mut command = place.command(&["watch", "run", "--json"]);
    let mut server = Ended(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let address = said
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("http://"))
        .unwrap();
    let address = address
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let get = |path: &str, host: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/", address).contains("Step 1, loss 0.5000."));
    assert!(get("/", "evil.example").starts_with("HTTP/1.1 403"));
    assert!(get("/../run/metrics.jsonl", address).starts_with("HTTP/1.1 404"));
    let grown = format!(
        "{line}{}{{\"step\":3,",
        line.replace(":1,", ":2,").replace("0.5", "0.25")
    );
    place.write("run/metrics.jsonl", grown.as_bytes());
    assert!(get("/curves.json?seen=1", address).contains("Step 2, loss 0.2500."));
    let port = address.split(':').nth(1).unwrap();
    place
        .run(&["watch", "run", "--port", port])
        .fails(1, &["127.0.0.1", "cannot listen"]);
}
