//! Images that a table names and that are not there: they count where they are asked for.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::{Value, json};
use std::fmt::Write;
use workplace::{Said, Workplace};

fn evaluate(place: &Workplace, more: &[&str]) -> Said {
    place.run(&[&["evaluate", "whole/model"], more].concat())
}

#[track_caller]
fn holds(said: &Said, parts: &[&str]) {
    for part in parts {
        assert!(
            said.succeeds().stdout.contains(part),
            "{part} is not in {}",
            said.stdout
        );
    }
}

#[test]
fn images_that_are_not_there_count_where_they_are_asked_for() {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    let table = |gone: &dyn Fn(u32) -> bool| {
        let mut table = "path,label,split\n".to_owned();
        for class in 0..8 {
            let part = ["test", "test", "validation", "train"][(class as usize).min(3)];
            let folder = if gone(class) { "gone" } else { "photos" };
            for item in 0..4 {
                writeln!(table, "{folder}/c{class}/{item}.png,c{class},{part}").unwrap();
            }
        }
        table
    };
    let train = |more: &[&str]| {
        let sets = [
            "--set",
            "sampler.pk.classes=4",
            "--set",
            "data.damaged=0.5",
            "--set",
            "train.select=best",
        ];
        place.train("list.toml", &[&sets, more].concat())
    };
    place.write("list.csv", table(&|_| false).as_bytes());
    let init = ["init", "list.csv", "-o", "list.toml"];
    place.run(&init).succeeds();
    let last = [
        "--set",
        "sampler.pk.classes=4",
        "--set",
        "train.select=last",
        "--out",
        "whole",
    ];
    place.train("list.toml", &last).succeeds();
    // Of the test part alone none may be missing: what trained is asked for no more.
    place.write("list.csv", table(&|class| class > 2).as_bytes());
    let measured = evaluate(&place, &["--data", "list.csv", "--json"]);
    let measured: Value = serde_json::from_str(&measured.succeeds().stdout).unwrap();
    assert_eq!(measured["damaged"], json!([]));
    place.run(&["evaluate", "whole/model"]).succeeds();
    let all = "none of 20 images can be read; the first: list.csv:14";
    train(&[]).fails(1, &[all]);
    place.write("list.csv", table(&|class| class < 2).as_bytes());
    let mut pairs = "first,second,same\n".to_owned();
    for class in 3..7 {
        let photo = format!("photos/c{class}");
        write!(
            pairs,
            "{photo}/0.png,{photo}/1.png,1\n{photo}/2.png,photos/c7/0.png,0\n"
        )
        .unwrap();
    }
    place.write("pairs.csv", pairs.as_bytes());
    let of_pairs = [
        "--protocol",
        "verification",
        "--data",
        "list.csv",
        "--pairs",
        "pairs.csv",
    ];
    holds(
        &evaluate(&place, &of_pairs),
        &["4 pairs of the same, 4 of different"],
    );
    let words = "data.split leaves 8 items to test, none of which is there; the first: list.csv:2";
    train(&[]).fails(2, &[words]);
    evaluate(&place, &["--data", "list.csv", "--damaged", "1"])
        .fails(1, &["none of 8 images can be read; the first: list.csv:2"]);
    // A class alone can be read of those that test.
    for item in 0..4 {
        place.write(&format!("gone/c0/{item}.png"), b"no image");
    }
    place.write("list.csv", table(&|class| class < 1).as_bytes());
    let single = "a single class: every answer is right";
    let said = train(&["--out", "list"]);
    holds(
        &said,
        &[single, "4 damaged images were left out", "last weights"],
    );
    assert!(said.stderr.contains("nothing validates"), "{}", said.stderr);
}
