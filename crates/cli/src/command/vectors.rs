//! `nearkin evaluate VECTORS`: a file of embeddings with labels, from anywhere.

use super::{found, grouping};
use crate::arguments::{Evaluate, Protocol, only_for_text};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use crate::table;
use nearkin::Mat;
use nearkin::evaluate::{Evaluation, Grouping, Options, evaluate};
use nearkin::vectors::{self, Vectors};
use std::path::Path;

/// The row of every table.
const NAME: &str = "vectors";

/// Whether this is a file of vectors, by its name.
pub fn is_file(path: &Path) -> bool {
    !path.is_dir() && vectors::check_extension(path).is_ok()
}

/// Measures the vectors of a file by their labels.
pub fn run(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    let path = &arguments.model;
    refuse(arguments)?;
    let vectors = vectors::read(path)?;
    let labels = numbers(&vectors, path)?;
    let matrix = Mat::new(&vectors.data, vectors.rows, vectors.dim);
    let what = format!("{} vectors of {}", vectors.rows, path.display());
    let bar = activity("measuring");
    if arguments.protocol == Some(Protocol::Clustering) {
        let found = nearkin::evaluate::grouping(matrix, &labels, (grouping::SEEDS, 0))?;
        bar.finish_and_clear();
        return show_grouping(&what, &found, json);
    }
    let options = Options {
        cluster_seeds: grouping::SEEDS,
        ..Options::default()
    };
    let found = evaluate(matrix, &labels, &options)?;
    bar.finish_and_clear();
    show_retrieval(&what, &found, json)
}

/// What goes with models alone.
fn refuse(arguments: &Evaluate) -> Result<(), Failure> {
    let protocols = [None, Some(Protocol::Retrieval), Some(Protocol::Clustering)];
    if !protocols.contains(&arguments.protocol) {
        return Err(Failure::usage(
            "files of vectors are measured by --protocol retrieval or clustering",
        ));
    }
    let of_models = [
        (arguments.data.is_some(), "--data"),
        (!arguments.items.degrade.is_empty(), "--degrade"),
    ];
    let given = of_models.iter().find(|(is, _)| *is).map(|(_, name)| *name);
    if let Some(name) = given.or_else(|| only_for_text(None, &arguments.vectors)) {
        return Err(Failure::usage(format!(
            "{name} goes with a model; {} has its vectors already",
            arguments.model.display()
        )));
    }
    Ok(())
}

/// The labels as numbers.
fn numbers(vectors: &Vectors, path: &Path) -> Result<Vec<u32>, Failure> {
    let Some(labels) = &vectors.labels else {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Err(Failure::usage(format!(
            "{}: no labels; expected \"label\" beside each vector (.jsonl, .parquet), in the metadata (.safetensors), or one a line in {name}.labels.txt (.npy)",
            path.display()
        )));
    };
    Ok(found::numbers(labels))
}

fn show_retrieval(what: &str, found: &Evaluation, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&serde_json::json!({ "data": what, "vectors": found }));
    }
    output::line(format_args!(
        "{what}, in percent, with half the 95% bootstrap interval:"
    ))?;
    output::line(table::evaluations(&[(NAME, found)]))?;
    output::line(&found.retrieval.convention)?;
    if let Some(clusters) = found.clustering {
        output::line(format_args!(
            "k-means with {} clusters, mean over {} seeds: pairwise F1 {:.1}",
            clusters.clusters,
            clusters.seeds,
            100.0 * clusters.f1
        ))?;
    }
    Ok(())
}

fn show_grouping(what: &str, found: &Grouping, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&serde_json::json!({ "data": what, "vectors": found }));
    }
    let (shown, conventions) = grouping::show(&[(NAME, found)]);
    output::line(format_args!("{what}, in percent:"))?;
    output::line(shown)?;
    output::line(conventions)
}
