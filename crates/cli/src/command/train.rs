//! `nearkin train`

use super::opened::{Opened, look, opened};
use super::retrieval::single_class;
use super::stages::{self, Stage};
use super::subject::{left_out, say_left_out};
use crate::arguments::Train;
use crate::failure::Failure;
use crate::output;
use crate::progress::TrainingBar;
use crate::table;
use nearkin::pair_network::PairReport;
use nearkin::recipe::Document;
use nearkin::text::train::TextReport;
use nearkin::train::{Report, Task, checkpoint, plan_steps, train};
use nearkin::{Control, Event, Outcome};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trains, prints the table, and says what to do next.
pub fn run(arguments: &Train, json: bool) -> Result<(), Failure> {
    let folder = folder(arguments)?;
    if let Some(count) = arguments.seeds {
        return super::seeds::run(arguments, &folder, count, json);
    }
    let stages = if arguments.resume {
        stored(arguments, &folder)?
    } else {
        fresh(arguments, &folder)?
    };
    let Some(Stage { document, .. }) = stages::up_to_last(stages)? else {
        return Ok(());
    };
    match opened(&document)? {
        Opened::Items(setup) => {
            say_left_out(setup.feed.dataset());
            print_report(&once(*setup, arguments, &folder)?, json)
        }
        Opened::Pairs(setup) => {
            say_left_out(setup.feed.dataset());
            print_pair_report(&once(*setup, arguments, &folder)?, json)
        }
        Opened::Text(setup) => print_text_report(&once(*setup, arguments, &folder)?, json),
        Opened::CrossEncoder(setup) => print_text_report(&once(*setup, arguments, &folder)?, json),
    }
}

/// One run, within its budget and profiled where asked.
fn once<T: Task>(mut task: T, arguments: &Train, folder: &Path) -> Result<T::Report, Failure> {
    if let Some(budget) = arguments.budget {
        let steps = plan_steps(&task, budget)?;
        fit(&mut task, steps);
    }
    if arguments.profile {
        nearkin::profile::start();
    }
    let report = supervised(&task, folder)?;
    if arguments.profile {
        profile();
    }
    Ok(report)
}

/// Shortens a run to so many steps, its schedule in proportion, and says so.
fn fit(task: &mut impl Task, steps: NonZeroU64) {
    let full = task.course().train.steps;
    task.shorten(steps);
    output::note(if steps < full {
        format!("{steps} of {full} steps fit the budget")
    } else {
        format!("all {full} steps fit the budget")
    });
}

/// Trains with a progress bar until done or stopped by Ctrl-C.
pub fn supervised<T: Task>(task: &T, folder: &Path) -> Result<T::Report, Failure> {
    supervised_in(folder, task, folder)
}

/// The same in a folder of the run `whole`, which goes on where this one stops.
pub fn supervised_in<T: Task>(whole: &Path, task: &T, folder: &Path) -> Result<T::Report, Failure> {
    create(folder, &task.recipe()?)?;
    let stop = stop_on_ctrl_c();
    let bar = TrainingBar::new();
    let mut observer = |event: Event| bar.show(&event);
    let outcome = train(
        task,
        folder,
        Control {
            observer: &mut observer,
            stop,
        },
    );
    bar.finish();
    match outcome? {
        Outcome::Finished(report) => Ok(*report),
        Outcome::Stopped { step, steps } => Err(Failure::stopped(format!(
            "stopped after step {step} of {steps}; go on with: nearkin train --resume --out {}",
            whole.display()
        ))),
    }
}

/// What Ctrl-C sets, which is said at once: a measurement may last for minutes. A second Ctrl-C ends the process there
/// and then: the newest checkpoint is whole in any case.
fn stop_on_ctrl_c() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            output::note(
                "stops after the step or measurement under way; a second Ctrl-C ends it at once (the newest checkpoint stays)",
            );
        });
        if installed.is_err() {
            output::note("warning: Ctrl-C will end the run without a checkpoint of its last steps");
        }
    });
    &STOP
}

/// What stands in place of a table where all items trained.
const UNMEASURED: &str =
    "Nothing was measured: every item trained, data.split sets none apart to test or to validate";

/// The table of a finished run for people, or the report for machines.
pub fn print_report(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    if let Some(row) = report.rows.last() {
        output::line(format_args!(
            "On the {} part, in percent, with half the 95% bootstrap interval:",
            report.part
        ))?;
        output::line(table::report(report))?;
        output::line(&row.evaluation.retrieval.convention)?;
        single_class(&row.evaluation).map_or(Ok(()), output::line)?;
    } else {
        output::line(UNMEASURED)?;
    }
    if let Some(text) = left_out(&report.damaged) {
        output::line(text)?;
    }
    print_model(&report.model, (report.selected, report.step))
}

