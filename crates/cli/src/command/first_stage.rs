//! The first stage of a chain, where another run has trained it already.

use super::stages::{AFTER, Stage};
use super::train::resolved;
use crate::failure::Failure;
use crate::output;
use nearkin::recipe::Document;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies the run of a first stage that is not begun yet from that of another chain in which it is the same recipe. Later stages
/// name the model of the one before by its folder, so that theirs are never the same.
pub fn adopt(stages: &[Stage], others: &[PathBuf]) -> Result<(), Failure> {
    let [first, _, ..] = stages else {
        return Ok(());
    };
    if first.folder.exists() {
        return Ok(());
    }
    let wanted = resolved(&first.document)?;
    for other in others.iter().map(|other| innermost(other)) {
        let recipe = other.join("recipe.toml");
        if recipe.exists() && resolved(&Document::read(&recipe)?)? == wanted {
            output::note(format_args!("stage 1 is that of {}", other.display()));
            return copy(&other, &first.folder)
                .map_err(|e| Failure::run(format!("{}: {e}", first.folder.display())));
        }
    }
    Ok(())
}

/// The folder of a chain's first stage.
fn innermost(folder: &Path) -> PathBuf {
    let next = folder.join(AFTER);
    if next.exists() {
        innermost(&next)
    } else {
        folder.to_owned()
    }
}

/// A folder that is there whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let beside = to.with_extension("part");
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    copy_all(from, &beside)?;
    fs::rename(&beside, to)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
