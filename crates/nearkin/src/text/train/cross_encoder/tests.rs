//! Training of a tiny cross-encoder: its losses, gradients, resuming, outputs, bad recipes.

use super::CrossEncoderSetup;
use crate::recipe::Document;
use crate::text::Bootstrap;
use crate::text::train::TextReport;
use crate::text::train::tiny::Tiny;
use crate::train::{Learner, Task, train};
use crate::{Control, Event, Outcome};
use nearkin_encoder::Tensor;
use nearkin_encoder::text::CrossEncoder;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const SCORED: &str = "scored = { first = 'a', second = 'b', score = 'score' }";
const BINARY: &str = "pairs = { first = 'a', second = 'b', label = 'binary' }";
const CLASSIFIED: &str = "pairs = { first = 'a', second = 'b', label = 'class' }";
const BCE: &str = "[loss.binary_cross_entropy]";
const MSE: &str = "[loss.mean_squared_error]";
const CE: &str = "[loss.cross_entropy]";

fn document(tiny: &Tiny, rows: &str, more: &str) -> Document {
    let (root, model) = (tiny.path(""), tiny.path("encoder"));
    let (root, model) = (root.display(), model.display());
    let text = format!(
        "root = '{root}'\n[cross_encoder]\nmodel = '{model}'\n{more}\n[[data]]\nname = 'one'\ntable.path = 'table.tsv'\nrows.{rows}\n"
    );
    Document::parse("cross.toml", &text).unwrap()
}

fn setup(tiny: &Tiny, rows: &str, more: &str) -> CrossEncoderSetup {
    let recipe = document(tiny, rows, more).cross_encoder_recipe().unwrap();
    CrossEncoderSetup::new(recipe).unwrap()
}

fn evaluate(name: &str, rows: &str) -> String {
    format!("\n[[evaluate]]\nname = '{name}'\ntable.path = 'table.tsv'\nrows.{rows}")
}

