//! The arguments of verification.

use super::score;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How pairs of images or features are measured.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Verification")]
pub struct VerificationPairs {
    /// verification: pairs of items, the list of Labeled Faces in the Wild, a table with the columns first, second and same, or
    /// the splits.txt of YouTube Faces (split, first video, second video, same; with --frames). Where --data is absent, those
    /// count whose items are all of the test part of the model's own recipe.
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
    /// verification, identification: rates of false accepts at which true accepts are told; the first is that of the folds and
    /// of --keep.
    #[arg(long, value_name = "RATE", value_delimiter = ',', value_parser = rate, default_value = "0.001,0.01,0.1")]
    pub far: Vec<f64>,
    /// verification: each item of a pair stands for the video it is a frame of, the images in its folder, of which the first N
    /// count; the distance is the mean over all pairs of frames. A pair of a video with itself is left out.
    #[arg(long, value_name = "N", requires = "pairs")]
    pub frames: Option<NonZeroUsize>,
    /// verification: an old model, by which the second item of each pair is embedded, the first by MODEL: what a gallery
    /// of old vectors is worth to a new model (see [harmonic] in a recipe).
    #[arg(
        long,
        value_name = "MODEL",
        requires = "pairs",
        conflicts_with = "frames"
    )]
    pub gallery_model: Option<PathBuf>,
    /// verification: keeps the threshold of the first rate in the model folder, for `nearkin verify`.
    #[arg(long, requires = "pairs", conflicts_with = "gallery_model")]
    pub keep: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate < 1.0 => Ok(rate),
        _ => Err("expected a rate above 0 and below 1".into()),
    }
}

/// `nearkin verify`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin evaluate runs/faces/model --data faces.zip --protocol verification --pairs pairs.txt --keep\n  nearkin verify runs/faces/model a.jpg b.jpg\n\nThe distance is that of unit vectors, squared: 0 for the same vector, 4 for the opposite one;\nof a network of pairs its score, the probability that they differ, as the mean over both orders of the two images."
)]
pub struct Verify {
    /// A model folder of nearkin.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// An image.
    #[arg(value_name = "FIRST")]
    pub first: PathBuf,
    /// Another image.
    #[arg(value_name = "SECOND")]
    pub second: PathBuf,
    /// The largest distance that counts as the same; where absent, the one that the model folder keeps; without one,
    /// even odds of a network of pairs.
    #[arg(long, value_name = "DISTANCE", allow_hyphen_values = true, value_parser = score)]
    pub threshold: Option<f64>,
}
