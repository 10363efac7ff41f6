//! What must not matter does not matter, and degenerate batches stay finite.

use crate::{
    Batch, assert_all_close, assert_close, has_proxies, is_random, main_objectives, objectives,
};
use nearkin_losses::loss::{Columns, Contrastive};
use nearkin_losses::{Objective, Outcome};

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn assert_same(actual: &Outcome, expected: &Outcome, objective: &Objective) {
    assert_close(
        f64::from(actual.value),
        f64::from(expected.value),
        1e-5,
        objective,
    );
    assert_all_close(
        &actual.gradient,
        &to_f64(&expected.gradient),
        1e-4,
        objective,
    );
    assert_eq!(
        (actual.tuples, actual.active),
        (expected.tuples, expected.active),
        "{objective:#?}"
    );
}

#[test]
fn the_order_of_the_batch_does_not_matter() {
    let batch = Batch::uneven(5);
    // Items of one class keep their order, which tells the queries of the N-pair loss from its keys.
    let mut order: Vec<_> = (0..batch.labels.len()).collect();
    order.sort_by_key(|&i| (batch.labels[i] * 5 % 8, i));
    assert!(!order.is_sorted());
    let rows = |values: &[f32]| {
        order
            .iter()
            .flat_map(|&i| values[i * 3..][..3].to_vec())
            .collect::<Vec<_>>()
    };
    let moved = Batch {
        embeddings: rows(&batch.embeddings),
        labels: order.iter().map(|&i| batch.labels[i]).collect(),
        ..batch.clone()
    };
    // Which items are old, in which group one is and which negatives are drawn for it is a matter of its place, and the
    // same draws of a miner fall on other items.
    let of_places = |objective: &Objective| {
        ["constellation", "harmonic_triplet"].contains(&objective.loss.name())
            || objective.miner().is_some_and(|miner| is_random(&miner))
    };
    for objective in objectives().filter(|objective| !of_places(objective)) {
        let outcome = batch.evaluate(&objective).unwrap();
        let expected = Outcome {
            gradient: rows(&outcome.gradient),
            ..outcome
        };
        assert_same(&moved.evaluate(&objective).unwrap(), &expected, &objective);
    }
}

#[test]
fn the_names_of_the_classes_do_not_matter() {
    let batch = Batch::uneven(6);
    let renamed = Batch {
        labels: batch
            .labels
            .iter()
            .map(|label| u32::MAX - label * 1001)
            .collect(),
        ..batch.clone()
    };
    // A proxy or a boundary of a class is found by the number of the class.
    let named = |objective: &Objective| {
        let value = serde_json::to_value(objective).unwrap();
        has_proxies(&objective.loss) || value["loss"]["margin"]["per_class"] == true
    };
    for objective in main_objectives().filter(|objective| !named(objective)) {
        assert_eq!(renamed.evaluate(&objective), batch.evaluate(&objective));
    }
}

#[test]
fn classes_can_change_places_with_their_proxies() {
    let batch = Batch::uneven(6);
    let last = batch.classes() - 1;
    let renamed = Batch {
        labels: batch.labels.iter().map(|l| last as u32 - l).collect(),
        ..batch.clone()
    };
    for objective in objectives().filter(|objective| has_proxies(&objective.loss)) {
        let mut criterion = batch.criterion(&objective).unwrap();
        let expected = batch.run(&mut criterion).unwrap();
        if let Columns::ItemsAndProxies { .. } = objective.loss.definition().columns() {
            // Classes that are not one after another share these.
            continue;
        }
        for parameter in criterion.parameters_mut() {
            // Proxies of a class stay in order; a number for each class is a column or a row.
            let of_class = parameter.values.len() / (last + 1);
            let classes: Vec<_> = parameter.values.chunks(of_class).rev().collect();
            parameter.values = classes.concat();
        }
        let outcome = renamed.run(&mut criterion).unwrap();
        assert_same(&outcome, &expected, &objective);
    }
}

#[test]
fn a_rotation_turns_the_gradient_and_keeps_the_value() {
    let batch = Batch::uneven(7);
    let turn = |values: &[f32]| -> Vec<f32> {
        let (sin, cos) = 0.7_f32.sin_cos();
        let rotate = |v: &[f32]| [cos * v[0] - sin * v[2], v[1], sin * v[0] + cos * v[2]];
        values.chunks(3).flat_map(rotate).collect()
    };
    let turned = Batch {
        embeddings: turn(&batch.embeddings),
        ..batch.clone()
    };
    // Sums of powers and means over components depend on the axes.
    let turns =
        |objective: &Objective| !["lp", "snr"].contains(&objective.distance().unwrap().name());
    for objective in objectives().filter(turns) {
        let mut criterion = batch.criterion(&objective).unwrap();
        let outcome = batch.run(&mut criterion).unwrap();
        let expected = Outcome {
            gradient: turn(&outcome.gradient),
            ..outcome
        };
        if has_proxies(&objective.loss) {
            let proxies = &mut criterion.parameters_mut()[0];
            proxies.values = turn(&proxies.values);
        }
        let outcome = turned.run(&mut criterion).unwrap();
        assert_same(&outcome, &expected, &objective);
    }
}

