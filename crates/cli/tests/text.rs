//! The commands on text, with tiny encoders.

mod tiny;
#[allow(dead_code, reason = "images and training are for the other tests")]
mod workplace;

use nearkin::text::head::Head;
use nearkin_losses::loss::SoftmaxClassification;
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
    embed_and_kill(&place, &["embed", "model", "many.txt", "-o", "cut.npy"]);
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

/// Kills a run that writes cut.npy, once vectors are kept.
fn embed_and_kill(place: &Workplace, arguments: &[&str]) {
    let mut child: Command = place.command(arguments);
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !place.path("cut.npy.partial.json").exists() {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no vectors were kept"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
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
    embed_and_kill(&place, &embed("one.tsv"));
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
fn a_cross_encoder_ranks_anew_and_is_measured() {
    let place = workplace();
    tiny::cross_encoder(&place.path("cross"));
    let search = ["search", "model", "texts.txt", "a cat", "--json", "-k", "3"];
    let hits = json(&place.run(&[&search[..], &["--rerank", "cross"]].concat()));
    let scores: Vec<f64> = hits
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["similarity"].as_f64().unwrap())
        .collect();
    assert!(
        scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b),
        "{scores:?}"
    );
    place.write("sts.tsv", STS);
    let evaluate = |protocol| {
        place.run(&[
            "evaluate",
            "cross",
            "--data",
            "sts.tsv",
            "--protocol",
            protocol,
            "--json",
        ])
    };
    let found = json(&evaluate("sts"));
    assert!(
        found["scores"]["correlations"]["spearman"]["value"].is_number(),
        "{found}"
    );
    place.write("triplets.tsv", b"anchor\tpositive\tnegative\na\tb\tc\n");
    let triplets = [
        "evaluate",
        "cross",
        "--data",
        "triplets.tsv",
        "--protocol",
        "triplets",
    ];
    place.run(&triplets).fails(1, &["has no vectors"]);
    let wrong = ["search", "model", "texts.txt", "a cat", "--rerank", "model"];
    place.run(&wrong).fails(1, &["no cross-encoder"]);
}

const STS: &[u8] = b"score\tsentence1\tsentence2\tsplit\n5\ta cat\ta cat\tx\n3\ta cat\ta dog\tx\n0\ta cat\trice\ty\n1\tmoon\tsun\ty\n";

#[test]
fn vectors_of_texts_are_measured_by_the_texts_that_are_their_ids() {
    let place = workplace();
    place.write("all.txt", b"a cat\nsun\nmoon\n");
    place
        .run(&["embed", "model", "all.txt", "-o", "v.parquet"])
        .succeeds();
    place.write(
        "more.tsv",
        b"score\tsentence1\tsentence2\n5\ta cat\ta cow\n3\tsun\tmoon\n",
    );
    let more = [
        "evaluate",
        "v.parquet",
        "--data",
        "more.tsv",
        "--protocol",
        "sts",
    ];
    place.run(&more).fails(1, &["none has the id \"a cow\""]);
    let pooled = [&more[..], &["--pooling", "cls"]].concat();
    place
        .run(&pooled)
        .fails(2, &["--pooling goes with a model"]);
    place
        .run(&["embed", "model", "all.txt", "-o", "v.npy"])
        .succeeds();
    std::fs::remove_file(place.path("v.ids.txt")).unwrap();
    let bare = [
        "evaluate",
        "v.npy",
        "--data",
        "more.tsv",
        "--protocol",
        "sts",
    ];
    place
        .run(&bare)
        .fails(1, &["no ids, expected the text of each vector"]);
    place.write(
        "twice.jsonl",
        b"{\"id\":\"a cat\",\"embedding\":[1,2]}\n{\"id\":\"a cat\",\"embedding\":[2,1]}\n",
    );
    let twice = [
        "evaluate",
        "twice.jsonl",
        "--data",
        "more.tsv",
        "--protocol",
        "sts",
    ];
    place
        .run(&twice)
        .fails(1, &["\"a cat\" is the id of unlike vectors, 0 and 1"]);
}

