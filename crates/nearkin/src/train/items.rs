//! The task of labeled items: images or features, measured by retrieval.

use super::task::{Costs, Course, Kept, Task, Trained, Watched};
use super::{
    Event, LearnedLoss, Learner, Measured, OfRows, Parts, Setup, gradient_of_parts, harmonic,
};
use crate::card;
use crate::embed::{embed, pixels};
use crate::error::{Error, Result};
use crate::evaluate::{self, Evaluation};
use crate::feed::{Batch, Changes, TURNS};
use crate::recipe::Pretrained;
use crate::sampler::Round;
use nearkin_encoder::parameters::Parameters;
use nearkin_encoder::{Mode, Model};
use nearkin_kernels::Mat;
use nearkin_losses::Targets;
use nearkin_losses::loss::Shape;
use serde::Serialize;
use std::collections::BTreeSet;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How good a finished model is, beside what it must beat.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model folder.
    pub model: PathBuf,
    /// The part that was measured: `test`, `validation` where no test is set apart, or `none` where all items train.
    pub part: &'static str,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model: `best` on validation or `last`.
    pub selected: &'static str,
    /// Raw input, the untrained network, the trained model; nothing where all items train.
    pub rows: Vec<Row>,
    /// Names of damaged items that were left out.
    pub damaged: Vec<String>,
}

/// One row of the table of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// How good it is.
    pub evaluation: Evaluation,
}

/// A batch of labeled items.
pub struct ItemBatch {
    /// The items, labeled by the numbers of the classes that train.
    pub items: Batch,
    /// Their embeddings by the old model, `[B, D]`, where the loss compares with it.
    pub old: Option<Vec<f32>>,
}

impl Trained for Model {
    fn parameters(&self) -> &Parameters {
        self.embedder.parameters()
    }

    fn save(&self, folder: &Path) -> Result<()> {
        Ok(Self::save(self, folder)?)
    }
}

/// What a report calls the network that training began with.
pub(crate) fn begun(pretrained: Option<&Pretrained>) -> &'static str {
    match pretrained {
        Some(_) => "before training",
        None => "untrained network",
    }
}

impl Task for Setup {
    type Batch = ItemBatch;
    type Model = Model;
    type Report = Report;

