//! A run that is killed at random moments and resumed ends in the same bits as an uninterrupted one.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;

const RECIPE: &str = r#"
seed = 11
[data.source.bundled]
name = "glyphs"
[data.split.prefix]
validation = ["Greek/"]
test = ["Arabic/"]
[sampler.pk]
classes = 8
per_class = 3
[input]
height = 16
width = 16
color = "gray"
[augment]
crop = 0.8
shift = 0.1
[network.convnet]
widths = [8, 8]
[head]
dim = 16
# A loss of all kinds: without state, with a memory of earlier batches, with learned proxies.
[[loss.weighted_sum.terms]]
[loss.weighted_sum.terms.objective.loss.triplet_margin]
[loss.weighted_sum.terms.objective.miner.semi_hard]
choice = "random"
[[loss.weighted_sum.terms]]
[loss.weighted_sum.terms.objective.loss.cross_batch_memory]
size = 60
[loss.weighted_sum.terms.objective.loss.cross_batch_memory.of.loss.contrastive]
[[loss.weighted_sum.terms]]
weight = 0.1
[loss.weighted_sum.terms.objective.loss.normalized_softmax]
[[loss.weighted_sum.terms.objective.regularizers]]
weight = 0.1
on = "proxies"
penalty.regular_face = {}
[[loss.weighted_sum.terms]]
[loss.weighted_sum.terms.objective.loss.contrastive]
[loss.weighted_sum.terms.objective.miner.uniform_histogram]
bins = 10
[[regularizers]]
weight = 0.01
penalty.embedding_norm = { radius = 1.0 }
[optimizer.adamw]
[schedule]
warmup = 5
[train]
steps = 120
evaluate_every = 10
accumulate = 2
clip = 1.0
ema = 0.95
chunk = 16
"#;