#[test]
fn an_option_of_another_protocol_is_refused_with_the_one_it_goes_with() {
    let place = Workplace::new();
    let folded = "goes with --protocol pairs and senteval";
    for (protocol, options, said) in [
        ("sts", &["--topics", "year"][..], folded),
        ("sts", &["--folds", "3"], folded),
        ("triplets", &["--folds", "3"], folded),
        ("classification", &["--folds", "3"], folded),
        (
            "sts",
            &["--corpus", "x.txt"],
            "--corpus goes with --protocol ir",
        ),
        (
            "sts",
            &["--train", "x.tsv"],
            "--train goes with --protocol senteval",
        ),
        (
            "triplets",
            &["--aggregate", "mean", "--by", "year"],
            "--aggregate goes with --protocol sts",
        ),
        (
            "retrieval",
            &["--filter", "a=b"],
            "--filter goes with --protocol sts, pairs",
        ),
    ] {
        let command = [
            "evaluate",
            "model",
            "--data",
            "t.tsv",
            "--protocol",
            protocol,
        ];
        place
            .run(&[&command[..], options].concat())
            .fails(2, &[said]);
    }
}

const PAIRS: &[u8] =
    b"label\tsentence1\tsentence2\n1\ta cat\ta cat\n0\ta cat\trice\n1\tdog\tdog\n0\tdog\tmoon\n";

#[test]
fn the_head_of_a_model_tells_classes_of_pairs_apart() {
    let place = workplace();
    place.write("pairs.tsv", PAIRS);
    let classification = ["evaluate", "model", "--data", "pairs.tsv", "--protocol"];
    let classification = [&classification[..], &["classification"]].concat();
    place
        .run(&classification)
        .fails(2, &["model: no head.safetensors"]);
    // Of unlike vectors the head says "0", of equal ones "1".
    let head = Head {
        concatenation: SoftmaxClassification {
            embeddings: false,
            ..SoftmaxClassification::default()
        },
        classes: vec!["0".into(), "1".into()],
        weight: [vec![1.0; 16], vec![0.0; 16]].concat(),
        bias: Some(vec![-1e-3, 0.0]),
    };
    head.save(&place.path("model"), "head").unwrap();
    let shown = place.run(&classification).succeeds().stdout.clone();
    assert!(shown.contains("macro F1"), "{shown}");
    let found = json(&place.run(&[&classification[..], &["--json"]].concat()));
    assert_eq!(
        found["scores"]["classes"]["accuracy"]["value"], 1.0,
        "{found}"
    );
}

#[test]
fn every_protocol_is_measured_with_intervals() {
    let place = workplace();
    place.write("sts.tsv", STS);
    place.write("pairs.tsv", PAIRS);
    place.write(
        "triplets.tsv",
        b"anchor\tpositive\tnegative\na cat\ta cat\trice\ndog\tdog\tmoon\n",
    );
    let row = |i: usize| [["0\tcat ", "1\trice "][i % 2], &i.to_string(), "\n"].concat();
    let classes: String = (0..40).map(row).collect();
    place.write("classes.tsv", format!("label\ttext\n{classes}").as_bytes());
    // Each text is the id of its vector.
    let texts = "a cat\na dog\nrice\nmoon\nsun\ndog\n".to_owned();
    let numbered: String = (0..40).map(|i| row(i)[2..].to_owned()).collect();
    place.write("all.txt", (texts + &numbered).as_bytes());
    place
        .run(&["embed", "model", "all.txt", "-o", "v.parquet"])
        .succeeds();
    for (data, protocol, path) in [
        ("sts.tsv", "sts", "/scores/sts/correlations/cosine/spearman"),
        (
            "pairs.tsv",
            "pairs",
            "/scores/pairs/scores/cosine/average_precision",
        ),
        (
            "triplets.tsv",
            "triplets",
            "/scores/triplets/accuracy/cosine",
        ),
        ("pairs.tsv", "ir", "/scores/retrieval/at/0/mrr"),
        ("classes.tsv", "senteval", "/scores/classification/accuracy"),
    ] {
        let command = ["evaluate", "model", "--data", data, "--protocol", protocol];
        let shown = place.run(&command);
        assert!(shown.succeeds().stdout.contains('['), "{}", shown.stdout);
        let found = json(&place.run(&[&command[..], &["--json"]].concat()));
        let estimate = found
            .pointer(path)
            .unwrap_or_else(|| panic!("{path} of {found}"));
        assert!(
            estimate["low"].as_f64() <= estimate["high"].as_f64(),
            "{estimate}"
        );
        let command = [
            "evaluate",
            "v.parquet",
            "--data",
            data,
            "--protocol",
            protocol,
            "--json",
        ];
        let by_vectors = json(&place.run(&command));
        let value = |found: &serde_json::Value| found.pointer(path).unwrap()["value"].as_f64();
        assert!(
            (value(&by_vectors).unwrap() - value(&found).unwrap()).abs() < 1e-5,
            "{protocol}"
        );
    }
    let tfidf = [
        "evaluate",
        "tfidf",
        "--data",
        "sts.tsv",
        "--protocol",
        "sts",
        "--json",
    ];
    let all = json(&place.run(&tfidf));
    assert!(
        all["scores"]["correlations"]["spearman"]["value"]
            .as_f64()
            .unwrap()
            > 0.8,
        "{all}"
    );
    let rows = r#"scored={first="sentence1",second="sentence2",score="score"}"#;
    let some = json(&place.run(&[&tfidf[..], &["--filter", "split=x", "--rows", rows]].concat()));
    assert_eq!((&all["rows"], &some["rows"]), (&4.into(), &2.into()));
    place
        .run(&["evaluate", "model", "--data", "sts.tsv"])
        .fails(2, &["--protocol sts, pairs"]);
    let wrong = place.run(&[
        "evaluate",
        "tfidf",
        "--data",
        "sts.tsv",
        "--protocol",
        "triplets",
    ]);
    wrong.fails(2, &["it has score, sentence1, sentence2, split", "--rows"]);
    let wrong = place.run(&[&tfidf[..], &["--rows", "scored={frist=1}"]].concat());
    assert!(
        wrong.code == Some(2) && wrong.stdout.contains("frist"),
        "{}",
        wrong.stdout
    );
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
    let mut command = place.command(&["embed", "owner/absent", "texts.txt", "-o", "v.npy"]);
    let command = command
        .env("HF_HOME", place.path("cache"))
        .env("HF_HUB_OFFLINE", "1");
    let said = Said::from(command.output().unwrap());
    said.fails(1, &["\"owner/absent\"", "cache", "could not be reached"]);
}

