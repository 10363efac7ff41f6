//! The weights that training begins with, `[pretrained]`.

use crate::error::Result;
use nearkin_encoder::model::WEIGHTS;
use nearkin_encoder::parameters::{Parameters, Scope, begins};
use nearkin_encoder::stored::Stored;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The name of the layer that a network's own weight file lacks.
const EMBEDDING: &str = "embedding";

/// The weights that training begins with; what learns of them, and what stays.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("fine.toml", r#"
///     [data.source.folder]
///     path = "faces"
///     [network.inception_resnet_v1]
///     [pretrained]
///     weights = "vggface2.safetensors"
///     freeze = ["conv2d_", "repeat_1"]
///     hold_statistics = true
///     [loss.triplet_margin]
///     [train.rates]
///     embedding = 10.0
/// "#)?.recipe()?;
/// assert!(recipe.pretrained.is_some_and(|p| p.hold_statistics));
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretrained {
    /// A weight file (safetensors, or a PyTorch archive), or the folder of a model.
    pub weights: PathBuf,
    /// Beginnings of the names of weights that start anew, such as `layer4`. The head does where the file has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<String>,
    /// Beginnings of the names of weights that stay as they are, such as `conv1`; batch norms among them keep their
    /// running averages, and work from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Whether all batch norms keep their running averages, and work from them.
    #[serde(default)]
    pub hold_statistics: bool,
}

impl Pretrained {
    /// The root of a network that begins with these weights; `seed` is for what starts anew.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn scope(&self, seed: u64) -> Result<Scope> {
        let inside = self.weights.join(WEIGHTS);
        let is_folder = self.weights.is_dir();
        let stored = Stored::open(if is_folder { &inside } else { &self.weights })?;
        let mut fresh = self.fresh.clone();
        if !stored.has(&format!("{EMBEDDING}.weight")) {
            fresh.push(format!("{EMBEDDING}."));
        }
        let scope = Scope::stored(stored.fresh(fresh), seed).freezing(&self.freeze);
        Ok(if self.hold_statistics {
            scope.holding_statistics()
        } else {
            scope
        })
    }

    /// A beginning that is none of any weight's name is a slip.
    ///
    /// # Errors
    /// Names it, and some of the names there are.
    pub fn check(&self, parameters: &Parameters) -> Result<()> {
        let lists = [("fresh", &self.fresh), ("freeze", &self.freeze)];
        for (key, start) in lists
            .into_iter()
            .flat_map(|(key, list)| list.iter().map(move |s| (key, s)))
        {
            if !parameters.iter().any(|p| begins(&p.name, start)) {
                let some: Vec<&str> = parameters.iter().take(8).map(|p| p.name.as_str()).collect();
                return Err(nearkin_encoder::Error::Setting {
                    key: format!("pretrained.{key}"),
                    expected: format!("the start of a weight's name ({}, …)", some.join(", ")),
                    found: format!("\"{start}\""),
                }
                .into());
            }
        }
        Ok(())
    }
}
