//! Without `--data` a model is measured on what its own recipe holds out, whatever a list of pairs or items names.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

/// A model that trained on classes 0 to 3 of eight, and lists of pairs: of each class one of the same, one with the next class of
/// the same half, and one with the other half.
fn place() -> Workplace {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    let sets = [
        "data.split={prefix={test=['c4','c5','c6','c7']}}",
        "sampler.pk={classes=4,per_class=2}",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    place
        .train("recipe.toml", &[&["--out", "run"], &sets[..]].concat())
        .succeeds();
    let mut pairs = "first,second,same,fold\n".to_owned();
    let mut videos = pairs.clone();
    for class in 0..8 {
        let (half, fold) = (class / 4 * 4, class % 2);
        let in_half = |step| half + (class + step) % 4;
        let (next, across, other) = (in_half(1), in_half(2), (class + 4) % 8);
        writeln!(pairs, "c{class}/0.png,c{class}/1.png,1,{fold}").unwrap();
        writeln!(pairs, "c{class}/2.png,c{next}/3.png,0,{fold}").unwrap();
        writeln!(pairs, "c{class}/2.png,c{other}/3.png,0,{fold}").unwrap();
        writeln!(videos, "c{class}/0.png,c{next}/0.png,1,{fold}").unwrap();
        writeln!(videos, "c{class}/0.png,c{across}/0.png,0,{fold}").unwrap();
    }
    place.write("pairs.csv", pairs.as_bytes());
    place.write("videos.csv", videos.as_bytes());
    place
}

fn verification(place: &Workplace, more: &[&str]) -> Said {
    let command = ["evaluate", "run/model", "--protocol", "verification"];
    place.run(&[&command[..], &["--far", "0.5", "--pairs"], more].concat())
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
}

const LEFT: &str = "8 of 24 pairs are of the test part alone; the others have items that trained";

#[test]
fn pairs_with_items_that_trained_do_not_count() {
    let place = place();
    let shown = verification(&place, &["pairs.csv", "--keep"]);
    for part in ["4 pairs of the same, 4 of different", LEFT] {
        assert!(shown.succeeds().stdout.contains(part), "{}", shown.stdout);
    }
    let kept: Value = serde_json::from_str(&place.read("run/model/verification.json")).unwrap();
    assert_eq!((&kept["same"], &kept["different"]), (&4.into(), &4.into()));
    let found = json(&verification(&place, &["pairs.csv", "--json"]));
    assert_eq!(
        (&found["of_other_parts"], &found["left_out"]),
        (&16.into(), &0.into())
    );
    // The pairs of the test classes alone are the same measurement.
    let alone: String = (place.read("pairs.csv").lines())
        .filter(|line| {
            !["c0", "c1", "c2", "c3"]
                .iter()
                .any(|class| line.contains(class))
        })
        .fold(String::new(), |text, line| text + line + "\n");
    place.write("alone.csv", alone.as_bytes());
    let same = json(&verification(&place, &["alone.csv", "--json"]));
    assert_eq!(
        (&same["model"], &same["of_other_parts"]),
        (&found["model"], &0.into())
    );
    let shown = verification(&place, &["alone.csv"]);
    let all = "all 8 pairs are of the test part alone";
    assert!(shown.succeeds().stdout.contains(all), "{}", shown.stdout);
    // Data that are named are taken as they are.
    let given = verification(&place, &["pairs.csv", "--data", "photos"]);
    let text = &given.succeeds().stdout;
    assert!(
        text.contains("8 pairs of the same, 16 of different") && !text.contains("part alone"),
        "{text}"
    );
}

#[test]
fn videos_losses_and_old_models_see_the_same_pairs() {
    let place = place();
    let videos = verification(&place, &["videos.csv", "--frames", "2", "--json"]);
    let videos = json(&videos);
    assert_eq!(
        (&videos["model"]["same"], &videos["of_other_parts"]),
        (&4.into(), &8.into())
    );
    let losses = ["pairs.csv", "--degrade", "jpeg=50"];
    let shown = verification(&place, &losses);
    assert!(shown.succeeds().stdout.contains(LEFT), "{}", shown.stdout);
    let losses = json(&verification(&place, &[&losses[..], &["--json"]].concat()));
    assert_eq!(losses["of_other_parts"], 16);
    assert_eq!(losses["rows"][1]["model"]["different"], 4);
    let old = verification(
        &place,
        &["pairs.csv", "--gallery-model", "run/model", "--json"],
    );
    assert_eq!(json(&old)["mixed"]["same"], 4);
}

#[test]
fn lists_without_an_unseen_item_are_refused() {
    let place = place();
    let pairs = "first,second,same\nc0/0.png,c0/1.png,1\nc4/0.png,c1/0.png,0\n";
    place.write("seen.csv", pairs.as_bytes());
    verification(&place, &["seen.csv"]).fails(
        2,
        &[
            "seen.csv: none of its 2 pairs is of the test part of the model's own recipe alone",
            "--data",
        ],
    );
    // Too few are left: the error says where the others are.
    let pairs = format!("{pairs}c4/0.png,c4/1.png,1\n");
    place.write("few.csv", pairs.as_bytes());
    verification(&place, &["few.csv"]).fails(
        1,
        &["pairs of both kinds are needed; 1 of 3 pairs are of the test part alone"],
    );
    let identify = |gallery: &str, probes: &str, more: &[&str]| {
        place.write("gallery.txt", gallery.as_bytes());
        place.write("probes.txt", probes.as_bytes());
        let command = ["evaluate", "run/model", "--protocol", "identification"];
        let lists = [
            "--gallery-list",
            "gallery.txt",
            "--probe-list",
            "probes.txt",
        ];
        place.run(&[&command[..], &lists, more].concat())
    };
    let (gallery, probes) = ("c4/0\nc5/0\n", "c4/1\nc5/1\nc6/1\n");
    identify(gallery, probes, &[]).succeeds();
    identify("c4/0\nc2/0\n", probes, &[]).fails(
        2,
        &[
            "--gallery-list: c2/0.png is not of the test part",
            "it trained",
        ],
    );
    identify(gallery, "c4/1\nc3/1\n", &[])
        .fails(2, &["--probe-list: c3/1.png is not of the test part"]);
    identify(gallery, "c4/1\nc3/1\n", &["--data", "photos"]).succeeds();
}
