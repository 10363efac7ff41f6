//! Training of a tiny encoder: every loss, resuming, freezing, gradient caching, bad recipes.

use super::batch::parts;
use super::set::learns_proxies;
use super::tiny::Tiny;
use super::{TextReport, TextSetup};
use crate::text::head::Head;
use crate::text::recipe::TextRecipe;
use crate::train::{Learner, Task, checkpoint, train};
use crate::{Control, Event, Outcome};
use nearkin_encoder::text::{Packed, SentenceEncoder};
use nearkin_encoder::{Mode, Tensor, tape};
use nearkin_kernels::Mat;
use nearkin_losses::loss::{Loss, Target};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const SCORED: &str = "scored = { first = 'a', second = 'b', score = 'score' }";
const PAIRS: &str = "pairs = { first = 'a', second = 'b' }";
const BINARY: &str = "pairs = { first = 'a', second = 'b', label = 'binary' }";
const CLASSIFIED: &str = "pairs = { first = 'a', second = 'b', label = 'class' }";
const TRIPLETS: &str = "triplets = { anchor = 'a', positive = 'b', negative = 'c' }";
const LABELED: &str = "labeled = { text = 'a', label = 'class' }";
const PK: &str = "[batches]\npk = { classes = 3, per_class = 4 }";

fn run(setup: &TextSetup, folder: &Path, stop_after: u64) -> Option<TextReport> {
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
        Outcome::Stopped { step, .. } => {
            assert_eq!(step, stop_after);
            None
        }
    }
}

fn trained(recipe: TextRecipe) -> (tempfile::TempDir, TextReport) {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&TextSetup::new(recipe).unwrap(), folder.path(), 0).unwrap();
    (folder, report)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The weights of two encoders whose names start so are the same.
fn same_weights(one: &SentenceEncoder, other: &SentenceEncoder, start: &str) -> bool {
    let pairs = one.parameters().iter().zip(other.parameters());
    let mut pairs = pairs.filter(|(p, _)| p.name.starts_with(start)).peekable();
    assert!(pairs.peek().is_some(), "no weight starts with {start}");
    pairs.all(|(p, q)| numbers(&p.var) == numbers(&q.var))
}

/// Rows that a loss over such targets can learn from.
fn rows_for(loss: &Loss, target: Target) -> &'static str {
    let views = match loss.form() {
        nearkin_losses::loss::Form::Views(loss) => loss.views().0,
        _ => 2,
    };
    let objective = nearkin_losses::Objective::from(loss.clone());
    match target {
        Target::Labels if objective.needs(2).classes => CLASSIFIED,
        Target::Labels => LABELED,
        Target::Triplets => TRIPLETS,
        _ if views > 2 => TRIPLETS,
        Target::Scores => SCORED,
        Target::Pairs | Target::Teacher => PAIRS,
    }
}

