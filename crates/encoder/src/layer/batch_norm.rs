//! Batch normalization layer.

use super::Mode;
use crate::error::Result;
use crate::host::{Host, is_fused, tensor, with_mut};
use crate::op::{self, Epilogue, Moments, Pool, Pooling};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::{Tensor, Var};

/// PyTorch's ε.
const EPSILON: f32 = 1e-5;
/// Share of the new batch in the running averages, as in PyTorch.
const MOMENTUM: f32 = 0.1;

/// Batch normalization with running averages; parameters `weight`, `bias`, buffers `running_mean`,
/// `running_var`, all `[C]`.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    epsilon: f32,
    momentum: f32,
    /// Whether training, too, works from the running averages and leaves them alone.
    held: bool,
}

impl BatchNorm {
    /// Makes the layer: γ = 1, β = 0, running mean 0 and variance 1, ε = 1e-5, a tenth of each batch in the running
    /// averages.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(scope: &Scope, channels: usize) -> Result<Self> {
        let make = |name: &str, value: f32, kind: Kind| {
            scope.parameter(
                name,
                &[channels],
                Init::Constant(value),
                (kind, Storage::Plain),
            )
        };
        let held = scope.holds_statistics();
        if !held {
            scope.note_batchwise();
        }
        Ok(Self {
            gamma: make("weight", 1.0, Kind::Offset)?,
            beta: make("bias", 0.0, Kind::Offset)?,
            running_mean: make("running_mean", 0.0, Kind::Buffer)?,
            running_variance: make("running_var", 1.0, Kind::Buffer)?,
            epsilon: EPSILON,
            momentum: MOMENTUM,
            held,
        })
    }

    /// The same with another ε.
    #[must_use]
    pub fn epsilon(self, epsilon: f32) -> Self {
        Self { epsilon, ..self }
    }

    /// The same with another share of the batch in the running averages.
    #[must_use]
    pub fn momentum(self, momentum: f32) -> Self {
        Self { momentum, ..self }
    }

    /// Normalizes `[…, C]`, adds the residual, and applies ReLU where the epilogue says so.
    ///
    /// # Errors
    /// The channels differ from the layer's.
    pub fn forward(&self, x: &Tensor, epilogue: Epilogue, mode: Mode) -> Result<Tensor> {
        let affine = self.affine(mode)?;
        if self.held || mode == Mode::Eval {
            let [mean, variance] = &self.given();
            let running = [mean, variance];
            let y = op::batch_norm_inference(x, &affine, running, self.epsilon, epilogue)?;
            return Ok(y);
        }
        let (y, moments) = op::batch_norm(x, &affine, self.epsilon, epilogue)?;
        self.note(&moments, x, mode)?;
        Ok(y)
    }

    /// [`forward`](Self::forward) of a tensor that nobody else needs, whose memory the output may take.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_over(&self, x: Tensor, epilogue: Epilogue, mode: Mode) -> Result<Tensor> {
        if mode != Mode::Eval {
            return self.forward(&x, epilogue, mode);
        }
        let (affine, [mean, variance]) = (self.affine(mode)?, &self.given());
        let running = [mean, variance];
        Ok(op::batch_norm_inference_over(
            x,
            &affine,
            running,
            self.epsilon,
            epilogue,
        )?)
    }

    /// Normalizes `[N, H, W, C]`, applies ReLU, and takes the maximum of each 2 × 2 window:
    /// `[N, ⌊H / 2⌋, ⌊W / 2⌋, C]`.
    ///
    /// # Errors
    /// The channels differ from the layer's, or a side of the map is below 2.
    pub fn forward_pooled(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let affine = self.affine(mode)?;
        if mode == Mode::Eval {
            let [mean, variance] = &self.given();
            let running = [mean, variance];
            let y = op::batch_norm_pool_inference(x, &affine, running, self.epsilon)?;
            return Ok(y);
        }
        if self.held {
            let epilogue = Epilogue {
                residual: None,
                relu: true,
            };
            let y = self.forward(x, epilogue, mode)?;
            return Ok(op::pool2d(&y, Pool::square(Pooling::Max, 2, 2, 0))?);
        }
        let (y, moments) = op::batch_norm_pool(x, &affine, self.epsilon)?;
        self.note(&moments, x, mode)?;
        Ok(y)
    }

    /// What the layer multiplies by and adds in evaluation, `[C]` each.
    ///
    /// # Errors
    /// The layer is not in host memory.
    pub(super) fn scale_and_shift(&self) -> Result<(Option<Vec<f32>>, Vec<f32>)> {
        let [gamma, beta] = [Host::new(&self.gamma)?, Host::new(&self.beta)?];
        let (mean, variance) = self.running()?;
        let deviations = variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt());
        let scale: Vec<f32> = gamma.iter().zip(deviations).map(|(g, d)| g * d).collect();
        let moved = mean.iter().zip(&scale).map(|(m, s)| m * s);
        let shift = beta.iter().zip(moved).map(|(b, m)| b - m).collect();
        Ok((Some(scale), shift))
    }

    fn affine(&self, mode: Mode) -> Result<Tensor> {
        let (gamma, beta) = (mode.parameter(&self.gamma), mode.parameter(&self.beta));
        Ok(op::pair(&gamma, &beta)?)
    }

    /// Running mean and variance as constants.
    fn given(&self) -> [Tensor; 2] {
        [&self.running_mean, &self.running_variance].map(Tensor::detach)
    }

    /// Lets training, and no other pass, move the running averages.
    fn note(&self, moments: &Moments, x: &Tensor, mode: Mode) -> Result<()> {
        if mode == Mode::Train {
            self.update_running(moments, x.elem_count() / moments.mean.len().max(1))?;
        }
        Ok(())
    }

    /// Running averages take a share of the batch's mean and unbiased variance.
    fn update_running(&self, moments: &Moments, count: usize) -> Result<()> {
        let unbias = count as f32 / (count.max(2) - 1) as f32;
        let unbiased: Vec<f32> = moments.variance.iter().map(|v| v * unbias).collect();
        for (running, batch) in [
            (&self.running_mean, &moments.mean),
            (&self.running_variance, &unbiased),
        ] {
            if is_fused(running) {
                with_mut(running, |average| {
                    nearkin_kernels::ema(1.0 - self.momentum, batch, average);
                })?;
            } else {
                let batch = tensor(batch.clone(), batch.len())?.to_dtype(running.dtype())?;
                let batch = batch.to_device(running.device())?;
                op::ema(&Var::from_tensor(running)?, &batch, 1.0 - self.momentum)?;
            }
        }
        Ok(())
    }

    /// The running mean and variance, `[C]` each, for tests and reports.
    ///
    /// # Errors
    /// The layer is not in host memory.
    pub fn running(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((
            Host::new(&self.running_mean)?.to_vec(),
            Host::new(&self.running_variance)?.to_vec(),
        ))
    }
}
