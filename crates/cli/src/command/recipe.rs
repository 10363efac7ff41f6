//! `nearkin recipe`

use super::train::{Opened, opened, read, resolved};
use crate::arguments::{Recipe, RecipeAction};
use crate::failure::Failure;
use crate::output;
use nearkin::feed::Feed;
use nearkin::split::Parts;
use nearkin::text::train::Summary;
use std::path::Path;

/// Checks or shows a recipe.
pub fn run(arguments: &Recipe, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        RecipeAction::Show(file) => {
            let document = read(&file.recipe, &file.set)?;
            if json {
                output::json(&document.any_recipe()?)?;
            } else {
                output::write(resolved(&document)?)?;
            }
        }
        RecipeAction::Check(file) => {
            let document = read(&file.recipe, &file.set)?;
            match opened(&document)? {
                Opened::Items(setup) => {
                    let weights = setup.model()?.embedder.parameters().count();
                    let opened = (&setup.feed, &setup.parts, weights);
                    check_items(opened, &file.recipe, json)?;
                }
                Opened::Pairs(setup) => {
                    let weights = setup.model()?.scorer.parameters().count();
                    let opened = (&setup.feed, &setup.parts, weights);
                    check_items(opened, &file.recipe, json)?;
                }
                Opened::Text(setup) => check_text(&setup.summary()?, &file.recipe, json)?,
                Opened::CrossEncoder(setup) => check_text(&setup.summary()?, &file.recipe, json)?,
            }
        }
    }
    Ok(())
}

fn check_items(
    (feed, parts, weights): (&Feed, &Parts, usize),
    path: &Path,
    json: bool,
) -> Result<(), Failure> {
    let parts = [&parts.train, &parts.validation, &parts.test];
    let [train, validation, test] = parts.map(Vec::len);
    if json {
        return output::line(
            serde_json::json!({ "ok": true, "train": train, "validation": validation, "test": test, "weights": weights }),
        );
    }
    output::line(format_args!("{}: ready to train", path.display()))?;
    let dataset = nearkin::data::summary(feed.dataset());
    output::line(format_args!("  {dataset}"))?;
    output::line(format_args!(
        "  {train} items to train, {validation} to validate, {test} to test; {weights} weights"
    ))
}

fn check_text(summary: &Summary, path: &Path, json: bool) -> Result<(), Failure> {
    if json {
        output::json(summary)?;
        return Ok(());
    }
    let counted = |items: &[(String, usize)]| {
        let items = items.iter().map(|(name, count)| format!("{name} {count}"));
        items.collect::<Vec<_>>().join(", ")
    };
    output::line(format_args!("{}: ready to train", path.display()))?;
    output::line(format_args!("  items to train: {}", counted(&summary.data)))?;
    if !summary.evaluate.is_empty() {
        let measured = counted(&summary.evaluate);
        output::line(format_args!("  items to measure: {measured}"))?;
    }
    let (steps, weights) = (summary.steps, summary.weights);
    output::line(format_args!("  {steps} steps; {weights} weights learn"))?;
    Ok(())
}