fn run(setup: &CrossEncoderSetup, folder: &Path, stop_after: u64) -> Option<TextReport> {
    let stop = AtomicBool::new(false);
    let mut observer = |event: Event| {
        if let Event::Step(record, _) = event {
            assert!(record.loss.is_finite() && record.gradient_norm.is_finite());
            stop.fetch_or(record.step == stop_after, Ordering::Relaxed);
        }
    };
    let control = Control {
        observer: &mut observer,
        stop: &stop,
    };
    match train(setup, folder, control).unwrap() {
        Outcome::Finished(report) => Some(*report),
        Outcome::Stopped { .. } => None,
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_loss_trains_and_the_folder_says_what_the_model_said() {
    let tiny = Tiny::new();
    for (rows, loss, metrics, outputs) in [
        (SCORED, BCE, &["spearman", "pearson"][..], 1),
        (SCORED, MSE, &["spearman", "pearson"], 1),
        (
            BINARY,
            BCE,
            &["average precision", "best F1", "best accuracy"],
            1,
        ),
        (BINARY, CE, &["accuracy", "macro F1"], 2),
        (CLASSIFIED, CE, &["accuracy", "macro F1"], 3),
    ] {
        let optimizer = "[optimizer.adamw]\nrate = 0.01\n[train]\nepochs = 50\nselect = 'last'";
        let more = format!(
            "dropout = 0.0\n{loss}\n{optimizer}{}",
            evaluate("itself", rows)
        );
        let setup = setup(&tiny, rows, &more);
        let folder = tempfile::tempdir().unwrap();
        let report = run(&setup, folder.path(), 0).unwrap();
        let named: Vec<&str> = report.rows.iter().map(|row| row.metric).collect();
        assert_eq!(named, metrics);
        // 40 pairs are learned by heart.
        let row = &report.rows[0];
        assert!(
            row.trained.value > row.untrained.value && row.trained.value > 0.75,
            "{loss} on {rows}: {} to {}",
            row.untrained,
            row.trained
        );
        assert!(row.trained.low < row.trained.high || row.trained.value == 1.0);
        let judge = CrossEncoder::load(&report.model).unwrap();
        assert_eq!(judge.network().labels(), outputs);
        assert_eq!(judge.outcome, setup.outputs.outcome());
        let again = setup.evaluations[0]
            .measure(&judge, Bootstrap::NONE)
            .unwrap();
        assert_eq!(
            again[0].estimate.value, row.trained.value,
            "{loss} on {rows}"
        );
        let card = std::fs::read_to_string(report.model.join("README.md")).unwrap();
        for part in [
            "cross-encoder",
            "# Cross-encoder",
            setup.recipe.loss.name(),
            "[cross_encoder]",
        ] {
            assert!(card.contains(part), "{card} lacks {part}");
        }
        let journal = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert!(!journal.contains("spread"), "logits have no spread");
    }
}

#[test]
fn a_stopped_and_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let tiny = Tiny::new();
    let more = format!(
        "{CE}\n[batches]\ntokens = 60\n[train]\nsteps = 9\nevaluate_every = 4\naccumulate = 2\nchunk = 40\nema = 0.9{}\
         \n[[data]]\nname = 'two'\ntable.path = 'table.tsv'\nrows.{CLASSIFIED}",
        evaluate("itself", CLASSIFIED)
    );
    let setup = setup(&tiny, CLASSIFIED, &more);
    let [whole, stopped] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    run(&setup, whole.path(), 0).unwrap();
    for stop in [3, 6] {
        assert!(run(&setup, stopped.path(), stop).is_none());
    }
    run(&setup, stopped.path(), 0).unwrap();
    for file in ["model.safetensors", "config.json", "recipe.toml"] {
        let read = |run: &Path| std::fs::read(run.join("model").join(file)).unwrap();
        assert!(read(whole.path()) == read(stopped.path()), "{file} differs");
    }
}

#[test]
fn gradients_are_central_differences_and_those_of_parts_the_whole() {
    let tiny = Tiny::new();
    for (rows, loss) in [(SCORED, BCE), (SCORED, MSE), (CLASSIFIED, CE)] {
        let setups = ["", "[train]\nchunk = 30"]
            .map(|more| setup(&tiny, rows, &format!("dropout = 0.0\n{loss}\n{more}")));
        let [whole, parts] = setups.each_ref().map(|setup| {
            let mut learner = Learner::new(setup).unwrap();
            let batch = setup.batches(None).unwrap()(1).unwrap();
            setup.gradient(&mut learner, &batch, 1).unwrap().gradients
        });
        for (whole, parts) in whole.iter().zip(&parts) {
            let pairs = numbers(whole).into_iter().zip(numbers(parts));
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
        }
        let setup = &setups[0];
        let mut learner = Learner::new(setup).unwrap();
        let batch = setup.batches(None).unwrap()(1).unwrap();
        let parameters: Vec<_> = learner.parameters().iter().cloned().collect();
        for (parameter, gradient) in parameters.iter().zip(&whole) {
            let gradient = numbers(gradient);
            assert!(
                gradient.iter().any(|&x| x != 0.0),
                "{} is not learned",
                parameter.name
            );
            // The number with the steepest slope, to be seen above the rounding of f32.
            let steepest = |a: &usize, b: &usize| gradient[*a].abs().total_cmp(&gradient[*b].abs());
            let at = (0..gradient.len()).max_by(steepest).unwrap();
            let start = numbers(&parameter.var);
            let mut value = |step: f32| {
                let mut moved = start.clone();
                moved[at] += step;
                let moved = Tensor::from_vec(moved, parameter.var.shape(), parameter.var.device());
                parameter.var.set(&moved.unwrap()).unwrap();
                f64::from(setup.gradient(&mut learner, &batch, 1).unwrap().value)
            };
            let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
            value(0.0);
            let found = f64::from(gradient[at]);
            assert!(
                (slope - found).abs() < 2e-4 + 0.02 * found.abs(),
                "{loss}, {}: {found}, by differences {slope}",
                parameter.name
            );
        }
    }
}

#[test]
fn what_is_frozen_stays_and_offsets_do_not_decay() {
    let tiny = Tiny::new();
    let more = "freeze = ['embeddings', 'encoder.layer.0']\n[optimizer.adamw]\nrate = 0.01\nweight_decay = 1.0\n[train]\nsteps = 3";
    let setup = setup(&tiny, SCORED, more);
    let folder = tempfile::tempdir().unwrap();
    let report = run(&setup, folder.path(), 0).unwrap();
    let (before, after) = (
        setup.model().unwrap(),
        CrossEncoder::load(&report.model).unwrap(),
    );
    for (p, q) in before.parameters().iter().zip(after.parameters()) {
        let same = numbers(&p.var) == numbers(&q.var);
        let frozen = p.name.starts_with("embeddings") || p.name.starts_with("encoder.layer.0");
        assert_eq!(same, frozen, "{}", p.name);
        if p.name.ends_with("LayerNorm.affine") || p.name.ends_with("bias") {
            assert_ne!(
                p.kind,
                nearkin_encoder::parameters::Kind::Weight,
                "{}",
                p.name
            );
        }
    }
}

/// Rows, the rest of a recipe, the place of its mistake, and a part of what is said of it.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        SCORED,
        "modle = 1",
        "4:1",
        "unknown field `modle`, expected",
    ),
    (
        SCORED,
        "pooling = ['cls']",
        "4:1",
        "unknown field `pooling`",
    ),
    (SCORED, "[loss.cosent]", "4:7", "unknown variant `cosent`"),
    (
        SCORED,
        "[loss.cross_entrpy]",
        "4:7",
        "did you mean `cross_entropy`?",
    ),
    (
        SCORED,
        "[encoder]\nmodel = 'x'",
        "4:2",
        "unknown field `encoder`",
    ),
    (
        SCORED,
        CE,
        "8:1",
        "expected pairs with a class for the loss cross_entropy",
    ),
    (
        CLASSIFIED,
        BCE,
        "8:1",
        "found the classes maybe, no, yes; [loss.cross_entropy]",
    ),
    (
        "pairs = { first = 'a', second = 'b' }",
        BCE,
        "8:1",
        "a score or a class",
    ),
    (
        "texts = { text = 'a' }",
        BCE,
        "8:1",
        "rows that are no pairs",
    ),
    (SCORED, "max_tokens = 99", "4:14", "the model's limit of 24"),
    (
        SCORED,
        "freeze = ['encodr']",
        "4:10",
        "the start of a weight's name",
    ),
    (
        SCORED,
        "[train]\nrates = { head = 2.0 }",
        "5:9",
        "the start of a parameter's name",
    ),
];

