//! Training of a tiny network of pairs: its losses, gradients, resuming, scores in blocks, bad recipes.

use super::{PairReport, PairSearch, PairSetup};
use crate::recipe::Document;
use crate::train::{Learner, Task, train};
use crate::{Control, Event, Outcome};
use nearkin_encoder::{PairModel, Tensor};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const QUADRUPLETS: &str = "[sampler.quadruplets]\nquadruplets = 6";
const PK: &str = "[sampler.pk]\nclasses = 4\nper_class = 2";
const STILL: &str = "dropout = 0.0";

/// A recipe on glyphs of 12 × 12 pixels: sampler, more of the network, loss and the rest.
fn document([sampler, network, rest]: [&str; 3]) -> Document {
    let text = format!(
        "seed = 5\n[data.source.bundled]\nname = \"glyphs\"\n[data.split.prefix]\nvalidation = [\"Greek/\"]\ntest = [\"Arabic/\"]\n\
         {sampler}\n[input]\nheight = 12\nwidth = 12\ncolor = \"gray\"\n[pair_network.alexnet]\nstem = \"small\"\nwidth = 0.0625\nhidden = 16\n\
         {network}\n{rest}\n"
    );
    Document::parse("pairs.toml", &text).unwrap()
}

fn setup(parts: [&str; 3]) -> PairSetup {
    PairSetup::new(document(parts).pair_recipe().unwrap()).unwrap()
}

