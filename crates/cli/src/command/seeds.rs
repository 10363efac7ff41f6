//! `nearkin train --seeds`: the same recipe several times, to see what chance is worth.

use super::first_stage;
use super::opened::{Opened, look, opened};
use super::stages::{self, Stage};
use super::train::{resolved, supervised};
use crate::arguments::Train;
use crate::failure::Failure;
use crate::{output, table};
use nearkin::evaluate::Estimate;
use nearkin::pair_network::PairReport;
use nearkin::recipe::Document;
use nearkin::text::train::TextReport;
use nearkin::train::Report;
use serde::Serialize;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

/// A score over all seeds.
#[derive(Serialize)]
pub struct Spread {
    /// What was measured.
    pub name: String,
    /// Mean over the seeds.
    pub mean: f64,
    /// Standard deviation, of a sample; none of a single run.
    pub std: Option<f64>,
    /// One value for each seed.
    pub values: Vec<f64>,
    /// For each seed the 95% bootstrap interval over what was tested, from and to; none of a score that is a mean over draws.
    pub intervals: Vec<Option<[f64; 2]>>,
    /// Whether it is the first score of its evaluation.
    #[serde(skip)]
    pub leads: bool,
}

/// A score of one run.
#[derive(Clone)]
struct Score {
    name: String,
    value: f64,
    interval: Option<[f64; 2]>,
    leads: bool,
}

impl Score {
    /// The one score of an evaluation of its own.
    fn leading(name: impl Into<String>, estimate: &Estimate) -> Self {
        Self {
            name: name.into(),
            value: estimate.value,
            interval: Some([estimate.low, estimate.high]),
            leads: true,
        }
    }
}

impl Spread {
    /// One seed's value in percent, with half the width of its interval.
    pub fn percent(&self, seed: usize) -> String {
        let value = 100.0 * self.values[seed];
        match self.intervals[seed] {
            Some([low, high]) => format!("{value:.2} ±{:.2}", 50.0 * (high - low)),
            None => format!("{value:.2}"),
        }
    }
}

/// Trains with `count` seeds and prints mean and deviation.
pub fn run(arguments: &Train, folder: &Path, count: NonZeroU16, json: bool) -> Result<(), Failure> {
    let Some(path) = &arguments.recipe else {
        return Err(Failure::usage("--seeds needs a recipe"));
    };
    let documents = stages::documents(path, &arguments.set)?;
    let spreads = trained(&documents, folder, count, &[])?;
    if json {
        output::json(&spreads)?;
        return Ok(());
    }
    let mut shown = table::new(&["", "mean", "std", "each"]);
    for spread in &spreads {
        let percent = |x: &f64| format!("{:.2}", x * 100.0);
        let seeds = 0..spread.values.len();
        let each: Vec<String> = seeds.map(|seed| spread.percent(seed)).collect();
        shown.add_row([
            spread.name.clone(),
            percent(&spread.mean),
            spread.std.as_ref().map_or_else(|| "–".into(), percent),
            each.join(", "),
        ]);
    }
    table::numbers_right(&mut shown);
    output::line(format_args!(
        "Trained with {count} seeds, in percent; each with half the 95% bootstrap interval:"
    ))?;
    output::line(shown)?;
    Ok(())
}

