//! From token vectors to sentence vectors.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nearkin_kernels::{TokenPool as Kernel, TokenPooling};
use std::sync::Arc;

/// Pools the token vectors of each sentence of a packed batch; see [`TokenPooling`].
///
/// # Shapes
/// - `x`: `[tokens, C]`
/// - `offsets`: the first token of each sentence, then the number of tokens
/// - output: `[sentences, C]`
///
/// The first `skip` tokens of each sentence are left out.
///
/// # Errors
/// The offsets do not fit.
///
/// # Reference
/// Reimers and Gurevych 2019, section 3 (CLS, MEAN, MAX).
pub fn token_pool(
    x: &Tensor,
    kind: TokenPooling,
    offsets: &Arc<[usize]>,
    skip: usize,
) -> Result<Tensor> {
    let (tokens, _) = x.dims2()?;
    let ordered = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    if offsets.first() != Some(&0) || offsets.last() != Some(&tokens) || !ordered {
        candle_core::bail!(
            "token_pool: x is {:?}, offsets {offsets:?}; expected rising offsets from 0 to the tokens",
            x.dims()
        );
    }
    let op = Pool {
        kind,
        offsets: offsets.clone(),
        skip,
    };
    if is_fused(x) {
        return apply1(&x.contiguous()?, op);
    }
    let rows = offsets
        .windows(2)
        .map(|pair| op.one_sentence(&x.narrow(0, pair[0], pair[1] - pair[0])?));
    Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 0)
}

struct Pool {
    kind: TokenPooling,
    offsets: Arc<[usize]>,
    skip: usize,
}

impl Pool {
    fn kernel(&self, cols: usize) -> Kernel<'_> {
        Kernel {
            kind: self.kind,
            offsets: &self.offsets,
            skip: self.skip,
            cols,
        }
    }

    /// `[length, C]` to `[C]` from candle's operations.
    fn one_sentence(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, cols) = x.dims2()?;
        let n = tokens.saturating_sub(self.skip);
        if n == 0 {
            return Tensor::zeros(cols, x.dtype(), x.device());
        }
        let x = x.narrow(0, self.skip, n)?;
        match self.kind {
            TokenPooling::Cls => x.get(0),
            TokenPooling::Last => x.get(n - 1),
            TokenPooling::Max => x.max(0),
            TokenPooling::Mean => x.mean(0),
            TokenPooling::MeanSqrtLen => x.sum(0)? / (n as f64).sqrt(),
            TokenPooling::WeightedMean => {
                let weights: Vec<f64> = (0..n).map(|t| (self.skip + t + 1) as f64).collect();
                let total: f64 = weights.iter().sum();
                let weights = Tensor::from_vec(weights, (n, 1), x.device())?.to_dtype(x.dtype())?;
                x.broadcast_mul(&weights)?.sum(0)? / total
            }
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "token_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let _span = span("token_pool forward");
        let (_, cols) = layout.shape().dims2()?;
        let sentences = self.offsets.len() - 1;
        let mut y = vec![0.0; sentences * cols];
        self.kernel(cols).forward(contiguous(x, layout)?, &mut y);
        Ok(output(y, (sentences, cols)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let _span = span("token_pool backward");
        let (_, cols) = x.dims2()?;
        let dy = dy.contiguous()?;
        let mut dx = vec![0.0; x.elem_count()];
        self.kernel(cols)
            .backward(&Host::new(x)?, &Host::new(&dy)?, &mut dx);
        Ok(Some(tensor(dx, x.shape())?))
    }
}
