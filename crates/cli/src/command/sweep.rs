//! `nearkin sweep`: one recipe with every combination of some values, each with several seeds.

use super::seeds::{Spread, trained};
use super::train::read;
use crate::arguments::Sweep;
use crate::failure::Failure;
use crate::{output, table};
use nearkin::recipe::Point;
use serde::Serialize;
use std::path::Path;

/// What one combination gave.
#[derive(Serialize)]
struct Row {
    /// As `--set` takes them.
    changes: Vec<String>,
    scores: Vec<Spread>,
}

/// Trains every combination that is not done yet, and prints their scores side by side.
pub fn run(arguments: &Sweep, json: bool) -> Result<(), Failure> {
    let points = read(&arguments.recipe, &arguments.set)?.grid(&arguments.vary)?;
    // A recipe that cannot be is better known before the first run than after hours of others.
    for point in &points {
        point
            .document
            .any_recipe()
            .map_err(|error| Failure::usage(format!("{}: {error}", named(point))))?;
    }
    let stem = arguments.recipe.file_stem().unwrap_or_default();
    let default = || Path::new("runs").join(format!("{}-sweep", stem.to_string_lossy()));
    let folder = arguments.out.clone().unwrap_or_else(default);
    let mut rows = Vec::new();
    for (number, point) in (1..).zip(points.iter()) {
        output::note(format_args!(
            "{number} of {}: {}",
            points.len(),
            named(point)
        ));
        rows.push(Row {
            changes: point.changes.clone(),
            scores: trained(
                std::slice::from_ref(&point.document),
                &folder.join(number.to_string()),
                arguments.seeds,
            )?,
        });
    }
    if json {
        output::json(&rows)?;
        return Ok(());
    }
    show(&rows, arguments.seeds.get())
}

fn named(point: &Point) -> String {
    point.changes.join(", ")
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
        "one seed".to_owned()
    } else {
        format!("mean ± standard deviation over {seeds} seeds")
    };
    output::line(format_args!("In percent, {runs}:"))?;
    output::line(shown)
}

fn cell(spread: &Spread) -> String {
    let mean = 100.0 * spread.mean;
    match spread.std {
        Some(std) => format!("{mean:.2} ± {:.2}", 100.0 * std),
        None => format!("{mean:.2}"),
    }
}
