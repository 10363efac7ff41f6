//! Losses over aligned views against their references, and what they say when something is missing.

use crate::{assert_all_close, assert_close, distances, losses};
use nearkin_losses::loss::{Form, Loss, Needs, Shape, ViewLoss, Views};
use nearkin_losses::{
    Aligned, Batch, ChaCha8Rng, Criterion, Error, Mat, Objective, Outcome, SeedableRng, Targets,
};
use rand::RngExt;

const CLASSES: usize = 3;

/// Aligned views with everything that a loss could ask for.
#[derive(Clone)]
pub struct Sample {
    pub views: usize,
    pub cols: usize,
    pub embeddings: Vec<f32>,
    pub labels: Vec<u32>,
    pub scores: Vec<f32>,
    pub teacher: Vec<f32>,
}

impl Sample {
    pub fn random(seed: u64, [views, n, cols]: [usize; 3], needs: Needs) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |len: usize| -> Vec<f32> {
            let numbers = (0..len).map(|_| rng.random::<f32>() * 1.2 - 0.6);
            numbers.collect()
        };
        Self {
            views,
            cols,
            embeddings: draw(views * n * cols),
            labels: (0..n as u32).map(|i| i * i % CLASSES as u32).collect(),
            // On both sides of ½, with ties.
            scores: draw(n * needs.scores)
                .iter()
                .map(|x| (x * 10.0).round() / 10.0 + 0.5)
                .collect(),
            teacher: draw(views * n * cols),
        }
    }

    pub fn with_embeddings(&self, embeddings: Vec<f32>) -> Self {
        Self {
            embeddings,
            ..self.clone()
        }
    }

    pub fn aligned(&self, needs: Needs) -> Aligned<'_> {
        let rows = self.embeddings.len() / self.cols;
        Aligned {
            views: self.views,
            labels: needs.classes.then_some(&self.labels),
            scores: (needs.scores > 0).then_some(&self.scores),
            teacher: needs
                .teacher
                .then(|| Mat::new(&self.teacher, rows, self.cols)),
        }
    }

    pub fn run(&self, criterion: &mut Criterion, aligned: Aligned<'_>) -> Result<Outcome, Error> {
        let rows = self.embeddings.len() / self.cols;
        let batch = Batch {
            embeddings: Mat::new(&self.embeddings, rows, self.cols),
            targets: Targets::Aligned(aligned),
        };
        criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))
    }
}

