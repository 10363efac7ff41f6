//! The arguments of retrieval.

use super::Protocol;
use clap::{Args, ValueEnum};
use nearkin::evaluate::{Options, Unit};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How retrieval among labeled items is measured and shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Retrieval")]
pub struct RetrievalOptions {
    /// Cut-offs K; with this option precision, coverage, MRR, nDCG and MAP at each are shown too.
    #[arg(
        long,
        value_name = "K,…",
        value_delimiter = ',',
        conflicts_with = "degrade"
    )]
    pub at: Vec<NonZeroUsize>,
    /// What is drawn anew for the 95% intervals: queries, or whole classes, which says what to expect of other classes.
    #[arg(long, value_enum, value_name = "UNITS")]
    pub resample: Option<Resampled>,
    /// Shows the classes that are found worst, this many.
    #[arg(long, value_name = "N", conflicts_with = "degrade")]
    pub worst_classes: Option<NonZeroUsize>,
    /// Another model, or another file of vectors of the same items: is it better or worse, query by query?
    #[arg(long, value_name = "MODEL", conflicts_with = "degrade")]
    pub against: Option<PathBuf>,
    /// What the vectors lose in smaller or faster indices: int8, bits, the first numbers, a graph (HNSW), each against exact
    /// search, with memory and queries a second. Files of vectors need no labels for it.
    #[arg(long, conflicts_with_all = ["degrade", "at", "resample", "worst_classes", "against"])]
    pub compressions: bool,
}

/// What a bootstrap draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resampled {
    /// Single queries.
    Queries,
    /// Classes with all their queries.
    Classes,
}

impl RetrievalOptions {
    /// The first of these options, where something else than retrieval is measured.
    pub fn misplaced(&self, protocol: Option<Protocol>) -> Option<&'static str> {
        if [None, Some(Protocol::Retrieval)].contains(&protocol) {
            return None;
        }
        let given = [
            (!self.at.is_empty(), "--at"),
            (self.resample.is_some(), "--resample"),
            (self.worst_classes.is_some(), "--worst-classes"),
            (self.against.is_some(), "--against"),
            (self.compressions, "--compressions"),
        ];
        given.iter().find(|(is, _)| *is).map(|(_, name)| *name)
    }

    /// The library's options.
    pub fn options(&self) -> Options {
        // As many runs of k-means as the papers average over.
        let mut options = Options {
            cluster_seeds: 10,
            ..Options::default()
        };
        if !self.at.is_empty() {
            options.ks = self.at.iter().map(|k| k.get()).collect();
        }
        if self.resample == Some(Resampled::Classes) {
            options.unit = Unit::Class;
        }
        options
    }
}
