//! Every command from the first recipe to a search, and the help that teaches it.

#[allow(dead_code, reason = "full disks are for other tests")]
mod workplace;

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use workplace::{FEW_STEPS, Said, Workplace};

const MODEL: &str = "runs/recipe/model";

fn json(said: &Said) -> Value {
    said.succeeds();
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e} in {}", said.stdout))
}

#[test]
fn a_batch_is_of_classes_with_pairs_also_where_most_have_one_item() {
    let place = Workplace::new();
    place.images("photos", 40, 1);
    place.images("photos", 16, 3);
    let recipe = place.run(&["init", "photos"]).succeeds().stdout.clone();
    let classes = recipe
        .lines()
        .find_map(|line| line.strip_prefix("classes = "));
    let classes: usize = classes.unwrap().parse().unwrap();
    assert!((6..=12).contains(&classes), "{recipe}");
}

#[test]
fn from_images_to_a_recipe_a_model_vectors_and_neighbors() {
    let place = Workplace::new();
    place.images("photos", 12, 4);
    let said = place.run(&["init", "photos", "-o", "recipe.toml"]);
    assert!(
        said.succeeds()
            .stderr
            .contains("next: nearkin train recipe.toml")
    );
    check_and_show(&place);
    let said = place.train("recipe.toml", &[]);
    let trained = &said.succeeds().stdout;
    for part in ["raw pixels", "untrained network", "trained model", MODEL] {
        assert!(trained.contains(part), "{part} is not in {trained}");
    }
    for file in [
        "README.md",
        "metrics.json",
        "model.safetensors",
        "nearkin.json",
        "recipe.toml",
    ] {
        assert!(place.path(MODEL).join(file).is_file(), "{file}");
    }
    evaluate(&place);
    embed_and_search(&place);
}

fn check_and_show(place: &Workplace) {
    let said = place.run(&["recipe", "check", "recipe.toml"]);
    assert!(
        said.succeeds()
            .stdout
            .contains("recipe.toml: ready to train")
    );
    let checked = json(&place.run(&["recipe", "check", "recipe.toml", "--json"]));
    let items = ["train", "validation", "test"].map(|part| checked[part].as_u64().unwrap());
    assert_eq!(items.iter().sum::<u64>(), 48);
    // The shown recipe is one, and shows as itself.
    let shown = place
        .run(&["recipe", "show", "recipe.toml"])
        .succeeds()
        .stdout
        .clone();
    place.write("shown.toml", shown.as_bytes());
    assert_eq!(place.run(&["recipe", "show", "shown.toml"]).stdout, shown);
    let shown = json(&place.run(&["recipe", "show", "recipe.toml", "--json", "--set", "seed=7"]));
    assert_eq!(shown["seed"], 7);
}

fn evaluate(place: &Workplace) {
    let said = place.run(&["evaluate", MODEL]);
    assert!(
        said.succeeds().stdout.contains("the test part of"),
        "{}",
        said.stdout
    );
    // What training reported is what evaluating the model again finds.
    let measured = json(&place.run(&["evaluate", MODEL, "--json", "--threads", "2"]));
    let reported: Value =
        serde_json::from_str(&place.read(&format!("{MODEL}/metrics.json"))).unwrap();
    assert_eq!(
        measured["model"]["retrieval"],
        reported["rows"][2]["evaluation"]["retrieval"]
    );
    let all = json(&place.run(&["evaluate", MODEL, "--data", "photos", "--json"]));
    assert_eq!(all["model"]["items"], 48);
}

fn embed_and_search(place: &Workplace) {
    let query = "photos/c3/1.png";
    let gallery = json(&place.run(&["search", MODEL, "photos", query, "-k", "3", "--json"]));
    let first = &gallery[0];
    assert_eq!(
        (first["item"].as_str(), first["class"].as_str()),
        (Some("c3/1.png"), Some("c3"))
    );
    assert_eq!(gallery.as_array().unwrap().len(), 3);
    for file in ["v.npy", "v.safetensors", "v.parquet", "v.jsonl"] {
        let wrote = json(&place.run(&["embed", MODEL, "photos", "-o", file, "--json"]));
        assert_eq!(
            (wrote["rows"].as_u64(), wrote["file"].as_str()),
            (Some(48), Some(file))
        );
        // Every format carries the vectors, ids and classes through without a change.
        let found = json(&place.run(&["search", MODEL, file, query, "-k", "3", "--json"]));
        assert_eq!(found, gallery, "{file}");
    }
    let table = place.run(&["search", MODEL, "v.npy", query]);
    assert!(
        table.succeeds().stdout.contains("c3/1.png"),
        "{}",
        table.stdout
    );
}