pub fn criterion(objective: &Objective, cols: usize) -> Criterion {
    let shape = Shape {
        dim: cols,
        classes: CLASSES,
    };
    Criterion::new(objective.clone(), shape, 3).unwrap()
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn view_loss(loss: &Loss) -> Option<&dyn ViewLoss> {
    match loss.form() {
        Form::Views(loss) => Some(loss),
        _ => None,
    }
}

/// The value by the definition for numbers of which the first are the embeddings, the rest the parameters.
fn reference(objective: &Objective, sample: &Sample, numbers: &[f64], parameters: &[usize]) -> f64 {
    frozen_reference(objective, sample, [numbers, numbers], parameters)
}

/// The same with what has no slope held as it is for the second numbers.
fn frozen_reference(
    objective: &Objective,
    sample: &Sample,
    [numbers, held]: [&[f64]; 2],
    parameters: &[usize],
) -> f64 {
    let loss = view_loss(&objective.loss).unwrap();
    let (scores, teacher) = (to_f64(&sample.scores), to_f64(&sample.teacher));
    let distance = objective.distance();
    let needs = loss.needs(sample.views);
    let views = |numbers| {
        let (embeddings, mut rest): (&[f64], &[f64]) =
            <[f64]>::split_at(numbers, sample.embeddings.len());
        let part = embeddings.len() / sample.views;
        let mut values = Vec::new();
        for &len in parameters {
            let (first, others) = rest.split_at(len);
            values.push(first);
            rest = others;
        }
        Views {
            embeddings: embeddings.chunks_exact(part).collect(),
            cols: sample.cols,
            labels: needs.classes.then_some(&*sample.labels),
            scores: (needs.scores > 0).then_some(&*scores),
            teacher: teacher.chunks_exact(part).collect(),
            teacher_cols: sample.cols,
            parameters: values,
            distance: distance
                .as_ref()
                .map(nearkin_losses::distance::Distance::get),
        }
    };
    loss.frozen_reference(&views(numbers), &views(held))
}

/// Options that the list of the variants leaves out.
const OPTIONS: [&str; 10] = [
    "multiple_negatives_ranking]\nsymmetric = true\njoint = true",
    "multiple_negatives_ranking]\ncontrast_anchors = true\nmask_classes = true",
    "multiple_negatives_ranking]\ncontrast_positives = true\nsymmetric = true\nmask_classes = true",
    "multiple_negatives_ranking]\ncontrast_anchors = true\ncontrast_positives = true\n\
     symmetric = true\njoint = true\nmargin_strategy = 'absolute'\nmargin = 0.07",
    "multiple_negatives_ranking]\nhardness = 'in_batch_negatives'\nhardness_strength = 2",
    "multiple_negatives_ranking]\nhardness = 'hard_negatives'\nhardness_strength = 3\n\
     contrast_anchors = true\nmargin_strategy = 'relative'\nmargin = -0.3",
    "multiple_negatives_ranking]\nhardness = 'all_negatives'\nhardness_strength = 2\n\
     symmetric = true\nmask_classes = true",
    "multiple_negatives_ranking]\nmargin_strategy = 'relative'\nmargin = 0.2\nsymmetric = true",
    "gist]\ntemperature = 0.2\nmargin_strategy = 'relative'\nmargin = -0.4",
    "gist]\ntemperature = 0.2\nmargin_strategy = 'none'",
];

fn parse(recipe: &str) -> Objective {
    toml::from_str(&format!("[loss.{recipe}")).unwrap()
}

/// Every view loss with every distance that goes with it.
fn objectives() -> impl Iterator<Item = Objective> {
    let options = OPTIONS.map(|recipe| parse(recipe).loss);
    losses()
        .into_iter()
        .chain(options)
        .filter(|loss| view_loss(loss).is_some())
        .flat_map(|loss| {
            let own = Objective::from(loss);
            let others = distances().into_iter();
            let others: Vec<_> = others.map(|d| own.clone().with_distance(d)).collect();
            std::iter::once(own)
                .chain(others)
                .filter(|objective| objective.check().is_ok())
        })
}

/// Each number of views that a loss takes, up to four, with what it then needs.
fn view_counts(objective: &Objective) -> Vec<(usize, Needs)> {
    let loss = view_loss(&objective.loss).unwrap();
    let (fewest, most) = loss.views();
    (fewest..=most.min(4))
        .map(|views| (views, loss.needs(views)))
        .collect()
}

#[test]
fn values_and_gradients_of_view_losses_are_those_of_the_references() {
    for objective in objectives() {
        for (views, needs) in view_counts(&objective) {
            for (seed, cols) in [(1, 4), (2, 3), (3, 4)] {
                agrees(
                    &objective,
                    &Sample::random(seed, [views, 7, cols], needs),
                    needs,
                );
            }
        }
    }
}

fn agrees(objective: &Objective, sample: &Sample, needs: Needs) {
    let mut criterion = criterion(objective, sample.cols);
    let outcome = sample
        .run(&mut criterion, sample.aligned(needs))
        .unwrap_or_else(|error| panic!("{error}: {objective:#?}"));
    let parameters = criterion.parameters();
    let sizes: Vec<_> = parameters.iter().map(|p| p.values.len()).collect();
    let mut numbers = to_f64(&sample.embeddings);
    numbers.extend(parameters.iter().flat_map(|p| to_f64(&p.values)));
    let expected = reference(objective, sample, &numbers, &sizes);
    assert_close(f64::from(outcome.value), expected, 1e-5, objective);
    let h = 1e-6;
    let held = numbers.clone();
    let mut moved = |k: usize, step: f64| {
        let before = numbers[k];
        numbers[k] += step;
        let value = frozen_reference(objective, sample, [&numbers, &held], &sizes);
        numbers[k] = before;
        value
    };
    let count = sample.embeddings.len() + sizes.iter().sum::<usize>();
    let slopes: Vec<_> = (0..count)
        .map(|k| (moved(k, h) - moved(k, -h)) / (2.0 * h))
        .collect();
    let gradient = [outcome.gradient, outcome.parameters.concat()].concat();
    assert_all_close(&gradient, &slopes, 2e-5, objective);
    assert!((0.0..=1.0).contains(&outcome.active), "{objective:#?}");
    assert!(outcome.tuples > 0, "{objective:#?}");
}

#[test]
fn degenerate_views_give_finite_numbers() {
    for objective in objectives() {
        for (views, needs) in view_counts(&objective) {
            let sample = Sample::random(4, [views, 5, 3], needs);
            let rows = sample.embeddings.len();
            let far = sample.embeddings.iter().map(|e| e * 1e4).collect();
            let mut one_zero = sample.embeddings.clone();
            one_zero[3..6].fill(0.0);
            let same = sample.embeddings[..15].repeat(views);
            let mut one_kind = sample.clone();
            one_kind.scores.fill(1.0);
            let mut other_kind = sample.clone();
            other_kind.scores.fill(0.0);
            for (name, sample) in [
                ("one item", Sample::random(5, [views, 1, 3], needs)),
                ("two items", Sample::random(6, [views, 2, 3], needs)),
                ("one dimension", Sample::random(6, [views, 4, 1], needs)),
                ("zeros", sample.with_embeddings(vec![0.0; rows])),
                ("equal", sample.with_embeddings(vec![0.5; rows])),
                ("far apart", sample.with_embeddings(far)),
                ("one zero vector", sample.with_embeddings(one_zero)),
                ("equal views", sample.with_embeddings(same)),
                ("equal scores", one_kind),
                ("scores of zero", other_kind),
            ] {
                // An outcome holds finite numbers, or it would be an error.
                let outcome = sample.run(
                    &mut criterion(&objective, sample.cols),
                    sample.aligned(needs),
                );
                let outcome =
                    outcome.unwrap_or_else(|error| panic!("{name}: {error}: {objective:#?}"));
                assert!(outcome.value >= -1e-6, "{name}: {objective:#?}");
            }
        }
    }
}

#[test]
fn bits_of_view_losses_do_not_depend_on_the_number_of_threads() {
    for objective in objectives() {
        for (views, needs) in view_counts(&objective) {
            let sample = Sample::random(7, [views, 130, 24], needs);
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let mut criterion = criterion(&objective, 24);
                let run = || sample.run(&mut criterion, sample.aligned(needs)).unwrap();
                pool.build().unwrap().install(run)
            };
            assert!(on(1) == on(3), "{objective:#?}");
        }
    }
}

