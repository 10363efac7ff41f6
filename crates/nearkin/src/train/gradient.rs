//! One batch: embeddings, loss, and the gradient of every weight.

use super::Learner;
use crate::error::Result;
use crate::evaluate::spread;
use crate::feed::Batch;
use crate::optimize::Gradients;
use crate::recipe::Recipe;
use nearkin_encoder::host::Host;
use nearkin_encoder::tape::{self, Tape};
use nearkin_encoder::{Embedder, Error as EncoderError, Mode, Tensor, profile};
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
    /// Share of the pairs of the batch that the miner kept.
    pub kept: f32,
    /// Pairs or triplets that counted.
    pub tuples: usize,
    /// Those with fewer negatives than the loss asks for.
    pub short: usize,
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
pub fn gradient(
    learner: &mut Learner,
    recipe: &Recipe,
    batch: &Batch,
    step: u64,
) -> Result<Measured> {
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
    let model = learner.model.clone();
    let embedder = &model.embedder;
    let forward = |part: &Range<usize>, mode: Mode| -> Result<Tensor> {
        Ok(embedder.forward(&batch.tensor(&model.config.input, part.clone())?, mode)?)
    };
    let mut embeddings = Vec::with_capacity(count * embedder.dim());
    let mut single = None;
    for part in &parts {
        let (embedded, tape) = tape::record(|| forward(part, Mode::Train))?;
        embeddings.extend_from_slice(&Host::new(&embedded)?);
        single = (parts.len() == 1).then_some((embedded, tape));
    }
    let matrix = Mat::new(&embeddings, count, embedder.dim());
    let outcome = {
        let _span = profile::span("loss");
        learner.loss(matrix, &batch.labels, step)?
    };
    let mut gradients: Option<Gradients> = None;
    for part in &parts {
        let (embedded, tape) = match single.take() {
            Some(recorded) => recorded,
            None => tape::record(|| forward(part, Mode::Replay))?,
        };
        let rows =
            outcome.gradient[part.start * embedder.dim()..part.end * embedder.dim()].to_vec();
        let new = of_parameters(embedder, tape, (&embedded, rows))?;
        match &gradients {
            Some(sum) => crate::optimize::accumulate(sum, &new)?,
            None => gradients = Some(new),
        }
    }
    let mut measured = Measured {
        gradients: gradients.unwrap_or_default(),
        value: outcome.value,
        active: outcome.active,
        kept: outcome.kept,
        tuples: outcome.tuples,
        short: outcome.short,
        spread: spread(matrix),
    };
    learner.extend(&mut measured.gradients, outcome)?;
    Ok(measured)
}

/// Carries ∂L/∂E through the tape of some embeddings to the weights.
fn of_parameters(
    embedder: &Embedder,
    tape: Tape,
    (embedded, rows): (&Tensor, Vec<f32>),
) -> std::result::Result<Gradients, EncoderError> {
    let mut gradients = tape.backward(embedded, rows)?;
    let learned = embedder.parameters().learned();
    let taken = learned.map(|p| match gradients.remove(&p.var) {
        Some(gradient) => gradient.contiguous(),
        None => p.var.zeros_like(),
    });
    Ok(taken.collect::<std::result::Result<_, _>>()?)
}
