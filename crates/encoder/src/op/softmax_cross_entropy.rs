//! Softmax cross-entropy: logits and targets to the mean loss.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::softmax_cross_entropy as kernel;

/// Mean softmax cross-entropy of the rows.
///
/// ```text
/// L = 1/N Σ_i ( log Σ_j exp(z_ij) − z_i,t_i )
/// ```
///
/// # Shapes
/// - `logits`: `[N, C]`
/// - `targets`: `N` class indices below `C`
/// - output: `[]`
///
/// # Errors
/// The counts differ, there is no row, or a target is `C` or more.
pub fn softmax_cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, classes) = logits.dims2()?;
    if targets.len() != rows || rows == 0 {
        candle_core::bail!(
            "softmax_cross_entropy: {} targets for {rows} rows of logits",
            targets.len()
        );
    }
    if let Some(row) = targets.iter().position(|&t| t as usize >= classes) {
        candle_core::bail!(
            "softmax_cross_entropy: target {} of row {row} is not below {classes} classes",
            targets[row]
        );
    }
    if is_fused(logits) {
        let op = CrossEntropy {
            targets: targets.to_vec(),
            gradient: Saved::empty(),
        };
        return apply1(&logits.contiguous()?, op);
    }
    let target = Tensor::from_slice(targets, (rows, 1), logits.device())?;
    let picked = logits.gather(&target, D::Minus1)?.squeeze(1)?;
    // Subtracting the row maximum (a constant of the derivative) keeps exp in range.
    let peak = logits.max_keepdim(D::Minus1)?.detach();
    let log_sum =
        (logits.broadcast_sub(&peak)?.exp()?.sum(D::Minus1)?.log()? + peak.squeeze(1)?)?;
    (log_sum - picked)?.mean_all()
}

struct CrossEntropy {
    targets: Vec<u32>,
    gradient: Saved<Vec<f32>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn cpu_fwd(&self, z: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("softmax_cross_entropy forward");
        let (rows, cols) = layout.shape().dims2()?;
        let z = contiguous(z, layout)?;
        let mut gradient = vec![0.0; z.len()];
        let value = kernel(z, rows, cols, &self.targets, &mut gradient);
        self.gradient.put(gradient);
        Ok(output(vec![value], ()))
    }

    fn bwd(&self, z: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("softmax_cross_entropy backward");
        let mut gradient = self.gradient.take("softmax_cross_entropy")?;
        let dy = dy.contiguous()?;
        nearkin_kernels::scale(&mut gradient, Host::new(&dy)?[0]);
        Ok(Some(tensor(gradient, z.shape())?))
    }
}
