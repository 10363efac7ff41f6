//! The commands on text, with tiny encoders.

mod tiny;
#[allow(dead_code, reason = "images and training are for the other tests")]
mod workplace;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use workplace::{Said, Workplace};

const TEXTS: &str = "a cat sat\nthe dog ran\n\na cat sat down\nrice and beans\n";

fn workplace() -> Workplace {
    let place = Workplace::new();
    tiny::sentence_encoder(&place.path("model"), 1);
    place.write("texts.txt", TEXTS.as_bytes());
    place
}

fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

#[test]
fn a_text_a_line_is_embedded_from_a_file_or_standard_input_into_every_format() {
    let place = workplace();
    let said = place.run(&["embed", "model", "texts.txt", "-o", "v.npy", "--json"]);
    let said = json(&said);
    assert_eq!(
        (&said["rows"], &said["dim"], &said["resumed"]),
        (&5.into(), &16.into(), &0.into())
    );
    assert_eq!(place.read("v.ids.txt"), TEXTS);
    let mut child = place.command(&["embed", "model", "-", "-o", "w.npy"]);
    let mut child = child
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(TEXTS.as_bytes())
        .unwrap();
    Said::from(child.wait_with_output().unwrap()).succeeds();
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("v.npy"), bytes("w.npy"));
    for name in ["v.jsonl", "v.parquet", "v.safetensors"] {
        place
            .run(&["embed", "model", "texts.txt", "-o", name])
            .succeeds();
        let vectors = nearkin::vectors::read(&place.path(name)).unwrap();
        assert_eq!(
            vectors,
            nearkin::vectors::read(&place.path("v.npy")).unwrap(),
            "{name}"
        );
    }
    let left = std::fs::read_dir(place.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().contains("part"))
    );
}

#[test]
fn vectors_are_cut_normalized_prompted_and_quantized_as_asked() {
    let place = workplace();
    place.write("t.csv", b"id,text\n1,\"a, cat\"\n2,\"two\nlines\"\n3,dog\n");
    let read = |more: &[&str]| {
        let command = ["embed", "model", "t.csv", "--id", "id", "-o", "v.jsonl"];
        place.run(&[&command[..], more].concat()).succeeds();
        nearkin::vectors::read(&place.path("v.jsonl")).unwrap()
    };
    let plain = read(&[]);
    assert_eq!(plain.ids.as_ref().unwrap(), &["1", "2", "3"]);
    let cut = read(&["--dim", "4", "--normalize"]);
    for (short, long) in cut.data.chunks(4).zip(plain.data.chunks(16)) {
        let length = long[..4].iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(
            short
                .iter()
                .zip(long)
                .all(|(s, l)| (s - l / length).abs() < 1e-5)
        );
    }
    let rounded = read(&["--compute", "int8"]);
    let apart = rounded.data.iter().zip(&plain.data);
    let farthest = apart.map(|(r, p)| (r - p).abs()).fold(0.0, f32::max);
    assert!(0.0 < farthest && farthest < 0.1, "{farthest}");
    let prompted = read(&["--prompt-text", "query: "]);
    assert_ne!(prompted.data, plain.data);
    let bits = read(&["--quantize", "ubinary"]);
    let expected = nearkin::quantize::ubinary(nearkin::Mat::new(&plain.data, 3, 16)).unwrap();
    assert_eq!(
        bits.data,
        expected.iter().map(|&b| f32::from(b)).collect::<Vec<_>>()
    );
    let mat = nearkin::Mat::new(&plain.data, 3, 16);
    let ranges = nearkin::quantize::Ranges::of(mat).unwrap();
    let expected = nearkin::quantize::int8(mat, &ranges).unwrap();
    let bytes = read(&["--quantize", "int8"]);
    assert_eq!(
        bytes.data,
        expected.iter().map(|&b| f32::from(b)).collect::<Vec<_>>()
    );
    let embed =
        |more: &[&str]| place.run(&[&["embed", "model", "t.csv", "-o", "v.npy"], more].concat());
    embed(&["--dim", "4"]).succeeds();
    let calibration = ["--quantize", "int8", "--calibration", "v.npy"];
    let error = ["the ranges are of 4 dimensions, the embeddings of 16"];
    place
        .run(
            &[
                &["embed", "model", "t.csv", "-o", "w.npy"],
                &calibration[..],
            ]
            .concat(),
        )
        .fails(1, &error);
    // The ranges of other vectors, given as two rows; what is beyond them is the last byte on its side.
    let given = [[-0.01; 16], [0.02; 16]].concat();
    let two = nearkin::vectors::Vectors::new(2, 16, given.clone());
    nearkin::vectors::write(&place.path("ranges.npy"), &two).unwrap();
    let ranges = nearkin::quantize::Ranges::of(nearkin::Mat::new(&given, 2, 16)).unwrap();
    let expected = nearkin::quantize::int8(mat, &ranges).unwrap();
    let bytes = read(&["--quantize", "int8", "--calibration", "ranges.npy"]);
    let expected: Vec<f32> = expected.iter().map(|&b| f32::from(b)).collect();
    assert_eq!(bytes.data, expected);
    assert!(expected.contains(&-128.0) && expected.contains(&127.0));
    embed(&["--calibration", "ranges.npy"]).fails(2, &["--quantize"]);
    embed(&["--quantize", "binary", "--calibration", "ranges.npy"])
        .fails(2, &["bits have no ranges"]);
    embed(&["--prompt", "query"]).fails(2, &["--prompt: prompt \"query\" is none of"]);
    embed(&["--dim", "17"]).fails(2, &["--dim 17", "16 numbers"]);
    embed(&["--column", "txet"])
        .fails(1, &["t.csv:1: no column \"txet\" (did you mean \"text\"?)"]);
}

