//! Convolution layer.

use super::{Map, Mode};
use crate::error::{Error, Result};
use crate::host::{Host, is_fused, tensor};
use crate::op::{self, Convolution, Pool, Pooling, Window};
use crate::parameters::{Init, Kind, Scope, Storage};
use crate::tape::tracked;
use candle_core::Tensor;
use nearkin_kernels::{Activation, Conv2d as Geometry, PackedConv2d};
use std::sync::{Arc, OnceLock};

/// Convolution of channels-last maps; parameters `weight` `[O, kh, kw, C / groups]` and, where there is one, `bias` `[O]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(super) weight: Tensor,
    bias: Option<Tensor>,
    pub(super) convolution: Convolution,
    /// In a network that never learns: filled by the first pass over few positions.
    packed: Option<Arc<OnceLock<Packed>>>,
}

/// A convolution's weights for products over few positions.
#[derive(Debug)]
struct Packed {
    weight: PackedConv2d,
    relu: bool,
}

/// The size of a convolution's kernels and how they go over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Height and width.
    pub side: [usize; 2],
    /// Stride and padding.
    pub window: Window,
    /// Runs of channels that do not see one another.
    pub groups: usize,
}

impl Kernel {
    /// A square kernel.
    pub const fn square(side: usize, stride: usize, padding: usize) -> Self {
        Self {
            side: [side; 2],
            window: Window::square(stride, padding),
            groups: 1,
        }
    }

    /// A kernel of odd height and width with stride 1 that keeps the size of the map.
    pub const fn same(height: usize, width: usize) -> Self {
        Self {
            side: [height, width],
            window: Window {
                stride: [1, 1],
                padding: [height / 2, width / 2],
            },
            groups: 1,
        }
    }

    /// The same in groups of channels.
    #[must_use]
    pub const fn in_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

impl Conv2d {
    /// Makes the layer without a bias for `map`, and moves `map` behind it; weights start normal with deviation
    /// `√(2 / (O·kh·kw / groups))` (He et al. 2015, the fan-out form, which `torchvision`'s residual networks use).
    ///
    /// # Errors
    /// The kernel is larger than the map (the error names the layer), the channels are no multiple of the groups, or
    /// the stored weights lack the layer.
    pub fn new(scope: &Scope, map: &mut Map, outputs: usize, kernel: Kernel) -> Result<Self> {
        let (inputs, groups) = (map.channels, kernel.groups);
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::Setting {
                key: scope.name().into(),
                expected: format!("channels in {groups} equal groups"),
                found: format!("{inputs} to {outputs}"),
            });
        }
        let windows = Pool {
            kind: Pooling::Max,
            kernel: kernel.side,
            window: kernel.window,
            ceil: false,
        };
        *map = Map {
            channels: outputs,
            ..map.pooled(scope.name(), windows)?
        };
        let [height, width] = kernel.side;
        let fan_out = (outputs * height * width / groups).max(1) as f32;
        let init = Init::Normal((2.0 / fan_out).sqrt());
        let shape = [outputs, height, width, inputs / groups];
        let weight = scope.parameter("weight", &shape, init, (Kind::Weight, Storage::Kernel))?;
        let is_packed = scope.is_for_inference() && groups == 1;
        Ok(Self {
            packed: is_packed.then(Arc::default),
            weight,
            bias: None,
            convolution: Convolution {
                groups,
                ..kernel.window.into()
            },
        })
    }

    /// The same with a bias, which starts at zero, and perhaps a ReLU.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn biased(
        scope: &Scope,
        map: &mut Map,
        outputs: usize,
        kernel: Kernel,
        relu: bool,
    ) -> Result<Self> {
        let mut layer = Self::new(scope, map, outputs, kernel)?;
        layer.bias = Some(Self::bias(scope, outputs)?);
        layer.convolution.relu = relu;
        Ok(layer)
    }

    /// The bias of a layer, which starts at zero.
    pub(super) fn bias(scope: &Scope, outputs: usize) -> Result<Tensor> {
        let kind = (Kind::Offset, Storage::Plain);
        scope.parameter("bias", &[outputs], Init::Constant(0.0), kind)
    }

    /// `[N, H, W, C]` to `[N, H', W', O]`.
    ///
    /// # Errors
    /// The map is smaller than the kernel or has other channels.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let as_it_is = || {
            let bias = self.bias.as_ref().map(Host::new).transpose()?;
            let zeros = || vec![0.0; self.weight.dims()[0]];
            Ok((None, bias.map_or_else(zeros, |bias| bias.to_vec())))
        };
        match self.forward_packed(x, mode, self.convolution.relu, as_it_is)? {
            Some(y) => Ok(y),
            None => self.forward_unpacked(x, mode),
        }
    }

    /// [`forward`](Self::forward) from the weights themselves.
    pub(super) fn forward_unpacked(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| mode.parameter(bias));
        let weight = mode.parameter(&self.weight);
        Ok(op::conv2d(x, &weight, bias.as_ref(), self.convolution)?)
    }

    /// `[relu] scale · (x ∗ w) + shift`, over few positions in a network that never learns, and where no gradient of x is asked
    /// for; `folded` gives the first pass scale and shift, and passes that end otherwise than that one get nothing.
    ///
    /// # Errors
    /// A tensor is not in host memory.
    pub(super) fn forward_packed(
        &self,
        x: &Tensor,
        mode: Mode,
        relu: bool,
        folded: impl FnOnce() -> Result<(Option<Vec<f32>>, Vec<f32>)>,
    ) -> Result<Option<Tensor>> {
        let Some(cell) = self.packed.as_ref().filter(|_| mode == Mode::Eval) else {
            return Ok(None);
        };
        if !is_fused(x) || !x.is_contiguous() || tracked(&[x]) {
            return Ok(None);
        }
        let conv = op::geometry(x, &self.weight, self.bias.as_ref(), self.convolution)?;
        let (height, width) = (conv.output_height(), conv.output_width());
        if !PackedConv2d::pays(&conv) {
            return Ok(None);
        }
        if cell.get().is_none() {
            // Another thread may have been first, with the same.
            let _ = cell.set(self.pack(&conv, folded()?, relu)?);
        }
        let Some(packed) = cell.get().filter(|packed| packed.relu == relu) else {
            return Ok(None);
        };
        let y = packed.weight.forward(&conv, &Host::new(x)?);
        let shape = (conv.batch, height, width, conv.out_channels);
        Ok(Some(tensor(y, shape)?))
    }

    fn pack(
        &self,
        conv: &Geometry,
        (scale, shift): (Option<Vec<f32>>, Vec<f32>),
        relu: bool,
    ) -> Result<Packed> {
        let mut weight = Host::new(&self.weight)?.to_vec();
        let inputs = weight.len() / shift.len().max(1);
        let rows = weight.chunks_exact_mut(inputs.max(1));
        for (row, scale) in rows.zip(scale.iter().flatten()) {
            for w in row {
                *w *= scale;
            }
        }
        let act = if relu {
            Activation::Relu
        } else {
            Activation::None
        };
        let weight = PackedConv2d::new(conv, &weight, &shift, act);
        Ok(Packed { weight, relu })
    }
}