#[test]
fn the_baselines_of_sentence_bert_are_a_command_each() {
    let place = workplace();
    place.write("sts.tsv", STS);
    place.write(
        "words.txt",
        b"a 1 0 0\ncat 0 2 0\ndog 0.5 1.5 0\nrice 0 0 3\nmoon 1 1 1\nsun -1 1 2\n",
    );
    let evaluate = |model: &str, more: &[&str]| {
        let command = [
            "evaluate",
            model,
            "--data",
            "sts.tsv",
            "--protocol",
            "sts",
            "--json",
        ];
        json(&place.run(&[&command[..], more].concat()))
    };
    let spearman = |found: &serde_json::Value, path: &str| {
        let found = found.pointer(&format!("/scores/{path}/spearman/value"));
        found.unwrap().as_f64().unwrap()
    };
    // Cosines of the means: 1, 0.96, 0 and 0.47; the scores 5, 3, 0 and 1.
    let averaged = evaluate("words.txt", &[]);
    assert!((spearman(&averaged, "sts/correlations/cosine") - 1.0).abs() < 1e-12);
    let tfidf = evaluate("tfidf", &[]);
    assert!(spearman(&tfidf, "correlations") > 0.8);
    let [mean, asked, cls] = [&[][..], &["--pooling", "mean"], &["--pooling", "cls"]]
        .map(|more| evaluate("model", more)["scores"]["sts"]["correlations"].clone());
    assert_eq!(mean, asked);
    assert_ne!(mean["cosine"], cls["cosine"]);
    let width = |more: &[&str]| {
        let command = ["embed", "model", "texts.txt", "-o", "v.npy", "--json"];
        json(&place.run(&[&command[..], more].concat()))["dim"].as_u64()
    };
    assert_eq!(width(&["--pooling", "cls,mean"]), Some(32));
    place
        .run(&["embed", "words.txt", "texts.txt", "-o", "w.npy"])
        .succeeds();
    assert_eq!(nearkin::vectors::read(&place.path("w.npy")).unwrap().dim, 3);
    let wrong = [
        "evaluate",
        "model",
        "--data",
        "sts.tsv",
        "--protocol",
        "sts",
    ];
    place
        .run(&[&wrong[..], &["--pooling", "avg"]].concat())
        .fails(2, &["'avg'", "mean-sqrt-len"]);
    place
        .run(&[
            "evaluate",
            "sts.tsv",
            "--data",
            "sts.tsv",
            "--protocol",
            "sts",
        ])
        .fails(1, &["sts.tsv"]);
    let pooled = [
        "evaluate",
        "tfidf",
        "--data",
        "sts.tsv",
        "--protocol",
        "sts",
    ];
    place
        .run(&[&pooled[..], &["--pooling", "cls"]].concat())
        .fails(2, &["--pooling goes with a sentence encoder"]);
    let absent = [
        "evaluate",
        "absent",
        "--data",
        "sts.tsv",
        "--protocol",
        "sts",
    ];
    place
        .run(&absent)
        .fails(2, &["absent: no such folder or file"]);
}
