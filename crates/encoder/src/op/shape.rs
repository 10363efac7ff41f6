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
