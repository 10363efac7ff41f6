//! `nearkin recipe`

use super::train::read;
use crate::arguments::{Recipe, RecipeAction};
use crate::failure::Failure;
use nearkin::train::Setup;

/// Checks or shows a recipe.
pub fn run(arguments: &Recipe, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        RecipeAction::Show(file) => {
            let recipe = read(&file.recipe, &file.set)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&recipe)?);
            } else {
                print!("{}", recipe.to_toml()?);
            }
        }
        RecipeAction::Check(file) => {
            let setup = Setup::new(read(&file.recipe, &file.set)?)?;
            let parts = [
                &setup.parts.train,
                &setup.parts.validation,
                &setup.parts.test,
            ]
            .map(Vec::len);
            let weights = setup.model()?.embedder.parameters().count();
            if json {
                let [train, validation, test] = parts;
                println!(
                    "{}",
                    serde_json::json!({ "ok": true, "train": train, "validation": validation, "test": test, "weights": weights })
                );
            } else {
                let [train, validation, test] = parts;
                println!("{}: ready to train", file.recipe.display());
                println!("  {}", nearkin::data::summary(setup.feed.dataset()));
                println!(
                    "  {train} items to train, {validation} to validate, {test} to test; {weights} weights"
                );
            }
        }
    }
    Ok(())
}
