//! What the journal of a run says so far, also while the run writes it.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Steps and evaluations of a run, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The optimizer steps.
    pub steps: Vec<Step>,
    /// What was measured between them.
    pub evaluations: Vec<Evaluated>,
}

/// One optimizer step, as far as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Optimizer steps made.
    pub step: u64,
    /// The loss.
    pub loss: Option<f64>,
    /// Share of the tuples that push.
    pub active: Option<f64>,
    /// Share of the pairs that the miner kept.
    pub kept: Option<f64>,
    /// Spread of the batch's embeddings.
    pub spread: Option<f64>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: Option<f64>,
    /// Learning rate.
    pub rate: Option<f64>,
    /// Items a second.
    pub items_per_second: Option<f64>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Optimizer steps made.
    pub step: u64,
    /// What was measured.
    pub part: String,
    /// Scores by name.
    pub scores: Vec<(String, f64)>,
}

impl Evaluated {
    fn new(value: &Value, part: &str) -> Self {
        let fields = value.as_object().into_iter().flatten();
        let scores = fields.filter(|(name, _)| *name != "step");
        Self {
            step: value["step"].as_u64().unwrap_or(0),
            part: part.to_owned(),
            scores: scores
                .filter_map(|(name, score)| Some((name.clone(), score.as_f64()?)))
                .collect(),
        }
    }
}

/// A journal that is read as it grows.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// Bytes read: whole lines.
    read: u64,
    lines: usize,
    /// What they said.
    pub history: History,
}

impl Follow {
    /// The journal of a run, nothing of it read yet.
    ///
    /// # Errors
    /// The folder has no journal.
    pub fn new(run: &Path) -> Result<Self> {
        let path = run.join("metrics.jsonl");
        if !path.is_file() {
            let reason = if run.join("nearkin.json").is_file() {
                "a model folder, expected that of the run, which holds metrics.jsonl and model/"
            } else {
                "no metrics.jsonl in it, expected the folder of a run, as `nearkin train` makes it"
            };
            return Err(Error::Run {
                path: run.to_owned(),
                reason: reason.into(),
            });
        }
        Ok(Self {
            path,
            read: 0,
            lines: 0,
            history: History::default(),
        })
    }

    /// Reads what was added, up to the last whole line; from the start where the run has gone back to a checkpoint.
    /// Says whether anything changed.
    ///
    /// # Errors
    /// The file cannot be read, or a whole line is no record of a run.
    pub fn more(&mut self) -> Result<bool> {
        let file = fs_err::File::open(&self.path)?;
        if file.metadata()?.len() < self.read {
            self.again();
        }
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(self.read))?;
        let (mut changed, mut line) = (false, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() != Some(&b'\n') {
                // The run is about to write the rest, or was killed.
                break;
            }
            self.read += line.len() as u64;
            self.lines += 1;
            self.take(&line)?;
            changed = true;
            line.clear();
        }
        Ok(changed)
    }

    fn again(&mut self) {
        (self.read, self.lines) = (0, 0);
        self.history = History::default();
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        let broken = |reason: String| Error::Run {
            path: self.path.clone(),
            reason: format!("line {}: {reason}", self.lines),
        };
        let value: Value = serde_json::from_slice(line).map_err(|e| broken(e.to_string()))?;
        if !value["step"].is_u64() {
            return Err(broken("no step, expected a record of a run".into()));
        }
        if let Some(part) = value["part"].as_str() {
            self.history.evaluations.push(Evaluated::new(&value, part));
            return Ok(());
        }
        let step = serde_json::from_value(value).map_err(|e| broken(e.to_string()))?;
        self.history.steps.push(step);
        Ok(())
    }
}

impl History {
    /// All that the journal of a run says.
    ///
    /// # Errors
    /// As [`Follow`], or the journal has no step yet.
    pub fn read(run: &Path) -> Result<Self> {
        let mut follow = Follow::new(run)?;
        follow.more()?;
        if follow.history.steps.is_empty() {
            return Err(Error::Run {
                path: follow.path,
                reason: "no step in it yet".into(),
            });
        }
        Ok(follow.history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const STEP: &str = "{\"step\":1,\"loss\":0.5,\"active\":1.0,\"kept\":0.2,\"tuples\":9,\"short\":0,\"gradient_norm\":2.0,\"rate\":0.1,\"items_per_second\":7.0}\n";

    fn journal(text: &str) -> (tempfile::TempDir, PathBuf) {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("metrics.jsonl");
        fs_err::write(&path, text).unwrap();
        (run, path)
    }

    #[test]
    fn a_line_in_the_making_is_read_once_it_is_whole() {
        let (run, path) = journal(&format!("{STEP}{{\"step\":2,\"lo"));
        let mut follow = Follow::new(run.path()).unwrap();
        assert!(follow.more().unwrap());
        assert!(!follow.more().unwrap());
        assert_eq!(follow.history.steps.len(), 1);
        assert_eq!(follow.history.steps[0].loss, Some(0.5));
        assert_eq!(follow.history.steps[0].spread, None);
        let mut file = fs_err::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(
            b"ss\":0.25}\n{\"step\":2,\"part\":\"validation\",\"map_at_r\":0.5,\"best\":true}\n",
        )
        .unwrap();
        assert!(follow.more().unwrap());
        assert_eq!(follow.history.steps[1].loss, Some(0.25));
        let evaluated = &follow.history.evaluations[0];
        assert_eq!(evaluated.scores, [("map_at_r".to_owned(), 0.5)]);
        assert_eq!((evaluated.step, evaluated.part.as_str()), (2, "validation"));
    }

    #[test]
    fn a_run_that_went_back_is_read_from_its_start() {
        let (run, path) = journal(&STEP.repeat(3));
        let mut follow = Follow::new(run.path()).unwrap();
        follow.more().unwrap();
        fs_err::write(&path, STEP).unwrap();
        assert!(follow.more().unwrap());
        assert_eq!(follow.history.steps.len(), 1);
    }

    #[test]
    fn what_is_no_journal_is_named_with_its_line() {
        for (text, part) in [
            (format!("{STEP}{{\"loss\":1}}\n"), "line 2: no step"),
            (format!("{STEP}no\n{STEP}"), "line 2"),
            (String::new(), "no step in it yet"),
            ("{\"step\":1,\"loss\":\"much\"}\n".into(), "line 1"),
        ] {
            let (run, _) = journal(&text);
            let error = History::read(run.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = History::read(Path::new("/nowhere"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected the folder of a run"), "{error}");
    }
}
