//! `nearkin recipe`

use super::opened::{Opened, look};
use super::stages::{self, Stage};
use super::train::resolved;
use crate::arguments::{Recipe, RecipeAction, RecipeFile};
use crate::failure::Failure;
use crate::output;
use nearkin::feed::Feed;
use nearkin::recipe::Document;
use nearkin::split::Parts;
use nearkin::text::train::Summary;
use serde_json::{Value, json};

/// Checks or shows a recipe.
pub fn run(arguments: &Recipe, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        RecipeAction::Show(file) => show(file, json),
        RecipeAction::Check(file) => check(file, json),
    }
}

/// Prints a recipe as a run of it has it, and what it begins with where other recipes train before it.
fn show(file: &RecipeFile, json: bool) -> Result<(), Failure> {
    let documents = stages::documents(&file.recipe, &file.set)?;
    let folder = stages::default_folder(&file.recipe);
    let Some(Stage { document, folder }) = stages::placed(documents, &folder)?.pop() else {
        return Ok(());
    };
    if json {
        let mut shown = serde_json::to_value(document.any_recipe()?)?;
        if let Some(after) = document.after() {
            shown["after"] = json!(after);
        }
        return output::json(&shown);
    }
    if let Some(after) = document.after() {
        output::line(format_args!(
            "# Begins with the model that {} trains; in a run of `nearkin train` into {1} it is {1}/after/model.",
            after.display(),
            folder.display()
        ))?;
    }
    output::write(resolved(&document)?)
}

/// Opens a recipe and those before it, and says what each comes to.
fn check(file: &RecipeFile, json: bool) -> Result<(), Failure> {
    let (mut said, mut told) = (Value::Null, Vec::new());
    look(
        &stages::documents(&file.recipe, &file.set)?,
        |document, opened| {
            let (mut facts, text) = match opened {
                Opened::Items(setup) => {
                    let weights = setup.model()?.embedder.parameters().count();
                    of_items(&setup.feed, &setup.parts, weights)
                }
                Opened::Pairs(setup) => {
                    let weights = setup.model()?.scorer.parameters().count();
                    of_items(&setup.feed, &setup.parts, weights)
                }
                Opened::Text(setup) => of_text(&setup.summary()?)?,
                Opened::CrossEncoder(setup) => of_text(&setup.summary()?)?,
            };
            told.push(tell(document, &text));
            if !said.is_null() {
                facts["after"] = said.take();
            }
            said = facts;
            Ok(())
        },
    )?;
    if json {
        output::json(&said)
    } else {
        output::line(told.join("\n"))
    }
}

fn tell(document: &Document, text: &str) -> String {
    let begins = document.after().map_or_else(String::new, |after| {
        let after = after.display();
        format!("  begins with the model that {after} trains\n")
    });
    format!("{}: ready to train\n{begins}{text}", document.name())
}

/// What is known of a recipe of labeled items, for machines and for people.
fn of_items(feed: &Feed, parts: &Parts, weights: usize) -> (Value, String) {
    let parts = [&parts.train, &parts.validation, &parts.test];
    let [train, validation, test] = parts.map(Vec::len);
    let facts = json!({ "ok": true, "train": train, "validation": validation, "test": test, "weights": weights });
    let dataset = nearkin::data::summary(feed.dataset());
    let text = format!(
        "  {dataset}\n  {train} items to train, {validation} to validate, {test} to test; {weights} weights"
    );
    (facts, text)
}

/// The same of a recipe on text.
fn of_text(summary: &Summary) -> Result<(Value, String), Failure> {
    let counted = |items: &[(String, usize)]| {
        let items = items.iter().map(|(name, count)| format!("{name} {count}"));
        items.collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![format!("  items to train: {}", counted(&summary.data))];
    if !summary.evaluate.is_empty() {
        lines.push(format!(
            "  items to measure: {}",
            counted(&summary.evaluate)
        ));
    }
    let damaged = summary.damaged.iter();
    lines.extend(damaged.map(|(name, damage)| format!("  {name}: left out {damage}")));
    let (steps, weights) = (summary.steps, summary.weights);
    lines.push(format!("  {steps} steps; {weights} weights learn"));
    Ok((serde_json::to_value(summary)?, lines.join("\n")))
}
