//! A network with its head: inputs to embeddings.

use super::{Body, InputShape, Network};
use crate::error::{Error, Result};
use crate::image::LARGEST_SIDE;
use crate::layer::{BatchNorm, Linear, Mode};
use crate::op::{self, Activation, Epilogue};
use crate::parameters::{Parameters, Scope};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// The last layer: features to embeddings, `[head]` in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a recipe, each by itself"
)]
pub struct Head {
    /// Length of an embedding.
    pub dim: usize,
    /// Whether embeddings are scaled to unit length.
    pub normalize: bool,
    /// What comes behind the linear layer.
    pub activation: HeadActivation,
    /// Whether there is a linear layer, `embedding`; without it the network's features are the embedding, and `dim` is
    /// their number.
    pub linear: bool,
    /// Whether features go through a batch norm, `features_norm`, before the linear layer. Of a deep network without batch norms the
    /// features of all inputs are nearly one at first, and distances between embeddings nearly zero; behind the norm they are
    /// not, so that there is something to learn from. Others have it as the neck of a classifier (Luo et al. 2019, *Bag of
    /// Tricks and a Strong Baseline for Deep Person Re-identification*, section 3.5).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub batch_norm: bool,
    /// Whether, in use, an image's embedding is the mean of its own and its mirror image's, before it is scaled: two that are each
    /// other's mirror, as the network reads them, then have one embedding, as suits faces and what else is seen from either
    /// side. Embedding costs twice as much, training the same: it had better mirror images at random, `[augment] flip`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
}

/// What comes behind the linear layer of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadActivation {
    /// Nothing.
    #[default]
    None,
    /// The sigmoid, as in the constellation paper.
    Sigmoid,
}

impl From<HeadActivation> for Activation {
    fn from(activation: HeadActivation) -> Self {
        match activation {
            HeadActivation::None => Self::None,
            HeadActivation::Sigmoid => Self::Sigmoid,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            dim: 128,
            normalize: true,
            activation: HeadActivation::None,
            linear: true,
            batch_norm: false,
            mirrored: false,
        }
    }
}

/// A network with its parameters: a batch of inputs in, embeddings out.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use nearkin_encoder::{Embedder, Head, InputShape, Mode, Network, network::Convnet};
///
/// let input = InputShape::Image { height: 16, width: 16, channels: 1 };
/// let network = Network::Convnet(Convnet { widths: vec![8, 8], ..Convnet::default() });
/// let embedder = Embedder::new(&network, &Head { dim: 4, ..Head::default() }, input, 7)?;
/// let images = Tensor::ones((3, 16, 16, 1), DType::F32, &Device::Cpu)?;
/// assert_eq!(embedder.forward(&images, Mode::Eval)?.dims(), [3, 4]);
/// # Ok::<(), nearkin_encoder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embedder {
    body: Body,
    norm: Option<BatchNorm>,
    linear: Option<Linear>,
    head: Head,
    input: InputShape,
    parameters: Parameters,
    is_batchwise: bool,
}

impl Embedder {
    /// Makes a network in host memory with starting weights that depend on the seed and their names.
    ///
    /// # Errors
    /// A setting is out of range or the network needs a larger input; the message names the layer.
    pub fn new(network: &Network, head: &Head, input: InputShape, seed: u64) -> Result<Self> {
        Self::on(
            network,
            head,
            input,
            &Scope::new(seed, DType::F32, &Device::Cpu),
        )
    }

    /// The same with the number type and device of `scope`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(network: &Network, head: &Head, input: InputShape, scope: &Scope) -> Result<Self> {
        if head.dim == 0 || input.numbers() == 0 {
            return Err(Error::Setting {
                key: if head.dim == 0 { "head.dim" } else { "input" }.into(),
                expected: "a size above zero".into(),
                found: "0".into(),
            });
        }
        if let InputShape::Image { height, width, .. } = input
            && height.max(width) > LARGEST_SIDE as usize
        {
            return Err(Error::Setting {
                key: "input".into(),
                expected: format!("at most {LARGEST_SIDE} rows and columns"),
                found: format!("{height} x {width}"),
            });
        }
        if head.mirrored && matches!(input, InputShape::Features { .. }) {
            return Err(Error::Setting {
                key: "head.mirrored".into(),
                expected: "false for features, which have no mirror image".into(),
                found: "true".into(),
            });
        }
        let (body, features) = network.build(scope, input)?;
        let norm = || BatchNorm::new(&scope.child("features_norm"), features);
        let norm = head.batch_norm.then(norm).transpose()?;
        let linear = if head.linear {
            let place = scope.child("embedding");
            let activation = head.activation.into();
            Some(Linear::new(&place, features, head.dim, activation)?)
        } else if head.dim == features {
            None
        } else {
            return Err(Error::Setting {
                key: "head.dim".into(),
                expected: format!("{features}, the network's features, since head.linear is false"),
                found: head.dim.to_string(),
            });
        };
        Ok(Self {
            body,
            norm,
            linear,
            head: head.clone(),
            input,
            parameters: scope.parameters(),
            is_batchwise: scope.is_batchwise(),
        })
    }

    /// Embeds a batch.
    ///
    /// # Shapes
    /// - `x`: `[N, H, W, C]` or `[N, F]`, as [`Self::input`] says
    /// - output: `[N, D]`
    ///
    /// # Errors
    /// The batch has another shape.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let expected = self.input.batch(x.dim(0)?);
        if x.dims() != expected {
            return Err(Error::Setting {
                key: "input".into(),
                expected: format!("a batch of shape {expected:?}"),
                found: format!("{:?}", x.dims()),
            });
        }
        let mut embeddings = self.embed(x, mode)?;
        if self.head.mirrored && mode == Mode::Eval {
            embeddings = ((embeddings + self.embed(&mirror(x)?, mode)?)? * 0.5)?;
        }
        Ok(if self.head.normalize {
            op::normalize(&embeddings)?
        } else {
            embeddings
        })
    }

    /// Features, their batch norm and their linear layer.
    fn embed(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut features = self.body.forward(x, mode)?;
        if let Some(norm) = &self.norm {
            let plain = Epilogue {
                residual: None,
                relu: false,
            };
            features = norm.forward_over(features, plain, mode)?;
        }
        match &self.linear {
            Some(linear) => linear.forward(&features, mode),
            None => Ok(op::activation(&features, self.head.activation.into())?),
        }
    }

    /// Whether in training an item's embedding depends on the items beside it: by statistics of a batch norm, or by dropout,
    /// whose mask is that of the batch.
    pub fn is_batchwise(&self) -> bool {
        self.is_batchwise
    }

    /// The shape of one input.
    pub fn input(&self) -> InputShape {
        self.input
    }

    /// The length of an embedding.
    pub fn dim(&self) -> usize {
        self.head.dim
    }

    /// The named parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// Images with their columns in reverse, `[N, H, W, C]`.
fn mirror(images: &Tensor) -> Result<Tensor> {
    let (_, _, width, _) = images.dims4()?;
    let columns: Vec<u32> = (0..width as u32).rev().collect();
    let columns = Tensor::new(columns, images.device())?;
    Ok(images.contiguous()?.index_select(&columns, 2)?)
}
