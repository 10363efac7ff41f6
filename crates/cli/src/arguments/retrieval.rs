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
    /// Cut-offs K; with this option precision, coverage, MRR, nDCG and MAP at each are shown too. Also those of `ir`.
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
    /// Vectors: another file of vectors with labels that those of MODEL are looked for in. A .npy is read in parts, so that it
    /// may be larger than memory.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["against", "degrade", "roles", "label_separator"])]
    pub gallery: Option<PathBuf>,
    /// Vectors: a text file that says of each, one a line, what it is: query, gallery, both or ignored.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["against", "degrade"])]
    pub roles: Option<PathBuf>,
    /// Vectors: what stands between the labels of an item that has several; two items with one in common are relevant to each
    /// other, and nDCG counts those they share.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["against", "degrade", "worst_classes", "resample"])]
    pub label_separator: Option<String>,
    /// What the vectors lose in smaller or faster indices: int8, bits, the first numbers, a graph (HNSW), each against exact
    /// search, with memory and queries a second. Files of vectors need no labels for it.
    #[arg(long, conflicts_with_all = ["degrade", "at", "resample", "worst_classes", "against", "gallery", "roles", "label_separator"])]
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
            (
                !self.at.is_empty() && protocol != Some(Protocol::Ir),
                "--at",
            ),
            (self.resample.is_some(), "--resample"),
            (self.worst_classes.is_some(), "--worst-classes"),
            (self.against.is_some(), "--against"),
            (self.gallery.is_some(), "--gallery"),
            (
                self.roles.is_some() && protocol != Some(Protocol::Reid),
                "--roles",
            ),
            (self.label_separator.is_some(), "--label-separator"),
            (self.compressions, "--compressions"),
        ];
        given.iter().find(|(is, _)| *is).map(|(_, name)| *name)
    }

    /// The first of those options that go with files of vectors alone.
    pub fn of_vectors(&self) -> Option<&'static str> {
        let given = [
            (self.gallery.is_some(), "--gallery"),
            (self.roles.is_some(), "--roles"),
            (self.label_separator.is_some(), "--label-separator"),
        ];
        given.iter().find(|(is, _)| *is).map(|(_, name)| *name)
    }

    /// The cut-offs that were given, in order.
    pub fn cutoffs(&self) -> Option<Vec<usize>> {
        let mut cutoffs: Vec<usize> = self.at.iter().map(|k| k.get()).collect();
        cutoffs.sort_unstable();
        cutoffs.dedup();
        (!cutoffs.is_empty()).then_some(cutoffs)
    }

    /// The library's options.
    pub fn options(&self) -> Options {
        // As many runs of k-means as the papers average over.
        let mut options = Options {
            cluster_seeds: 10,
            ..Options::default()
        };
        if let Some(cutoffs) = self.cutoffs() {
            options.ks = cutoffs;
        }
        if self.resample == Some(Resampled::Classes) {
            options.unit = Unit::Class;
        }
        options
    }
}
