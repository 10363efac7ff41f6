//! `nearkin quickstart`

use super::train::{print_report, supervised};
use crate::arguments::Quickstart;
use crate::failure::Failure;
use crate::output;
use nearkin::recipe::Document;
use nearkin::train::{Setup, checkpoint};

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
    if !json {
        let model = report.model.display();
        output::line("\nNext:")?;
        output::line(format_args!(
            "  nearkin search {model} glyphs IMAGE           what an image looks like"
        ))?;
        output::line(format_args!(
            "  nearkin embed {model} glyphs -o vectors.npy   vectors for your own program"
        ))?;
        output::line("  nearkin init PHOTOS -o recipe.toml            your own class folders")?;
    }
    Ok(())
}
