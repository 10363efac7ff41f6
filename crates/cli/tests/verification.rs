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
    place
        .run(&verify)
        .fails(1, &["error: damaged.png: not a readable image"]);
    let folder = [
        "verify",
        "run/model",
        "photos",
        "damaged.png",
        "--threshold",
        "1",
    ];
    place
        .run(&folder)
        .fails(1, &["photos: a folder, expected an image"]);
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

/// The pairs of a table by a model on photos.
fn with_pairs(place: &Workplace, data: &str, pairs: &str, more: &[&str]) -> workplace::Said {
    let table = format!("first,second,same,fold\n{pairs}");
    place.write("given.csv", table.as_bytes());
    let command = ["evaluate", "run/model", "--data", data, "--protocol"];
    let pairs = ["verification", "--pairs", "given.csv"];
    place.run(&[&command[..], &pairs, more].concat())
}

#[test]
fn folds_that_damaged_images_break_are_dealt_anew() {
    let place = place();
    place.write("photos/c0/1.png", b"no image");
    let first = "c0/0.png,c0/1.png,1,a\nc1/0.png,c2/0.png,0,a\n";
    let second = "c3/0.png,c3/1.png,1,b\nc4/0.png,c4/1.png,1,b\nc5/0.png,c6/0.png,0,b\n";
    let more = ["--damaged", "0.5"];
    let shown = with_pairs(&place, "photos", &[first, second].concat(), &more);
    for part in [
        "2 pairs of the same, 2 of different",
        "over 2 folds",
        "pairs left out for damaged images: 1",
        "folds dealt anew",
        "1 damaged image was left out: c0/1.png",
    ] {
        assert!(shown.succeeds().stdout.contains(part), "{}", shown.stdout);
    }
    // Nothing of a kind is left.
    let one = first.replace(",a\n", "\n");
    place.write("one.csv", format!("first,second,same\n{one}").as_bytes());
    let command = ["evaluate", "run/model", "--data", "photos", "--protocol"];
    let pairs = ["verification", "--pairs", "one.csv", "--damaged", "0.5"];
    place.run(&[&command[..], &pairs].concat()).fails(
        1,
        &["pairs of both kinds are needed; pairs left out for damaged images: 1"],
    );
    // A list that is wrong by itself is no matter of damage.
    with_pairs(
        &place,
        "photos",
        &[first, "c3/0.png,c3/1.png,1,b\n"].concat(),
        &more,
    )
    .fails(1, &["given.csv:4: at least two folds are needed"]);
}

#[test]
fn pairs_that_contradict_the_classes_are_counted() {
    let place = place();
    let pairs = "c0/0.png,c1/1.png,0,1\nc0/0.png,c0/1.png,1,1\n\
                 c2/0.png,c2/1.png,0,2\nc2/0.png,c3/1.png,1,2\n";
    let shown = with_pairs(&place, "photos", pairs, &[]);
    let part = "pairs that contradict the classes of the data: 2, the first in line 4: c2/0.png and c2/1.png, listed as different, \
                are of one class";
    assert!(shown.succeeds().stdout.contains(part), "{}", shown.stdout);
    let found = with_pairs(&place, "photos", pairs, &["--json"]);
    let found: serde_json::Value = serde_json::from_str(&found.succeeds().stdout).unwrap();
    let want = serde_json::json!({ "pairs": 2, "line": 4 });
    assert_eq!(found["contradicting"], want);
}

#[test]
fn a_threshold_of_too_few_pairs_is_doubted() {
    let place = place();
    place.images("more", 8, 4);
    place.write("more/c0/9.png", &workplace::png(0));
    let pairs = "c0/0.png,c0/9.png,1,1\nc1/0.png,c3/0.png,0,1\n\
                 c2/0.png,c2/1.png,1,2\nc4/0.png,c7/0.png,0,2\n";
    let said = with_pairs(&place, "more", pairs, &["--keep"]);
    // 1 − √0.05
    let doubt = "2 different pairs are too few to tell a rate of 0.001 from zero: with 95 % confidence it is below 77.64 %";
    assert!(said.succeeds().stderr.contains(doubt), "{}", said.stderr);
    let kept = place.read("run/model/verification.json");
    assert!(kept.contains("\"far_asked\": 0.001"), "{kept}");
    let verify = ["verify", "run/model", "photos/c0/0.png", "photos/c0/1.png"];
    let answer = place.run(&verify);
    assert!(
        answer.succeeds().stdout.contains(doubt),
        "{}",
        answer.stdout
    );
    let answer = place.run(&[&verify[..], &["--json"]].concat());
    let answer: serde_json::Value = serde_json::from_str(&answer.succeeds().stdout).unwrap();
    let bound = answer["unproven_far"].as_f64().unwrap();
    assert!((bound - 0.776_4).abs() < 1e-4, "{bound}");
    // With as many pairs as the rate asks for there is nothing to doubt.
    let said = with_pairs(&place, "more", pairs, &["--keep", "--far", "0.5"]);
    assert!(
        !said.succeeds().stderr.contains("too few"),
        "{}",
        said.stderr
    );
}
