//! The model folder: a network with everything needed to use it.
//!
//! ```text
//! model.safetensors   weights, kernels as PyTorch lays them out
//! nearkin.json        format version, network, head, input
//! ```
//! What training adds (recipe, metrics, model card) lies beside these and is not needed for loading.

use crate::description::{self, Kind};
use crate::error::Result;
use crate::image::ImageInput;
use crate::network::{Embedder, Head, InputShape, Network};
use crate::parameters::Scope;
use crate::stored::Stored;
use crate::weights;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::path::Path;

pub use crate::description::{CONFIG, FORMAT};

/// The file with the weights.
pub const WEIGHTS: &str = "model.safetensors";

/// What a model reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Encoded images, prepared so.
    Image(ImageInput),
    /// Vectors, scaled by the training data's means and deviations.
    Features(FeatureInput),
}

/// How a feature vector becomes the input of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureInput {
    /// Subtracted from each feature, `[F]`.
    pub mean: Vec<f32>,
    /// Divides each feature after that, `[F]`, above zero.
    pub deviation: Vec<f32>,
}

impl FeatureInput {
    /// Scales one vector; numbers beyond the known features are dropped.
    pub fn prepare(&self, features: &[f32]) -> Vec<f32> {
        let scale = features.iter().zip(&self.mean).zip(&self.deviation);
        scale
            .map(|((x, mean), deviation)| (x - mean) / deviation)
            .collect()
    }
}

impl Input {
    /// The shape that the network sees.
    pub fn shape(&self) -> InputShape {
        match self {
            Self::Image(image) => image.shape(),
            Self::Features(features) => InputShape::Features {
                dim: features.mean.len(),
            },
        }
    }
}

/// The description of a model, `nearkin.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Format version of the folder.
    pub format: u32,
    /// The network's settings.
    pub network: Network,
    /// The last layer's settings.
    pub head: Head,
    /// What the model reads.
    pub input: Input,
}

/// A network with its description.
#[derive(Clone, Debug)]
pub struct Model {
    /// The description.
    pub config: Config,
    /// The network.
    pub embedder: Embedder,
}

impl Model {
    /// Makes a model with starting weights.
    ///
    /// # Errors
    /// A setting does not fit the input.
    pub fn new(network: Network, head: Head, input: Input, seed: u64) -> Result<Self> {
        let scope = Scope::new(seed, DType::F32, &Device::Cpu);
        Self::on(network, head, input, &scope)
    }

    /// The same with the weights of `scope`.
    ///
    /// # Errors
    /// A setting does not fit the input, or the stored weights not the network.
    pub fn on(network: Network, head: Head, input: Input, scope: &Scope) -> Result<Self> {
        let embedder = Embedder::on(&network, &head, input.shape(), scope)?;
        Ok(Self {
            config: Config {
                format: FORMAT,
                network,
                head,
                input,
            },
            embedder,
        })
    }

    /// Writes the description and the weights into an existing folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        description::write(folder, &self.config)?;
        weights::save(self.embedder.parameters(), &folder.join(WEIGHTS))
    }

    /// Reads a model folder, for inference: layers keep what their first pass made of their weights, so the parameters must not be
    /// changed afterwards. What goes on learning starts from [`on`](Self::on).
    ///
    /// # Errors
    /// A file is missing, damaged, of a newer format or another kind of model, or its tensors do not fit the description.
    pub fn load(folder: &Path) -> Result<Self> {
        let config: Config = description::read(folder, Kind::Embedder)?;
        let scope = Scope::stored(Stored::open(&folder.join(WEIGHTS))?, 0).for_inference();
        let embedder = Embedder::on(&config.network, &config.head, config.input.shape(), &scope)?;
        Ok(Self { config, embedder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Mode;
    use crate::network::{Convnet, Mlp};
    use crate::parameters::Parameter;
    use candle_core::Tensor;

    fn model() -> Model {
        let network = Network::Convnet(Convnet {
            widths: vec![4],
            ..Convnet::default()
        });
        let input = Input::Image(ImageInput {
            height: 6,
            width: 6,
            ..ImageInput::default()
        });
        Model::new(
            network,
            Head {
                dim: 3,
                ..Head::default()
            },
            input,
            5,
        )
        .unwrap()
    }

    #[test]
    fn a_saved_model_gives_the_same_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let one = model();
        one.save(folder.path()).unwrap();
        let other = Model::load(folder.path()).unwrap();
        assert_eq!(one.config, other.config);
        let x = Tensor::arange(0f32, 216., &Device::Cpu)
            .unwrap()
            .reshape((2, 6, 6, 3))
            .unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let weights = |m: &Model| -> Vec<Vec<f32>> {
            let of = |p: &Parameter| numbers(p.var.as_tensor());
            m.embedder.parameters().iter().map(of).collect()
        };
        assert_eq!(weights(&one), weights(&other));
        // What was loaded multiplies by packed weights, in another order of sums.
        let embed = |m: &Model| numbers(&m.embedder.forward(&x, Mode::Eval).unwrap());
        for (a, b) in embed(&one).iter().zip(embed(&other)) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_before_its_keys_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(
            folder.path().join(CONFIG),
            r#"{"format": 99, "new_key": 1}"#,
        )
        .unwrap();
        let error = Model::load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("model format 99, this version reads formats up to 1"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_or_damaged_description_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = |folder: &Path| Model::load(folder).unwrap_err().to_string();
        let error = load(folder.path());
        assert!(error.ends_with("there is no nearkin.json in it"), "{error}");
        fs_err::create_dir(folder.path().join("model")).unwrap();
        model().save(&folder.path().join("model")).unwrap();
        let error = load(folder.path());
        assert!(error.ends_with("model?"), "{error}");
        fs_err::write(folder.path().join(CONFIG), "{\"format\": 1, \"netw").unwrap();
        let error = Model::load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(CONFIG) && error.contains("line 1"),
            "{error}"
        );
    }

    #[test]
    fn features_are_scaled_by_the_stored_numbers() {
        let input = Input::Features(FeatureInput {
            mean: vec![1.0, 2.0],
            deviation: vec![2.0, 1.0],
        });
        let Input::Features(features) = &input else {
            unreachable!()
        };
        assert_eq!(features.prepare(&[3.0, 2.0]), [1.0, 0.0]);
        let mlp = Model::new(
            Network::Mlp(Mlp { hidden: vec![] }),
            Head::default(),
            input,
            1,
        )
        .unwrap();
        let x = Tensor::ones((4, 2), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            mlp.embedder.forward(&x, Mode::Eval).unwrap().dims(),
            [4, 128]
        );
    }
}