#[test]
fn what_a_view_loss_lacks_is_named() {
    for objective in objectives().filter(|objective| objective.distance.is_none()) {
        let loss = objective.loss.name();
        for (views, needs) in view_counts(&objective) {
            let sample = Sample::random(8, [views, 4, 3], needs);
            let whole = sample.aligned(needs);
            let refused = |aligned: Aligned<'_>| {
                let mut criterion = criterion(&objective, 3);
                sample.run(&mut criterion, aligned).unwrap_err()
            };
            let none = Aligned {
                views,
                ..Aligned::pairs()
            };
            if needs.scores > 0 {
                let expected = needs.scores;
                let found = 0;
                let error = Error::Scores {
                    loss,
                    expected,
                    found,
                };
                assert_eq!(refused(none), error);
                let mut scores = sample.scores.clone();
                scores[0] = f32::INFINITY;
                let infinite = Aligned {
                    scores: Some(&scores),
                    ..whole
                };
                let value = f32::INFINITY;
                assert_eq!(refused(infinite), Error::Score { item: 0, value });
            }
            if needs.classes {
                let labels = None;
                assert_eq!(
                    refused(Aligned { labels, ..whole }),
                    Error::NoClasses { loss }
                );
            }
            if needs.teacher {
                let teacher = None;
                assert_eq!(
                    refused(Aligned { teacher, ..whole }),
                    Error::NoTeacher { loss }
                );
            }
            let mut embeddings = sample.embeddings.clone();
            embeddings[4] = f32::NAN;
            let error = sample
                .with_embeddings(embeddings)
                .run(&mut criterion(&objective, 3), whole);
            assert!(matches!(
                error,
                Err(Error::NonFinite {
                    row: 1,
                    column: 1,
                    ..
                })
            ));
        }
        let labels = criterion(&objective, 1).value_and_grad(
            Batch {
                embeddings: Mat::new(&[1.0, 2.0], 2, 1),
                targets: Targets::Labels(&[0, 0]),
            },
            &mut ChaCha8Rng::seed_from_u64(0),
        );
        assert_eq!(labels, Err(Error::NotAligned { loss }));
    }
}

/// The batch of the golden values: `A`, `P` and `Ng` of four items.
fn golden(views: usize, scores: &[f32]) -> (Sample, Vec<f64>) {
    let (batch, mut exact) = crate::Batch::golden();
    let negatives = (0..16u32).map(|k| (0.9 * f64::from(k / 4) + 0.5 * f64::from(k % 4)).cos());
    exact.extend(negatives);
    exact.truncate(16 * views);
    let guide = |k: u32| {
        let (i, j) = (f64::from(k / 4), f64::from(k % 4));
        (0.4 * i - 1.1 * j + 0.3 * i * j).cos() as f32
    };
    let sample = Sample {
        views,
        cols: batch.cols,
        embeddings: exact.iter().map(|&e| e as f32).collect(),
        labels: vec![0, 0, 1, 1],
        scores: scores.to_vec(),
        teacher: (0..exact.len() as u32).map(guide).collect(),
    };
    (sample, exact)
}

