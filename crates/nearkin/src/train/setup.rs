//! From a recipe to what runs: data, split, input, model.

use super::Learner;
use super::harmonic::Old;
use crate::data::Dataset;
use crate::error::Result;
use crate::feed::{Feed, feature_input};
use crate::recipe::{Recipe, Train};
use crate::sampler::{Draw, Mine, Pool, Sampler};
use crate::split::Parts;
use nearkin_encoder::ImageInput;
use nearkin_encoder::image::Augment;
use nearkin_encoder::model::Input;
use nearkin_encoder::parameters::begins;
use nearkin_encoder::{Model, Parameters};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A recipe with its data opened and split.
pub struct Setup {
    /// The recipe.
    pub recipe: Recipe,
    /// The items.
    pub feed: Feed,
    /// Which items train, validate and test.
    pub parts: Parts,
    /// Number of each class of the data among the training classes; `u32::MAX` for one that trains nothing.
    pub(super) classes: Vec<u32>,
    /// The model that the new one's embeddings are compared with, where the loss does that.
    pub(super) old: Option<Old>,
}

impl Setup {
    /// Opens the data, splits it, and checks that network, loss and batches fit it.
    ///
    /// # Errors
    /// Whatever does not fit, before any training.
    pub fn new(recipe: Recipe) -> Result<Self> {
        let dataset = Arc::new(Dataset::open(&recipe.data.source)?);
        let mut parts = recipe.data.parts(&dataset, recipe.seed)?;
        parts.train = recipe
            .data
            .limit
            .apply(parts.train, &dataset.labels, recipe.seed)?;
        let input = match dataset.is_features() {
            Some(_) => Input::Features(feature_input(&dataset, &parts.train)),
            None => Input::Image(recipe.input.clone()),
        };
        check_turned(&recipe.augment, &input)?;
        let feed = Feed::new(dataset, input, recipe.data.damaged.exact())?
            .with_cache(recipe.data.cache_mib);
        let classes = training_classes(&feed.dataset().labels, &parts.train);
        let old = Old::open(&recipe, &feed)?;
        let setup = Self {
            recipe,
            feed,
            parts,
            classes,
            old,
        };
        check_parts(&setup.parts, setup.feed.dataset())?;
        check_noise(&setup.recipe.augment, &setup.recipe.input)?;
        if setup.mine()?.is_none() {
            setup.draw()?;
        }
        check_rates(&setup.recipe.train, Learner::new(&setup)?.parameters())?;
        Ok(setup)
    }

    /// Whether enough of the images are there to train; what is measured alone does without those that train.
    ///
    /// # Errors
    /// More are known not to be there than may be damaged.
    pub fn check_there(&self) -> Result<()> {
        self.feed.expect(&self.parts.train)?;
        self.feed.expect(&self.parts.all())
    }

    /// Classes to train on, as the data has them.
    pub(super) fn training_classes(&self) -> usize {
        let numbers = self.classes.iter().filter(|&&class| class != u32::MAX);
        numbers.count()
    }

    /// A model with starting weights.
    ///
    /// # Errors
    /// The network does not fit the input, or the weights of the recipe not the network.
    pub fn model(&self) -> Result<Model> {
        let (network, head) = (self.recipe.network.clone(), self.recipe.head.clone());
        let (input, seed) = (self.feed.input().clone(), self.recipe.seed);
        let placed = |error| self.recipe.network.placed(error);
        let Some(pretrained) = &self.recipe.pretrained else {
            return Ok(Model::new(network, head, input, seed).map_err(placed)?);
        };
        let model = Model::on(network, head, input, &pretrained.scope(seed)?).map_err(placed)?;
        pretrained.check(model.embedder.parameters())?;
        Ok(model)
    }

    /// What decides the batches, where no weights do.
    pub(super) fn draw(&self) -> Result<Draw> {
        let (sampler, seed) = (&self.recipe.sampler, self.recipe.seed);
        draw(self.feed.dataset(), &self.parts.train, (sampler, seed))
    }

    /// What decides the batches, where weights do.
    pub(super) fn mine(&self) -> Result<Option<Mine>> {
        let Some(every) = self.recipe.sampler.mined_every() else {
            return Ok(None);
        };
        let known = Known::new(self.feed.dataset(), &self.parts.train, &self.recipe.sampler);
        let pool = known.pool(&self.parts.train);
        let batches = every * u64::from(self.recipe.train.accumulate.get());
        Ok(Mine::new(
            &self.recipe.sampler,
            pool,
            batches,
            self.recipe.seed,
        )?)
    }
}

