//! `nearkin reproduce`: the comparison of a paper, its table, and which of its claims hold.

use super::kept;
use super::opened::{Opened, opened};
use super::train::supervised;
use crate::arguments::{Reproduce, ScaleName};
use crate::failure::Failure;
use crate::{output, table};
use nearkin::Model;
use nearkin::pair_network::PairRow;
use nearkin::recipe::Document;
use nearkin::reproduce::{
    Arm, Findings, Measure, Numbers, Paper, Scale, Study, measured, measured_of_pairs,
};
use nearkin::split::Parts;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A study that is run.
struct Runs<'a> {
    arguments: &'a Reproduce,
    study: &'a Study,
    scale: &'a Scale,
    folder: PathBuf,
    seeds: u64,
    /// Changes for all arms: those that the data ask for, then the user's.
    changes: Vec<String>,
}

/// What a run leaves behind, so that a finished study is shown at once.
#[derive(Serialize, Deserialize)]
struct Scores {
    measures: Vec<Measure>,
    /// Of the raw input; empty where another run has them.
    raw: Vec<f64>,
    values: Vec<f64>,
}

/// What is printed for machines.
#[derive(Serialize)]
struct Report<'a> {
    title: &'a str,
    scale: &'static str,
    /// What was changed for all arms.
    set: &'a [String],
    seeds: u64,
    #[serde(flatten)]
    findings: &'a Findings,
    seconds: f64,
}

/// Trains what is not done yet, measures all, writes the page and prints it.
pub fn run(arguments: &Reproduce, json: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    if let Some(seed) = arguments
        .set
        .iter()
        .find(|set| set.trim_start().starts_with("seed"))
    {
        return Err(Failure::usage(format!(
            "--set {seed}: the seeds of a study are 0, 1, 2, …, as many as --seeds says"
        )));
    }
    let paper: Paper = arguments.paper.into();
    let study = Study::of(paper)?;
    let scale = match arguments.scale {
        ScaleName::Small => &study.small,
        ScaleName::Paper => &study.paper,
    };
    let name = format!("reproduce-{}-{}", paper.name(), arguments.scale.name());
    let default = || Path::new("runs").join(name);
    let of_data = study.changes_of_data(scale, &arguments.data)?;
    let runs = Runs {
        changes: [&of_data[..], &arguments.set].concat(),
        arguments,
        study: &study,
        scale,
        folder: arguments.out.clone().unwrap_or_else(default),
        seeds: u64::from(arguments.seeds.unwrap_or(scale.seeds.get())),
    };
    // What cannot be is better known before the first run than after hours of others.
    runs.check_folder()?;
    for arm in &study.arms {
        runs.document(arm, 0)?.any_recipe()?;
    }
    let findings = runs.findings()?;
    runs.write(&findings, paper)?;
    if json {
        return output::json(&Report {
            title: &study.title,
            scale: arguments.scale.name(),
            set: &arguments.set,
            seeds: runs.seeds,
            findings: &findings,
            seconds: begun.elapsed().as_secs_f64(),
        });
    }
    show(&study, &findings)?;
    output::line(format_args!(
        "{}/results.md, results.csv",
        runs.folder.display()
    ))
}

