//! The model folder of a network of pairs.
//!
//! ```text
//! model.safetensors   weights, kernels as PyTorch lays them out
//! nearkin.json        format version, network of pairs, input
//! ```

use crate::description::{self, FORMAT, Kind};
use crate::error::Result;
use crate::image::ImageInput;
use crate::model::WEIGHTS;
use crate::network::{PairNetwork, PairScorer};
use crate::parameters::Scope;
use crate::stored::Stored;
use crate::weights;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The description of a network of pairs, `nearkin.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// Format version of the folder.
    pub format: u32,
    /// The network's settings.
    pub pair_network: PairNetwork,
    /// How an image becomes numbers.
    pub input: ImageInput,
}

/// A network of pairs with its description: how different two images are.
///
/// ```
/// use nearkin_encoder::network::{AlexnetStem, PairAlexnet, PairNetwork, Width};
/// use nearkin_encoder::{ImageInput, PairModel};
///
/// let small = PairAlexnet { stem: AlexnetStem::Small, width: Width::try_from(0.0625)?, ..PairAlexnet::default() };
/// let input = ImageInput { height: 12, width: 12, ..ImageInput::default() };
/// let folder = tempfile::tempdir()?;
/// PairModel::new(PairNetwork::Alexnet(small), input, 7)?.save(folder.path())?;
/// assert!(PairModel::is_in(folder.path()) && PairModel::load(folder.path()).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PairModel {
    /// The description.
    pub config: PairConfig,
    /// The network.
    pub scorer: PairScorer,
}

impl PairModel {
    /// Makes a model with starting weights.
    ///
    /// # Errors
    /// A setting does not fit the input.
    pub fn new(pair_network: PairNetwork, input: ImageInput, seed: u64) -> Result<Self> {
        let scope = Scope::new(seed, DType::F32, &Device::Cpu);
        Self::on(pair_network, input, &scope)
    }

    /// The same with the weights of `scope`.
    ///
    /// # Errors
    /// A setting does not fit the input, or the stored weights not the network.
    pub fn on(pair_network: PairNetwork, input: ImageInput, scope: &Scope) -> Result<Self> {
        let scorer = PairScorer::on(&pair_network, input.shape(), scope)?;
        let config = PairConfig {
            format: FORMAT,
            pair_network,
            input,
        };
        Ok(Self { config, scorer })
    }

    /// Whether a folder says that it holds a network of pairs.
    pub fn is_in(folder: &Path) -> bool {
        description::is_of(folder, Kind::Pairs)
    }

    /// Writes the description and the weights into an existing folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        description::write(folder, &self.config)?;
        weights::save(self.scorer.parameters(), &folder.join(WEIGHTS))
    }

    /// Reads a model folder.
    ///
    /// # Errors
    /// A file is missing, damaged, of a newer format or another kind of model, or its tensors do not fit the description.
    pub fn load(folder: &Path) -> Result<Self> {
        let config: PairConfig = description::read(folder, Kind::Pairs)?;
        let scope = Scope::stored(Stored::open(&folder.join(WEIGHTS))?, 0);
        let scorer = PairScorer::on(&config.pair_network, config.input.shape(), &scope)?;
        Ok(Self { config, scorer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Input, Model};
    use crate::network::{AlexnetStem, Convnet, Head, Network, PairAlexnet, Width};
    use candle_core::Tensor;

    fn input() -> ImageInput {
        ImageInput {
            height: 12,
            width: 12,
            ..ImageInput::default()
        }
    }

    fn model(width: f64) -> PairModel {
        let small = PairAlexnet {
            stem: AlexnetStem::Small,
            width: Width::try_from(width).unwrap(),
            ..PairAlexnet::default()
        };
        PairModel::new(PairNetwork::Alexnet(small), input(), 5).unwrap()
    }

    #[test]
    fn a_saved_model_gives_the_same_scores() {
        let folder = tempfile::tempdir().unwrap();
        let one = model(0.0625);
        one.save(folder.path()).unwrap();
        let other = PairModel::load(folder.path()).unwrap();
        assert_eq!(one.config, other.config);
        let x = Tensor::rand(-1.0_f32, 1.0, (3, 12, 12, 3), &Device::Cpu).unwrap();
        let scores = |model: &PairModel| model.scorer.matrix(&x, &x, 4).unwrap();
        assert_eq!(scores(&one), scores(&other));
    }

    #[test]
    fn the_other_kind_of_model_and_other_weights_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        model(0.0625).save(folder.path()).unwrap();
        let error = Model::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has no vector of one"), "{error}");
        weights::save(
            model(0.125).scorer.parameters(),
            &folder.path().join(WEIGHTS),
        )
        .unwrap();
        let error = PairModel::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("conv1.weight\" has shape"), "{error}");

        let network = Network::Convnet(Convnet {
            widths: vec![4],
            ..Convnet::default()
        });
        let embedder = Model::new(network, Head::default(), Input::Image(input()), 5).unwrap();
        embedder.save(folder.path()).unwrap();
        assert!(!PairModel::is_in(folder.path()));
        let error = PairModel::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("embeds single items"), "{error}");
        assert!(!PairModel::is_in(&folder.path().join("nowhere")));
    }
}
