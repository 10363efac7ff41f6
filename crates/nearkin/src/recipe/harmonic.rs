//! The old model that a new one is to be compatible with, `[harmonic]`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An old model, held fixed, whose embeddings the new one's are trained to be compared with: those of a gallery can then stay
/// as they are.
///
/// Goes with the loss `harmonic_triplet`, which takes each batch embedded by both. The old model sees images without random
/// changes, in the form of its own `[input]`, as it saw those of a gallery.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("harmonic.toml", r#"
///     [data.source.folder]
///     path = "faces"
///     [network.facenet]
///     layers = "nn2"
///     [pretrained]
///     weights = "runs/v2/model"
///     fresh = ["embedding"]
///     [harmonic]
///     model = "runs/v1/model"
///     [loss.harmonic_triplet]
///     margin = 0.2
/// "#)?.recipe()?;
/// assert!(recipe.harmonic.is_some());
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
///
/// # Reference
/// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
/// appendix: an independently trained network, first its embedding layer from new random weights, then all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harmonic {
    /// The folder of the old model; its embeddings have as many dimensions as `head.dim` says.
    pub model: PathBuf,
}
