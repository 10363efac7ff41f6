//! `nearkin train`

use super::subject::left_out;
use crate::arguments::Train;
use crate::failure::Failure;
use crate::output;
use crate::progress::TrainingBar;
use crate::table;
use nearkin::recipe::{Document, Recipe};
use nearkin::train::{Report, Setup, checkpoint, plan_steps, train};
use nearkin::{Control, Event, Outcome};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trains, prints the table, and says what to do next.
pub fn run(arguments: &Train, json: bool) -> Result<(), Failure> {
    let folder = folder(arguments)?;
    let document = if arguments.resume {
        stored(arguments, &folder)?
    } else {
        fresh(arguments, &folder)?
    };
    let mut setup = setup(&document)?;
    if let Some(budget) = arguments.budget {
        let steps = plan_steps(&setup, budget)?;
        fit(&mut setup.recipe, steps);
    }
    if arguments.profile {
        nearkin::profile::start();
    }
    let report = supervised(&setup, &folder)?;
    if arguments.profile {
        profile();
    }
    print_report(&report, json)
}

/// Shortens a run to so many steps, its schedule in proportion, and says so.
fn fit(recipe: &mut Recipe, steps: NonZeroU64) {
    let full = recipe.train.steps;
    recipe.schedule = recipe.schedule.fitted(full.get(), steps.get());
    recipe.train.steps = steps;
    output::note(if steps < full {
        format!("{steps} of {full} steps fit the budget")
    } else {
        format!("all {full} steps fit the budget")
    });
}

/// Trains with a progress bar until done or stopped by Ctrl-C.
pub fn supervised(setup: &Setup, folder: &Path) -> Result<Report, Failure> {
    create(folder, &setup.recipe)?;
    let stop = Arc::new(AtomicBool::new(false));
    let handler = stop.clone();
    // A second Ctrl-C ends the process at once: the newest checkpoint is whole in any case.
    let installed = ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if installed.is_err() {
        output::note("warning: Ctrl-C will end the run without a checkpoint of its last steps");
    }
    let bar = TrainingBar::new();
    let mut observer = |event: Event| bar.show(&event);
    let outcome = train(
        setup,
        folder,
        Control {
            observer: &mut observer,
            stop: &stop,
        },
    );
    bar.finish();
    match outcome? {
        Outcome::Finished(report) => Ok(*report),
        Outcome::Stopped { step, steps } => Err(Failure::stopped(format!(
            "stopped after step {step} of {steps}; go on with: nearkin train --resume --out {}",
            folder.display()
        ))),
    }
}

/// The table of a finished run for people, or the report for machines.
pub fn print_report(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    output::line(format_args!(
        "On the {} part, in percent, with half the 95% bootstrap interval:",
        report.part
    ))?;
    output::line(table::report(report))?;
    if let Some(row) = report.rows.last() {
        output::line(&row.evaluation.retrieval.convention)?;
    }
    if let Some(text) = left_out(&report.damaged) {
        output::line(text)?;
    }
    let model = report.model.display();
    output::line(format_args!(
        "model ({} weights, step {}): {model}",
        report.selected, report.step
    ))?;
    Ok(())
}

/// Opens what a recipe names; what does not fit is placed in the recipe.
pub fn setup(document: &Document) -> Result<Setup, Failure> {
    Setup::new(document.recipe()?).map_err(|error| match error.recipe_key() {
        Some(key) => document.error_at(&key, &error.to_string()).into(),
        None => error.into(),
    })
}

fn folder(arguments: &Train) -> Result<PathBuf, Failure> {
    match (&arguments.out, &arguments.recipe) {
        (Some(out), _) => Ok(out.clone()),
        (None, Some(recipe)) => {
            let stem = recipe.file_stem().unwrap_or(recipe.as_os_str());
            Ok(Path::new("runs").join(stem))
        }
        (None, None) => Err(Failure::usage("--resume needs the run: --out DIR")),
    }
}

/// The recipe of a new run.
fn fresh(arguments: &Train, folder: &Path) -> Result<Document, Failure> {
    // A run that failed before its first checkpoint is nothing to keep.
    if checkpoint::newest(folder)?.is_some() || folder.join("model").exists() {
        return Err(Failure::usage(format!(
            "{0}: a run is there already; go on with `nearkin train --resume --out {0}`, or name another with --out",
            folder.display()
        )));
    }
    let Some(path) = &arguments.recipe else {
        return Err(Failure::usage("expected a recipe or data"));
    };
    read(path, &arguments.set)
}

/// Reads a recipe, or writes one for data, and applies the changes.
pub fn read(path: &Path, changes: &[String]) -> Result<Document, Failure> {
    let is_recipe = path.extension().is_some_and(|e| e == "toml");
    let mut document = if is_recipe {
        Document::read(path)?
    } else {
        Document::parse(
            &format!("recipe for {}", path.display()),
            &nearkin::init::recipe_for(path)?,
        )?
    };
    for change in changes {
        document.set(change)?;
    }
    Ok(document)
}

/// The recipe that a run began with.
fn stored(arguments: &Train, folder: &Path) -> Result<Document, Failure> {
    let path = folder.join("recipe.toml");
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{}: no run here, nothing to resume",
            folder.display()
        )));
    }
    let document = Document::read(&path)?;
    let recipe = document.recipe()?;
    if let Some(given) = &arguments.recipe {
        if read(given, &arguments.set)?.recipe()?.to_toml()? != recipe.to_toml()? {
            return Err(Failure::usage(format!(
                "{} is not the recipe that the run began with ({}); leave it out to go on, or name another --out",
                given.display(),
                path.display()
            )));
        }
    } else if !arguments.set.is_empty() {
        return Err(Failure::usage(
            "a run goes on with the recipe it began with: --set cannot change it",
        ));
    }
    if checkpoint::newest(folder)?.is_none() {
        output::note("no checkpoint yet: starting from the beginning");
    }
    Ok(document)
}

/// Makes the run folder and writes the recipe, which stays the same from the first checkpoint on.
fn create(folder: &Path, recipe: &Recipe) -> Result<(), Failure> {
    let path = folder.join("recipe.toml");
    if !path.exists() || checkpoint::newest(folder)?.is_none() {
        nearkin::create_folder(folder)?;
        nearkin::write_beside(&path, recipe.to_toml()?.as_bytes())?;
    }
    Ok(())
}

/// Where the time of the training steps went; reading data ahead and evaluation are not part of a step.
fn profile() {
    let profile = nearkin::profile::spent();
    let total = profile.total.as_secs_f64();
    let mut table = table::new(&["operation", "seconds", "share"]);
    let mut row = |name: &str, seconds: f64| {
        let share = 100.0 * seconds / total.max(f64::MIN_POSITIVE);
        table.add_row([
            name.to_owned(),
            format!("{seconds:.2}"),
            format!("{share:.1} %"),
        ]);
    };
    let mut rest = total;
    for (name, time) in &profile.operations {
        rest -= time.as_secs_f64();
        row(name, time.as_secs_f64());
    }
    row("everything else", rest);
    row("all training steps", total);
    row("of it GEMM and convolution", profile.products.as_secs_f64());
    table::numbers_right(&mut table);
    output::note(&table);
}
