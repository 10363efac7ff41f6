//! One batch: embeddings, loss, and the gradient of every weight.

use super::Learner;
use super::task::Trained;
use crate::error::Result;
use crate::evaluate::spread;
use crate::optimize::Gradients;
use nearkin_encoder::host::Host;
use nearkin_encoder::tape;
use nearkin_encoder::{Error as EncoderError, Mode, Tensor, profile};
use nearkin_kernels::Mat;
use nearkin_losses::Outcome;

/// What one batch says.
pub struct Measured {
    /// Gradients of the learned parameters.
    pub gradients: Gradients,
    /// Items of the batch.
    pub items: usize,
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
    /// Spread of the embeddings, see [`spread`]; none where there are no embeddings.
    pub spread: Option<f32>,
}

/// The loss of all embeddings of a batch, with the number of the loss that was asked.
pub type LossOf<'a, M> = dyn Fn(&mut Learner<M>, Mat<'_>) -> Result<(usize, Outcome)> + 'a;

/// Embeds a batch, takes the loss over all of it, and carries its gradient back to the weights.
///
/// `parts[k]` are the rows of the batch that `forward(k, mode)` embeds. With several parts this is gradient caching: they are
/// embedded one by one, the loss sees all embeddings, and each part is passed again with its rows of ∂L/∂E. The gradient
/// is that of the whole batch; memory is that of one part.
///
/// # Errors
/// The loss refuses the batch, or a tensor operation fails.
pub fn gradient<M: Trained>(
    learner: &mut Learner<M>,
    parts: &[Vec<usize>],
    forward: &dyn Fn(usize, Mode) -> Result<Tensor>,
    loss: &LossOf<'_, M>,
) -> Result<Measured> {
    let count = parts.iter().map(Vec::len).sum();
    let (mut embeddings, mut dim) = (Vec::new(), 0);
    let mut single = None;
    for (k, rows) in parts.iter().enumerate() {
        let (embedded, tape) = tape::record(|| forward(k, Mode::Train))?;
        dim = embedded.dim(1).map_err(EncoderError::from)?;
        embeddings.resize(count * dim, 0.0);
        let numbers = Host::new(&embedded)?;
        for (&row, numbers) in rows.iter().zip(numbers.chunks_exact(dim.max(1))) {
            embeddings[row * dim..][..dim].copy_from_slice(numbers);
        }
        drop(numbers);
        single = (parts.len() == 1).then_some((embedded, tape));
    }
    let matrix = Mat::new(&embeddings, count, dim);
    let (which, outcome) = {
        let _span = profile::span("loss");
        loss(learner, matrix)?
    };
    let mut gradients: Option<Gradients> = None;
    for (k, rows) in parts.iter().enumerate() {
        let (embedded, tape) = match single.take() {
            Some(recorded) => recorded,
            None => tape::record(|| forward(k, Mode::Replay))?,
        };
        let of_rows = rows
            .iter()
            .flat_map(|row| &outcome.gradient[row * dim..][..dim]);
        let new = learner.backward(tape, (&embedded, of_rows.copied().collect()))?;
        match &gradients {
            Some(sum) => crate::optimize::accumulate(sum, &new)?,
            None => gradients = Some(new),
        }
    }
    let mut measured = Measured {
        gradients: gradients.unwrap_or_default(),
        items: count,
        value: outcome.value,
        active: outcome.active,
        kept: outcome.kept,
        tuples: outcome.tuples,
        short: outcome.short,
        spread: Some(spread(matrix)),
    };
    learner.extend(&mut measured.gradients, which, outcome)?;
    Ok(measured)
}
