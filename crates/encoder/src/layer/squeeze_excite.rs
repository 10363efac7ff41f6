//! Squeeze-and-excitation.

use super::{Linear, Mode};
use crate::error::Result;
use crate::op::{self, Activation};
use crate::parameters::Scope;
use candle_core::Tensor;

/// Scales the channels of each image by what its average over all positions says.
///
/// ```text
/// y = x · hard_sigmoid(w₂ relu(w₁ mean(x) + b₁) + b₂)
/// ```
///
/// Parameters `fc1` and `fc2`, in files 1×1 convolutions.
///
/// # Reference
/// Hu, Shen and Sun 2018, equations 2 to 4; the hard sigmoid is MobileNetV3's (Howard et al. 2019, section 5.2).
#[derive(Clone, Debug)]
pub struct SqueezeExcite {
    squeeze: Linear,
    excite: Linear,
}

impl SqueezeExcite {
    /// Makes the layer for maps of `channels`, with `width` numbers between its two maps.
    ///
    /// # Errors
    /// The stored weights lack it.
    pub fn new(scope: &Scope, channels: usize, width: usize) -> Result<Self> {
        let linear = |name: &str, sizes, activation| {
            Linear::of_convolution(&scope.child(name), sizes, activation)
        };
        Ok(Self {
            squeeze: linear("fc1", [channels, width], Activation::Relu)?,
            excite: linear("fc2", [width, channels], Activation::HardSigmoid)?,
        })
    }

    /// `[N, H, W, C]` to the same shape.
    ///
    /// # Errors
    /// The channels differ from the layer's.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mean = op::global_average(x)?;
        let factors = self
            .excite
            .forward(&self.squeeze.forward(&mean, mode)?, mode)?;
        Ok(op::scale_channels(x, &factors)?)
    }
}
