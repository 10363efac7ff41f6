//! Convolution with batch normalization: the unit that most convolutional networks are made of.

use super::{BatchNorm, Conv2d, Kernel, Map, Mode};
use crate::error::Result;
use crate::host::{Host, with_mut};
use crate::op::Epilogue;
use crate::parameters::Scope;
use crate::tape::tracked;
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
        let packed = match residual {
            Some(residual) if tracked(&[residual]) => None,
            _ => self.conv.forward_packed(x, mode, ends, folded)?,
        };
        if let Some(y) = packed.filter(|y| residual.is_none_or(|r| r.dims() == y.dims())) {
            if let Some(residual) = residual {
                let residual = residual.contiguous()?;
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
        let y = self.conv.forward_unpacked(x, mode)?;
        self.norm.forward_over(y, Epilogue { residual, relu }, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn unit(scope: &Scope, kernel: Kernel) -> ConvNorm {
        let mut map = Map {
            height: 4,
            width: 5,
            channels: 3,
        };
        ConvNorm::basic(scope, &mut map, 7, kernel).unwrap()
    }

    #[test]
    fn packed_weights_are_for_passes_that_end_as_the_first_one_did() {
        let scope = || Scope::new(3, DType::F32, &Device::Cpu);
        let x = Tensor::arange(0f32, 120.0, &Device::Cpu).unwrap();
        let x = (x.reshape((2, 4, 5, 3)).unwrap() / 60.0).unwrap();
        let residual = Tensor::full(-0.3f32, (2, 4, 5, 7), &Device::Cpu).unwrap();
        let numbers = |y: Tensor| y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for kernel in [Kernel::square(1, 1, 0), Kernel::square(3, 1, 1)] {
            let plain = unit(&scope(), kernel);
            for order in [[Some(&residual), None], [None, Some(&residual)]] {
                let packed = unit(&scope().for_inference(), kernel);
                for residual in order.into_iter().chain(order) {
                    let [want, found] = [&plain, &packed]
                        .map(|unit| unit.forward_with(&x, residual, Mode::Eval).unwrap())
                        .map(numbers);
                    let apart = want.iter().zip(&found).map(|(a, b)| (a - b).abs());
                    assert!(apart.fold(0.0, f32::max) < 1e-5, "{kernel:?}");
                }
            }
            let packed = unit(&scope().for_inference(), kernel);
            let other = residual.narrow(1, 0, 1).unwrap();
            assert!(packed.forward_with(&x, Some(&other), Mode::Eval).is_err());
        }
    }
}