#[test]
fn features_train_straight_from_a_bundled_set_within_a_budget_and_report_as_json() {
    let place = Workplace::new();
    let few = &FEW_STEPS[..6];
    let said = place.run(
        &[
            &["train", "digits", "--budget", "2s", "--profile", "--json"],
            few,
        ]
        .concat(),
    );
    let report = json(&said);
    assert_eq!(report["model"], "runs/digits/model");
    assert_eq!(report["step"], 4);
    assert!(
        said.stderr.contains("all 4 steps fit the budget")
            && said.stderr.contains("linear forward"),
        "{}",
        said.stderr
    );
    let said = place.run(&[
        "search",
        "runs/digits/model",
        "digits",
        "digits",
        "-k",
        "1",
        "--json",
    ]);
    assert_eq!(json(&said).as_array().unwrap().len(), 1797);
}

#[test]
fn a_budget_shortens_the_run_and_its_schedule_and_is_kept_for_resuming() {
    let place = Workplace::new();
    let args = ["train", "digits", "--budget", "1s", "--out", "run", "--set"];
    let long = [
        "train.steps=1000000000",
        "--set",
        "schedule.warmup=500000000",
    ];
    let said = place.run(&[&args[..], &long].concat());
    said.succeeds();
    let fitted = said.stderr.lines().next().unwrap();
    let steps: u64 = fitted.split(' ').next().unwrap().parse().unwrap();
    assert!(
        fitted.ends_with("of 1000000000 steps fit the budget"),
        "{fitted}"
    );
    let recipe = place.read("run/recipe.toml");
    assert!(recipe.contains(&format!("steps = {steps}\n")), "{recipe}");
    assert!(
        recipe.contains(&format!("warmup = {}\n", steps / 2)),
        "{recipe}"
    );
    std::fs::remove_dir_all(place.path("run/model")).unwrap();
    place.run(&["train", "--resume", "--out", "run"]).succeeds();
    let report: Value = serde_json::from_str(&place.read("run/model/metrics.json")).unwrap();
    assert_eq!(report["step"], steps);
}

/// A newcomer's table: other names than the defaults, and a split of its own.
#[test]
fn a_table_of_images_trains_by_the_names_of_its_columns_and_its_split() {
    let place = Workplace::new();
    place.images("photos", 12, 4);
    let mut table = String::from("filename,class,split\n");
    for class in 0..12 {
        let part = ["train", "train", "test"][class % 3];
        for item in 0..4 {
            writeln!(table, "photos/c{class}/{item}.png,c{class},{part}").unwrap();
        }
    }
    place.write("list.csv", table.as_bytes());
    let recipe = place.run(&["init", "list.csv"]).succeeds().stdout.clone();
    for line in [
        "image_column = \"filename\"",
        "split = \"given\"",
        "classes = 8",
    ] {
        assert!(recipe.contains(line), "{line} is not in {recipe}");
    }
    let checked = json(&place.run(&["recipe", "check", "list.csv", "--json"]));
    assert_eq!(
        (&checked["train"], &checked["test"]),
        (&32.into(), &16.into())
    );
    place.train("list.csv", &[]).succeeds();
    let model = "runs/list/model";
    place
        .run(&["embed", model, "list.csv", "-o", "v.npy"])
        .succeeds();
    // A row that cannot be used is named, and stops training unless it may be damaged.
    place.write("list.csv", table.replace("c0/0.png", "c0/9.png").as_bytes());
    let absent = ["list.csv:2, column \"filename\"", "c0/9.png"];
    let recipe = place.run(&["init", "list.csv"]).succeeds().stdout.clone();
    assert!(
        absent.iter().all(|part| recipe.contains(part)),
        "no {absent:?} in {recipe}"
    );
    let out = ["--out", "runs/again"];
    place.train("list.csv", &out).fails(1, &absent);
    let allowed = [&out[..], &["--set", "data.damaged=0.1"]].concat();
    place.train("list.csv", &allowed).succeeds();
}

