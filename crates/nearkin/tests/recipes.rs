//! Every recipe of the repository reads, and trains where its data is at hand.

use nearkin::recipe::Document;
use nearkin::train::{Setup, train};
use nearkin::{Control, Outcome};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect()
}

/// A recipe of any kind with every default written out.
fn resolved(document: &Document) -> String {
    document.any_recipe().unwrap().to_toml().unwrap()
}

#[test]
fn every_recipe_reads_and_writes_back_the_same() {
    assert!(recipes().len() >= 11);
    for path in recipes() {
        let mut chain = Document::chain(&path, &[]).unwrap();
        let mut document = chain.pop().unwrap();
        if !chain.is_empty() {
            document.begin_with(Path::new("model")).unwrap();
        }
        let once = resolved(&document);
        let again = resolved(&Document::parse("resolved", &once).unwrap());
        assert_eq!(once, again, "{}", path.display());
    }
}

/// MAP@R of the raw input and of a model trained for some steps.
fn short_run(recipe: &str, archive: &Path, steps: u64) -> (f64, f64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../recipes")
        .join(recipe);
    let mut document = Document::read(&path).unwrap();
    document
        .set(&format!("data.source.zip.path=\"{}\"", archive.display()))
        .unwrap();
    document.set(&format!("train.steps={steps}")).unwrap();
    let setup = Setup::new(document.recipe().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let control = Control {
        observer: &mut |_| {},
        stop: &AtomicBool::new(false),
    };
    let Outcome::Finished(report) = train(&setup, folder.path(), control).unwrap() else {
        unreachable!()
    };
    let map = |row: usize| report.rows[row].evaluation.retrieval.map_at_r.value;
    (map(0), map(2))
}

#[test]
fn training_beats_pixels_on_characters_and_faces_never_seen() {
    let Some(data) = std::env::var_os("NEARKIN_DATA")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
    else {
        println!("skipped: NEARKIN_DATA is not set");
        return;
    };
    for (recipe, archive, steps) in [
        ("omniglot.toml", "omniglot/images.zip", 60),
        ("orl-faces.toml", "orl-faces/images.zip", 60),
    ] {
        let (pixels, trained) = short_run(recipe, &data.join(archive), steps);
        println!("{recipe}: MAP@R {pixels:.3} raw, {trained:.3} after {steps} steps");
        assert!(
            trained > pixels,
            "{recipe}: MAP@R {pixels:.3} raw, {trained:.3} after {steps} steps"
        );
    }
}

/// Names of all keys of a table, those of the tables in it included.
fn keys(table: &toml::Table) -> Vec<String> {
    let inside = |(key, value): (&String, &toml::Value)| {
        let below = value.as_table().map(keys).unwrap_or_default();
        [vec![key.clone()], below].concat()
    };
    table.iter().flat_map(inside).collect()
}

#[test]
fn the_page_on_augmentation_names_every_key() {
    let text = "[data.source.bundled]\nname = \"glyphs\"\n[network.convnet]\n[loss.contrastive]\n\
        [augment.resized_crop]\n[augment.affine]\n[augment.color_jitter]\n[augment.erase]\n";
    let written = resolved(&Document::parse("r.toml", text).unwrap());
    let recipe: toml::Table = toml::from_str(&written).unwrap();
    let keys = keys(recipe["augment"].as_table().unwrap());
    assert!(keys.len() > 15, "{keys:?}");
    let page = include_str!("../../../docs/augment.md");
    for key in keys {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_page_on_data_names_every_reader_and_key() {
    let page = include_str!("../../../docs/data.md");
    let named = |name: &str| assert!(page.contains(&format!("`{name}`")), "{name}");
    let unknown = Document::parse("r.toml", "[data.source.nothing]\n[loss.contrastive]\n");
    let error = unknown.unwrap().recipe().unwrap_err().to_string();
    let readers: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(readers.len() > 12, "{error}");
    for reader in readers {
        named(reader);
    }
    let text = "[data.source.manifest]\npath = \"t.csv\"\nbytes_column = \"a\"\nsplit_column = \"b\"\n\
        camera_column = \"c\"\nbox_columns = [\"a\", \"b\", \"c\", \"d\"]\nroot = \".\"\nlandmark_columns = \
        [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\"]\n\
        [input]\nalign = \"arcface\"\n[network.convnet]\n[loss.contrastive]\n";
    let written = resolved(&Document::parse("r.toml", text).unwrap());
    let recipe: toml::Table = toml::from_str(&written).unwrap();
    let of_manifest = keys(recipe["data"]["source"]["manifest"].as_table().unwrap());
    let of_input = keys(recipe["input"].as_table().unwrap());
    assert_eq!((of_manifest.len(), of_input.len()), (9, 7));
    for key in [of_manifest, of_input].concat() {
        named(&key);
    }
}
