//! Two-dimensional convolution on channels-last maps.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply2, apply3, tracked};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use nearkin_kernels::{
    Activation, Conv2d, Mat, activate_backward, activate_in_place, column_sums, zeros,
};

/// Stride and zero padding of a convolution or pooling window, in pixels, `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Step between windows.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
}

impl Window {
    /// The same stride and padding both ways.
    pub const fn square(stride: usize, padding: usize) -> Self {
        Self {
            stride: [stride; 2],
            padding: [padding; 2],
        }
    }
}

/// How a convolution goes over a map, and what follows it in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Stride and padding.
    pub window: Window,
    /// Runs of channels that do not see one another: 1 for a plain convolution, all channels for a depthwise one.
    pub groups: usize,
    /// Whether a ReLU ends the pass.
    pub relu: bool,
}

impl From<Window> for Convolution {
    fn from(window: Window) -> Self {
        Self {
            window,
            groups: 1,
            relu: false,
        }
    }
}

/// Two-dimensional cross-correlation.
///
/// ```text
/// y[n, i, j, o] = [relu] Σ_{u, v, c} x[n, i·s + u − p, j·s + v − p, c] · w[o, u, v, c] + b[o]
/// ```
///
/// # Shapes
/// - `x`: `[N, H, W, C]`
/// - `w`: `[O, kh, kw, C / groups]`
/// - `b`: `[O]`
/// - output: `[N, H', W', O]` with `H' = (H + 2p − kh) / s + 1`
///
/// # Errors
/// The shapes do not fit, or the padded map is smaller than the kernel.
pub fn conv2d(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    convolution: Convolution,
) -> Result<Tensor> {
    let geometry = geometry(x, w, bias, convolution)?;
    if !is_fused(x) {
        return composed(x, w, bias, &geometry, convolution.relu);
    }
    let op = Conv {
        geometry,
        relu: convolution.relu,
        wanted: [tracked(&[x]), tracked(&[w])],
    };
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    match bias {
        Some(bias) => apply3(&x, &w, &bias.contiguous()?, op),
        None => apply2(&x, &w, op),
    }
}

fn composed(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Conv2d,
    relu: bool,
) -> Result<Tensor> {
    let ([ph, pw], [down, right]) = (geometry.padding, geometry.stride);
    let padded = x.pad_with_zeros(1, ph, ph)?.pad_with_zeros(2, pw, pw)?;
    // Rows and columns that no window reaches go first: candle's backward pass expects none.
    let reach = |out: usize, k: usize, stride: usize| (out - 1) * stride + k;
    let rows = reach(geometry.output_height(), geometry.kernel[0], down);
    let cols = reach(geometry.output_width(), geometry.kernel[1], right);
    let padded = padded.narrow(1, 0, rows)?.narrow(2, 0, cols)?;
    let maps = padded.permute((0, 3, 1, 2))?.contiguous()?;
    let kernels = w.permute((0, 3, 1, 2))?.contiguous()?;
    let y = if down == right {
        maps.conv2d(&kernels, 0, down, 1, geometry.groups)?
    } else {
        // candle has one stride for both directions: take every window, then those asked for.
        let every_window = maps.conv2d(&kernels, 0, 1, 1, geometry.groups)?;
        every_nth(&every_nth(&every_window, 2, down)?, 3, right)?
    };
    let mut y = y.permute((0, 2, 3, 1))?.contiguous()?;
    if let Some(bias) = bias {
        y = y.broadcast_add(bias)?;
    }
    if relu { y.relu() } else { Ok(y) }
}

/// The entries 0, `step`, 2 · `step`, … of a dimension.
fn every_nth(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
    let ids: Vec<u32> = (0..x.dim(dim)? as u32).step_by(step).collect();
    x.index_select(&Tensor::new(ids, x.device())?, dim)
}

/// The sizes of a convolution.
///
/// # Errors
/// As [`conv2d`].
pub(crate) fn geometry(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    convolution: Convolution,
) -> Result<Conv2d> {
    let (batch, height, width, in_channels) = x.dims4()?;
    let (out_channels, kh, kw, w_channels) = w.dims4()?;
    let (window, groups) = (convolution.window, convolution.groups);
    let [ph, pw] = window.padding;
    let is_divided = groups > 0
        && w_channels * groups == in_channels
        && out_channels.is_multiple_of(groups)
        && bias.is_none_or(|bias| bias.dims() == [out_channels]);
    if !is_divided || height + 2 * ph < kh || width + 2 * pw < kw {
        candle_core::bail!(
            "conv2d: x is {:?}, w {:?} and the bias {:?} with {convolution:?}; expected [N, H, W, C], [O, kh, kw, C / groups] and [O], kernel within the padded map",
            x.dims(),
            w.dims(),
            bias.map(Tensor::dims)
        );
    }
    Ok(Conv2d {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        kernel: [kh, kw],
        stride: window.stride,
        padding: window.padding,
        groups,
    })
}

struct Conv {
    geometry: Conv2d,
    relu: bool,
    /// Whether anyone asks for the gradient of x and of w: images and frozen kernels need none.
    wanted: [bool; 2],
}

impl Conv {
    fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> (CpuStorage, Shape) {
        let g = &self.geometry;
        let mut y = g.forward_new(x, w, bias);
        if self.relu {
            activate_in_place(Activation::Relu, &mut y);
        }
        let shape = (g.batch, g.output_height(), g.output_width(), g.out_channels);
        output(y, shape)
    }

    /// The gradient before the ReLU, if there is one.
    fn before_relu(&self, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dy = dy.contiguous()?;
        if !self.relu {
            return Ok(dy);
        }
        let mut dz = zeros(dy.elem_count());
        activate_backward(Activation::Relu, &Host::new(y)?, &Host::new(&dy)?, &mut dz);
        tensor(dz, dy.shape())
    }

    /// Gradients of x and w.
    fn backward(&self, x: &Tensor, w: &Tensor, dz: &[f32]) -> Result<[Option<Tensor>; 2]> {
        let g = &self.geometry;
        let [mut dx, mut dw] = [None, None];
        if self.wanted[1] {
            let mut gradient = vec![0.0; g.weight_len()];
            g.backward_weight(&Host::new(x)?, dz, &mut gradient);
            dw = Some(tensor(gradient, w.shape())?);
        }
        if self.wanted[0] {
            let mut gradient = zeros(g.input_len());
            g.backward_input(dz, &Host::new(w)?, &mut gradient);
            dx = Some(tensor(gradient, x.shape())?);
        }
        Ok([dx, dw])
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("conv2d forward");
        Ok(self.forward(contiguous(x, xl)?, contiguous(w, wl)?, None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("conv2d backward");
        let dz = self.before_relu(y, dy)?;
        let [dx, dw] = self.backward(x, w, &Host::new(&dz)?)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("conv2d forward");
        let bias = contiguous(b, bl)?;
        Ok(self.forward(contiguous(x, xl)?, contiguous(w, wl)?, Some(bias)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let _span = span("conv2d backward");
        let dz = self.before_relu(y, dy)?;
        let dz = Host::new(&dz)?;
        let [dx, dw] = self.backward(x, w, &dz)?;
        let mut db = vec![0.0; b.elem_count()];
        let rows = dz.len() / db.len().max(1);
        column_sums(Mat::new(&dz, rows, db.len()), &mut db);
        Ok((dx, dw, Some(tensor(db, b.shape())?)))
    }
}
