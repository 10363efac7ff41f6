//! Softmax of rows.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{softmax_rows, softmax_rows_backward};

/// Shares of each row that grow with its numbers and add up to one.
///
/// ```text
/// y_ij = exp(x_ij) / Σ_k exp(x_ik)
/// ```
///
/// # Shapes
/// - `x` and the output: `[N, D]`
///
/// # Errors
/// `x` has not two dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    if is_fused(x) {
        return apply1(&x.contiguous()?, Softmax);
    }
    let largest = x.max_keepdim(D::Minus1)?.detach();
    let powers = x.broadcast_sub(&largest)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("softmax forward");
        let (rows, cols) = layout.shape().dims2()?;
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len()];
        softmax_rows(x, rows, cols, &mut y);
        Ok(output(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("softmax backward");
        let (_, cols) = x.dims2()?;
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        softmax_rows_backward(&Host::new(y)?, &Host::new(&dy)?, cols, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
