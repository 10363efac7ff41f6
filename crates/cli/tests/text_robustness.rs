//! Training and writing of text models against kills and full disks.

mod tiny;
#[allow(dead_code, reason = "the images are for other tests")]
mod workplace;

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use workplace::{Workplace, everything_under, half_written, limited};

const ENCODER: &str = "
[encoder]
model = 'model'
[loss.softmax_classification]
[batches]
tokens = 200
[[data]]
name = 'classes'
table.path = 'pairs.tsv'
rows.pairs = { first = 'a', second = 'b', label = 'class' }
[[data]]
name = 'scores'
table.path = 'pairs.tsv'
rows.scored = { first = 'a', second = 'b', score = 'score' }
loss.cosent = {}
";
const CROSS_ENCODER: &str = "
[cross_encoder]
model = 'model'
[batches]
tokens = 200
[[data]]
name = 'scores'
table.path = 'pairs.tsv'
rows.scored = { first = 'a', second = 'b', score = 'score' }
";
const REST: &str = "
[[evaluate]]
name = 'scores'
table.path = 'pairs.tsv'
rows.scored = { first = 'a', second = 'b', score = 'score' }
[train]
steps = 60
evaluate_every = 4
accumulate = 2
chunk = 80
ema = 0.9
";

/// A folder with a tiny encoder, a table of pairs, and a recipe.
fn place(recipe: &str) -> Workplace {
    let place = Workplace::new();
    tiny::sentence_encoder(&place.path("model"), 1);
    let mut table = String::from("score\tclass\ta\tb\n");
    for i in 0..60 {
        let text = |k: usize| ["cat", "dog", "moon", "rice bowl", "a b c d"][(i * k + i / 7) % 5];
        let (score, class) = (i % 6, ["no", "yes", "maybe"][i % 3]);
        writeln!(table, "{score}\t{class}\t{} {i}\t{}", text(2), text(3)).unwrap();
    }
    place.write("pairs.tsv", table.as_bytes());
    place.write("recipe.toml", [recipe, REST].concat().as_bytes());
    place
}

fn train(place: &Workplace, arguments: &[&str]) -> Child {
    let mut command = place.command(&["--threads", "2", "train"]);
    let command = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The newest whole checkpoint of a run.
fn checkpoint(run: &Path) -> u64 {
    let entries = std::fs::read_dir(run.join("checkpoints"))
        .into_iter()
        .flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let steps = names.filter_map(|name| name.strip_prefix("step-")?.parse().ok());
    steps.max().unwrap_or(0)
}

/// The journal without the one number that depends on the clock.
fn journal(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("items_per_second");
        value
    };
    text.lines().map(line).collect()
}

#[test]
fn killed_and_resumed_runs_are_the_uninterrupted_ones_bit_for_bit() {
    for recipe in [ENCODER, CROSS_ENCODER] {
        let place = place(recipe);
        assert!(
            train(&place, &["recipe.toml", "--out", "whole"])
                .wait()
                .unwrap()
                .success()
        );
        let run = place.path("killed");
        let mut child = train(&place, &["recipe.toml", "--out", "killed"]);
        let (mut kills, mut last) = (0, 0);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(
                started.elapsed() < Duration::from_mins(5),
                "the run does not end"
            );
            std::thread::sleep(Duration::from_millis(1));
            // In the middle of the steps after a checkpoint, thrice.
            if kills < 3 && checkpoint(&run) > last {
                last = checkpoint(&run);
                std::thread::sleep(Duration::from_millis(7 * kills));
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                child = train(&place, &["--resume", "--out", "killed"]);
            }
        }
        assert!(child.wait().unwrap().success());
        assert_eq!(kills, 3, "the run ended before it could be killed");
        for file in [
            "model/model.safetensors",
            "model/config.json",
            "model/recipe.toml",
        ] {
            let [whole, killed] =
                ["whole", "killed"].map(|run| std::fs::read(place.path(run).join(file)).unwrap());
            assert!(whole == killed, "{file} differs of {recipe}");
        }
        assert_eq!(journal(&place.path("whole")), journal(&run));
    }
}

#[test]
fn a_disk_that_is_full_leaves_the_old_model_whole() {
    for recipe in [ENCODER, CROSS_ENCODER] {
        let place = place(recipe);
        let short = [
            "train",
            "recipe.toml",
            "--set",
            "train.steps=4",
            "--out",
            "run",
        ];
        place.run(&short).succeeds();
        let old = everything_under(&place.path("run/model"));
        // The finished run is measured and written again, into files of at most 8 KiB.
        let failed = limited(&place, 16, &["train", "--resume", "--out", "run"]);
        failed.fails(1, &["model.safetensors", "too large"]);
        assert_eq!(everything_under(&place.path("run/model")), old);
        assert_eq!(half_written(&place.path("run")), [""; 0]);
        // A checkpoint that cannot be written leaves the run to be resumed.
        let failed = limited(&place, 16, &["train", "recipe.toml", "--out", "other"]);
        failed.fails(1, &["safetensors", "too large"]);
        assert_eq!(half_written(&place.path("other")), [""; 0]);
        assert!(!place.path("other/model").exists());
    }
}

#[test]
fn a_conversion_onto_a_full_disk_leaves_nothing() {
    let place = place(ENCODER);
    tiny::cross_encoder(&place.path("cross"));
    for model in ["model", "cross"] {
        let failed = limited(&place, 16, &["convert", model, "out"]);
        failed.fails(1, &["model.safetensors", "too large"]);
        let names = std::fs::read_dir(place.path("")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name());
        assert!(names.all(|name| !name.to_string_lossy().contains("out")));
    }
}

#[test]
fn embeddings_onto_a_full_disk_leave_the_old_file_and_go_on_later() {
    let place = place(ENCODER);
    let many: String = (0..400)
        .map(|i| ["cat ", &i.to_string(), " dog\n"].concat())
        .collect();
    place.write("many.txt", many.as_bytes());
    place.write("few.txt", b"cat\ndog\n");
    for output in ["v.npy", "v.safetensors", "v.parquet", "v.jsonl"] {
        let embed = |texts, threads| ["--threads", threads, "embed", "model", texts, "-o", output];
        place.run(&embed("few.txt", "2")).succeeds();
        let old = std::fs::read(place.path(output)).unwrap();
        // 400 vectors of 16 numbers are 25,600 bytes; 30,720 hold the vectors that are kept aside, not every file made of them.
        for blocks in [16, 60] {
            let result = limited(&place, blocks, &embed("many.txt", "2"));
            if blocks == 60 && result.code == Some(0) {
                continue;
            }
            result.fails(1, &["v.", "too large"]);
            assert_eq!(std::fs::read(place.path(output)).unwrap(), old, "{output}");
            assert_eq!(nearkin::vectors::read(&place.path(output)).unwrap().rows, 2);
        }
        place.run(&embed("many.txt", "2")).succeeds();
        let written = nearkin::vectors::read(&place.path(output)).unwrap();
        assert_eq!((written.rows, written.dim), (400, 16), "{output}");
        assert_eq!(half_written(&place.path("")), [""; 0], "{output}");
    }
}
