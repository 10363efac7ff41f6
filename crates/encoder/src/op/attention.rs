//! Multi-head attention over a packed batch of sequences.

use super::saved::Saved;
use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::{apply1, apply2, tracked};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use nearkin_kernels::{Attention as Kernel, Dropout};
use std::sync::Arc;

/// Where the sequences of a packed batch lie and how their heads divide the channels.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// First token of each sequence, then the number of tokens.
    pub offsets: Arc<[usize]>,
    /// Dropout of the probabilities.
    pub dropout: Option<Dropout>,
}

/// Scaled dot-product attention of each sequence with itself, head by head; nothing is padded.
///
/// ```text
/// Y_h = dropout(softmax(Q_h K_hᵀ / √d + B_h)) V_h        B_h,ij = bias[j − i, h]
/// ```
///
/// # Shapes
/// - `qkv`: `[tokens, 3 · heads · head_dim]`, all of Q, then K, then V
/// - `bias`: `[2 · longest − 1, heads]` for the relative positions j − i from 1 − longest on
/// - output: `[tokens, heads · head_dim]`
///
/// # Errors
/// The width or the offsets do not fit.
///
/// # Reference
/// Vaswani et al. 2017, equation 1; the bias is that of Raffel et al. 2020, section 2.1.
pub fn attention(qkv: &Tensor, bias: Option<&Tensor>, heads: &Heads) -> Result<Tensor> {
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
    let longest = heads.offsets.windows(2).map(|pair| pair[1] - pair[0]).max();
    let expected = [2 * longest.unwrap_or(1) - 1, heads.heads];
    if bias.is_some_and(|bias| bias.dims() != expected) {
        candle_core::bail!(
            "attention: the bias is {:?}, expected {expected:?}",
            bias.map(Tensor::dims)
        );
    }
    if is_fused(qkv) {
        let op = Attend {
            heads: heads.clone(),
            probabilities: Saved::empty(),
            tracked: tracked(&[qkv]),
        };
        return match bias {
            Some(bias) => apply2(&qkv.contiguous()?, &bias.contiguous()?, op),
            None => apply1(&qkv.contiguous()?, op),
        };
    }
    let mut outputs = Vec::new();
    let mut before = 0;
    for pair in heads.offsets.windows(2) {
        let tokens = pair[1] - pair[0];
        let sequence = Sequence {
            heads,
            bias,
            before,
        };
        outputs.push(sequence.forward(&qkv.narrow(0, pair[0], tokens)?)?);
        before += heads.heads * tokens * tokens;
    }
    Tensor::cat(&outputs, 0)
}

/// One sequence of a batch, from candle's operations.
struct Sequence<'a> {
    heads: &'a Heads,
    bias: Option<&'a Tensor>,
    /// Probabilities of the sequences before it, which decide its part of the dropout's mask.
    before: usize,
}

impl Sequence<'_> {
    fn forward(&self, qkv: &Tensor) -> Result<Tensor> {
        let (tokens, _) = qkv.dims2()?;
        let (heads, head_dim) = (self.heads.heads, self.heads.head_dim);
        let parts = qkv
            .reshape((tokens, 3, heads, head_dim))?
            .permute((1, 2, 0, 3))?
            .contiguous()?;
        let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
        let mut scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?;
        if let Some(bias) = self.bias {
            scores = (scores + Self::relative(bias, tokens)?)?;
        }
        let peak = scores.max_keepdim(D::Minus1)?.detach();
        let weights = scores.broadcast_sub(&peak)?.exp()?;
        let mut probabilities = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        if let Some(dropout) = self.heads.dropout {
            let mut mask = vec![0.0; self.before + heads * tokens * tokens];
            dropout.apply(&vec![1.0; mask.len()], &mut mask);
            let mask = tensor(mask.split_off(self.before), (heads, tokens, tokens))?;
            let mask = mask.to_dtype(qkv.dtype())?.to_device(qkv.device())?;
            probabilities = (probabilities * mask)?;
        }
        probabilities
            .matmul(&v)?
            .permute((1, 0, 2))?
            .reshape((tokens, heads * head_dim))
    }

    /// `[heads, tokens, tokens]` from the bias by relative position.
    fn relative(bias: &Tensor, tokens: usize) -> Result<Tensor> {
        let (rows, heads) = bias.dims2()?;
        let zero = rows / 2;
        let places = (0..tokens).flat_map(|i| (0..tokens).map(move |j| (zero + j - i) as u32));
        let places = Tensor::from_iter(places, bias.device())?;
        bias.index_select(&places, 0)?
            .reshape((tokens, tokens, heads))?
            .permute((2, 0, 1))?
            .contiguous()
    }
}

struct Attend {
    heads: Heads,
    probabilities: Saved<Vec<f32>>,
    tracked: bool,
}

impl Attend {
    fn kernel<'a>(&'a self, bias: Option<&'a [f32]>) -> Kernel<'a> {
        Kernel {
            heads: self.heads.heads,
            head_dim: self.heads.head_dim,
            offsets: &self.heads.offsets,
            scale: 1.0 / (self.heads.head_dim as f32).sqrt(),
            bias,
            dropout: self.heads.dropout,
        }
    }

    fn forward(
        &self,
        qkv: (&CpuStorage, &Layout),
        bias: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("attention forward");
        let (tokens, width) = qkv.1.shape().dims2()?;
        let mut y = vec![0.0; tokens * width / 3];
        let mut probabilities = Vec::new();
        let keep = self.tracked.then_some(&mut probabilities);
        let kernel = self.kernel(bias);
        kernel.forward(contiguous(qkv.0, qkv.1)?, &mut y, keep);
        self.probabilities.put(probabilities);
        Ok(output(y, (tokens, width / 3)))
    }

    fn backward(
        &self,
        qkv: &Tensor,
        bias: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let _span = span("attention backward");
        let dy = dy.contiguous()?;
        let probabilities = self.probabilities.take("attention")?;
        let numbers = bias.map(Host::new).transpose()?;
        let mut dqkv = vec![0.0; qkv.elem_count()];
        let mut dbias = bias.map(|bias| vec![0.0; bias.elem_count()]);
        self.kernel(numbers.as_deref()).backward(
            &Host::new(qkv)?,
            &probabilities,
            &Host::new(&dy)?,
            &mut dqkv,
            dbias.as_deref_mut(),
        );
        let dbias = dbias.zip(bias).map(|(d, bias)| tensor(d, bias.shape()));
        Ok((tensor(dqkv, qkv.shape())?, dbias.transpose()?))
    }
}

impl CustomOp1 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward((qkv, layout), None)
    }

    fn bwd(&self, qkv: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.backward(qkv, None, dy)?.0))
    }
}

impl CustomOp2 for Attend {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((qkv, layout), Some(contiguous(bias, bias_layout)?))
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dqkv, dbias) = self.backward(qkv, Some(bias), dy)?;
        Ok((Some(dqkv), dbias))
    }
}
