//! `nearkin quickstart`

use super::train::{print_report, supervised};
use crate::arguments::Quickstart;
use crate::failure::Failure;
use crate::output;
use nearkin::recipe::Document;
use nearkin::train::{Setup, checkpoint};
use std::path::Path;

/// The recipe of the quickstart, part of the program.
pub const RECIPE: &str = include_str!("../../../../recipes/quickstart.toml");

/// Trains on the bundled glyphs and shows what the training was worth.
pub fn run(arguments: &Quickstart, json: bool) -> Result<(), Failure> {
    let folder = &arguments.out;
    let recipe = Document::parse("recipes/quickstart.toml", RECIPE)?.recipe()?;
    let begun = folder.join("recipe.toml");
    let other = checkpoint::newest(folder)?.is_some()
        && Document::read(&begun)?.recipe()?.to_toml()? != recipe.to_toml()?;
    if other || folder.join("model").exists() {
        return Err(Failure::usage(format!(
            "{}: another run is there already; remove it or name another with --out",
            folder.display()
        )));
    }
    let setup = Setup::new(recipe)?;
    if !json {
        output::line(
            "Characters in 20 typefaces: learning some scripts, then measured on scripts never seen.",
        )?;
        let parts = &setup.parts;
        output::line(format_args!(
            "{}; {} to train, {} to validate, {} to test",
            nearkin::data::summary(setup.feed.dataset()),
            parts.train.len(),
            parts.validation.len(),
            parts.test.len()
        ))?;
    }
    let report = supervised(&setup, folder)?;
    print_report(&report, json)?;
    if json { Ok(()) } else { next(&report.model) }
}

/// What to try with the model.
fn next(model: &Path) -> Result<(), Failure> {
    let model = model.display();
    let next = [
        (
            format!("nearkin search {model} glyphs IMAGE"),
            "what an image looks like",
        ),
        (
            format!("nearkin embed {model} glyphs -o vectors.npy"),
            "vectors for your own program",
        ),
        (
            "nearkin init PHOTOS -o recipe.toml".to_owned(),
            "your own class folders",
        ),
    ];
    let width = next
        .iter()
        .map(|(command, _)| command.chars().count())
        .max();
    let width = width.unwrap_or(0);
    output::line("\nNext:")?;
    for (command, what) in next {
        output::line(format_args!("  {command:width$}   {what}"))?;
    }
    Ok(())
}
