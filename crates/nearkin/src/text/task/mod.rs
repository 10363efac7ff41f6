//! Evaluation of a model on a table of text: what the columns are, the texts embedded once each, the scores.
//!
//! ```no_run
//! use nearkin::text::{TextTable, encoder::{Options, SentenceEncoder}, task::{Judge, Protocol, Task}};
//! let encoder = SentenceEncoder::load("all-MiniLM-L6-v2".as_ref())?;
//! let task = Task::guess(TextTable::new("sts-benchmark/test.tsv"), Protocol::Sts)?;
//! let options = Options::default();
//! let scores = task.measure(Judge::Encoder(&encoder, &options), &mut |done, all| println!("{done} of {all}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod columns;
mod judge;
#[cfg(test)]
mod tests;

pub use columns::guess;
pub use judge::{Columns, Judge};

use serde::Serialize;

use super::classification::{ClassScores, class_scores};
use super::folds::{Fold, leave_one_group_out, stratified_k_fold};
use super::hard_negatives::Pool;
use super::information_retrieval::{self, InformationRetrieval};
use super::pairs::{self, BinaryPairs, HeldOut, PairScores};
use super::senteval::{self, Classification};
use super::sts::{self, Aggregation, Correlations, Sts};
use super::table::{Rows, Target, TextRows};
use super::triplets::{TripletAccuracy, triplet_accuracy};
use super::{Bootstrap, TextError, TextTable};
use crate::data::label_index;
use crate::error::{Error, Result};

/// How a model is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// [`sts`]: scored pairs.
    Sts,
    /// [`pairs`]: pairs of two classes.
    Pairs,
    /// [`super::classification`]: pairs of the classes that a head, or a cross-encoder, was trained to tell apart.
    Classification,
    /// [`super::triplets`]
    Triplets,
    /// [`information_retrieval`]: the first texts of pairs look for the second ones, by the model's own similarity.
    Ir,
    /// [`senteval`]: texts with classes.
    Senteval,
}

/// Which items are tested by a classifier, or a threshold, that was made from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Folds {
    /// Ten folds of classifiers; thresholds are chosen on the pairs that are measured.
    #[default]
    Usual,
    /// So many folds, stratified by class.
    Count(usize),
    /// A fold for each value of this column.
    Topics(String),
}

/// A table and what is to be measured on it.
#[derive(Clone, Debug)]
pub struct Task {
    /// The rows to measure.
    pub table: TextTable,
    /// What its columns are.
    pub rows: Rows,
    /// What is measured.
    pub protocol: Protocol,
    /// How the correlations of subsets become one, and the column that tells the subsets apart.
    pub aggregation: (Aggregation, Option<String>),
    /// Which items are tested by what was made from others.
    pub folds: Folds,
    /// Further texts among which answers are looked for.
    pub corpus: Vec<String>,
    /// The cut-offs at which answers are counted.
    pub cutoffs: Vec<usize>,
    /// Rows that classifiers are fitted to, and chosen on, in place of folds.
    pub train: Option<(TextTable, Option<TextTable>)>,
    /// How intervals are made.
    pub bootstrap: Bootstrap,
}

/// The scores of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// By each measure of likeness.
    Sts(Box<Sts>),
    /// Of a model that scores pairs.
    Correlations(Correlations),
    /// By each measure of likeness.
    Pairs(Box<BinaryPairs>),
    /// Of a model that scores pairs.
    PairScores(PairScores),
    /// Of a head or a cross-encoder that tells classes apart.
    Classes(ClassScores),
    /// With thresholds from other folds.
    HeldOut(HeldOut),
    /// By each measure of likeness.
    Triplets(TripletAccuracy),
    /// At each cut-off.
    Retrieval(InformationRetrieval),
    /// Of a linear classifier.
    Classification(Classification),
}

/// What came of a task.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Rows that were measured.
    pub rows: usize,
    /// Rows left out because they cannot be used.
    pub damaged: usize,
    /// The scores, with 95% bootstrap intervals.
    pub scores: Scores,
}

/// Told how many texts are done, of how many.
type Progress<'p> = &'p mut (dyn FnMut(usize, usize) + Send);

