//! Regularizers against their references and the values of other systems.

use crate::exactness::agrees_everywhere;
use crate::goldens::assert_golden;
use crate::{Batch, assert_all_close, assert_close, golden_proxies, has_proxies, variants};
use nearkin_losses::loss::{Loss, Shape, SoftTriple, Softmax};
use nearkin_losses::range::NonNegative;
use nearkin_losses::regularizer::{On, Regularization, Regularizer};
use nearkin_losses::{
    self as losses_crate, Aligned, ChaCha8Rng, Criterion, Error, Objective, Outcome, SeedableRng,
    Targets,
};

fn regularizers() -> Vec<Regularizer> {
    let recipes = [
        "[lp]\np = 1",
        "[lp]\np = 3.5\npower = 2",
        "[embedding_norm]\nradius = 0.7",
        "[sparse_centers]\ncenters = 1",
        "[sparse_centers]\ncenters = 2",
        "[sparse_centers]\ncenters = 3",
    ];
    let mut all = variants(Regularizer::defaults());
    all.extend(recipes.map(|recipe| toml::from_str(recipe).unwrap()));
    all
}

#[test]
fn regularizers_have_the_golden_values() {
    for (source, recipe, per_class, expected) in [
        ("CenterInvariant", "[center_invariant]", 1, 0.099_442_251_39),
        ("Lp", "[lp]", 1, 1.417_536_996_8),
        ("Lp(p = 1)", "[lp]\np = 1", 1, 2.601_197_615_1),
        ("Lp(power = 2)", "[lp]\npower = 2", 1, 2.065_661_725_5),
        ("Lp(power = 2)", "[embedding_norm]", 1, 2.065_661_725_5),
        ("RegularFace", "[regular_face]", 1, 0.635_620_396_3),
        ("ZeroMean", "[zero_mean]", 1, 2.205_409_059_5),
        (
            "SparseCenters(2)",
            "[sparse_centers]\ncenters = 2",
            2,
            0.096_850_065_5,
        ),
    ] {
        let regularizer: Regularizer = toml::from_str(recipe).unwrap();
        let exact = golden_proxies([4, per_class]);
        let rows: Vec<f32> = exact.iter().map(|&w| w as f32).collect();
        assert_close(
            regularizer.get().reference(&exact, 4),
            expected,
            1e-6,
            &source,
        );
        let (value, _) = regularizer.get().value_and_grad(&rows, 4);
        assert_close(value, expected, 1e-5, &source);
    }
}

#[test]
fn values_and_gradients_are_those_of_the_references() {
    for labels in [12, 300] {
        let batch = Batch::random(5, 3, &vec![0; labels]);
        let exact = batch.exact();
        for regularizer in regularizers() {
            let (value, gradient) = regularizer.get().value_and_grad(&batch.embeddings, 3);
            let expected = regularizer.get().reference(&exact, 3);
            assert_close(value, expected, 1e-5, &regularizer);
            if labels > 12 {
                continue;
            }
            let moved = |k: usize, step: f64| {
                let mut moved = exact.clone();
                moved[k] += step;
                regularizer.get().reference(&moved, 3)
            };
            let slope = |k: usize| (moved(k, 1e-6) - moved(k, -1e-6)) / 2e-6;
            let slopes: Vec<f64> = (0..exact.len()).map(slope).collect();
            assert_all_close(&gradient, &slopes, 2e-5, &regularizer);
        }
    }
}

#[test]
fn degenerate_rows_give_finite_numbers() {
    let mut one_zero = Batch::random(6, 3, &[0; 6]).embeddings;
    one_zero[3..6].fill(0.0);
    for rows in [
        vec![],
        vec![0.0; 18],
        vec![0.5; 18],
        one_zero,
        vec![1.0, 2.0, -3.0],
    ] {
        for regularizer in regularizers() {
            let (value, gradient) = regularizer.get().value_and_grad(&rows, 3);
            assert!(value.is_finite(), "{regularizer:?}");
            assert_eq!(gradient.len(), rows.len());
            assert!(gradient.iter().all(|g| g.is_finite()), "{regularizer:?}");
        }
    }
}

