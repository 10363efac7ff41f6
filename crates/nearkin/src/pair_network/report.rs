//! How good a finished network of pairs is, beside what it must beat.

use super::PairReid;
use serde::Serialize;
use std::path::PathBuf;

/// How good a finished network of pairs is, beside what it must beat.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// The model folder.
    pub model: PathBuf,
    /// The part that was measured: `test`, `validation` where no test is set apart, or `none` where all images train.
    pub part: &'static str,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model: `best` on validation or `last`.
    pub selected: &'static str,
    /// Raw input, the untrained network, the trained model, by [`Probes`](super::Probes) of the part; nothing where all
    /// images train.
    pub rows: Vec<PairRow>,
    /// Names of damaged items that were left out.
    pub damaged: Vec<String>,
}

/// One row of the table of a report.
#[derive(Clone, Debug, Serialize)]
pub struct PairRow {
    /// What was measured.
    pub name: &'static str,
    /// How good it is.
    #[serde(flatten)]
    pub found: PairReid,
}
