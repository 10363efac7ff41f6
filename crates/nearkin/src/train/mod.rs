//! Training: one visible loop from batches to a model folder.

mod budget;
pub mod checkpoint;
mod event_file;
mod finish;
mod gradient;
mod harmonic;
mod items;
mod journal;
mod learner;
mod lock;
mod loss;
mod setup;
mod task;

pub use budget::plan_steps;
pub use gradient::{Measured, OfRows, Parts, gradient, gradient_of_parts};
pub(crate) use items::begun;
pub use items::{ItemBatch, Report, Row, measure};
pub use journal::{EvaluationRecord, StepRecord};
pub use learner::Learner;
pub use loss::LearnedLoss;
pub use setup::Setup;
pub(crate) use setup::{check_noise, check_parts, check_rates, check_turned, draw};
pub use task::{Costs, Course, Kept, Task, Trained, Watched};

use crate::error::{Error, Result};
use crate::optimize::{self, Gradients, Optimize};
use crate::prefetch::Prefetch;
use crate::recipe::Select;
use crate::sampler::Round;
use checkpoint::{Best, Progress, State};
use journal::Journal;
use lock::Lock;
use nearkin_encoder::host::Host;
use nearkin_encoder::profile;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Below this spread of a batch's embeddings the network answers nearly the same to everything.
const COLLAPSED: f32 = 0.01;

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// An optimizer step is done, of so many.
    Step(&'a StepRecord, u64),
    /// The held-out items were measured.
    Evaluated(&'a EvaluationRecord),
    /// A checkpoint was written.
    Checkpoint(&'a Path),
    /// Training is over; this row of the report is being measured.
    Measuring(&'static str),
    /// Something that deserves a look.
    Warning(String),
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome<R> {
    /// With a model.
    Finished(Box<R>),
    /// On request, with a checkpoint after so many steps.
    Stopped {
        /// Steps made.
        step: u64,
        /// Steps of the recipe.
        steps: u64,
    },
}

/// Who listens to a run, and who may stop it.
pub struct Control<'a> {
    /// Is told what happens.
    pub observer: &'a mut dyn FnMut(Event),
    /// Once true, the run writes a checkpoint after the step or evaluation under way and returns; once the report is
    /// begun, it is finished.
    pub stop: &'a AtomicBool,
}

/// A run under way.
struct Run<'a, T: Task> {
    task: &'a T,
    course: Course<'a>,
    folder: PathBuf,
    learner: Learner<T::Model>,
    averages: Option<T::Model>,
    optimizer: Optimize,
    progress: Progress,
    /// The batches that weights decided, until they are looked at again.
    round: Option<Round>,
    journal: Journal,
    control: Control<'a>,
    told_of_choice: bool,
    warned_of_collapse: bool,
    warned_of_short: bool,
    _lock: Lock,
}

/// Trains in a run folder, from its newest checkpoint if it has one, and writes the model.
///
/// The same recipe, data and thread count give the same model, bit for bit, also when the process
/// was killed and started again in between.
///
/// # Errors
/// Data, recipe or disk fail, or a number of training stops being finite; checkpoints written
/// before then stay.
pub fn train<'a, T: Task>(
    task: &'a T,
    folder: &Path,
    control: Control<'a>,
) -> Result<Outcome<T::Report>> {
    let mut run = Run::open(task, folder, control)?;
    if run.steps()? == Ended::OnRequest {
        let steps = run.course.train.steps.get();
        return Ok(Outcome::Stopped {
            step: run.progress.step,
            steps,
        });
    }
    Ok(Outcome::Finished(Box::new(run.finish()?)))
}

#[derive(PartialEq, Eq)]
enum Ended {
    AtTheEnd,
    OnRequest,
}

impl<'a, T: Task> Run<'a, T> {
    fn open(task: &'a T, folder: &Path, control: Control<'a>) -> Result<Self> {
        let lock = Lock::of(folder)?;
        let course = task.course();
        let mut learner = Learner::new(task)?;
        let averages = course.train.ema.map(|_| task.model()).transpose()?;
        let mut optimizer = Optimize::new(course, learner.parameters())?;
        let threads = nearkin_kernels::threads();
        let mut progress = Progress {
            threads,
            data: Some(task.data()),
            ..Progress::default()
        };
        let mut round = None;
        if let Some((path, stored)) = checkpoint::newest(folder)? {
            round = checkpoint::restore_round(&path)?;
            let averages = averages.as_ref().map(Trained::parameters);
            let tensors = checkpoint::restore(&path, &mut learner, averages)?;
            let restored = optimizer.restore(course, learner.parameters(), &tensors);
            restored.map_err(|reason| Error::Run {
                path: path.clone(),
                reason,
            })?;
            if stored.threads != threads {
                let text = format!(
                    "the run began with {} threads and goes on with {threads}",
                    stored.threads
                );
                (control.observer)(Event::Warning(format!("{text}: last digits may differ")));
            }
            if stored.data.is_some() && stored.data != progress.data {
                let reason = "the run began with other data (texts, names or classes of items): bring them back, or begin another run";
                return Err(Error::Run {
                    path,
                    reason: reason.to_owned(),
                });
            }
            task.recall(&stored.damaged);
            progress = Progress {
                data: progress.data,
                ..stored
            };
        }
        let journal = Journal::open(folder, progress.step)?;
        let folder = folder.to_owned();
        Ok(Self {
            task,
            course,
            folder,
            learner,
            averages,
            optimizer,
            progress,
            round,
            journal,
            control,
            told_of_choice: false,
            warned_of_collapse: false,
            warned_of_short: false,
            _lock: lock,
        })
    }

    /// The loop: batch → embed → mine → loss → backward → step.
    fn steps(&mut self) -> Result<Ended> {
        let (train, steps) = (self.course.train, self.course.train.steps.get());
        let mut batches = None;
        while self.progress.step < steps && !self.has_waited_enough() {
            if self.control.stop.load(Ordering::Relaxed) {
                self.checkpoint()?;
                return Ok(Ended::OnRequest);
            }
            if let Some(round) = self.task.round(&self.learner.model, self.progress.step)? {
                (self.round, batches) = (Some(round), None);
            }
            let ahead = batches.take().map_or_else(|| self.read_ahead(), Ok)?;
            let record = self.step(&ahead).map_err(|e| self.blame(e))?;
            batches = Some(ahead);
            self.journal.write(&record)?;
            (self.control.observer)(Event::Step(&record, steps));
            let step = self.progress.step;
            if step.is_multiple_of(train.evaluate_every.get()) || step == steps {
                self.evaluate().map_err(|e| self.blame(e))?;
                self.checkpoint()?;
            }
        }
        // The report may take longer than the training; the last checkpoint is there to go on from.
        if self.control.stop.load(Ordering::Relaxed) {
            return Ok(Ended::OnRequest);
        }
        Ok(Ended::AtTheEnd)
    }

    /// Batches from the step under way on: to the end of the round, or of the run.
    fn read_ahead(&self) -> Result<Prefetch<T::Batch>> {
        let (train, accumulate) = (
            self.course.train,
            u64::from(self.course.train.accumulate.get()),
        );
        let last = train.steps.get().saturating_mul(accumulate);
        let end = self.round.as_ref().map_or(last, Round::end);
        let first = self.progress.step * accumulate;
        Ok(Prefetch::start(
            self.task.batches(self.round.clone())?,
            first..end,
        ))
    }

    /// Whether so many evaluations brought nothing better that the run ends early. A matter of the
    /// checkpoint's state alone, so that a run killed after its last step does not go on when resumed.
    fn has_waited_enough(&self) -> bool {
        let patience = self.course.train.patience;
        patience.is_some_and(|p| self.progress.without_better >= p.get())
    }

    /// One optimizer step.
    fn step(&mut self, batches: &Prefetch<T::Batch>) -> Result<StepRecord> {
        let started = Instant::now();
        let _step = profile::step();
        let course = self.course;
        let accumulate = course.train.accumulate.get();
        let mut record = self.blank_record();
        let mut sum: Option<Gradients> = None;
        let mut items = 0;
        for part in 0..u64::from(accumulate) {
            let batch = {
                let _span = profile::span("waiting for data");
                batches.next()?
            };
            let number = self.progress.step * u64::from(accumulate) + part;
            let (task, learner) = (self.task, &mut self.learner);
            let measured = nearkin_kernels::within_pool(|| task.gradient(learner, &batch, number))?;
            items += measured.items;
            record.loss += measured.value / f32::from(accumulate);
            record.active += measured.active / f32::from(accumulate);
            record.kept += measured.kept / f32::from(accumulate);
            let spread = measured.spread.map(|spread| spread / f32::from(accumulate));
            record.spread = spread.map(|spread| record.spread.unwrap_or(0.0) + spread);
            record.tuples += measured.tuples;
            record.short += measured.short;
            match &sum {
                Some(sum) => optimize::accumulate(sum, &measured.gradients)?,
                None => sum = Some(measured.gradients),
            }
        }
        let gradients = sum.unwrap_or_default();
        let parameters = self.learner.parameters();
        let norm = optimize::norm(parameters, &gradients)?;
        let norm =
            norm.map_err(|e| self.not_finite(&format!("the gradient of {}", e.name), e.value))?;
        record.gradient_norm = norm / f32::from(accumulate);
        let clip = course.train.clip.map_or(1.0, |limit| {
            (limit.get() / record.gradient_norm.max(1e-12)).min(1.0)
        });
        let factor = clip / f32::from(accumulate);
        if factor < 1.0 {
            optimize::scale(&gradients, factor)?;
        }
        self.optimizer
            .step(course, self.progress.step, parameters, &gradients)?;
        if let (Some(decay), Some(averages)) = (course.train.ema, &self.averages) {
            optimize::average(
                averages.parameters(),
                self.learner.model.parameters(),
                self.warm(decay.get()),
            )?;
        }
        self.progress.step += 1;
        record.items_per_second = items as f32 / started.elapsed().as_secs_f32();
        self.warn_of_nothing(&record);
        self.warn_of_collapse(&record);
        self.warn_of_short(&record);
        Ok(record)
    }

    fn blank_record(&self) -> StepRecord {
        StepRecord {
            step: self.progress.step + 1,
            loss: 0.0,
            active: 0.0,
            kept: 0.0,
            tuples: 0,
            short: 0,
            spread: None,
            gradient_norm: 0.0,
            rate: self.course.rate(self.progress.step),
            items_per_second: 0.0,
        }
    }

    /// The decay of the running averages: shorter memory at first, since the weights of the start are no good average.
    fn warm(&self, decay: f32) -> f32 {
        let steps = self.progress.step as f32;
        decay.min((1.0 + steps) / (10.0 + steps))
    }

    /// Embeddings that are not finite come from weights that are not: the error names those.
    fn blame(&self, error: Error) -> Error {
        if !matches!(error, Error::Loss { .. } | Error::Evaluate(_)) {
            return error;
        }
        for parameter in self.learner.model.parameters() {
            let tensor = parameter.var.as_tensor();
            let Ok(numbers) = Host::new(tensor) else {
                continue;
            };
            if let Some(at) = nearkin_kernels::first_non_finite(&numbers) {
                return Error::NotFinite {
                    // The step that moved the weights; the one under way only saw it.
                    step: self.progress.step.max(1),
                    loss: self.task.loss_names(),
                    tensor: format!("the weight {}", parameter.name),
                    value: numbers[at],
                };
            }
        }
        error
    }

    fn not_finite(&self, tensor: &str, value: f32) -> Error {
        let loss = self.task.loss_names();
        Error::NotFinite {
            step: self.progress.step + 1,
            loss,
            tensor: tensor.to_owned(),
            value,
        }
    }

    /// Later a miner may well find nothing more; at the start the batches are without what the loss is over.
    fn warn_of_nothing(&mut self, record: &StepRecord) {
        if record.step == 1 && record.tuples == 0 {
            (self.control.observer)(Event::Warning(format!(
                "step 1: {} found no pairs or triplets in the batch and learned nothing: batches need items of one class beside others, as [sampler.pk] has them, or the miner leaves none (`tuples` in metrics.jsonl counts them)",
                self.task.loss_names()
            )));
        }
    }

    fn warn_of_collapse(&mut self, record: &StepRecord) {
        let collapsed = record.spread.filter(|&spread| spread < COLLAPSED);
        if let (Some(spread), false) = (collapsed, self.warned_of_collapse) {
            self.warned_of_collapse = true;
            (self.control.observer)(Event::Warning(format!(
                "step {}: the embeddings have collapsed (spread {:.4}): the network answers nearly the same to every item; try a lower learning rate, another miner or a loss that uses all negatives",
                record.step, spread
            )));
        }
    }

    fn warn_of_short(&mut self, record: &StepRecord) {
        if record.short > 0 && !self.warned_of_short {
            self.warned_of_short = true;
            (self.control.observer)(Event::Warning(format!(
                "step {}: {} of {} terms have fewer negatives than the loss {} asks for and take those there are; larger batches have more (`short` in metrics.jsonl counts them)",
                record.step,
                record.short,
                record.tuples,
                self.task.loss_names()
            )));
        }
    }

    /// The weights that are measured and kept.
    fn kept(&self) -> &T::Model {
        self.averages.as_ref().unwrap_or(&self.learner.model)
    }

    /// Whether the best evaluation decides which weights are kept.
    fn chooses(&self) -> bool {
        self.course.train.select == Select::Best && self.task.is_watched_apart()
    }

    /// Measures what is held out and keeps the model if it is the best so far.
    fn evaluate(&mut self) -> Result<()> {
        let Some(watched) = self.task.watch(self.kept(), &self.learner.losses)? else {
            return Ok(());
        };
        let best = self.progress.best.map(|best| best.score);
        let better = watched
            .chooses
            .filter(|&score| best.is_none_or(|best| score > best));
        let chooses = self.chooses() && watched.chooses.is_some();
        let is_told = self.told_of_choice || best.is_some();
        if !is_told && watched.chooses.is_none() && self.course.train.patience.is_some() {
            (self.control.observer)(Event::Warning(
                "train.patience waits for better scores, and of a single class all are the best: the run will not end early".to_owned(),
            ));
        }
        if self.course.train.select == Select::Best && !chooses && !is_told {
            (self.control.observer)(Event::Warning(
                "nothing validates that could choose, and weights are not chosen by what tests: the last ones are kept; for train.select = \"best\" set two classes or more apart in data.split (validation)".to_owned(),
            ));
        }
        self.told_of_choice = true;
        if let Some(score) = better {
            let step = self.progress.step;
            self.progress.best = Some(Best { step, score });
            self.progress.without_better = 0;
            if chooses {
                checkpoint::save_best(&self.folder, step, self.kept(), &self.learner)?;
            }
        } else if watched.chooses.is_some() {
            self.progress.without_better += 1;
        }
        let record = EvaluationRecord {
            step: self.progress.step,
            part: watched.part,
            scores: watched.scores,
            best: better.is_some() && chooses,
        };
        self.journal.write(&record)?;
        (self.control.observer)(Event::Evaluated(&record));
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.journal.sync()?;
        self.progress.damaged = self.task.damaged();
        let state = State {
            learner: &self.learner,
            optimizer: self
                .optimizer
                .tensors(self.course, self.learner.parameters()),
            averages: self.averages.as_ref().map(Trained::parameters),
            round: self.round.as_ref(),
        };
        let path = checkpoint::save(&self.folder, &state, &self.progress)?;
        (self.control.observer)(Event::Checkpoint(&path));
        Ok(())
    }
}
