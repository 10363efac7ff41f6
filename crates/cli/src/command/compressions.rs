//! `nearkin evaluate --compressions`: what do smaller or faster indices of the vectors miss?

use super::evaluate::Data;
use super::subject::{Subject, left_out};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use crate::table::{self, numbers_right};
use nearkin::Mat;
use nearkin::evaluate::{Compression, CompressionOptions, Compressions, compressions};
use nearkin::vectors;
use serde_json::json;
use std::path::Path;

/// Neighbors of the searches whose speed the table shows, where so many can be looked for.
const SHOWN: usize = 10;
/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// Measures the vectors that a model makes of data.
pub fn of_model(subject: &Subject, data: &Data, json: bool) -> Result<(), Failure> {
    let embedded = subject.embed(&data.feed, &data.indices)?;
    let matrix = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
    let found = measure(matrix, Some(&embedded.labels))?;
    let damaged = data.feed.damaged();
    if json {
        return output::json(&json!({
            "data": data.what, "compressions": found, "damaged": damaged
        }));
    }
    show(&data.what, &found)?;
    left_out(&damaged).map_or(Ok(()), output::line)
}

/// Measures the vectors of a file, which may have labels.
pub fn of_file(path: &Path, json: bool) -> Result<(), Failure> {
    let vectors = vectors::read(path)?;
    let labels = vectors.labels.as_deref();
    let labels = labels.map(|labels| vectors::classes(labels).0);
    let matrix = Mat::new(&vectors.data, vectors.rows, vectors.dim);
    let found = measure(matrix, labels.as_deref())?;
    let what = format!("{} vectors of {}", vectors.rows, path.display());
    if json {
        return output::json(&json!({ "data": what, "compressions": found }));
    }
    show(&what, &found)
}

fn measure(matrix: Mat, labels: Option<&[u32]>) -> Result<Compressions, Failure> {
    let bar = activity("measuring");
    let options = CompressionOptions::of(matrix.rows);
    let observe = &mut |what: &str| bar.set_message(what.to_owned());
    let found = compressions(matrix, labels, &options, observe);
    bar.finish_and_clear();
    Ok(found?)
}

fn show(what: &str, found: &Compressions) -> Result<(), Failure> {
    let Some(first) = found.rows.first() else {
        return Ok(());
    };
    let recalls = first.at.iter().map(|at| format!("top {}", at.k));
    let by_labels = first.labels.map(|labels| {
        let map = labels.map_at_r.map(|_| "MAP@R");
        ["Recall@1"].into_iter().chain(map)
    });
    let header: Vec<String> = ["", "bytes", "MiB", "build s", "queries/s"]
        .map(str::to_owned)
        .into_iter()
        .chain(recalls)
        .chain(by_labels.into_iter().flatten().map(str::to_owned))
        .collect();
    let mut table = table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &found.rows {
        table.add_row(cells(row));
    }
    numbers_right(&mut table);
    output::line(format_args!(
        "{what}, {} numbers each; shares in percent, cut off and not rounded:",
        found.dim
    ))?;
    output::line(table)?;
    output::line(format_args!(
        "bytes: of a vector; queries/s: for {} neighbors, {} at once on {} threads; {}",
        speed(first).map_or(0, |(k, _)| k),
        found.queries,
        found.threads,
        found.convention
    ))
}

fn cells(row: &Compression) -> Vec<String> {
    let mut cells = vec![
        row.name.clone(),
        format!("{:.0}", row.bytes_per_vector),
        format!("{:.2}", row.bytes as f64 / MIB),
        format!("{:.2}", row.build_seconds),
        speed(row).map_or_else(String::new, |(_, speed)| format!("{speed:.0}")),
    ];
    cells.extend(row.at.iter().map(|at| percent(at.recall)));
    if let Some(labels) = row.labels {
        cells.push(percent(labels.recall_at_1));
        cells.extend(labels.map_at_r.map(percent));
    }
    cells
}

/// The speed that is shown, with its K.
fn speed(row: &Compression) -> Option<(usize, f64)> {
    let shown = row.at.iter().find(|at| at.k == SHOWN);
    let shown = shown.or(row.at.last())?;
    Some((shown.k, shown.queries_per_second))
}

/// A share as percent; 100.0 is all and no less.
fn percent(share: f64) -> String {
    // A sum of shares may end a hair below what it stands for.
    format!("{:.1}", (1000.0 * share + 1e-6).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn all_is_all() {
        let shares = [1.0, 0.9999, 0.95, 0.0].map(percent);
        assert_eq!(shares, ["100.0", "99.9", "95.0", "0.0"]);
    }
}
