//! `nearkin mine`

mod labels;
mod negatives;

use super::found::{Input, Table, check_output, load, working};
use crate::arguments::{Mine, MineAction, Paraphrases};
use crate::failure::Failure;
use nearkin::text::paraphrase::paraphrases;
use nearkin_losses::range::OutOfRange;
use serde_json::Value;

/// Finds something in texts, images or vectors and writes it.
pub fn run(arguments: &Mine, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        MineAction::Negatives(arguments) => negatives::run(arguments, json),
        MineAction::Paraphrases(arguments) => pairs(arguments, json),
        MineAction::Labels(arguments) => labels::run(arguments, json),
    }
}

fn pairs(arguments: &Paraphrases, json: bool) -> Result<(), Failure> {
    check_output(&arguments.texts.out)?;
    let Input {
        corpus: texts,
        noun,
    } = load(&arguments.texts, &arguments.texts.input)?;
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

fn in_range<T>(name: &str, number: Result<T, OutOfRange>) -> Result<T, Failure> {
    number.map_err(|error| Failure::usage(format!("--{name}: {error}")))
}
