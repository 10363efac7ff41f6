//! `nearkin evaluate VECTORS`: a file of embeddings with labels, from anywhere.

use super::retrieval::Shown;
use super::{compressions, grouping, retrieval, sided, text, vector_protocols};
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

/// Lengths below this are nothing to the division by them.
const ZERO: f64 = 1e-12;

/// The row of every table.
pub const NAME: &str = "vectors";

/// Whether this is a file of vectors, by its name.
pub fn is_file(path: &Path) -> bool {
    !path.is_dir() && vectors::check_extension(path).is_ok()
}

/// Measures the vectors of a file by their labels.
pub fn run(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    if arguments.protocol.is_some_and(Protocol::is_of_texts) {
        refuse_pooling(arguments)?;
        return text::evaluate::of_vectors(arguments, json);
    }
    refuse(arguments)?;
    if arguments.retrieval.compressions {
        return compressions::of_file(&arguments.model, json);
    }
    if let Some(
        protocol @ (Protocol::Verification
        | Protocol::Reid
        | Protocol::Identification
        | Protocol::FewShot
        | Protocol::NWay),
    ) = arguments.protocol
    {
        return vector_protocols::run(arguments, protocol, json);
    }
    let sides = &arguments.retrieval;
    if let Some(gallery) = &sides.gallery {
        return sided::in_gallery(&arguments.model, gallery, (sides, json));
    }
    if sides.of_vectors().is_some() {
        return sided::among_roles(&arguments.model, (sides, json));
    }
    let read = read(&arguments.model)?;
    let (first, classes) = (&read.embedded, &read.classes);
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
    let second = options.against.as_deref().map(|path| other(path, &read));
    let second = second.transpose()?;
    let bar = activity("measuring");
    let first = retrieval::measure(first, options)?;
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
        classes,
        options,
    };
    shown.print(json, [])
}

/// The same items in another file.
fn other(path: &Path, first: &Read) -> Result<Embedded, Failure> {
    if !is_file(path) {
        return Err(Failure::usage(format!(
            "{}: a file of vectors is compared with another one (.npy, .safetensors, .parquet, .jsonl)",
            path.display()
        )));
    }
    let second = read(path)?;
    let differ =
        if (&second.embedded.labels, &second.classes) != (&first.embedded.labels, &first.classes) {
            "labels"
        } else if first.ids.is_some() && second.ids.is_some() && first.ids != second.ids {
            "ids"
        } else {
            return Ok(second.embedded);
        };
    Err(Failure::usage(format!(
        "{}: its {differ} are not those of the first file, row by row: the two are compared on the same items alone",
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
    given.map_or(Ok(()), |name| Err(of_model(arguments, name)))?;
    refuse_pooling(arguments)
}

/// What makes vectors of texts.
fn refuse_pooling(arguments: &Evaluate) -> Result<(), Failure> {
    let given = only_for_text(None, &arguments.vectors);
    given.map_or(Ok(()), |name| Err(of_model(arguments, name)))
}

fn of_model(arguments: &Evaluate, name: &str) -> Failure {
    Failure::usage(format!(
        "{name} goes with a model; {} has its vectors already",
        arguments.model.display()
    ))
}

/// What a file of vectors holds.
struct Read {
    embedded: Embedded,
    /// Names of the classes.
    classes: Vec<String>,
    ids: Option<Vec<String>>,
}

fn read(path: &Path) -> Result<Read, Failure> {
    let vectors = vectors::read(path)?;
    remark(&vectors, path);
    let (labels, classes) = numbers(&vectors, path)?;
    let embedded = Embedded {
        items: (0..vectors.rows).collect(),
        labels,
        numbers: vectors.data,
        dim: vectors.dim,
    };
    Ok(Read {
        embedded,
        classes,
        ids: vectors.ids,
    })
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
    let rows = vectors.data.chunks_exact(vectors.dim.max(1));
    let square = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let norms: Vec<f64> = rows.map(|row| square(row).sqrt()).collect();
    let zero: Vec<usize> = (0..norms.len()).filter(|&row| norms[row] < ZERO).collect();
    if let Some(first) = zero.first() {
        output::note(format_args!(
            "{path}: {} vectors are zero, or as good as that, the first of them vector {}: they are alike to nothing",
            zero.len(),
            first + 1
        ));
    }
    let low = norms
        .iter()
        .copied()
        .filter(|&norm| norm >= ZERO)
        .fold(f64::INFINITY, f64::min);
    let high = norms.iter().copied().fold(0.0, f64::max);
    if low.is_finite() && (low < 0.999 || high > 1.001) {
        output::note(format_args!(
            "{path}: vectors of lengths {} to {}; compared by cosine similarity, to which lengths are nothing",
            length(low),
            length(high)
        ));
    }
}

fn length(norm: f64) -> String {
    if (1e-3..1e6).contains(&norm) {
        format!("{norm:.3}")
    } else {
        format!("{norm:.2e}")
    }
}

/// The labels as numbers, in the order in which they come, and their names.
fn numbers(vectors: &Vectors, path: &Path) -> Result<(Vec<u32>, Vec<String>), Failure> {
    Ok(vectors::classes(labels(vectors.labels.as_deref(), path)?))
}

/// The labels that must be there, one of each vector.
pub fn labels<'a>(labels: Option<&'a [String]>, path: &Path) -> Result<&'a [String], Failure> {
    let Some(labels) = labels else {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Err(Failure::usage(format!(
            "{}: no labels; expected \"label\" beside each vector (.jsonl, .parquet), in the metadata (.safetensors), or one a line in {name}.labels.txt (.npy)",
            path.display()
        )));
    };
    if let Some(row) = labels.iter().position(|label| label.trim().is_empty()) {
        return Err(Failure::usage(format!(
            "{}: the label of vector {} of {} is empty",
            path.display(),
            row + 1,
            labels.len()
        )));
    }
    let distinct: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let around = distinct.iter().find(|label| {
        let trimmed = label.trim();
        trimmed != **label && distinct.contains(trimmed)
    });
    if let Some(label) = around {
        output::note(format_args!(
            "{}: labels that differ in blanks around them alone are classes of their own, such as {label:?} and {:?}",
            path.display(),
            label.trim()
        ));
    }
    Ok(labels)
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