/// Trains a chain of recipes with `count` seeds from the last recipe's own on, each in a folder of its own. What a stopped
/// command began goes on when it is given again. First stages that are the same are taken from `others`, folders of such chains.
pub fn trained(
    documents: &[Document],
    folder: &Path,
    count: NonZeroU16,
    others: &[PathBuf],
) -> Result<Vec<Spread>, Failure> {
    let Some(last) = stages::placed(documents.to_vec(), folder)?.pop() else {
        return Ok(Vec::new());
    };
    if documents.len() > 1 {
        look(documents, |_, _| Ok(()))?;
    }
    let first = last.document.any_recipe()?.seed();
    let mut runs = Vec::new();
    for seed in first..first + u64::from(count.get()) {
        let mut documents = documents.to_vec();
        for document in &mut documents {
            document.set(&format!("seed={seed}"))?;
        }
        let name = format!("seed-{seed}");
        let folder = folder.join(&name);
        let stages = stages::placed(documents, &folder)?;
        for stage in &stages {
            check_same(&stage.document, &stage.folder)?;
        }
        output::note(format_args!("seed {seed}: {}", folder.display()));
        let others: Vec<PathBuf> = others.iter().map(|other| other.join(&name)).collect();
        first_stage::adopt(&stages, &others)?;
        let Some(Stage { document, folder }) = stages::up_to_last(stages)? else {
            continue;
        };
        runs.push(match opened(&document)? {
            Opened::Items(setup) => scores_of_items(&supervised(&*setup, &folder)?),
            Opened::Pairs(setup) => scores_of_pairs(&supervised(&*setup, &folder)?),
            Opened::Text(setup) => scores_of_texts(&supervised(&*setup, &folder)?),
            Opened::CrossEncoder(setup) => scores_of_texts(&supervised(&*setup, &folder)?),
        });
    }
    Ok(spreads(&runs))
}

/// A run that was begun goes on only with the recipe it began with.
pub fn check_same(document: &Document, folder: &Path) -> Result<(), Failure> {
    let path = folder.join("recipe.toml");
    if path.exists() && resolved(&Document::read(&path)?)? != resolved(document)? {
        return Err(Failure::usage(format!(
            "{}: a run with another recipe is there already; name another --out",
            folder.display()
        )));
    }
    Ok(())
}

fn scores_of_texts(report: &TextReport) -> Vec<Score> {
    let before = [None].into_iter().chain(report.rows.iter().map(Some));
    let rows = report.rows.iter().zip(before);
    rows.map(|(row, before)| Score {
        leads: before.is_none_or(|before| before.name != row.name),
        ..Score::leading(format!("{} {}", row.name, row.metric), &row.trained)
    })
    .collect()
}

fn scores_of_pairs(report: &PairReport) -> Vec<Score> {
    let Some(row) = report.rows.last() else {
        return Vec::new();
    };
    let reid = &row.found.reid;
    let ranks = reid.single_shot.iter();
    let ranks = ranks.map(|(k, over)| Score {
        name: format!("rank-{k}"),
        value: over.mean,
        interval: None,
        leads: true,
    });
    ranks.chain([Score::leading("mAP", &reid.map)]).collect()
}

fn scores_of_items(report: &Report) -> Vec<Score> {
    let Some(row) = report.rows.last() else {
        return Vec::new();
    };
    let retrieval = &row.evaluation.retrieval;
    let recall = retrieval.recall();
    let recall = recall.map(|(k, estimate)| Score::leading(format!("Recall@{k}"), &estimate));
    recall
        .chain([
            Score::leading("R-precision", &retrieval.r_precision),
            Score::leading("MAP@R", &retrieval.map_at_r),
        ])
        .collect()
}

/// Mean and deviation of each score.
fn spreads(runs: &[Vec<Score>]) -> Vec<Spread> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let spread = |(place, score): (usize, &Score)| {
        let values: Vec<f64> = runs.iter().map(|run| run[place].value).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Spread {
            name: score.name.clone(),
            mean,
            std: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            values,
            intervals: runs.iter().map(|run| run[place].interval).collect(),
            leads: score.leads,
        }
    };
    first.iter().enumerate().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: f64) -> Vec<Score> {
        let (low, high) = (value - 0.1, value + 0.3);
        vec![Score::leading("a", &Estimate { value, low, high })]
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let found = spreads(&[run(1.0), run(2.0), run(3.0)]);
        assert_eq!((found[0].mean, found[0].std), (2.0, Some(1.0)));
        assert_eq!(spreads(&[run(1.0)])[0].std, None);
    }

    #[test]
    fn every_seed_keeps_its_own_interval() {
        let found = &spreads(&[run(0.25), run(0.5)])[0];
        assert_eq!(found.intervals[1], Some([0.4, 0.8]));
        assert_eq!(found.percent(0), "25.00 ±20.00");
    }
}
