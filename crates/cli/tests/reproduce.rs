//! The comparison of a paper from the command line, on made-up features.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use std::fmt::Write;
use workplace::{Said, Workplace};

/// Eight tissues of ten tiles, each around a corner of a cube.
fn place() -> Workplace {
    let place = Workplace::new();
    let mut table = "tile\tlabel\ttissue\ta\tb\tc\n".to_owned();
    for tile in 0..80_u32 {
        let class = tile % 8;
        write!(table, "{tile}\t{class}\tT{class}").unwrap();
        for axis in 0..3 {
            let moved = f64::from(tile * (axis + 3) * 37 % 101) / 300.0;
            write!(table, "\t{}", f64::from(class >> axis & 1) + moved).unwrap();
        }
        table.push('\n');
    }
    place.write("tiles.tsv", table.as_bytes());
    place
}

fn reproduce(place: &Workplace, more: &[&str]) -> Said {
    let few = [
        "reproduce",
        "constellation",
        "--seeds",
        "2",
        "--out",
        "study",
        "--set",
        "data.source.features.path=tiles.tsv",
        "--set",
        "train.evaluate_every=3",
    ];
    place.run(&[&few, more].concat())
}

#[test]
fn a_study_trains_every_arm_and_says_which_claims_hold() {
    let place = place();
    let said = reproduce(&place, &["--set", "train.steps=3"]);
    for part in [
        "raw input",
        "constellation k=7",
        "(91.74 ± 0.68)",
        "silhouette",
        "constellation k=4 beats triplet by silhouette:",
        "of 2 seeds",
    ] {
        let shown = &said.succeeds().stdout;
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let read = |name: &str| place.read(name);
    let (page, numbers) = (read("study/results.md"), read("study/results.csv"));
    assert!(page.contains("| *paper* | *91.74 ± 0.68* |"), "{page}");
    // A line for each of 9 arms, 2 seeds and 4 measures.
    assert_eq!(numbers.lines().count(), 1 + 9 * 2 * 4, "{numbers}");

    // Given again, nothing is trained again, and the numbers are the same.
    let written = |name: &str| {
        std::fs::metadata(place.path(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let checkpoints = "study/triplet/seed-1/checkpoints";
    let before = written(checkpoints);
    let again = reproduce(&place, &["--set", "train.steps=3", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&again.succeeds().stdout).unwrap();
    assert_eq!(report["verdicts"].as_array().map(Vec::len), Some(18));
    assert_eq!(report["arms"][0]["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (written(checkpoints), read("study/results.csv")),
        (before, numbers)
    );

    let header = report["set"][2].as_str();
    assert_eq!(
        (header, &report["seeds"]),
        (Some("train.steps=3"), &2.into())
    );
    assert!(page.contains("--set 'train.steps=3'"), "{page}");

    let other = reproduce(&place, &["--set", "train.steps=6"]);
    other.fails(2, &["a run with another recipe is there already"]);
}

#[test]
fn the_results_of_another_study_are_not_written_over() {
    let place = place();
    // Stopped before its first run was done, or by an error as here, it has no results but a name.
    let wrong = reproduce(&place, &["--set", "optimizer.adamw.rate=1e38"]);
    assert_ne!(wrong.code, Some(0));
    let other = ["reproduce", "npair", "--data", "nowhere", "--out", "study"];
    let parts = [
        "study/results.md",
        "Multi-class N-pair",
        "Constellation loss",
    ];
    place.run(&other).fails(2, &parts);
    let page = "## Constellation loss: compact classes of tissue\n\nNot all runs are done.\n";
    assert_eq!(place.read("study/results.md"), page);
}

#[test]
fn what_is_missing_is_named() {
    let place = Workplace::new();
    let nowhere = place.run(&["reproduce", "npair", "--data", "nowhere"]);
    let whose =
        "the study's data is omniglot/images.zip, below the folder that --data names, nowhere: ";
    nowhere.fails(1, &[whose, "nowhere/omniglot/images.zip"]);
    let seed = place.run(&["reproduce", "npair", "--set", "seed=3"]);
    seed.fails(2, &["--set seed=3", "--seeds"]);
    let unknown = place.run(&["reproduce", "arcface"]);
    unknown.fails(
        2,
        &["constellation, facenet, facenet-networks, quadruplet, npair, npair-faces"],
    );
}