fn run(setup: &PairSetup, folder: &Path, stop_after: u64) -> Option<PairReport> {
    let stop = AtomicBool::new(false);
    let mut observer = |event: Event| {
        if let Event::Step(record, _) = event {
            assert!(record.loss.is_finite() && record.gradient_norm > 0.0);
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

fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model/model.safetensors")).unwrap()
}

/// `g` of all images of a list with one another.
fn scores(search: &PairSearch<'_>) -> Vec<f32> {
    let all: Vec<usize> = (0..search.items().len()).collect();
    let mut scores = Vec::new();
    let mut each = |row: &[f32]| {
        scores.extend_from_slice(row);
        Ok(())
    };
    search.scores(&all, &all, &mut each).unwrap();
    scores
}

#[test]
fn every_loss_trains_and_the_folder_says_what_the_model_said() {
    let one = "output = \"one\"";
    let trained = "[train]\nsteps = 3\nevaluate_every = 2";
    for (sampler, network, loss) in [
        (QUADRUPLETS, STILL, "[loss.pair_quadruplet]"),
        (
            QUADRUPLETS,
            "",
            "[loss.pair_quadruplet]\nmargins = \"adaptive\"",
        ),
        (
            PK,
            "",
            "[loss.pair_quadruplet]\nmargins = \"adaptive\"\ngradient = \"full\"",
        ),
        (QUADRUPLETS, "", "[loss.pair_triplet]"),
        (PK, "", "[loss.pair_classification]"),
        (
            QUADRUPLETS,
            one,
            "[loss.pair_triplet]\nsoftmax_weight = 0.0",
        ),
        (PK, one, "[loss.pair_quadruplet]\nsoftmax_weight = 0.0"),
    ] {
        let setup = setup([sampler, network, &format!("{loss}\n{trained}")]);
        let folder = tempfile::tempdir().unwrap();
        let report = run(&setup, folder.path(), 0).unwrap();
        let names: Vec<_> = report.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["raw pixels", "untrained network", "trained model"]);
        assert_eq!((report.part, report.selected), ("test", "best"));
        let found = &report.rows[2].found;
        assert!(found.reid.map.value > 0.0 && found.reid.queries > 20);
        assert!(found.distances.inter.pairs > found.distances.intra.pairs);

        let model = PairModel::load(&report.model).unwrap();
        let items = &setup.parts.test[..5];
        let loaded = scores(&PairSearch::new(&model, &setup.feed, items, &mut |_| {}).unwrap());
        let before = setup.model().unwrap();
        let before = scores(&PairSearch::new(&before, &setup.feed, items, &mut |_| {}).unwrap());
        assert_ne!(loaded, before, "{loss}");
        let card = std::fs::read_to_string(report.model.join("README.md")).unwrap();
        for part in [
            "# Network of pairs",
            setup.recipe.loss.name(),
            "[pair_network.alexnet]",
        ] {
            assert!(card.contains(part), "{card} lacks {part}");
        }
        let journal = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert!(
            journal.contains("\"rank_1\"") && !journal.contains("spread"),
            "{journal}"
        );
    }
}

#[test]
fn where_all_train_the_last_weights_are_kept_and_nothing_is_measured() {
    let mut document = document([
        PK,
        STILL,
        "[loss.pair_quadruplet]\n[train]\nsteps = 2\nevaluate_every = 2",
    ]);
    document.set("data.split=\"all_train\"").unwrap();
    let setup = PairSetup::new(document.pair_recipe().unwrap()).unwrap();
    assert!(setup.costs().unwrap().report == 0.0);
    let folder = tempfile::tempdir().unwrap();
    let report = run(&setup, folder.path(), 0).unwrap();
    assert!(report.rows.is_empty() && report.part == "none");
    assert_eq!((report.selected, report.step), ("last", 2));
    PairModel::load(&report.model).unwrap();
    let card = std::fs::read_to_string(report.model.join("README.md")).unwrap();
    assert!(card.contains("Nothing was measured"), "{card}");
}

#[test]
fn what_was_learned_finds_characters_never_seen() {
    let rest = "[loss.pair_quadruplet]\n[optimizer.adamw]\nrate = 0.003\n[train]\nsteps = 150\nevaluate_every = 150";
    let sampler = "[sampler.pk]\nclasses = 12\nper_class = 2";
    let setup = setup([sampler, STILL, rest]);
    let folder = tempfile::tempdir().unwrap();
    let report = run(&setup, folder.path(), 0).unwrap();
    let [before, after] = [1, 2].map(|row| &report.rows[row].found);
    let maps = [before, after].map(|found| found.reid.map.value);
    assert!(
        maps[1] > 2.0 * maps[0],
        "mAP {} before, {} after",
        maps[0],
        maps[1]
    );
    let distances = after.distances;
    assert!(
        distances.intra.mean + 0.1 < distances.inter.mean,
        "{distances:?}"
    );
}

#[test]
fn every_weight_gets_the_gradient_of_the_loss() {
    for (sampler, network, loss) in [
        (QUADRUPLETS, "", "[loss.pair_quadruplet]"),
        (
            PK,
            "\noutput = \"one\"",
            "[loss.pair_triplet]\nsoftmax_weight = 0.0",
        ),
    ] {
        let setup = setup([sampler, &format!("{STILL}{network}"), loss]);
        let mut learner = Learner::new(&setup).unwrap();
        let batch = setup.batches(None).unwrap()(0).unwrap();
        let value = |learner: &mut Learner<PairModel>| {
            let measured = setup.gradient(learner, &batch, 0).unwrap();
            (f64::from(measured.value), measured.gradients)
        };
        let (_, gradients) = value(&mut learner);
        let parameters: Vec<_> = learner.parameters().iter().cloned().collect();
        for (parameter, gradient) in parameters.iter().zip(&gradients) {
            let gradient = numbers(gradient);
            let at = (0..gradient.len())
                .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()))
                .unwrap();
            assert!(
                gradient[at] != 0.0,
                "{loss}: {} gets no gradient",
                parameter.name
            );
            let values = numbers(parameter.var.as_tensor());
            let mut with = |step: f32| {
                let mut moved = values.clone();
                moved[at] += step;
                let moved = Tensor::from_vec(moved, parameter.var.shape(), parameter.var.device());
                parameter.var.set(&moved.unwrap()).unwrap();
                value(&mut learner).0
            };
            let step = 3e-4;
            let slope = (with(step) - with(-step)) / f64::from(2.0 * step);
            with(0.0);
            let found = f64::from(gradient[at]);
            assert!(
                (slope - found).abs() < 1e-3 + 0.03 * found.abs(),
                "{loss}, {}: {found}, by differences {slope}",
                parameter.name
            );
        }
    }
}