#[test]
fn regularized_losses_have_the_golden_values() {
    let on = |on: &str, weight: f64, penalty: &str| {
        format!("[[regularizers]]\non = '{on}'\nweight = {weight}\npenalty.{penalty} = {{}}")
    };
    let triplet = "[loss.triplet_margin]\nmargin = 0.05\n[distance.l2]\n[miner.all]";
    for (source, recipe, rest, expected) in [
        (
            "PML SoftTriple(2 centers) with its regularizer",
            "[loss.soft_triple]\ncenters = 2",
            "[[regularizers]]\non = 'proxies'\nweight = 0.2\npenalty.sparse_centers = { centers = 2 }",
            9.460_264_713_5,
        ),
        (
            "PML TripletMargin(.05) with Lp",
            triplet,
            &on("embeddings", 0.1, "lp"),
            0.595_539_646_0,
        ),
        (
            "PML TripletMargin(.05) with ZeroMean",
            triplet,
            &on("embeddings", 0.1, "zero_mean"),
            0.576_891_093_5,
        ),
        (
            "PML ArcFace with RegularFace",
            "[loss.arcface]",
            &on("proxies", 0.5, "regular_face"),
            50.175_768_561_4,
        ),
        (
            "PML ArcFace with CenterInvariant",
            "[loss.arcface]",
            &on("proxies", 0.5, "center_invariant"),
            49.907_679_489_0,
        ),
    ] {
        assert_golden(source, &format!("{recipe}\n{rest}"), expected);
    }
}

fn weighted(on: On, weight: f64, penalty: Regularizer) -> Regularization {
    Regularization {
        weight: NonNegative::literal(weight),
        on,
        penalty,
    }
}

/// Losses with one proxy for each class, with several, and without.
fn hosts() -> Vec<Loss> {
    let recipes = [
        "[triplet_margin]",
        "[multi_similarity]",
        "[n_pair]",
        "[histogram]\nbins = 10",
        "[proxy_anchor]",
        "[softmax]",
        "[soft_triple]\ncenters = 2",
        "[soft_triple]\ncenters = 3",
    ];
    recipes.map(|recipe| toml::from_str(recipe).unwrap()).into()
}

