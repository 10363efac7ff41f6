//! The face network of CASIA-WebFace.

use super::layers::{Layer, Layers, Unit};
use super::{InputShape, Width};
use crate::error::Result;
use crate::layer::{Conv2d, Dropout, Kernel, Mode};
use crate::op::{self, Pool, Pooling};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Ten 3×3 convolutions in five stages, the network of the N-pair paper's face experiments.
///
/// ```text
/// image → [conv, conv, max pool] × 4 → conv, conv → average → dropout
/// ```
///
/// The paper drops the layer behind the average: with `[head] dim = 320, linear = false` these 320 numbers are the
/// embedding. Tensor names: `conv11.weight`, `conv11.bias`, `conv12.weight`, … `conv52.bias`, the second digit the place
/// within the stage.
///
/// # Shapes
/// - input: `[N, H, W, C]`, in the paper 100 × 100 and gray
/// - output: `[N, 320 · width]`
///
/// # Reference
/// Yi, Lei, Liao and Li 2014 (*Learning face representation from scratch*), table 1; Sohn 2016, section 4.3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Casia {
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Batch norm behind each convolution but the last, in place of its bias; the paper has none.
    pub batch_norm: bool,
    /// Share of the features that training drops.
    pub dropout: f32,
}

impl Default for Casia {
    fn default() -> Self {
        Self {
            width: Width::PAPER,
            batch_norm: false,
            dropout: 0.4,
        }
    }
}

/// A [`Casia`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Layers,
    last: Conv2d,
    dropout: Dropout,
}

const LAST: usize = 320;

/// The layers up to the last convolution, which has no ReLU.
fn table() -> Vec<Layer> {
    let conv = |name, outputs| Layer::Conv(name, outputs, Kernel::same(3, 3));
    let pool = |name| Layer::Pool(name, Pool::square(Pooling::Max, 2, 2, 0).ceil());
    vec![
        conv("conv11", 32),
        conv("conv12", 64),
        pool("pool1"),
        conv("conv21", 64),
        conv("conv22", 128),
        pool("pool2"),
        conv("conv31", 96),
        conv("conv32", 192),
        pool("pool3"),
        conv("conv41", 128),
        conv("conv42", 256),
        pool("pool4"),
        conv("conv51", 160),
    ]
}

impl Casia {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.casia")?;
        super::check_share("network.casia.dropout", self.dropout)?;
        let unit = Unit::of(self.batch_norm);
        let layers = Layers::new(scope, &mut map, table(), (unit, self.width))?;
        let (place, kernel) = (scope.child("conv52"), Kernel::same(3, 3));
        let last = Conv2d::biased(&place, &mut map, self.width.of(LAST), kernel, false)?;
        let dropout = Dropout::new(&scope.child("dropout"), self.dropout);
        let body = Body {
            layers,
            last,
            dropout,
        };
        Ok((body, map.channels))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.last.forward(&self.layers.forward(x, mode)?, mode)?;
        self.dropout.forward(&op::global_average(&y)?, x, mode)
    }
}
