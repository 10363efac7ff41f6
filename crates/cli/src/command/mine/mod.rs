//! `nearkin mine`

mod clusters;
mod negatives;

use super::subject::{Subject, left_out};
use super::text::{Corpus, TextSubject, is_text_model, refuse_option, resolve};
use crate::arguments::{
    Communities, Mine, MineAction, MineInput, Mined, Paraphrases, only_for_text,
};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use nearkin::text::community;
use nearkin::text::paraphrase::paraphrases;
use nearkin::text::table::table_bytes;
use nearkin_losses::range::{Finite, OutOfRange};
use serde_json::Value;
use std::path::Path;

/// Finds something in texts, images or vectors and writes it.
pub fn run(arguments: &Mine, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        MineAction::Negatives(arguments) => negatives::run(arguments, json),
        MineAction::Paraphrases(arguments) => pairs(arguments, json),
        MineAction::Communities(arguments) => communities(arguments, json),
        MineAction::Clusters(arguments) => clusters::run(arguments, json),
    }
}

/// Rows on their way to a file.
struct Table<'t> {
    columns: Vec<&'t str>,
    rows: Vec<Vec<Value>>,
    /// What they are, for the message.
    what: String,
    /// What else is known of them, by its names in JSON.
    facts: Vec<(&'static str, Value)>,
}

impl Table<'_> {
    fn write(self, out: &Mined, json: bool) -> Result<(), Failure> {
        let Self {
            columns,
            rows,
            what,
            facts,
        } = self;
        let path = out.output.as_deref().unwrap_or(Path::new("-.jsonl"));
        let is_empty = rows.is_empty();
        let bytes = table_bytes(path, &columns, rows)?;
        if out.output.is_none() {
            if is_empty {
                output::note(format_args!("found {what}"));
            }
            return output::write(String::from_utf8_lossy(&bytes));
        }
        nearkin::write_beside(path, &bytes)?;
        if json {
            let mut said = serde_json::json!({ "file": path, "found": what });
            for (name, fact) in facts {
                said[name] = fact;
            }
            return output::line(said);
        }
        output::note(format_args!("wrote {what} to {}", path.display()));
        Ok(())
    }
}

/// Before the work, not after it.
fn check_output(out: &Mined) -> Result<(), Failure> {
    match &out.output {
        Some(path) => table_bytes(path, &[], [])
            .map(drop)
            .map_err(|e| Failure::usage(e.to_string())),
        None => Ok(()),
    }
}

/// What is searched, with its vectors.
struct Input {
    corpus: Corpus,
    /// What one of them is.
    noun: &'static str,
}

fn load(arguments: &MineInput) -> Result<Input, Failure> {
    check_output(&arguments.out)?;
    let model = arguments.model.as_deref().map(resolve).transpose()?;
    let of_items = model.as_deref().filter(|model| !is_text_model(model));
    if let Some(model) = of_items {
        refuse_option(
            only_for_text(Some(&arguments.text), &arguments.vectors),
            model,
        )?;
        let subject = Subject::load(model, &arguments.tolerance)?;
        let (vectors, damaged) = subject.read(&arguments.input)?;
        if let Some(text) = left_out(&damaged) {
            output::note(format_args!("warning: {text}"));
        }
        return Ok(Input {
            corpus: vectors.into(),
            noun: "item",
        });
    }
    let table = arguments
        .text
        .table(&arguments.input, arguments.tolerance.damaged)?;
    let subject = model.map(|model| TextSubject::load(&model, &arguments.vectors));
    let corpus = Corpus::load(&table, &arguments.text, subject.transpose()?.as_ref())?;
    // Only vectors of items have classes beside them.
    let noun = if corpus.classes.is_some() {
        "item"
    } else {
        "text"
    };
    Ok(Input { corpus, noun })
}

/// Work under a sign of life.
fn working<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let bar = activity(what);
    let done = work();
    bar.finish_and_clear();
    done
}

fn pairs(arguments: &Paraphrases, json: bool) -> Result<(), Failure> {
    let Input {
        corpus: texts,
        noun,
    } = load(&arguments.texts)?;
    let found = working("comparing all pairs", || {
        paraphrases(texts.mat(), arguments.max_pairs)
    })?;
    let good = found
        .iter()
        .filter(|pair| f64::from(pair.score) >= arguments.min_score);
    let rows: Vec<Vec<Value>> = good
        .map(|pair| {
            let (first, second) = (&texts.names[pair.first], &texts.names[pair.second]);
            let score = (f64::from(pair.score) * 1e6).round() / 1e6;
            vec![
                score.into(),
                pair.first.into(),
                pair.second.into(),
                first.as_str().into(),
                second.as_str().into(),
            ]
        })
        .collect();
    let what = format!("{} pairs", rows.len());
    let names = match noun {
        "text" => ["sentence1", "sentence2"],
        _ => ["item1", "item2"],
    };
    Table {
        columns: [&["score", "row1", "row2"], &names[..]].concat(),
        rows,
        what,
        facts: Vec::new(),
    }
    .write(&arguments.texts.out, json)
}

fn communities(arguments: &Communities, json: bool) -> Result<(), Failure> {
    let miner = community::Communities {
        threshold: in_range("threshold", Finite::new(arguments.threshold))?,
        min_size: arguments.min_size,
    };
    let Input {
        corpus: texts,
        noun,
    } = load(&arguments.texts)?;
    let found = working("looking for communities", || miner.detect(texts.mat()))?;
    let members = found.iter().enumerate().flat_map(|(number, rows)| {
        let texts = &texts;
        rows.iter().enumerate().map(move |(at, &row)| {
            let text = texts.names[row].as_str();
            vec![number.into(), (at == 0).into(), row.into(), text.into()]
        })
    });
    let rows: Vec<Vec<Value>> = members.collect();
    let (count, members, all) = (found.len(), rows.len(), texts.names.len());
    let what = format!("{count} communities of {members} of {all} {noun}s");
    Table {
        columns: vec!["community", "center", "row", noun],
        rows,
        what,
        facts: Vec::new(),
    }
    .write(&arguments.texts.out, json)
}

fn in_range<T>(name: &str, number: Result<T, OutOfRange>) -> Result<T, Failure> {
    number.map_err(|error| Failure::usage(format!("--{name}: {error}")))
}
