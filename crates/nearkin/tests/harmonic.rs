//! A new model trained to be compared with an old one: afterwards its vectors find those of the old one, and without that
//! training they do not.

use nearkin::data::ItemPair;
use nearkin::embed::{Embedded, embed};
use nearkin::evaluate::Roc;
use nearkin::recipe::Document;
use nearkin::train::{Setup, train};
use nearkin::verify::Paired;
use nearkin::{Control, Model, Outcome};
use nearkin_encoder::parameters::Parameters;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A short run on the bundled characters: Latin, Greek, … train, Hebrew and Thai are held out.
const RECIPE: &str = "[data.source.bundled]\nname = \"glyphs\"\n\
    [data.split.prefix]\nvalidation = ['Arabic/']\ntest = ['Hebrew/', 'Thai/']\n\
    [sampler.pk]\nclasses = 16\nper_class = 4\n[augment]\ncrop = 0.9\nshift = 0.06\n\
    [optimizer.adamw]\nrate = 5e-3\n[schedule]\nwarmup = 5\n\
    [train]\nsteps = 80\nevaluate_every = 80\nselect = 'last'\n[head]\ndim = 24\n";

/// The old network sees smaller images than the new one.
const OLD: &str = "seed = 1\n[input]\nheight = 16\nwidth = 16\ncolor = 'gray'\n\
    [network.convnet]\nwidths = [16, 32]\n[loss.multi_similarity]\n";
const NEW: &str = "seed = 2\n[input]\nheight = 20\nwidth = 20\ncolor = 'gray'\n\
    [network.convnet]\nwidths = [24, 32]\n";

fn document(network: &str, more: &str) -> Document {
    // What stands before the first table is of the document itself.
    let (seed, tables) = network.split_once('\n').unwrap();
    Document::parse("r.toml", &format!("{seed}\n{RECIPE}{tables}{more}")).unwrap()
}

fn trained(document: &Document, folder: &Path) -> Model {
    let setup = Setup::new(document.recipe().unwrap()).unwrap();
    let control = Control {
        observer: &mut |_| {},
        stop: &AtomicBool::new(false),
    };
    std::fs::create_dir(folder).unwrap();
    let outcome = train(&setup, folder, control).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    Model::load(&folder.join("model")).unwrap()
}

fn harmonic(old: &Path, start: &Path, more: &str) -> Document {
    let [old, start] = [old, start].map(|path| path.display().to_string());
    let tables = format!(
        "[harmonic]\nmodel = {old:?}\n[pretrained]\nweights = {start:?}\n{more}\n[loss.harmonic_triplet]\n"
    );
    document(NEW, &tables)
}

/// Held-out items by a model, and as many pairs of the same as of different characters.
fn held_out(document: &Document, model: &Model) -> (Embedded, Vec<ItemPair>) {
    let setup = Setup::new(document.recipe().unwrap()).unwrap();
    let items = &setup.parts.test;
    let embedded = embed(model, &setup.feed, items, &mut |_| {}).unwrap();
    let label = |item: usize| setup.feed.dataset().labels[item];
    let pairs = (0..items.len())
        .flat_map(|i| [1, 7 + i % 211].map(|step| [items[i], items[(i + step) % items.len()]]));
    let pairs = pairs.map(|[first, second]| ItemPair {
        first,
        second,
        same: label(first) == label(second),
        fold: None,
        line: 1,
    });
    (embedded, pairs.collect())
}

/// The area under the ROC curve of pairs whose first items are of one model, whose second of another.
fn auc(one: &Embedded, other: &Embedded, pairs: &[ItemPair]) -> f64 {
    let paired = Paired::between(one, other, pairs).unwrap();
    Roc::new(&paired.distances, &paired.same).unwrap().auc()
}

