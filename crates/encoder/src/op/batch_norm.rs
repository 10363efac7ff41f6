//! Batch normalization with an optional residual sum and ReLU in one tape node.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor, with_mut};
use crate::profile::span;
use crate::tape::{apply2, apply3, tracked};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use nearkin_kernels::{BatchNorm as Kernel, BatchNormGradients, BatchStatistics, zeros};
use std::sync::Arc;

/// Batch statistics of one training pass: mean and biased variance per channel.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean over batch and positions, `[C]`.
    pub mean: Vec<f32>,
    /// Biased variance over batch and positions, `[C]`.
    pub variance: Vec<f32>,
}

/// What follows the normalization in the same pass.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// Added after the affine map, the shape of `x`.
    pub residual: Option<&'a Tensor>,
    /// Whether a ReLU ends the pass.
    pub relu: bool,
}

/// Batch normalization over all dimensions but the last, with the statistics of this batch.
///
/// ```text
/// y = relu( γ · (x − μ) / √(σ² + ε) + β + residual )
/// ```
///
/// # Shapes
/// - `x`, residual and output: `[…, C]`
/// - `affine`: `[2, C]`, γ then β (one tensor, since a tape node takes three inputs)
///
/// Returns the output and the batch's moments, for the running averages.
///
/// # Errors
/// The shapes do not fit.
///
/// # Reference
/// Ioffe and Szegedy 2015, algorithm 1.
pub fn batch_norm(
    x: &Tensor,
    affine: &Tensor,
    epsilon: f32,
    epilogue: Epilogue,
) -> Result<(Tensor, Moments)> {
    check(x, affine, epilogue.residual)?;
    if !is_fused(x) {
        return composed_training(x, affine, epsilon, epilogue);
    }
    let moments = Arc::new(Saved::empty());
    let op = Norm {
        epsilon,
        relu: epilogue.relu,
        running: None,
        statistics: Saved::empty(),
        moments: moments.clone(),
        residual_tracked: epilogue.residual.is_some_and(|r| tracked(&[r])),
    };
    let y = op.apply(x, affine, epilogue.residual)?;
    Ok((y, moments.take("batch_norm")?))
}

/// Batch normalization with given (running) statistics, for inference and for training that holds them.
///
/// # Shapes
/// As [`batch_norm`]; `mean` and `variance`: `[C]`.
///
/// # Errors
/// The shapes do not fit.
pub fn batch_norm_inference(
    x: &Tensor,
    affine: &Tensor,
    running: [&Tensor; 2],
    epsilon: f32,
    epilogue: Epilogue,
) -> Result<Tensor> {
    check(x, affine, epilogue.residual)?;
    let [mean, variance] = running;
    let on_tape = tracked(&[x, affine]) || epilogue.residual.is_some_and(|r| tracked(&[r]));
    if !is_fused(x) {
        return normalize_with(x, affine, running, epsilon, epilogue);
    }
    if on_tape {
        let op = Norm {
            epsilon,
            relu: epilogue.relu,
            running: Some([Host::new(mean)?.to_vec(), Host::new(variance)?.to_vec()]),
            statistics: Saved::empty(),
            moments: Arc::new(Saved::empty()),
            residual_tracked: epilogue.residual.is_some_and(|r| tracked(&[r])),
        };
        return op.apply(x, affine, epilogue.residual);
    }
    let x = x.contiguous()?;
    let mut y = zeros(x.elem_count());
    let (input, mean, variance) = (Host::new(&x)?, Host::new(mean)?, Host::new(variance)?);
    with_kernel(affine, epsilon, epilogue, |kernel, residual| {
        kernel.inference(&input, &mean, &variance, residual, &mut y);
        Ok(())
    })?;
    tensor(y, x.shape())
}

/// [`batch_norm_inference`] of a tensor that nobody else needs: where no gradient is asked for, its memory becomes the output's.
/// The residual must not be of the same memory.
///
/// # Errors
/// As [`batch_norm_inference`].
pub fn batch_norm_inference_over(
    x: Tensor,
    affine: &Tensor,
    running: [&Tensor; 2],
    epsilon: f32,
    epilogue: Epilogue,
) -> Result<Tensor> {
    check(&x, affine, epilogue.residual)?;
    let on_tape = tracked(&[&x, affine]) || epilogue.residual.is_some_and(|r| tracked(&[r]));
    if on_tape || !is_fused(&x) || !x.is_contiguous() {
        return batch_norm_inference(&x, affine, running, epsilon, epilogue);
    }
    let (mean, variance) = (Host::new(running[0])?, Host::new(running[1])?);
    with_kernel(affine, epsilon, epilogue, |kernel, residual| {
        with_mut(&x, |y| {
            kernel.inference_in_place(&mean, &variance, residual, y);
        })
    })?;
    Ok(x)
}

/// `work` with the kernel of these settings and the numbers of the residual.
fn with_kernel(
    affine: &Tensor,
    epsilon: f32,
    epilogue: Epilogue,
    work: impl FnOnce(Kernel, Option<&[f32]>) -> Result<()>,
) -> Result<()> {
    let affine = affine.contiguous()?;
    let packed = Host::new(&affine)?;
    let (gamma, beta) = packed.split_at(packed.len() / 2);
    let kernel = Kernel {
        gamma,
        beta,
        epsilon,
        relu: epilogue.relu,
    };
    let residual = epilogue.residual.map(Tensor::contiguous).transpose()?;
    let residual = residual.as_ref().map(Host::new).transpose()?;
    work(kernel, residual.as_deref())
}