#[test]
fn features_without_labels_are_embedded_and_searched_for() {
    let place = Workplace::new();
    place
        .run(&[&["train", "digits"], &FEW_STEPS[..6]].concat())
        .succeeds();
    let model = "runs/digits/model";
    let numbers = |row: usize| (0..64).map(move |at| (row * at % 17).to_string());
    let line = |row: usize| numbers(row).collect::<Vec<_>>().join(",") + "\n";
    let header = (0..64)
        .map(|at| format!("f{at}"))
        .collect::<Vec<_>>()
        .join(",");
    place.write("bare.csv", (line(1) + &line(2)).as_bytes());
    place.write(
        "named.csv",
        format!("{header}\n{}{}", line(1), line(2)).as_bytes(),
    );
    place.write(
        "labeled.csv",
        format!("{header},label\n{}", line(2).replace('\n', ",9\n")).as_bytes(),
    );
    for file in ["bare.csv", "named.csv"] {
        let wrote = json(&place.run(&["embed", model, file, "-o", "v.jsonl", "--json"]));
        assert_eq!(wrote["rows"], 2, "{file}");
        let found = json(&place.run(&[
            "search",
            model,
            "v.jsonl",
            "labeled.csv",
            "-k",
            "1",
            "--json",
        ]));
        assert_eq!(
            (&found[0]["item"], &found[0]["class"]),
            (&"1".into(), &"".into())
        );
    }
    // Labels are still asked for where they matter.
    place
        .run(&["evaluate", model, "--data", "named.csv"])
        .fails(1, &["no column \"label\""]);
}

#[test]
fn a_run_that_ended_early_does_not_go_on_when_resumed() {
    let place = Workplace::new();
    place.images("photos", 12, 4);
    let early = [
        "--out",
        "run",
        "--set",
        "train.steps=200",
        "--set",
        "train.patience=1",
    ];
    place.train("photos", &early).succeeds();
    let journal = place.read("run/metrics.jsonl");
    let last: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    assert!(last["step"].as_u64().unwrap() < 200, "{last}");
    // As if killed after its last checkpoint.
    std::fs::remove_dir_all(place.path("run/model")).unwrap();
    place.run(&["train", "--resume", "--out", "run"]).succeeds();
    assert_eq!(place.read("run/metrics.jsonl"), journal);
    assert!(place.path("run/model/model.safetensors").is_file());
}

#[test]
fn init_answers_in_json_too() {
    let place = Workplace::new();
    let recipe = json(&place.run(&["init", "glyphs", "--json"]));
    assert!(
        recipe["recipe"]
            .as_str()
            .unwrap()
            .contains("[network.convnet]")
    );
    let wrote = json(&place.run(&["init", "glyphs", "-o", "g.toml", "--json"]));
    assert_eq!(wrote["file"], "g.toml");
    assert_eq!(place.read("g.toml"), recipe["recipe"].as_str().unwrap());
}

#[test]
fn every_catalogue_is_listed_in_a_table_and_as_json() {
    let place = Workplace::new();
    for (what, name) in [
        ("losses", "triplet_margin"),
        ("miners", "semi_hard"),
        ("distances", "cosine"),
        ("reducers", "mean_nonzero"),
        ("regularizers", "sparse_centers"),
        ("samplers", "hard_classes"),
        ("networks", "resnet"),
        ("optimizers", "adamw"),
        ("metrics", "MAP@R"),
    ] {
        let table = place.run(&["list", what]);
        assert!(table.succeeds().stdout.contains(name), "{}", table.stdout);
        let listed = json(&place.run(&["list", what, "--json"]));
        let names = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap());
        assert!(names.into_iter().any(|n| n == name), "{listed}");
    }
    // Not the nearest number of 32 bits in all its digits.
    let networks = place.run(&["list", "networks"]).stdout;
    assert!(!networks.contains("00000"), "{networks}");
    assert!(
        place
            .run(&["list", "losses", "--markdown"])
            .stdout
            .starts_with("# Losses")
    );
    place
        .run(&["list", "miners", "--markdown"])
        .fails(2, &["--markdown goes with `list losses`"]);
    place
        .run(&["list", "losses", "--markdown", "--threads", "64"])
        .succeeds();
}