/// What is to be measured must have something to find: better known before training than after it.
pub(crate) fn check_parts(parts: &Parts, dataset: &Dataset) -> Result<()> {
    for (part, items) in [("test", &parts.test), ("validate", &parts.validation)] {
        let is_there = |item: &usize| !dataset.absent.contains_key(item);
        let there: Vec<usize> = items.iter().copied().filter(is_there).collect();
        let Some(&first) = there.first() else {
            if let Some(reason) = items.first().and_then(|first| dataset.absent.get(first)) {
                return Err(crate::Error::NothingThere {
                    part,
                    items: items.len(),
                    first: reason.clone(),
                });
            }
            continue;
        };
        let items = there;
        let classes: HashSet<u32> = items.iter().map(|&item| dataset.labels[item]).collect();
        if classes.len() == items.len() {
            let items = items.len();
            return Err(crate::Error::NothingToFind { part, items });
        }
        // Of one class alone that validates the last weights are kept: folds of few classes come to that.
        if classes.len() == 1 && part == "test" {
            return Err(crate::Error::SingleClass {
                class: dataset.classes[dataset.labels[first] as usize].clone(),
                items: items.len(),
            });
        }
    }
    Ok(())
}

/// What decides the batches of the items that train, where no weights do.
pub(crate) fn draw(
    dataset: &Dataset,
    train: &[usize],
    (sampler, seed): (&Sampler, u64),
) -> Result<Draw> {
    let known = Known::new(dataset, train, sampler);
    Ok(Draw::new(sampler, known.pool(train), seed)?)
}

/// What is known of the items that train.
struct Known {
    labels: Vec<u32>,
    cameras: Option<Vec<u32>>,
    super_classes: Option<Vec<u32>>,
}

impl Known {
    fn new(data: &Dataset, train: &[usize], sampler: &Sampler) -> Self {
        let labels = train.iter().map(|&item| data.labels[item]).collect();
        let supers = match sampler {
            Sampler::Hierarchical(_) => super_classes(&data.classes),
            _ => None,
        };
        let of_items = |of: Vec<u32>| {
            train
                .iter()
                .map(|&item| of[data.labels[item] as usize])
                .collect()
        };
        let cameras = data.cameras.as_ref();
        let cameras = cameras.map(|of| train.iter().map(|&item| of[item]).collect());
        Self {
            labels,
            cameras,
            super_classes: supers.map(of_items),
        }
    }

    fn pool<'a>(&'a self, train: &'a [usize]) -> Pool<'a> {
        Pool {
            cameras: self.cameras.as_deref(),
            super_classes: self.super_classes.as_deref(),
            ..Pool::new(train, &self.labels)
        }
    }
}

/// The number of each class's super-class, which stands before the first slash of its name; none where no name has a slash.
fn super_classes(classes: &[String]) -> Option<Vec<u32>> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let of = classes.iter().map(|class| {
        let top = class.split('/').next().unwrap_or(class);
        let next = numbers.len() as u32;
        *numbers.entry(top).or_insert(next)
    });
    let of = of.collect();
    classes
        .iter()
        .any(|class| class.contains('/'))
        .then_some(of)
}

/// A factor that matches no parameter is a misspelled name.
///
/// # Errors
/// Names the factor and the parameters there are.
pub fn check_rates(train: &Train, parameters: &Parameters) -> Result<()> {
    for prefix in train.rates.keys() {
        if parameters.iter().any(|p| begins(&p.name, prefix)) {
            continue;
        }
        let (expected, found) = if let Some(whole) = parameters.around(prefix) {
            (format!("\"{}\"", whole.name), whole.not_by(prefix))
        } else {
            let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let names = names.join(", ");
            let expected = format!("the start of a parameter's name ({names})");
            (expected, format!("\"{prefix}\""))
        };
        return Err(nearkin_encoder::Error::Setting {
            key: "train.rates".into(),
            expected,
            found,
        }
        .into());
    }
    Ok(())
}

/// Noise on the places that faces are aligned to does nothing where no face is aligned.
pub(crate) fn check_noise(augment: &Augment, input: &ImageInput) -> Result<()> {
    let noise = augment.landmark_noise;
    if noise > 0.0 && input.align.is_none() {
        return Err(nearkin_encoder::Error::Setting {
            key: "augment.landmark_noise".into(),
            expected: "input.align beside it: it moves the places that faces are aligned to".into(),
            found: format!("{noise} without"),
        }
        .into());
    }
    Ok(())
}

