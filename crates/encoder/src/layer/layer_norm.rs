//! Layer normalization layer.

use super::Mode;
use crate::error::Result;
use crate::op;
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::Tensor;

/// Layer normalization with a residual sum; in files `weight` and `bias`, both `[C]`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    affine: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// Makes the layer: γ = 1, β = 0.
    ///
    /// # Errors
    /// The stored weights lack it.
    pub fn new(scope: &Scope, width: usize, epsilon: f32) -> Result<Self> {
        let storage = Storage::Rows(&["weight", "bias"]);
        let affine =
            scope.parameter("affine", &[2, width], Init::Affine, (Kind::Offset, storage))?;
        Ok(Self { affine, epsilon })
    }

    /// The tensor that a forward pass uses.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.affine
    }

    /// ε, added to the variance.
    pub(crate) fn epsilon(&self) -> f32 {
        self.epsilon
    }

    /// Normalizes the rows of `x + residual`, `[N, C]`.
    ///
    /// # Errors
    /// The width differs from the layer's.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let affine = mode.parameter(&self.affine);
        Ok(op::layer_norm(x, &affine, self.epsilon, residual)?)
    }
}