/// Arguments that the help of each command must teach.
const HELP: [(&str, &[&str]); 23] = [
    (
        "",
        &[
            "quickstart",
            "init",
            "train",
            "sweep",
            "compare",
            "reproduce",
            "evaluate",
            "report",
            "watch",
            "embed",
            "search",
            "cluster",
            "mine",
            "convert",
            "list",
            "recipe",
            "--json",
            "--threads",
        ],
    ),
    ("quickstart", &["--out"]),
    ("init", &["DATA", "--output"]),
    (
        "train",
        &[
            "RECIPE|DATA",
            "--set",
            "--out",
            "--resume",
            "--budget",
            "--profile",
        ],
    ),
    ("sweep", &["RECIPE", "--vary", "--seeds", "--set", "--out"]),
    (
        "compare",
        &[
            "RECIPE", "--loss", "--budget", "--folds", "--seeds", "--set", "--out",
        ],
    ),
    (
        "reproduce",
        &["PAPER", "--scale", "--data", "--seeds", "--set", "--out"],
    ),
    (
        "evaluate",
        &[
            "MODEL",
            "--data",
            "--protocol",
            "--rows",
            "--pairs",
            "--far",
            "--keep",
        ],
    ),
    (
        "report",
        &["RUN|EVALUATION", "--output", "--images", "--map"],
    ),
    ("watch", &["RUN", "--port"]),
    ("verify", &["MODEL", "FIRST", "SECOND", "--threshold"]),
    (
        "cluster",
        &[
            "INPUT",
            "--method",
            "--within",
            "--clusters",
            "--threshold-from",
        ],
    ),
    ("mine", &["negatives", "paraphrases", "labels"]),
    ("mine negatives", &["PAIRS", "--relative-margin", "--as"]),
    ("mine paraphrases", &["INPUT", "--max-pairs"]),
    ("mine labels", &["INPUT", "--plant", "--neighbors"]),
    ("convert", &["IN", "OUT"]),
    (
        "embed",
        &[
            "MODEL",
            "INPUT",
            "--output",
            ".npy",
            ".safetensors",
            ".parquet",
            ".jsonl",
        ],
    ),
    ("search", &["MODEL", "GALLERY", "QUERY", "-k", "--rerank"]),
    (
        "list",
        &[
            "losses",
            "miners",
            "networks",
            "optimizers",
            "metrics",
            "--markdown",
        ],
    ),
    ("explain", &["NAME", "miner"]),
    ("recipe check", &["RECIPE", "--set"]),
    ("recipe show", &["RECIPE", "--set"]),
];

