//! `nearkin evaluate` on texts.

use super::TextSubject;
use crate::arguments::{Aggregate, Evaluate, Protocol, TextEvaluate, only_for_text};
use crate::failure::Failure;
use crate::progress::items;
use crate::{output, table};
use nearkin::evaluate::Estimate;
use nearkin::text::TextTable;
use nearkin::text::embed::Role;
use nearkin::text::encoder::CrossEncoder;
use nearkin::text::head::Head;
use nearkin::text::information_retrieval::AnswersAtK;
use nearkin::text::similarity::ByMeasure;
use nearkin::text::sts::Aggregation;
use nearkin::text::table::Rows;
use nearkin::text::task::{self, Folds, Judge, Measured, Scores, Task};
use nearkin_losses::range::Fraction;
use std::path::Path;

/// The model that compares words.
const TFIDF: &str = "tfidf";

/// Measures a model on a table of texts.
pub fn run(arguments: &Evaluate, model: &Path, json: bool) -> Result<(), Failure> {
    let task = self::task(arguments)?;
    let compares_words = model == Path::new(TFIDF) && !model.exists();
    if compares_words || CrossEncoder::is_in(model) {
        refuse_vectors(arguments)?;
    }
    if compares_words {
        return report(&measure(&task, Judge::TfIdf)?, arguments, json);
    }
    if CrossEncoder::is_in(model) {
        let judge = CrossEncoder::load(model)?;
        return report(
            &measure(&task, Judge::CrossEncoder(&judge))?,
            arguments,
            json,
        );
    }
    let by_head = task.protocol == task::Protocol::Classification;
    let head = by_head.then(|| head(model)).transpose()?;
    let subject = TextSubject::load(model, &arguments.vectors)?;
    let (encoder, options) = (&subject.encoder, subject.options(Role::Text));
    let judge = match &head {
        Some(head) => Judge::Head(encoder, &options, head),
        None => Judge::Encoder(encoder, &options),
    };
    report(&measure(&task, judge)?, arguments, json)
}

/// The head that training kept beside the encoder.
fn head(model: &Path) -> Result<Head, Failure> {
    if !Head::is_in(model, "head") {
        return Err(Failure::usage(format!(
            "{}: no head.safetensors in it; --protocol classification measures the head that a recipe with [loss.softmax_classification] trains",
            model.display()
        )));
    }
    Ok(Head::load(model, "head")?)
}

/// Measures the vectors of a file, whose ids are texts, on a table of texts.
pub fn of_vectors(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    let task = self::task(arguments)?;
    let vectors = nearkin::vectors::read(&arguments.model)?;
    report(&measure(&task, Judge::Vectors(&vectors))?, arguments, json)
}

/// A model that scores pairs has no vectors to be cut or pooled.
fn refuse_vectors(arguments: &Evaluate) -> Result<(), Failure> {
    only_for_text(None, &arguments.vectors).map_or(Ok(()), |option| {
        let model = arguments.model.display();
        Err(Failure::usage(format!(
            "{option} goes with a sentence encoder; {model} scores pairs and has no vectors"
        )))
    })
}

fn measure(task: &Task, judge: Judge) -> Result<Measured, Failure> {
    let bar = items(0, "embedding");
    let measured = task.measure(judge, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    });
    bar.finish_and_clear();
    Ok(measured?)
}

fn task(arguments: &Evaluate) -> Result<Task, Failure> {
    let text = &arguments.text;
    let (Some(data), Some(protocol)) = (&arguments.data, arguments.protocol) else {
        return Err(Failure::usage(format!(
            "a model of texts is measured on --data TABLE by --protocol {}",
            Protocol::OF_TEXTS
        )));
    };
    let table = |path: &Path| table(arguments, path);
    let (data, protocol) = (table(data)?, of_texts(protocol)?);
    let usage = |name: &str, error: String| Failure::usage(format!("--{name}: {error}"));
    let mut task = match &text.rows {
        Some(rows) => Task::new(
            data,
            protocol,
            Rows::parse(rows).map_err(|e| usage("rows", e))?,
        ),
        None => Task::guess(data, protocol).map_err(|error| match error {
            nearkin::Error::Text(error) => Failure::usage(format!("{error} with --rows")),
            error => error.into(),
        })?,
    };
    task.aggregation = (aggregation(text), text.by.clone());
    task.folds = match (&text.folds, &text.topics) {
        (Some(count), _) => Folds::Count(usize::from(*count)),
        (None, Some(column)) => Folds::Topics(column.clone()),
        (None, None) => Folds::Usual,
    };
    if let Some(cutoffs) = arguments.retrieval.cutoffs() {
        task.cutoffs = cutoffs;
    }
    if let Some(corpus) = &text.corpus {
        task.corpus = super::whole_column(corpus)?;
    }
    if let Some(train) = &text.train {
        let validation = text.validation.as_deref().map(table).transpose()?;
        task.train = Some((table(train)?, validation));
    }
    Ok(task)
}

/// A table with the filters and the tolerance that were asked for.
fn table(arguments: &Evaluate, path: &Path) -> Result<TextTable, Failure> {
    let mut table = TextTable::new(path);
    if let Some(share) = arguments.tolerance.damaged {
        let share = Fraction::new(share);
        table.damaged = share.map_err(|error| Failure::usage(format!("--damaged: {error}")))?;
    }
    for filter in &arguments.text.filter {
        let kept = table.filter_by(filter);
        kept.map_err(|error| Failure::usage(format!("--filter: {error}")))?;
    }
    Ok(table)
}