    fn course(&self) -> Course<'_> {
        Course {
            optimizer: &self.recipe.optimizer,
            schedule: &self.recipe.schedule,
            train: &self.recipe.train,
        }
    }

    fn model(&self) -> Result<Model> {
        Self::model(self)
    }

    fn loss_names(&self) -> String {
        self.recipe.loss.name().to_owned()
    }

    fn data(&self) -> u64 {
        self.feed.dataset().number()
    }

    fn losses(&self, model: &Model) -> Result<Vec<LearnedLoss>> {
        let objective = self.recipe.objective();
        // Items of classes are all that training knows; better known now than at the first batch.
        if let Some(loss) = objective.unlabeled_loss() {
            return Err(Error::Objective(nearkin_losses::Error::NotAligned { loss }));
        }
        let turns = if self.recipe.augment.turned_classes {
            TURNS
        } else {
            1
        };
        let shape = Shape {
            dim: model.embedder.dim(),
            classes: self.training_classes() * turns as usize,
        };
        let loss = LearnedLoss::new(objective, shape, self.recipe.seed, "loss")?;
        Ok(vec![loss])
    }

    fn round(&self, model: &Model, step: u64) -> Result<Option<Round>> {
        let every = self.recipe.sampler.mined_every();
        if !every.is_some_and(|every| step.is_multiple_of(every)) {
            return Ok(None);
        }
        let accumulate = u64::from(self.recipe.train.accumulate.get());
        let numbers = step * accumulate..(step + every.unwrap_or(1)) * accumulate;
        let mut embed = |items: &[usize]| embed(model, &self.feed, items, &mut |_| {});
        let round = self.mine()?.map(|mine| mine.round(numbers, &mut embed));
        round.transpose()
    }

    fn batches(
        &self,
        round: Option<Round>,
    ) -> Result<impl FnMut(u64) -> Result<ItemBatch> + Send + 'static> {
        let mut items: Box<dyn FnMut(u64) -> Vec<usize> + Send> = if let Some(round) = round {
            round.check(self.feed.dataset().len())?;
            Box::new(move |number| round.batch(number).to_vec())
        } else {
            let mut draw = self.draw()?;
            Box::new(move |number| draw.batch(number))
        };
        let (feed, augment) = (self.feed.clone(), self.recipe.augment.clone());
        let (seed, classes) = (self.recipe.seed, self.classes.clone());
        let old = self.old.clone();
        let count = self.training_classes() as u32;
        Ok(move |step| {
            let items = items(step);
            let changes = Changes {
                augment: &augment,
                seed,
                step,
            };
            let mut batch = feed.batch(&items, Some(changes))?;
            for label in &mut batch.labels {
                *label = classes[*label as usize] + changes.turn(*label) * count;
            }
            let old = old.as_ref().map(|old| old.embed(&batch.items));
            Ok(ItemBatch {
                old: old.transpose()?,
                items: batch,
            })
        })
    }

    fn gradient(
        &self,
        learner: &mut Learner<Model>,
        batch: &ItemBatch,
        number: u64,
    ) -> Result<Measured> {
        let ItemBatch { items: batch, old } = batch;
        let count = batch.items.len();
        let chunk = self.recipe.train.chunk.map_or(count, NonZeroUsize::get);
        let chunk = chunk.min(count).max(1);
        let parts: Vec<Vec<usize>> = (0..count)
            .step_by(chunk)
            .map(|at| (at..(at + chunk).min(count)).collect())
            .collect();
        let model = learner.model.clone();
        let forward = |part: usize, mode: Mode| {
            let rows = part * chunk..(part * chunk + chunk).min(count);
            let input = batch.tensor(&model.config.input, rows)?;
            Ok(model.embedder.forward(&input, mode)?)
        };
        let again: &OfRows = &|rows| {
            let input = batch.tensor_of(&model.config.input, rows)?;
            Ok(model.embedder.forward(&input, Mode::Replay)?)
        };
        let parts = Parts {
            rows: &parts,
            forward: &forward,
            again: (!model.embedder.is_batchwise()).then_some(again),
        };
        gradient_of_parts(learner, parts, &|learner, embeddings| {
            let loss = &mut learner.losses[0];
            if let Some(old) = old {
                let both = (old.as_slice(), embeddings);
                let outcome = harmonic::value_and_grad(loss, both, &batch.labels, number)?;
                return Ok((0, outcome));
            }
            let targets = Targets::Labels(&batch.labels);
            let batch = nearkin_losses::Batch {
                embeddings,
                targets,
            };
            Ok((0, loss.value_and_grad(batch, number)?))
        })
    }

    fn watch(&self, model: &Model, _losses: &[LearnedLoss]) -> Result<Option<Watched>> {
        let (part, items) = self.parts.watched();
        if items.is_empty() {
            return Ok(None);
        }
        let found = measure(self, model, items, &evaluate::Options::quick())?;
        let (classes, retrieval) = (found.classes, found.retrieval);
        let map_at_r = retrieval.map_at_r.value;
        let recall_at_1 = retrieval.recall().next().map_or(0.0, |(_, r)| r.value);
        Ok(Some(Watched {
            part: part.to_owned(),
            scores: vec![
                ("recall_at_1".to_owned(), recall_at_1),
                ("map_at_r".to_owned(), map_at_r),
            ],
            chooses: (classes > 1).then_some(map_at_r),
        }))
    }

    /// Best needs classes set apart for the choice: choosing by the test classes would flatter the result.
    fn is_watched_apart(&self) -> bool {
        !self.parts.validation.is_empty()
    }

    fn costs(&self) -> Result<Costs> {
        const ITEMS: usize = 128;
        let items = self.parts.measured().1;
        let items = &items[..items.len().min(ITEMS)];
        let started = Instant::now();
        embed(&self.model()?, &self.feed, items, &mut |_| {})?;
        let item = started.elapsed().as_secs_f64() / items.len().max(1) as f64;
        Ok(Costs {
            watch: item * self.parts.watched().1.len() as f64,
            // The untrained and the trained network embed the items of the report.
            report: 2.0 * item * self.parts.measured().1.len() as f64,
        })
    }

    fn report(&self, kept: &Kept<Model>, observer: &mut dyn FnMut(Event)) -> Result<Report> {
        let (part, items) = self.parts.measured();
        let options = evaluate::Options::default();
        let raw = if self.feed.dataset().is_features().is_some() {
            "raw features"
        } else {
            "raw pixels"
        };
        let mut rows = Vec::new();
        let begun = begun(self.recipe.pretrained.as_ref());
        let names = [raw, begun, "trained model"];
        for name in names.into_iter().filter(|_| !items.is_empty()) {
            observer(Event::Measuring(name));
            let evaluation = match name {
                "trained model" => measure(self, kept.model, items, &options)?,
                name if name == begun => measure(self, &self.model()?, items, &options)?,
                _ => measure_raw(self, items, &options)?,
            };
            rows.push(Row { name, evaluation });
        }
        Ok(Report {
            model: kept.folder.clone(),
            part,
            step: kept.step,
            selected: kept.selected,
            rows,
            damaged: self.feed.damaged(),
        })
    }

    fn card(&self, model: &Model, report: &Report) -> Result<String> {
        card::markdown(self, model, report)
    }

    fn recipe(&self) -> Result<String> {
        Ok(self.recipe.to_toml()?)
    }

    fn shorten(&mut self, steps: NonZeroU64) {
        let full = self.recipe.train.steps;
        self.recipe.schedule = self.recipe.schedule.fitted(full.get(), steps.get());
        self.recipe.train.steps = steps;
    }

    fn damaged(&self) -> BTreeSet<String> {
        self.feed.damaged().into_iter().collect()
    }

    fn recall(&self, damaged: &BTreeSet<String>) {
        self.feed.recall(damaged);
    }
}

/// Embeds items with a model and measures them.
///
/// # Errors
/// An item cannot be read, or the items cannot be measured.
pub fn measure(
    setup: &Setup,
    model: &Model,
    items: &[usize],
    options: &evaluate::Options,
) -> Result<Evaluation> {
    let embedded = embed(model, &setup.feed, items, &mut |_| {})?;
    let matrix = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
    Ok(evaluate::evaluate(matrix, &embedded.labels, options)?)
}

/// Measures the items' own numbers: the baseline.
fn measure_raw(setup: &Setup, items: &[usize], options: &evaluate::Options) -> Result<Evaluation> {
    let raw = pixels(&setup.feed, items)?;
    let matrix = Mat::new(&raw.numbers, raw.items.len(), raw.dim);
    Ok(evaluate::evaluate(matrix, &raw.labels, options)?)
}
