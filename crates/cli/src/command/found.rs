//! What `cluster` and `mine` look for things in, and how they write what they found.

use super::subject::{Subject, left_out};
use super::text::{Corpus, TextSubject, is_text_model, refuse_option, resolve};
use crate::arguments::{MineInput, Mined, only_for_text};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use nearkin::text::table::table_bytes;
use serde_json::Value;
use std::path::Path;

/// Rows on their way to a file.
pub struct Table<'t> {
    pub columns: Vec<&'t str>,
    pub rows: Vec<Vec<Value>>,
    /// What they are, for the message.
    pub what: String,
    /// What else is known of them, by its names in JSON.
    pub facts: Vec<(&'static str, Value)>,
}

impl Table<'_> {
    /// Writes them, and says so.
    pub fn write(self, out: &Mined, json: bool) -> Result<(), Failure> {
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
pub fn check_output(out: &Mined) -> Result<(), Failure> {
    match &out.output {
        Some(path) => table_bytes(path, &[], [])
            .map(drop)
            .map_err(|e| Failure::usage(e.to_string())),
        None => Ok(()),
    }
}

/// What is searched, with its vectors.
pub struct Input {
    pub corpus: Corpus,
    /// What one of them is.
    pub noun: &'static str,
}

/// Reads the vectors at a path, or what the model of the arguments embeds.
pub fn load(arguments: &MineInput, input: &Path) -> Result<Input, Failure> {
    let model = arguments.model.as_deref().map(resolve).transpose()?;
    let of_items = model.as_deref().filter(|model| !is_text_model(model));
    if let Some(model) = of_items {
        refuse_option(
            only_for_text(Some(&arguments.text), &arguments.vectors),
            model,
        )?;
        let subject = Subject::load(model, &arguments.tolerance)?;
        let (vectors, damaged) = subject.read(input)?;
        if let Some(text) = left_out(&damaged) {
            output::note(format_args!("warning: {text}"));
        }
        return Ok(Input {
            corpus: vectors.into(),
            noun: "item",
        });
    }
    let table = arguments.text.table(input, arguments.tolerance.damaged)?;
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
pub fn working<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let bar = activity(what);
    let done = work();
    bar.finish_and_clear();
    done
}
