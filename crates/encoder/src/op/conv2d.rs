//! Two-dimensional convolution on channels-last maps.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply2, tracked};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use nearkin_kernels::{Conv2d, zeros};

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

/// Two-dimensional cross-correlation (no bias: a norm or its own bias follows).
///
/// ```text
/// y[n, i, j, o] = Σ_{u, v, c} x[n, i·s + u − p, j·s + v − p, c] · w[o, u, v, c]
/// ```
///
/// # Shapes
/// - `x`: `[N, H, W, C]`
/// - `w`: `[O, kh, kw, C]`
/// - output: `[N, H', W', O]` with `H' = (H + 2p − kh) / s + 1`
///
/// # Errors
/// The shapes do not fit, or the padded map is smaller than the kernel.
pub fn conv2d(x: &Tensor, w: &Tensor, window: Window) -> Result<Tensor> {
    let geometry = geometry(x, w, window)?;
    if is_fused(x) {
        return apply2(
            &x.contiguous()?,
            &w.contiguous()?,
            Conv {
                geometry,
                input_tracked: tracked(&[x]),
            },
        );
    }
    let [ph, pw] = window.padding;
    let padded = x.pad_with_zeros(1, ph, ph)?.pad_with_zeros(2, pw, pw)?;
    // Rows and columns that no window reaches go first: candle's backward pass expects none.
    let reach = |out: usize, k: usize, stride: usize| (out - 1) * stride + k;
    let rows = reach(
        geometry.output_height(),
        geometry.kernel[0],
        window.stride[0],
    );
    let cols = reach(
        geometry.output_width(),
        geometry.kernel[1],
        window.stride[1],
    );
    let padded = padded.narrow(1, 0, rows)?.narrow(2, 0, cols)?;
    let maps = padded.permute((0, 3, 1, 2))?.contiguous()?;
    let kernels = w.permute((0, 3, 1, 2))?.contiguous()?;
    let [down, right] = window.stride;
    let y = if down == right {
        maps.conv2d(&kernels, 0, down, 1, 1)?
    } else {
        // candle has one stride for both directions: take every window, then those asked for.
        let every_window = maps.conv2d(&kernels, 0, 1, 1, 1)?;
        every_nth(&every_nth(&every_window, 2, down)?, 3, right)?
    };
    y.permute((0, 2, 3, 1))?.contiguous()
}

/// The entries 0, `step`, 2 · `step`, … of a dimension.
fn every_nth(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
    let ids: Vec<u32> = (0..x.dim(dim)? as u32).step_by(step).collect();
    x.index_select(&Tensor::new(ids, x.device())?, dim)
}

fn geometry(x: &Tensor, w: &Tensor, window: Window) -> Result<Conv2d> {
    let (batch, height, width, in_channels) = x.dims4()?;
    let (out_channels, kh, kw, w_channels) = w.dims4()?;
    let [ph, pw] = window.padding;
    if w_channels != in_channels || height + 2 * ph < kh || width + 2 * pw < kw {
        candle_core::bail!(
            "conv2d: x is {:?} and w {:?} with padding {:?}; expected [N, H, W, C] and [O, kh, kw, C], kernel within the padded map",
            x.dims(),
            w.dims(),
            window.padding
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
    })
}

struct Conv {
    geometry: Conv2d,
    input_tracked: bool,
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
        let g = &self.geometry;
        let mut y = zeros(g.output_len());
        g.forward(contiguous(x, xl)?, contiguous(w, wl)?, None, &mut y);
        Ok(output(
            y,
            (g.batch, g.output_height(), g.output_width(), g.out_channels),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("conv2d backward");
        let g = &self.geometry;
        let dy = dy.contiguous()?;
        let upstream = Host::new(&dy)?;
        let mut dw = vec![0.0; g.weight_len()];
        g.backward_weight(&Host::new(x)?, &upstream, &mut dw);
        // The images themselves need no gradient: the first convolution saves a third of its work.
        let dx = if self.input_tracked {
            let mut dx = zeros(g.input_len());
            g.backward_input(&upstream, &Host::new(w)?, &mut dx);
            Some(tensor(dx, x.shape())?)
        } else {
            None
        };
        Ok((dx, Some(tensor(dw, w.shape())?)))
    }
}
