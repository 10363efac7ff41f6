//! Verification from the command line: measured on pairs, a threshold kept, two images compared.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use std::fmt::Write;
use workplace::Workplace;

/// A trained model, images of classes that differ in brightness, and a list of pairs of two folds.
fn place() -> Workplace {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    place.train("recipe.toml", &["--out", "run"]).succeeds();
    place.pairs("pairs.csv");
    place
}

#[test]
fn pairs_are_measured_and_a_kept_threshold_answers() {
    let place = place();
    place
        .run(&["verify", "run/model", "photos/c0/0.png", "photos/c0/1.png"])
        .fails(2, &["no threshold is kept there", "--keep"]);
    let evaluate = [
        "evaluate",
        "run/model",
        "--data",
        "photos",
        "--protocol",
        "verification",
        "--pairs",
        "pairs.csv",
        "--far",
        "0.5",
        "--keep",
    ];
    let shown = place.run(&evaluate);
    let table = &shown.succeeds().stdout;
    for part in [
        "8 pairs of the same, 8 of different",
        "raw input",
        "VAL@FAR=0.5",
        "over 2 folds",
        "best F1",
        "model, in bytes",
        "in bytes: vectors of 128 bytes in place of 512, accuracy ",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let found = place.run(&[&evaluate[..], &["--json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&found.succeeds().stdout).unwrap();
    let best = &found["model"]["thresholds"]["accuracy"]["value"];
    assert!(
        best.as_f64() >= found["model"]["folds"]["accuracy"]["mean"].as_f64(),
        "{best}"
    );
    assert_eq!(
        (&found["model"]["same"], &found["left_out"]),
        (&8.into(), &0.into())
    );
    let number = |key: &str, of: &str| found[key][of][0].as_f64().unwrap();
    let apart = number("int8", "mean_distance") - number("model", "mean_distance");
    assert!(apart != 0.0 && apart.abs() < 0.01, "{apart}");
    let threshold = found["model"]["accepted"][0]["threshold"].as_f64().unwrap();

    let verify = |second: &str| {
        let said = place.run(&["verify", "run/model", "photos/c0/0.png", second, "--json"]);
        serde_json::from_str::<serde_json::Value>(&said.succeeds().stdout).unwrap()
    };
    let answer = verify("photos/c0/0.png");
    assert_eq!(
        (&answer["same"], &answer["distance"]),
        (&true.into(), &0.0.into())
    );
    assert_eq!(answer["calibration"]["data"], "pairs.csv");
    for second in ["photos/c0/1.png", "photos/c4/3.png"] {
        let answer = verify(second);
        let distance = answer["distance"].as_f64().unwrap();
        assert_eq!(
            answer["same"],
            distance <= threshold,
            "{distance} {threshold}"
        );
    }
    let said = place.run(&["verify", "run/model", "photos/c0/0.png", "photos/c0/1.png"]);
    let lines: Vec<&str> = said.succeeds().stdout.lines().collect();
    assert!(
        lines[0].starts_with("the threshold ") && lines[1].contains(": distance "),
        "{lines:?}"
    );
    let said = place.run(&[
        "verify",
        "run/model",
        "photos/c0/0.png",
        "photos/c7/0.png",
        "--threshold",
        "0",
    ]);
    let text = &said.succeeds().stdout;
    assert!(
        text.starts_with("different: distance") && !text.contains("the threshold"),
        "{text}"
    );
}

#[test]
fn videos_are_the_means_of_their_frames() {
    let place = place();
    let evaluate = |more: &[&str]| {
        let command = [
            "evaluate",
            "run/model",
            "--data",
            "photos",
            "--protocol",
            "verification",
        ];
        let pairs = ["--pairs", "videos.csv", "--far", "0.5"];
        place.run(&[&command[..], &pairs, more].concat())
    };
    // A folder of the photos is a video: whichever frames name it, the pair is the same.
    let table = |frame: usize| {
        let mut table = "first,second,same,fold\n".to_owned();
        for class in 0..8 {
            let (other, fold) = ((class + 4) % 8, class % 2);
            let next = (class + 1) % 8;
            writeln!(table, "c{class}/{frame}.png,c{next}/0.png,1,{fold}").unwrap();
            writeln!(table, "c{class}/{frame}.png,c{other}/3.png,0,{fold}").unwrap();
            writeln!(table, "c{class}/{frame}.png,c{class}/0.png,1,{fold}").unwrap();
        }
        place.write("videos.csv", table.as_bytes());
        let found = evaluate(&["--frames", "2", "--json"])
            .succeeds()
            .stdout
            .clone();
        serde_json::from_str::<serde_json::Value>(&found).unwrap()
    };
    let found = table(3);
    assert_eq!(found["of_one_video"], 8);
    assert_eq!(found["model"]["same"], 8);
    assert_eq!(
        found["model"]["mean_distance"],
        table(1)["model"]["mean_distance"]
    );
    assert!(
        found["model"]["mean_distance"][0].as_f64().unwrap() > 0.0,
        "frames differ"
    );
    let shown = evaluate(&["--frames", "2"]);
    let table = &shown.succeeds().stdout;
    assert!(table.contains("of the first 2 of each"), "{table}");
    assert!(
        table.contains("pairs of a video with itself, left out: 8"),
        "{table}"
    );
    let all = evaluate(&["--json"]).succeeds().stdout.clone();
    assert!(!all.contains("of the first"));
    place
        .run(&["evaluate", "run/model", "--data", "photos", "--frames", "2"])
        .fails(2, &["--pairs"]);
}

#[test]
fn a_gallery_of_an_old_model_is_measured_beside_both() {
    let place = place();
    let sets = ["--set", "seed=1", "--set", "input.height=40"];
    let train = |out, more: &[&str]| {
        let options = [&["--out", out], &sets[..], more].concat();
        place.train("recipe.toml", &options).succeeds();
    };
    train("old", &[]);
    let evaluate = |old: &str, more: &[&str]| {
        let command = ["evaluate", "run/model", "--data", "photos", "--protocol"];
        let pairs = [
            "verification",
            "--pairs",
            "pairs.csv",
            "--far",
            "0.5",
            "--gallery-model",
            old,
        ];
        place.run(&[&command[..], &pairs, more].concat())
    };
    let shown = evaluate("old/model", &[]);
    let table = &shown.succeeds().stdout;
    assert!(
        table.contains("gallery model") && table.contains("model to gallery model"),
        "{table}"
    );
    let found = evaluate("old/model", &["--json"]).succeeds().stdout.clone();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let distance = |key: &str| found[key]["mean_distance"][0].as_f64().unwrap();
    // Both know the same from others a little; of each other they know nothing.
    assert!(distance("mixed") > distance("gallery").max(distance("model")));
    // A curve each: new to new, old to old, new to old.
    let curves = ["model", "gallery", "mixed"].map(|key| {
        let curve = found[key]["roc"].as_array().unwrap().clone();
        let (first, last) = (&curve[0], &curve[curve.len() - 1]);
        assert_eq!((&first["far"], &first["tar"]), (&0.0.into(), &0.0.into()));
        assert_eq!((&last["far"], &last["tar"]), (&1.0.into(), &1.0.into()));
        curve
    });
    assert!(curves[2] != curves[0] && curves[2] != curves[1]);
    let same = evaluate("run/model", &["--json"]).succeeds().stdout.clone();
    let same: serde_json::Value = serde_json::from_str(&same).unwrap();
    assert_eq!(same["mixed"], same["model"]);
    train("narrow", &["--set", "head.dim=7"]);
    evaluate("narrow/model", &[]).fails(2, &["vectors have 7 numbers, those of run/model 128"]);
    evaluate("nowhere", &[]).fails(1, &["nowhere"]);
    evaluate("old/model", &["--keep"]).fails(2, &["--keep", "--gallery-model"]);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let place = place();
    let evaluate = |more: &[&str]| {
        let command = ["evaluate", "run/model", "--data", "photos"];
        place.run(&[&command[..], more].concat())
    };
    let verification = ["--protocol", "verification"];
    evaluate(&verification).fails(2, &["needs --pairs"]);
    evaluate(&["--pairs", "pairs.csv"]).fails(2, &["--pairs goes with --protocol verification"]);
    evaluate(&["--protocol", "sts"]).fails(2, &["this --protocol goes with a sentence encoder"]);
    let with = |name: &str| evaluate(&[&verification[..], &["--pairs", name]].concat());
    with("nowhere.csv").fails(1, &["nowhere.csv"]);
    place.write("one.csv", b"first,second,same\nc0/0.png,c0/1.png,1\n");
    with("one.csv").fails(1, &["pairs of both kinds are needed"]);
    place.write("absent.csv", b"first,second,same\nc0/0.png,c9/1.png,1\n");
    with("absent.csv").fails(1, &["absent.csv:2: c9/1.png is not among the 32 items"]);
    place.write(
        "splits.txt",
        b"1, photos/c0, photos/c1, 1\n2, photos/c0, photos/c2, 0\n",
    );
    with("splits.txt").fails(1, &["splits.txt:1: no video photos/c0"]);
    place.write("damaged.png", b"no image");
    let verify = [
        "verify",
        "run/model",
        "photos/c0/0.png",
        "damaged.png",
        "--threshold",
        "1",
    ];
    place.run(&verify).fails(1, &["damaged.png"]);
    let with = |option: &str, value: &str| {
        let verify = [
            "verify",
            "run/model",
            "photos/c0/0.png",
            "gone.png",
            option,
            value,
        ];
        place.run(&verify)
    };
    with("--threshold", "1").fails(1, &["gone.png: there is no such file"]);
    for wrong in ["nan", "inf", "-inf", "x"] {
        with("--threshold", wrong).fails(2, &["--threshold", "expected a finite number"]);
    }
    place
        .run(&["verify", "nowhere", "photos/c0/0.png", "photos/c0/1.png"])
        .fails(1, &["nowhere: no model folder"]);
    with("--threshold", "4.5").fails(2, &["--threshold 4.5", "from 0 to 4"]);
}
