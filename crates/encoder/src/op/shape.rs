//! Other shapes of the same numbers.

use crate::tape::push;
use candle_core::{Result, Tensor};

/// All dimensions but the first as one: `[N, …]` to `[N, F]`.
///
/// # Errors
/// `x` has no dimension.
pub fn flatten(x: &Tensor) -> Result<Tensor> {
    let y = x.flatten_from(1)?;
    push("flatten", [x.clone()], y, |[x], _, dy| {
        Ok(vec![Some(dy.reshape(x.shape())?)])
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

/// Columns side by side: `[N, C₁]`, `[N, C₂]`, … to `[N, ΣC]`.
///
/// # Errors
/// The rows differ, or there is no part.
pub fn concat(parts: &[Tensor]) -> Result<Tensor> {
    let Some((first, rest)) = parts.split_first() else {
        candle_core::bail!("concat: no parts")
    };
    rest.iter()
        .try_fold(first.clone(), |left, right| beside(&left, right))
}

fn beside(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let y = Tensor::cat(&[a, b], 1)?;
    push("concat", [a.clone(), b.clone()], y, |[a, b], _, dy| {
        let (left, right) = (a.dim(1)?, b.dim(1)?);
        let part = |from, width| dy.narrow(1, from, width)?.contiguous();
        Ok(vec![Some(part(0, left)?), Some(part(left, right)?)])
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
