//! `nearkin evaluate --protocol retrieval`: does every item find its own class?

use super::evaluate::Data;
use super::subject::{Subject, left_out, with_remedy};
use super::text::resolve;
use crate::arguments::{Evaluate, RetrievalOptions};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use crate::table::{self, numbers_right, percent};
use nearkin::Mat;
use nearkin::embed::{Embedded, pixels};
use nearkin::evaluate::{Estimate, Evaluation, Paired, Retrieval, evaluate, paired};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::Path;

/// Numbers of the vectors times classes up to which k-means takes seconds; beyond, NMI is left to `--protocol clustering`.
const CLUSTERED: usize = 2_000_000_000;

/// How the scores begin that are compared where no cut-offs are asked for.
const MAIN: [&str; 3] = ["Recall@", "R-precision", "MAP@R"];

/// The row of the side that is measured against another.
pub const FIRST: &str = "first";
/// The row of the other.
pub const SECOND: &str = "second";

/// Measures a model beside the raw input, or beside another model.
pub fn run(
    arguments: &Evaluate,
    (subject, data): (&Subject, &Data),
    json: bool,
) -> Result<(), Failure> {
    let Data { feed, indices, .. } = data;
    let (options, classes) = (&arguments.retrieval, &feed.dataset().classes);
    let embedded = subject.embed(feed, indices)?;
    let other = match &options.against {
        Some(path) => against(arguments, path, (data, &embedded))?,
        None => pixels(feed, indices).map_err(with_remedy)?,
    };
    let bar = activity("measuring the model");
    let model = measure(&embedded, options)?;
    bar.set_message("measuring what it is compared with");
    let other = measure(&other, options)?;
    bar.finish_and_clear();
    let rows = match &options.against {
        Some(_) => [(FIRST, &model), (SECOND, &other)],
        None => [("raw input", &other), ("model", &model)],
    };
    let damaged = feed.damaged();
    let shown = Shown {
        what: &data.what,
        rows: &rows,
        of: &model,
        classes,
        options,
    };
    shown.print(json, [("damaged", json!(damaged))])?;
    left_out(&damaged)
        .filter(|_| !json)
        .map_or(Ok(()), output::line)
}

/// The same items as another model sees them.
fn against(
    arguments: &Evaluate,
    path: &Path,
    (data, first): (&Data, &Embedded),
) -> Result<Embedded, Failure> {
    let subject = Subject::load(&resolve(path)?, &arguments.tolerance)?;
    let feed = data.feed.reading(subject.model.config.input.clone())?;
    let second = subject.embed(&feed, &data.indices)?;
    if second.items == first.items {
        return Ok(second);
    }
    Err(Failure::usage(format!(
        "{} cannot read all that {} can: they are compared on the same items alone",
        path.display(),
        arguments.model.display()
    )))
}

/// Measures vectors by their labels.
pub fn measure(embedded: &Embedded, options: &RetrievalOptions) -> Result<Evaluation, Failure> {
    let matrix = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
    let mut options = options.options();
    let classes: HashSet<u32> = embedded.labels.iter().copied().collect();
    if embedded.numbers.len().saturating_mul(classes.len()) > CLUSTERED {
        options.cluster_seeds = 0;
    }
    Ok(evaluate(matrix, &embedded.labels, &options)?)
}

/// What scores say of one class.
pub fn single_class(found: &Evaluation) -> Option<&'static str> {
    (found.classes == 1)
        .then_some("a single class: every answer is right, so the scores say nothing")
}

/// What was measured, to be shown.
pub struct Shown<'a> {
    /// What of, in words.
    pub what: &'a str,
    /// The sides by name; where they are first and second, they are compared query by query.
    pub rows: &'a [(&'static str, &'a Evaluation)],
    /// The side whose cut-offs and classes are shown.
    pub of: &'a Evaluation,
    /// Names of the classes.
    pub classes: &'a [String],
    /// What was asked for.
    pub options: &'a RetrievalOptions,
}