#[test]
fn objectives_with_regularizers_have_the_values_and_gradients_of_their_references() {
    let batch = Batch::uneven(1);
    let mut compared = 0;
    for loss in hosts() {
        for penalty in regularizers() {
            for on in [On::Embeddings, On::Proxies] {
                let objective = Objective::from(loss.clone())
                    .with_regularizer(weighted(on, 0.3, penalty.clone()))
                    .with_regularizer(weighted(
                        On::Embeddings,
                        0.5,
                        toml::from_str("[lp]").unwrap(),
                    ));
                if objective.check().is_ok() {
                    assert!(agrees_everywhere(&batch, &objective));
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 100, "only {compared} objectives fit together");
}

fn run(objective: &Objective, targets: Targets<'_>, batch: &Batch) -> (Criterion, Outcome) {
    let shape = Shape { dim: 3, classes: 8 };
    let mut criterion = Criterion::new(objective.clone(), shape, 11).unwrap();
    let embeddings = batch.mat();
    let batch = losses_crate::Batch {
        embeddings,
        targets,
    };
    let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(7));
    (criterion, outcome.unwrap())
}

/// Checks that an objective with a regularizer inside is the one without, plus what the regularizer gives by hand.
fn assert_adds(recipe: &str, [table, rest]: [&str; 2], (dim, weight): (usize, f64), views: bool) {
    let batch = Batch::uneven(1);
    let targets = if views {
        Targets::Aligned(Aligned {
            views: 2,
            labels: None,
            scores: None,
            teacher: None,
        })
    } else {
        Targets::Labels(&batch.labels)
    };
    let regularizer = format!("[[{table}regularizers]]\n{rest}");
    let with: Objective = toml::from_str(&format!("{recipe}\n{regularizer}")).unwrap();
    let without: Objective = toml::from_str(recipe).unwrap();
    let [(criterion, with), (_, without)] =
        [with, without].map(|objective| run(&objective, targets, &batch));
    let parsed: Regularization = toml::from_str(rest).unwrap();
    let on_proxies = parsed.on == On::Proxies;
    let rows: Vec<f32> = if on_proxies {
        criterion.parameters()[0].values.clone()
    } else {
        batch
            .embeddings
            .chunks(3)
            .flat_map(|row| row[..dim].to_vec())
            .collect()
    };
    let (value, gradient) = parsed.penalty.get().value_and_grad(&rows, dim);
    let sum = f64::from(without.value) + weight * value;
    assert_close(f64::from(with.value), sum, 1e-6, &recipe);
    let [mut expected, of_proxies] = [&without.gradient, &without.parameters.concat()]
        .map(|gradient| gradient.iter().map(|&g| f64::from(g)).collect::<Vec<_>>());
    let mut expected_proxies = of_proxies;
    if on_proxies {
        let first = expected_proxies.iter_mut().zip(&gradient);
        first.for_each(|(sum, &g)| *sum += weight * f64::from(g));
    } else {
        for (row, gradient) in expected.chunks_mut(3).zip(gradient.chunks(dim)) {
            let leading = row.iter_mut().zip(gradient);
            leading.for_each(|(sum, &g)| *sum += weight * f64::from(g));
        }
    }
    assert_all_close(&with.gradient, &expected, 1e-6, &recipe);
    assert_all_close(&with.parameters.concat(), &expected_proxies, 1e-6, &recipe);
}

#[test]
fn regularizers_add_to_wrapped_losses_and_to_losses_of_views() {
    let rest = "weight = 0.4\npenalty.embedding_norm = { radius = 0.5 }";
    assert_adds("[loss.vicreg]", ["", rest], (3, 0.4), true);
    let matryoshka = "[loss.matryoshka]\ndims = [2]\n[loss.matryoshka.of.loss.triplet_margin]";
    assert_adds(matryoshka, ["", rest], (3, 0.4), false);
    assert_adds(matryoshka, ["loss.matryoshka.of.", rest], (2, 0.4), false);
    let memory =
        "[loss.cross_batch_memory]\nsize = 16\n[loss.cross_batch_memory.of.loss.contrastive]";
    assert_adds(
        memory,
        ["loss.cross_batch_memory.of.", rest],
        (3, 0.4),
        false,
    );
    let sum = "[[loss.weighted_sum.terms]]\nweight = 0.5\n[loss.weighted_sum.terms.objective.loss.softmax]";
    let on_proxies = "on = 'proxies'\nweight = 0.4\npenalty.regular_face = {}";
    let inner = "loss.weighted_sum.terms.objective.";
    assert_adds(sum, [inner, on_proxies], (3, 0.2), false);
}

#[test]
fn an_empty_batch_still_has_proxies() {
    for penalty in regularizers() {
        let objective =
            Objective::from(toml::from_str::<Loss>("[soft_triple]\ncenters = 2").unwrap())
                .with_regularizer(weighted(On::Embeddings, 1.0, penalty.clone()))
                .with_regularizer(weighted(On::Proxies, 0.5, penalty.clone()));
        if objective.check().is_err() {
            continue;
        }
        let shape = Shape { dim: 3, classes: 4 };
        let mut criterion = Criterion::new(objective, shape, 11).unwrap();
        let expected = penalty
            .get()
            .value_and_grad(&criterion.parameters()[0].values, 3)
            .0;
        for cols in [0, 3] {
            let batch = losses_crate::Batch {
                embeddings: losses_crate::Mat::new(&[], 0, cols),
                targets: Targets::Labels(&[]),
            };
            let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(7));
            assert_close(
                f64::from(outcome.unwrap().value),
                0.5 * expected,
                1e-6,
                &penalty,
            );
        }
    }
}

#[test]
fn a_regularizer_without_anything_to_act_on_is_refused() {
    let face = weighted(On::Proxies, 1.0, toml::from_str("[regular_face]").unwrap());
    for loss in crate::losses()
        .into_iter()
        .filter(|loss| !has_proxies(loss))
    {
        let name = loss.name();
        let objective = Objective::from(loss).with_regularizer(face.clone());
        let expected = Error::NoProxies {
            loss: name,
            regularizer: "regular_face",
            place: 0,
        };
        assert_eq!(objective.check(), Err(expected));
    }
    assert!(
        Objective::from(Softmax::default())
            .with_regularizer(face)
            .check()
            .is_ok()
    );
    let three = "[sparse_centers]\ncenters = 3";
    let centers = weighted(On::Proxies, 1.0, toml::from_str(three).unwrap());
    let objective = Objective::from(SoftTriple::default()).with_regularizer(centers);
    let expected = Error::Centers {
        loss: "soft_triple",
        regularizer: "sparse_centers",
        place: 0,
        expected: 10,
        found: 3,
    };
    assert_eq!(objective.check(), Err(expected));
}