fn check(x: &Tensor, affine: &Tensor, residual: Option<&Tensor>) -> Result<()> {
    let channels = x.dim(candle_core::D::Minus1)?;
    if affine.dims() != [2, channels] || residual.is_some_and(|r| r.dims() != x.dims()) {
        candle_core::bail!(
            "batch_norm: x is {:?}, affine {:?}, residual {:?}; expected [.., C], [2, C], the shape of x",
            x.dims(),
            affine.dims(),
            residual.map(Tensor::dims)
        );
    }
    Ok(())
}

/// Runs the composed path and reads the moments back.
fn composed_training(
    x: &Tensor,
    affine: &Tensor,
    epsilon: f32,
    epilogue: Epilogue,
) -> Result<(Tensor, Moments)> {
    let channels = x.dim(candle_core::D::Minus1)?;
    let rows = x.reshape(((), channels))?;
    let mean = rows.mean(0)?;
    let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
    let y = normalize_with(x, affine, [&mean, &variance], epsilon, epilogue)?;
    let numbers = |t: &Tensor| t.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>();
    Ok((
        y,
        Moments {
            mean: numbers(&mean)?,
            variance: numbers(&variance)?,
        },
    ))
}

fn normalize_with(
    x: &Tensor,
    affine: &Tensor,
    running: [&Tensor; 2],
    epsilon: f32,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let [mean, variance] = running;
    let scale = (affine.get(0)? / (variance + f64::from(epsilon))?.sqrt()?)?;
    let shift = (affine.get(1)? - (mean * &scale)?)?;
    let mut y = x.broadcast_mul(&scale)?.broadcast_add(&shift)?;
    if let Some(residual) = epilogue.residual {
        y = (y + residual)?;
    }
    if epilogue.relu { y.relu() } else { Ok(y) }
}

struct Norm {
    epsilon: f32,
    relu: bool,
    /// Mean and variance, where they are given.
    running: Option<[Vec<f32>; 2]>,
    statistics: Saved<BatchStatistics>,
    moments: Arc<Saved<Moments>>,
    residual_tracked: bool,
}

impl Norm {
    fn apply(self, x: &Tensor, affine: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let (x, affine) = (x.contiguous()?, affine.contiguous()?);
        match residual {
            Some(residual) => apply3(&x, &affine, &residual.contiguous()?, self),
            None => apply2(&x, &affine, self),
        }
    }

    fn forward(&self, x: &[f32], affine: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let (gamma, beta) = affine.split_at(affine.len() / 2);
        let kernel = Kernel {
            gamma,
            beta,
            epsilon: self.epsilon,
            relu: self.relu,
        };
        let mut y = zeros(x.len());
        let statistics = if let Some([mean, variance]) = &self.running {
            kernel.inference(x, mean, variance, residual, &mut y);
            kernel.given(mean, variance)
        } else {
            kernel.forward(x, residual, &mut y)
        };
        self.moments.put(Moments {
            mean: statistics.mean.clone(),
            variance: statistics.variance.clone(),
        });
        self.statistics.put(statistics);
        y
    }

    /// Gradients of x, affine and residual; `y` where there was one.
    fn backward(
        &self,
        x: &Tensor,
        affine: &Tensor,
        y: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let packed = Host::new(affine)?;
        let (gamma, beta) = packed.split_at(packed.len() / 2);
        let kernel = Kernel {
            gamma,
            beta,
            epsilon: self.epsilon,
            relu: self.relu,
        };
        let statistics = self.statistics.take("batch_norm")?;
        let mut own = self.residual_tracked.then(|| zeros(x.elem_count()));
        let mut daffine = vec![0.0; packed.len()];
        let (dgamma, dbeta) = daffine.split_at_mut(packed.len() / 2);
        let input = Host::new(x)?;
        let y = y.map(Host::new).transpose()?;
        // Both tapes give the gradient of a result away: it is free to become another.
        with_mut(&dy, |dy| {
            let gradients = BatchNormGradients {
                dy,
                dx: own.as_deref_mut(),
                dgamma,
                dbeta,
            };
            kernel.backward(&input, y.as_deref(), &statistics, gradients);
        })?;
        let (dx, dresidual) = match own {
            Some(dx) => (tensor(dx, x.shape())?, Some(dy)),
            None => (dy, None),
        };
        Ok((dx, tensor(daffine, affine.shape())?, dresidual))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("batch_norm forward");
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
        let _span = span("batch_norm backward");
        let (dx, da, _) = self.backward(x, a, None, dy)?;
        Ok((Some(dx), Some(da)))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "batch_norm"
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
        let _span = span("batch_norm forward");
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
        _r: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let _span = span("batch_norm backward");
        let (dx, da, dr) = self.backward(x, a, Some(y), dy)?;
        Ok((Some(dx), Some(da), dr))
    }
}
