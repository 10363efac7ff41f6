//! `nearkin mine negatives`

use super::in_range;
use crate::arguments::{Form, Negatives, TextInput};
use crate::command::found::{Table, check_output, working};
use crate::command::text::{TextSubject, resolve, whole_column};
use crate::failure::Failure;
use crate::output;
use nearkin::Mat;
use nearkin::text::embed::Role;
use nearkin::text::hard_negatives::{self, HardNegatives, Pool, Sampling};
use nearkin::text::table::{self, Pairs, Rows};
use nearkin::text::task::{self, Protocol};
use nearkin_losses::range::{Finite, NonNegative};
use serde_json::Value;

/// Writes documents that a model takes for answers although they are none.
pub fn run(arguments: &Negatives, json: bool) -> Result<(), Failure> {
    check_output(&arguments.out)?;
    let miner = miner(arguments)?;
    let pool = pool(arguments)?;
    let subject = TextSubject::load(&resolve(&arguments.model)?, &arguments.vectors)?;
    let (queries, dim) = subject.vectors(&pool.queries, Role::Query)?;
    let (corpus, _) = subject.vectors(&pool.corpus, Role::Document)?;
    let mined = working("looking for negatives", || {
        let queries = Mat::new(&queries, pool.queries.len(), dim);
        let corpus = Mat::new(&corpus, pool.corpus.len(), dim);
        let candidates = miner.candidates(queries, corpus, &pool.positives)?;
        miner.select(&candidates)
    })?;
    let numbered: Vec<String> = (1..=miner.negatives.get())
        .map(|n| format!("negative_{n}"))
        .collect();
    let texts = |row: &[&str]| row.iter().map(|&text| Value::from(text)).collect();
    let (columns, rows): (Vec<&str>, Vec<Vec<Value>>) = match arguments.form {
        Form::Triplets => {
            let rows = mined.triplets(&pool).map(|row| texts(&row));
            (vec!["anchor", "positive", "negative"], rows.collect())
        }
        Form::Tuples => {
            let numbered = numbered.iter().map(String::as_str);
            let rows = mined
                .tuples(&pool, miner.negatives.get())
                .map(|row| texts(&row));
            (
                ["anchor", "positive"].into_iter().chain(numbered).collect(),
                rows.collect(),
            )
        }
        Form::Pairs => {
            let rows = mined.labeled_pairs(&pool).map(|(query, document, is)| {
                vec![query.into(), document.into(), u8::from(is).into()]
            });
            (vec!["sentence1", "sentence2", "label"], rows.collect())
        }
    };
    passed_over(&mined);
    let what = format!("{} rows of {} queries", rows.len(), pool.queries.len());
    Table {
        columns,
        rows,
        what,
        facts: Vec::new(),
    }
    .write(&arguments.out, json)
}

/// Says what the filters did.
fn passed_over(mined: &hard_negatives::Mined) {
    let reasons = [
        (mined.within_absolute_margin, "within the absolute margin"),
        (mined.within_relative_margin, "within the relative margin"),
        (mined.above_max_score, "above the highest score"),
        (mined.below_min_score, "below the lowest score"),
    ];
    for (count, reason) in reasons.iter().filter(|(count, _)| *count > 0) {
        output::note(format_args!(
            "{count} candidates were passed over: {reason}"
        ));
    }
    if mined.short > 0 {
        output::note(format_args!(
            "{} queries have fewer negatives than asked for",
            mined.short
        ));
    }
}

fn miner(arguments: &Negatives) -> Result<HardNegatives, Failure> {
    let finite =
        |name, number: Option<f64>| number.map(|x| in_range(name, Finite::new(x))).transpose();
    let margin = |name, number: Option<f64>| {
        number
            .map(|x| in_range(name, NonNegative::new(x)))
            .transpose()
    };
    Ok(HardNegatives {
        negatives: arguments.count,
        range_min: arguments.range_min,
        range_max: arguments.range_max,
        max_score: finite("max-score", arguments.max_score)?,
        min_score: finite("min-score", arguments.min_score)?,
        absolute_margin: margin("absolute-margin", arguments.absolute_margin)?,
        relative_margin: margin("relative-margin", arguments.relative_margin)?,
        sampling: if arguments.random.is_some() {
            Sampling::Random
        } else {
            Sampling::Top
        },
        seed: arguments.random.unwrap_or(0),
        ..HardNegatives::default()
    })
}

/// Queries, answers and the documents beside them.
fn pool(arguments: &Negatives) -> Result<Pool, Failure> {
    let input = TextInput {
        column: None,
        id: None,
        format: None,
    };
    let table = input.table(&arguments.pairs, arguments.tolerance.damaged)?;
    let rows = match &arguments.columns[..] {
        [] => task::guess(&table, Protocol::Ir)?,
        [first, second] => Some(Rows::Pairs(Pairs {
            first: first.clone(),
            second: second.clone(),
            label: None,
            classes: Vec::new(),
            drop: table::Names::default(),
        })),
        _ => None,
    };
    let Some(Rows::Pairs(pairs)) = rows else {
        let known = table.columns()?.join(", ");
        let path = table.path.display();
        return Err(Failure::usage(format!(
            "{path}: name the columns with --columns QUERY,ANSWER, two of {known}"
        )));
    };
    let read = table.read(&Rows::Pairs(Pairs {
        label: None,
        ..pairs
    }))?;
    let corpus = arguments.corpus.as_deref().map(whole_column).transpose()?;
    Ok(Pool::new(
        &read.texts[0],
        &read.texts[1],
        &corpus.unwrap_or_default(),
    )?)
}
