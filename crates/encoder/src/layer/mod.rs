//! Layers: parameters with the operation that uses them.

mod batch_norm;
mod conv2d;
mod conv_norm;
mod dropout;
mod layer_norm;
mod linear;
mod map;
mod pair_conv2d;
mod squeeze_excite;

pub use batch_norm::BatchNorm;
pub use conv_norm::ConvNorm;
pub use conv2d::{Conv2d, Kernel};
pub use dropout::Dropout;
pub use layer_norm::LayerNorm;
pub use linear::{Blocks, Linear};
pub use map::Map;
pub use pair_conv2d::PairConv2d;
pub use squeeze_excite::SqueezeExcite;

use candle_core::Tensor;

/// Whether a forward pass is part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norms use the batch's statistics and update their running averages.
    Train,
    /// Batch norms use the batch's statistics and leave their running averages alone: the second
    /// pass over the same batch, as gradient caching makes it.
    Replay,
    /// Batch norms use their running averages, and nothing is recorded for a backward pass.
    Eval,
}

impl Mode {
    /// The parameter as a forward pass in this mode uses it: off the tape where none is recorded,
    /// so that no intermediate result outlives its use.
    pub(crate) fn parameter(self, tensor: &Tensor) -> Tensor {
        if self == Self::Eval {
            tensor.detach()
        } else {
            tensor.clone()
        }
    }
}
