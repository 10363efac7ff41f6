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
