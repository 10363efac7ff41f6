//! The protocols on text, with tiny encoders.

mod tiny;
#[allow(dead_code, reason = "images and training are for the other tests")]
mod workplace;

use nearkin::text::head::Head;
use nearkin_losses::loss::SoftmaxClassification;
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
        (
            "sts",
            &["--topics", "year"][..],
            "pairs and senteval; sts has the mean over topics by --aggregate mean --by COLUMN",
        ),
        (
            "sts",
            &["--at", "1"],
            "--at goes with --protocol retrieval and ir",
        ),
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
fn answers_are_counted_at_the_cut_offs_that_are_asked_for() {
    let place = workplace();
    place.write("pairs.tsv", PAIRS);
    let command = [
        "evaluate",
        "model",
        "--data",
        "pairs.tsv",
        "--protocol",
        "ir",
    ];
    let found = json(&place.run(&[&command[..], &["--at", "2,1,2", "--json"]].concat()));
    let at = found["scores"]["retrieval"]["at"].as_array().unwrap();
    let ks: Vec<_> = at.iter().map(|at| at["k"].as_u64()).collect();
    assert_eq!(ks, [Some(1), Some(2)]);
    place
        .run(&[&command[..], &["--at", "0"]].concat())
        .fails(2, &["--at"]);
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
