//! The network of the quadruplet paper: how different the two images of a pair are.

use super::alexnet::High;
use super::layers::Layers;
use super::{Alexnet, AlexnetLayout, AlexnetStem, InputShape, Width};
use crate::error::{Error, Result};
use crate::host::{Host, tensor};
use crate::layer::{Linear, Mode, PairConv2d};
use crate::op::{self, Activation};
use crate::parameters::{Parameters, Scope};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// The settings of a network of pairs, as `[pair_network.NAME]` in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairNetwork {
    /// AlexNet, the first layers over images and the others over pairs.
    Alexnet(PairAlexnet),
}

/// AlexNet over pairs.
///
/// ```text
/// image → conv1, conv2 of AlexNet → map            pair → [map; map] over channels → conv3 … fc7 of AlexNet → fc8 → g
/// ```
///
/// What an image brings to conv3 as the first of a pair and as the second is worked out once, however many its pairs are.
///
/// The defaults are the paper's; `stem`, `width` and `hidden` make it as small as a smaller image allows. With
/// `layout = "torchvision"` it begins with the weights of `torchvision`'s AlexNet, of which conv3 (`features.6`) sees one
/// image and starts anew, as `fc8` does: `[pretrained] fresh = ["features.6", "fc8"]`.
///
/// # Reference
/// Chen, Chen, Zhang and Huang 2017, figures 2 and 3; that the maps lie beside each other over channels is our reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairAlexnet {
    /// Whose layers and tensor names.
    pub layout: AlexnetLayout,
    /// What comes before the second convolution.
    pub stem: AlexnetStem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Outputs of either linear layer before the last; 4096 · width where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<NonZeroUsize>,
    /// Share of the features that training drops behind each of them.
    pub dropout: f32,
    /// What the last layer gives.
    pub output: PairOutput,
}

impl Default for PairAlexnet {
    fn default() -> Self {
        let Alexnet {
            layout,
            stem,
            width,
            hidden,
            dropout,
        } = Alexnet::default();
        Self {
            layout,
            stem,
            width,
            hidden,
            dropout,
            output: PairOutput::default(),
        }
    }
}

impl PairNetwork {
    /// Every network of pairs under its recipe table, with its defaults, for listings.
    pub fn catalogue() -> Vec<(&'static str, &'static str, Self)> {
        let about = "AlexNet over pairs: how different two images are, the network of the quadruplet paper.";
        vec![(
            "pair_network.alexnet",
            about,
            Self::Alexnet(PairAlexnet::default()),
        )]
    }

    /// What the last layer gives.
    pub fn output(&self) -> PairOutput {
        let Self::Alexnet(settings) = self;
        settings.output
    }

    /// The layers before the last, as a network of single images has them.
    fn tower(&self) -> Alexnet {
        let Self::Alexnet(settings) = self;
        Alexnet {
            layout: settings.layout,
            stem: settings.stem,
            width: settings.width,
            hidden: settings.hidden,
            dropout: settings.dropout,
        }
    }
}

/// What the last layer of a network of pairs gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairOutput {
    /// One number g, which may be any (figure 2b); the losses see its square.
    One,
    /// Two, of which the softmax is taken: g = P(different), in [0, 1] (figure 2c).
    #[default]
    Softmax,
}

impl PairOutput {
    /// How many numbers that is.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Softmax => 2,
        }
    }

    /// The largest distance of two images that there can be.
    pub fn farthest(self) -> f64 {
        match self {
            Self::One => f64::INFINITY,
            Self::Softmax => 1.0,
        }
    }
}

/// A [`PairNetwork`] with its parameters.
///
/// ```
/// use nearkin_encoder::network::{AlexnetStem, PairAlexnet, PairNetwork, PairScorer, Width};
/// use nearkin_encoder::{InputShape, host::tensor, parameters::Scope};
///
/// let input = InputShape::Image { height: 12, width: 12, channels: 1 };
/// let small = PairAlexnet { stem: AlexnetStem::Small, width: Width::try_from(0.0625)?, ..PairAlexnet::default() };
/// let scorer = PairScorer::new(&PairNetwork::Alexnet(small), input, 7)?;
/// let images = |count: usize| tensor((0..count * 144).map(|i| (i as f32).sin()).collect(), (count, 12, 12, 1));
/// let distances = scorer.matrix(&images(2)?, &images(3)?, 4)?; // [2, 3]
/// assert!(distances.len() == 6 && distances.iter().all(|g| (0.0..=1.0).contains(g)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PairScorer {
    low: Layers,
    third: PairConv2d,
    high: High,
    last: Linear,
    output: PairOutput,
    input: InputShape,
    parameters: Parameters,
}

impl PairScorer {
    /// Makes a network in host memory with starting weights that depend on the seed and their names.
    ///
    /// # Errors
    /// A setting is out of range or the network needs a larger input; the message names the layer.
    pub fn new(settings: &PairNetwork, input: InputShape, seed: u64) -> Result<Self> {
        Self::on(
            settings,
            input,
            &Scope::new(seed, candle_core::DType::F32, &candle_core::Device::Cpu),
        )
    }

