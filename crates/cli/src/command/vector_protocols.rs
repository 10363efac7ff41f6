//! `nearkin evaluate VECTORS --protocol verification|reid|identification|few-shot|n-way`: as of models, without one.

use super::asked::{Contradiction, check_pairs};
use super::identification::{self, Lists};
use super::items::{
    OF_VECTORS, Side, few, people, reid_options, show_few, show_people, show_tried, tried,
};
use super::vectors::{NAME, labels, remark};
use super::{sided, verification};
use crate::arguments::{Evaluate, Protocol, Ranked};
use crate::failure::Failure;
use crate::output;
use crate::progress::activity;
use nearkin::data::{Dataset, ItemPairs, Role, read_pairs};
use nearkin::embed::Embedded;
use nearkin::evaluate;
use nearkin::vectors;
use nearkin::verify::Paired;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::Path;

/// Measures the vectors of a file.
pub fn run(arguments: &Evaluate, protocol: Protocol, json: bool) -> Result<(), Failure> {
    let path = &arguments.model;
    let found = vectors::read(path)?;
    remark(&found, path);
    if protocol != Protocol::Verification {
        labels(found.labels.as_deref(), path)?;
    }
    let mut dataset = Dataset::of_vectors(&path.display().to_string(), found);
    let side = Side {
        measured: Embedded {
            items: (0..dataset.len()).collect(),
            labels: dataset.labels.clone(),
            numbers: dataset.features().to_vec(),
            dim: dataset.is_features().unwrap_or(0),
        },
        trained: None,
    };
    let what = format!("{} vectors of {}", dataset.len(), path.display());
    let bar = activity("measuring");
    match protocol {
        Protocol::Verification => {
            let (paired, contradiction) = paired(arguments, &dataset, &side.measured)?;
            let found = verification::measure(&paired, &verification::options(arguments))?;
            let best = verification::thresholds(&paired)?;
            bar.finish_and_clear();
            if json {
                let found = verification::json_of(&found, &best)?;
                return output::json(&serde_json::json!({
                    "data": what, "contradicting": contradiction, NAME: found
                }));
            }
            output::line(format_args!("{what}, in percent:"))?;
            verification::show(&[(NAME, &found)], verification::UNIT_VECTORS)?;
            verification::show_thresholds(&[(NAME, &best)])?;
            contradiction.map_or(Ok(()), output::line)
        }
        Protocol::Reid => {
            let cameras = cameras(arguments, dataset.len())?;
            let roles = arguments.retrieval.roles.as_deref();
            dataset.roles = roles
                .map(|file| searching(file, dataset.len()))
                .transpose()?;
            let options = reid_options(arguments.items.ranking.unwrap_or(Ranked::Cosine));
            let found = people(&side, &dataset, (&cameras, &options))?;
            print(&what, &found, json, |found| show_people(found, OF_VECTORS))
        }
        Protocol::Identification => {
            let options = identification::options(arguments);
            match Lists::read(arguments, &dataset)? {
                None => print(
                    &what,
                    &identification::drawn(&side, &options)?,
                    json,
                    identification::show_drawn,
                ),
                Some(lists) => print(
                    &what,
                    &lists.identified(&side.measured, &options)?,
                    json,
                    identification::show_listed,
                ),
            }
        }
        Protocol::FewShot => {
            let Some(shots) = arguments.items.shots.map(NonZeroUsize::get) else {
                return Err(Failure::usage(
                    "--protocol few-shot of vectors needs --shots N, the labeled items of each class",
                ));
            };
            print(&what, &few(&side, Some(shots))?, json, show_few)
        }
        _ => print(&what, &tried(&side, arguments)?, json, show_tried),
    }
}

fn print<T: Serialize>(
    what: &str,
    found: &T,
    json: bool,
    show: impl Fn(&[(&str, &T)]) -> (String, String),
) -> Result<(), Failure> {
    if json {
        return output::json(&serde_json::json!({ "data": what, NAME: found }));
    }
    let (shown, conventions) = show(&[(NAME, found)]);
    output::line(format_args!("{what}, in percent:"))?;
    output::line(shown)?;
    output::line(conventions)
}

/// The pairs that were named, with their distances.
fn paired(
    arguments: &Evaluate,
    dataset: &Dataset,
    embedded: &Embedded,
) -> Result<(Paired, Option<Contradiction>), Failure> {
    let wanted = &arguments.verification;
    let Some(path) = &wanted.pairs else {
        return Err(Failure::usage("--protocol verification needs --pairs FILE"));
    };
    let of_models = [
        (wanted.frames.is_some(), "--frames"),
        (wanted.gallery_model.is_some(), "--gallery-model"),
        (wanted.keep, "--keep"),
    ];
    if let Some((_, name)) = of_models.iter().find(|(is, _)| *is) {
        return Err(Failure::usage(format!("{name} goes with a model")));
    }
    let ItemPairs { pairs, are_videos } = read_pairs(path, dataset)?;
    if are_videos {
        return Err(Failure::usage(format!(
            "{}: pairs of videos go with a model",
            path.display()
        )));
    }
    check_pairs(&pairs, dataset, path)?;
    let contradiction = Contradiction::find(&pairs, dataset);
    Ok((Paired::new(embedded, &pairs)?, contradiction))
}

/// The camera of each vector, by the lines of a file.
fn cameras(arguments: &Evaluate, rows: usize) -> Result<Vec<u32>, Failure> {
    let Some(path) = &arguments.items.cameras else {
        return Err(Failure::usage(
            "--protocol reid of vectors needs --cameras FILE, the camera of each vector, one a line",
        ));
    };
    let lines = sided::lines(path, rows)?;
    Ok(vectors::classes(&lines).0)
}

/// Which vectors search and which are searched, of the roles that a file gives them.
fn searching(path: &Path, rows: usize) -> Result<Vec<Role>, Failure> {
    let role = |role| match role {
        evaluate::Role::Query => Ok(Role::Query),
        evaluate::Role::Gallery => Ok(Role::Gallery),
        evaluate::Role::Both => Ok(Role::Both),
        evaluate::Role::Ignored => Err(Failure::usage(format!(
            "{}: --protocol reid leaves no vector out: take those that are ignored out of the file",
            path.display()
        ))),
    };
    sided::roles(path, rows)?.into_iter().map(role).collect()
}
