//! Dropout by a seeded mask.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nearkin_kernels::Dropout;

/// Drops numbers with a mask that is a function of the seed; see [`Dropout`].
///
/// # Shapes
/// - `x` and the output: any, equal
///
/// # Errors
/// Fails only if memory or the device fails.
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    if dropout.rate <= 0.0 {
        return Ok(x.clone());
    }
    if is_fused(x) {
        return apply1(&x.contiguous()?, Mask(dropout));
    }
    // The mask of the other road is the same: it is made on the host.
    let mut mask = vec![0.0; x.elem_count()];
    dropout.apply(&vec![1.0; x.elem_count()], &mut mask);
    let mask = tensor(mask, x.shape())?.to_dtype(x.dtype())?;
    x * mask.to_device(x.device())?
}

struct Mask(Dropout);

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("dropout forward");
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len()];
        self.0.apply(x, &mut y);
        Ok(output(y, layout.shape()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("dropout backward");
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        self.0.apply(&Host::new(&dy)?, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
