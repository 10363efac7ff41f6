//! Convolution with batch normalization: the unit that most convolutional networks are made of.

use super::{BatchNorm, Conv2d, Kernel, Map, Mode};
use crate::error::Result;
use crate::host::{Host, with_mut};
use crate::op::Epilogue;
use crate::parameters::Scope;
use candle_core::Tensor;
use nearkin_kernels::{Activation, activate_in_place, add};

/// `y = relu(bn(conv x) + residual)`, the ReLU and the residual where wanted.
#[derive(Clone, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    relu: bool,
}

impl ConvNorm {
    /// Makes the unit for `map` under the names of its convolution and of its norm, and moves `map` behind it.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(
        [conv, norm]: [&Scope; 2],
        map: &mut Map,
        outputs: usize,
        kernel: Kernel,
    ) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::new(conv, map, outputs, kernel)?,
            norm: BatchNorm::new(norm, outputs)?,
            relu: true,
        })
    }

    /// The same under the names and with the ε of `torchvision`'s `BasicConv2d`: `conv`, `bn`, 0.001.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn basic(scope: &Scope, map: &mut Map, outputs: usize, kernel: Kernel) -> Result<Self> {
        let places = [&scope.child("conv"), &scope.child("bn")];
        Ok(Self::new(places, map, outputs, kernel)?.epsilon(1e-3))
    }

    /// The same with another ε.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f32) -> Self {
        self.norm = self.norm.epsilon(epsilon);
        self
    }

    /// The same with another share of the batch in the running averages.
    #[must_use]
    pub fn momentum(mut self, momentum: f32) -> Self {
        self.norm = self.norm.momentum(momentum);
        self
    }

    /// The same without the ReLU.
    #[must_use]
    pub fn linear(mut self) -> Self {
        self.relu = false;
        self
    }

    /// `[N, H, W, C]` to `[N, H', W', O]`.
    ///
    /// # Errors
    /// The map has another shape than it was built for.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward_with(x, None, mode)
    }

    /// The same with a sum before the ReLU.
    ///
    /// # Errors
    /// The map or the residual has another shape than it was built for.
    pub fn forward_with(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        let relu = self.relu;
        let (ends, folded) = (relu && residual.is_none(), || self.norm.scale_and_shift());
        if let Some(y) = self.conv.forward_packed(x, mode, ends, folded)? {
            if let Some(residual) = residual {
                let residual = residual.broadcast_as(y.shape())?.contiguous()?;
                let residual = Host::new(&residual)?;
                with_mut(&y, |y| {
                    add(&residual, y);
                    if relu {
                        activate_in_place(Activation::Relu, y);
                    }
                })?;
            }
            return Ok(y);
        }
        let y = self.conv.forward(x, mode)?;
        self.norm.forward_over(y, Epilogue { residual, relu }, mode)
    }
}
