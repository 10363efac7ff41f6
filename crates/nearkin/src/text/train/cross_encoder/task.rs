//! The task of a cross-encoder: what the training loop asks of it.

use super::CrossEncoderSetup;
use super::evaluate::Evaluation;
use super::set::Known;
use crate::error::{Error, Result};
use crate::sampler::Round;
use crate::text::Bootstrap;
use crate::text::train::batch::parts;
use crate::text::train::card::{self, Card};
use crate::text::train::evaluate::Score;
use crate::text::train::report::{TextReport, finished};
use crate::text::train::task::{pass, watched};
use crate::train::{
    Costs, Course, Event, Kept, LearnedLoss, Learner, Measured, Task, Trained, Watched, gradient,
};
use nearkin_encoder::Mode;
use nearkin_encoder::parameters::Parameters;
use nearkin_encoder::text::{CrossEncoder, Packed, Tokens};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Instant;

/// A batch of pairs of one data set.
pub struct PairBatch {
    tokens: Vec<Tokens>,
    known: Known,
}

impl Trained for CrossEncoder {
    fn parameters(&self) -> &Parameters {
        self.parameters()
    }

    fn save(&self, folder: &Path) -> Result<()> {
        Ok(Self::save(self, folder)?)
    }
}

impl CrossEncoderSetup {
    fn measured(&self, judge: &CrossEncoder) -> Result<Vec<Vec<Score>>> {
        let evaluations = self.evaluations.iter();
        evaluations
            .map(|evaluation| evaluation.measure(judge, Bootstrap::default()))
            .collect()
    }
}

impl Task for CrossEncoderSetup {
    type Batch = PairBatch;
    type Model = CrossEncoder;
    type Report = TextReport;

    fn course(&self) -> Course<'_> {
        Course {
            optimizer: &self.recipe.optimizer,
            schedule: &self.recipe.schedule,
            train: &self.train,
        }
    }

    fn model(&self) -> Result<CrossEncoder> {
        self.recipe
            .cross_encoder
            .read(&self.outputs, self.recipe.seed)
    }

    /// The loss learns and remembers nothing: the head is the model's.
    fn losses(&self, _model: &CrossEncoder) -> Result<Vec<LearnedLoss>> {
        Ok(Vec::new())
    }

    fn loss_names(&self) -> String {
        self.recipe.loss.name().to_owned()
    }

    fn data(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for set in self.sets.iter() {
            set.texts.hash(&mut hasher);
            match &set.known {
                Known::Scores(of) => of.iter().for_each(|s| s.to_bits().hash(&mut hasher)),
                Known::Classes(of) => of.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    fn batches(
        &self,
        _round: Option<Round>,
    ) -> Result<impl FnMut(u64) -> Result<PairBatch> + Send + 'static> {
        let (mut draw, sets, tokenizer) =
            (self.draw.clone(), self.sets.clone(), self.tokenizer.clone());
        Ok(move |number| {
            let (set, items) = draw.batch(number);
            let pairs: Vec<[&str; 2]> = items.iter().map(|&item| sets[set].pair(item)).collect();
            Ok(PairBatch {
                tokens: tokenizer.encode_pairs(&pairs)?,
                known: sets[set].known.of(&items),
            })
        })
    }

    /// The loss sees logits where that of an encoder sees embeddings; the way there and back is the same.
    fn gradient(
        &self,
        learner: &mut Learner<CrossEncoder>,
        batch: &PairBatch,
        number: u64,
    ) -> Result<Measured> {
        let parts = parts(&batch.tokens, self.train.chunk.map(NonZeroUsize::get));
        let (judge, start) = (learner.model.clone(), &self.recipe.cross_encoder);
        let forward = |part: usize, mode: Mode| {
            let packed = Packed::new(parts[part].iter().map(|&row| &batch.tokens[row]));
            let pass = pass(self.recipe.seed, (number, part), mode);
            let pass = nearkin_encoder::text::Pass {
                dropout: start.dropout.get(),
                checkpoint: start.checkpoint,
                ..pass
            };
            Ok(judge.network().forward(&packed, pass)?)
        };
        let loss = &self.recipe.loss;
        let measured = gradient(learner, &parts, &forward, &|_, logits| {
            let outcome = loss.value_and_grad(logits, batch.known.targets());
            let outcome = outcome.map_err(|source| Error::Loss {
                step: number + 1,
                loss: loss.name().to_owned(),
                source,
            })?;
            Ok((0, outcome))
        })?;
        // Logits of one sign are no collapse.
        Ok(Measured {
            spread: None,
            ..measured
        })
    }

    fn watch(&self, model: &CrossEncoder, _losses: &[LearnedLoss]) -> Result<Option<Watched>> {
        let Some(first) = self.evaluations.first() else {
            return Ok(None);
        };
        let scores = first.measure(model, Bootstrap::NONE)?;
        Ok(Some(watched(&first.name, &scores)))
    }

    /// The first evaluation is there to choose; the others are untouched.
    fn is_watched_apart(&self) -> bool {
        !self.evaluations.is_empty()
    }

    fn costs(&self) -> Result<Costs> {
        const PAIRS: usize = 64;
        let Some(first) = self.evaluations.first() else {
            return Ok(Costs {
                watch: 0.0,
                report: 0.0,
            });
        };
        let (judge, pairs) = (self.model()?, first.first(PAIRS));
        let started = Instant::now();
        judge.predict(&pairs, &mut |_| {})?;
        let pair = started.elapsed().as_secs_f64() / pairs.len().max(1) as f64;
        let all: usize = self.evaluations.iter().map(Evaluation::pairs).sum();
        Ok(Costs {
            watch: pair * first.pairs() as f64,
            // The untrained and the trained cross-encoder read all of them.
            report: 2.0 * pair * all as f64,
        })
    }

    fn report(
        &self,
        kept: &Kept<CrossEncoder>,
        observer: &mut dyn FnMut(Event),
    ) -> Result<TextReport> {
        observer(Event::Measuring("untrained cross-encoder"));
        let untrained = self.measured(&self.model()?)?;
        observer(Event::Measuring("trained cross-encoder"));
        let trained = self.measured(kept.model)?;
        let sources = (self.data_sources(), self.evaluate_sources());
        Ok(finished(kept, sources, [untrained, trained]))
    }

    fn card(&self, model: &CrossEncoder, report: &TextReport) -> Result<String> {
        let outputs = match model.classes() {
            [] => "a score".to_owned(),
            classes => format!("the classes {}", classes.join(", ")),
        };
        let mut facts = vec![format!(
            "**Output**: {outputs}; {} weights, at most {} tokens a pair",
            model.parameters().count(),
            model.tokenizer.limit()
        )];
        facts.push(card::weights(report));
        let loss = self.recipe.loss.name();
        facts.extend(report.data.iter().map(|source| card::data(source, loss)));
        let card = Card {
            head: card::CROSS_ENCODER,
            base: &self.recipe.cross_encoder.model,
            facts,
            recipe: self.recipe()?,
        };
        Ok(card.markdown(report))
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