#[test]
fn every_loss_of_the_catalogue_trains_on_text() {
    let tiny = Tiny::new();
    let mut wrong = Vec::new();
    for loss in Loss::defaults() {
        for &target in loss.definition().targets() {
            if let Err(error) = three_steps(&tiny, &loss, target) {
                wrong.push(format!("{} on {target}: {error}", loss.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Trains with a loss on rows of a kind; a loss that learns proxies of classes has to refuse rows without them.
fn three_steps(tiny: &Tiny, loss: &Loss, target: Target) -> Result<(), String> {
    let more = format!("{PK}\n[train]\nsteps = 3");
    let mut recipe = tiny.recipe(rows_for(loss, target), &more);
    recipe.encoder.teacher = Some(tiny.path("teacher"));
    recipe.loss = Some(loss.clone());
    let opened = TextSetup::new(recipe);
    let setup = match opened {
        Err(error) if learns_proxies(loss) && target != Target::Labels => {
            let named = error.to_string().contains("learns a proxy of each class");
            return if named {
                Ok(())
            } else {
                Err(error.to_string())
            };
        }
        opened => opened.map_err(|error| error.to_string())?,
    };
    let mut learner = Learner::new(&setup).unwrap();
    let batch = setup.batches(None).unwrap()(0).unwrap();
    let measured = setup.gradient(&mut learner, &batch, 0);
    let measured = measured.map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().unwrap();
    let report = run(&setup, folder.path(), 0).unwrap();
    let model = SentenceEncoder::load(&report.model).unwrap();
    if measured.tuples > 0 && same_weights(&setup.model().unwrap(), &model, "encoder.layer.0") {
        return Err("no weight moved".to_owned());
    }
    Ok(())
}

#[test]
fn a_stopped_and_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let tiny = Tiny::new();
    let more = format!(
        "{PK}\ntokens = 60\n[loss.softmax_classification]\n[train]\nsteps = 9\nevaluate_every = 4\naccumulate = 2\nchunk = 20\nema = 0.9\nselect = 'last'\n\
         [[data]]\nname = 'two'\ntable.path = 'table.tsv'\nrows.{SCORED}\nloss.cosent = {{}}\n\
         [[evaluate]]\nname = 'scored'\ntable.path = 'table.tsv'\nrows.{SCORED}\n\
         [[evaluate]]\nname = 'classes'\ntable.path = 'table.tsv'\nrows.{CLASSIFIED}"
    );
    let setup = TextSetup::new(tiny.recipe(CLASSIFIED, &more)).unwrap();
    let [whole, stopped] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let report = run(&setup, whole.path(), 0).unwrap();
    assert_eq!(
        report.rows.iter().map(|row| row.metric).collect::<Vec<_>>(),
        ["spearman", "pearson", "accuracy of the head"]
    );
    for stop in [3, 6] {
        assert!(run(&setup, stopped.path(), stop).is_none());
    }
    let other = Tiny::new();
    let table = std::fs::read_to_string(other.path("table.tsv")).unwrap();
    std::fs::write(other.path("table.tsv"), table.replace("cat", "dog")).unwrap();
    let changed = TextSetup::new(other.recipe(CLASSIFIED, &more)).unwrap();
    let control = Control {
        observer: &mut |_| {},
        stop: &AtomicBool::new(false),
    };
    let error = train(&changed, stopped.path(), control).err().unwrap();
    assert!(
        error.to_string().contains("began with other data"),
        "{error}"
    );
    run(&setup, stopped.path(), 0).unwrap();
    for file in ["model.safetensors", "head.safetensors", "recipe.toml"] {
        let read = |run: &Path| std::fs::read(run.join("model").join(file)).unwrap();
        assert!(read(whole.path()) == read(stopped.path()), "{file} differs");
    }
    let head = Head::load(&whole.path().join("model"), "head").unwrap();
    assert_eq!(head.classes, ["maybe", "no", "yes"]);
    let card = std::fs::read_to_string(whole.path().join("model/README.md")).unwrap();
    assert!(card.contains("accuracy of the head") && card.contains("SentenceTransformer"));
}

#[test]
fn frozen_weights_stay_and_have_no_state_and_fresh_ones_start_anew() {
    let tiny = Tiny::new();
    let mut recipe = tiny.recipe(SCORED, "[loss.cosine_regression]\n[train]\nsteps = 2");
    recipe.encoder.freeze = vec!["embeddings".into()];
    recipe.encoder.fresh = vec!["encoder.layer.1".into()];
    let start = SentenceEncoder::load(&tiny.path("encoder")).unwrap();
    let setup = TextSetup::new(recipe).unwrap();
    let begun = setup.model().unwrap();
    assert!(same_weights(&start, &begun, "encoder.layer.0"));
    assert!(!same_weights(
        &start,
        &begun,
        "encoder.layer.1.attention.self"
    ));
    let folder = tempfile::tempdir().unwrap();
    let report = run(&setup, folder.path(), 0).unwrap();
    let model = SentenceEncoder::load(&report.model).unwrap();
    assert!(same_weights(&start, &model, "embeddings"));
    assert!(!same_weights(&begun, &model, "encoder.layer.0"));
    let (newest, _) = checkpoint::newest(folder.path()).unwrap().unwrap();
    let state = nearkin_encoder::weights::read(&newest.join("optimizer.safetensors")).unwrap();
    assert!(state.keys().all(|name| !name.starts_with("embeddings")));
    assert!(state.keys().any(|name| name.starts_with("encoder.layer.0")));
}

#[test]
fn settings_that_leave_nothing_to_learn_are_refused() {
    let tiny = Tiny::new();
    let mut recipe = tiny.recipe(SCORED, "[loss.cosine_regression]");
    recipe.encoder.lora = Some(nearkin_encoder::Lora {
        targets: vec!["nope".into()],
        ..Default::default()
    });
    let error = TextSetup::new(recipe).err().unwrap().to_string();
    assert!(
        error.contains("encoder.lora.targets") && error.contains("nope"),
        "{error}"
    );
    let recipe = tiny.recipe(SCORED, "dropout = 20.0\n[loss.cosine_regression]");
    let error = TextSetup::new(recipe).err().unwrap().to_string();
    assert!(
        error.contains("encoder.dropout") && error.contains("20"),
        "{error}"
    );
}

#[test]
fn adapters_learn_alone_are_resumed_and_lie_beside_the_merged_model() {
    let tiny = Tiny::new();
    for select in ["best", "last"] {
        let more = format!(
            "[loss.cosine_regression]\n[train]\nsteps = 4\nevaluate_every = 2\nselect = '{select}'\n\
             [[evaluate]]\nname = 'scored'\ntable.path = 'table.tsv'\nrows.{SCORED}"
        );
        let mut recipe = tiny.recipe(SCORED, &more);
        recipe.encoder.lora = Some(nearkin_encoder::Lora::default());
        let setup = TextSetup::new(recipe).unwrap();
        let start = SentenceEncoder::load(&tiny.path("encoder")).unwrap();
        let whole = tempfile::tempdir().unwrap();
        let report = run(&setup, whole.path(), 0).unwrap();
        let model = SentenceEncoder::load(&report.model).unwrap();
        assert!(same_weights(&start, &model, "embeddings"), "{select}");
        let adapter = report.model.join("adapter/adapter_model.safetensors");
        let adapter = nearkin_encoder::weights::read(&adapter).unwrap();
        assert!(
            adapter
                .values()
                .any(|x| numbers(x).iter().any(|&x| x != 0.0))
        );
        if select == "last" {
            assert!(!same_weights(
                &start,
                &model,
                "encoder.layer.0.attention.self"
            ));
        }
        let alone = crate::text::open(&report.model.join("adapter")).unwrap();
        assert!(same_weights(&alone, &model, ""), "{select}");
        let parts = tempfile::tempdir().unwrap();
        assert!(run(&setup, parts.path(), 2).is_none());
        let resumed = run(&setup, parts.path(), 0).unwrap();
        let resumed = SentenceEncoder::load(&resumed.model).unwrap();
        assert!(same_weights(&model, &resumed, ""), "{select}");
    }
}

/// The largest difference between gradients, relative to the largest number of each.
fn difference(one: &[Tensor], other: &[Tensor]) -> f32 {
    assert_eq!(one.len(), other.len());
    let of_tensor = |(a, b): (&Tensor, &Tensor)| {
        let (a, b) = (numbers(a), numbers(b));
        let largest = a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let gap = a
            .iter()
            .zip(&b)
            .fold(0.0f32, |m, (x, y)| m.max((x - y).abs()));
        // A gradient that is zero but for rounding, such as that of the keys' bias, has no scale of its own.
        gap / largest.max(1e-3)
    };
    one.iter().zip(other).map(of_tensor).fold(0.0, f32::max)
}

#[test]
fn gradient_caching_gives_the_gradient_of_the_full_batch() {
    let tiny = Tiny::new();
    let setup = |more: &str| {
        let more = format!("{more}\n[loss.multiple_negatives_ranking]");
        TextSetup::new(tiny.recipe(TRIPLETS, &more)).unwrap()
    };
    let gradients = |setup: &TextSetup| {
        let mut learner = Learner::new(setup).unwrap();
        let batch = setup.batches(None).unwrap()(5).unwrap();
        setup.gradient(&mut learner, &batch, 5).unwrap().gradients
    };
    // Without dropout the parts are the whole batch.
    let whole = gradients(&setup("dropout = 0.0"));
    let cached = gradients(&setup("dropout = 0.0\n[train]\nchunk = 30"));
    assert!(
        difference(&whole, &cached) < 1e-5,
        "{}",
        difference(&whole, &cached)
    );
    // With dropout: every part passed once, its tape kept until the loss of all is known.
    let setup = setup("[train]\nchunk = 30");
    let cached = gradients(&setup);
    let mut learner = Learner::new(&setup).unwrap();
    let batch = setup.batches(None).unwrap()(5).unwrap();
    let parts = parts(&batch.tokens, Some(30));
    assert!(parts.len() > 5);
    let encoder = learner.model.clone();
    let mut passed = Vec::new();
    let mut embeddings = vec![0.0; batch.rows() * 16];
    for (k, rows) in parts.iter().enumerate() {
        let packed = Packed::new(rows.iter().map(|&row| &batch.tokens[row]));
        let forward = || encoder.forward(&packed, setup.pass(5, k, Mode::Train));
        let (embedded, tape) = tape::record(forward).unwrap();
        for (row, numbers) in rows.iter().zip(numbers(&embedded).chunks(16)) {
            embeddings[row * 16..][..16].copy_from_slice(numbers);
        }
        passed.push((embedded, tape));
    }
    let taught = setup.ask(&batch).unwrap();
    let asked = nearkin_losses::Batch {
        embeddings: Mat::new(&embeddings, batch.rows(), 16),
        targets: batch.targets(&taught),
    };
    let outcome = learner.losses[0].value_and_grad(asked, 5).unwrap();
    let mut kept: Option<Vec<Tensor>> = None;
    for ((embedded, tape), rows) in passed.into_iter().zip(&parts) {
        let of_rows = rows
            .iter()
            .flat_map(|row| &outcome.gradient[row * 16..][..16]);
        let new = learner
            .backward(tape, (&embedded, of_rows.copied().collect()))
            .unwrap();
        match &kept {
            Some(sum) => crate::optimize::accumulate(sum, &new).unwrap(),
            None => kept = Some(new),
        }
    }
    assert!(difference(&kept.unwrap(), &cached) < 1e-5);
    assert!(difference(&whole, &cached) > 1e-3, "dropout drops nothing");
}

#[test]
fn a_batch_of_4096_pairs_is_embedded_in_chunks() {
    let tiny = Tiny::new();
    let rows: Vec<String> = (0..4096)
        .map(|row| {
            format!(
                "cat {} dog\tdog {} cat",
                "a ".repeat(row % 5),
                "the ".repeat(row % 7)
            )
        })
        .collect();
    std::fs::write(
        tiny.path("table.tsv"),
        format!("a\tb\n{}\n", rows.join("\n")),
    )
    .unwrap();
    let setup = |chunk: &str| {
        let more = format!(
            "dropout = 0.0\n[batches]\nsize = 4096\n[loss.multiple_negatives_ranking]\n[train]\nsteps = 1\n{chunk}"
        );
        TextSetup::new(tiny.recipe(PAIRS, &more)).unwrap()
    };
    let (whole, setup) = (setup(""), setup("chunk = 2048"));
    let mut learner = Learner::new(&setup).unwrap();
    let batch = setup.batches(None).unwrap()(0).unwrap();
    assert_eq!(batch.rows(), 8192);
    let parts = parts(&batch.tokens, Some(2048));
    let most = parts.iter().map(|rows| {
        rows.iter()
            .map(|&row| batch.tokens[row].ids.len())
            .sum::<usize>()
    });
    assert!(most.max().unwrap() <= 2048);
    let measured = setup.gradient(&mut learner, &batch, 0).unwrap();
    let mut other = Learner::new(&whole).unwrap();
    let gradients = whole.gradient(&mut other, &batch, 0).unwrap().gradients;
    let apart = difference(&gradients, &measured.gradients);
    assert!(apart < 1e-4, "{apart}");
    // Nothing learned yet: a guess among thousands.
    assert!(
        measured.value > 4.0 && measured.value < 12.0,
        "{}",
        measured.value
    );
}

#[test]
fn several_evaluations_and_classes_of_two_are_measured() {
    let tiny = Tiny::new();
    let evaluate = |name: &str, rows: &str| {
        format!("\n[[evaluate]]\nname = '{name}'\ntable.path = 'table.tsv'\nrows.{rows}")
    };
    let more = [
        "[loss.online_contrastive]\n[train]\nsteps = 2".to_owned(),
        evaluate("pairs", BINARY),
        evaluate("triplets", TRIPLETS),
        evaluate("labeled", LABELED),
    ];
    let (folder, report) = trained(tiny.recipe(BINARY, &more.concat()));
    let named: Vec<String> = report
        .rows
        .iter()
        .map(|row| format!("{} {}", row.name, row.metric))
        .collect();
    for name in [
        "pairs average precision",
        "triplets accuracy",
        "labeled MAP@R",
    ] {
        assert!(named.iter().any(|found| found == name), "{named:?}");
    }
    assert_eq!(report.selected, "best");
    let journal = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(journal.contains("\"average precision\":"), "{journal}");
}

const LOSS: &str = "[loss.cosine_regression]";
const MNR: &str = "[loss.multiple_negatives_ranking]";
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
        "[loss.cosine_regresion]",
        "4:7",
        "did you mean `cosine_regression`?",
    ),
    (SCORED, "pooling = ['avg']", "4:12", "unknown variant `avg`"),
    (SCORED, "dropout = -1", "4:11", "out of range"),
    (SCORED, "[batches]\nsize = 0", "5:8", "nonzero"),
    (
        SCORED,
        "[optimizer.adamw]\nrte = 1",
        "5:1",
        "did you mean `rate`?",
    ),
    (SCORED, "", "5:1", "a loss, here or as [loss.NAME]"),
    (
        PAIRS,
        LOSS,
        "4:2",
        "data set one: loss cosine_regression needs 1 scores",
    ),
    (PAIRS, "[loss.triplet_euclidean]", "4:2", "takes 3 to"),
    (PAIRS, "[loss.gist]", "4:2", "needs a teacher's embeddings"),
    (LABELED, MNR, "4:2", "needs pairs or triplets"),
    (CLASSIFIED, MNR, "", "found the classes maybe, no, yes"),
    (BINARY, MNR, "", "by table.filter, found the classes 0, 1"),
    (SCORED, MNR, "", "by table.filter, found scores"),
    (PAIRS, "[loss.matryoshka]\ndims = [64]", "4:2", "at most 16"),
    (
        SCORED,
        "freeze = ['bert.encoder']\n[loss.cosent]",
        "4:10",
        "the start of a weight's name",
    ),
    (
        SCORED,
        "freeze = ['encoder.layer.0.attention.self.query']\n[loss.cosent]",
        "4:10",
        "expected \"encoder.layer.0.attention.self.weight\", found \"encoder.layer.0.attention.self.query\", which is no \
         weight of its own here: encoder.layer.0.attention.self.query.weight, encoder.layer.0.attention.self.key.weight",
    ),
    (
        SCORED,
        "[loss.cosent]\n[train]\nrates = { 'embeddings.LayerNorm.bias' = 2.0 }",
        "6:9",
        "found \"embeddings.LayerNorm.bias\", which is no weight of its own",
    ),
    (
        SCORED,
        "max_tokens = 99\n[loss.cosent]",
        "4:14",
        "the model's limit of 24",
    ),
    (
        SCORED,
        "max_tokens = 2\n[loss.cosent]",
        "4:14",
        "no room beside 2 special tokens",
    ),
    (
        SCORED,
        "[loss.cosent]\n[train]\nrates = { head = 2.0 }",
        "6:9",
        "the start of a parameter's name",
    ),
    (
        LABELED,
        "[loss.contrastive]\n[batches]\npk = { classes = 9, per_class = 2 }",
        "6:6",
        "asks for 9 classes",
    ),
    (
        SCORED,
        "[loss.cosent]\n[[evaluate]]\nname = 'x'\ntable.path = 'table.tsv'\nrows.pairs = { first = 'a', second = 'b' }",
        "",
        "texts of which nothing is known",
    ),
    (
        SCORED,
        "[loss.cosent]\n[[data]]\nname = 'one'\ntable.path = 'table.tsv'\nrows.scored = { first = 'a', second = 'b', score = 'score' }",
        "",
        "\"one\" twice",
    ),
];

#[test]
fn what_cannot_be_is_placed_in_the_recipe() {
    let tiny = Tiny::new();
    let error = |rows: &str, more: &str| {
        let document = tiny.document(rows, more);
        let opened = document
            .text_recipe()
            .map_err(crate::Error::from)
            .and_then(TextSetup::new);
        let error = opened.map(|_| ()).unwrap_err();
        match error.recipe_key() {
            Some(key) => document.error_at(&key, &error.to_string()).to_string(),
            None => error.to_string(),
        }
    };
    let mut wrong = Vec::new();
    for (rows, more, place, part) in MISTAKES {
        let message = error(rows, more);
        let place = format!("tiny.toml:{place}");
        if !(message.starts_with(&place) && message.contains(part)) {
            wrong.push(format!("{more}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn settings_reach_items_of_lists() {
    let tiny = Tiny::new();
    let mut document = tiny.document(SCORED, "[loss.cosent]");
    document.set("data.0.table.limit=7").unwrap();
    document.set("data.0.rows.pairs.first=a").unwrap();
    document.set("data.0.rows.pairs.second=c").unwrap();
    document.set("loss.multiple_negatives_ranking={}").unwrap();
    let setup = TextSetup::new(document.text_recipe().unwrap()).unwrap();
    assert_eq!(setup.summary().unwrap().data, [("one".to_owned(), 7)]);
    let error = document
        .set("data.3.table.limit=7")
        .unwrap_err()
        .to_string();
    assert!(error.contains("data.3.table.limit=7"), "{error}");
}

#[test]
fn the_resolved_recipe_reads_back_as_itself() {
    let tiny = Tiny::new();
    let more = "[loss.cosent]\n[optimizer.adamw]\nweight_decay = 0.1\n[schedule]\ndecay = 'cosine'\n[train]\nepochs = 2";
    let text = tiny.recipe(SCORED, more).to_toml().unwrap();
    for part in [
        "rate = 0.00002",
        "warmup_share = 0.1",
        "decay = \"cosine\"",
        "clip = 1.0",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let again = crate::recipe::Document::parse("r.toml", &text).unwrap();
    assert_eq!(again.text_recipe().unwrap().to_toml().unwrap(), text);
}