fn nearkin(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearkin"));
    command
        .current_dir(folder)
        .args(["--threads", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn train(folder: &Path, resume: bool) -> Child {
    let mut command = nearkin(folder);
    if resume {
        command.args(["train", "--resume", "--out", "killed"]);
    } else {
        command.args(["train", "recipe.toml", "--out", "killed"]);
    }
    command.spawn().unwrap()
}

/// The newest whole checkpoint of a run.
fn checkpoint(run: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(run.join("checkpoints")).ok()?;
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
        .max()
}

/// The first lines of a journal as they are, items a second included: a step made twice has two of those.
fn first_lines(run: &Path, steps: u64) -> Vec<String> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let until = |line: &&str| {
        let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
        value.is_some_and(|value| value["step"].as_u64().unwrap() <= steps)
    };
    text.lines().take_while(until).map(str::to_owned).collect()
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

/// How many lines the journal has so far: about one a step.
fn lines(run: &Path) -> u64 {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    text.lines().count() as u64
}

#[test]
fn a_killed_and_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    kill_and_resume(RECIPE);
}

#[test]
fn batches_that_earlier_weights_decided_are_drawn_again_after_a_kill() {
    // Checkpoints every 10 steps, in the middle of rounds of 7 and of 25.
    let samplers = [
        "[sampler.hard_classes]\nclasses = 8\nper_class = 3\ncandidates = 40\nevery = 7",
        "[sampler.offline_triplets]\ntriplets = 8\nsubset = 200\nevery = 25",
    ];
    for sampler in samplers {
        let recipe = RECIPE.replace("[sampler.pk]\nclasses = 8\nper_class = 3", sampler);
        assert!(recipe.contains(sampler));
        kill_and_resume(&recipe);
    }
}

#[test]
fn a_network_of_pairs_goes_on_likewise() {
    let beginning = RECIPE.split("[sampler.pk]").next().unwrap();
    let network = "[sampler.quadruplets]\nquadruplets = 6\n[input]\nheight = 12\nwidth = 12\ncolor = \"gray\"\n[augment]\nshift = 0.1\n\
                   [pair_network.alexnet]\nstem = \"small\"\nwidth = 0.0625\nhidden = 16\n[loss.pair_quadruplet]\nmargins = \"adaptive\"\n";
    let rest = RECIPE.split_once("[optimizer.adamw]").unwrap().1;
    kill_and_resume(&format!("{beginning}{network}[optimizer.adamw]{rest}"));
}

#[test]
fn a_run_beside_an_old_model_is_resumed_bit_for_bit() {
    let start = RECIPE.find("# A loss of all kinds").unwrap();
    let end = RECIPE.find("[optimizer.adamw]").unwrap();
    let with = |loss: &str| format!("{}{loss}\n{}", &RECIPE[..start], &RECIPE[end..]);
    let folder = tempfile::tempdir().unwrap();
    let old = with("[loss.multi_similarity]").replace("steps = 120", "steps = 20");
    std::fs::write(folder.path().join("old.toml"), old).unwrap();
    let trained = nearkin(folder.path())
        .args(["train", "old.toml", "--out", "old"])
        .status();
    assert!(trained.unwrap().success());
    kill_and_resume_in(
        folder.path(),
        &with("[harmonic]\nmodel = \"old/model\"\n[loss.harmonic_triplet]"),
    );
}

/// Ctrl-C is answered at once, whatever is under way.
#[cfg(unix)]
#[test]
fn ctrl_c_says_when_the_run_stops_and_how_to_end_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
    let run = folder.path().join("run");
    let child = nearkin(folder.path())
        .args([
            "train",
            "recipe.toml",
            "--out",
            "run",
            "--set",
            "train.steps=1000000",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while checkpoint(&run).is_none() {
        sleep(std::time::Duration::from_millis(20));
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let said = child.wait_with_output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(130), "{text}");
    assert!(text.contains("a second Ctrl-C ends it at once"), "{text}");
}

fn kill_and_resume(recipe: &str) {
    let folder = tempfile::tempdir().unwrap();
    kill_and_resume_in(folder.path(), recipe);
}

fn kill_and_resume_in(folder: &Path, recipe: &str) {
    std::fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let status = nearkin(folder)
        .args(["train", "recipe.toml", "--out", "whole"])
        .status()
        .unwrap();
    assert!(status.success());

    // Kills after numbers of steps that the clock draws, within a step wherever it is then: not after times, which are others
    // beside other work. The first checkpoint comes after ten steps.
    let run = folder.join("killed");
    let mut kills = 0;
    let mut kept = Vec::new();
    let mut child = train(folder, false);
    loop {
        let nanos = u64::from(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .subsec_nanos(),
        );
        let goal = lines(&run) + nanos % 40;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if lines(&run) >= goal {
                break None;
            }
            sleep(std::time::Duration::from_millis(1));
        };
        if let Some(status) = ended {
            assert!(status.success(), "a resumed run failed after {kills} kills");
            break;
        }
        if kills == 8 {
            assert!(child.wait().unwrap().success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if let Some(step) = checkpoint(&run) {
            kept = first_lines(&run, step);
        }
        // A kill before the first checkpoint leaves at most the recipe.
        let resume = run.join("recipe.toml").exists();
        child = train(folder, resume);
    }
    assert!(kills > 0, "the run ended before it could be killed");
    assert!(
        !kept.is_empty(),
        "no kill came after a checkpoint: nothing was resumed"
    );
    assert_eq!(
        kept,
        first_lines(&run, u64::MAX)[..kept.len()],
        "steps before the last checkpoint were made again"
    );

    let read = |run: &str, file: &str| std::fs::read(folder.join(run).join(file)).unwrap();
    for file in [
        "model/model.safetensors",
        "model/recipe.toml",
        "recipe.toml",
    ] {
        assert_eq!(
            read("whole", file),
            read("killed", file),
            "{file} differs after {kills} kills"
        );
    }
    assert_eq!(journal(&folder.join("whole")), journal(&run));
}