#[test]
fn view_losses_have_the_golden_values() {
    let (scores, binary) = ([0.1, 0.9, 0.5, 0.3], [0.0, 1.0, 1.0, 0.0]);
    let both: Vec<f32> = scores.iter().flat_map(|&s| [s, 1.0 - s]).collect();
    for (recipe, views, scores, expected) in [
        ("multiple_negatives_ranking]", 2, &[][..], 0.009_480_751_1),
        ("multiple_negatives_ranking]", 3, &[], 0.844_253_965_6),
        (
            "multiple_negatives_ranking]\nsymmetric = true",
            2,
            &[],
            0.008_197_738_1,
        ),
        ("online_contrastive]", 2, &binary, 0.0),
        ("cosent]", 2, &scores, 1.510_763_521_8),
        ("angle]", 2, &scores, 2.603_196_804_7),
        ("cosine_regression]", 2, &scores, 0.169_037_189_4),
        ("triplet_euclidean]\nmargin = 5", 3, &[], 4.854_974_138_3),
        ("margin_mse]", 3, &scores, 0.255_107_839_8),
        ("vicreg]", 2, &[], 11.370_634_648_5),
        ("global_orthogonal]", 2, &[], 0.161_666_739_1),
        ("distill_kl_div]", 3, &both, 0.047_821_415_3),
        ("contrastive_tension]", 2, &binary, 3.633_107_511_9),
        ("contrastive_tension_in_batch]", 2, &[], 0.008_197_738_1),
        ("barlow_twins]", 2, &[], 0.669_941_241_6),
        ("barlow_twins]\nlambda = 0.5", 2, &[], 3.308_507_151_5),
    ] {
        assert_golden(recipe, views, scores, expected);
    }
}

/// Those of tests/golden/views.py.
#[test]
fn softmaxes_over_candidates_have_the_golden_values() {
    let every =
        "contrast_anchors = true\ncontrast_positives = true\nsymmetric = true\njoint = true";
    for (options, views, expected) in [
        (every, 3, 1.535_835_166_5),
        (every, 2, 0.701_418_058_9),
        ("symmetric = true\njoint = true", 2, 0.701_409_765_2),
        ("symmetric = true", 3, 0.425_584_345_3),
        ("contrast_anchors = true", 3, 0.844_257_474_0),
        ("contrast_positives = true", 3, 1.204_736_889_0),
        (
            "scale = 1\nmargin_strategy = 'absolute'",
            3,
            1.326_042_758_5,
        ),
        (
            "scale = 1\nmargin_strategy = 'absolute'\nmargin = 0.3",
            3,
            1.044_878_845_2,
        ),
        (
            "scale = 1\nmargin_strategy = 'relative'\nmargin = 0.5",
            3,
            0.983_693_993_1,
        ),
        ("scale = 1\nmask_classes = true", 2, 0.579_184_543_5),
        (
            "hardness_strength = 9\nhardness = 'in_batch_negatives'",
            3,
            4.216_951_624_1,
        ),
        (
            "hardness_strength = 9\nhardness = 'hard_negatives'",
            3,
            5.138_428_793_1,
        ),
        (
            "hardness_strength = 9\nhardness = 'all_negatives'",
            3,
            6.402_973_210_3,
        ),
    ] {
        let recipe = format!("multiple_negatives_ranking]\n{options}");
        assert_golden(&recipe, views, &[], expected);
    }
    for (options, views, expected) in [
        ("", 2, 0.523_252_074_7),
        ("", 3, 0.873_392_998_2),
        ("margin = -0.3", 3, 0.919_954_509_8),
        (
            "margin = 0.3\nmargin_strategy = 'relative'",
            3,
            0.715_573_058_5,
        ),
        (
            "contrast_anchors = false\ncontrast_positives = false",
            3,
            0.812_477_110_4,
        ),
    ] {
        let recipe = format!("gist]\ntemperature = 0.5\n{options}");
        assert_golden(&recipe, views, &[], expected);
    }
}

fn assert_golden(recipe: &str, views: usize, scores: &[f32], expected: f64) {
    let objective = parse(recipe);
    let (sample, mut exact) = golden(views, scores);
    let needs = view_loss(&objective.loss).unwrap().needs(views);
    let mut criterion = criterion(&objective, 4);
    let outcome = sample.run(&mut criterion, sample.aligned(needs)).unwrap();
    // A learned scale starts at its logarithm in either precision.
    let parameters = criterion.parameters().iter().map(|p| p.values.len());
    let sizes: Vec<_> = parameters.collect();
    exact.extend(sizes.iter().map(|_| 20_f64.ln()));
    let value = reference(&objective, &sample, &exact, &sizes);
    assert_close(value, expected, 1e-6, &recipe);
    assert_close(f64::from(outcome.value), expected, 1e-5, &recipe);
}
