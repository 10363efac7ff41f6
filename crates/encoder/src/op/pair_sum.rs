//! Sums over pairs of maps.

use crate::host::{Host, contiguous, is_fused, output, tensor};
use crate::profile::span;
use crate::tape::apply2;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use nearkin_kernels::{Activation, Mat, activate_backward, activate_in_place, column_sums, zeros};
use std::sync::Arc;

/// What the first image of a pair brings and what the second brings, with a bias and a ReLU.
///
/// ```text
/// y[p, h, w, o] = max(0, x[i, h, w, o] + x[j, h, w, O + o] + b[o])        (i, j) = pairs[p]
/// ```
///
/// # Shapes
/// - `x`: `[N, H, W, 2 · O]`: by image, what it brings as the first, then as the second
/// - `bias`: `[O]`
/// - `pairs`: `P` pairs of numbers below `N`
/// - output: `[P, H, W, O]`
///
/// # Errors
/// The shapes do not fit or a number is `N` or more.
pub fn pair_sum(x: &Tensor, bias: &Tensor, pairs: &Arc<[[u32; 2]]>) -> Result<Tensor> {
    let (images, _, _, channels) = x.dims4()?;
    if bias.dims() != [channels / 2] || !channels.is_multiple_of(2) {
        candle_core::bail!(
            "pair_sum: x is {:?} and the bias {:?}; expected [N, H, W, 2 · O] and [O]",
            x.dims(),
            bias.dims()
        );
    }
    if let Some(at) = pairs
        .iter()
        .position(|p| p.iter().any(|&i| i as usize >= images))
    {
        candle_core::bail!(
            "pair_sum: pair {:?} at position {at} is not of the {images} images",
            pairs[at]
        );
    }
    if is_fused(x) {
        let op = PairSum {
            pairs: pairs.clone(),
        };
        return apply2(&x.contiguous()?, &bias.contiguous()?, op);
    }
    let side = |which: usize| {
        let ids: Vec<u32> = pairs.iter().map(|pair| pair[which]).collect();
        let half = x.narrow(3, which * channels / 2, channels / 2)?;
        half.contiguous()?
            .index_select(&Tensor::new(ids, x.device())?, 0)
    };
    (side(0)? + side(1)?)?.broadcast_add(bias)?.relu()
}

struct PairSum {
    pairs: Arc<[[u32; 2]]>,
}

impl CustomOp2 for PairSum {
    fn name(&self) -> &'static str {
        "pair_sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let _span = span("pair_sum forward");
        let (_, height, width, channels) = xl.shape().dims4()?;
        let shape = (self.pairs.len(), height, width, channels / 2);
        let mut y = zeros(self.pairs.len() * height * width * channels / 2);
        let (x, bias) = (contiguous(x, xl)?, contiguous(bias, bl)?);
        nearkin_kernels::pair_sum(x, height * width, &self.pairs, bias, &mut y);
        activate_in_place(Activation::Relu, &mut y);
        Ok(output(y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let _span = span("pair_sum backward");
        let (_, height, width, channels) = x.dims4()?;
        let cols = channels / 2;
        let dy = dy.contiguous()?;
        let (mut dz, mut db) = (zeros(dy.elem_count()), vec![0.0; cols]);
        activate_backward(Activation::Relu, &Host::new(y)?, &Host::new(&dy)?, &mut dz);
        let rows = dz.len() / cols.max(1);
        column_sums(Mat::new(&dz, rows, cols), &mut db);
        let mut dx = zeros(x.elem_count());
        nearkin_kernels::pair_sum_backward(&dz, height * width, &self.pairs, cols, &mut dx);
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(db, bias.shape())?),
        ))
    }
}
