//! Recipes on text from the command line: check, show, train, go on, several seeds.

#[allow(dead_code, reason = "cross-encoders are trained here")]
mod tiny;
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
fn damaged_rows_of_what_is_measured_are_named_or_refused() {
    let place = place();
    let table = place.read("pairs.tsv") + "9\tcat\tdog\n";
    place.write("measured.tsv", table.as_bytes());
    let measured = "evaluate.0.table.path=\"measured.tsv\"";
    let check = ["recipe", "check", "text.toml", "--set", measured];
    let words = ["line 14: the score 9 is not from 0 to 5", "damaged = 0"];
    place.run(&check).fails(1, &words);
    let allowed = ["--set", "evaluate.0.table.damaged=0.1"];
    let named = "same animals: left out 1 damaged row: line 14: the score 9";
    let checked = place.run(&[&check[..], &allowed].concat());
    let said = &checked.succeeds().stdout;
    assert!(said.contains(named), "{said}");
    let train = ["train", "text.toml", "--set", measured];
    let trained = place.run(&[&train[..], &allowed].concat());
    let said = &trained.succeeds().stdout;
    assert!(said.contains(named), "{said}");
    let card = place.read("runs/text/model/README.md");
    assert!(card.contains("same animals: 1 rows left out"), "{card}");
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

/// The recipe without the model it begins with: the recipe that it goes on from has that.
fn second_stage() -> String {
    format!(
        "after = 'text.toml'\n{}",
        RECIPE.replace("model = 'encoder'", "")
    )
}

#[test]
fn a_recipe_goes_on_from_the_model_of_another() {
    let place = place();
    place.write("second.toml", second_stage().as_bytes());
    let command = ["train", "second.toml", "--set", "after.train.epochs=20"];
    place.run(&command).succeeds();
    let metrics = |folder: &str| -> serde_json::Value {
        serde_json::from_str(&place.read(&format!("{folder}/model/metrics.json"))).unwrap()
    };
    let (first, second) = (metrics("runs/second/after"), metrics("runs/second"));
    assert_eq!(first["rows"][0]["trained"], second["rows"][0]["untrained"]);
    assert_ne!(first["rows"][0]["trained"], second["rows"][0]["trained"]);

    let whole = std::fs::read(place.path("runs/second/model/model.safetensors")).unwrap();
    place
        .run(&command)
        .fails(2, &["a run is there already", "--out runs/second`"]);
    // As if the run had been stopped in its first stage.
    for gone in ["model", "checkpoints", "after/model", "after/checkpoints"] {
        std::fs::remove_dir_all(place.path("runs/second").join(gone)).unwrap();
    }
    place
        .run(&["train", "second.toml", "--resume"])
        .fails(2, &["not the recipe that the run began with"]);
    place
        .run(&["train", "--resume", "--out", "runs/second"])
        .succeeds();
    let again = std::fs::read(place.path("runs/second/model/model.safetensors")).unwrap();
    assert!(whole == again, "the resumed chain has other weights");

    // Where the last stage is given up and another wanted, the first one is not trained again.
    for gone in ["model", "checkpoints"] {
        std::fs::remove_dir_all(place.path("runs/second").join(gone)).unwrap();
    }
    let first = place.read("runs/second/after/metrics.jsonl");
    let longer = ["--set", "train.epochs=31"];
    place.run(&[&command[..], &longer].concat()).succeeds();
    assert_eq!(place.read("runs/second/after/metrics.jsonl"), first);
    let other = std::fs::read(place.path("runs/second/model/model.safetensors")).unwrap();
    assert!(whole != other, "another last stage has the same weights");

    let seeds = [&command[..], &["--seeds", "2", "--out", "runs/seeds"]].concat();
    assert!(place.run(&seeds).succeeds().stdout.contains("same animals"));
    assert!(place.path("runs/seeds/seed-1/after/model").exists());
}

#[test]
fn what_does_not_fit_a_recipe_that_goes_on_from_another_is_said() {
    let place = place();
    place.write("second.toml", second_stage().as_bytes());
    place
        .run(&["train", "second.toml", "--set", "encoder.model=encoder"])
        .fails(2, &["second.toml:", "leave one of them out"]);
    place
        .run(&["train", "second.toml", "--budget", "1m"])
        .fails(2, &["--budget", "train those first"]);
    place
        .run(&["train", "second.toml", "--set", "after.loss.nothing={}"])
        .fails(2, &["unknown variant `nothing`"]);
    // The last stage is looked at before the first one trains.
    for set in [
        "data.0.table.path=nowhere.tsv",
        "evaluate.0.table.path=nowhere.tsv",
    ] {
        let seeds = ["train", "second.toml", "--seeds", "2", "--set", set];
        place
            .run(&[&seeds[..2], &seeds[4..]].concat())
            .fails(1, &["nowhere.tsv"]);
        place.run(&seeds).fails(1, &["nowhere.tsv"]);
        let check = ["recipe", "check", "second.toml", "--set", set];
        place.run(&check).fails(1, &["nowhere.tsv"]);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn a_recipe_that_goes_on_from_another_is_checked_shown_and_swept() {
    let place = place();
    place.write("second.toml", second_stage().as_bytes());
    let said = place.run(&["recipe", "check", "second.toml"]);
    let text = &said.succeeds().stdout;
    let first = text.find("text.toml: ready to train").unwrap();
    let second = text.find("second.toml: ready to train").unwrap();
    assert!(
        first < second && text.contains("begins with the model that text.toml trains"),
        "{text}"
    );
    let said = place.run(&["recipe", "check", "second.toml", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&said.succeeds().stdout).unwrap();
    assert_eq!(facts["weights"], facts["after"]["weights"]);
    let wrong = ["--set", "after.optimizer.adamw.rat=1"];
    place
        .run(&[&["recipe", "check", "second.toml"], &wrong[..]].concat())
        .fails(2, &["text.toml:", "did you mean `rate`?"]);

    let shown = place.run(&["recipe", "show", "second.toml"]);
    let text = &shown.succeeds().stdout;
    assert!(
        text.starts_with("# Begins with the model that text.toml trains;"),
        "{text}"
    );
    assert!(
        text.contains("model = \"runs/second/after/model\""),
        "{text}"
    );
    place.write("shown.toml", text.as_bytes());

    let sweep = [
        "sweep",
        "second.toml",
        "--vary",
        "after.train.epochs=[1, 2]",
        "--set",
        "train.epochs=1",
    ];
    let swept = place.run(&sweep);
    let text = &swept.succeeds().stdout;
    assert!(text.contains("after.train.epochs=2"), "{text}");
    let steps = |run: &str| {
        let run = format!("runs/second-sweep/{run}/metrics.jsonl");
        place
            .read(&run)
            .lines()
            .filter(|l| l.contains("\"loss\""))
            .count()
    };
    assert_eq!(2 * steps("1/seed-0/after"), steps("2/seed-0/after"));
    assert_eq!(steps("1/seed-0"), steps("2/seed-0"));
    let sweep = ["sweep", "second.toml", "--vary", "train.epochs=[1, 2]"];
    let swept = place.run(&[&sweep[..], &["--out", "runs/shared"]].concat());
    let first = "1/seed-0/after";
    let told = &swept.succeeds().stderr;
    assert!(told.contains("stage 1 is that of runs/shared/1/"), "{told}");
    let journal = |run: &str| place.read(&format!("runs/shared/{run}/metrics.jsonl"));
    assert_eq!(journal(first), journal("2/seed-0/after"), "trained once");
    assert_ne!(journal("1/seed-0"), journal("2/seed-0"));
    let wrong = ["sweep", "second.toml", "--vary", "after.sed=[1, 2]"];
    place
        .run(&wrong)
        .fails(2, &["after.sed=1: text.toml:", "unknown field `sed`"]);
}

#[test]
fn a_sweep_shows_every_combination_and_does_no_run_twice() {
    let place = place();
    let rates = "optimizer.adamw.rate=[1e-6, 0.1]";
    let sweep = |rates: &str| {
        let sizes = "batches.size=[2, 3]";
        place.run(&[
            "sweep",
            "text.toml",
            "--vary",
            rates,
            "--vary",
            sizes,
            "--seeds",
            "2",
            "--json",
        ])
    };
    let first = sweep(rates).succeeds().stdout.clone();
    let rows: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 4);
    let changes = serde_json::json!(["optimizer.adamw.rate=1e-6", "batches.size=3"]);
    assert_eq!(rows[1]["changes"], changes);
    assert_eq!(rows[1]["scores"][0]["values"].as_array().unwrap().len(), 2);
    let score = |row: usize| rows[row]["scores"][0]["mean"].as_f64().unwrap();
    assert_ne!(score(0), score(2), "so small a rate teaches less");
    assert!(place.path("runs/text-sweep/4/seed-1/model").is_dir());

    let journal = "runs/text-sweep/1/seed-0/metrics.jsonl";
    let before = place.read(journal);
    let longer = sweep("optimizer.adamw.rate=[1e-6, 0.1, 0.2]");
    let longer: serde_json::Value = serde_json::from_str(&longer.succeeds().stdout).unwrap();
    assert_eq!(
        longer.as_array().unwrap()[..4],
        rows.as_array().unwrap()[..]
    );
    assert_eq!(
        place.read(journal),
        before,
        "a run that is done is not done again"
    );

    for (rates, part) in [
        ("optimizer.adamw.rate=[-1]", "optimizer.adamw.rate=-1"),
        ("optimizer.adamw.rate=2", "expected path.to.key=[one"),
        ("optimizer.adamw.rate=[1e-3]", "another recipe"),
    ] {
        let said = place.run(&["sweep", "text.toml", "--vary", rates]);
        said.fails(2, &[part]);
    }
    let shown = place.run(&[
        "sweep",
        "text.toml",
        "--vary",
        "seed=[5]",
        "--out",
        "runs/other",
    ]);
    assert!(
        shown
            .succeeds()
            .stdout
            .contains("In percent, one seed, with half the 95% bootstrap interval:")
    );
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

const CROSS_ENCODER: &str = "
[cross_encoder]
model = 'bare'
[loss.LOSS]
[optimizer.adamw]
rate = 0.01
[train]
epochs = 60
[[data]]
name = 'pairs'
table.path = 'pairs.tsv'
rows.ROWS
[[evaluate]]
name = 'the same pairs'
table.path = 'pairs.tsv'
rows.ROWS
";
const SCORED: &str = "scored = { first = 'a', second = 'b', score = 'score' }";
const CLASSES: &str = "pairs={first='a',second='b',label='score',classes=[['0','1'],'2','5']}";

/// The same folder with a bare Transformer, and the recipe of a cross-encoder.
fn cross_encoder_place(loss: &str, rows: &str) -> Workplace {
    let place = place();
    tiny::sentence_encoder(&place.path("bare"), 1);
    let recipe = CROSS_ENCODER.replace("LOSS", loss).replace("ROWS", rows);
    place.write("cross.toml", recipe.as_bytes());
    place
}

#[test]
fn a_cross_encoder_is_checked_trained_measured_and_ranks() {
    let place = cross_encoder_place("binary_cross_entropy", SCORED);
    let checked = place.run(&["recipe", "check", "cross.toml"]);
    let said = &checked.succeeds().stdout;
    assert!(
        said.contains("pairs 12") && said.contains("60 steps"),
        "{said}"
    );
    let shown = place.run(&["recipe", "show", "cross.toml"]);
    let said = &shown.succeeds().stdout;
    for part in [
        "positive_weight = 1.0",
        "[cross_encoder]",
        "dropout = 1.0",
        "rate = 0.01",
    ] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    let shown = place.run(&["recipe", "show", "cross.toml", "--json"]);
    assert!(
        shown.succeeds().stdout.contains("\"cross_encoder\":"),
        "{}",
        shown.stdout
    );
    let trained = place.run(&["train", "cross.toml"]);
    let said = &trained.succeeds().stdout;
    assert!(
        said.contains("spearman") && said.contains("the same pairs"),
        "{said}"
    );
    let measured = place.run(&[
        "evaluate",
        "runs/cross/model",
        "--data",
        "pairs.tsv",
        "--protocol",
        "sts",
        "--rows",
        SCORED,
        "--json",
    ]);
    let measured: serde_json::Value = serde_json::from_str(&measured.succeeds().stdout).unwrap();
    let spearman = measured["scores"]["correlations"]["spearman"]["value"]
        .as_f64()
        .unwrap();
    let metrics = place.read("runs/cross/model/metrics.json");
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    let row = &metrics["rows"][0];
    assert_eq!(row["trained"]["value"].as_f64().unwrap(), spearman);
    assert!(spearman > 0.8, "{row}");
    place.write("animals.txt", b"kitten\ndog\npuppy\n");
    let search = [
        "search",
        "encoder",
        "animals.txt",
        "cat",
        "--rerank",
        "runs/cross/model",
        "--json",
    ];
    let hits = place.run(&search);
    let hits: serde_json::Value = serde_json::from_str(&hits.succeeds().stdout).unwrap();
    assert_eq!(hits[0]["item"], "kitten", "{hits}");
    place
        .run(&["train", "--resume", "--out", "runs/cross"])
        .succeeds();
    let seeds = [
        "train",
        "cross.toml",
        "--seeds",
        "2",
        "--set",
        "train.epochs=1",
        "--out",
        "seeds",
    ];
    let said = place.run(&seeds);
    assert!(said.succeeds().stdout.contains("mean"), "{}", said.stdout);
}

#[test]
fn a_cross_encoder_of_classes_is_measured_by_their_names() {
    let place = cross_encoder_place("cross_entropy", CLASSES);
    place.run(&["train", "cross.toml"]).succeeds();
    let evaluate = |rows: &str| {
        let command = [
            "evaluate",
            "runs/cross/model",
            "--data",
            "pairs.tsv",
            "--protocol",
        ];
        place.run(&[&command[..], &["pairs", "--rows", rows, "--json"]].concat())
    };
    let found = evaluate(CLASSES).succeeds().stdout.clone();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let accuracy = found["scores"]["classes"]["accuracy"]["value"]
        .as_f64()
        .unwrap();
    let metrics = place.read("runs/cross/model/metrics.json");
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!(
        metrics["rows"][0]["trained"]["value"].as_f64(),
        Some(accuracy)
    );
    // Half of the pairs are of one class.
    assert!(accuracy > 0.5, "{found}");
    // Another order of the same names is the same.
    let turned = "pairs={first='a',second='b',label='score',classes=['5',['0','1'],'2']}";
    let turned: serde_json::Value =
        serde_json::from_str(&evaluate(turned).succeeds().stdout).unwrap();
    assert_eq!(turned["scores"], found["scores"]);
    let other = "pairs={first='a',second='b',label='score',classes=[['0','1','2'],'5']}";
    let failed = evaluate(other);
    assert_eq!(failed.code, Some(1), "{}", failed.stdout);
    assert!(
        failed.stdout.contains("the model tells the classes"),
        "{}",
        failed.stdout
    );
    let shown = place.run(&[
        "evaluate",
        "runs/cross/model",
        "--data",
        "pairs.tsv",
        "--protocol",
        "pairs",
        "--rows",
        CLASSES,
    ]);
    assert!(
        shown.succeeds().stdout.contains("macro F1"),
        "{}",
        shown.stdout
    );
    let sts = place.run(&[
        "evaluate",
        "runs/cross/model",
        "--data",
        "pairs.tsv",
        "--protocol",
        "sts",
        "--rows",
        SCORED,
    ]);
    sts.fails(2, &["num_labels", "a score", "3 classes"]);
    let search = [
        "search",
        "encoder",
        "pairs.tsv",
        "cat",
        "--column",
        "a",
        "--rerank",
        "runs/cross/model",
    ];
    place.run(&search).fails(2, &["3 classes"]);
}

#[test]
fn what_a_cross_encoder_cannot_do_is_said() {
    let place = cross_encoder_place("binary_cross_entropy", SCORED);
    for (set, parts) in [
        ("cross_encoder.model=nowhere", &["nowhere"][..]),
        (
            "cross_encoder.model=encoder",
            &["\"StaticEmbedding\", expected a Transformer"],
        ),
        (
            "cross_encoder.pooling=['cls']",
            &["cross.toml:4:1", "unknown field `pooling`"],
        ),
        (
            "loss.cosine_regression={}",
            &[
                "unknown variant `cosine_regression`",
                "binary_cross_entropy",
            ],
        ),
        (
            "loss.cross_entropy={}",
            &["cross.toml:", "pairs with a class"],
        ),
        (
            "loss.binary_cross_entropy.positive_weight=0",
            &["out of range"],
        ),
        ("data.0.rows.texts.text=a", &["rows that are no pairs"]),
    ] {
        let said = place.run(&["recipe", "check", "cross.toml", "--set", set]);
        assert!(matches!(said.code, Some(1 | 2)), "{set}: {:?}", said.code);
        for part in parts {
            assert!(said.stderr.contains(part), "{set}: {}", said.stderr);
        }
    }
    tiny::cross_encoder(&place.path("cross"));
    place.write("texts.txt", b"cat\ndog\n");
    for command in [
        &["embed", "cross", "texts.txt", "-o", "v.npy"][..],
        &["search", "cross", "texts.txt", "cat"],
        &["mine", "paraphrases", "texts.txt", "--model", "cross"],
    ] {
        place
            .run(command)
            .fails(2, &["a cross-encoder scores pairs", "--rerank"]);
    }
}
