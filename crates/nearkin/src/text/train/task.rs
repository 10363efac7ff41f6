//! The task of texts: what the training loop asks of it.

use super::TextSetup;
use super::batch::{Reader, TextBatch, parts};
use super::card;
use super::evaluate::{Evaluation, Score, heads};
use super::report::{TextReport, report};
use super::set::Known;
use crate::error::Result;
use crate::sampler::Round;
use crate::text::Bootstrap;
use crate::train::{
    Costs, Course, Event, Kept, LearnedLoss, Learner, Measured, Task, Trained, Watched, gradient,
};
use nearkin_encoder::Mode;
use nearkin_encoder::parameters::{Parameters, named_rng};
use nearkin_encoder::text::{Options, Packed, Pass, SentenceEncoder};
use nearkin_losses::Batch;
use rand::RngExt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Instant;

impl Trained for SentenceEncoder {
    fn parameters(&self) -> &Parameters {
        self.parameters()
    }

    fn save(&self, folder: &Path) -> Result<()> {
        Ok(Self::save(self, folder)?)
    }
}

/// The pass of a part of batch `number`, with the dropout of a seed: one that is passed again drops the same numbers.
pub(super) fn pass(seed: u64, (number, part): (u64, usize), mode: Mode) -> Pass {
    let name = format!("dropout/{number}/{part}");
    Pass {
        mode,
        ..Pass::train(named_rng(seed, &name).random())
    }
}

/// What the evaluation of this name found, the first score of which chooses.
pub(super) fn watched(name: &str, scores: &[Score]) -> Watched {
    let named = scores.iter();
    let named = named.map(|score| (score.metric.to_owned(), score.estimate.value));
    // A correlation that is undefined is as good as the worst.
    let chooses = scores
        .first()
        .map_or(f64::NAN, |score| score.estimate.value);
    Watched {
        part: name.to_owned(),
        scores: named.collect(),
        chooses: Some(if chooses.is_nan() { -1.0 } else { chooses }),
    }
}

impl TextSetup {
    /// The pass of a part of batch `number`.
    pub(super) fn pass(&self, number: u64, part: usize, mode: Mode) -> Pass {
        Pass {
            dropout: self.recipe.encoder.dropout.get(),
            checkpoint: self.recipe.encoder.checkpoint,
            ..pass(self.recipe.seed, (number, part), mode)
        }
    }
}

impl Task for TextSetup {
    type Batch = TextBatch;
    type Model = SentenceEncoder;
    type Report = TextReport;

    fn course(&self) -> Course<'_> {
        Course {
            optimizer: &self.recipe.optimizer,
            schedule: &self.recipe.schedule,
            train: &self.train,
        }
    }

    fn model(&self) -> Result<SentenceEncoder> {
        self.recipe.encoder.read(self.recipe.seed)
    }

    fn losses(&self, model: &SentenceEncoder) -> Result<Vec<LearnedLoss>> {
        self.losses_of(model.dim())
    }

    fn loss_names(&self) -> String {
        let mut names: Vec<&str> = self
            .sets
            .iter()
            .map(|set| set.objective.loss.name())
            .collect();
        names.dedup();
        names.join(" and ")
    }

    fn data(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for set in self.sets.iter() {
            set.columns.hash(&mut hasher);
            match &set.known {
                Known::Nothing => {}
                Known::Scores(of) => of.iter().for_each(|s| s.to_bits().hash(&mut hasher)),
                Known::Classes { of, .. } | Known::Labels { of, .. } => of.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    fn batches(
        &self,
        _round: Option<Round>,
    ) -> Result<impl FnMut(u64) -> Result<TextBatch> + Send + 'static> {
        let (mut draw, sets) = (self.draw.clone(), self.sets.clone());
        let (reader, teacher) = (self.reader.clone(), self.teacher.as_ref().map(Reader::of));
        Ok(move |number| {
            let (set, items) = draw.batch(number);
            TextBatch::read((set, &sets[set]), &items, &reader, teacher.as_ref())
        })
    }

    fn gradient(
        &self,
        learner: &mut Learner<SentenceEncoder>,
        batch: &TextBatch,
        number: u64,
    ) -> Result<Measured> {
        let parts = parts(&batch.tokens, self.train.chunk.map(NonZeroUsize::get));
        let taught = self.ask(batch)?;
        let encoder = learner.model.clone();
        let forward = |part: usize, mode: Mode| {
            let packed = Packed::new(parts[part].iter().map(|&row| &batch.tokens[row]));
            let pass = self.pass(number, part, mode);
            Ok(encoder.forward(&packed, pass)?)
        };
        gradient(learner, &parts, &forward, &|learner, embeddings| {
            let asked = Batch {
                embeddings,
                targets: batch.targets(&taught),
            };
            let outcome = learner.losses[batch.set].value_and_grad(asked, number)?;
            Ok((batch.set, outcome))
        })
    }

    fn watch(&self, model: &SentenceEncoder, losses: &[LearnedLoss]) -> Result<Option<Watched>> {
        let Some(first) = self.evaluations.first() else {
            return Ok(None);
        };
        let scores = first.measure(model, &heads(&self.sets, losses)?, Bootstrap::NONE)?;
        Ok(Some(watched(&first.name, &scores)))
    }

    /// The first evaluation is there to choose; the others are untouched.
    fn is_watched_apart(&self) -> bool {
        !self.evaluations.is_empty()
    }

    fn costs(&self) -> Result<Costs> {
        const TEXTS: usize = 128;
        let Some(first) = self.evaluations.first() else {
            return Ok(Costs {
                watch: 0.0,
                report: 0.0,
            });
        };
        let (encoder, texts) = (self.model()?, first.some_texts(TEXTS));
        let started = Instant::now();
        encoder.encode(&texts, &Options::default(), &mut |_| {})?;
        let text = started.elapsed().as_secs_f64() / texts.len().max(1) as f64;
        let all: usize = self.evaluations.iter().map(Evaluation::texts).sum();
        Ok(Costs {
            watch: text * first.texts() as f64,
            // The untrained and the trained encoder embed all of them.
            report: 2.0 * text * all as f64,
        })
    }

    fn report(
        &self,
        kept: &Kept<SentenceEncoder>,
        observer: &mut dyn FnMut(Event),
    ) -> Result<TextReport> {
        report(self, kept, observer)
    }

    fn save_beside(&self, kept: &Kept<SentenceEncoder>, folder: &Path) -> Result<()> {
        let heads = heads(&self.sets, kept.losses)?;
        let heads = self.sets.iter().zip(&heads);
        let heads = heads.filter_map(|(set, head)| Some((set, head.as_ref()?)));
        for (k, (set, head)) in heads.enumerate() {
            let name = match k {
                0 => "head".to_owned(),
                _ => format!("head-{}", set.name),
            };
            head.save(folder, &name)?;
        }
        Ok(())
    }

    fn card(&self, model: &SentenceEncoder, report: &TextReport) -> Result<String> {
        card::markdown(self, model, report)
    }

    fn recipe(&self) -> Result<String> {
        Ok(self.recipe.to_toml()?)
    }

    fn shorten(&mut self, steps: NonZeroU64) {
        let full = self.train.steps;
        self.recipe.schedule = self.recipe.schedule.fitted(full.get(), steps.get());
        self.recipe.train.steps = Some(steps);
        self.train.steps = steps;
    }
}