#[test]
fn chunks_change_the_memory_and_not_the_gradient() {
    let gradients = |network: &str, rest: &str| {
        let setup = setup([
            QUADRUPLETS,
            network,
            &format!("[loss.pair_quadruplet]\n{rest}"),
        ]);
        let mut learner = Learner::new(&setup).unwrap();
        let batch = setup.batches(None).unwrap()(3).unwrap();
        let measured = setup.gradient(&mut learner, &batch, 3).unwrap();
        let gradients: Vec<_> = measured.gradients.iter().flat_map(numbers).collect();
        (measured.value, gradients)
    };
    let whole = gradients(STILL, "");
    // One, two and four quadruplets at a time, the last time two.
    for chunk in [1, 8, 16] {
        let parts = gradients(STILL, &format!("[train]\nchunk = {chunk}"));
        assert!((parts.0 - whole.0).abs() < 1e-5);
        let largest = whole.1.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
        for (a, b) in parts.1.iter().zip(&whole.1) {
            assert!(
                (a - b).abs() < 1e-4 * largest,
                "chunk {chunk}: {a}, not {b}"
            );
        }
    }
    // With dropout what is passed again is dropped again.
    assert_eq!(
        gradients("", "[train]\nchunk = 8"),
        gradients("", "[train]\nchunk = 8")
    );
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let rest = "[augment]\nshift = 0.2\n[loss.pair_quadruplet]\nmargins = \"adaptive\"\n[train]\nsteps = 6\nevaluate_every = 2\nema = 0.9\naccumulate = 2";
    let setup = setup([QUADRUPLETS, "", rest]);
    let [whole, stopped] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    run(&setup, whole.path(), 0).unwrap();
    // After the last step the report is left to be made.
    for stop_after in [1, 3, 5, 6] {
        assert!(run(&setup, stopped.path(), stop_after).is_none());
    }
    run(&setup, stopped.path(), 0).unwrap();
    assert_eq!(weights(whole.path()), weights(stopped.path()));
}

#[test]
fn a_model_begins_where_another_ended() {
    let rest = "[loss.pair_quadruplet]\n[train]\nsteps = 2\nevaluate_every = 2";
    let first = setup([QUADRUPLETS, "", rest]);
    let folder = tempfile::tempdir().unwrap();
    let report = run(&first, folder.path(), 0).unwrap();
    let from = format!(
        "[pretrained]\nweights = {:?}\n[loss.pair_quadruplet]\nmargins = \"adaptive\"",
        report.model
    );
    let second = setup([QUADRUPLETS, "", &from]).model().unwrap();
    let ended = PairModel::load(&report.model).unwrap();
    let all = |model: &PairModel| -> Vec<f32> {
        let parameters = model.scorer.parameters().iter();
        parameters
            .flat_map(|p| numbers(p.var.as_tensor()))
            .collect()
    };
    assert_eq!(all(&second), all(&ended));

    let other = document([
        QUADRUPLETS,
        "output = \"one\"",
        &format!("{from}\nsoftmax_weight = 0.0"),
    ]);
    let error = PairSetup::new(other.pair_recipe().unwrap()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("tensor \"fc8.weight\" has shape [2, 16]"),
        "{error}"
    );
}

#[test]
fn scores_in_blocks_are_those_of_the_matrix_whatever_is_kept() {
    let setup = setup([QUADRUPLETS, "", "[loss.pair_quadruplet]"]);
    let model = setup.model().unwrap();
    // More than two blocks of images, and of queries.
    let items: Vec<usize> = setup
        .parts
        .train
        .iter()
        .copied()
        .step_by(3)
        .take(150)
        .collect();
    let batch = setup.feed.batch(&items, None).unwrap();
    let x = batch.tensor(setup.feed.input(), 0..items.len()).unwrap();
    let want = model.scorer.matrix(&x, &x, 1000).unwrap();
    let search = || PairSearch::new(&model, &setup.feed, &items, &mut |_| {}).unwrap();
    for blocks in [3, 1, 0] {
        let found = scores(&search().keeping(blocks));
        assert_eq!(found.len(), want.len());
        for (found, want) in found.iter().zip(&want) {
            assert!((found - want).abs() < 1e-5, "{found}, not {want}");
        }
    }
    // Some queries against a part of the gallery, in an order of their own.
    let (queries, gallery) = ([140, 2, 77], [5, 70, 71, 149, 6]);
    let search = search();
    let mut at = 0;
    let mut each = |row: &[f32]| {
        for &item in &gallery {
            let want = want[queries[at] * items.len() + item];
            assert!((row[item] - want).abs() < 1e-5);
        }
        at += 1;
        Ok(())
    };
    search.scores(&queries, &gallery, &mut each).unwrap();
    assert_eq!(at, 3);
}

