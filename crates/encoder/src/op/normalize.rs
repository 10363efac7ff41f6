//! L2 normalization of rows.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{normalize_rows, normalize_rows_backward};

/// Scales each row to unit length; a zero row stays zero.
///
/// ```text
/// y_i = x_i / max(‖x_i‖₂, 1e-12)
/// ```
///
/// # Shapes
/// - `x` and the output: `[N, D]`
///
/// # Errors
/// `x` has not two dimensions.
pub fn normalize(x: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    if is_fused(x) {
        return apply1(
            &x.contiguous()?,
            Normalize {
                norms: Saved::empty(),
            },
        );
    }
    let norms = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
    x.broadcast_div(&norms)
}

struct Normalize {
    norms: Saved<Vec<f32>>,
}

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("normalize forward");
        let (rows, cols) = layout.shape().dims2()?;
        let x = contiguous(x, layout)?;
        let (mut y, mut norms) = (vec![0.0; x.len()], vec![0.0; rows]);
        normalize_rows(x, cols, &mut y, &mut norms);
        self.norms.put(norms);
        Ok(output(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("normalize backward");
        let (_, cols) = x.dims2()?;
        let dy = dy.contiguous()?;
        let norms = self.norms.take("normalize")?;
        let mut dx = vec![0.0; x.elem_count()];
        normalize_rows_backward(
            (&Host::new(y)?, &norms),
            cols,
            1.0,
            &Host::new(&dy)?,
            &mut dx,
        );
        Ok(Some(tensor(dx, x.shape())?))
    }
}
