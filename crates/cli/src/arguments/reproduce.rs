//! The arguments of `nearkin reproduce`.

use clap::{Args, ValueEnum};
use nearkin::reproduce::Paper;
use std::path::PathBuf;

/// `nearkin reproduce`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin reproduce constellation --data data\n  nearkin reproduce npair --data data --seeds 5 --out runs/npair\n\nEvery run lies in a folder of its own, OUT/ARM/seed-SEED, with its recipe; OUT/results.md and OUT/results.csv hold the table.\nStopped, or with more seeds, the same command goes on: what is trained is not trained again."
)]
pub struct Reproduce {
    /// Whose comparison.
    #[arg(value_name = "PAPER")]
    pub paper: PaperName,
    /// How large.
    #[arg(long, value_name = "SCALE", default_value = "small")]
    pub scale: ScaleName,
    /// The folder of all data sets, such as crc-texture-features/, omniglot/, lfw/, cuhk03/.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data: PathBuf,
    /// Seeds of each side, at most 20; those of the study where absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub seeds: Option<u16>,
    /// Folder of the runs; runs/reproduce-PAPER-SCALE where absent.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Changes one key of what all sides have in common, such as train.steps=50 for a trial; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A paper by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PaperName {
    /// Constellation loss: compact classes of tissue.
    Constellation,
    /// FaceNet: which negatives, how many dimensions.
    Facenet,
    /// FaceNet: which of its networks.
    FacenetNetworks,
    /// Quadruplet network: people by another camera.
    Quadruplet,
    /// Multi-class N-pair loss: many classes at once.
    Npair,
    /// Multi-class N-pair loss: faces, verified and identified.
    NpairFaces,
}

impl From<PaperName> for Paper {
    fn from(name: PaperName) -> Self {
        match name {
            PaperName::Constellation => Self::Constellation,
            PaperName::Facenet => Self::FaceNet,
            PaperName::FacenetNetworks => Self::FaceNetNetworks,
            PaperName::Quadruplet => Self::Quadruplet,
            PaperName::Npair => Self::NPair,
            PaperName::NpairFaces => Self::NPairFaces,
        }
    }
}

/// How large a comparison is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScaleName {
    /// What two cores finish within the hour.
    Small,
    /// The paper's own network and batches, and its steps where it says them, for machines that can.
    Paper,
}

impl ScaleName {
    /// Its name in commands and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Paper => "paper",
        }
    }
}
