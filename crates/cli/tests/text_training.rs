//! Recipes on text from the command line: check, show, train, go on, several seeds.

#[allow(dead_code, reason = "the images are for other tests")]
mod workplace;

use std::fmt::Write;
use workplace::Workplace;

const RECIPE: &str = "
[encoder]
model = 'encoder'
[loss.cosine_regression]
[optimizer.adamw]
rate = 0.1
[train]
epochs = 200
[[data]]
name = 'animals'
table.path = 'pairs.tsv'
rows.scored = { first = 'a', second = 'b', score = 'score' }
[[evaluate]]
name = 'same animals'
table.path = 'pairs.tsv'
rows.scored = { first = 'a', second = 'b', score = 'score' }
";

/// A folder with a recipe, a table, and an encoder of static vectors.
fn place() -> Workplace {
    let place = Workplace::new();
    let words = ["cat", "kitten", "dog", "puppy", "the", "runs"];
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let vocabulary = [&special[..], &words[..]].concat();
    place.write("encoder/vocab.txt", vocabulary.join("\n").as_bytes());
    place.write("encoder/config.json", br#"{"model_type": "model2vec"}"#);
    let numbers: Vec<f32> = (0..vocabulary.len() * 4)
        .map(|i| (i as f32 * 0.7).sin())
        .collect();
    place.write(
        "encoder/model.safetensors",
        &safetensors("embeddings", &[vocabulary.len(), 4], &numbers),
    );
    let mut table = String::from("score\ta\tb\n");
    for (a, b, score) in [
        ("cat", "kitten", 5),
        ("dog", "puppy", 5),
        ("cat", "puppy", 1),
        ("dog", "kitten", 0),
        ("cat", "dog", 2),
        ("kitten", "puppy", 1),
    ] {
        writeln!(table, "{score}\tthe {a} runs\tthe {b} runs").unwrap();
        writeln!(table, "{score}\t{b}\t{a}").unwrap();
    }
    place.write("pairs.tsv", table.as_bytes());
    place.write("text.toml", RECIPE.as_bytes());
    place
}

/// A safetensors file of one tensor.
fn safetensors(name: &str, shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    let end = numbers.len() * 4;
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[0,{end}]}}}}"#);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[test]
fn a_recipe_with_an_encoder_is_checked_shown_and_trained() {
    let place = place();
    let checked = place.run(&["recipe", "check", "text.toml"]);
    let said = &checked.succeeds().stdout;
    for part in ["ready to train", "animals 12", "200 steps", "44 weights"] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    let shown = place.run(&[
        "recipe",
        "show",
        "text.toml",
        "--set",
        "data.0.table.limit=3",
    ]);
    let said = &shown.succeeds().stdout;
    assert!(
        said.contains("warmup_share = 0.1") && said.contains("limit = 3"),
        "{said}"
    );
    let trained = place.run(&["train", "text.toml"]);
    let said = &trained.succeeds().stdout;
    assert!(
        said.contains("spearman") && said.contains("same animals"),
        "{said}"
    );
    let metrics = place.read("runs/text/model/metrics.json");
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    let row = &metrics["rows"][0];
    let value = |part: &str| row[part]["value"].as_f64().unwrap();
    assert!(
        value("trained") > value("untrained") && value("trained") > 0.8,
        "{row}"
    );
    assert!(
        place
            .read("runs/text/model/README.md")
            .contains("`encoder`")
    );
    place
        .run(&["train", "text.toml"])
        .fails(2, &["a run is there already", "--resume"]);
    place
        .run(&["train", "--resume", "--out", "runs/text"])
        .succeeds();
}

#[test]
fn several_seeds_give_a_mean_and_a_deviation_and_go_on() {
    let place = place();
    let seeds = ["train", "text.toml", "--seeds", "3", "--json"];
    let first = place.run(&seeds).succeeds().stdout.clone();
    let scores: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(scores[0]["name"], "same animals spearman");
    assert_eq!(scores[0]["values"].as_array().unwrap().len(), 3);
    assert!(scores[0]["std"].as_f64().is_some());
    assert_eq!(place.run(&seeds).succeeds().stdout, first);
    place
        .run(&[
            "train",
            "text.toml",
            "--seeds",
            "2",
            "--set",
            "train.epochs=1",
        ])
        .fails(2, &["another recipe"]);
}

#[test]
fn a_bad_recipe_on_text_is_placed() {
    let place = place();
    for (set, parts) in [
        ("encoder.model=nowhere", &["nowhere"][..]),
        ("encoder.modle=x", &["unknown field `modle`"]),
        (
            "loss.softmax_classification={}",
            &["text.toml:14:1", "found scores"],
        ),
        ("batches.size=0", &["text.toml:", "nonzero"]),
    ] {
        let said = place.run(&["recipe", "check", "text.toml", "--set", set]);
        assert!(matches!(said.code, Some(1 | 2)), "{set}: {:?}", said.code);
        for part in parts {
            assert!(said.stderr.contains(part), "{set}: {}", said.stderr);
        }
    }
}
