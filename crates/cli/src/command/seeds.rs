//! `nearkin train --seeds`: the same recipe several times, to see what chance is worth.

use super::train::{Opened, opened, read, resolved, supervised};
use crate::arguments::Train;
use crate::failure::Failure;
use crate::{output, table};
use nearkin::recipe::Document;
use nearkin::text::train::TextReport;
use nearkin::train::Report;
use serde::Serialize;
use std::num::NonZeroU16;
use std::path::Path;

/// A score over all seeds.
#[derive(Serialize)]
struct Spread {
    /// What was measured.
    name: String,
    mean: f64,
    /// Standard deviation, of a sample; none of a single run.
    std: Option<f64>,
    /// One value for each seed.
    values: Vec<f64>,
}

/// Trains with `count` seeds from the recipe's own on, each in a folder of its own, and prints mean and deviation. What a
/// stopped command began goes on when it is given again.
pub fn run(arguments: &Train, folder: &Path, count: NonZeroU16, json: bool) -> Result<(), Failure> {
    let Some(path) = &arguments.recipe else {
        return Err(Failure::usage("--seeds needs a recipe"));
    };
    let document = read(path, &arguments.set)?;
    let first = document.any_recipe()?.seed();
    let mut runs = Vec::new();
    for seed in first..first + u64::from(count.get()) {
        let mut document = document.clone();
        document.set(&format!("seed={seed}"))?;
        let folder = folder.join(format!("seed-{seed}"));
        check_same(&document, &folder)?;
        output::note(format_args!("seed {seed}: {}", folder.display()));
        runs.push(match opened(&document)? {
            Opened::Items(setup) => scores_of_items(&supervised(&*setup, &folder)?),
            Opened::Text(setup) => scores_of_texts(&supervised(&*setup, &folder)?),
            Opened::CrossEncoder(setup) => scores_of_texts(&supervised(&*setup, &folder)?),
        });
    }
    let spreads = spreads(&runs);
    if json {
        output::json(&spreads)?;
        return Ok(());
    }
    let mut shown = table::new(&["", "mean", "std", "each"]);
    for spread in &spreads {
        let percent = |x: &f64| format!("{:.2}", x * 100.0);
        let each: Vec<String> = spread.values.iter().map(percent).collect();
        shown.add_row([
            spread.name.clone(),
            percent(&spread.mean),
            spread.std.as_ref().map_or_else(|| "–".into(), percent),
            each.join(", "),
        ]);
    }
    table::numbers_right(&mut shown);
    output::line(format_args!("Trained with {count} seeds, in percent:"))?;
    output::line(shown)?;
    Ok(())
}

/// A run that was begun goes on only with the recipe it began with.
fn check_same(document: &Document, folder: &Path) -> Result<(), Failure> {
    let path = folder.join("recipe.toml");
    if path.exists() && resolved(&Document::read(&path)?)? != resolved(document)? {
        return Err(Failure::usage(format!(
            "{}: a run with another recipe is there already; name another --out",
            folder.display()
        )));
    }
    Ok(())
}

fn scores_of_texts(report: &TextReport) -> Vec<(String, f64)> {
    let rows = report.rows.iter();
    rows.map(|row| (format!("{} {}", row.name, row.metric), row.trained.value))
        .collect()
}

fn scores_of_items(report: &Report) -> Vec<(String, f64)> {
    let Some(row) = report.rows.last() else {
        return Vec::new();
    };
    let retrieval = &row.evaluation.retrieval;
    let recall = retrieval.recall.iter();
    let recall = recall.map(|(k, estimate)| (format!("Recall@{k}"), estimate.value));
    recall
        .chain([
            ("R-precision".to_owned(), retrieval.r_precision.value),
            ("MAP@R".to_owned(), retrieval.map_at_r.value),
        ])
        .collect()
}

/// Mean and deviation of each score.
fn spreads(runs: &[Vec<(String, f64)>]) -> Vec<Spread> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let spread = |(place, (name, _)): (usize, &(String, f64))| {
        let values: Vec<f64> = runs.iter().map(|run| run[place].1).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Spread {
            name: name.clone(),
            mean,
            std: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            values,
        }
    };
    first.iter().enumerate().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let run = |x| vec![("a".to_owned(), x)];
        let found = spreads(&[run(1.0), run(2.0), run(3.0)]);
        assert_eq!((found[0].mean, found[0].std), (2.0, Some(1.0)));
        assert_eq!(spreads(&[run(1.0)])[0].std, None);
    }
}
