//! Losses compared at the same effort.

#[allow(dead_code, reason = "full disks and images are for other tests")]
mod workplace;

use serde_json::Value;
use workplace::{Said, Workplace};

const RECIPE: &str = "seed = 3\n[data.source.bundled]\nname = \"digits\"\n[data.split.class_disjoint]\ntest = 0.3\n\
    [sampler.pk]\nclasses = 3\nper_class = 4\n[network.mlp]\nhidden = []\n[head]\ndim = 16\n\
    [loss.contrastive]\nnegative_margin = 0.9\n\
    [train]\nsteps = 4\nevaluate_every = 4\n";

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("digits.toml", RECIPE.as_bytes());
    place
}

fn compare(place: &Workplace, losses: &str, more: &[&str]) -> Said {
    let fixed = [
        "compare",
        "digits.toml",
        "--loss",
        losses,
        "--budget",
        "2",
        "--folds",
        "2",
        "--threads",
        "2",
    ];
    place.run(&[&fixed, more].concat())
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

#[test]
fn losses_are_tuned_on_folds_and_tested_on_classes_that_no_choice_saw() {
    let place = place();
    let two = ["--seeds", "2", "--json"];
    let found = json(&compare(&place, "contrastive,triplet_margin", &two));
    let arms = found["arms"].as_array().unwrap();
    assert_eq!(arms.len(), 2);
    for arm in arms {
        let tries = arm["tries"].as_array().unwrap();
        assert!(tries[0]["changes"].as_array().unwrap().is_empty());
        assert!(!tries[1]["changes"].as_array().unwrap().is_empty());
        let mean = |tried: &Value| -> f64 {
            let folds = tried["validation"].as_array().unwrap();
            folds
                .iter()
                .map(|fold| fold["map_at_r"].as_f64().unwrap())
                .sum()
        };
        let chosen = arm["chosen"].as_u64().unwrap() as usize;
        assert!(
            tries
                .iter()
                .all(|tried| mean(tried) <= mean(&tries[chosen]))
        );
        let tested = arm["tested"].as_array().unwrap();
        assert_eq!(tested.len(), 2);
        assert_eq!(tested[0]["separate"].as_array().unwrap().len(), 2);
        // Other weights, other batches, the same test classes.
        assert_ne!(tested[0]["separate"], tested[1]["separate"]);
    }
    assert_eq!(found["contrasts"].as_array().unwrap().len(), 1);

    // The model that was tested gives what was told of it.
    let chosen = arms[0]["chosen"].as_u64().unwrap() + 1;
    let run = format!("runs/digits-compare/contrastive/try-{chosen}/test-1/fold-1");
    let metrics: Value =
        serde_json::from_str(&place.read(&format!("{run}/model/metrics.json"))).unwrap();
    assert_eq!(metrics["part"], "test");
    let map = metrics["rows"][2]["evaluation"]["retrieval"]["map_at_r"]["value"]
        .as_f64()
        .unwrap();
    let told = arms[0]["tested"][0]["separate"][0]["map_at_r"]
        .as_f64()
        .unwrap();
    assert!((map - told).abs() < 1e-6, "{map} {told}");
    let tuning: Value = serde_json::from_str(
        &place.read("runs/digits-compare/contrastive/try-1/fold-1/model/metrics.json"),
    )
    .unwrap();
    assert_eq!(tuning["part"], "validation");

    // Again and with one more loss: what is trained is not trained again.
    let journal = format!("{run}/metrics.jsonl");
    let before = place.read(&journal);
    let said = compare(
        &place,
        "contrastive,triplet_margin,n_pair",
        &["--seeds", "2"],
    );
    let text = &said.succeeds().stdout;
    for part in [
        "raw input",
        "n_pair",
        "best",
        "MAP@R together",
        "± is the 95 % interval over 2 seeds",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(
        !said.stderr.contains(": contrastive, try"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("24 of 24: n_pair, test 2, fold 2"),
        "{}",
        said.stderr
    );
    assert_eq!(place.read(&journal), before);
    let page = place.read("runs/digits-compare/results.md");
    assert!(
        page.contains("--loss contrastive,triplet_margin,n_pair --budget 2 --folds 2 --seeds 2"),
        "{page}"
    );
    assert!(
        place
            .read("runs/digits-compare/results.csv")
            .lines()
            .count()
            > 24
    );
}

#[test]
fn a_loss_that_diverges_is_a_row_and_a_damaged_file_of_scores_is_made_again() {
    let place = place();
    let steep = [
        "--seeds",
        "1",
        "--json",
        "--set",
        "optimizer.sgd={rate=1e30}",
    ];
    let steep = compare(&place, "contrastive", &steep);
    assert_eq!(steep.code, Some(1), "{}", steep.stderr);
    assert!(
        steep
            .stdout
            .contains("all tries ended in numbers that are not finite"),
        "{}",
        steep.stdout
    );
    let once = ["--seeds", "1", "--json", "--out", "runs/again"];
    let first = compare(&place, "contrastive", &once)
        .succeeds()
        .stdout
        .clone();
    for (name, text) in [
        ("validation.json", "[]"),
        ("validation.json", "{"),
        ("test-1/scores.json", "{}"),
    ] {
        let found: Value = serde_json::from_str(&first).unwrap();
        let chosen = found["arms"][0]["chosen"].as_u64().unwrap() + 1;
        place.write(
            &format!("runs/again/contrastive/try-{chosen}/{name}"),
            text.as_bytes(),
        );
        assert_eq!(
            compare(&place, "contrastive", &once).succeeds().stdout,
            first,
            "{name} {text}"
        );
    }
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_trained() {
    let place = place();
    for (losses, more, parts) in [
        (
            "contrastve",
            [].as_slice(),
            ["digits.toml:", "contrastive"].as_slice(),
        ),
        ("n_pair,n_pair", &[], &["n_pair is named twice"]),
        ("cosine_regression", &[], &["cosine_regression"]),
        ("n_pair", &["--folds", "9"], &["9 folds of 7 classes"]),
        (
            "n_pair",
            &["--set", "data.split=\"all_train\""],
            &["nothing to test"],
        ),
        ("n_pair", &["--set", "seed=a"], &["digits.toml:1:"]),
        (
            "n_pair",
            &["--set", "data.split={item_level={}}"],
            &["is tested and left to the folds too"],
        ),
    ] {
        let mut arguments = vec!["compare", "digits.toml", "--loss", losses];
        arguments.extend(more);
        place.run(&arguments).fails(2, parts);
    }
    assert!(!place.path("runs").exists());
}
