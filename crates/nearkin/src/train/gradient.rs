//! One batch: embeddings, loss, and the gradient of every weight.

use crate::error::{Error, Result};
use crate::evaluate::spread;
use crate::feed::Batch;
use crate::optimize::Gradients;
use crate::recipe::Recipe;
use nearkin_encoder::host::{Host, tensor};
use nearkin_encoder::parameters::named_rng;
use nearkin_encoder::{Embedder, Mode, Model, Tensor};
use nearkin_kernels::Mat;
use std::ops::Range;

/// What one batch says.
pub struct Measured {
    /// Gradients of the learned parameters.
    pub gradients: Gradients,
    /// The loss.
    pub value: f32,
    /// Share of the tuples that push.
    pub active: f32,
    /// Pairs or triplets that counted.
    pub tuples: usize,
    /// Spread of the embeddings, see [`spread`].
    pub spread: f32,
}

/// Embeds a batch, takes the loss over all of it, and carries its gradient back to the weights.
///
/// With `train.chunk` below the batch this is gradient caching: the chunks are embedded one by one,
/// the loss sees all embeddings, and each chunk is passed again with its rows of ∂L/∂E. The gradient
/// is that of the whole batch; memory is that of one chunk.
///
/// # Errors
/// The loss refuses the batch, or a tensor operation fails.
pub fn gradient(model: &Model, recipe: &Recipe, batch: &Batch, step: u64) -> Result<Measured> {
    let count = batch.items.len();
    let chunk = recipe
        .train
        .chunk
        .map_or(count, std::num::NonZeroUsize::get)
        .min(count)
        .max(1);
    let parts: Vec<Range<usize>> = (0..count)
        .step_by(chunk)
        .map(|at| at..(at + chunk).min(count))
        .collect();
    let embedder = &model.embedder;
    let forward = |part: &Range<usize>, mode: Mode| -> Result<Tensor> {
        Ok(embedder.forward(&batch.tensor(&model.config.input, part.clone())?, mode)?)
    };
    let mut embeddings = Vec::with_capacity(count * embedder.dim());
    let mut single = None;
    for part in &parts {
        let embedded = forward(part, Mode::Train)?;
        embeddings.extend_from_slice(&Host::new(&embedded)?);
        single = (parts.len() == 1).then_some(embedded);
    }
    let matrix = Mat::new(&embeddings, count, embedder.dim());
    let mut rng = named_rng(recipe.seed, &format!("loss/{step}"));
    let outcome = recipe
        .objective()
        .value_and_grad(matrix, &batch.labels, &mut rng);
    let outcome = outcome.map_err(|source| Error::Loss {
        step: step + 1,
        loss: loss_name(recipe),
        source,
    })?;
    let mut gradients: Option<Gradients> = None;
    for part in &parts {
        let embedded = match single.take() {
            Some(embedded) => embedded,
            None => forward(part, Mode::Replay)?,
        };
        let rows =
            outcome.gradient[part.start * embedder.dim()..part.end * embedder.dim()].to_vec();
        let new = backward(embedder, &embedded, rows)?;
        match &gradients {
            Some(sum) => crate::optimize::accumulate(sum, &new)?,
            None => gradients = Some(new),
        }
    }
    Ok(Measured {
        gradients: gradients.unwrap_or_default(),
        value: outcome.value,
        active: outcome.active,
        tuples: outcome.tuples,
        spread: spread(matrix),
    })
}

/// Carries ∂L/∂E through the tape of `embedded` to the weights.
fn backward(embedder: &Embedder, embedded: &Tensor, rows: Vec<f32>) -> Result<Gradients> {
    let upstream = tensor(rows, embedded.shape())?;
    // The gradient of Σ E ∘ U with respect to E is U.
    let mut store = (embedded * upstream)?.sum_all()?.backward()?;
    let gradients = embedder
        .parameters()
        .learned()
        .map(|p| match store.remove(&p.var) {
            Some(gradient) => gradient.contiguous(),
            None => p.var.zeros_like(),
        });
    Ok(gradients.collect::<std::result::Result<_, _>>()?)
}

/// The recipe key of the loss.
pub fn loss_name(recipe: &Recipe) -> String {
    recipe.loss.name().to_owned()
}
