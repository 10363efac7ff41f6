//! Convolution layer without bias.

use super::Mode;
use crate::error::{Error, Result};
use crate::op::{self, Window};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::Tensor;

/// Convolution of channels-last maps; parameter `weight` `[O, kh, kw, C]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    weight: Tensor,
    window: Window,
}

impl Conv2d {
    /// Makes the layer with a square kernel; weights start normal with deviation `√(2 / (O·k²))`
    /// (He et al. 2015, the fan-out form, which `torchvision`'s residual networks use).
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(
        scope: &Scope,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        window: Window,
    ) -> Result<Self> {
        let fan_out = (outputs * kernel * kernel).max(1) as f32;
        let init = Init::Normal((2.0 / fan_out).sqrt());
        let shape = [outputs, kernel, kernel, inputs];
        let weight = scope.parameter("weight", &shape, init, (Kind::Weight, Storage::Kernel))?;
        Ok(Self {
            name: scope.name().to_owned(),
            weight,
            window,
        })
    }

    /// `[N, H, W, C]` to `[N, H', W', O]`.
    ///
    /// # Errors
    /// The map is smaller than the kernel (the error names the layer) or has other channels.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let kernel = self.weight.dim(1)?;
        let [ph, pw] = self.window.padding;
        if height + 2 * ph < kernel || width + 2 * pw < kernel {
            return Err(Error::TooSmall {
                layer: self.name.clone(),
                height,
                width,
                window: kernel,
            });
        }
        Ok(op::conv2d(x, &mode.parameter(&self.weight), self.window)?)
    }
}
