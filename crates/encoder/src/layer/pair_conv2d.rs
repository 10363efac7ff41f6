//! Convolution over pairs of maps.

use super::{Conv2d, Kernel, Map, Mode};
use crate::error::Result;
use crate::op;
use crate::parameters::Scope;
use candle_core::Tensor;

/// Convolution of the maps of a pair side by side over channels, with a bias and a ReLU.
///
/// ```text
/// [a; b] ∗ [V; W] + c = a ∗ V + b ∗ W + c
/// ```
///
/// So what a map brings is worked out once for each side, and its pairs only add: a matrix of N × M pairs takes N + M
/// convolutions. Parameters are those of a [`Conv2d`] of 2·C channels.
#[derive(Clone, Debug)]
pub struct PairConv2d {
    joined: Conv2d,
    bias: Tensor,
}

impl PairConv2d {
    /// Makes the layer for the map of one image, and moves `map` behind it.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(scope: &Scope, map: &mut Map, outputs: usize, kernel: Kernel) -> Result<Self> {
        map.channels *= 2;
        Ok(Self {
            joined: Conv2d::new(scope, map, outputs, kernel)?,
            bias: Conv2d::bias(scope, outputs)?,
        })
    }

    /// What maps bring as the first of a pair, then as the second: `[N, H, W, C]` to `[N, H', W', 2 · O]`.
    ///
    /// # Errors
    /// The maps are smaller than the kernel or have other channels.
    pub fn shares(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let kernels = op::kernels_of_parts(&mode.parameter(&self.joined.weight), 2)?;
        Ok(op::conv2d(x, &kernels, None, self.joined.convolution)?)
    }

    /// The layer over pairs of these: `[N, H', W', 2 · O]` to `[P, H', W', O]`.
    ///
    /// # Errors
    /// A number is not below the count of maps.
    pub fn forward(&self, shares: &Tensor, pairs: &[[u32; 2]], mode: Mode) -> Result<Tensor> {
        let bias = mode.parameter(&self.bias);
        Ok(op::pair_sum(shares, &bias, &pairs.into())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Host, tensor};
    use candle_core::{DType, Device};

    #[test]
    fn pairs_are_convolved_as_maps_side_by_side() {
        let scope = Scope::new(3, DType::F32, &Device::Cpu);
        let mut map = Map {
            height: 5,
            width: 4,
            channels: 6,
        };
        let layer = PairConv2d::new(&scope, &mut map, 7, Kernel::same(3, 3)).unwrap();
        let numbers = (0..3 * 5 * 4 * 6).map(|i| (i as f32 * 0.7).sin());
        let maps = tensor(numbers.collect(), (3, 5, 4, 6)).unwrap();
        let pairs = [[0, 1], [1, 0], [2, 2], [0, 2]];
        let shares = layer.shares(&maps, Mode::Eval).unwrap();
        let found = layer.forward(&shares, &pairs, Mode::Eval).unwrap();
        for (p, pair) in pairs.iter().enumerate() {
            let sides = pair.map(|i| maps.narrow(0, i as usize, 1).unwrap());
            let joined = Tensor::cat(&sides, 3).unwrap();
            let convolved = layer.joined.forward(&joined, Mode::Eval).unwrap();
            let want = convolved
                .broadcast_add(&layer.bias)
                .unwrap()
                .relu()
                .unwrap();
            let found = found.narrow(0, p, 1).unwrap().contiguous().unwrap();
            let (found, want) = (Host::new(&found).unwrap(), Host::new(&want).unwrap());
            for (found, want) in found.iter().zip(want.iter()) {
                assert!(
                    (found - want).abs() < 1e-5,
                    "{pair:?}: {found} is not {want}"
                );
            }
        }
    }
}
