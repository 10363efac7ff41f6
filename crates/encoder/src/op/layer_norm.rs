//! Layer normalization with an optional residual sum in one tape node.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply2, apply3};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{LayerNorm as Kernel, RowStatistics};

/// Layer normalization over the last dimension of `x + residual`.
///
/// ```text
/// z = x + residual        y = γ · (z − μ_row) / √(σ²_row + ε) + β
/// ```
///
/// # Shapes
/// - `x`, residual and output: `[…, C]`
/// - `affine`: `[2, C]`, γ then β
///
/// # Errors
/// The shapes do not fit.
///
/// # Reference
/// Ba, Kiros and Hinton 2016, equations 3 and 4.
pub fn layer_norm(
    x: &Tensor,
    affine: &Tensor,
    epsilon: f32,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    if affine.dims() != [2, channels] || residual.is_some_and(|r| r.dims() != x.dims()) {
        candle_core::bail!(
            "layer_norm: x is {:?}, affine {:?}, residual {:?}; expected [.., C], [2, C], the shape of x",
            x.dims(),
            affine.dims(),
            residual.map(Tensor::dims)
        );
    }
    if !is_fused(x) {
        return composed(x, affine, epsilon, residual);
    }
    let op = Norm {
        epsilon,
        statistics: Saved::empty(),
    };
    let (x, affine) = (x.contiguous()?, affine.contiguous()?);
    match residual {
        Some(residual) => apply3(&x, &affine, &residual.contiguous()?, op),
        None => apply2(&x, &affine, op),
    }
}

fn composed(
    x: &Tensor,
    affine: &Tensor,
    epsilon: f32,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let z = match residual {
        Some(residual) => (x + residual)?,
        None => x.clone(),
    };
    let centered = z.broadcast_sub(&z.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let unit = centered.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)?;
    unit.broadcast_mul(&affine.get(0)?)?
        .broadcast_add(&affine.get(1)?)
}

struct Norm {
    epsilon: f32,
    statistics: Saved<RowStatistics>,
}

impl Norm {
    fn forward(&self, x: &[f32], affine: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let (gamma, beta) = affine.split_at(affine.len() / 2);
        let mut y = vec![0.0; x.len()];
        self.statistics.put(
            Kernel {
                gamma,
                beta,
                epsilon: self.epsilon,
            }
            .forward(x, residual, &mut y),
        );
        y
    }

    /// Gradients of `x + residual` and of affine.
    fn backward(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let dy = dy.contiguous()?;
        let packed = Host::new(affine)?;
        let (gamma, beta) = packed.split_at(packed.len() / 2);
        let kernel = Kernel {
            gamma,
            beta,
            epsilon: self.epsilon,
        };
        let mut dx = vec![0.0; x.elem_count()];
        let mut daffine = vec![0.0; packed.len()];
        let (dgamma, dbeta) = daffine.split_at_mut(packed.len() / 2);
        let statistics = self.statistics.take("layer_norm")?;
        let residual = residual.map(Host::new).transpose()?;
        kernel.backward(
            &Host::new(x)?,
            residual.as_deref(),
            &Host::new(&dy)?,
            &statistics,
            nearkin_kernels::LayerNormGradients {
                dx: &mut dx,
                dgamma,
                dbeta,
            },
        );
        Ok((tensor(dx, x.shape())?, tensor(daffine, affine.shape())?))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("layer_norm forward");
        Ok(output(
            self.forward(contiguous(x, xl)?, contiguous(a, al)?, None),
            xl.shape(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("layer_norm backward");
        let (dx, da) = self.backward(x, a, None, dy)?;
        Ok((Some(dx), Some(da)))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        r: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("layer_norm forward");
        let y = self.forward(
            contiguous(x, xl)?,
            contiguous(a, al)?,
            Some(contiguous(r, rl)?),
        );
        Ok(output(y, xl.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        r: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let _span = span("layer_norm backward");
        let (dz, da) = self.backward(x, a, Some(r), dy)?;
        Ok((Some(dz.clone()), Some(da), Some(dz)))
    }
}
