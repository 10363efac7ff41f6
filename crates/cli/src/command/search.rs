//! `nearkin search`

use super::subject::{Subject, left_out};
use super::text::{self, is_text_model, resolve};
use crate::arguments::{Search, only_for_text};
use crate::failure::Failure;
use crate::output;
use crate::table;
use nearkin::Mat;
use nearkin::search::{Similarity, neighbors};
use nearkin::vectors::Vectors;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Hit<'a> {
    query: &'a str,
    rank: usize,
    item: &'a str,
    class: &'a str,
    similarity: f32,
}

/// Prints the nearest items of each query.
pub fn run(arguments: &Search, json: bool) -> Result<(), Failure> {
    let model = resolve(&arguments.model)?;
    if is_text_model(&model) {
        return text::search::run(arguments, &model, json);
    }
    let option = only_for_text(Some(&arguments.text), &arguments.vectors)
        .or(arguments.rerank.is_some().then_some("--rerank"));
    text::refuse_option(option, &model)?;
    let subject = Subject::load(&model, &arguments.tolerance)?;
    let gallery = load(&subject, &arguments.gallery)?;
    let query = load(&subject, &arguments.query)?;
    if gallery.dim != query.dim {
        return Err(Failure::usage(format!(
            "{} has vectors of {} numbers, {} of {}: they must come from one model",
            arguments.gallery.display(),
            gallery.dim,
            arguments.query.display(),
            query.dim
        )));
    }
    let matrix = |v: &'_ Vectors| -> (usize, usize) { (v.rows, v.dim) };
    let ((g_rows, dim), (q_rows, _)) = (matrix(&gallery), matrix(&query));
    let k = arguments.k.get().min(g_rows);
    let found = neighbors(
        Mat::new(&query.data, q_rows, dim),
        Mat::new(&gallery.data, g_rows, dim),
        Similarity::Cosine,
        k,
    )?;
    let name = |names: &'_ Option<Vec<String>>, at: usize| {
        names
            .as_ref()
            .map_or_else(|| at.to_string(), |n| n[at].clone())
    };
    let named: Vec<(String, usize, String, String, f32)> = (0..q_rows)
        .flat_map(|q| {
            let (query, gallery, found) = (&query, &gallery, &found);
            found
                .row(q)
                .enumerate()
                .map(move |(rank, (at, similarity))| {
                    let class = gallery
                        .labels
                        .as_ref()
                        .map_or(String::new(), |l| l[at].clone());
                    (
                        name(&query.ids, q),
                        rank + 1,
                        name(&gallery.ids, at),
                        class,
                        similarity,
                    )
                })
        })
        .collect();
    let hits: Vec<Hit> = named
        .iter()
        .map(|(query, rank, item, class, similarity)| Hit {
            query,
            rank: *rank,
            item,
            class,
            similarity: *similarity,
        })
        .collect();
    print(&hits, json)
}

fn print(hits: &[Hit], json: bool) -> Result<(), Failure> {
    if json {
        output::json(hits)?;
        return Ok(());
    }
    let mut table = table::new(&["query", "rank", "item", "class", "cosine"]);
    for hit in hits {
        let query = if hit.rank == 1 { hit.query } else { "" };
        let cosine = format!("{:.3}", hit.similarity);
        table.add_row([query, &hit.rank.to_string(), hit.item, hit.class, &cosine]);
    }
    output::line(&table)?;
    Ok(())
}

/// Vectors from a file of them, or from items embedded now, with a warning of those left out.
fn load(subject: &Subject, path: &Path) -> Result<Vectors, Failure> {
    let (vectors, damaged) = subject.read(path)?;
    if let Some(text) = left_out(&damaged) {
        output::note(format_args!("warning: {text}"));
    }
    Ok(vectors)
}
