//! `nearkin mine`

use super::TextSubject;
use super::corpus::Corpus;
use crate::arguments::{
    Clusters, Communities, Form, Linkage, Mine, MineAction, MineInput, Mined, Negatives,
    Paraphrases, TextInput,
};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use nearkin::Mat;
use nearkin::text::agglomerative::{self, Agglomerative};
use nearkin::text::community;
use nearkin::text::embed::Role;
use nearkin::text::hard_negatives::{self, HardNegatives, Pool, Sampling};
use nearkin::text::paraphrase::paraphrases;
use nearkin::text::table::{self, Pairs, Rows, table_bytes};
use nearkin::text::task::{self, Protocol};
use nearkin_losses::range::{Finite, NonNegative, OutOfRange};
use serde_json::Value;
use std::path::Path;

/// Finds something in texts and writes it.
pub fn run(arguments: &Mine, json: bool) -> Result<(), Failure> {
    match &arguments.action {
        MineAction::Negatives(arguments) => negatives(arguments, json),
        MineAction::Paraphrases(arguments) => pairs(arguments, json),
        MineAction::Communities(arguments) => communities(arguments, json),
        MineAction::Clusters(arguments) => clusters(arguments, json),
    }
}

/// Rows on their way to a file.
struct Table<'t> {
    columns: Vec<&'t str>,
    rows: Vec<Vec<Value>>,
    /// What they are, for the message.
    what: String,
}

impl Table<'_> {
    fn write(self, out: &Mined, json: bool) -> Result<(), Failure> {
        let Self {
            columns,
            rows,
            what,
        } = self;
        let path = out.output.as_deref().unwrap_or(Path::new("-.jsonl"));
        let bytes = table_bytes(path, &columns, rows)?;
        if out.output.is_none() {
            return output::write(String::from_utf8_lossy(&bytes));
        }
        nearkin::write_beside(path, &bytes)?;
        if json {
            return output::line(serde_json::json!({ "file": path, "found": what }));
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

fn load(arguments: &MineInput) -> Result<Corpus, Failure> {
    check_output(&arguments.out)?;
    let table = arguments
        .text
        .table(&arguments.input, arguments.tolerance.damaged)?;
    let subject = match &arguments.model {
        Some(model) => Some(TextSubject::load(
            &super::resolve(model)?,
            &arguments.vectors,
        )?),
        None => None,
    };
    Corpus::load(&table, &arguments.text, subject.as_ref())
}

/// Work under a sign of life.
fn working<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let bar = activity(what);
    let done = work();
    bar.finish_and_clear();
    done
}

fn pairs(arguments: &Paraphrases, json: bool) -> Result<(), Failure> {
    let texts = load(&arguments.texts)?;
    let found = working("comparing all pairs", || {
        paraphrases(texts.mat(), arguments.max_pairs)
    })?;
    let good = found
        .iter()
        .filter(|pair| pair.score >= arguments.min_score);
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
    let columns = vec!["score", "row1", "row2", "sentence1", "sentence2"];
    Table {
        columns,
        rows,
        what,
    }
    .write(&arguments.texts.out, json)
}

fn communities(arguments: &Communities, json: bool) -> Result<(), Failure> {
    let miner = community::Communities {
        threshold: in_range("threshold", Finite::new(arguments.threshold))?,
        min_size: arguments.min_size,
    };
    let texts = load(&arguments.texts)?;
    let found = working("looking for communities", || miner.detect(texts.mat()))?;
    let members = found.iter().enumerate().flat_map(|(number, rows)| {
        let texts = &texts;
        rows.iter().enumerate().map(move |(at, &row)| {
            let text = texts.names[row].as_str();
            vec![number.into(), (at == 0).into(), row.into(), text.into()]
        })
    });
    let rows: Vec<Vec<Value>> = members.collect();
    let what = format!("{} communities of {} texts", found.len(), rows.len());
    let columns = vec!["community", "center", "row", "text"];
    Table {
        columns,
        rows,
        what,
    }
    .write(&arguments.texts.out, json)
}

fn clusters(arguments: &Clusters, json: bool) -> Result<(), Failure> {
    let texts = load(&arguments.texts)?;
    let clustering = Agglomerative {
        distance: agglomerative::Distance::Cosine,
        linkage: match arguments.linkage {
            Linkage::Average => agglomerative::Linkage::Average,
            Linkage::Complete => agglomerative::Linkage::Complete,
            Linkage::Single => agglomerative::Linkage::Single,
        },
    };
    let dendrogram = working("clustering", || clustering.cluster(texts.mat()))?;
    let of = match (arguments.count, arguments.within) {
        (Some(count), _) => dendrogram.clusters(count.get()),
        (None, within) => dendrogram.within(within.unwrap_or(0.0)),
    };
    let count = of.iter().max().map_or(0, |&last| last + 1);
    let row = |(row, (&cluster, text)): (usize, (&u32, &String))| {
        vec![cluster.into(), row.into(), text.as_str().into()]
    };
    let rows: Vec<Vec<Value>> = of.iter().zip(&texts.names).enumerate().map(row).collect();
    let what = format!("{count} clusters of {} texts", rows.len());
    let columns = vec!["cluster", "row", "text"];
    Table {
        columns,
        rows,
        what,
    }
    .write(&arguments.texts.out, json)
}

fn negatives(arguments: &Negatives, json: bool) -> Result<(), Failure> {
    check_output(&arguments.out)?;
    let miner = miner(arguments)?;
    let pool = pool(arguments)?;
    let subject = TextSubject::load(&super::resolve(&arguments.model)?, &arguments.vectors)?;
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

fn in_range<T>(name: &str, number: Result<T, OutOfRange>) -> Result<T, Failure> {
    number.map_err(|error| Failure::usage(format!("--{name}: {error}")))
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
    let corpus = arguments
        .corpus
        .as_deref()
        .map(super::whole_column)
        .transpose()?;
    Ok(Pool::new(
        &read.texts[0],
        &read.texts[1],
        &corpus.unwrap_or_default(),
    )?)
}
