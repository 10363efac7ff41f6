//! `nearkin sweep`: one recipe with every combination of some values, each with several seeds.

use super::opened::look;
use super::seeds::{Spread, trained};
use super::stages;
use crate::arguments::Sweep;
use crate::failure::Failure;
use crate::progress::items;
use crate::{output, table};
use nearkin::recipe::{Document, combinations};
use serde::Serialize;

/// What one combination gave.
#[derive(Serialize)]
struct Row {
    /// As `--set` takes them.
    changes: Vec<String>,
    scores: Vec<Spread>,
}

/// A combination, and the recipes that it makes, the first to train first.
struct Point {
    changes: Vec<String>,
    documents: Vec<Document>,
}

/// Trains every combination that is not done yet, and prints their scores side by side.
pub fn run(arguments: &Sweep, json: bool) -> Result<(), Failure> {
    let combined = combinations(&arguments.vary)?.into_iter();
    let points: Vec<Point> = combined
        .map(|changes| point(arguments, changes))
        .collect::<Result<_, Failure>>()?;
    check(&points)?;
    let mut default = stages::default_folder(&arguments.recipe).into_os_string();
    default.push("-sweep");
    let folder = arguments.out.clone().unwrap_or_else(|| default.into());
    let (mut rows, mut done) = (Vec::new(), Vec::new());
    for (number, Point { changes, documents }) in (1..).zip(&points) {
        let (count, named) = (points.len(), changes.join(", "));
        output::note(format_args!("{number} of {count}: {named}"));
        let folder = folder.join(number.to_string());
        rows.push(Row {
            changes: changes.clone(),
            scores: trained(documents, &folder, arguments.seeds, &done)?,
        });
        done.push(folder);
    }
    if json {
        output::json(&rows)?;
        return Ok(());
    }
    show(&rows, arguments.seeds.get())
}

/// The recipes of a combination. One that cannot be is better known before the first run than after hours of others.
fn point(arguments: &Sweep, changes: Vec<String>) -> Result<Point, Failure> {
    let all = [&arguments.set[..], &changes].concat();
    let documents = stages::documents(&arguments.recipe, &all)?;
    stages::placed(documents.clone(), &arguments.recipe)
        .map_err(|error| error.about(&changes.join(", ")))?;
    Ok(Point { changes, documents })
}

/// Opens what every combination names, as training would: data, weights, networks for their images, samplers for their items.
fn check(points: &[Point]) -> Result<(), Failure> {
    let bar = items(points.len(), "checking recipes");
    for Point { changes, documents } in points {
        look(documents, |_, _| Ok(())).map_err(|error| error.about(&changes.join(", ")))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A line for each combination, with the first score of every evaluation.
fn show(rows: &[Row], seeds: u16) -> Result<(), Failure> {
    let leading = |row: &Row| -> Vec<usize> {
        let scores = row.scores.iter().enumerate();
        scores.filter(|(_, s)| s.leads).map(|(i, _)| i).collect()
    };
    let columns = rows.first().map(leading).unwrap_or_default();
    let names = columns.iter().map(|&i| rows[0].scores[i].name.as_str());
    let header: Vec<&str> = [""].into_iter().chain(names).collect();
    let mut shown = table::new(&header);
    for row in rows {
        let cells = columns.iter().map(|&i| match row.scores.get(i) {
            Some(spread) => cell(spread),
            None => "–".into(),
        });
        shown.add_row([row.changes.join("\n")].into_iter().chain(cells));
    }
    table::numbers_right(&mut shown);
    let runs = if seeds == 1 {
        "one seed, with half the 95% bootstrap interval".to_owned()
    } else {
        format!("mean ± standard deviation over {seeds} seeds")
    };
    output::line(format_args!("In percent, {runs}:"))?;
    output::line(shown)
}

fn cell(spread: &Spread) -> String {
    match spread.std {
        Some(std) => format!("{:.2} ± {:.2}", 100.0 * spread.mean, 100.0 * std),
        None => spread.percent(0),
    }
}