    /// The same with the weights of `scope`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(settings: &PairNetwork, input: InputShape, scope: &Scope) -> Result<Self> {
        let mut map = input.image("pair_network")?;
        let tower = settings.tower();
        super::check_share("pair_network.alexnet.dropout", tower.dropout)?;
        let low = tower.low(scope, &mut map)?;
        let (place, width, kernel) = tower.third(scope);
        let third = PairConv2d::new(&place, &mut map, width, kernel)?;
        let (high, features) = tower.high(scope, map)?;
        let outputs = settings.output().count();
        let last = Linear::new(&scope.child("fc8"), features, outputs, Activation::None)?;
        Ok(Self {
            low,
            third,
            high,
            last,
            output: settings.output(),
            input,
            parameters: scope.parameters(),
        })
    }

    /// The part of each image: `[N, H, W, C]` to what it brings to its pairs, `[N, H', W', C']`.
    ///
    /// # Errors
    /// The batch has another shape than the network was made for.
    pub fn maps(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let expected = self.input.batch(images.dim(0)?);
        if images.dims() != expected {
            return Err(Error::Setting {
                key: "input".into(),
                expected: format!("a batch of shape {expected:?}"),
                found: format!("{:?}", images.dims()),
            });
        }
        self.third.shares(&self.low.forward(images, mode)?, mode)
    }

    /// The outputs of the last layer for pairs of maps, by their numbers: `[P, 2]`, same and different, or `[P, 1]`.
    ///
    /// # Errors
    /// A number is not below the count of maps.
    pub fn outputs(&self, maps: &Tensor, pairs: &[[u32; 2]], mode: Mode) -> Result<Tensor> {
        let maps = self.third.forward(maps, pairs, mode)?;
        let features = self.high.forward(&maps, &maps, mode)?;
        self.last.forward(&features, mode)
    }

    /// g of each pair from the outputs of the last layer, `[P, 1]`: the softmax's second number, or the output itself.
    ///
    /// # Errors
    /// The outputs are not those of this network.
    pub fn scores(&self, outputs: &Tensor) -> Result<Tensor> {
        match self.output {
            PairOutput::One => Ok(outputs.clone()),
            // e^b / (e^a + e^b) = sigmoid(b − a)
            PairOutput::Softmax => {
                let like = |numbers: Vec<f32>, shape: &[usize]| {
                    tensor(numbers, shape)?
                        .to_dtype(outputs.dtype())?
                        .to_device(outputs.device())
                };
                let difference = like(vec![-1.0, 1.0], &[1, 2])?;
                let none = like(vec![0.0], &[1])?;
                Ok(op::linear(
                    outputs,
                    &difference,
                    &none,
                    Activation::Sigmoid,
                )?)
            }
        }
    }

    /// How far apart the images of each pair are, from the outputs of the last layer: the size of g, whose square the losses see,
    /// so that one output may go either way from zero.
    ///
    /// # Errors
    /// The outputs are not those of this network.
    pub fn distances(&self, outputs: &Tensor) -> Result<Vec<f32>> {
        let scores = self.scores(outputs)?;
        let scores = Host::new(&scores)?;
        Ok(scores.iter().map(|g| g.abs()).collect())
    }

    /// The [`distances`](Self::distances) of every probe with every image of the gallery, row-major `[probes, gallery]`; maps are made once an image, and
    /// `block` pairs are worked on at a time.
    ///
    /// # Errors
    /// The images have another shape than the network was made for, or `block` is 0.
    pub fn matrix(&self, probes: &Tensor, gallery: &Tensor, block: usize) -> Result<Vec<f32>> {
        if block == 0 {
            return Err(Error::Setting {
                key: "block".into(),
                expected: "a count above zero".into(),
                found: "0".into(),
            });
        }
        let maps = [self.maps_in(probes, block)?, self.maps_in(gallery, block)?];
        let (rows, cols) = (maps[0].dim(0)?, maps[1].dim(0)?);
        let maps = Tensor::cat(&maps, 0)?;
        let pair = |i: usize| [(i / cols) as u32, (rows + i % cols) as u32];
        let mut scores = Vec::with_capacity(rows * cols);
        for start in (0..rows * cols).step_by(block) {
            let pairs: Vec<_> = (start..(start + block).min(rows * cols))
                .map(pair)
                .collect();
            let outputs = self.outputs(&maps, &pairs, Mode::Eval)?;
            scores.extend(self.distances(&outputs)?);
        }
        Ok(scores)
    }

    /// Maps of images, `block` at a time.
    fn maps_in(&self, images: &Tensor, block: usize) -> Result<Tensor> {
        let count = images.dim(0)?;
        let parts = (0..count).step_by(block);
        let parts = parts.map(|start| {
            let part = images.narrow(0, start, block.min(count - start))?;
            self.maps(&part, Mode::Eval)
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// The named parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
