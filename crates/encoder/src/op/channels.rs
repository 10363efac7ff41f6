//! Operations over the channels of a map: several maps as one, factors, the largest of several linear maps, and
//! normalization among neighbors.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply1, apply2, push_all};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{
    ResponseNorm, maxout as kernel_maxout, maxout_backward, scale_channels as kernel_scale,
    scale_channels_backward, take_columns, zeros,
};

/// Tensors side by side along their last dimension: `[…, C₁]`, `[…, C₂]`, … to `[…, ΣC]`.
///
/// # Errors
/// The other dimensions differ, or there is no part.
pub fn concat(parts: &[Tensor]) -> Result<Tensor> {
    if let [part] = parts {
        return Ok(part.clone());
    }
    let _span = span("concat forward");
    let y = Tensor::cat(parts, D::Minus1)?;
    let backward = |parts: &[Tensor], y: &Tensor, dy: &Tensor| {
        let _span = span("concat backward");
        let dy = dy.contiguous()?;
        let (upstream, width) = (Host::new(&dy)?, y.dim(D::Minus1)?);
        let mut first = 0;
        let gradient = |part: &Tensor| {
            let cols = part.dim(D::Minus1)?;
            let mut dx = zeros(part.elem_count());
            take_columns(&upstream, width, first..first + cols, &mut dx);
            first += cols;
            Ok(Some(tensor(dx, part.shape())?))
        };
        parts.iter().map(gradient).collect()
    };
    push_all("concat", parts.to_vec(), y, backward)
}

/// Every channel of every image times a factor of its own.
///
/// # Shapes
/// - `x` and the output: `[N, H, W, C]`
/// - `s`: `[N, C]`
///
/// # Errors
/// The shapes do not fit.
///
/// # Reference
/// Hu, Shen and Sun 2018 (squeeze-and-excitation), equation 4.
pub fn scale_channels(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    let (batch, _, _, channels) = x.dims4()?;
    if s.dims() != [batch, channels] {
        candle_core::bail!(
            "scale_channels: x is {:?}, s {:?}; expected [N, H, W, C] and [N, C]",
            x.dims(),
            s.dims()
        );
    }
    if is_fused(x) {
        return apply2(&x.contiguous()?, &s.contiguous()?, ScaleChannels);
    }
    x.broadcast_mul(&s.reshape((batch, 1, 1, channels))?)
}

struct ScaleChannels;

impl CustomOp2 for ScaleChannels {
    fn name(&self) -> &'static str {
        "scale_channels"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        s: &CpuStorage,
        sl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("scale_channels forward");
        let (x, channels) = (contiguous(x, xl)?, sl.shape().dims()[1]);
        let mut y = zeros(x.len());
        kernel_scale(x, contiguous(s, sl)?, channels, &mut y);
        Ok(output(y, xl.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        s: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("scale_channels backward");
        let dy = dy.contiguous()?;
        let (mut dx, mut ds) = (zeros(x.elem_count()), vec![0.0; s.elem_count()]);
        let inputs = [&*Host::new(x)?, &*Host::new(&dy)?];
        scale_channels_backward(inputs, &Host::new(s)?, s.dim(1)?, &mut dx, &mut ds);
        Ok((Some(tensor(dx, x.shape())?), Some(tensor(ds, s.shape())?)))
    }
}

/// The largest of `pieces` equal runs of each row: `y[n, c] = maxⱼ x[n, j · C + c]`.
///
/// # Shapes
/// - `x`: `[N, pieces · C]`
/// - output: `[N, C]`
///
/// # Errors
/// The width is no multiple of the pieces.
///
/// # Reference
/// Goodfellow et al. 2013, section 3.
pub fn maxout(x: &Tensor, pieces: usize) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    if pieces == 0 || !width.is_multiple_of(pieces) {
        candle_core::bail!(
            "maxout: x is {:?}; expected a multiple of {pieces} columns",
            x.dims()
        );
    }
    let cols = width / pieces;
    if is_fused(x) {
        return apply1(&x.contiguous()?, Maxout { pieces, cols });
    }
    let piece = |j: usize| x.narrow(1, j * cols, cols);
    (1..pieces).try_fold(piece(0)?, |largest, j| largest.maximum(&piece(j)?))
}

struct Maxout {
    pieces: usize,
    cols: usize,
}

impl CustomOp1 for Maxout {
    fn name(&self) -> &'static str {
        "maxout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("maxout forward");
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len() / self.pieces];
        kernel_maxout(x, self.pieces, self.cols, &mut y);
        let rows = layout.shape().dims()[0];
        Ok(output(y, (rows, self.cols)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("maxout backward");
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        maxout_backward(
            &Host::new(x)?,
            &Host::new(&dy)?,
            self.pieces,
            self.cols,
            &mut dx,
        );
        Ok(Some(tensor(dx, x.shape())?))
    }
}

/// Local response normalization among neighboring channels; see [`ResponseNorm`].
///
/// # Shapes
/// - `x` and the output: `[…, C]`
///
/// # Errors
/// The size is 0 or the bias not above zero.
///
/// # Reference
/// Krizhevsky, Sutskever and Hinton 2012, section 3.3.
pub fn response_norm(x: &Tensor, norm: ResponseNorm) -> Result<Tensor> {
    if norm.size == 0 || norm.bias <= 0.0 {
        candle_core::bail!("response_norm: {norm:?}; expected a size and a bias above zero");
    }
    if is_fused(x) {
        return apply1(&x.contiguous()?, Normalize(norm));
    }
    let (channels, last) = (x.dim(D::Minus1)?, x.rank() - 1);
    let squares = x
        .sqr()?
        .pad_with_zeros(last, norm.size / 2, (norm.size - 1) / 2)?;
    let mut sum = squares.narrow(last, 0, channels)?;
    for shift in 1..norm.size {
        sum = (sum + squares.narrow(last, shift, channels)?)?;
    }
    let share = f64::from(norm.alpha) / norm.size as f64;
    let denominator = ((sum * share)? + f64::from(norm.bias))?;
    x / denominator.powf(f64::from(norm.beta))?
}

struct Normalize(ResponseNorm);

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "response_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("response_norm forward");
        let (x, channels) = (
            contiguous(x, layout)?,
            layout.shape().dims().last().copied(),
        );
        let mut y = zeros(x.len());
        self.0.forward(x, channels.unwrap_or(0), &mut y);
        Ok(output(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("response_norm backward");
        let dy = dy.contiguous()?;
        let mut dx = zeros(x.elem_count());
        let channels = x.dim(D::Minus1)?;
        self.0
            .backward(&Host::new(x)?, &Host::new(&dy)?, channels, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
