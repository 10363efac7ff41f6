//! The arguments of `nearkin report` and `nearkin watch`.

use clap::Args;
use std::path::PathBuf;

/// `nearkin report`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin report runs/recipe -o report.html\n  nearkin report vectors.parquet                       vectors with labels, from anywhere\n  nearkin report vectors.jsonl --images photos/        with pictures, called as the ids are\n\nThe page needs no network: scores, training curves, ROC, DET, CMC, distances, a map, nearest\nneighbors, hardest pairs, classes and their confusions, the command. A run that is not done has\ncurves alone."
)]
pub struct Report {
    /// The folder of a run, or a file of vectors with labels (.npy, .safetensors, .parquet, .jsonl).
    #[arg(value_name = "RUN|EVALUATION")]
    pub subject: PathBuf,
    /// The page to write, .html.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Vectors: the folder below which the images are that their ids name.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Items on the map, drawn at random where there are more; its time grows with their square.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub map: u16,
}

/// `nearkin watch`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nearkin watch runs/recipe\n\nThe page is for browsers on this machine alone (127.0.0.1). Ctrl-C ends it; the run goes on."
)]
pub struct Watch {
    /// The folder of a run.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The port; 0 is any free one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
}
