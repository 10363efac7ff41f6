//! The tokens of a Vision Transformer.

use crate::host::{Host, is_fused, tensor};
use crate::profile::span;
use crate::tape::push;
use candle_core::{Result, Tensor};

/// A class token before the patches of each image, and positions added to all.
///
/// ```text
/// y = [class; patches] + positions        for each image, the images one after another
/// ```
///
/// # Shapes
/// - `patches`: `[N, H, W, D]`, of P = H · W patches
/// - `class`: `[1, 1, D]`
/// - `positions`: `[1, P + 1, D]`
/// - output: `[N · (P + 1), D]`
///
/// # Errors
/// The shapes do not fit.
///
/// # Reference
/// Dosovitskiy et al. 2021, equation 1.
pub fn image_tokens(patches: &Tensor, class: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (batch, height, width, dim) = patches.dims4()?;
    let count = height * width;
    if class.dims() != [1, 1, dim] || positions.dims() != [1, count + 1, dim] {
        candle_core::bail!(
            "image_tokens: patches {:?}, class {:?}, positions {:?}; expected [N, H, W, D], [1, 1, D], [1, H·W + 1, D]",
            patches.dims(),
            class.dims(),
            positions.dims()
        );
    }
    let rows = patches.reshape((batch, count, dim))?;
    let first = class.broadcast_as((batch, 1, dim))?;
    let y = Tensor::cat(&[&first, &rows], 1)?.broadcast_add(positions)?;
    let y = y.reshape((batch * (count + 1), dim))?;
    if !is_fused(patches) {
        return Ok(y);
    }
    let inputs = [patches.clone(), class.clone(), positions.clone()];
    push(
        "image_tokens",
        inputs,
        y,
        move |[patches, class, positions], _, dy| {
            let _span = span("image_tokens backward");
            let dy = dy.reshape((batch, count + 1, dim))?;
            let dpatches = dy
                .narrow(1, 1, count)?
                .contiguous()?
                .reshape(patches.shape())?;
            let dy = dy.contiguous()?;
            let upstream = Host::new(&dy)?;
            let mut dpositions = vec![0.0; positions.elem_count()];
            for image in upstream.chunks_exact(dpositions.len().max(1)) {
                nearkin_kernels::add(image, &mut dpositions);
            }
            let dclass = tensor(dpositions[..dim].to_vec(), class.shape())?;
            Ok(vec![
                Some(dpatches),
                Some(dclass),
                Some(tensor(dpositions, positions.shape())?),
            ])
        },
    )
}
