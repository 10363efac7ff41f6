//! `nearkin recipe`

use super::train::{read, resolved, setup, text_setup};
use crate::arguments::{Recipe, RecipeAction};
use crate::failure::Failure;
use crate::output;
use nearkin::recipe::Document;
use std::path::Path;

/// Checks or shows a recipe.
pub fn run(arguments: &Recipe, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        RecipeAction::Show(file) => {
            let document = read(&file.recipe, &file.set)?;
            match (json, document.is_text()) {
                (true, true) => output::json(&document.text_recipe()?)?,
                (true, false) => output::json(&document.recipe()?)?,
                (false, _) => output::write(resolved(&document)?)?,
            }
        }
        RecipeAction::Check(file) => {
            let document = read(&file.recipe, &file.set)?;
            if document.is_text() {
                return check_text(&document, &file.recipe, json);
            }
            let setup = setup(&document)?;
            let parts = [
                &setup.parts.train,
                &setup.parts.validation,
                &setup.parts.test,
            ]
            .map(Vec::len);
            let weights = setup.model()?.embedder.parameters().count();
            if json {
                let [train, validation, test] = parts;
                output::line(
                    serde_json::json!({ "ok": true, "train": train, "validation": validation, "test": test, "weights": weights }),
                )?;
            } else {
                let [train, validation, test] = parts;
                output::line(format_args!("{}: ready to train", file.recipe.display()))?;
                output::line(format_args!(
                    "  {}",
                    nearkin::data::summary(setup.feed.dataset())
                ))?;
                output::line(format_args!(
                    "  {train} items to train, {validation} to validate, {test} to test; {weights} weights"
                ))?;
            }
        }
    }
    Ok(())
}

fn check_text(document: &Document, path: &Path, json: bool) -> Result<(), Failure> {
    let summary = text_setup(document)?.summary()?;
    if json {
        output::json(&summary)?;
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