/// The same of a network of pairs.
fn print_pair_report(report: &PairReport, json: bool) -> Result<(), Failure> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    if let Some(row) = report.rows.last() {
        output::line(format_args!("On the {} part, in percent:", report.part))?;
        output::line(table::pair_report(report))?;
        let reid = &row.found.reid;
        output::line(format_args!(
            "{} queries, {} gallery items; rank-k: {} draws of one item an identity, mean ± deviation; mAP with half the 95% bootstrap\n\
             interval; same, different: mean score; `nearkin evaluate --protocol reid` measures all images, and takes longer",
            reid.queries,
            reid.gallery,
            reid.single_shot.first().map_or(0, |(_, over)| over.draws)
        ))?;
    } else {
        output::line(UNMEASURED)?;
    }
    if let Some(text) = left_out(&report.damaged) {
        output::line(text)?;
    }
    print_model(&report.model, (report.selected, report.step))
}

/// The same of a run on text.
fn print_text_report(report: &TextReport, json: bool) -> Result<(), Failure> {
    if json {
        output::json(report)?;
        return Ok(());
    }
    if !report.rows.is_empty() {
        output::line("In percent, with half the 95% bootstrap interval:")?;
        output::line(table::text_report(report))?;
    }
    let sources = report.data.iter().chain(&report.evaluate);
    for source in sources.filter(|source| source.damaged.rows > 0) {
        output::line(format_args!("{}: left out {}", source.name, source.damaged))?;
    }
    print_model(&report.model, (report.selected, report.step))
}

/// Where the model is, and which weights of the run it has.
fn print_model(folder: &Path, (selected, step): (&str, u64)) -> Result<(), Failure> {
    let folder = folder.display();
    output::line(format_args!(
        "model ({selected} weights, step {step}): {folder}"
    ))
}

/// The recipe of a document with every default written out.
pub fn resolved(document: &Document) -> Result<String, Failure> {
    Ok(document.any_recipe()?.to_toml()?)
}

fn folder(arguments: &Train) -> Result<PathBuf, Failure> {
    match (&arguments.out, &arguments.recipe) {
        (Some(out), _) => Ok(out.clone()),
        (None, Some(recipe)) => Ok(stages::default_folder(recipe)),
        (None, None) => Err(Failure::usage("--resume needs the run: --out DIR")),
    }
}

/// The recipes of a new run, each written into its folder: --resume finds them there also before the last stage begins.
fn fresh(arguments: &Train, folder: &Path) -> Result<Vec<Stage>, Failure> {
    let Some(path) = &arguments.recipe else {
        return Err(Failure::usage("expected a recipe or data"));
    };
    let documents = stages::documents(path, &arguments.set)?;
    let stages = stages::placed(documents.clone(), folder)?;
    let Some((last, earlier)) = stages.split_last() else {
        return Ok(stages);
    };
    // A run that failed before its first checkpoint is nothing to keep.
    if checkpoint::newest(&last.folder)?.is_some() || last.folder.join("model").exists() {
        return Err(Failure::usage(format!(
            "{0}: a run is there already; go on with `nearkin train --resume --out {0}`, or name another with --out",
            folder.display()
        )));
    }
    // What an earlier stage has learned stays, so that a last one that did not begin can be mended.
    for stage in earlier {
        super::seeds::check_same(&stage.document, &stage.folder)?;
    }
    if stages.len() > 1 {
        if arguments.budget.is_some() {
            return Err(Failure::usage(
                "--budget fits the steps of one recipe, and this one has others before it: train those first",
            ));
        }
        look(&documents, |_, _| Ok(()))?;
        for stage in &stages {
            create(&stage.folder, &resolved(&stage.document)?)?;
        }
    }
    Ok(stages)
}

/// The recipes that a run began with.
fn stored(arguments: &Train, folder: &Path) -> Result<Vec<Stage>, Failure> {
    let path = folder.join("recipe.toml");
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{}: no run here, nothing to resume",
            folder.display()
        )));
    }
    let stages = stages::begun(folder)?;
    if let Some(given) = &arguments.recipe {
        let given_stages = stages::placed(stages::documents(given, &arguments.set)?, folder)?;
        if !stages::same(&given_stages, &stages)? {
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
    let newest = match stages.first() {
        Some(first) => checkpoint::newest(&first.folder)?,
        None => None,
    };
    if newest.is_none() {
        output::note("no checkpoint yet: starting from the beginning");
    }
    Ok(stages)
}

/// Makes the run folder and writes the recipe, which stays the same from the first checkpoint on.
fn create(folder: &Path, recipe: &str) -> Result<(), Failure> {
    let path = folder.join("recipe.toml");
    if !path.exists() || checkpoint::newest(folder)?.is_none() {
        nearkin::create_folder(folder)?;
        nearkin::write_beside(&path, recipe.as_bytes())?;
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
