//! The task of a network of pairs: what the training loop asks of it.

use super::measure::{measure_pixels, measure_probes};
use super::search::apart;
use super::{PairBatch, PairReport, PairRow, PairSetup, Probes, card, samples};
use crate::error::{Error, Result};
use crate::evaluate::ReidOptions;
use crate::feed::Changes;
use crate::sampler::Round;
use crate::train::{
    Costs, Course, Event, Kept, LearnedLoss, Learner, Measured, Task, Trained, Watched, begun,
    gradient,
};
use nearkin_encoder::parameters::Parameters;
use nearkin_encoder::{Mode, PairModel};
use std::collections::{BTreeSet, HashSet};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Instant;

impl Trained for PairModel {
    fn parameters(&self) -> &Parameters {
        self.scorer.parameters()
    }

    fn save(&self, folder: &Path) -> Result<()> {
        Ok(Self::save(self, folder)?)
    }
}

impl Task for PairSetup {
    type Batch = PairBatch;
    type Model = PairModel;
    type Report = PairReport;

    fn course(&self) -> Course<'_> {
        Course {
            optimizer: &self.recipe.optimizer,
            schedule: &self.recipe.schedule,
            train: &self.recipe.train,
        }
    }

    fn model(&self) -> Result<PairModel> {
        Self::model(self)
    }

    /// The loss learns and remembers nothing: the metric is the model's.
    fn losses(&self, _model: &PairModel) -> Result<Vec<LearnedLoss>> {
        Ok(Vec::new())
    }

    fn loss_names(&self) -> String {
        self.recipe.loss.name().to_owned()
    }

    fn data(&self) -> u64 {
        self.feed.dataset().number()
    }

    fn batches(
        &self,
        _round: Option<Round>,
    ) -> Result<impl FnMut(u64) -> Result<PairBatch> + Send + 'static> {
        let (mut draw, sampling) = (self.draw()?, self.sampling());
        let (feed, augment) = (self.feed.clone(), self.recipe.augment.clone());
        let seed = self.recipe.seed;
        Ok(move |step| {
            let drawn = draw.batch(step);
            let changes = Changes {
                augment: &augment,
                seed,
                step,
            };
            let images = feed.batch(&drawn, Some(changes))?;
            let kept = samples::Kept::new(feed.dataset(), &images.items, &images.labels);
            let samples = sampling.of(step, &drawn, &kept)?;
            Ok(PairBatch { images, samples })
        })
    }

    /// Images go through the network once each, pairs as the loss asks for them; a chunk is of whole samples.
    fn gradient(
        &self,
        learner: &mut Learner<PairModel>,
        batch: &PairBatch,
        number: u64,
    ) -> Result<Measured> {
        let (count, kinds) = (batch.samples.len(), self.recipe.loss.kinds());
        let chunk = self.recipe.train.chunk.map(NonZeroUsize::get);
        let chunk = chunk.map_or(count, |images| (images / (kinds + 1)).max(1));
        let rows = |at: usize| {
            let samples = at..(at + chunk).min(count);
            (0..kinds).flat_map(move |kind| samples.clone().map(move |s| kind * count + s))
        };
        let parts = (0..count).step_by(chunk).map(|at| rows(at).collect());
        let parts: Vec<Vec<usize>> = parts.collect();
        let model = learner.model.clone();
        let forward = |part: usize, mode: Mode| {
            let pairs: Vec<_> = parts[part].iter().map(|&row| batch.pair(row)).collect();
            let (images, pairs) = apart(&pairs);
            let maps = model
                .scorer
                .maps(&batch.tensor(self.feed.input(), &images)?, mode)?;
            Ok(model.scorer.outputs(&maps, &pairs, mode)?)
        };
        let loss = &self.recipe.loss;
        let measured = gradient(learner, &parts, &forward, &|_, outputs| {
            let outcome = loss.value_and_grad(outputs).map_err(|source| Error::Loss {
                step: number + 1,
                loss: loss.name().to_owned(),
                source,
            })?;
            Ok((0, outcome))
        })?;
        // Outputs of one sign are no collapse.
        Ok(Measured {
            spread: None,
            ..measured
        })
    }

    fn watch(&self, model: &PairModel, _losses: &[LearnedLoss]) -> Result<Option<Watched>> {
        let (part, items) = self.parts.watched();
        if items.is_empty() {
            return Ok(None);
        }
        let options = ReidOptions {
            resamples: 0,
            ..ReidOptions::default()
        };
        let probes = Probes::watched(self.feed.dataset(), items);
        let found = measure_probes(model, &self.feed, &probes, &options)?.reid;
        let map = found.map.value;
        let labels = &self.feed.dataset().labels;
        let people: HashSet<u32> = probes.items.iter().map(|&item| labels[item]).collect();
        let rank = found.single_shot.first().map_or(0.0, |(_, over)| over.mean);
        Ok(Some(Watched {
            part: part.to_owned(),
            scores: vec![("rank_1".to_owned(), rank), ("map".to_owned(), map)],
            chooses: (people.len() > 1).then_some(map),
        }))
    }

    /// Best needs identities set apart for the choice: choosing by the test identities would flatter the result.
    fn is_watched_apart(&self) -> bool {
        !self.parts.validation.is_empty()
    }

    fn costs(&self) -> Result<Costs> {
        const QUERIES: usize = 8;
        let (data, items) = (self.feed.dataset(), self.parts.measured().1);
        if items.is_empty() {
            return Ok(Costs {
                watch: 0.0,
                report: 0.0,
            });
        }
        let probes = Probes::reported(data, items);
        let few = Probes {
            queries: probes.queries.iter().copied().take(QUERIES).collect(),
            ..probes.clone()
        };
        let (model, options) = (self.model()?, ReidOptions::default());
        let started = Instant::now();
        measure_probes(&model, &self.feed, &few, &options)?;
        let pairs = |probes: &Probes| (probes.queries.len() * probes.gallery.len()) as f64;
        let pair = started.elapsed().as_secs_f64() / pairs(&few).max(1.0);
        Ok(Costs {
            watch: pair * pairs(&Probes::watched(data, self.parts.watched().1)),
            // The untrained and the trained network are measured.
            report: 2.0 * pair * pairs(&probes),
        })
    }

    fn report(
        &self,
        kept: &Kept<PairModel>,
        observer: &mut dyn FnMut(Event),
    ) -> Result<PairReport> {
        let (part, items) = self.parts.measured();
        let probes = Probes::reported(self.feed.dataset(), items);
        let options = ReidOptions::default();
        let mut rows = Vec::new();
        let begun = begun(self.recipe.pretrained.as_ref());
        let names = ["raw pixels", begun, "trained model"];
        for name in names.into_iter().filter(|_| !items.is_empty()) {
            observer(Event::Measuring(name));
            let of = |model: &PairModel| measure_probes(model, &self.feed, &probes, &options);
            let found = match name {
                "trained model" => of(kept.model)?,
                name if name == begun => of(&self.model()?)?,
                _ => measure_pixels(&self.feed, &probes, &options)?,
            };
            rows.push(PairRow { name, found });
        }
        Ok(PairReport {
            model: kept.folder.clone(),
            part,
            step: kept.step,
            selected: kept.selected,
            rows,
            damaged: self.feed.damaged(),
        })
    }

    fn card(&self, model: &PairModel, report: &PairReport) -> Result<String> {
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