#[test]
fn normalized_distances_do_not_see_the_scale() {
    let batch = Batch::uneven(8);
    let larger = Batch {
        embeddings: batch.embeddings.iter().map(|e| 8.0 * e).collect(),
        ..batch.clone()
    };
    // Logits that are multiplied by the norms see the scale over any distance.
    let of_norms = ["large_margin_softmax", "sphereface"];
    let normalized = |objective: &Objective| {
        objective.distance().unwrap().get().normalize()
            && !of_norms.contains(&objective.loss.name())
    };
    for objective in objectives().filter(normalized) {
        let pairs_only = serde_json::from_str::<Objective>(
            &serde_json::to_string(&objective)
                .unwrap()
                .replace("\"norm_penalty\":0.002", "\"norm_penalty\":0"),
        );
        let objective = pairs_only.unwrap();
        let outcome = batch.evaluate(&objective).unwrap();
        let gradient = outcome.gradient.iter().map(|g| g / 8.0).collect();
        assert_same(
            &larger.evaluate(&objective).unwrap(),
            &Outcome {
                gradient,
                ..outcome
            },
            &objective,
        );
    }
}

#[test]
fn degenerate_batches_give_finite_numbers() {
    let equal = |labels: &[u32]| Batch {
        embeddings: vec![0.5; labels.len() * 3],
        cols: 3,
        labels: labels.to_vec(),
    };
    let zero = |labels: &[u32]| Batch {
        embeddings: vec![0.0; labels.len() * 3],
        cols: 3,
        labels: labels.to_vec(),
    };
    let mut one_zero = Batch::uneven(9);
    one_zero.embeddings[6..9].fill(0.0);
    let mut duplicates = Batch::uneven(9);
    duplicates.embeddings.copy_within(0..6, 9);
    let mut far_apart = Batch::uneven(9);
    far_apart.embeddings.iter_mut().for_each(|e| *e *= 1e4);
    let batches = [
        ("one item", Batch::random(1, 3, &[5])),
        ("one class", Batch::random(2, 3, &[5, 5, 5, 5])),
        ("all distinct", Batch::random(3, 3, &[5, 6, 7, 8])),
        ("equal items of one class", equal(&[1, 1, 1])),
        ("equal items of two classes", equal(&[1, 1, 2, 2])),
        ("zero vectors", zero(&[1, 1, 2, 2])),
        ("one zero vector", one_zero),
        ("duplicates", duplicates),
        ("far apart", far_apart),
        ("one dimension", Batch::random(4, 1, &[1, 1, 2, 2, 3])),
    ];
    for (name, batch) in batches {
        for objective in objectives() {
            let outcome = batch
                .evaluate(&objective)
                .unwrap_or_else(|error| panic!("{name}: {error}: {objective:#?}"));
            // A log-odds without the target in its denominator may have either sign, and so may a hinge without its bend.
            let signed = ["dynamic_soft_margin", "proxy_nca"];
            if !signed.contains(&objective.loss.name()) {
                assert!(outcome.value >= 0.0, "{name}: {objective:#?}");
            }
        }
    }
}

#[test]
fn batches_without_triplets_count_none_and_pull_nowhere() {
    for labels in [&[][..], &[5; 4], &[5, 6, 7, 8]] {
        let batch = Batch::random(1, 3, labels);
        // An anchor always has class proxies to be compared with.
        for objective in main_objectives().filter(|objective| !has_proxies(&objective.loss)) {
            let outcome = batch.evaluate(&objective).unwrap();
            if outcome.tuples == 0 {
                // The authors' code of the constellation loss counts what is no triplet as log(1 + k).
                let constant = serde_json::to_value(&objective).unwrap()["loss"]["constellation"]["mode"]
                    == "reference";
                assert!(outcome.value <= 0.0 || constant, "{objective:#?}");
                assert!(
                    outcome.gradient.iter().all(|g| g.abs() <= 0.0),
                    "{objective:#?}"
                );
            }
            // Pairs of one kind alone are still pairs; triplets and tuplets need both kinds.
            let of_pairs = [
                "contrastive",
                "intra_pair_variance",
                "margin",
                "multi_similarity",
                "ranked_list",
                "snr_contrastive",
                "threshold_consistent_margin",
            ]
            .contains(&objective.loss.name());
            let every_pair =
                objective.miner().is_some_and(|miner| miner.name() == "all") && of_pairs;
            // An anchor of the supervised contrastive loss has a softmax of positives even without negatives.
            let every_positive = objective.loss.name() == "sup_con"
                && labels.windows(2).all(|pair| pair[0] == pair[1])
                && objective.miner().is_some_and(|miner| miner.name() == "all");
            let expected = if every_pair || every_positive {
                labels.len() * labels.len().saturating_sub(1)
            } else {
                0
            };
            assert_eq!(outcome.tuples, expected, "{objective:#?}");
        }
    }
}

#[test]
fn equal_points_of_two_classes_are_pushed_by_no_gradient_of_l2() {
    let batch = Batch {
        embeddings: vec![0.5, 0.5],
        cols: 1,
        labels: vec![0, 1],
    };
    let outcome = batch.evaluate(&Contrastive::default().into()).unwrap();
    assert_eq!(
        (outcome.value, outcome.active, outcome.gradient),
        (1.0, 1.0, vec![0.0, 0.0])
    );
}
