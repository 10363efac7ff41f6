//! Checkpoints: everything a run needs to go on, bit for bit.
//!
//! ```text
//! RUN/recipe.toml               the resolved recipe
//! RUN/metrics.jsonl             one line a step, one an evaluation
//! RUN/.lock                     held by the process that trains here
//! RUN/checkpoints/step-N/       model.safetensors (weights), optimizer.safetensors, loss.safetensors (proxies, memory),
//!                               averages.safetensors, round.json (batches that earlier weights decided), state.json
//! RUN/checkpoints/best-N/       weights and loss with the best validation so far
//! RUN/model/                    the finished model
//! ```
//! A checkpoint is made in a folder of another name and renamed when whole, so that a folder named
//! `step-N` is never half written, also after a crash of the machine: files and folders are flushed
//! to the disk before an older checkpoint is removed. Sampling and every random draw are functions of the seed and the
//! step, so that the step's number is all of their state, but for batches that weights decided some steps ago.

use super::{Learner, Trained};
use crate::error::{Error, Result};
use crate::sampler::Round;
use nearkin_encoder::parameters::{Parameter, Parameters};
use nearkin_encoder::weights::{self, Tensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimizer steps made.
    pub step: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub without_better: usize,
    /// Threads of the run: the same count gives the same bits.
    pub threads: usize,
    /// Names of the damaged items met so far.
    #[serde(default)]
    pub damaged: BTreeSet<String>,
    /// A number of the data, with which alone the run goes on; none in checkpoints of before.
    #[serde(default)]
    pub data: Option<u64>,
}

/// The best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Steps made when it was measured.
    pub step: u64,
    /// The score that chooses: MAP@R of labeled items, for texts that of the first evaluation.
    pub score: f64,
}

/// The state of a run beside its progress.
pub struct State<'a, M> {
    /// The model that learns, with what its losses learned and remember.
    pub learner: &'a Learner<M>,
    /// The optimizer's memory.
    pub optimizer: Tensors,
    /// Running averages of the weights, where the recipe asks for them.
    pub averages: Option<&'a Parameters>,
    /// The batches that earlier weights decided and that are still to come.
    pub round: Option<&'a Round>,
}

const WEIGHTS: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const LOSS: &str = "loss.safetensors";
const AVERAGES: &str = "averages.safetensors";
const ROUND: &str = "round.json";
const STATE: &str = "state.json";

