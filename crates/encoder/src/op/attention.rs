//! Multi-head attention over a packed batch of sequences.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply1, tracked};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::Attention as Kernel;

/// Where the sequences of a packed batch lie and how their heads divide the channels.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// First token of each sequence, then the number of tokens.
    pub offsets: Vec<usize>,
}

/// Scaled dot-product attention of each sequence with itself, head by head; nothing is padded.
///
/// ```text
/// Y_h = softmax(Q_h K_hᵀ / √d) V_h
/// ```
///
/// # Shapes
/// - `qkv`: `[tokens, 3 · heads · head_dim]`, all of Q, then K, then V
/// - output: `[tokens, heads · head_dim]`
///
/// # Errors
/// The width or the offsets do not fit.
///
/// # Reference
/// Vaswani et al. 2017, equation 1.
pub fn attention(qkv: &Tensor, heads: &Heads) -> Result<Tensor> {
    let (tokens, width) = qkv.dims2()?;
    let ordered = heads.offsets.windows(2).all(|pair| pair[0] < pair[1]);
    if width != 3 * heads.heads * heads.head_dim
        || heads.offsets.first() != Some(&0)
        || heads.offsets.last() != Some(&tokens)
        || !ordered
    {
        candle_core::bail!(
            "attention: qkv is {:?} for {} heads of {}, offsets {:?}; expected [tokens, 3·heads·head_dim] and rising offsets from 0 to the tokens",
            qkv.dims(),
            heads.heads,
            heads.head_dim,
            heads.offsets
        );
    }
    if is_fused(qkv) {
        let op = Attend {
            heads: heads.clone(),
            probabilities: Saved::empty(),
            tracked: tracked(&[qkv]),
        };
        return apply1(&qkv.contiguous()?, op);
    }
    let sequences = heads.offsets.windows(2);
    let outputs =
        sequences.map(|pair| one_sequence(&qkv.narrow(0, pair[0], pair[1] - pair[0])?, heads));
    Tensor::cat(&outputs.collect::<Result<Vec<_>>>()?, 0)
}

fn one_sequence(qkv: &Tensor, heads: &Heads) -> Result<Tensor> {
    let (tokens, _) = qkv.dims2()?;
    let parts = qkv
        .reshape((tokens, 3, heads.heads, heads.head_dim))?
        .permute((1, 2, 0, 3))?
        .contiguous()?;
    let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
    let scores = (q.matmul(&k.t()?)? / (heads.head_dim as f64).sqrt())?;
    let peak = scores.max_keepdim(D::Minus1)?.detach();
    let weights = scores.broadcast_sub(&peak)?.exp()?;
    let probabilities = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    probabilities
        .matmul(&v)?
        .permute((1, 0, 2))?
        .reshape((tokens, heads.heads * heads.head_dim))
}

struct Attend {
    heads: Heads,
    probabilities: Saved<Vec<f32>>,
    tracked: bool,
}

impl Attend {
    fn kernel(&self) -> Kernel<'_> {
        Kernel {
            heads: self.heads.heads,
            head_dim: self.heads.head_dim,
            offsets: &self.heads.offsets,
            scale: 1.0 / (self.heads.head_dim as f32).sqrt(),
        }
    }
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("attention forward");
        let (tokens, width) = layout.shape().dims2()?;
        let mut y = vec![0.0; tokens * width / 3];
        let mut probabilities = Vec::new();
        let keep = self.tracked.then_some(&mut probabilities);
        self.kernel()
            .forward(contiguous(qkv, layout)?, &mut y, keep);
        self.probabilities.put(probabilities);
        Ok(output(y, (tokens, width / 3)))
    }

    fn bwd(&self, qkv: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("attention backward");
        let dy = dy.contiguous()?;
        let probabilities = self.probabilities.take("attention")?;
        let mut dqkv = vec![0.0; qkv.elem_count()];
        self.kernel().backward(
            &Host::new(qkv)?,
            &probabilities,
            &Host::new(&dy)?,
            &mut dqkv,
        );
        Ok(Some(tensor(dqkv, qkv.shape())?))
    }
}