#[test]
fn a_killed_run_goes_on_and_writes_the_same_bytes() {
    let place = workplace();
    let words = ["cat", "dog", "rice", "beans", "moon", "river", "stone"];
    let line = |i: usize| {
        (0..18)
            .map(|w| words[(i * 31 + w * w) % 7])
            .collect::<Vec<_>>()
            .join(" ")
    };
    let texts: String = (0..14_000)
        .map(|i| [&i.to_string(), " ", &line(i), "\n"].concat())
        .collect();
    place.write("many.txt", texts.as_bytes());
    place
        .run(&["embed", "model", "many.txt", "-o", "whole.npy"])
        .succeeds();
    embed_and_stop(
        &place,
        &["embed", "model", "many.txt", "-o", "cut.npy"],
        "-KILL",
    );
    assert!(!place.path("cut.npy").exists());
    // What is there is of this model and of these texts.
    tiny::sentence_encoder(&place.path("other"), 2);
    place
        .run(&["embed", "other", "many.txt", "-o", "cut.npy"])
        .fails(1, &["cut.npy.partial", "another model"]);
    place
        .run(&["embed", "model", "texts.txt", "-o", "cut.npy"])
        .fails(1, &["text 1 of the input was another"]);
    let said = json(&place.run(&["embed", "model", "many.txt", "-o", "cut.npy", "--json"]));
    assert!(said["resumed"].as_u64().unwrap() >= 4096, "{said}");
    for name in ["npy", "ids.txt"] {
        let [whole, cut] = ["whole", "cut"]
            .map(|file| std::fs::read(place.path(&format!("{file}.{name}"))).unwrap());
        assert!(whole == cut, "{name}");
    }
    assert!(!place.path("cut.npy.partial").exists());
}