impl Task {
    /// All rows of a table, with these columns.
    pub fn new(table: TextTable, protocol: Protocol, rows: Rows) -> Self {
        Self {
            table,
            rows,
            protocol,
            aggregation: (Aggregation::All, None),
            folds: Folds::Usual,
            corpus: Vec::new(),
            cutoffs: information_retrieval::Options::default().ks,
            train: None,
            bootstrap: Bootstrap::default(),
        }
    }

    /// All rows of a table whose columns have well-known names.
    ///
    /// # Errors
    /// The table cannot be read, or has no such columns.
    pub fn guess(table: TextTable, protocol: Protocol) -> Result<Self> {
        match guess(&table, protocol)? {
            Some(rows) => Ok(Self::new(table, protocol, rows)),
            None => Err(setting(
                "rows",
                format!(
                    "{} has no columns of the names known for this, it has {}: say which are what",
                    table.path.display(),
                    table.columns()?.join(", ")
                ),
            )),
        }
    }

    /// Measures a model.
    ///
    /// # Errors
    /// The table cannot be read, its columns are not what the protocol needs, or the model has no vectors where they are
    /// needed.
    pub fn measure(&self, judge: Judge, progress: Progress) -> Result<Measured> {
        let read = self.table.read(&self.rows)?;
        let scores = match self.protocol {
            Protocol::Sts => self.sts(&read, judge, progress)?,
            Protocol::Pairs => self.pairs(&read, judge, progress)?,
            Protocol::Classification => self.classified(&read, judge, progress)?,
            Protocol::Triplets => {
                let columns = judge.embed(&texts::<3>(&read)?, progress)?;
                let mats = [0, 1, 2].map(|column| columns.mat(column));
                Scores::Triplets(triplet_accuracy(mats, self.bootstrap)?)
            }
            Protocol::Ir => self.retrieval(&read, judge, progress)?,
            Protocol::Senteval => self.senteval(&read, judge, progress)?,
        };
        Ok(Measured {
            rows: read.lines.len(),
            damaged: read.damage.rows,
            scores,
        })
    }

    fn sts(&self, read: &TextRows, judge: Judge, progress: Progress) -> Result<Scores> {
        let [first, second] = texts::<2>(read)?;
        let Target::Scores(gold) = &read.target else {
            return Err(setting("rows", "sts needs scored pairs".into()));
        };
        let (aggregation, by) = &self.aggregation;
        let subsets = match by {
            Some(column) => label_index(&self.column(read, column)?).1,
            None if *aggregation == Aggregation::All => vec![0; gold.len()],
            None => {
                let reason = "a mean over subsets needs the column that tells them apart";
                return Err(setting("aggregate", reason.into()));
            }
        };
        let scores = sts::Scores {
            gold,
            subsets: &subsets,
        };
        if judge.embeds() {
            let columns = judge.embed(&[first, second], progress)?;
            let mats = (columns.mat(0), columns.mat(1));
            let found = sts::sts_of_subsets(mats.0, mats.1, scores, *aggregation, self.bootstrap)?;
            return Ok(Scores::Sts(Box::new(found)));
        }
        let likeness = judge.scores(first, second, progress)?;
        let found = sts::correlate(&likeness, scores, *aggregation, self.bootstrap)?;
        Ok(Scores::Correlations(found))
    }

    fn pairs(&self, read: &TextRows, judge: Judge, progress: Progress) -> Result<Scores> {
        if judge.classifier().is_some() {
            if self.folds != Folds::Usual {
                let reason =
                    "a cross-encoder of classes has no threshold that other folds could choose";
                return Err(setting("folds", reason.into()));
            }
            return self.classified(read, judge, progress);
        }
        let [first, second] = texts::<2>(read)?;
        let positive = positive(read)?;
        if self.folds != Folds::Usual {
            let labels: Vec<u32> = positive.iter().map(|&is| u32::from(is)).collect();
            let folds = self.folds(read, &labels)?;
            let likeness = judge.scores(first, second, progress)?;
            let found = pairs::held_out(&likeness, &positive, &folds, self.bootstrap)?;
            return Ok(Scores::HeldOut(found));
        }
        if judge.embeds() {
            let columns = judge.embed(&[first, second], progress)?;
            let (first, second) = (columns.mat(0), columns.mat(1));
            let found = pairs::binary_pairs(first, second, &positive, self.bootstrap)?;
            return Ok(Scores::Pairs(Box::new(found)));
        }
        let likeness = judge.scores(first, second, progress)?;
        let found = pairs::threshold_scores(&likeness, &positive, self.bootstrap)?;
        Ok(Scores::PairScores(found))
    }