fn numbers(parameters: &Parameters, name: &str) -> Vec<f32> {
    let found = parameters.iter().find(|p| p.name == name).unwrap();
    found.var.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_new_model_finds_what_an_old_one_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let of_old = document(OLD, "");
    let of_new = document(NEW, "[loss.multi_similarity]\n");
    let old = trained(&of_old, &at("old"));
    let alone = trained(&of_new, &at("alone"));
    let first_stage = harmonic(
        &at("old/model"),
        &at("alone/model"),
        "fresh = ['embedding']\nfreeze = ['block']",
    );
    let layer = trained(&first_stage, &at("layer"));
    let second_stage = harmonic(&at("old/model"), &at("layer/model"), "");
    let whole = trained(&second_stage, &at("whole"));

    // Stage one trains the last layer alone, stage two all.
    let parameters = |model: &Model, name: &str| numbers(model.embedder.parameters(), name);
    let kernel = "block0.conv.weight";
    assert_eq!(parameters(&alone, kernel), parameters(&layer, kernel));
    assert_ne!(parameters(&layer, kernel), parameters(&whole, kernel));
    let last = "embedding.weight";
    assert_ne!(parameters(&alone, last), parameters(&layer, last));

    let (of_old_model, pairs) = held_out(&of_old, &old);
    let [alone, layer, whole] = [&alone, &layer, &whole].map(|model| held_out(&of_new, model).0);
    let old_alone = auc(&of_old_model, &of_old_model, &pairs);
    let untrained = auc(&alone, &of_old_model, &pairs);
    let [layer, whole] =
        [&layer, &whole].map(|new| [auc(new, &of_old_model, &pairs), auc(new, new, &pairs)]);
    let told = format!(
        "AUC: old {old_alone:.3}, independent to old {untrained:.3}, [to old, by itself] after stage one {layer:.3?}, two {whole:.3?}"
    );
    println!("{told}");
    assert!(old_alone > 0.8, "{told}");
    assert!((untrained - 0.5).abs() < 0.12, "chance: {told}");
    assert!(layer[0] > untrained + 0.15, "{told}");
    assert!(whole[0] > old_alone - 0.06, "{told}");
    assert!(whole[1] > old_alone - 0.06, "{told}");
}

#[test]
fn what_does_not_go_together_is_refused_at_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = Setup::new(document(OLD, "").recipe().unwrap()).unwrap();
    old.model().unwrap().save(folder.path()).unwrap();
    let refused = |tables: &str| {
        let document = document(NEW, tables);
        let error = Setup::new(document.recipe().unwrap()).err().unwrap();
        (error.recipe_key().unwrap().into_owned(), error.to_string())
    };
    let with_old = format!("[harmonic]\nmodel = {:?}\n", folder.path());
    let memory = "[loss.cross_batch_memory]\nsize = 60\n[loss.cross_batch_memory.of.loss.harmonic_triplet]\n";
    let missing = "[harmonic]\nmodel = 'nowhere'\n[loss.harmonic_triplet]\n";
    for (tables, key, part) in [
        (
            "[loss.harmonic_triplet]\n".to_owned(),
            "loss",
            "[harmonic] model = \"FOLDER\"",
        ),
        (
            format!("{with_old}[loss.triplet_margin]\n"),
            "loss",
            "expected harmonic_triplet, which goes with [harmonic], found triplet_margin",
        ),
        (format!("{with_old}{memory}"), "loss", "without a memory"),
        (missing.to_owned(), "harmonic.model", "nowhere"),
    ] {
        let (found, text) = refused(&tables);
        assert!(found == key && text.contains(part), "{found}: {text}");
    }
    let mut wider = document(NEW, &format!("{with_old}[loss.harmonic_triplet]\n"));
    assert!(Setup::new(wider.recipe().unwrap()).is_ok());
    let mut turned = wider.clone();
    turned.set("augment.turned_classes=true").unwrap();
    let error = Setup::new(turned.recipe().unwrap()).err().unwrap();
    assert_eq!(
        error.recipe_key().as_deref(),
        Some("augment.turned_classes")
    );
    wider.set("head.dim=32").unwrap();
    let error = Setup::new(wider.recipe().unwrap()).err().unwrap();
    assert_eq!(error.recipe_key().as_deref(), Some("head.dim"));
    assert!(
        error
            .to_string()
            .contains("expected 24, as the embeddings of"),
        "{error}"
    );
}