#[test]
fn what_cannot_be_is_placed_in_the_recipe() {
    let tiny = Tiny::new();
    let mut wrong = Vec::new();
    let mistakes = MISTAKES
        .iter()
        .map(|&(rows, more, ..)| (rows, more.to_owned()));
    let measured = [
        (CLASSIFIED, format!("{CE}{}", evaluate("x", SCORED))),
        (SCORED, format!("{BCE}{}", evaluate("x", CLASSIFIED))),
        (
            CLASSIFIED,
            format!("{CE}\n[[data]]\nname = 'two'\ntable.path = 'table.tsv'\nrows.{BINARY}"),
        ),
    ];
    let expected = MISTAKES.iter().map(|&(.., place, part)| (place, part));
    let expected = expected.chain([
        ("", "the classes that are learned: maybe, no, yes"),
        ("", "scored pairs or pairs of two classes"),
        ("", "the classes of data set two: 0, 1"),
    ]);
    for ((rows, more), (place, part)) in mistakes.chain(measured).zip(expected) {
        let document = document(&tiny, rows, &more);
        let opened = document
            .cross_encoder_recipe()
            .map_err(crate::Error::from)
            .and_then(CrossEncoderSetup::new);
        let error = opened.map(|_| ()).unwrap_err();
        let message = match error.recipe_key() {
            Some(key) => document.error_at(&key, &error.to_string()).to_string(),
            None => error.to_string(),
        };
        if !(message.starts_with(&format!("cross.toml:{place}")) && message.contains(part)) {
            wrong.push(format!("{more}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