    /// The classes that a model tells apart, found by name among those of the table.
    fn classified(&self, read: &TextRows, judge: Judge, progress: Progress) -> Result<Scores> {
        let [first, second] = texts::<2>(read)?;
        let (found, gold) = if let Judge::Head(_, _, head) = judge {
            let gold = classes_of(read, &head.classes, true)?;
            let columns = judge.embed(&[first, second], progress)?;
            (head.classify(columns.mat(0), columns.mat(1))?, gold)
        } else if let Some(judge) = judge.classifier() {
            let gold = classes_of(read, judge.classes(), judge.names_classes())?;
            let pairs = first.iter().zip(second);
            let pairs: Vec<[&str; 2]> = pairs.map(|(a, b)| [a.as_str(), b.as_str()]).collect();
            let told = &mut |done| progress(done, pairs.len());
            (judge.classify(&pairs, told)?, gold)
        } else {
            let reason = "classification needs a model that tells classes of pairs apart, found none: neither a head nor a cross-encoder of classes";
            return Err(setting("protocol", reason.into()));
        };
        let scores = class_scores(&found, &gold, self.bootstrap)?;
        Ok(Scores::Classes(scores))
    }

    /// Queries are the first texts, answers the second ones of positive pairs; the corpus is all second texts and what was
    /// given beside them.
    fn retrieval(&self, read: &TextRows, judge: Judge, progress: Progress) -> Result<Scores> {
        let options = information_retrieval::Options {
            ks: self.cutoffs.clone(),
            similarity: judge.similarity()?,
            bootstrap: self.bootstrap,
        };
        let [first, second] = texts::<2>(read)?;
        let positive = match &read.target {
            Target::Nothing => vec![true; first.len()],
            _ => positive(read)?,
        };
        let answers = |texts: &[String]| -> Vec<String> {
            let pairs = texts.iter().zip(&positive);
            pairs
                .filter(|(_, is)| **is)
                .map(|(text, _)| text.clone())
                .collect()
        };
        let corpus: Vec<String> = second.iter().chain(&self.corpus).cloned().collect();
        let pool = Pool::new(&answers(first), &answers(second), &corpus)?;
        let (mut queries, mut documents) = (0, 0);
        let found = judge.embed(&[&pool.queries], &mut |done, all| {
            (queries, documents) = (done, all);
            progress(done, all + pool.corpus.len());
        })?;
        let corpus = judge.embed(&[&pool.corpus], &mut |done, all| {
            progress(queries + done, documents + all);
        })?;
        let found = information_retrieval::information_retrieval(
            found.mat(0),
            corpus.mat(0),
            &pool.positives,
            &options,
        )?;
        Ok(Scores::Retrieval(found))
    }

    fn senteval(&self, read: &TextRows, judge: Judge, progress: Progress) -> Result<Scores> {
        let [texts] = texts::<1>(read)?;
        let protocol = senteval::Protocol {
            bootstrap: self.bootstrap,
            ..senteval::Protocol::default()
        };
        let mut classes = Vec::new();
        let labels = labels(read, &mut classes)?;
        let Some((train, dev)) = &self.train else {
            let columns = judge.embed(&[texts], progress)?;
            let data = senteval::Labeled {
                embeddings: columns.mat(0),
                labels: &labels,
            };
            let found = match &self.folds {
                Folds::Usual => senteval::cross_validate(data, &protocol)?,
                _ => senteval::evaluate_folds(data, &self.folds(read, &labels)?, &protocol)?,
            };
            return Ok(Scores::Classification(found));
        };
        let mut part = |table: &TextTable| -> Result<(Columns, Vec<u32>)> {
            let read = table.read(&self.rows)?;
            let labels = self::labels(&read, &mut classes)?;
            Ok((judge.embed(&self::texts::<1>(&read)?, progress)?, labels))
        };
        let train = part(train)?;
        let dev = dev.as_ref().map(&mut part).transpose()?;
        let test = (judge.embed(&[texts], progress)?, labels);
        let found = senteval::given_splits(
            labeled(&train),
            dev.as_ref().map(labeled),
            labeled(&test),
            &protocol,
        )?;
        Ok(Scores::Classification(found))
    }

