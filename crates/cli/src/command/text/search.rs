//! `nearkin search` with a sentence encoder.

use super::TextSubject;
use super::corpus::Corpus;
use crate::arguments::{Search, TextInput};
use crate::failure::Failure;
use crate::progress::items;
use crate::{output, table};
use nearkin::search::{Similarity, neighbors};
use nearkin::text::TextTable;
use nearkin::text::embed::Role;
use nearkin::text::encoder::CrossEncoder;
use nearkin::text::rerank::rerank;
use nearkin::text::similarity::intended;
use serde::Serialize;
use std::path::Path;

/// Characters of a text in a table; JSON has all of them.
const SHOWN: usize = 160;

#[derive(Serialize)]
struct Hit<'a> {
    query: &'a str,
    rank: usize,
    item: &'a str,
    /// As it is shown: of a Euclidean model the negative distance. Or the cross-encoder's score.
    similarity: f32,
}

/// Prints the nearest texts of each query.
pub fn run(arguments: &Search, model: &Path, json: bool) -> Result<(), Failure> {
    let subject = TextSubject::load(model, &arguments.vectors)?;
    let similarity = intended(&subject.encoder.settings);
    let similarity = similarity.map_err(|error| Failure::usage(error.to_string()))?;
    let damaged = arguments.tolerance.damaged;
    let table = arguments.text.table(&arguments.gallery, damaged)?;
    let gallery = Corpus::load(&table, &arguments.text, Some(&subject))?;
    let query = query(arguments, &subject)?;
    if gallery.dim != query.dim {
        return Err(Failure::usage(format!(
            "{} has vectors of {} numbers, the query one of {}: they must come from one model, with the same --dim",
            arguments.gallery.display(),
            gallery.dim,
            query.dim
        )));
    }
    let rows = gallery.names.len();
    let k = arguments.k.get().min(rows);
    let depth = match arguments.rerank {
        Some(_) => arguments.candidates.get().clamp(k, rows),
        None => k,
    };
    let found = neighbors(query.mat(), gallery.mat(), similarity, depth)?;
    let shown = |(item, score)| (item, similarity.shown(score));
    let mut found: Vec<Vec<(usize, f32)>> = (0..query.names.len())
        .map(|at| found.row(at).map(shown).collect())
        .collect();
    if let Some(judge) = &arguments.rerank {
        found = reranked(judge, &query, &gallery, &found)?;
    }
    let word = match (&arguments.rerank, similarity) {
        (Some(_), _) => "score",
        (None, Similarity::Euclidean) => "-distance",
        (None, other) => other.name(),
    };
    let mut hits = Vec::new();
    for (query, found) in query.names.iter().zip(&found) {
        let best = found.iter().take(k).enumerate();
        hits.extend(best.map(|(rank, &(item, similarity))| Hit {
            query,
            rank: rank + 1,
            item: &gallery.names[item],
            similarity,
        }));
    }
    print(&hits, word, json)
}

/// The best that were found, ranked by a cross-encoder.
fn reranked(
    judge: &Path,
    query: &Corpus,
    gallery: &Corpus,
    found: &[Vec<(usize, f32)>],
) -> Result<Vec<Vec<(usize, f32)>>, Failure> {
    let judge = CrossEncoder::load(&super::resolve(judge)?)?;
    let indices: Vec<Vec<usize>> = found
        .iter()
        .map(|items| items.iter().map(|(item, _)| *item).collect())
        .collect();
    let bar = items(indices.iter().map(Vec::len).sum(), "ranking");
    let told = &mut |done| bar.set_position(done as u64);
    let ranked = rerank(&judge, &query.names, &gallery.names, &indices, told);
    bar.finish_and_clear();
    Ok(ranked?)
}

/// The queries: those of a file, or the text itself.
fn query(arguments: &Search, subject: &TextSubject) -> Result<Corpus, Failure> {
    let path = &arguments.query;
    if path.exists() || path == Path::new("-") {
        // A file of queries may have other columns than the gallery.
        let known = if path.is_file() {
            arguments.text.table(path, None)?.columns()?
        } else {
            Vec::new()
        };
        let there = |name: &String| known.contains(name);
        let input = TextInput {
            column: arguments.text.column.clone().filter(there),
            id: arguments.text.id.clone().filter(there),
            format: None,
        };
        return Corpus::of_texts(
            &input.table(path, arguments.tolerance.damaged)?,
            &input,
            subject,
            Role::Query,
        );
    }
    let text = path.to_string_lossy().into_owned();
    let names_a_file = path.extension().is_some() && TextTable::new(path).has_known_extension();
    if names_a_file && !text.contains(' ') {
        return Err(Failure::usage(format!("{text}: no such file")));
    }
    let (numbers, dim) = subject.vectors(&[&text], Role::Query)?;
    let names = vec![text];
    Ok(Corpus {
        names,
        numbers,
        dim,
        classes: None,
    })
}

fn print(hits: &[Hit], similarity: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(hits);
    }
    let mut table = table::new(&["query", "rank", "item", similarity]);
    for hit in hits {
        let query = if hit.rank == 1 {
            shortened(hit.query)
        } else {
            String::new()
        };
        let score = format!("{:.3}", hit.similarity);
        table.add_row([query, hit.rank.to_string(), shortened(hit.item), score]);
    }
    output::line(&table)
}

/// The beginning of a long text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
