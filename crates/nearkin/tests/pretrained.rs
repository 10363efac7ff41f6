//! Training that begins with stored weights: what is frozen stays, what is fresh starts anew, what does not fit is named.

use nearkin::recipe::Document;
use nearkin::train::{Setup, train};
use nearkin::{Control, Model, Outcome};
use nearkin_encoder::parameters::Parameters;
use nearkin_encoder::weights;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A short run of a narrow residual network on the bundled characters.
fn recipe(weights: &Path, more: &str) -> Document {
    let text = format!(
        "[data.source.bundled]\nname = \"glyphs\"\n[sampler.pk]\nclasses = 4\nper_class = 2\n\
         [input]\nheight = 8\nwidth = 8\ncolor = \"gray\"\n[network.resnet]\nblocks = [1, 1]\nwidth = 4\n\
         [head]\ndim = 6\n[loss.triplet_margin]\n[train]\nsteps = 3\nevaluate_every = 3\n\
         [pretrained]\nweights = {:?}\n{more}",
        weights.display().to_string()
    );
    Document::parse("fine.toml", &text).unwrap()
}

fn without_pretrained(weights: &Path) -> Setup {
    let mut recipe = recipe(weights, "").recipe().unwrap();
    recipe.pretrained = None;
    recipe.seed = 5;
    Setup::new(recipe).unwrap()
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

fn numbers(parameters: &Parameters, name: &str) -> Vec<f32> {
    let found = parameters.iter().find(|p| p.name == name).unwrap();
    found.var.flatten_all().unwrap().to_vec1().unwrap()
}

fn error(document: &Document) -> String {
    match Setup::new(document.recipe().unwrap()) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn frozen_layers_and_held_statistics_stay_and_the_rest_learns() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("start.safetensors");
    let start = without_pretrained(&file).model().unwrap();
    weights::save(start.embedder.parameters(), &file).unwrap();
    let before = start.embedder.parameters();

    let frozen = trained(
        &recipe(&file, "freeze = ['conv1', 'bn1', 'layer1']"),
        &folder.path().join("a"),
    );
    let after = frozen.embedder.parameters();
    for name in [
        "conv1.weight",
        "bn1.weight",
        "bn1.running_mean",
        "layer1.0.bn2.running_var",
    ] {
        assert_eq!(numbers(before, name), numbers(after, name), "{name}");
    }
    for name in [
        "layer2.0.conv1.weight",
        "layer2.0.bn1.running_mean",
        "embedding.weight",
    ] {
        assert_ne!(numbers(before, name), numbers(after, name), "{name}");
    }

    let held = trained(
        &recipe(&file, "hold_statistics = true"),
        &folder.path().join("b"),
    );
    let after = held.embedder.parameters();
    for (name, stays) in [
        ("layer2.0.bn1.running_mean", true),
        ("bn1.running_var", true),
        ("bn1.weight", false),
    ] {
        assert_eq!(
            numbers(before, name) == numbers(after, name),
            stays,
            "{name}"
        );
    }
}

#[test]
fn what_is_fresh_and_a_head_that_is_not_there_start_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("start.safetensors");
    let start = without_pretrained(&file).model().unwrap();
    let mut tensors = weights::tensors(start.embedder.parameters()).unwrap();
    tensors.retain(|name, _| !name.starts_with("embedding"));
    weights::write(&tensors, &file).unwrap();
    let before = start.embedder.parameters();

    let document = recipe(&file, "fresh = ['layer2']");
    let model = Setup::new(document.recipe().unwrap())
        .unwrap()
        .model()
        .unwrap();
    let after = model.embedder.parameters();
    assert_eq!(
        numbers(before, "layer1.0.conv1.weight"),
        numbers(after, "layer1.0.conv1.weight")
    );
    for name in ["layer2.0.conv1.weight", "embedding.weight"] {
        assert_ne!(numbers(before, name), numbers(after, name), "{name}");
    }
}

#[test]
fn weights_of_another_network_and_misspelled_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("start.safetensors");
    let start = without_pretrained(&file).model().unwrap();
    weights::save(start.embedder.parameters(), &file).unwrap();
    let mut wider = recipe(&file, "");
    wider.set("network.resnet.width=6").unwrap();
    let found = error(&wider);
    assert!(
        found.contains("\"conv1.weight\" has shape [4, 1, 3, 3], expected [6, 1, 3, 3]"),
        "{found}"
    );
    let found = error(&recipe(&file, "freeze = ['layer9']"));
    assert!(
        found.contains("pretrained.freeze: expected the start of a weight's name (conv1.weight,"),
        "{found}"
    );
    let found = error(&recipe(&folder.path().join("absent.safetensors"), ""));
    assert!(found.contains("absent.safetensors"), "{found}");
    // The folder of a model serves as well as a file.
    start.save(folder.path()).unwrap();
    let saved = recipe(folder.path(), "");
    assert!(Setup::new(saved.recipe().unwrap()).is_ok());
}