fn aggregation(text: &TextEvaluate) -> Aggregation {
    match text.aggregate {
        None | Some(Aggregate::All) => Aggregation::All,
        Some(Aggregate::Mean) => Aggregation::Mean,
        Some(Aggregate::Wmean) => Aggregation::Wmean,
    }
}

fn of_texts(protocol: Protocol) -> Result<task::Protocol, Failure> {
    Ok(match protocol {
        Protocol::Retrieval
        | Protocol::Verification
        | Protocol::Reid
        | Protocol::Identification
        | Protocol::FewShot
        | Protocol::NWay
        | Protocol::Clustering => {
            return Err(Failure::usage(format!(
                "models of texts are measured by --protocol {}",
                Protocol::OF_TEXTS
            )));
        }
        Protocol::Sts => task::Protocol::Sts,
        Protocol::Pairs => task::Protocol::Pairs,
        Protocol::Classification => task::Protocol::Classification,
        Protocol::Triplets => task::Protocol::Triplets,
        Protocol::Ir => task::Protocol::Ir,
        Protocol::Senteval => task::Protocol::Senteval,
    })
}

fn report(measured: &Measured, arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(measured);
    }
    let data = arguments.data.as_deref().unwrap_or(Path::new("")).display();
    let damaged = match measured.damaged {
        0 => String::new(),
        1 => ", a damaged one left out".to_owned(),
        damaged => format!(", {damaged} damaged ones left out"),
    };
    let ranked = match &measured.scores {
        Scores::Retrieval(found) => format!(", ranked by {}", found.similarity.name()),
        _ => String::new(),
    };
    output::line(format_args!(
        "{} rows of {data}{damaged}{ranked}, in percent, with the 95% bootstrap interval:",
        measured.rows
    ))?;
    let (header, rows) = cells(&measured.scores);
    let mut table = table::new(&header);
    for row in rows {
        table.add_row(row);
    }
    table::numbers_right(&mut table);
    output::line(table)
}

/// The table of the scores.
fn cells(scores: &Scores) -> (Vec<&'static str>, Vec<Vec<String>>) {
    match scores {
        Scores::Sts(found) => {
            let row =
                |c: &nearkin::text::sts::Correlations| vec![maybe(c.spearman), maybe(c.pearson)];
            (
                vec!["", "Spearman", "Pearson"],
                by_measure(&found.correlations, row),
            )
        }
        Scores::Correlations(found) => (
            vec!["", "Spearman", "Pearson"],
            vec![vec![
                "score".into(),
                maybe(found.spearman),
                maybe(found.pearson),
            ]],
        ),
        Scores::Pairs(found) => (PAIRS.to_vec(), by_measure(&found.scores, pair_cells)),
        Scores::PairScores(found) => {
            let row = [vec!["score".to_owned()], pair_cells(found)].concat();
            (PAIRS.to_vec(), vec![row])
        }
        Scores::Classes(found) => (
            vec!["classes of the model", "accuracy", "macro F1"],
            vec![vec![
                format!("{} pairs", found.items),
                percent(&found.accuracy),
                percent(&found.macro_f1),
            ]],
        ),
        Scores::HeldOut(found) => (
            vec!["thresholds of other folds", "accuracy", "F1"],
            vec![vec![
                String::new(),
                percent(&found.accuracy),
                percent(&found.f1),
            ]],
        ),
        Scores::Triplets(found) => (
            vec!["", "accuracy"],
            by_measure(&found.accuracy, |a| vec![percent(a)]),
        ),
        Scores::Retrieval(found) => {
            let header = vec!["k", "accuracy", "precision", "recall", "MRR", "nDCG", "MAP"];
            let rows = found.at.iter().map(answer_cells);
            (header, rows.collect())
        }
        Scores::Classification(found) => (
            vec!["logistic regression", "accuracy"],
            vec![vec![
                format!("{} tested", found.items),
                percent(&found.accuracy),
            ]],
        ),
    }
}

const PAIRS: [&str; 6] = ["", "AP", "best F1", "precision", "recall", "best accuracy"];

fn pair_cells(scores: &nearkin::text::pairs::PairScores) -> Vec<String> {
    let f1 = format!("{} from {:.3}", percent(&scores.f1), scores.f1_threshold);
    let accuracy = format!(
        "{} from {:.3}",
        percent(&scores.accuracy),
        scores.accuracy_threshold
    );
    let shares = [&scores.average_precision, &scores.precision, &scores.recall].map(percent);
    let [average, precision, recall] = shares;
    vec![average, f1, precision, recall, accuracy]
}

fn answer_cells(at: &AnswersAtK) -> Vec<String> {
    let shown = at.shown();
    let cells = shown.iter().map(percent);
    [at.k.to_string()].into_iter().chain(cells).collect()
}

fn by_measure<T>(scores: &ByMeasure<T>, cells: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    let row = |(measure, scores): (nearkin::text::similarity::Measure, &T)| {
        [vec![measure.name().to_owned()], cells(scores)].concat()
    };
    scores.iter().map(row).collect()
}

fn maybe(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "–".into(), |estimate| percent(&estimate))
}

fn percent(estimate: &Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    format!(
        "{:.2} [{:.2}, {:.2}]",
        value * 100.0,
        low * 100.0,
        high * 100.0
    )
}