#[test]
fn every_loss_is_explained_with_numbers_and_a_misspelled_one_with_its_neighbor() {
    let place = Workplace::new();
    for loss in json(&place.run(&["list", "losses", "--json"]))
        .as_array()
        .unwrap()
    {
        let name = loss["name"].as_str().unwrap();
        let explained = place.run(&["explain", "loss", name]);
        assert!(
            explained.succeeds().stdout.contains("#### Reference"),
            "{name}"
        );
        let numbers = json(&place.run(&["explain", "loss", name, "--json"]));
        if let Some(worked) = numbers.get("worked") {
            assert_eq!(worked["turns"].as_array().unwrap().len(), 6, "{name}");
            assert!(explained.stdout.contains("turns by"), "{name}");
        }
    }
    let numbers = json(&place.run(&["explain", "loss", "contrastive", "--json"]));
    // Points at 0° and 25°: a chord of 2 sin 12.5°.
    let chord = numbers["worked"]["distances"][0][1].as_f64().unwrap();
    assert!(
        (chord - 2.0 * 12.5_f64.to_radians().sin()).abs() < 1e-6,
        "{chord}"
    );
    let groups = place.run(&["explain", "sampler", "groups"]);
    let text = &groups.succeeds().stdout;
    assert!(
        text.contains("| `per_class` | `4` | M, the number of items of each class in a group. |"),
        "{text}"
    );
    let kinds = [
        ("miners", "miner"),
        ("regularizers", "regularizer"),
        ("samplers", "sampler"),
    ];
    for (list, kind) in kinds {
        for entry in json(&place.run(&["list", list, "--json"]))
            .as_array()
            .unwrap()
        {
            let explained = place.run(&["explain", kind, entry["name"].as_str().unwrap()]);
            let text = &explained.succeeds().stdout;
            // Items in random order need no paper.
            assert!(
                text.contains("#### Reference") || entry["name"] == "shuffled",
                "{text}"
            );
        }
    }
    let unknown = place.run(&["explain", "miner", "semihard"]);
    assert!(
        unknown.stderr.contains("did you mean 'semi_hard'?"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn the_help_of_every_command_is_the_one_on_file() {
    let place = Workplace::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    for (command, arguments) in HELP {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let said = place.run(&words);
        let help = &said.succeeds().stdout;
        for argument in arguments {
            assert!(
                help.contains(argument),
                "the help of `{command}` lacks {argument}"
            );
        }
        let name = if command.is_empty() {
            "nearkin"
        } else {
            command
        };
        let path = folder.join(format!("{}.txt", name.replace(' ', "_")));
        if std::env::var_os("NEARKIN_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, help).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            *help,
            known,
            "{} differs; NEARKIN_BLESS=1 rewrites it",
            path.display()
        );
    }
}

#[test]
fn a_network_that_does_not_fit_is_refused_at_the_key_that_decides_it() {
    let place = Workplace::new();
    place.images("photos", 10, 4);
    let recipe = |network: &str| {
        let text = format!(
            "[data.source.folder]\npath = \"photos\"\n[input]\nheight = 16\nwidth = 16\n[network.{network}\n\
             [loss.multi_similarity]\n[sampler.pk]\nclasses = 2\nper_class = 2\n"
        );
        place.write("r.toml", text.as_bytes());
        place.run(&["recipe", "check", "r.toml"])
    };
    for (network, place) in [
        (
            "convnet]\nreduce = \"average\"\nwidths = [4, 4, 4, 4, 4]",
            "r.toml:8:10: network.convnet.widths:",
        ),
        (
            "convnet]\nwidths = [1000000000]",
            "r.toml:7:10: network.convnet.widths:",
        ),
        (
            "resnet]\nwidth = 1000000000",
            "r.toml:7:9: network.resnet.width:",
        ),
        (
            "resnet]\nblocks = [1, 0]",
            "r.toml:7:10: network.resnet.blocks:",
        ),
        (
            "googlenet]\nstem = \"large\"",
            "r.toml:7:8: network.googlenet.stem:",
        ),
        ("googlenet]", "r.toml:6:1: network.googlenet.stem:"),
        ("vit]\npatch = 32", "r.toml:7:9: network.vit.patch:"),
        (
            "vit]\npatch = 8\nheads = 5",
            "r.toml:8:9: network.vit.heads:",
        ),
        (
            "convnet]\nwidths = [4]\n[head]\ndim = 100000000000",
            "r.toml:9:7: head.dim:",
        ),
    ] {
        recipe(network).fails(2, &[place]);
    }
    let limit = [
        "recipe",
        "check",
        "r.toml",
        "--set",
        "network.convnet.widths=[4]",
        "--set",
    ];
    place.run(&[&limit[..], &["data.limit=10"]].concat()).fails(
        2,
        &["invalid type: integer `10`, expected a table, such as { items = 1000 }"],
    );
}

/// Images go on too: shapes that do not fit the first model are said before it trains.
#[test]
fn stages_of_images_are_looked_at_before_the_first_trains() {
    let place = Workplace::new();
    place.images("photos", 10, 4);
    place
        .run(&["init", "photos", "-o", "first.toml"])
        .succeeds();
    let second = place.read("first.toml");
    place.write(
        "second.toml",
        format!("after = 'first.toml'\n{second}").as_bytes(),
    );
    let steps = |set: &str| format!("{set}train.steps=4");
    let sets = ["", "after."].map(steps);
    let few = |more: &[&str]| {
        let own = ["train", "second.toml", "--set", &sets[0], "--set", &sets[1]];
        let small = "network.convnet.widths=[4]";
        let after = format!("after.{small}");
        place.run(&[&own[..], &["--set", small, "--set", &after], more].concat())
    };
    let other = ["--set", "network.convnet.widths=[5]"];
    few(&other).fails(
        2,
        &[
            "second.toml:1:9: the model that first.toml trains: tensor",
            "has shape [4",
        ],
    );
    few(&["--set", "data.source.folder.path=nowhere"]).fails(1, &["nowhere"]);
    few(&["--set", "sampler.pk.classes=50"]).fails(2, &["second.toml:", "50"]);
    few(&["--set", "after.sampler.pk.classes=50"]).fails(2, &["first.toml:", "50"]);
    assert!(!place.path("runs").exists());
    few(&[]).succeeds();
    assert!(place.path("runs/second/after/model").exists());
}
