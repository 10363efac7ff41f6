//! Training in stages: recipes that go on from the model of another, `after = "first.toml"`.

use super::opened::{Opened, opened};
use super::train::{resolved, supervised_in};
use crate::failure::Failure;
use crate::output;
use nearkin::recipe::Document;
use std::path::{Path, PathBuf};

/// The folder, inside that of a run, of the run whose model it goes on from.
pub const AFTER: &str = "after";

/// A recipe of a chain, and the folder of its run.
pub struct Stage {
    pub document: Document,
    pub folder: PathBuf,
}

/// The recipe of a file with those before it, the first to train first; or that for data.
pub fn documents(path: &Path, changes: &[String]) -> Result<Vec<Document>, Failure> {
    if path.extension().is_some_and(|e| e == "toml") {
        return Ok(Document::chain(path, changes)?);
    }
    let name = format!("recipe for {}", path.display());
    let mut document = Document::parse(&name, &nearkin::init::recipe_for(path)?)?;
    for change in changes {
        document.set(change)?;
    }
    Ok(vec![document])
}

/// The folder of a recipe's runs where none is named.
pub fn default_folder(recipe: &Path) -> PathBuf {
    let stem = recipe.file_stem().unwrap_or(recipe.as_os_str());
    Path::new("runs").join(stem)
}

/// Each recipe with its folder, and with the model of the one before. A recipe that cannot be is better known before the
/// first stage than after hours of it.
pub fn placed(documents: Vec<Document>, folder: &Path) -> Result<Vec<Stage>, Failure> {
    let mut folders = vec![folder.to_owned()];
    for place in 1..documents.len() {
        folders.push(folders[place - 1].join(AFTER));
    }
    let mut stages = Vec::new();
    for (number, (mut document, folder)) in documents
        .into_iter()
        .zip(folders.into_iter().rev())
        .enumerate()
    {
        if number > 0 {
            document.begin_with(&folder.join(AFTER).join("model"))?;
        }
        document.any_recipe()?;
        stages.push(Stage { document, folder });
    }
    Ok(stages)
}

/// The stages of a run that was begun, as their folders have them.
pub fn begun(folder: &Path) -> Result<Vec<Stage>, Failure> {
    let mut stages = Vec::new();
    let mut next = folder.to_owned();
    loop {
        let document = Document::read(&next.join("recipe.toml"))?;
        let before = next.join(AFTER);
        let folder = std::mem::replace(&mut next, before);
        stages.push(Stage { document, folder });
        if !next.join("recipe.toml").exists() {
            stages.reverse();
            return Ok(stages);
        }
    }
}

/// Whether two chains are the same recipes with all defaults written out.
pub fn same(stages: &[Stage], others: &[Stage]) -> Result<bool, Failure> {
    let texts = |stages: &[Stage]| -> Result<Vec<String>, Failure> {
        stages
            .iter()
            .map(|stage| resolved(&stage.document))
            .collect()
    };
    Ok(texts(stages)? == texts(others)?)
}

/// Trains all but the last, each from the model of the one before, and returns the last.
pub fn up_to_last(mut stages: Vec<Stage>) -> Result<Option<Stage>, Failure> {
    let Some(last) = stages.pop() else {
        return Ok(None);
    };
    let count = stages.len() + 1;
    for (number, Stage { document, folder }) in (1..).zip(&stages) {
        output::note(format_args!(
            "stage {number} of {count}: {}",
            folder.display()
        ));
        match opened(document)? {
            Opened::Items(setup) => drop(supervised_in(&last.folder, &*setup, folder)?),
            Opened::Pairs(setup) => drop(supervised_in(&last.folder, &*setup, folder)?),
            Opened::Text(setup) => drop(supervised_in(&last.folder, &*setup, folder)?),
            Opened::CrossEncoder(setup) => drop(supervised_in(&last.folder, &*setup, folder)?),
        }
    }
    if count > 1 {
        output::note(format_args!(
            "stage {count} of {count}: {}",
            last.folder.display()
        ));
    }
    Ok(Some(last))
}