/// Sampler, network, the rest of a recipe, the place of its mistake, and a part of what is said of it.
const MISTAKES: &[(&str, &str, &str, &str, &str)] = &[
    (
        QUADRUPLETS,
        "widht = 1.0",
        "",
        "18:1",
        "unknown field `widht`, expected",
    ),
    (QUADRUPLETS, "dropout = 1.0", "", "18:11", "below 1"),
    (
        QUADRUPLETS,
        "",
        "[head]\ndim = 8",
        "19:2",
        "unknown field `head`",
    ),
    (
        QUADRUPLETS,
        "",
        "[loss.quadruplet]",
        "19:7",
        "unknown variant `quadruplet`, expected one of `pair_triplet`",
    ),
    (
        QUADRUPLETS,
        "output = \"two\"",
        "",
        "18:10",
        "expected `one` or `softmax`",
    ),
    (
        QUADRUPLETS,
        "output = \"one\"",
        "",
        "18:10",
        "two outputs the cross-entropy of loss pair_quadruplet needs",
    ),
    (
        "[sampler.pk]\nclasses = 2\nper_class = 4",
        "",
        "",
        "8:2",
        "images of two other classes, found a batch of 8 images of 2",
    ),
    ("[sampler.hard_classes]", "", "", "8:2", "embeddings"),
];

#[test]
fn what_cannot_be_is_placed_in_the_recipe() {
    let mut wrong = Vec::new();
    for &(sampler, network, rest, place, part) in MISTAKES {
        let loss = if rest.contains("loss") {
            ""
        } else {
            "\n[loss.pair_quadruplet]"
        };
        let text = document(["", "", ""]);
        let text = text
            .text()
            .replace("[input]", &format!("{sampler}\n[input]"));
        let text = text.replace(
            "hidden = 16\n",
            &format!("hidden = 16\n{network}\n{rest}{loss}"),
        );
        let said = Document::parse("pairs.toml", &text).and_then(|document| {
            let recipe = document.pair_recipe()?;
            let error = PairSetup::new(recipe).err().unwrap();
            let key = error.recipe_key().unwrap();
            Err::<(), _>(document.error_at(&key, &error.to_string()))
        });
        let message = said.unwrap_err().to_string();
        if !(message.starts_with(&format!("pairs.toml:{place}")) && message.contains(part)) {
            wrong.push(format!("{part}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_network_larger_than_its_images_and_data_of_another_kind_are_refused() {
    let mut large = document([QUADRUPLETS, "", "[loss.pair_quadruplet]"]);
    large.set("pair_network.alexnet.stem=large").unwrap();
    let error = PairSetup::new(large.pair_recipe().unwrap()).err().unwrap();
    let key = error.recipe_key();
    assert_eq!(key.as_deref(), Some("pair_network.alexnet.stem"));
    assert!(
        error
            .to_string()
            .contains("pool1: the feature map is 1x1 here"),
        "{error}"
    );

    let mut features = document([QUADRUPLETS, "", "[loss.pair_quadruplet]"]);
    for set in [
        "data.source.bundled.name=digits",
        "data.split.class_disjoint.test=0.3",
    ] {
        features.set(set).unwrap();
    }
    let error = PairSetup::new(features.pair_recipe().unwrap())
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(error.contains("the model reads images"), "{error}");
}
