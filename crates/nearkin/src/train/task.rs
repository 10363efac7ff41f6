//! What a run is of: the seam between the one loop and labeled items or texts.

use super::gradient::Measured;
use super::loss::LearnedLoss;
use super::{Event, Learner};
use crate::error::Result;
use crate::recipe::{Optimizer, Schedule, Train};
use crate::sampler::Round;
use nearkin_encoder::parameters::Parameters;
use serde::Serialize;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// A model whose weights a run moves, measures and keeps.
pub trait Trained: Clone + Send {
    /// The weights.
    fn parameters(&self) -> &Parameters;

    /// Writes the model into an existing folder.
    ///
    /// # Errors
    /// A file cannot be written.
    fn save(&self, folder: &Path) -> Result<()>;
}

/// How the weights move, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// How gradients move them.
    pub optimizer: &'a Optimizer,
    /// How the learning rate changes.
    pub schedule: &'a Schedule,
    /// Length of the run, evaluation, checkpoints.
    pub train: &'a Train,
}

impl Course<'_> {
    /// The learning rate of optimizer step `step`, from 0.
    pub fn rate(&self, step: u64) -> f32 {
        self.optimizer.rate() * self.schedule.factor(step, self.train.steps.get())
    }
}

/// What an evaluation during training found.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What was measured: `validation`, `test`, or the evaluation's name.
    pub part: String,
    /// Scores by name; the one that chooses the best weights is [`chooses`](Self::chooses).
    pub scores: Vec<(String, f64)>,
    /// The score that chooses, larger is better; none where every answer is right, as among items of one class.
    pub chooses: Option<f64>,
}

/// What is left of a run once its steps are made.
pub struct Kept<'a, M> {
    /// The model.
    pub model: &'a M,
    /// Its losses with what they learned.
    pub losses: &'a [LearnedLoss],
    /// The model folder to be.
    pub folder: PathBuf,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model: `best` or `last`.
    pub selected: &'static str,
}

/// Seconds that evaluations take, for a time budget.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// One evaluation during training.
    pub watch: f64,
    /// The final report.
    pub report: f64,
}

/// What a run is of: data, a model, losses, and how good the model is.
pub trait Task: Sync {
    /// A batch, read ahead on a thread of its own.
    type Batch: Send + Sync + 'static;
    /// The model.
    type Model: Trained;
    /// What is known of the finished model.
    type Report: Serialize;

    /// How the weights move, and for how long.
    fn course(&self) -> Course<'_>;

    /// A model with starting weights.
    ///
    /// # Errors
    /// The model cannot be read or made.
    fn model(&self) -> Result<Self::Model>;

    /// The losses at their start.
    ///
    /// # Errors
    /// The parts of a loss do not go together.
    fn losses(&self, model: &Self::Model) -> Result<Vec<LearnedLoss>>;

    /// The names of the losses, for messages.
    fn loss_names(&self) -> String;

    /// A number of what the items are, of their order and of what is known of them: a run goes on with the same only.
    fn data(&self) -> u64;

    /// The batches that begin with this optimizer step, where weights decide them and are looked at now.
    ///
    /// # Errors
    /// Items cannot be embedded, or the batches not be drawn.
    fn round(&self, _model: &Self::Model, _step: u64) -> Result<Option<Round>> {
        Ok(None)
    }

    /// What makes the batch of each number, from a round where weights decide.
    ///
    /// # Errors
    /// The batches do not fit the data.
    fn batches(
        &self,
        round: Option<Round>,
    ) -> Result<impl FnMut(u64) -> Result<Self::Batch> + Send + 'static>;

    /// Loss and gradients of a batch.
    ///
    /// # Errors
    /// The loss refuses the batch, or a tensor operation fails.
    fn gradient(
        &self,
        learner: &mut Learner<Self::Model>,
        batch: &Self::Batch,
        number: u64,
    ) -> Result<Measured>;

    /// Measures a model during training; `None` where nothing is held out for it.
    ///
    /// # Errors
    /// What is held out cannot be read or measured.
    fn watch(&self, model: &Self::Model, losses: &[LearnedLoss]) -> Result<Option<Watched>>;

    /// Whether what is watched may choose the weights without flattering the report.
    fn is_watched_apart(&self) -> bool;

    /// Seconds of the evaluations.
    ///
    /// # Errors
    /// As measuring.
    fn costs(&self) -> Result<Costs>;

    /// Measures the finished model beside what it must beat.
    ///
    /// # Errors
    /// As measuring.
    fn report(
        &self,
        kept: &Kept<Self::Model>,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Self::Report>;

    /// Writes what belongs beside the model into its folder.
    ///
    /// # Errors
    /// A file cannot be written.
    fn save_beside(&self, _kept: &Kept<Self::Model>, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// The model card, Markdown.
    ///
    /// # Errors
    /// The recipe has no TOML form.
    fn card(&self, model: &Self::Model, report: &Self::Report) -> Result<String>;

    /// The resolved recipe, TOML.
    ///
    /// # Errors
    /// The recipe has no TOML form.
    fn recipe(&self) -> Result<String>;

    /// Shortens the run to so many steps, its schedule in proportion.
    fn shorten(&mut self, steps: NonZeroU64);

    /// Names of the damaged items met so far.
    fn damaged(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Takes over the damaged items that a resumed run met before.
    fn recall(&self, _damaged: &BTreeSet<String>) {}
}
