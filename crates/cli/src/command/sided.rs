//! `nearkin evaluate VECTORS --gallery|--roles|--label-separator`: some vectors search, others are searched through.

use super::retrieval::Shown;
use super::vectors::{labels, remark};
use crate::arguments::RetrievalOptions;
use crate::failure::Failure;
use crate::output;
use crate::progress::{activity, items};
use nearkin::Mat;
use nearkin::evaluate::{
    Evaluation, GalleryRetrieval, Relevance, Retrieval, Role, Searched, spread,
};
use nearkin::vectors::{self, Parts, Vectors};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

/// The row of every table.
const NAME: &str = "vectors";
/// Numbers of a part of the gallery: 64 MiB.
const PART: usize = 1 << 24;

/// The vectors of a file are looked for in another.
pub fn in_gallery(
    path: &Path,
    gallery: &Path,
    (options, json): (&RetrievalOptions, bool),
) -> Result<(), Failure> {
    let queries = vectors::read(path)?;
    remark(&queries, path);
    if path == gallery {
        output::note(format_args!(
            "{}: queries and gallery are one file, so that each vector finds itself first; without --gallery it is left out",
            path.display()
        ));
    }
    let mut parts = Parts::open(gallery)?;
    let both = [
        labels(queries.labels.as_deref(), path)?,
        labels(parts.labels(), gallery)?,
    ];
    let (numbers, classes) = vectors::classes(&both.concat());
    let (of_queries, of_gallery) = numbers.split_at(queries.rows);
    let matrix = Mat::new(&queries.data, queries.rows, queries.dim);
    let mut search = GalleryRetrieval::new((matrix, of_queries), of_gallery, &options.options())?;
    let (rows, dim) = (parts.rows(), parts.dim());
    let bar = items(rows, "searching");
    while let Some(part) = parts.read((PART / dim).max(1))? {
        let part = Mat::new(&part, part.len() / dim, dim);
        search.add(part)?;
        bar.inc(part.rows as u64);
    }
    bar.finish_and_clear();
    let found = evaluation(&queries, of_queries, search.finish()?);
    let what = format!(
        "{} vectors of {} among {rows} of {}",
        queries.rows,
        path.display(),
        gallery.display()
    );
    show((&what, &found, &classes), rows, (options, json))
}

/// The vectors of a file search one another as their roles say, and are relevant to each other by labels that they share.
pub fn among_roles(path: &Path, (options, json): (&RetrievalOptions, bool)) -> Result<(), Failure> {
    let found = vectors::read(path)?;
    remark(&found, path);
    let texts = labels(found.labels.as_deref(), path)?;
    let roles = options.roles.as_deref().map(|file| roles(file, found.rows));
    let roles = roles.transpose()?;
    let (several, classes);
    let single;
    let relevance = if let Some(separator) = &options.label_separator {
        (several, classes) = split(texts, separator)?;
        Relevance::Labels(&several)
    } else {
        (single, classes) = vectors::classes(texts);
        Relevance::Classes(&single)
    };
    let searched = Searched {
        embeddings: Mat::new(&found.data, found.rows, found.dim),
        relevance,
        roles: roles.as_deref(),
    };
    let bar = activity("measuring");
    let retrieval = searched.retrieval(&options.options())?;
    bar.finish_and_clear();
    let mut measured = evaluation(&found, &[], retrieval);
    measured.classes = classes.len();
    let is_searched = |role: &&Role| [Role::Both, Role::Gallery].contains(role);
    let gallery = roles.map_or(found.rows, |roles| roles.iter().filter(is_searched).count());
    let what = format!("{} vectors of {}", found.rows, path.display());
    show((&what, &measured, &classes), gallery, (options, json))
}

fn evaluation(vectors: &Vectors, labels: &[u32], retrieval: Retrieval) -> Evaluation {
    Evaluation {
        items: vectors.rows,
        classes: labels.iter().collect::<HashSet<_>>().len(),
        dim: vectors.dim,
        spread: spread(Mat::new(&vectors.data, vectors.rows, vectors.dim)),
        retrieval,
        clustering: None,
    }
}

fn show(
    (what, found, classes): (&str, &Evaluation, &[String]),
    gallery: usize,
    (options, json): (&RetrievalOptions, bool),
) -> Result<(), Failure> {
    let shown = Shown {
        what,
        rows: &[(NAME, found)],
        of: found,
        classes,
        options,
    };
    shown.print(json, [("gallery", json!(gallery))])
}

/// What each item is, by the lines of a file.
pub fn roles(path: &Path, rows: usize) -> Result<Vec<Role>, Failure> {
    let lines = lines(path, rows)?;
    let roles = lines
        .iter()
        .zip(1..)
        .map(|(line, number)| match line.as_str() {
            "query" => Ok(Role::Query),
            "gallery" => Ok(Role::Gallery),
            "both" => Ok(Role::Both),
            "ignored" => Ok(Role::Ignored),
            other => Err(Failure::usage(format!(
                "{}:{number}: expected query, gallery, both or ignored, found {other:?}",
                path.display()
            ))),
        });
    roles.collect()
}

/// The lines of a file, one for each vector.
pub fn lines(path: &Path, rows: usize) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::run(format!("{}: {error}", path.display())))?;
    let text = text.trim_start_matches('\u{feff}');
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if lines.len() == rows {
        return Ok(lines);
    }
    Err(Failure::usage(format!(
        "{}: {} lines for {rows} vectors",
        path.display(),
        lines.len()
    )))
}

/// The labels of each item as numbers, and their names.
fn split(texts: &[String], separator: &str) -> Result<(Vec<Vec<u32>>, Vec<String>), Failure> {
    if separator.is_empty() {
        return Err(Failure::usage(
            "--label-separator: expected a text such as , or |",
        ));
    }
    let of_items = texts.iter().map(|text| {
        let labels = text.split(separator).map(str::trim);
        labels
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect()
    });
    let of_items: Vec<Vec<String>> = of_items.collect();
    let (numbers, classes) = vectors::classes(&of_items.concat());
    let mut numbers = numbers.into_iter();
    let taken = of_items
        .iter()
        .map(|labels| numbers.by_ref().take(labels.len()).collect());
    Ok((taken.collect(), classes))
}
