//! What learns: the model, and what its losses learn and remember beside it.

use super::loss::LearnedLoss;
use super::task::{Task, Trained};
use crate::error::Result;
use crate::optimize::Gradients;
use nearkin_encoder::host::tensor;
use nearkin_encoder::parameters::Parameters;
use nearkin_encoder::tape::Tape;
use nearkin_encoder::weights::Tensors;
use nearkin_encoder::{Error as EncoderError, Tensor};
use nearkin_losses::Outcome;

/// A model with its losses at work.
pub struct Learner<M> {
    /// The model.
    pub model: M,
    /// Its losses.
    pub losses: Vec<LearnedLoss>,
    /// The weights of the model that learn.
    of_model: Parameters,
    /// Those, then what the losses learn.
    parameters: Parameters,
}

impl<M: Trained> Learner<M> {
    /// A model with starting weights, and its losses.
    ///
    /// # Errors
    /// The model cannot be made, or the parts of a loss do not go together.
    pub fn new<T: Task<Model = M>>(task: &T) -> Result<Self> {
        let model = task.model()?;
        let losses = task.losses(&model)?;
        let of_model: Parameters = model.parameters().learned().cloned().collect();
        let of_losses = losses.iter().flat_map(LearnedLoss::parameters);
        let parameters = of_model.iter().chain(of_losses).cloned().collect();
        Ok(Self {
            model,
            losses,
            of_model,
            parameters,
        })
    }

    /// All that the optimizer moves.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Carries ∂L/∂E through the tape of some embeddings to the weights that learn.
    ///
    /// # Errors
    /// The tape does not lead from them to the weights.
    pub fn backward(
        &self,
        tape: Tape,
        (embedded, rows): (&Tensor, Vec<f32>),
    ) -> std::result::Result<Gradients, EncoderError> {
        let mut gradients = tape.backward(embedded, rows)?;
        let taken = self
            .of_model
            .iter()
            .map(|p| match gradients.remove(&p.var) {
                Some(gradient) => gradient.contiguous(),
                None => p.var.zeros_like(),
            });
        Ok(taken.collect::<std::result::Result<_, _>>()?)
    }

    /// The gradients of a batch that moves no weight of the model.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn nothing(&self) -> Result<Gradients> {
        let zeros = self.of_model.iter().map(|p| p.var.zeros_like());
        let zeros = zeros.collect::<std::result::Result<_, _>>();
        Ok(zeros.map_err(EncoderError::from)?)
    }

    /// Appends the gradients of the losses' parameters to those of the model's: of one loss those it found, of the others none.
    ///
    /// # Errors
    /// A gradient is not of its parameter's shape.
    pub fn extend(&self, gradients: &mut Gradients, which: usize, outcome: Outcome) -> Result<()> {
        let mut found = outcome.parameters.into_iter();
        for (number, loss) in self.losses.iter().enumerate() {
            for parameter in loss.parameters() {
                let own = (number == which).then(|| found.next()).flatten();
                gradients.push(match own {
                    Some(gradient) => tensor(gradient, parameter.var.shape())?,
                    None => parameter.var.zeros_like().map_err(EncoderError::from)?,
                });
            }
        }
        Ok(())
    }

    /// What the losses learned and remember, for a checkpoint.
    ///
    /// # Errors
    /// A tensor cannot be made.
    pub fn loss_tensors(&self) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        for loss in &self.losses {
            tensors.extend(loss.tensors()?);
        }
        Ok(tensors)
    }

    /// Takes back what [`loss_tensors`](Self::loss_tensors) gave.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn restore_losses(&mut self, tensors: &Tensors) -> std::result::Result<(), String> {
        let mut losses = self.losses.iter_mut();
        losses.try_for_each(|loss| loss.restore(tensors))
    }
}
