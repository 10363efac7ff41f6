//! Protocols over labeled items from the command line: what they print, and what they refuse.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use workplace::{Said, Workplace};

/// A trained model, and eight people of four images each in a table that names two cameras.
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
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    place.train("recipe.toml", &["--out", "run"]).succeeds();
    place
}

fn evaluate(place: &Workplace, protocol: &str, more: &[&str]) -> Said {
    place.run(&[&["evaluate", "run/model", "--protocol", protocol], more].concat())
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.succeeds().stdout).unwrap()
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
fn people_are_found_again_by_every_ranking() {
    let place = place();
    place
        .run(&["init", "people.csv", "-o", "people.toml"])
        .succeeds();
    let sets = [
        "data.source.manifest.camera_column=camera",
        "data.split.class_disjoint.test=0.5",
        "sampler.quadruplets.quadruplets=3",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    place
        .train("people.toml", &[&["--out", "people"], &sets[..]].concat())
        .succeeds();
    let evaluate = |more: &[&str]| {
        let command = ["evaluate", "people/model", "--protocol", "reid"];
        place.run(&[&command[..], more].concat())
    };
    let shown = evaluate(&[]);
    let parts = [
        "the test part of people.csv",
        "rank-1",
        "rank-20",
        "mAP",
        "mINP",
        "single shot",
        "intra",
        "raw input",
        "model",
        "16 queries, 16 gallery items",
        "ties to the smaller index",
        "identity and camera are dropped",
        "10 draws",
    ];
    holds(&shown, &parts);
    let plain = json(&evaluate(&["--json"]));
    let model = &plain["model"];
    let counts = ["queries", "excluded", "distractors"].map(|name| model[name].as_u64().unwrap());
    assert_eq!(counts, [16, 0, 0]);
    let score = |name: &str| model[name]["value"].as_f64().unwrap();
    assert!(0.0 < score("minp") && score("minp") <= score("map") && score("map") <= 1.0);
    assert_eq!(model["single_shot"][0][1]["draws"], 10);
    assert_eq!(model["distances"]["intra"]["pairs"], 4 * 6);
    for (ranking, words) in [
        ("k-reciprocal", "k1 = 20, k2 = 6"),
        ("query-expansion", "the query with its first 5"),
    ] {
        holds(&evaluate(&["--ranking", ranking]), &[words]);
        let found = json(&evaluate(&["--ranking", ranking, "--json"]));
        assert_ne!(found["model"]["convention"], model["convention"]);
        assert_eq!(found["model"]["queries"], 16);
    }
}

/// Market-1501's layout: people 1 to 4 train, 5 to 8 are asked for by camera 1, and the gallery has each of them by both
/// cameras, with three images of nobody.
#[test]
fn queries_gallery_junk_and_distractors_are_told_apart() {
    let place = Workplace::new();
    let image = |folder: &str, person: u8, camera: u8, at: u8| {
        let name = format!("market/{folder}/{person:04}_c{camera}s1_{at:06}_00.png");
        let gray = person.wrapping_mul(25).wrapping_add(at);
        place.write(&name, &workplace::png(gray));
    };
    for person in 1..=4 {
        for at in 0..4 {
            image("bounding_box_train", person, 1 + at % 2, at);
        }
    }
    for person in 5..=8 {
        image("query", person, 1, 0);
        image("bounding_box_test", person, 1, 1);
        image("bounding_box_test", person, 2, 2);
    }
    for at in 0..3 {
        image("bounding_box_test", 0, 2, at);
    }
    let recipe = "[data]\nsplit = \"given\"\n[data.source.market1501]\npath = \"market\"\n\
                  [sampler.quadruplets]\nquadruplets = 4\n[input]\nheight = 16\nwidth = 16\ncolor = \"gray\"\n\
                  [network.convnet]\n[loss.quadruplet]\n";
    place.write("market.toml", recipe.as_bytes());
    place.train("market.toml", &["--out", "run"]).succeeds();
    let found = json(&evaluate(&place, "reid", &["--json"]));
    let counts = ["queries", "gallery", "distractors", "excluded"];
    let counts = counts.map(|name| found["model"][name].as_u64().unwrap());
    // The image by the query's own camera is dropped, so that each query has one match: its rank decides all.
    assert_eq!(counts, [4, 11, 3, 0]);
    let score = |side: &str, name: &str| found[side][name]["value"].as_f64().unwrap();
    assert!((score("model", "map") - score("model", "minp")).abs() < 1e-9);
    // Nobody is no person: to other protocols the twelve images of the four people are all there is.
    for data in [&[][..], &["--data", "market"]] {
        let shown = evaluate(&place, "n-way", data);
        holds(&shown, &["12 queries", "without 3 distractors"]);
        let shown = evaluate(&place, "retrieval", data);
        holds(&shown, &["without 3 distractors"]);
    }
    // Pairs of the four people alone: three images each.
    assert_eq!(found["raw"]["distances"]["intra"]["pairs"], 4 * 3);
    assert_eq!(found["raw"]["distances"]["inter"]["pairs"], 6 * 9);
}

#[test]
fn people_are_identified_and_strangers_rejected() {
    let place = place();
    let photos = ["--data", "photos", "--far", "0.1,0.5"];
    let shown = evaluate(&place, "identification", &photos);
    holds(
        &shown,
        &[
            "rank-1",
            "DIR@FAR=0.1",
            "closed set: 8 identities, 24 probes",
            "open set: 4",
            "16 impostors",
        ],
    );
    let found = json(&evaluate(
        &place,
        "identification",
        &[&photos[..], &["--json"]].concat(),
    ));
    let rank = |k: usize| found["model"]["rank"][k][1]["mean"].as_f64().unwrap();
    assert!(rank(0) > 0.125 && rank(0) <= rank(1) && rank(1) <= rank(2));
    assert_eq!(rank(2), 1.0, "eight identities are among the first ten");
}

#[test]
fn probes_are_identified_in_the_gallery_that_a_list_names() {
    let place = place();
    let list = |name: &str, classes: std::ops::Range<u8>, item: u8| {
        let lines: Vec<String> = classes.map(|class| format!("c{class}/{item}")).collect();
        place.write(name, lines.join("\n").as_bytes());
    };
    list("gallery.txt", 0..5, 0);
    list("genuine.txt", 0..4, 1);
    list("impostors.txt", 5..8, 2);
    let identify = |probes: &[&str]| {
        let lists = [
            "--data",
            "photos",
            "--far",
            "0.1,0.5",
            "--gallery-list",
            "gallery.txt",
        ];
        let probes = probes.iter().flat_map(|list| ["--probe-list", list]);
        evaluate(
            &place,
            "identification",
            &lists.into_iter().chain(probes).collect::<Vec<_>>(),
        )
    };
    let shown = identify(&["genuine.txt", "impostors.txt"]);
    holds(
        &shown,
        &[
            "DIR@FAR=0.1",
            "5 identities in the gallery, 4 probes of them, 3 impostors",
        ],
    );
    identify(&["genuine.txt"]).succeeds();
    identify(&["gallery.txt"]).fails(2, &["c0/0.png is in another list already"]);
    identify(&["none.txt"]).fails(1, &["none.txt"]);
    identify(&["impostors.txt"]).fails(1, &["none of the 5 identities of the gallery"]);
    evaluate(
        &place,
        "n-way",
        &[
            "--gallery-list",
            "gallery.txt",
            "--probe-list",
            "genuine.txt",
        ],
    )
    .fails(2, &["--gallery-list goes with --protocol identification"]);
}

#[test]
fn a_few_labeled_items_classify_the_others() {
    let place = place();
    let shown = evaluate(&place, "few-shot", &["--data", "photos", "--shots", "2"]);
    let parts = [
        "accuracy",
        "BAC",
        "silhouette",
        "Davies–Bouldin",
        "16 items classified by 1 nearest",
        "10 draws of references",
    ];
    holds(&shown, &parts);
    let all = json(&evaluate(
        &place,
        "few-shot",
        &["--data", "photos", "--shots", "1", "--json"],
    ));
    assert_eq!(
        (&all["model"]["items"], &all["model"]["k"]),
        (&24.into(), &1.into())
    );
    // Classes that trained: the training items are the references.
    let split = [
        "--set",
        "data.split.item_level.test=0.5",
        "--set",
        "data.split.item_level.validation=0",
    ];
    place
        .train("recipe.toml", &[&["--out", "mixed"], &split[..]].concat())
        .succeeds();
    let mixed = place.run(&["evaluate", "mixed/model", "--protocol", "few-shot"]);
    holds(
        &mixed,
        &["16 items classified by 5 nearest, by the items that trained the model"],
    );
}

#[test]
fn clusters_and_the_places_of_vectors_are_measured() {
    let place = place();
    let shown = evaluate(&place, "clustering", &["--data", "photos"]);
    let parts = [
        "all of photos",
        "raw input",
        "AMI",
        "homogeneity",
        "B-cubed F1",
        "Calinski–Harabasz",
        "uniformity ↓",
        "hubness ↓",
        "8 clusters",
        "10 seeds",
    ];
    holds(&shown, &parts);
    let found = json(&evaluate(
        &place,
        "clustering",
        &["--data", "photos", "--json"],
    ));
    for side in ["raw", "model"] {
        let found = &found[side];
        for key in ["nmi", "ami", "ari", "homogeneity", "f1", "b_cubed"] {
            let mean = found[key]["mean"].as_f64().unwrap();
            assert!((-0.5..=1.0).contains(&mean), "{key} {mean}");
        }
        assert!(found["sphere"]["uniformity"].as_f64().unwrap() < 0.0);
        assert_eq!(found["hubness"]["k"], 10);
    }
    let refused = place.run(&[
        "evaluate",
        "run/model",
        "--protocol",
        "clustering",
        "--shots",
        "2",
    ]);
    refused.fails(2, &["--shots goes with"]);
}

#[test]
fn vectors_with_labels_are_measured_as_the_model_that_made_them() {
    let place = place();
    for file in ["v.npy", "v.jsonl", "v.parquet", "v.safetensors"] {
        place
            .run(&["embed", "run/model", "photos", "-o", file])
            .succeeds();
    }
    let model = json(&evaluate(
        &place,
        "retrieval",
        &["--data", "photos", "--json"],
    ));
    for file in ["v.npy", "v.jsonl", "v.parquet", "v.safetensors"] {
        let found = json(&place.run(&["evaluate", file, "--json"]));
        let [vectors, model] = [&found["vectors"], &model["model"]];
        assert_eq!(
            vectors["retrieval"]["map_at_r"],
            model["retrieval"]["map_at_r"]
        );
        assert_eq!(vectors["classes"], 8);
    }
    let shown = place.run(&["evaluate", "v.npy", "--protocol", "clustering"]);
    holds(&shown, &["32 vectors of v.npy", "AMI", "hubness ↓"]);
    let fails = |more: &[&str], code, part| {
        place
            .run(&[&["evaluate"], more].concat())
            .fails(code, &[part]);
    };
    fails(
        &["v.npy", "--data", "photos"],
        2,
        "--data goes with a model",
    );
    fails(&["v.npy", "--protocol", "sts"], 2, "--data TABLE");
    place.write(
        "bare.jsonl",
        b"{\"embedding\":[1,2]}\n{\"embedding\":[2,1]}\n",
    );
    fails(&["bare.jsonl"], 2, "no labels; expected");
    fails(&["gone.npy"], 1, "gone.npy");
}

#[test]
fn every_protocol_of_a_model_measures_its_vectors_alike() {
    let place = place();
    place
        .run(&["embed", "run/model", "photos", "-o", "v.parquet"])
        .succeeds();
    let mut pairs = "first,second,same\n".to_owned();
    for class in 0..8 {
        let other = (class + 3) % 8;
        writeln!(
            pairs,
            "c{class}/0.png,c{class}/1.png,1\nc{class}/0.png,c{other}/2.png,0"
        )
        .unwrap();
    }
    place.write("pairs.csv", pairs.as_bytes());
    place.write("gallery.txt", b"c0/0.png\nc1/0.png\n");
    place.write("probes.txt", b"c0/1.png\nc1/1.png\nc2/0.png\n");
    let listed = [
        "--gallery-list",
        "gallery.txt",
        "--probe-list",
        "probes.txt",
    ];
    for (protocol, more) in [
        ("n-way", ["--negatives", "1,5"].as_slice()),
        ("few-shot", &["--shots", "2"]),
        ("identification", &[]),
        ("identification", &listed),
        ("verification", &["--pairs", "pairs.csv"]),
    ] {
        let more = [more, &["--json"]].concat();
        let of_model = json(&evaluate(
            &place,
            protocol,
            &[&["--data", "photos"], &more[..]].concat(),
        ));
        let command = ["evaluate", "v.parquet", "--protocol", protocol];
        let found = json(&place.run(&[&command[..], &more].concat()));
        assert_eq!(found["vectors"], of_model["model"], "{protocol} {more:?}");
        place
            .run(&[&command[..], &more[..more.len() - 1]].concat())
            .succeeds();
    }
    // Cameras are a file of their own: of one camera nothing is found, of two it is.
    let reid = ["evaluate", "v.parquet", "--protocol", "reid"];
    place.run(&reid).fails(2, &["--cameras FILE"]);
    place.write("cameras.txt", "left\nright\n".repeat(16).as_bytes());
    let shown = place.run(&[&reid[..], &["--cameras", "cameras.txt"]].concat());
    holds(&shown, &["mINP", "single shot", "vectors"]);
    place.write("roles.txt", "query\ngallery\n".repeat(16).as_bytes());
    let roles = ["--cameras", "cameras.txt", "--roles", "roles.txt", "--json"];
    let found = json(&place.run(&[&reid[..], &roles].concat()));
    let reid_of = &found["vectors"];
    assert_eq!(
        (&reid_of["queries"], &reid_of["gallery"]),
        (&16.into(), &16.into())
    );
    place.write("cameras.txt", "left\n".repeat(32).as_bytes());
    let single = place.run(&[&reid[..], &["--cameras", "cameras.txt"]].concat());
    let parts = [
        "32 queries, none with an item of its class by another camera",
        "cameras in all: 1",
    ];
    single.fails(1, &parts);
    place.write("cameras.txt", b"left\n");
    place
        .run(&[&reid[..], &["--cameras", "cameras.txt"]].concat())
        .fails(2, &["1 lines for 32 vectors"]);
    let few = ["evaluate", "v.parquet", "--protocol", "few-shot"];
    place.run(&few).fails(2, &["needs --shots N"]);
    evaluate(&place, "reid", &["--cameras", "cameras.txt"])
        .fails(2, &["--cameras goes with a file of vectors"]);
}

#[test]
fn a_positive_is_nearer_than_some_negatives() {
    let place = place();
    let shown = evaluate(&place, "n-way", &["--data", "photos", "--negatives", "1,7"]);
    holds(
        &shown,
        &["VRF(neg = 1)", "VRF(neg = 7)", "32 queries", "ties fail"],
    );
    let found = json(&evaluate(
        &place,
        "n-way",
        &["--data", "photos", "--negatives", "1,7", "--json"],
    ));
    let success = |n: usize| found["model"]["success"][n][1]["mean"].as_f64().unwrap();
    assert!(success(0) >= success(1) && success(0) > 0.5);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let place = place();
    let photos = ["--data", "photos"];
    let fails = |protocol: &str, more: &[&str], code: i32, part: &str| {
        evaluate(&place, protocol, &[&photos[..], more].concat()).fails(code, &[part]);
    };
    fails("reid", &[], 2, "needs the camera of each image");
    fails("few-shot", &[], 2, "say with --shots");
    fails("few-shot", &["--shots", "4"], 1, "no class has more");
    fails(
        "n-way",
        &["--negatives", "71"],
        1,
        "72 classes are needed, but there are 8",
    );
    // Of themselves negatives are no more than there are.
    holds(&evaluate(&place, "n-way", &photos), &["VRF(neg = 7)"]);
    fails(
        "n-way",
        &["--shots", "4"],
        2,
        "--shots goes with --protocol few-shot",
    );
    fails(
        "reid",
        &["--negatives", "4"],
        2,
        "--negatives goes with --protocol n-way",
    );
    fails(
        "retrieval",
        &["--ranking", "k-reciprocal"],
        2,
        "--ranking goes with --protocol reid",
    );
    fails("n-way", &["--negatives", "0"], 2, "--negatives");
    place.images("alone", 4, 1);
    let alone = ["--data", "alone"];
    for protocol in ["clustering", "identification"] {
        evaluate(&place, protocol, &alone).fails(1, &["4 items, each the only one of its class"]);
    }
}

#[test]
fn scores_of_a_single_class_say_nothing() {
    let place = place();
    place.images("one", 1, 4);
    let warning = "a single class: every answer is right";
    holds(
        &evaluate(&place, "retrieval", &["--data", "one"]),
        &[warning],
    );
    let losses = ["--data", "one", "--degrade", "jpeg=50"];
    holds(&evaluate(&place, "retrieval", &losses), &[warning]);
    let shown = evaluate(&place, "retrieval", &["--data", "photos"]);
    assert!(!shown.succeeds().stdout.contains(warning));
    let split = "data.split={prefix={test=['c7']}}";
    place
        .train("recipe.toml", &["--out", "single", "--set", split])
        .fails(
            2,
            &["leaves a single class to test, \"c7\" with 4 items, on which every answer is right"],
        );
}

#[test]
fn images_that_lost_something_are_measured_beside_themselves() {
    let place = place();
    let data = [
        "--data",
        "photos",
        "--degrade",
        "jpeg=10,90",
        "--degrade",
        "pixels=16",
    ];
    let shown = evaluate(&place, "retrieval", &data);
    holds(
        &shown,
        &[
            "as they are",
            "jpeg=10",
            "jpeg=90",
            "pixels=16",
            "Recall@1",
            "half the 95% bootstrap interval;\n32 queries",
        ],
    );
    let found = json(&evaluate(
        &place,
        "retrieval",
        &[&data[..], &["--json"]].concat(),
    ));
    let rows = found["rows"].as_array().unwrap();
    let spread: Vec<f64> = rows
        .iter()
        .map(|row| row["model"]["spread"].as_f64().unwrap())
        .collect();
    assert_eq!(spread.len(), 4);
    // Each loss changes what the network sees.
    assert!(spread[1..].iter().all(|&s| s != spread[0]), "{spread:?}");
    let plain = json(&evaluate(
        &place,
        "retrieval",
        &["--data", "photos", "--json"],
    ));
    assert_eq!(rows[0]["model"], plain["model"]);

    place.pairs("pairs.csv");
    let verification = [&data[..], &["--pairs", "pairs.csv", "--far", "0.5"]].concat();
    holds(
        &evaluate(&place, "verification", &verification),
        &["VAL@FAR=0.5", "jpeg=90", "8 pairs of the same"],
    );
    evaluate(&place, "n-way", &data).fails(2, &["--degrade goes with --protocol retrieval"]);
    evaluate(
        &place,
        "verification",
        &[&verification[..], &["--keep"]].concat(),
    )
    .fails(2, &["--keep"]);
    evaluate(&place, "retrieval", &["--degrade", "jpeg=0"]).fails(2, &["qualities from 1 to 100"]);
}

#[test]
fn images_are_clustered_up_to_the_threshold_that_the_model_keeps() {
    let place = place();
    let cluster = |input: &str, more: &[&str]| {
        place.run(&[&["cluster", input, "--model", "run/model"], more].concat())
    };
    cluster("photos", &[]).fails(2, &["--clusters N, --within DISTANCE", "--keep"]);
    for wrong in ["nan", "inf", "-1"] {
        cluster("photos", &["--within", wrong])
            .fails(2, &["--within", "expected a number of at least 0"]);
    }
    cluster("photos", &["--within", "2.1"]).fails(2, &["--within", "a number from 0 to 2"]);
    let all = ["--clusters", "8", "-o", "eight.tsv", "--json"];
    let said = json(&cluster("photos", &all));
    assert_eq!(
        (&said["found"], &said["classes"]),
        (&"8 clusters of 32 items".into(), &8.into())
    );
    assert!(said["nmi"].as_f64().unwrap() > 0.3, "{said}");
    let table = place.read("eight.tsv");
    assert!(
        table.starts_with("cluster\tmedoid\trow\titem\tclass\n"),
        "{table}"
    );
    let medoids = table
        .lines()
        .filter(|line| line.contains("\ttrue\t"))
        .count();
    assert_eq!((table.lines().count(), medoids), (33, 8));
    assert!(table.contains("\tc7/3.png\tc7"), "{table}");

    // Half the squared distance is the cosine's: both cuts give the same clusters.
    place.write("run/model/verification.json", br#"{"threshold": 0.02, "far": 0.1, "tar": 0.9, "same": 9, "different": 9, "data": "pairs"}"#);
    cluster("photos", &["-o", "kept.tsv"]).succeeds();
    cluster("photos", &["--within", "0.01", "-o", "within.tsv"]).succeeds();
    assert_eq!(place.read("kept.tsv"), place.read("within.tsv"));
    // Vectors embedded before have their classes beside them.
    place
        .run(&["embed", "run/model", "photos", "-o", "v.npy"])
        .succeeds();
    cluster("v.npy", &["-o", "embedded.tsv"]).succeeds();
    assert_eq!(place.read("kept.tsv"), place.read("embedded.tsv"));
    // The threshold that finds the classes of labeled items best is chosen by them.
    let chosen = ["--threshold-from", "v.npy", "-o", "chosen.csv", "--json"];
    let said = cluster("photos", &chosen);
    let note = &said.succeeds().stderr;
    assert!(
        note.contains("cut at a distance of") && note.contains("of 8 classes"),
        "{note}"
    );
    let said = json(&said);
    let best = said["f1"].as_f64().unwrap();
    for within in ["0.001", "0.01", "0.05", "0.2"] {
        let other = cluster("v.npy", &["--within", within, "-o", "w.tsv", "--json"]);
        assert!(
            json(&other)["f1"].as_f64().unwrap() <= best + 1e-9,
            "{within}"
        );
    }
    assert!(
        place
            .read("chosen.csv")
            .starts_with("cluster,medoid,row,item,class\n")
    );
    let likest = [
        "mine",
        "paraphrases",
        "photos",
        "--model",
        "run/model",
        "--max-pairs",
        "3",
    ];
    let pairs = &place.run(&likest).succeeds().stdout.clone();
    assert!(
        pairs.lines().count() == 3 && pairs.contains("\"item1\""),
        "{pairs}"
    );
}

#[test]
fn two_models_are_compared_query_by_query() {
    let place = place();
    place
        .train("recipe.toml", &["--out", "longer", "--set", "seed=5"])
        .succeeds();
    let measure = ["evaluate", "run/model", "--data", "photos"];
    let with = |more: &[&str]| place.run(&[&measure[..], more].concat());
    let shown = with(&[
        "--against",
        "longer/model",
        "--at",
        "1,3",
        "--worst-classes",
        "2",
    ]);
    let columns = [
        "first",
        "second",
        "difference",
        "better",
        "coverage",
        "MAP/F",
        "MAP@R",
        "mean over 8 classes",
    ];
    holds(&shown, &columns);
    let found = json(&with(&[
        "--against",
        "longer/model",
        "--json",
        "--resample",
        "classes",
    ]));
    let alone = json(&with(&["--json"]));
    let map = |side: &Value| side["retrieval"]["map_at_r"]["value"].as_f64().unwrap();
    assert_eq!(map(&found["first"]), map(&alone["model"]));
    let last = found["paired"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "MAP@R");
    let difference = map(&found["first"]) - map(&found["second"]);
    assert!((last["difference"]["value"].as_f64().unwrap() - difference).abs() < 1e-6);
    assert_eq!(found["first"]["retrieval"]["unit"], "class");
    assert_eq!(found["first"]["retrieval"]["at"][2]["k"], 4);

    // The same by files of vectors, but only of the same items.
    for (model, file) in [("run/model", "a.npy"), ("longer/model", "b.npy")] {
        place
            .run(&["embed", model, "photos", "-o", file])
            .succeeds();
    }
    let of_files = json(&place.run(&[
        "evaluate",
        "a.npy",
        "--against",
        "b.npy",
        "--json",
        "--resample",
        "classes",
    ]));
    assert_eq!(of_files["paired"], found["paired"]);
    place.images("fewer", 8, 3);
    place
        .run(&["embed", "run/model", "fewer", "-o", "c.npy"])
        .succeeds();
    place
        .run(&["evaluate", "a.npy", "--against", "c.npy"])
        .fails(2, &["c.npy", "same items"]);
    place
        .run(&["evaluate", "a.npy", "--against", "run/model"])
        .fails(2, &["run/model", "a file of vectors"]);
    place
        .run(&["evaluate", "a.npy", "--at", "3", "--protocol", "clustering"])
        .fails(2, &["--at goes with --protocol retrieval"]);
}

#[test]
fn labels_that_neighbors_disagree_with_are_listed() {
    let place = Workplace::new();
    // Two groups; the item in the last row lies among the first group.
    let mut lines = String::new();
    for item in 0..9 {
        let (x, y) = if item % 2 == 0 {
            (1.0, 0.0)
        } else {
            (0.0, 1.0)
        };
        let (embedding, label) = match item {
            8 => ("[1.0,0.05]".to_owned(), "odd"),
            _ if item % 2 == 0 => (format!("[{x},{}]", y + f64::from(item) / 50.0), "even"),
            _ => (format!("[{},{y}]", x + f64::from(item) / 50.0), "odd"),
        };
        writeln!(
            lines,
            "{{\"id\":\"i{item}\",\"embedding\":{embedding},\"label\":\"{label}\"}}"
        )
        .unwrap();
    }
    place.write("v.jsonl", lines.as_bytes());
    let said = place.run(&["mine", "labels", "v.jsonl"]);
    let found: Vec<Value> = said
        .succeeds()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["label"], &found[0]["suggested"]),
        (&"odd".into(), &"even".into())
    );
    assert_eq!(found[0]["row"], 8);
    let planted = place.run(&[
        "mine", "labels", "v.jsonl", "--plant", "0.1", "--json", "-o", "s.csv",
    ]);
    assert_eq!(json(&planted)["planted"], 1);
    place.write("bare.txt", b"one\ntwo\n");
    place
        .run(&["mine", "labels", "gone.npy"])
        .fails(1, &["gone.npy"]);
}
