//! Batch normalization, ReLU and 2 × 2 max pooling in one tape node.

use super::batch_norm::{Epilogue, Moments, batch_norm, batch_norm_inference};
use super::pool::{Pool, Pooling, pool2d};
use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply2, tracked};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use nearkin_kernels::{BatchNormPool as Kernel, BatchStatistics, zeros};
use std::sync::Arc;

const NORM: Epilogue = Epilogue {
    residual: None,
    relu: true,
};

/// Batch normalization with the statistics of this batch, ReLU, and the maximum of each 2 × 2 window.
///
/// ```text
/// z = relu( γ · (x − μ) / √(σ² + ε) + β )
/// y[n, i, j, c] = max over u, v ∈ {0, 1} of z[n, 2i + u, 2j + v, c]
/// ```
///
/// The meaning is that of [`batch_norm`] and [`pool2d`] one after the other; the map between them is never written.
///
/// # Shapes
/// - `x`: `[N, H, W, C]`, H and W at least 2
/// - `affine`: `[2, C]`, γ then β
/// - output: `[N, ⌊H / 2⌋, ⌊W / 2⌋, C]`
///
/// Returns the output and the batch's moments, for the running averages.
///
/// # Errors
/// The shapes do not fit.
pub fn batch_norm_pool(x: &Tensor, affine: &Tensor, epsilon: f32) -> Result<(Tensor, Moments)> {
    let size = check(x, affine)?;
    if !is_fused(x) {
        let (z, moments) = batch_norm(x, affine, epsilon, NORM)?;
        return Ok((pool(&z)?, moments));
    }
    let moments = Arc::new(Saved::empty());
    let op = NormPool {
        epsilon,
        size,
        kept: Saved::empty(),
        moments: moments.clone(),
    };
    let y = apply2(&x.contiguous()?, &affine.contiguous()?, op)?;
    Ok((y, moments.take("batch_norm_pool")?))
}

/// The same with given (running) statistics, for inference.
///
/// # Shapes
/// As [`batch_norm_pool`]; `mean` and `variance`: `[C]`.
///
/// # Errors
/// The shapes do not fit.
pub fn batch_norm_pool_inference(
    x: &Tensor,
    affine: &Tensor,
    running: [&Tensor; 2],
    epsilon: f32,
) -> Result<Tensor> {
    let size = check(x, affine)?;
    if !is_fused(x) || tracked(&[x, affine]) {
        return pool(&batch_norm_inference(x, affine, running, epsilon, NORM)?);
    }
    let (x, affine) = (x.contiguous()?, affine.contiguous()?);
    let packed = Host::new(&affine)?;
    let kernel = kernel(&packed, epsilon, size);
    let mut y = zeros(kernel.output_len());
    let [mean, variance] = [Host::new(running[0])?, Host::new(running[1])?];
    kernel.inference(&Host::new(&x)?, &mean, &variance, &mut y);
    tensor(y, pooled(x.shape())?)
}

fn pool(z: &Tensor) -> Result<Tensor> {
    pool2d(z, Pool::square(Pooling::Max, 2, 2, 0))
}

/// Batch, height and width.
fn check(x: &Tensor, affine: &Tensor) -> Result<[usize; 3]> {
    let (batch, height, width, channels) = x.dims4()?;
    if affine.dims() != [2, channels] || height < 2 || width < 2 {
        candle_core::bail!(
            "batch_norm_pool: x is {:?}, affine {:?}; expected [N, H, W, C] with H and W at least 2, [2, C]",
            x.dims(),
            affine.dims()
        );
    }
    Ok([batch, height, width])
}

/// The shape after pooling.
fn pooled(x: &Shape) -> Result<Shape> {
    let (batch, height, width, channels) = x.dims4()?;
    Ok((batch, height / 2, width / 2, channels).into())
}

fn kernel(affine: &[f32], epsilon: f32, [batch, height, width]: [usize; 3]) -> Kernel<'_> {
    let (gamma, beta) = affine.split_at(affine.len() / 2);
    Kernel {
        gamma,
        beta,
        epsilon,
        batch,
        height,
        width,
    }
}

struct NormPool {
    epsilon: f32,
    size: [usize; 3],
    kept: Saved<(BatchStatistics, Vec<u8>)>,
    moments: Arc<Saved<Moments>>,
}

impl CustomOp2 for NormPool {
    fn name(&self) -> &'static str {
        "batch_norm_pool"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        affine: &CpuStorage,
        al: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("batch_norm_pool forward");
        let kernel = kernel(contiguous(affine, al)?, self.epsilon, self.size);
        let mut y = zeros(kernel.output_len());
        let mut places = vec![0; y.len()];
        let statistics = kernel.forward(contiguous(x, xl)?, &mut y, &mut places);
        self.moments.put(Moments {
            mean: statistics.mean.clone(),
            variance: statistics.variance.clone(),
        });
        self.kept.put((statistics, places));
        Ok(output(y, pooled(xl.shape())?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("batch_norm_pool backward");
        let dy = dy.contiguous()?;
        let (statistics, places) = self.kept.take("batch_norm_pool")?;
        let (packed, input, upstream) = (Host::new(affine)?, Host::new(x)?, Host::new(&dy)?);
        let kernel = kernel(&packed, self.epsilon, self.size);
        let gradients = kernel.backward(&input, &statistics, &places, &upstream);
        let daffine = [gradients.dgamma, gradients.dbeta].concat();
        Ok((
            Some(tensor(gradients.dx, x.shape())?),
            Some(tensor(daffine, affine.shape())?),
        ))
    }
}