/// Sends a signal to a run that writes cut.npy, once vectors are kept.
fn embed_and_stop(place: &Workplace, arguments: &[&str], signal: &str) -> Said {
    let mut command: Command = place.command(arguments);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !place.path("cut.npy.partial.json").exists() {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no vectors were kept"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut kill = Command::new("kill");
    kill.args([signal, &child.id().to_string()]);
    assert!(kill.status().unwrap().success());
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_run_does_not_go_on_over_other_texts_of_the_same_names() {
    let place = workplace();
    let rows = |word: &str| {
        let rows = (0..14_000).map(|i| {
            let word = if i == 7 { word } else { "cat" };
            [&i.to_string(), "\t", word, "\n"].concat()
        });
        ["id\ttext\n", &rows.collect::<String>()].concat()
    };
    place.write("one.tsv", rows("cat").as_bytes());
    place.write("other.tsv", rows("dog").as_bytes());
    let embed = |table| ["embed", "model", table, "--id", "id", "-o", "cut.npy"];
    let said = embed_and_stop(&place, &embed("one.tsv"), "-INT");
    assert_eq!(said.code, Some(130), "{}", said.stderr);
    for part in [
        "the vectors of ",
        " texts are kept in cut.npy.partial",
        "the same command goes on",
    ] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
    place.run(&embed("other.tsv")).fails(
        1,
        &["cut.npy.partial", "of another text among the first ones"],
    );
    place.run(&embed("one.tsv")).succeeds();
}

#[test]
fn bad_texts_and_outputs_are_named() {
    let place = workplace();
    place.write("bad.txt", b"fine\nnot \xff text\nfine too\n");
    place
        .run(&["embed", "model", "bad.txt", "-o", "v.npy"])
        .fails(1, &["bad.txt", "line 2", "not UTF-8"]);
    assert!(!place.path("v.npy").exists() && !place.path("v.npy.partial").exists());
    let said = json(&place.run(&[
        "embed",
        "model",
        "bad.txt",
        "-o",
        "v.npy",
        "--damaged",
        "0.5",
        "--json",
    ]));
    assert_eq!((&said["rows"], &said["damaged"]), (&2.into(), &1.into()));
    place.write("empty.txt", b"");
    place
        .run(&["embed", "model", "empty.txt", "-o", "v.npy"])
        .fails(1, &["0 rows"]);
    let long = format!("{}\nshort\n", "cat dog ".repeat(131_072));
    place.write("long.txt", long.as_bytes());
    place
        .run(&[
            "embed",
            "model",
            "long.txt",
            "-o",
            "v.npy",
            "--quantize",
            "binary",
        ])
        .succeeds();
    place
        .run(&["embed", "model", "texts.txt", "-o", "absent/v.npy"])
        .fails(2, &["absent: no such folder"]);
    place
        .run(&["embed", "model", "texts.txt", "-o", "v.txt"])
        .fails(2, &["v.txt: the extension must be"]);
    std::fs::create_dir(place.path("taken.npy")).unwrap();
    place
        .run(&["embed", "model", "texts.txt", "-o", "taken.npy"])
        .fails(2, &["taken.npy: is a folder"]);
    place
        .run(&["embed", "model", "absent.txt", "-o", "v.npy"])
        .fails(1, &["absent.txt"]);
}

#[test]
fn a_table_of_several_texts_asks_which_is_meant() {
    let place = workplace();
    let embed =
        |more: &[&str]| place.run(&[&["embed", "model", "t.tsv", "-o", "v.npy"], more].concat());
    place.write("t.tsv", b"score\tsentence1\tsentence2\n1\tcat\tdog\n");
    embed(&[]).fails(
        2,
        &["the texts, score, sentence1, sentence2? Name it with --column"],
    );
    embed(&["--column", "sentence2"]).succeeds();
    place.write("t.tsv", b"sentence\ttext\ncats\ta cat\n");
    embed(&[]).succeeds();
}

#[test]
fn a_search_takes_a_text_a_file_or_vectors() {
    let place = workplace();
    place
        .run(&["embed", "model", "texts.txt", "-o", "v.parquet"])
        .succeeds();
    for gallery in ["texts.txt", "v.parquet"] {
        let hits = json(&place.run(&[
            "search",
            "model",
            gallery,
            "rice and beans",
            "-k",
            "2",
            "--json",
        ]));
        assert_eq!(hits[0]["item"], "rice and beans", "{gallery}");
        assert!((hits[0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-5);
        assert_eq!(hits.as_array().unwrap().len(), 2);
    }
    place.write("q.tsv", b"n\tquestion\n1\tthe dog ran\n2\ta cat sat\n");
    let hits = json(&place.run(&["search", "model", "v.parquet", "q.tsv", "-k", "1", "--json"]));
    assert_eq!(
        (&hits[0]["item"], &hits[1]["item"]),
        (&"the dog ran".into(), &"a cat sat".into())
    );
    let shown = place.run(&["search", "model", "v.parquet", "a cat"]);
    assert!(
        shown.succeeds().stdout.contains("cosine"),
        "{}",
        shown.stdout
    );
    place
        .run(&["search", "model", "v.parquet", "typo.tsv"])
        .fails(2, &["typo.tsv: no such file"]);
    let bytes = [
        "embed",
        "model",
        "texts.txt",
        "-o",
        "bytes.npy",
        "--quantize",
        "uint8",
    ];
    place.run(&bytes).succeeds();
    place
        .run(&["search", "model", "bytes.npy", "a cat"])
        .fails(2, &["bytes.npy: whole numbers", "embed without --quantize"]);
    let narrow = place.run(&["search", "model", "v.parquet", "a cat", "--dim", "8"]);
    narrow.fails(2, &["vectors of 16 numbers", "one of 8"]);
}

#[test]
fn a_euclidean_model_shows_distances_and_an_unknown_similarity_is_refused() {
    let place = workplace();
    let meant_for = |similarity: &str| {
        let settings = format!("{{\"similarity_fn_name\": \"{similarity}\"}}");
        let file = "model/config_sentence_transformers.json";
        std::fs::write(place.path(file), settings).unwrap();
    };
    meant_for("euclidean");
    place
        .run(&["embed", "model", "texts.txt", "-o", "v.parquet"])
        .succeeds();
    let vectors = nearkin::vectors::read(&place.path("v.parquet")).unwrap();
    // Lines 1 and 5: "a cat sat" and "rice and beans".
    let row = |row: usize| &vectors.data[row * vectors.dim..(row + 1) * vectors.dim];
    let squares = row(0).iter().zip(row(4)).map(|(a, b)| (a - b).powi(2));
    let distance = f64::from(squares.sum::<f32>().sqrt());
    let search = ["search", "model", "v.parquet", "a cat sat", "-k", "5"];
    let hits = json(&place.run(&[&search[..], &["--json"]].concat()));
    let hits = hits.as_array().unwrap();
    let rice = hits.iter().find(|hit| hit["item"] == "rice and beans");
    let shown = rice.unwrap()["similarity"].as_f64().unwrap();
    assert!((shown + distance).abs() < 1e-3, "{shown} {distance}");
    let table = place.run(&search).succeeds().stdout.clone();
    assert!(
        table.contains("-distance") && !table.contains('²'),
        "{table}"
    );
    meant_for("manhattan");
    place
        .run(&search)
        .fails(2, &["\"manhattan\"; search knows cosine, dot, euclidean"]);
}

#[test]
fn mining_writes_tables_that_are_read_again() {
    let place = workplace();
    place.write(
        "qa.tsv",
        b"query\tanswer\na cat\tcats sat\ndog\tdogs ran\nmoon\tmoons shine\n",
    );
    let mine = |what: &[&str]| place.run(&[&["mine"], what].concat());
    let negatives = [
        "negatives",
        "qa.tsv",
        "--model",
        "model",
        "--negatives",
        "2",
    ];
    mine(&[&negatives[..], &["-o", "t.jsonl"]].concat()).succeeds();
    let first: serde_json::Value =
        serde_json::from_str(place.read("t.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["anchor"], &first["positive"]),
        (&"a cat".into(), &"cats sat".into())
    );
    assert_eq!(place.read("t.jsonl").lines().count(), 6);
    mine(&[&negatives[..], &["-o", "p.tsv", "--as", "pairs"]].concat()).succeeds();
    let measured = place.run(&[
        "evaluate",
        "tfidf",
        "--data",
        "p.tsv",
        "--protocol",
        "pairs",
        "--json",
    ]);
    assert_eq!(json(&measured)["rows"], 9);
    let tuples = mine(&[&negatives[..], &["--as", "tuples"]].concat());
    assert!(
        tuples.succeeds().stdout.contains("\"negative_2\""),
        "{}",
        tuples.stdout
    );
    place
        .run(&["embed", "model", "texts.txt", "-o", "v.npy"])
        .succeeds();
    mine(&[
        "paraphrases",
        "v.npy",
        "--max-pairs",
        "3",
        "-o",
        "pairs.tsv",
    ])
    .succeeds();
    assert_eq!(place.read("pairs.tsv").lines().count(), 4);
    let clusters = ["cluster", "texts.txt", "--clusters", "2", "-o", "k.jsonl"];
    place.run(&clusters).fails(2, &["--model MODEL"]);
    place
        .run(&[&clusters[..], &["--model", "model"]].concat())
        .succeeds();
    assert_eq!(place.read("k.jsonl").lines().count(), 5);
    mine(&["paraphrases", "v.npy", "-o", "pairs.xls"])
        .fails(2, &["pairs.xls", "jsonl, tsv or csv"]);
}

#[test]
fn a_folder_is_converted_and_gives_the_same_vectors() {
    let place = workplace();
    tiny::cross_encoder(&place.path("cross"));
    place.run(&["convert", "model", "new"]).succeeds();
    assert!(
        place
            .read("new/modules.json")
            .contains("sentence_transformers.models.Transformer")
    );
    for model in ["model", "new"] {
        place
            .run(&["embed", model, "texts.txt", "-o", &format!("{model}.npy")])
            .succeeds();
    }
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("model.npy"), bytes("new.npy"));
    assert_eq!(
        json(&place.run(&["convert", "cross", "other", "--json"]))["kind"],
        "cross-encoder"
    );
    place
        .run(&["convert", "model", "new"])
        .fails(1, &["new: exists already"]);
    place
        .run(&["convert", "absent", "newer"])
        .fails(1, &["absent"]);
    assert!(!place.path("newer").exists());
}

#[test]
fn an_option_of_texts_is_refused_by_a_model_of_images() {
    let place = workplace();
    place.write("images/nearkin.json", b"{}");
    for (option, command) in [
        (
            "--quantize",
            &[
                "embed",
                "images",
                "texts.txt",
                "-o",
                "v.npy",
                "--quantize",
                "int8",
            ][..],
        ),
        ("--column", &["search", "images", "a", "b", "--column", "x"]),
        ("--protocol", &["evaluate", "images", "--protocol", "sts"]),
    ] {
        place
            .run(command)
            .fails(2, &[option, "goes with a sentence encoder"]);
    }
}

#[test]
fn a_name_that_is_neither_cached_nor_reachable_is_an_honest_error() {
    let place = workplace();
    for (variable, cache) in [("HF_HOME", "home/hub"), ("HF_HUB_CACHE", "shared")] {
        let mut command = place.command(&["embed", "owner/absent", "texts.txt", "-o", "v.npy"]);
        let folder = cache.trim_end_matches("/hub");
        let command = command
            .env_remove("HF_HUB_CACHE")
            .env(variable, place.path(folder))
            .env("HF_HUB_OFFLINE", "1");
        let said = Said::from(command.output().unwrap());
        said.fails(1, &["\"owner/absent\"", cache, "could not be reached"]);
    }
}
