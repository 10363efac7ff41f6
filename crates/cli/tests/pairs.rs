//! A network of pairs from the command line: train, evaluate, verify, and what it cannot do.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

const RECIPE: &str = r#"
[data.source.manifest]
path = "people.csv"
camera_column = "camera"
[data.split.class_disjoint]
test = 0.5
[sampler.quadruplets]
quadruplets = 3
[input]
height = 12
width = 12
[pair_network.alexnet]
stem = "small"
width = 0.0625
hidden = 8
[loss.pair_quadruplet]
[train]
steps = 4
evaluate_every = 2
"#;

/// Eight people of four images each in a table that names two cameras, and a recipe.
fn place() -> Workplace {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    let mut table = "path,label,camera\n".to_owned();
    for class in 0..8 {
        for item in 0..4 {
            writeln!(table, "photos/c{class}/{item}.png,c{class},{}", item % 2).unwrap();
        }
    }
    place.write("people.csv", table.as_bytes());
    place.write("recipe.toml", RECIPE.as_bytes());
    place
}

fn train(place: &Workplace, out: &str, more: &[&str]) -> Said {
    let command = ["train", "recipe.toml", "--out", out, "--threads", "2"];
    place.run(&[&command[..], more].concat())
}

#[track_caller]
fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

#[track_caller]
fn holds(said: &Said, parts: &[&str]) {
    let shown = &said.succeeds().stdout;
    for part in parts {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn it_trains_and_is_measured_by_its_scores() {
    let place = place();
    let checked = place.run(&["recipe", "check", "recipe.toml"]);
    holds(
        &checked,
        &["ready to train", "16 items to train", "weights"],
    );
    let trained = train(&place, "run", &[]);
    let parts = [
        "raw pixels",
        "untrained network",
        "trained model",
        "rank-1",
        "mAP",
        "8 queries, 8 gallery items",
        "model (last weights, step 4): run/model",
    ];
    holds(&trained, &parts);
    assert!(
        place
            .read("run/model/nearkin.json")
            .contains("pair_network")
    );

    let command = ["evaluate", "run/model", "--protocol", "reid"];
    let shown = place.run(&command);
    let parts = [
        "the test part of people.csv",
        "raw input",
        "16 queries, 16 gallery items",
        "by the network's score of (query, item)",
        "for the model of its scores",
    ];
    holds(&shown, &parts);
    assert!(shown.stdout.contains("identity and camera are dropped"));
    let plain = place.run(&[&command[..], &["--data", "photos"]].concat());
    holds(&plain, &["32 queries", "the query itself is dropped"]);
    assert!(!plain.stdout.contains("camera"), "{}", plain.stdout);
    let found = json(&place.run(&[&command[..], &["--json"]].concat()));
    assert_eq!(found["model"]["queries"], 16);
    // All ordered pairs of queries and gallery but an item with itself.
    assert_eq!(found["model"]["distances"]["intra"]["pairs"], 16 * 3);
    assert_eq!(found["model"]["distances"]["inter"]["pairs"], 16 * 12);
    let score = |name: &str| found["model"][name]["value"].as_f64().unwrap();
    assert!(
        ["minp", "map"]
            .map(score)
            .iter()
            .all(|x| (0.0..=1.0).contains(x) && *x > 0.0)
    );

    let seeds = train(&place, "seeds", &["--seeds", "2"]);
    holds(&seeds, &["rank-1", "mAP", "Trained with 2 seeds"]);
}

#[test]
fn two_images_are_compared_and_nothing_is_embedded() {
    let place = place();
    train(&place, "run", &[]).succeeds();
    let [one, other] = ["photos/c0/0.png", "photos/c5/1.png"];
    let verify = ["verify", "run/model", one, other];
    let said = json(&place.run(&[&verify[..], &["--json"]].concat()));
    let (score, same) = (said["distance"].as_f64().unwrap(), said["same"].as_bool());
    assert!((0.0..=1.0).contains(&score) && same == Some(score <= 0.5));
    assert_eq!(said["threshold"], 0.5);
    let turned = ["verify", "run/model", other, one, "--json"];
    assert_eq!(
        json(&place.run(&turned)),
        said,
        "the order of the two does not matter"
    );
    place
        .run(&["verify", "run/model", one, "photos/none.png"])
        .fails(1, &["photos/none.png: there is no such file"]);
    let clusters = ["cluster", "photos", "--model", "run/model"];
    place
        .run(&clusters)
        .fails(2, &["has no vector of one", "nearkin verify"]);
    let strict = place.run(&[&verify[..], &["--threshold", "0"]].concat());
    holds(&strict, &["different: score", "> 0.0000"]);

    for command in [
        vec!["embed", "run/model", "photos", "-o", "vectors.npy"],
        vec!["search", "run/model", "photos", one],
    ] {
        let remedy = [
            "has no vector of one",
            "evaluate --protocol reid",
            "nearkin verify",
        ];
        place.run(&command).fails(2, &remedy);
    }
    let evaluate = ["evaluate", "run/model"];
    place.run(&evaluate).fails(
        2,
        &["no vectors to measure otherwise; measure it with --protocol reid or verification"],
    );
    let ranking = ["--protocol", "reid", "--ranking", "k-reciprocal"];
    place
        .run(&[&evaluate[..], &ranking].concat())
        .fails(2, &["leave --ranking out"]);

    let one_output = [
        "--set",
        "pair_network.alexnet.output=one",
        "--set",
        "loss.pair_triplet.softmax_weight=0.0",
    ];
    train(&place, "one", &one_output).succeeds();
    let verify = ["verify", "one/model", one, other];
    place.run(&verify).fails(
        2,
        &["may be any numbers", "no threshold is kept", "--threshold"],
    );
    let given = place.run(&[&verify[..], &["--threshold", "1e9"]].concat());
    holds(&given, &["same: score"]);
}

#[test]
fn a_threshold_on_scores_is_kept_and_answers() {
    let place = place();
    let one_output = [
        "--set",
        "pair_network.alexnet.output=one",
        "--set",
        "loss.pair_quadruplet.softmax_weight=0.0",
    ];
    place.pairs("pairs.csv");
    for (run, sets) in [("softmax", &[][..]), ("one", &one_output)] {
        train(&place, run, sets).succeeds();
        let model = format!("{run}/model");
        let evaluate = |more: &[&str]| {
            let command = ["evaluate", &model, "--data", "photos", "--protocol"];
            let pairs = ["verification", "--pairs", "pairs.csv", "--far", "0.5"];
            place.run(&[&command[..], &pairs, more].concat())
        };
        let parts = [
            "8 pairs of the same, 8 of different",
            "on scores (model) chosen on the other folds",
        ];
        holds(&evaluate(&[]), &parts);
        let found = json(&evaluate(&["--keep", "--json"]));
        let threshold = found["model"]["accepted"][0]["threshold"].as_f64().unwrap();
        assert!(found["model"]["roc"].as_array().unwrap().len() > 2);
        // The kept threshold answers as it was measured: the share of pairs of the same.
        let mut accepted = 0;
        for class in 0..8 {
            let files = [0, 1].map(|item| format!("photos/c{class}/{item}.png"));
            let said = json(&place.run(&["verify", &model, &files[0], &files[1], "--json"]));
            assert_eq!(said["threshold"], threshold);
            assert_eq!(said["calibration"]["data"], "pairs.csv");
            accepted += i32::from(said["same"] == true);
        }
        let tar = found["model"]["accepted"][0]["tar"]["value"].as_f64();
        assert_eq!(Some(f64::from(accepted) / 8.0), tar, "{run}");
        let [one, other] = ["photos/c0/0.png", "photos/c5/1.png"];
        let said = place.run(&["verify", &model, one, other]);
        let last = said.succeeds().stdout.lines().last().unwrap();
        assert!(last.contains(": score "), "the answer comes last: {last}");
        holds(&said, &["of 8 different pairs for the same"]);
        evaluate(&["--frames", "2"]).fails(2, &["--frames goes with a model that embeds"]);
    }
}

#[test]
fn what_does_not_fit_is_said_before_training() {
    let place = place();
    let fails = |set: &str, parts: &[&str]| train(&place, "run", &["--set", set]).fails(2, parts);
    let large = "pair_network.alexnet.stem=large";
    fails(
        large,
        &["recipe.toml:13:", "pool1: the feature map is 1x1 here"],
    );
    let classes = "sampler.pk={classes=2, per_class=3}";
    fails(
        classes,
        &["two other classes, found a batch of 6 images of 2 classes"],
    );
    fails(
        "loss.quadruplet.margin=1.0",
        &["unknown variant `quadruplet`, expected one of `pair_triplet`"],
    );
    fails("head.dim=8", &["unknown field `head`"]);
    let one = "pair_network.alexnet.output=one";
    fails(
        one,
        &["two outputs the cross-entropy of loss pair_quadruplet needs"],
    );

    let alone = place.read("people.csv").replace(",1\n", ",0\n");
    place.write("alone.csv", alone.as_bytes());
    let alone = "data.source.manifest.path=alone.csv";
    fails(
        alone,
        &["by two cameras among those to test, found 16 images"],
    );

    let steep = ["--set", "optimizer.sgd.rate=1e30"];
    let diverged = train(&place, "steep", &steep);
    diverged.fails(1, &["the score of pair 0 is NaN"]);
    assert!(
        !diverged.stderr.contains("embedding"),
        "{}",
        diverged.stderr
    );

    train(&place, "first", &[]).succeeds();
    let wider = [
        "--set",
        "pretrained.weights=first/model",
        "--set",
        "pair_network.alexnet.width=0.125",
    ];
    train(&place, "run", &wider).fails(1, &["tensor \"conv1.weight\" has shape"]);
    // The same weights as they are, with margins of the batch.
    let adaptive = [
        "--set",
        "pretrained.weights=first/model",
        "--set",
        "loss.pair_quadruplet.margins=adaptive",
    ];
    train(&place, "run", &adaptive).succeeds();
}