    fn folds(&self, read: &TextRows, labels: &[u32]) -> Result<Vec<Fold>> {
        Ok(match &self.folds {
            Folds::Usual => stratified_k_fold(labels, 10, 0)?,
            Folds::Count(count) => stratified_k_fold(labels, *count, 0)?,
            Folds::Topics(column) => {
                let (_, topics) = label_index(&self.column(read, column)?);
                leave_one_group_out(&topics)?
            }
        })
    }

    /// A further column of the rows that were read.
    fn column(&self, read: &TextRows, column: &str) -> Result<Vec<String>> {
        // Rows that were left out did not count towards the limit.
        let table = TextTable {
            limit: None,
            ..self.table.clone()
        };
        let (mut rows, mut fields) = (table.rows(&[column])?, Vec::new());
        let mut values = Vec::with_capacity(read.lines.len());
        while values.len() < read.lines.len() && rows.read_row(&mut fields)? {
            if rows.line() == read.lines[values.len()] {
                values.append(&mut fields);
            }
        }
        if values.len() < read.lines.len() {
            let line = read.lines[values.len()];
            return Err(setting(
                "column",
                format!("\"{column}\" of line {line} cannot be read"),
            ));
        }
        Ok(values)
    }
}

/// The columns of text.
fn texts<const N: usize>(read: &TextRows) -> Result<[&[String]; N]> {
    let columns: Vec<&[String]> = read.texts.iter().map(Vec::as_slice).collect();
    let found = columns.len();
    let wrong = |_| {
        setting(
            "rows",
            format!("the protocol needs {N} columns of text, found {found}"),
        )
    };
    columns.try_into().map_err(wrong)
}

/// Whether each pair is of the positive class: `entailment`, else the second of two.
fn positive(read: &TextRows) -> Result<Vec<bool>> {
    let Target::Classes { names, of } = &read.target else {
        return Err(setting("rows", "pairs need a class".into()));
    };
    let entailment = names.iter().position(|name| name == "entailment");
    let positive = match (entailment, names.len()) {
        (Some(at), _) => at,
        (None, 2) => 1,
        (None, found) => {
            let reason = format!(
                "pairs are of two classes, the second of them positive; found {found} ({}): group them with classes = [[…], […]]",
                names.join(", ")
            );
            return Err(setting("rows", reason));
        }
    };
    Ok(of.iter().map(|&class| class as usize == positive).collect())
}

/// The class of each pair, numbered as a model has them: by name, or by their order where it has no names of its own.
fn classes_of(read: &TextRows, known: &[String], named: bool) -> Result<Vec<u32>> {
    let Target::Classes { names, of } = &read.target else {
        return Err(setting("rows", "pairs need a class".into()));
    };
    let number = |name: &String| known.iter().position(|known| known == name);
    let numbers: Option<Vec<usize>> = if named {
        names.iter().map(number).collect()
    } else {
        (names.len() == known.len()).then(|| (0..names.len()).collect())
    };
    let numbers = numbers.ok_or_else(|| {
        let (known, found) = (known.join(", "), names.join(", "));
        let reason = format!(
            "the model tells the classes {known} apart, the table has {found}: name them alike with classes = [[…], […]]"
        );
        setting("rows", reason)
    })?;
    Ok(of
        .iter()
        .map(|&class| numbers[class as usize] as u32)
        .collect())
}

/// The class of each row, numbered as in the tables read before.
fn labels(read: &TextRows, classes: &mut Vec<String>) -> Result<Vec<u32>> {
    let Target::Classes { names, of } = &read.target else {
        return Err(setting("rows", "senteval needs texts with a class".into()));
    };
    let numbers = names.iter().map(|name| {
        let known = classes.iter().position(|class| class == name);
        known.unwrap_or_else(|| {
            classes.push(name.clone());
            classes.len() - 1
        }) as u32
    });
    let numbers: Vec<u32> = numbers.collect();
    Ok(of.iter().map(|&class| numbers[class as usize]).collect())
}

fn labeled((columns, labels): &(Columns, Vec<u32>)) -> senteval::Labeled<'_> {
    senteval::Labeled {
        embeddings: columns.mat(0),
        labels,
    }
}

fn setting(setting: &'static str, reason: String) -> Error {
    Error::Text(TextError::Setting { setting, reason })
}
