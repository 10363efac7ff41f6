//! The arguments of protocols over labeled items.

use super::{Degrade, Protocol};
use clap::{Args, ValueEnum};
use nearkin::evaluate::{KReciprocal, QueryExpansion, Ranking};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How labeled images or features are measured.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Images and features")]
pub struct ItemProtocols {
    /// retrieval, verification: measures the model on images that lost something, a row for each: jpeg=10,20 compresses them
    /// at these qualities, pixels=1600,6400 shrinks them to so many pixels; may be repeated.
    #[arg(long, value_name = "KIND=A,B,…", conflicts_with_all = ["keep", "gallery_model"])]
    pub degrade: Vec<Degrade>,
    /// reid: how the gallery is ranked.
    #[arg(long, value_enum, value_name = "HOW")]
    pub ranking: Option<Ranked>,
    /// reid, of a file of vectors: the camera of each vector, a text file with one a line.
    #[arg(long, value_name = "FILE")]
    pub cameras: Option<PathBuf>,
    /// identification: the items of the gallery, a text file with one a line, by their names in the data or the ends of these
    /// (such as `Ann_Lee_0001`); galleries are drawn where absent. Without --data all have to be of the test part of the
    /// model's own recipe.
    #[arg(long, value_name = "FILE", requires = "probe_list")]
    pub gallery_list: Option<PathBuf>,
    /// identification: the probes, likewise; those of no identity of the gallery are impostors. May be repeated.
    #[arg(long, value_name = "FILE", requires = "gallery_list")]
    pub probe_list: Vec<PathBuf>,
    /// few-shot: labeled items of each class, drawn ten times; where absent, the items that trained the model are the labeled
    /// ones.
    #[arg(long, value_name = "N")]
    pub shots: Option<NonZeroUsize>,
    /// n-way: numbers of negatives, each of another class; where absent 1, and 71 or as many other classes as there
    /// are.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub negatives: Vec<NonZeroUsize>,
}

impl ItemProtocols {
    /// The first of these options that goes with another protocol than this.
    pub fn misplaced(&self, protocol: Option<Protocol>) -> Option<&'static str> {
        let of_degraded = [
            None,
            Some(Protocol::Retrieval),
            Some(Protocol::Verification),
        ];
        if !self.degrade.is_empty() && !of_degraded.contains(&protocol) {
            return Some("--degrade goes with --protocol retrieval and verification");
        }
        let given = [
            (
                self.ranking.is_some(),
                Protocol::Reid,
                "--ranking goes with --protocol reid",
            ),
            (
                self.cameras.is_some(),
                Protocol::Reid,
                "--cameras goes with --protocol reid",
            ),
            (
                self.gallery_list.is_some(),
                Protocol::Identification,
                "--gallery-list goes with --protocol identification",
            ),
            (
                self.shots.is_some(),
                Protocol::FewShot,
                "--shots goes with --protocol few-shot",
            ),
            (
                !self.negatives.is_empty(),
                Protocol::NWay,
                "--negatives goes with --protocol n-way",
            ),
        ];
        let misplaced = given
            .iter()
            .find(|(is, of, _)| *is && protocol != Some(*of));
        misplaced.map(|(_, _, text)| *text)
    }
}

/// Ways to rank a gallery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ranked {
    /// By cosine similarity.
    Cosine,
    /// By the neighbors that two items share (k1 = 20, k2 = 6, λ = 0.3).
    KReciprocal,
    /// By cosine similarity to the query together with the five items it finds first (α = 3).
    QueryExpansion,
}

impl From<Ranked> for Ranking {
    fn from(ranked: Ranked) -> Self {
        match ranked {
            Ranked::Cosine => Self::Cosine,
            Ranked::KReciprocal => Self::KReciprocal(KReciprocal::default()),
            Ranked::QueryExpansion => Self::QueryExpansion(QueryExpansion::default()),
        }
    }
}
