//! `nearkin recipe`

use super::train::{read, setup};
use crate::arguments::{Recipe, RecipeAction};
use crate::failure::Failure;
use crate::output;

/// Checks or shows a recipe.
pub fn run(arguments: &Recipe, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        RecipeAction::Show(file) => {
            let recipe = read(&file.recipe, &file.set)?.recipe()?;
            if json {
                output::json(&recipe)?;
            } else {
                output::write(recipe.to_toml()?)?;
            }
        }
        RecipeAction::Check(file) => {
            let setup = setup(&read(&file.recipe, &file.set)?)?;
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
