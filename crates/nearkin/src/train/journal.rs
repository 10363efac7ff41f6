//! The journal of a run: `metrics.jsonl`, one JSON object a line, and beside it the same for `TensorBoard`.

use super::event_file::EventFile;
use crate::error::{Error, Result};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One optimizer step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Optimizer steps made, this one included.
    pub step: u64,
    /// The loss.
    pub loss: f32,
    /// Share of the tuples that push.
    pub active: f32,
    /// Share of the pairs of the batch that the miner kept.
    pub kept: f32,
    /// Pairs or triplets that counted.
    pub tuples: usize,
    /// Those with fewer negatives than the loss asks for.
    pub short: usize,
    /// Spread of the batch's embeddings: near 0 they have collapsed to one point. None of fewer than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<f32>,
    /// Euclidean norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Learning rate.
    pub rate: f32,
    /// Items a second since the last step.
    pub items_per_second: f32,
}

/// One evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationRecord {
    /// Optimizer steps made.
    pub step: u64,
    /// What was measured: `validation` or `test`, of texts the names of the evaluations.
    pub part: String,
    /// Scores by name.
    #[serde(flatten, serialize_with = "by_name")]
    pub scores: Vec<(String, f64)>,
    /// Whether it is the best so far.
    pub best: bool,
}

fn by_name<S: Serializer>(
    scores: &[(String, f64)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().map(|(name, score)| (name, score)))
}

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: fs_err::File,
    events: EventFile,
}

impl Journal {
    /// Opens the journal of a run, without the lines after `step`.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(run: &Path, step: u64) -> Result<Self> {
        let path = run.join("metrics.jsonl");
        let old = if path.exists() {
            fs_err::read_to_string(&path)?
        } else {
            String::new()
        };
        let mut kept = String::new();
        for line in old.lines() {
            // A line cut short by a kill has no step and goes with the lines after the checkpoint.
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            if value["step"].as_u64().is_some_and(|s| s <= step) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        nearkin_encoder::weights::write_beside(&path, kept.as_bytes())?;
        let file = fs_err::OpenOptions::new().append(true).open(&path)?;
        let events = EventFile::start(run, &kept)?;
        Ok(Self { path, file, events })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let both = serde_json::to_string(record)
            .and_then(|text| serde_json::to_value(record).map(|value| (text, value)));
        let (text, value) = both.map_err(|e| Error::Run {
            path: self.path.clone(),
            reason: e.to_string(),
        })?;
        // One write call a line, so that a kill can cut at most the last line.
        self.file.write_all(format!("{text}\n").as_bytes())?;
        self.events.write(&value)
    }

    /// Flushes the journal to the disk: a checkpoint must not outlive the lines before it.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_all()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_drops_later_and_broken_lines() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("metrics.jsonl");
        fs_err::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut journal = Journal::open(run.path(), 2).unwrap();
        journal
            .write(&serde_json::json!({"step": 3, "again": true}))
            .unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"step\":1}\n{\"step\":2}\n{\"again\":true,\"step\":3}\n"
        );
    }
}
