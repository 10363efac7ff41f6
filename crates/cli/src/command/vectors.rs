//! `nearkin evaluate VECTORS`: a file of embeddings with labels, from anywhere.

use super::retrieval::Shown;
use super::{compressions, grouping, retrieval, sided, vector_protocols};
use crate::arguments::{Evaluate, Protocol, only_for_text};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use nearkin::Mat;
use nearkin::embed::Embedded;
use nearkin::evaluate::Grouping;
use nearkin::vectors::{self, Vectors};
use std::collections::HashSet;
use std::path::Path;

/// The row of every table.
pub const NAME: &str = "vectors";

/// Whether this is a file of vectors, by its name.
pub fn is_file(path: &Path) -> bool {
    !path.is_dir() && vectors::check_extension(path).is_ok()
}

/// Measures the vectors of a file by their labels.
pub fn run(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    refuse(arguments)?;
    if arguments.retrieval.compressions {
        return compressions::of_file(&arguments.model, json);
    }
    match arguments.protocol {
        Some(
            protocol @ (Protocol::Verification
            | Protocol::Reid
            | Protocol::Identification
            | Protocol::FewShot
            | Protocol::NWay),
        ) => return vector_protocols::run(arguments, protocol, json),
        None | Some(Protocol::Retrieval | Protocol::Clustering) => {}
        Some(_) => {
            return Err(Failure::usage(
                "this --protocol is of texts: it needs the model that embeds them",
            ));
        }
    }
    let sides = &arguments.retrieval;
    if let Some(gallery) = &sides.gallery {
        return sided::in_gallery(&arguments.model, gallery, (sides, json));
    }
    if sides.of_vectors().is_some() {
        return sided::among_roles(&arguments.model, (sides, json));
    }
    let (first, classes) = read(&arguments.model)?;
    let what = format!(
        "{} vectors of {}",
        first.items.len(),
        arguments.model.display()
    );
    if arguments.protocol == Some(Protocol::Clustering) {
        let matrix = Mat::new(&first.numbers, first.items.len(), first.dim);
        let bar = activity("measuring");
        let found = nearkin::evaluate::grouping(matrix, &first.labels, (grouping::SEEDS, 0))?;
        bar.finish_and_clear();
        return show_grouping(&what, &found, json);
    }
    let options = &arguments.retrieval;
    let second = options
        .against
        .as_deref()
        .map(|path| other(path, &first, &classes));
    let second = second.transpose()?;
    let bar = activity("measuring");
    let first = retrieval::measure(&first, options)?;
    let second = second.map(|second| retrieval::measure(&second, options));
    let second = second.transpose()?;
    bar.finish_and_clear();
    let rows = match &second {
        Some(second) => vec![(retrieval::FIRST, &first), (retrieval::SECOND, second)],
        None => vec![(NAME, &first)],
    };
    let shown = Shown {
        what: &what,
        rows: &rows,
        of: &first,
        classes: &classes,
        options,
    };
    shown.print(json, [])
}

/// The same items in another file.
fn other(path: &Path, first: &Embedded, classes: &[String]) -> Result<Embedded, Failure> {
    if !is_file(path) {
        return Err(Failure::usage(format!(
            "{}: a file of vectors is compared with another one (.npy, .safetensors, .parquet, .jsonl)",
            path.display()
        )));
    }
    let (second, of_second) = read(path)?;
    if (&second.labels, of_second.as_slice()) == (&first.labels, classes) {
        return Ok(second);
    }
    Err(Failure::usage(format!(
        "{}: its labels are not those of the first file, row by row: the two are compared on the same items alone",
        path.display()
    )))
}

/// What goes with models alone.
fn refuse(arguments: &Evaluate) -> Result<(), Failure> {
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

/// The vectors of a file, and the names of their classes.
fn read(path: &Path) -> Result<(Embedded, Vec<String>), Failure> {
    let vectors = vectors::read(path)?;
    remark(&vectors, path);
    let (labels, classes) = numbers(&vectors, path)?;
    let embedded = Embedded {
        items: (0..vectors.rows).collect(),
        labels,
        numbers: vectors.data,
        dim: vectors.dim,
    };
    Ok((embedded, classes))
}

/// Says what a user may not expect of the vectors.
pub fn remark(vectors: &Vectors, path: &Path) {
    let path = path.display();
    if let Some(ids) = &vectors.ids {
        let mut seen = HashSet::new();
        let twice: Vec<&String> = ids.iter().filter(|id| !seen.insert(*id)).collect();
        if let Some(first) = twice.first() {
            output::note(format_args!(
                "{path}: {} ids are there before already, such as {first:?}; each row counts as an item of its own",
                twice.len()
            ));
        }
    }
    let norms = vectors.data.chunks_exact(vectors.dim.max(1));
    let norms = norms.map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt());
    let (low, high) = norms.fold((f32::INFINITY, 0.0_f32), |(low, high), norm| {
        (low.min(norm), high.max(norm))
    });
    if low < 0.999 || high > 1.001 {
        output::note(format_args!(
            "{path}: vectors of lengths {low:.3} to {high:.3}; compared by cosine similarity, to which lengths are nothing"
        ));
    }
}

/// The labels as numbers, in the order in which they come, and their names.
fn numbers(vectors: &Vectors, path: &Path) -> Result<(Vec<u32>, Vec<String>), Failure> {
    Ok(vectors::classes(labels(vectors.labels.as_deref(), path)?))
}

/// The labels that must be there.
pub fn labels<'a>(labels: Option<&'a [String]>, path: &Path) -> Result<&'a [String], Failure> {
    labels.ok_or_else(|| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Failure::usage(format!(
            "{}: no labels; expected \"label\" beside each vector (.jsonl, .parquet), in the metadata (.safetensors), or one a line in {name}.labels.txt (.npy)",
            path.display()
        ))
    })
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
