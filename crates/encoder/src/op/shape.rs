//! Other shapes of the same numbers.

use crate::tape::push;
use candle_core::{Result, Tensor};

/// The same numbers in another shape.
///
/// # Errors
/// The count of numbers differs.
pub fn reshape(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let y = x.reshape(shape)?;
    push("reshape", [x.clone()], y, |[x], _, dy| {
        Ok(vec![Some(dy.reshape(x.shape())?)])
    })
}

/// All dimensions but the first as one: `[N, …]` to `[N, F]`.
///
/// # Errors
/// `x` has no dimension.
pub fn flatten(x: &Tensor) -> Result<Tensor> {
    let rows = x.dim(0)?;
    reshape(x, &[rows, x.elem_count() / rows.max(1)])
}

/// Maps `[N, H, W, C]` as rows `[N, C·H·W]`, channel by channel: what a linear layer sees that was trained on maps that lie so.
///
/// # Errors
/// `x` has not four dimensions.
pub fn flatten_by_channel(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let y = x.permute((0, 3, 1, 2))?.reshape((n, c * h * w))?;
    push("flatten_by_channel", [x.clone()], y, move |_, _, dy| {
        let dx = dy.reshape((n, c, h, w))?.permute((0, 2, 3, 1))?;
        Ok(vec![Some(dx.contiguous()?)])
    })
}

/// Two tensors of one shape as one, `[2, …]`: a tape node takes three inputs.
///
/// # Errors
/// The shapes differ.
pub fn pair(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let y = Tensor::stack(&[a, b], 0)?;
    push("pair", [a.clone(), b.clone()], y, |_, _, dy| {
        Ok(vec![Some(dy.get(0)?), Some(dy.get(1)?)])
    })
}

/// A tensor times a number.
///
/// # Errors
/// Fails only if memory or the device fails.
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    let y = (x * factor)?;
    push("scale", [x.clone()], y, move |_, _, dy| {
        Ok(vec![Some((dy * factor)?)])
    })
}

/// The sum of two tensors of one shape.
///
/// # Errors
/// The shapes differ.
pub fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let y = (a + b)?;
    push("sum", [a.clone(), b.clone()], y, |_, _, dy| {
        // Each takes a tensor of its own: what meets it later is added in place.
        Ok(vec![Some(dy.clone()), Some(dy.copy()?)])
    })
}

/// Kernels over the channels of several maps side by side as kernels over each map, those over the first before those over
/// the second: `[O, kh, kw, parts · C]` to `[parts · O, kh, kw, C]`.
///
/// # Errors
/// The channels are no multiple of `parts`.
pub fn kernels_of_parts(w: &Tensor, parts: usize) -> Result<Tensor> {
    let (outputs, height, width, channels) = w.dims4()?;
    if parts == 0 || !channels.is_multiple_of(parts) {
        candle_core::bail!("kernels_of_parts: {channels} channels in {parts} parts");
    }
    let (places, channels) = (outputs * height * width, channels / parts);
    let parted = w.reshape((places, parts, channels))?.transpose(0, 1)?;
    let y = parted.contiguous()?;
    let y = y.reshape((parts * outputs, height, width, channels))?;
    push("kernels_of_parts", [w.clone()], y, move |[w], _, dy| {
        let dy = dy.contiguous()?.reshape((parts, places, channels))?;
        let dw = dy.transpose(0, 1)?.contiguous()?;
        Ok(vec![Some(dw.reshape(w.shape())?)])
    })
}