impl Shown<'_> {
    /// Prints it all, as JSON with some more facts, or for people.
    pub fn print<const N: usize>(
        &self,
        json: bool,
        more: [(&'static str, Value); N],
    ) -> Result<(), Failure> {
        let paired = self.paired()?;
        if json {
            return output::json(&self.json(paired, more));
        }
        let units = self.of.retrieval.unit;
        let units = match units {
            nearkin::evaluate::Unit::Query => "queries",
            nearkin::evaluate::Unit::Class => "classes",
        };
        output::line(format_args!(
            "{}, in percent, with half the 95% bootstrap interval over {units}:",
            self.what
        ))?;
        output::line(table::evaluations(self.rows))?;
        output::line(&self.of.retrieval.convention)?;
        // Of several labels an item may have none, and be a wrong answer.
        if let (None, Some(warning)) = (&self.options.label_separator, single_class(self.of)) {
            output::line(warning)?;
        }
        self.print_averages()?;
        if !self.options.at.is_empty() {
            output::line(cut_offs(&self.of.retrieval))?;
        }
        if let Some(shown) = self.worst_classes() {
            output::line(shown)?;
        }
        paired.map_or(Ok(()), |paired| {
            let all = !self.options.at.is_empty();
            let is_main = |score: &&Paired| MAIN.iter().any(|main| score.name.starts_with(main));
            let shown = paired.iter().filter(|score| all || is_main(score));
            output::line(comparison(shown))?;
            output::line(
                "first − second with its 95% interval; p: how often a difference as large, of either sign, comes about by chance",
            )
        })
    }

    fn print_averages(&self) -> Result<(), Failure> {
        for (name, side) in self.rows {
            match side.clustering {
                Some(clusters) => output::line(format_args!(
                    "{name}: k-means with {} clusters, mean over {} seeds: pairwise F1 {:.1}",
                    clusters.clusters,
                    clusters.seeds,
                    100.0 * clusters.f1
                ))?,
                None if self.options.of_vectors().is_some() => {}
                None => output::line(format_args!(
                    "{name}: too many items for NMI beside the rest, --protocol clustering measures it"
                ))?,
            }
            if let Some(averages) = &side.retrieval.macro_average {
                let recall = averages.recall.iter();
                let recall = recall.map(|(k, x)| format!("Recall@{k} {:.1}, ", 100.0 * x));
                output::line(format_args!(
                    "{name}: mean over {} classes: {}MAP@R {:.1}",
                    averages.classes,
                    recall.collect::<String>(),
                    100.0 * averages.map_at_r
                ))?;
            }
        }
        Ok(())
    }

    fn paired(&self) -> Result<Option<Vec<Paired>>, Failure> {
        match self.rows {
            [(FIRST, a), (SECOND, b)] => {
                let (a, b) = (&a.retrieval.scores, &b.retrieval.scores);
                Ok(Some(paired(a, b, &self.options.options())?))
            }
            _ => Ok(None),
        }
    }

    fn json<const N: usize>(
        &self,
        paired: Option<Vec<Paired>>,
        more: [(&'static str, Value); N],
    ) -> Value {
        let mut value: Map<String, Value> = Map::new();
        value.insert("data".to_owned(), json!(self.what));
        for (name, side) in self.rows {
            value.insert(name.replace("raw input", "raw"), json!(side));
        }
        if let Some(paired) = paired {
            value.insert("paired".to_owned(), json!(paired));
        }
        if self.options.worst_classes.is_some() {
            let classes = self.sorted_classes();
            value.insert("worst_classes".to_owned(), json!(classes));
        }
        value.extend(more.map(|(name, fact)| (name.to_owned(), fact)));
        Value::Object(value)
    }

    /// The classes that were asked for: name, queries, and their mean scores, the lowest MAP@R first.
    fn sorted_classes(&self) -> Vec<Value> {
        let scores = &self.of.retrieval.scores;
        let mut classes = scores.by_class();
        let last = |scores: &[f32]| scores.last().copied().unwrap_or_default();
        classes.sort_by(|a, b| last(&a.scores).total_cmp(&last(&b.scores)));
        let most = self
            .options
            .worst_classes
            .map_or(0, std::num::NonZeroUsize::get);
        let shown = classes.into_iter().take(most).map(|class| {
            let named = scores.names.iter().zip(&class.scores);
            let scores: Map<String, Value> =
                named.map(|(name, score)| (name.clone(), json!(score))).collect();
            json!({ "class": self.classes[class.label as usize], "queries": class.queries, "scores": scores })
        });
        shown.collect()
    }

    fn worst_classes(&self) -> Option<String> {
        self.options.worst_classes?;
        let first = format!("Recall@{}", self.of.retrieval.at.first()?.k);
        let names = [first.as_str(), "R-precision", "MAP@R"];
        let mut table = table::new(&["class", "queries", names[0], names[1], names[2]]);
        for class in self.sorted_classes() {
            let score = |name: &str| class["scores"][name].as_f64().unwrap_or(f64::NAN);
            let mut cells = vec![
                class["class"].as_str().unwrap_or_default().to_owned(),
                class["queries"].to_string(),
            ];
            cells.extend(names.map(|name| format!("{:.1}", 100.0 * score(name))));
            table.add_row(cells);
        }
        numbers_right(&mut table);
        Some(table.to_string())
    }
}

/// The scores at each cut-off.
fn cut_offs(found: &Retrieval) -> String {
    let mut table = table::new(&[
        "K",
        "Recall",
        "precision",
        "coverage",
        "MRR",
        "nDCG",
        "MAP",
        "MAP/R",
        "MAP/F",
    ]);
    for at in &found.at {
        let scores = at.scores();
        let cells = scores.iter().map(percent);
        table.add_row([at.k.to_string()].into_iter().chain(cells));
    }
    numbers_right(&mut table);
    table.to_string()
}

/// Two sides, score by score.
fn comparison<'a>(paired: impl Iterator<Item = &'a Paired>) -> String {
    let mut table = table::new(&["", FIRST, SECOND, "difference", "p", "better", "worse"]);
    for score in paired {
        let Estimate { value, low, high } = score.difference;
        let shown = [value, low, high].map(|x| format!("{:+.2}", 100.0 * x));
        table.add_row([
            score.name.clone(),
            format!("{:.2}", 100.0 * score.first),
            format!("{:.2}", 100.0 * score.second),
            format!("{} [{}, {}]", shown[0], shown[1], shown[2]),
            format!("{:.3}", score.p),
            score.better.to_string(),
            score.worse.to_string(),
        ]);
    }
    numbers_right(&mut table);
    table.to_string()
}