/// The folder of the checkpoints of a run.
pub fn folder(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// The folder of the best model after `step` steps.
pub fn best_folder(run: &Path, step: u64) -> PathBuf {
    folder(run).join(format!("best-{step}"))
}

/// Writes a checkpoint, then removes the ones before it.
///
/// # Errors
/// A file cannot be written; the older checkpoint is then still there.
pub fn save<M: Trained>(run: &Path, state: &State<'_, M>, progress: &Progress) -> Result<PathBuf> {
    let target = folder(run).join(format!("step-{}", progress.step));
    if target.exists() {
        // Stopped where it stood: the state of a step is always the same, and what is whole stays whole.
        return Ok(target);
    }
    whole_folder(&target, |partial| {
        weights::write(
            &named(state.learner.model.parameters()),
            &partial.join(WEIGHTS),
        )?;
        save_losses(state.learner, partial)?;
        weights::write(&state.optimizer, &partial.join(OPTIMIZER))?;
        if let Some(averages) = state.averages {
            weights::write(&named(averages), &partial.join(AVERAGES))?;
        }
        if let Some(round) = state.round {
            let text = serde_json::to_vec(round).map_err(std::io::Error::from)?;
            weights::write_beside(&partial.join(ROUND), &text)?;
        }
        write_json(&partial.join(STATE), progress)
    })?;
    remove_except(run, "step-", progress.step)?;
    if let Some(best) = progress.best {
        remove_except(run, "best-", best.step)?;
    }
    Ok(target)
}

/// Writes the model with the best evaluation so far, and its losses.
///
/// # Errors
/// A file cannot be written.
pub fn save_best<M: Trained>(run: &Path, step: u64, model: &M, learner: &Learner<M>) -> Result<()> {
    whole_folder(&best_folder(run, step), |partial| {
        weights::write(&named(model.parameters()), &partial.join(WEIGHTS))?;
        save_losses(learner, partial)
    })
}

fn save_losses<M: Trained>(learner: &Learner<M>, folder: &Path) -> Result<()> {
    let losses = learner.loss_tensors()?;
    if losses.is_empty() {
        return Ok(());
    }
    Ok(weights::write(&losses, &folder.join(LOSS))?)
}

/// Takes the weights with the best validation into a model.
///
/// # Errors
/// The file is missing, damaged, or of another network.
pub fn restore_best(best: &Path, parameters: &Parameters) -> Result<()> {
    restore_named(parameters, &best.join(WEIGHTS))
}

/// Parameters by their own names, in the shapes that they have here: all that there is to them, merged with nothing.
fn named(parameters: &Parameters) -> Tensors {
    let named = |p: &Parameter| (p.name.clone(), p.var.as_detached_tensor());
    parameters.iter().map(named).collect()
}

/// Takes parameters back from the file that holds what [`named`] gave.
fn restore_named(parameters: &Parameters, path: &Path) -> Result<()> {
    let stored = weights::read(path)?;
    for p in parameters {
        let found = stored
            .get(&p.name)
            .filter(|found| found.dims() == p.var.dims());
        let found = found.ok_or_else(|| Error::Run {
            path: path.into(),
            reason: format!(
                "tensor \"{}\" of shape {:?} is missing",
                p.name,
                p.var.dims()
            ),
        })?;
        p.var.set(found).map_err(nearkin_encoder::Error::from)?;
    }
    Ok(())
}

/// The newest checkpoint of a run, if there is one.
///
/// # Errors
/// The folder or the state cannot be read.
pub fn newest(run: &Path) -> Result<Option<(PathBuf, Progress)>> {
    let Some(step) = numbered(run, "step-")?.into_iter().max() else {
        return Ok(None);
    };
    let path = folder(run).join(format!("step-{step}"));
    let state = path.join(STATE);
    let text = fs_err::read_to_string(&state)?;
    let progress = serde_json::from_str(&text).map_err(|e| Error::Run {
        path: state,
        reason: e.to_string(),
    })?;
    Ok(Some((path, progress)))
}

/// Reads a checkpoint into what learns, its averages into `averages`, and returns the optimizer's
/// tensors.
///
/// # Errors
/// A file is missing, damaged, or of another model.
pub fn restore<M: Trained>(
    path: &Path,
    learner: &mut Learner<M>,
    averages: Option<&Parameters>,
) -> Result<Tensors> {
    restore_named(learner.model.parameters(), &path.join(WEIGHTS))?;
    restore_losses(path, learner)?;
    if let Some(averages) = averages {
        restore_named(averages, &path.join(AVERAGES))?;
    }
    Ok(weights::read(&path.join(OPTIMIZER))?)
}

/// The batches that a checkpoint keeps for the steps after it, if it does.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn restore_round(path: &Path) -> Result<Option<Round>> {
    let path = path.join(ROUND);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(&path)?;
    let damaged = |e: serde_json::Error| Error::Run {
        path,
        reason: e.to_string(),
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// Reads what the losses learned and remember from a folder of a model.
///
/// # Errors
/// The file is missing, damaged, or of other losses.
pub fn restore_losses<M: Trained>(path: &Path, learner: &mut Learner<M>) -> Result<()> {
    if learner.loss_tensors()?.is_empty() {
        return Ok(());
    }
    let path = path.join(LOSS);
    let restored = learner.restore_losses(&weights::read(&path)?);
    restored.map_err(|reason| Error::Run { path, reason })
}

/// Makes a folder in whole: `fill` writes into a folder of another name, which is then renamed.
///
/// # Errors
/// What `fill` reports, or the folder cannot be made or renamed.
pub fn whole_folder(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let aside = |ending: &str| {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        target.with_file_name(name)
    };
    let (partial, old) = (aside(".partial"), aside(".old"));
    remove_if_there(&partial)?;
    fs_err::create_dir_all(&partial)?;
    if let Some(parent) = target.parent() {
        weights::sync_folder_of(parent)?;
    }
    if let Err(error) = fill(&partial) {
        // What is half written is of no use; the failure to remove it would hide the first error.
        let _ = fs_err::remove_dir_all(&partial);
        return Err(error);
    }
    weights::sync_folder(&partial)?;
    remove_if_there(&old)?;
    if target.exists() {
        fs_err::rename(target, &old)?;
    }
    fs_err::rename(&partial, target)?;
    weights::sync_folder_of(target)?;
    remove_if_there(&old)
}

/// Writes a value as JSON, beside its target and renamed.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    let mut text = text.map_err(|e| Error::Run {
        path: path.into(),
        reason: e.to_string(),
    })?;
    text.push('\n');
    Ok(weights::write_beside(path, text.as_bytes())?)
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.exists() {
        fs_err::remove_dir_all(path)?;
    }
    Ok(())
}

/// The numbers N of the folders named `{prefix}N`.
fn numbered(run: &Path, prefix: &str) -> Result<Vec<u64>> {
    let folder = folder(run);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|n| n.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

fn remove_except(run: &Path, prefix: &str, keep: u64) -> Result<()> {
    for number in numbered(run, prefix)?.into_iter().filter(|&n| n != keep) {
        fs_err::remove_dir_all(folder(run).join(format!("{prefix}{number}")))?;
    }
    Ok(())
}
