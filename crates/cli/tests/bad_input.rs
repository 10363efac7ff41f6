//! Bad input ends in a message that says where and what, with the right exit code, no panic, and
//! nothing half written.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use workplace::{FEW_STEPS, Workplace, half_written, limited, png};

/// A folder with a data set of tiny images and a recipe for it.
fn with_recipe() -> Workplace {
    let place = Workplace::new();
    place.images("photos", 12, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    place
}

/// The same with a model trained for a few steps in `runs/recipe`.
fn with_model() -> Workplace {
    let place = with_recipe();
    place.train("recipe.toml", &[]).succeeds();
    place
}

#[test]
fn a_missing_an_empty_and_an_unknown_kind_of_data_are_named() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    place.write("notes.txt", b"no data");
    place
        .run(&["init", "absent"])
        .fails(1, &["absent: no such file or folder", "glyphs, digits"]);
    place
        .run(&["init", "empty"])
        .fails(1, &["no images in", "empty", "png"]);
    place
        .run(&["train", "notes.txt"])
        .fails(1, &["notes.txt: unknown kind of data"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn a_class_with_one_image_is_left_out_of_the_batches_and_too_few_classes_are_counted() {
    let place = Workplace::new();
    place.images("photos", 3, 4);
    place.images("lonely", 1, 1);
    std::fs::rename(place.path("lonely/c0"), place.path("photos/single")).unwrap();
    place.train("photos", &[]).succeeds();
    place
        .run(&["recipe", "check", "photos", "--set", "sampler.pk.classes=4"])
        .fails(
            2,
            &[
                "sampler.pk asks for 4 classes a batch, but only 3 classes",
                "1 have one",
            ],
        );
    place
        .run(&[
            "recipe",
            "check",
            "photos",
            "--set",
            "data.split.item_level.test=0.1",
        ])
        .fails(2, &["data.split leaves 3 items to test, none with another"]);
    place.images("one_class", 1, 6);
    place.train("one_class", &[]).fails(
        1,
        &["expected two classes or more", "found 6 items of one class"],
    );
}

#[test]
fn a_damaged_image_is_named_and_tolerated_up_to_the_share_of_the_recipe() {
    let place = with_recipe();
    for class in 0..12 {
        place.write(&format!("photos/c{class}/0.png"), &png(0)[..60]);
    }
    let result = place.train("recipe.toml", &[]);
    result.fails(
        1,
        &[
            "damaged",
            "data.damaged allows 0",
            "/0.png: not a readable image",
        ],
    );
    let result = place.train("recipe.toml", &["--set", "data.damaged=0.05"]);
    result.fails(
        1,
        &["data.damaged allows 2", "/0.png: not a readable image"],
    );
    let result = place.train("recipe.toml", &["--set", "data.damaged=0.25"]);
    result.succeeds();
    assert!(
        result.stdout.contains("damaged images were left out") && result.stdout.contains("/0.png"),
        "{}",
        result.stdout
    );
}

#[test]
fn damaged_images_are_left_out_by_name_up_to_the_share_of_the_recipe_or_the_one_asked_for() {
    let place = with_model();
    let model = "runs/recipe/model";
    place.write("photos/c1/0.png", &png(0)[..60]);
    std::os::unix::fs::symlink("nowhere", place.path("photos/c2/link.png")).unwrap();
    let embed = ["embed", model, "photos", "-o", "v.npy"];
    let evaluate = ["evaluate", model, "--data", "photos"];
    let search = ["search", model, "photos", "photos/c3/1.png"];
    // The recipe of the model allows none.
    for command in [&embed[..], &evaluate, &search] {
        let remedy = "to leave out more: --damaged SHARE";
        place
            .run(command)
            .fails(1, &["data.damaged allows 0", "c1/0.png", remedy]);
        place
            .run(&[command, &["--damaged", "0.03"]].concat())
            .fails(1, &["2 damaged images, data.damaged allows 1"]);
        place
            .run(&[command, &["--damaged", "2"]].concat())
            .fails(2, &["a number from 0 to 1"]);
    }
    assert!(!place.path("v.npy").exists());
    let tolerant = |command: &[&str]| {
        let said = place.run(&[command, &["--damaged", "0.1"]].concat());
        said.succeeds();
        said.stdout + &said.stderr
    };
    for command in [&embed[..], &evaluate, &search] {
        let text = tolerant(command);
        let named = "2 damaged images were left out: c1/0.png, c2/link.png";
        assert!(text.contains(named), "{text}");
    }
    let ids = place.read("v.ids.txt").lines().count();
    assert_eq!(ids, 47);
    // A query of one image, damaged, leaves nothing to search for.
    place
        .run(&[
            "search",
            model,
            "photos",
            "photos/c1/0.png",
            "--damaged",
            "0.1",
        ])
        .fails(1, &["c1/0.png: not a readable image"]);
    place.write("lost/a/0.png", b"no image");
    let all = ["embed", model, "lost", "-o", "w.npy", "--damaged", "1"];
    place
        .run(&all)
        .fails(1, &["lost", "none of its ", "can be read"]);
}

#[test]
fn a_model_brings_the_tolerance_of_its_recipe_along() {
    let place = with_recipe();
    place.write("photos/c1/0.png", &png(0)[..60]);
    place
        .train("recipe.toml", &["--set", "data.damaged=0.05"])
        .succeeds();
    let said = place.run(&[
        "embed",
        "runs/recipe/model",
        "photos",
        "-o",
        "v.jsonl",
        "--json",
    ]);
    let value: serde_json::Value = serde_json::from_str(&said.succeeds().stdout).unwrap();
    assert_eq!(
        (&value["rows"], &value["damaged"][0]),
        (&47.into(), &"c1/0.png".into())
    );
    place
        .run(&["evaluate", "runs/recipe/model", "--data", "photos"])
        .succeeds();
}

#[test]
fn a_resumed_run_still_names_the_damaged_images_met_before() {
    let place = with_recipe();
    // In the test part, whose images are met in evaluations alone, and in the training part.
    for class in 0..12 {
        place.write(&format!("photos/c{class}/0.png"), &png(0)[..60]);
    }
    place
        .train("recipe.toml", &["--set", "data.damaged=0.25"])
        .succeeds();
    let damaged = || {
        let text = place.read("runs/recipe/model/metrics.json");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["damaged"].clone()
    };
    let whole = damaged();
    assert!(whole.as_array().unwrap().len() > 4, "{whole}");
    // As if killed after the last checkpoint: what is left to do meets no training image.
    std::fs::remove_dir_all(place.path("runs/recipe/model")).unwrap();
    place
        .run(&[
            "train",
            "--resume",
            "--out",
            "runs/recipe",
            "--threads",
            "2",
        ])
        .succeeds();
    assert_eq!(damaged(), whole);
}

#[test]
fn an_unknown_recipe_key_is_placed_with_the_nearest_known_one() {
    let place = with_recipe();
    let text = place.read("recipe.toml").replace("per_class", "  per_clas");
    let line = text.lines().position(|l| l.contains("per_clas")).unwrap() + 1;
    place.write("recipe.toml", text.as_bytes());
    let at = format!("recipe.toml:{line}:3: unknown field `per_clas`");
    for command in [
        &["recipe", "check", "recipe.toml"][..],
        &["train", "recipe.toml"],
    ] {
        place
            .run(command)
            .fails(2, &[&at, "did you mean `per_class`?"]);
    }
    place
        .run(&[
            "recipe",
            "check",
            "photos",
            "--set",
            "optimizer.adam.rate=1",
        ])
        .fails(2, &["unknown variant `adam`", "did you mean `adamw`?"]);
}

#[test]
fn what_the_parts_of_an_objective_lack_is_placed() {
    let place = with_recipe();
    let text = place.read("recipe.toml");
    let from = "[loss.multi_similarity]";
    let line = text.lines().position(|l| l == from).unwrap() + 1;
    // Lines are counted from that of the loss.
    for (to, below, message) in [
        (
            "[loss.multi_similarity]\n[[regularizers]]\npenalty.lp = {}\n[[regularizers]]\non = \"proxies\"\npenalty.lp = {}",
            3,
            "1: loss multi_similarity has no proxies, regularizer lp has nothing to act on",
        ),
        (
            "[loss.soft_triple]\n[[regularizers]]\non = \"proxies\"\npenalty.sparse_centers = { centers = 4 }",
            1,
            "1: regularizer sparse_centers takes 4 centers for each class, loss soft_triple has 10",
        ),
        (
            "[loss.multi_similarity]\n[[regularizers]]\nwieght = 2\npenalty.lp = {}",
            2,
            "1: unknown field `wieght`, expected one of `weight`, `on`, `penalty`; did you mean `weight`?",
        ),
        (
            "[loss.multi_similarity]\n[[regularizers]]\n[regularizers.penalty.zero_maen]",
            2,
            "23: unknown variant `zero_maen`",
        ),
        (
            "[loss.multi_similarity]\n[miner.distance_weighted]\n[distance.lp]",
            1,
            "2: miner distance_weighted goes by distances on the unit sphere",
        ),
    ] {
        place.write("wrong.toml", text.replace(from, to).as_bytes());
        let at = format!("wrong.toml:{}:{message}", line + below);
        place
            .run(&["recipe", "check", "wrong.toml"])
            .fails(2, &[&at]);
    }
    let fits = "[loss.soft_triple]\n[[regularizers]]\non = \"proxies\"\nweight = 0.2\npenalty.sparse_centers = {}";
    place.write("right.toml", text.replace(from, fits).as_bytes());
    place.run(&["recipe", "check", "right.toml"]).succeeds();
    let shown = place.run(&["recipe", "show", "right.toml"]);
    assert!(
        shown
            .stdout
            .contains("[regularizers.penalty.sparse_centers]\ncenters = 10"),
        "{}",
        shown.stdout
    );
}

#[test]
fn a_wrong_type_or_range_is_placed() {
    let place = with_recipe();
    let text = place.read("recipe.toml");
    for (from, to, key, message) in [
        (
            "warmup = 50",
            "warmup = \"x\"",
            "warmup",
            "invalid type: string \"x\"",
        ),
        ("rate = 1e-3", "rate = -1", "rate", "-1 is out of range"),
        ("crop = 0.8", "crop = 1.8", "crop", "1.8 is out of range"),
        (
            "steps = 1000",
            "steps = 0",
            "steps",
            "invalid value: integer `0`",
        ),
        (
            "dim = 128",
            "dim = 0",
            "dim",
            "head.dim: expected a size above zero, found 0",
        ),
        (
            "dim = 128",
            "dim = 1000000000000000",
            "embedding",
            "at most 1073741824 weights",
        ),
        (
            "height = 16",
            "height = 4000000000",
            "input",
            "at most 16384 rows and columns",
        ),
        (
            "per_class = 4",
            "per_class = 400",
            "sampler",
            "is more than the",
        ),
        (
            "classes = 8",
            "classes = 80",
            "sampler",
            "asks for 80 classes",
        ),
        (
            "[train]",
            "[train]\nrates = { embeding = 1.0 }",
            "train",
            "\"embeding\"",
        ),
        ("[loss.multi_similarity]", "", "", "missing field `loss`"),
        (
            "[loss.multi_similarity]",
            "[loss.cosent]",
            "",
            "needs pairs or triplets of aligned items",
        ),
        (
            "[loss.multi_similarity]",
            "[loss.arcface]\n[miner.batch_hard]",
            "",
            "forms its own tuples",
        ),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        place.write("wrong.toml", text.replace(from, to).as_bytes());
        let result = place.run(&["recipe", "check", "wrong.toml"]);
        result.fails(2, &["wrong.toml:", message]);
        if from.starts_with(key) && !key.is_empty() {
            let line = text.lines().position(|l| l.starts_with(from)).unwrap() + 1;
            assert!(
                result.stderr.contains(&format!("wrong.toml:{line}:")),
                "{}",
                result.stderr
            );
        }
    }
    place
        .run(&["recipe", "check", "photos", "--set", "loss=contrastive"])
        .fails(2, &["expected a table of settings"]);
}

#[test]
fn what_would_do_nothing_is_refused_or_said() {
    let place = with_recipe();
    place
        .train("recipe.toml", &["--set", "augment.landmark_noise=0.1"])
        .fails(2, &["augment.landmark_noise", "input.align beside it"]);
    place
        .train("recipe.toml", &["--set", "data.limit.classes=9"])
        .fails(2, &["data.limit.classes: expected at most 8"]);
    place
        .train("recipe.toml", &["--set", "sampler.n_pair.pairs=1"])
        .fails(
            2,
            &[
                "sampler.n_pair needs pairs of 2 classes or more",
                "pairs = 1",
            ],
        );
    // Twelve classes are too few for some to validate: `init` says so, and who asks for the best is told.
    let said = place.train(
        "recipe.toml",
        &["--set", "data.limit.classes=8", "--out", "last"],
    );
    assert!(
        !said.succeeds().stderr.contains("nothing validates"),
        "{}",
        said.stderr
    );
    let said = place.train(
        "recipe.toml",
        &["--set", "train.select=best", "--out", "best"],
    );
    assert!(
        said.succeeds().stderr.contains("nothing validates"),
        "{}",
        said.stderr
    );
    assert!(!place.read("best/metrics.jsonl").contains("\"best\":true"));
    // A batch of one image has no pair, and its spread is none that could collapse.
    let ones = ["--set", "sampler.shuffled={batch=1}", "--out", "ones"];
    let said = place.train("recipe.toml", &ones);
    let stderr = &said.succeeds().stderr;
    assert!(
        stderr.contains("found no pairs or triplets") && !stderr.contains("collapsed"),
        "{stderr}"
    );
    // On a class alone the first weights are right, and would be the best for ever.
    let alone = "data.split={prefix={test=['c2','c4'],validation=['c3']}}";
    let alone = [
        "--set",
        alone,
        "--set",
        "train.select=best",
        "--set",
        "train.patience=1",
        "--out",
        "alone",
    ];
    let said = place.train("recipe.toml", &alone);
    assert!(
        said.succeeds().stderr.contains("nothing validates"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("train.patience waits"),
        "{}",
        said.stderr
    );
    assert!(!place.read("alone/metrics.jsonl").contains("\"best\":true"));
}

#[test]
fn a_file_that_may_not_grow_ends_the_run_and_leaves_the_old_checkpoint_to_go_on_from() {
    let place = with_recipe();
    let long = ["--set", "train.steps=30", "--set", "train.evaluate_every=1"];
    // Files may have 8 blocks of 512 bytes: the journal passes that after a few checkpoints.
    let tiny = ["--set", "network.convnet.widths=[2]", "--set", "head.dim=2"];
    let small = ["--set", "input.height=4", "--set", "input.width=4"];
    let train = [
        &["train", "recipe.toml"][..],
        &FEW_STEPS,
        &long,
        &tiny,
        &small,
    ]
    .concat();
    let result = limited(&place, 8, &train);
    result.fails(1, &["File too large"]);
    let run = place.path("runs/recipe");
    assert_eq!(half_written(&run), [""; 0]);
    let kept = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let kept: Vec<String> = kept
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        kept.iter().any(|name| name.starts_with("step-")),
        "{kept:?}"
    );
    assert!(!run.join("model").exists());
    place
        .run(&["train", "--resume", "--out", "runs/recipe"])
        .succeeds();
    assert!(run.join("model/model.safetensors").exists());
}

#[test]
fn vectors_that_do_not_fit_the_disk_leave_the_old_file() {
    let place = with_model();
    for name in ["v.npy", "v.safetensors", "v.parquet", "v.jsonl"] {
        place.write(name, b"old");
        let result = limited(
            &place,
            2,
            &["embed", "runs/recipe/model", "photos", "-o", name],
        );
        result.fails(1, &["v."]);
        assert_eq!(place.read(name), "old");
    }
    assert_eq!(half_written(&place.path("")), [""; 0]);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let place = with_model();
    place.write("file", b"");
    place
        .train("recipe.toml", &["--out", "file/run"])
        .fails(1, &["file/run"]);
    let result = place.run(&["embed", "runs/recipe/model", "photos", "-o", "absent/v.npy"]);
    result.fails(2, &["absent: no such folder"]);
    let result = place.run(&["embed", "runs/recipe/model", "photos", "-o", "v.txt"]);
    result.fails(
        2,
        &["v.txt: the extension must be npy, safetensors, parquet or jsonl"],
    );
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .fails(2, &["recipe.toml: there already"]);
}

#[test]
fn a_full_or_closed_standard_output_is_no_panic() {
    let place = Workplace::new();
    for json in [&[][..], &["--json"]] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let arguments = [&["list", "losses"], json].concat();
        let result = place
            .command(&arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("standard output cannot be written"),
            "{stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    // The reading end is dropped before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let result = place
        .command(&["list", "losses"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((result.status.code(), result.stderr.len()), (Some(0), 0));
}

#[test]
fn a_model_folder_of_another_version_or_with_a_damaged_file_is_named() {
    let place = with_model();
    let model = "runs/recipe/model";
    let embed = || place.run(&["embed", model, "photos", "-o", "v.npy"]);
    let (config, weights) = (
        format!("{model}/nearkin.json"),
        format!("{model}/model.safetensors"),
    );
    let text = place.read(&config);
    place.write(
        &config,
        text.replace("\"format\": 1", "\"format\": 9").as_bytes(),
    );
    embed().fails(
        1,
        &["nearkin.json: model format 9, this version reads formats up to 1"],
    );
    place.write(&config, &text.as_bytes()[..100]);
    embed().fails(1, &["nearkin.json", "line"]);
    place.write(
        &config,
        text.replace("\"dim\": 128", "\"dim\": 99999999999999")
            .as_bytes(),
    );
    embed().fails(1, &["embedding.weight: at most 1073741824 weights"]);
    place.write(&config, text.as_bytes());
    let bytes = std::fs::read(place.path(&weights)).unwrap();
    place.write(&weights, &bytes[..bytes.len() / 2]);
    embed().fails(1, &["model.safetensors: not a whole safetensors file"]);
    std::fs::remove_file(place.path(&weights)).unwrap();
    embed().fails(1, &["model.safetensors"]);
    assert!(!place.path("v.npy").exists());
    place.run(&["evaluate", "absent"]).fails(1, &["absent"]);
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_their_place() {
    let place = with_model();
    let model = "runs/recipe/model";
    let path = place.path(&format!("{model}/model.safetensors"));
    let mut bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let commands = [
        vec!["embed", model, "photos", "-o", "v.npy"],
        vec!["evaluate", model, "--data", "photos"],
        vec!["search", model, "photos", "photos/c1/0.png"],
    ];
    // Weights of NaN: every number of the file but its header.
    bytes[header..].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    for command in &commands {
        place.run(command).fails(
            1,
            &["model.safetensors", "tensor \"", "holds NaN at place 0"],
        );
    }
    assert!(!place.path("v.npy").exists());
}

#[test]
fn training_that_runs_to_nan_names_step_loss_and_tensor_and_keeps_no_checkpoint_of_it() {
    let place = with_recipe();
    for (out, every) in [("runs/between", "100"), ("runs/evaluated", "1")] {
        let every = format!("train.evaluate_every={every}");
        let result = place.train(
            "recipe.toml",
            &[
                "--out",
                out,
                "--set",
                "optimizer.adamw.rate=1e38",
                "--set",
                &every,
            ],
        );
        result.fails(
            1,
            &[
                "step 1, loss multi_similarity: the weight ",
                "is not finite",
                "lower the learning rate",
            ],
        );
        assert!(!place.path(out).join("checkpoints").join("step-1").exists());
        assert!(!place.path(out).join("model").exists());
    }
}

#[test]
fn resume_is_refused_where_it_would_not_be_the_same_run() {
    let place = with_model();
    place
        .run(&["train", "--resume"])
        .fails(2, &["--resume needs the run: --out DIR"]);
    place
        .run(&["train", "--resume", "--out", "absent"])
        .fails(2, &["absent: no run here"]);
    let out = ["train", "--resume", "--out", "runs/recipe"];
    place
        .run(&[&out[..], &["--set", "seed=4"]].concat())
        .fails(2, &["--set cannot change it"]);
    place.run(&[&out[..], &["recipe.toml"]].concat()).fails(
        2,
        &["recipe.toml is not the recipe that the run began with"],
    );
    place
        .run(&[&out[..], &["--budget", "1m"]].concat())
        .fails(2, &["--budget"]);
    place
        .train("recipe.toml", &[])
        .fails(2, &["runs/recipe: a run is there already", "--resume"]);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let place = with_model();
    let step = "runs/recipe/checkpoints/step-4";
    for file in ["optimizer.safetensors", "model.safetensors", "state.json"] {
        let path = format!("{step}/{file}");
        let bytes = std::fs::read(place.path(&path)).unwrap();
        place.write(&path, &bytes[..bytes.len() / 2]);
        place
            .run(&["train", "--resume", "--out", "runs/recipe"])
            .fails(1, &[file]);
        place.write(&path, &bytes);
    }
}

#[test]
fn terms_with_too_few_negatives_are_counted_and_said_once() {
    let place = with_recipe();
    let recipe = place
        .read("recipe.toml")
        .replace("[loss.multi_similarity]", "[loss.constellation]\nk = 1000");
    place.write("short.toml", recipe.as_bytes());
    let said = place.train("short.toml", &[]);
    said.succeeds();
    let warnings = said
        .stderr
        .matches("fewer negatives than the loss constellation");
    assert_eq!(warnings.count(), 1, "{}", said.stderr);
    let journal = place.read("runs/short/metrics.jsonl");
    let first: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert!(first["short"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(first["short"], first["tuples"], "{first}");
}

#[test]
fn ctrl_c_saves_a_checkpoint_and_says_how_to_go_on() {
    let place = with_recipe();
    let mut child = place
        .command(&["train", "recipe.toml", "--set", "train.steps=1000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let journal = place.path("runs/recipe/metrics.jsonl");
    while std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count()) < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended by itself"
        );
    }
    let id = child.id().to_string();
    assert!(
        Command::new("sh")
            .args(["-c", &format!("kill -INT {id}")])
            .status()
            .unwrap()
            .success()
    );
    let lines: Vec<String> = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{lines:?}");
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("stopped after step ")
            && last.ends_with("nearkin train --resume --out runs/recipe"),
        "{last}"
    );
    let step: u64 = last.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(
        place
            .path(&format!("runs/recipe/checkpoints/step-{step}/state.json"))
            .exists()
    );
    let steps = std::fs::read_to_string(&journal).unwrap().lines().count() as u64;
    assert!(steps >= step, "{steps} lines for {step} steps");
}

#[test]
fn wrong_arguments_are_explained_also_as_json() {
    let place = Workplace::new();
    for (arguments, part) in [
        (&["--threads", "0", "list", "losses"][..], "1..=1024"),
        (&["--threads", "1000000", "list", "losses"], "1..=1024"),
        (&["list", "lossses"], "losses"),
        (&["train", "digits", "--budget", "10"], "90s, 10m or 1.5h"),
        (
            &["train", "digits", "--set", "seed"],
            "expected path.to.key=value",
        ),
        (&["trian"], "train"),
        (&["search", "model", "digits", "digits", "-k", "0"], "-k"),
    ] {
        place.run(arguments).fails(2, &[part]);
        let result = place.run(&[arguments, &["--json"]].concat());
        assert_eq!(result.code, Some(2));
        let value: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
        assert!(value["usage"].as_str().unwrap().contains(part), "{value}");
    }
}

#[test]
fn damaged_vector_files_are_named() {
    let place = with_model();
    let model = "runs/recipe/model";
    for name in ["v.npy", "v.safetensors", "v.parquet", "v.jsonl"] {
        place
            .run(&["embed", model, "photos", "-o", name])
            .succeeds();
        let bytes = std::fs::read(place.path(name)).unwrap();
        for len in [0, 20, bytes.len() / 2, bytes.len() - 3] {
            place.write(name, &bytes[..len]);
            place.run(&["search", model, name, name]).fails(1, &[name]);
        }
    }
    place.run(&["search", model, "photos", "digits"]).fails(
        1,
        &["digits holds rows of 64 features, the model reads images"],
    );
}