/// Only whole images can be turned: not features, and not faces, which alignment would turn back. What is turned at random
/// too is the same for all four classes.
pub(crate) fn check_turned(augment: &Augment, input: &Input) -> Result<()> {
    let found = match input {
        Input::Features(_) => "features",
        Input::Image(image) if image.align.is_some() => "aligned faces (input.align)",
        Input::Image(_) if augment.rotate => "images that are turned at random (augment.rotate)",
        Input::Image(_) => return Ok(()),
    };
    if !augment.turned_classes {
        return Ok(());
    }
    Err(nearkin_encoder::Error::Setting {
        key: "augment.turned_classes".into(),
        expected: "images that turning makes others".into(),
        found: found.into(),
    }
    .into())
}

/// Number of each class of the data among those of the items that train.
fn training_classes(labels: &[u32], train: &[usize]) -> Vec<u32> {
    let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut classes = vec![u32::MAX; count];
    for &item in train {
        classes[labels[item] as usize] = 0;
    }
    let present = classes.iter_mut().filter(|class| **class == 0);
    for (number, class) in present.enumerate() {
        *class = number as u32;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Document;
    use crate::train::train;
    use crate::{Control, Outcome};
    use std::sync::atomic::AtomicBool;

    fn recipe(data: &str, network: &str) -> String {
        format!(
            "[data.source.bundled]\nname = \"{data}\"\n[input]\nheight = 8\nwidth = 8\ncolor = \"gray\"\n\
             [augment]\nturned_classes = true\n{network}\n[head]\ndim = 6\n[loss.normalized_softmax]\n\
             [train]\nsteps = 3\nevaluate_every = 3\n"
        )
    }

    fn setup(data: &str, network: &str) -> Result<Setup> {
        let document = Document::parse("turned.toml", &recipe(data, network)).unwrap();
        Setup::new(document.recipe().unwrap())
    }

    #[test]
    fn turned_classes_have_proxies_of_their_own() {
        let setup = setup("glyphs", "[network.convnet]\nwidths = [4]").unwrap();
        let losses = Learner::new(&setup).unwrap();
        let proxies = losses.parameters().iter();
        let rows: Vec<usize> = proxies
            .filter(|p| p.name.starts_with("loss"))
            .map(|p| p.var.dims()[0])
            .collect();
        assert_eq!(rows, [setup.training_classes() * 4]);
        let folder = tempfile::tempdir().unwrap();
        let control = Control {
            observer: &mut |_| {},
            stop: &AtomicBool::new(false),
        };
        // A label beyond the proxies would be refused.
        let outcome = train(&setup, folder.path(), control).unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)));
    }

    #[test]
    fn where_all_train_the_last_weights_are_kept_and_nothing_is_measured() {
        for split in [
            "data.split=\"all_train\"",
            "data.split.class_disjoint.test=0.0",
        ] {
            let text = recipe("glyphs", "[network.convnet]\nwidths = [4]");
            let mut document = Document::parse("all.toml", &text).unwrap();
            document.set(split).unwrap();
            let setup = Setup::new(document.recipe().unwrap()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let control = Control {
                observer: &mut |_| {},
                stop: &AtomicBool::new(false),
            };
            let Outcome::Finished(report) = train(&setup, folder.path(), control).unwrap() else {
                unreachable!()
            };
            assert!(report.rows.is_empty() && report.part == "none");
            assert_eq!((report.selected, report.step), ("last", 3));
            nearkin_encoder::Model::load(&report.model).unwrap();
            assert!(
                crate::train::checkpoint::newest(folder.path())
                    .unwrap()
                    .is_some()
            );
            let card = fs_err::read_to_string(report.model.join("README.md")).unwrap();
            assert!(card.contains("Nothing was measured"), "{card}");
            let options = crate::report::ReportOptions::default();
            let page = crate::report::Report::of_run(folder.path(), &options, &mut |_| {});
            assert!(page.unwrap().notes[0].contains("every item trained"));
        }
    }

    #[test]
    fn features_and_what_is_turned_at_random_cannot_be_turned() {
        let text = recipe("glyphs", "[network.convnet]\nwidths = [4]");
        let mut document = Document::parse("turned.toml", &text).unwrap();
        document.set("augment.rotate=true").unwrap();
        let error = Setup::new(document.recipe().unwrap()).err().unwrap();
        assert!(error.to_string().contains("augment.rotate"), "{error}");

        let error = setup("digits", "[network.mlp]").err().unwrap();
        assert_eq!(
            error.recipe_key().as_deref(),
            Some("augment.turned_classes")
        );
    }
}