impl Runs<'_> {
    /// The page of results, whose heading says whose they are.
    fn page(&self) -> PathBuf {
        self.folder.join("results.md")
    }

    /// The results of another study are not written over.
    fn check_folder(&self) -> Result<(), Failure> {
        let path = self.page();
        if !path.exists() {
            return Ok(());
        }
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| Failure::run(format!("{}: {error}", path.display())))?;
        let heading = text.lines().next().unwrap_or_default();
        let title = heading.trim_start_matches('#').trim();
        if title == self.study.title {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{}: expected a folder for the results of {:?}, found those of {title:?}; name another --out",
            path.display(),
            self.study.title
        )))
    }

    /// Takes the folder for this study, before the first run is made: one that is stopped has no results yet.
    fn take_folder(&self) -> Result<(), Failure> {
        if self.page().exists() {
            return Ok(());
        }
        nearkin::create_folder(&self.folder)?;
        let page = format!("## {}\n\nNot all runs are done.\n", self.study.title);
        Ok(nearkin::write_beside(&self.page(), page.as_bytes())?)
    }

    /// Writes the page and the numbers.
    fn write(&self, findings: &Findings, paper: Paper) -> Result<(), Failure> {
        let set = self.arguments.set.iter();
        let set = set.map(|change| format!(" --set '{change}'"));
        let command = format!(
            "`nearkin reproduce {} --scale {}{}`, {} seeds, mean ± standard deviation; in italics the paper's figures.",
            paper.name(),
            self.arguments.scale.name(),
            set.collect::<String>(),
            self.seeds
        );
        let page = findings.markdown(self.study, &command);
        nearkin::write_beside(&self.page(), page.as_bytes())?;
        let numbers = self.folder.join("results.csv");
        Ok(nearkin::write_beside(&numbers, findings.csv().as_bytes())?)
    }

    fn document(&self, arm: &Arm, seed: u64) -> Result<Document, Failure> {
        let common = (&*self.arguments.data, &*self.changes);
        let mut document = self.study.document(self.scale, arm, common)?;
        document.set(&format!("seed={seed}"))?;
        if let Some(after) = &arm.after {
            let before = self.study.arms.iter().find(|arm| arm.name == *after);
            let folder = before.map_or_else(PathBuf::new, |arm| self.folder_of(arm, seed));
            let weights = folder.join("model").display().to_string();
            document.set(&format!("pretrained.weights={weights:?}"))?;
        }
        Ok(document)
    }

    fn folder_of(&self, arm: &Arm, seed: u64) -> PathBuf {
        self.folder.join(arm.folder()).join(format!("seed-{seed}"))
    }

    /// The numbers of the raw input and of all arms, seed by seed: a stopped study has whole seeds.
    fn findings(&self) -> Result<Findings, Failure> {
        let mut raw = Vec::new();
        let mut numbers: Vec<Numbers> = self.study.arms.iter().map(Numbers::of).collect();
        for seed in 0..self.seeds {
            for (arm, numbers) in self.study.arms.iter().zip(&mut numbers) {
                output::note(format_args!("seed {seed} of {}: {}", self.seeds, arm.name));
                numbers.runs.push(self.measured(arm, seed, &mut raw)?);
            }
        }
        Ok(Findings::new(self.study, raw, numbers))
    }

    /// Says whose data is not there.
    fn about_data(&self, error: Failure) -> Failure {
        let (all, own) = (&self.arguments.data, &self.scale.data);
        if all.join(own).exists() {
            return error;
        }
        error.about(&format!(
            "the study's data is {own}, below the folder that --data names, {}",
            all.display()
        ))
    }

    /// The numbers of a run, which is made where it is not yet; and those of the raw input, where nobody has them.
    fn measured(&self, arm: &Arm, seed: u64, raw: &mut Vec<f64>) -> Result<Vec<f64>, Failure> {
        let run = [(self.document(arm, seed)?, self.folder_of(arm, seed))];
        let path = run[0].1.join("scores.json");
        let whole = |found: &Scores| {
            found.measures == self.study.measures && !(raw.is_empty() && found.raw.is_empty())
        };
        let kept = kept::read(&path, &run)?.filter(whole);
        let found = if let Some(found) = kept {
            found
        } else {
            let [(document, folder)] = &run;
            let found = self.scores(arm, (document, folder), raw.is_empty())?;
            kept::write(&path, &found)?;
            found
        };
        if raw.is_empty() {
            *raw = found.raw;
        }
        Ok(found.values)
    }

    /// The same, made; those of the raw input if they are wanted.
    fn scores(
        &self,
        arm: &Arm,
        (document, folder): (&Document, &Path),
        with_raw: bool,
    ) -> Result<Scores, Failure> {
        let measures = &self.study.measures;
        let mut found = Scores {
            measures: measures.clone(),
            raw: Vec::new(),
            values: Vec::new(),
        };
        let opened = opened(document).map_err(|error| self.about_data(error))?;
        self.take_folder()?;
        match opened {
            Opened::Items(setup) => {
                check_measured(&setup.parts)?;
                if with_raw {
                    found.raw = measured(measures, &setup, None)?;
                }
                let report = supervised(&*setup, folder).map_err(Failure::of_many)?;
                let model = Model::load(&report.model)?;
                found.values = measured(measures, &setup, Some(&model))?;
            }
            Opened::Pairs(setup) => {
                check_measured(&setup.parts)?;
                let report = supervised(&*setup, folder).map_err(Failure::of_many)?;
                let of_row = |at: Option<&PairRow>| -> Result<Vec<f64>, Failure> {
                    match at {
                        Some(row) => Ok(measured_of_pairs(measures, &report, row)?),
                        None => Ok(Vec::new()),
                    }
                };
                if with_raw {
                    found.raw = of_row(report.rows.first())?;
                }
                found.values = of_row(report.rows.last())?;
            }
            Opened::Text(_) | Opened::CrossEncoder(_) => {
                return Err(Failure::usage(format!(
                    "{}: no study of labeled items",
                    arm.name
                )));
            }
        }
        Ok(found)
    }
}

/// A study of what nobody measures has no table.
fn check_measured(parts: &Parts) -> Result<(), Failure> {
    if parts.measured().1.is_empty() {
        return Err(Failure::usage(
            "data.split sets nothing apart to be measured: expected items that test or validate, found none",
        ));
    }
    Ok(())
}

/// The table, with the paper's figures below ours, and the claims.
fn show(study: &Study, findings: &Findings) -> Result<(), Failure> {
    let names = findings.measures.iter().map(|measure| measure.name());
    let header: Vec<&str> = [""].into_iter().chain(names).collect();
    let mut shown = table::new(&header);
    let cells = findings.measures.iter().zip(&findings.raw);
    let cells = cells.map(|(measure, value)| measure.shown(*value));
    shown.add_row(["raw input".to_owned()].into_iter().chain(cells));
    for numbers in &findings.arms {
        let each = findings.measures.iter().enumerate();
        let cells = each.map(|(at, measure)| {
            let figure = numbers.figures.get(measure);
            let figure = figure.map_or_else(String::new, |figure| format!("\n({figure})"));
            numbers.cell(at, *measure) + &figure
        });
        shown.add_row([numbers.arm.clone()].into_iter().chain(cells));
    }
    table::numbers_right(&mut shown);
    output::line(format_args!("{}\n{}", study.title, study.source))?;
    output::line(shown)?;
    output::line("In parentheses the paper's figures.")?;
    output::line(study.remark.as_str())?;
    output::line("")?;
    output::line(findings.claims())
}
