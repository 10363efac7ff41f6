//! What only losses over class proxies have: sampled classes, a gradient that is not the value's, outliers.

use crate::exactness::agrees_everywhere;
use crate::goldens::assert_golden;
use crate::{Batch, Numbers, assert_all_close, assert_close, golden_proxies};
use nearkin_losses::loss::sub_center_arcface::{Outliers, outliers};
use nearkin_losses::range::{Count, Degrees};
use nearkin_losses::{Exact, ExactColumns, Objective, Tuples};

#[test]
fn losses_over_proxies_have_the_golden_values() {
    for (source, recipe, expected) in [
        (
            "PML NormalizedSoftmax(.05)",
            "normalized_softmax]",
            9.776_722_336_8,
        ),
        // PML's 67.8984365835 takes class numbers for columns of the batch, and has no proxies.
        (
            "torch CrossEntropyLoss of 64 cosines",
            "instance]",
            30.906_740_141_2,
        ),
        (
            "PML ProxyNCA(1)",
            "proxy_nca]\nplus_plus = true",
            1.607_951_564_8,
        ),
        ("PML CosFace", "cosface]", 48.018_412_973_0),
        ("PML ArcFace", "arcface]", 49.857_958_363_3),
        (
            "InsightFace's gradient leaves the value alone",
            "arcface]\nslope = 'detached'",
            49.857_958_363_3,
        ),
        (
            "PML SubCenterArcFace(2)",
            "sub_center_arcface]\nsub_centers = 2",
            47.465_924_614_3,
        ),
        (
            "PML SoftTriple(2 centers)",
            "soft_triple]\ncenters = 2",
            9.440_894_700_4,
        ),
        (
            "torch log-sum-exp of the other proxies",
            "proxy_nca]",
            1.125_745_364_2,
        ),
        (
            "torch CrossEntropyLoss of E W^T",
            "softmax]",
            1.600_185_315_1,
        ),
        (
            "PML P2SGrad, times its four classes",
            "p2s_grad]",
            2.182_238_402_4,
        ),
        ("PML ProxyAnchor", "proxy_anchor]", 41.852_121_930_3),
        // PML's with the classes modulo the proxies for meta-classes, and F in `f64`, not rounded to `f32`.
        ("PML Manifold(4)", "manifold]\nproxies = 4", 1.195_206_944_7),
        ("PML Manifold(3)", "manifold]\nproxies = 3", 1.292_618_107_5),
        (
            "PML Manifold(3, lambdaC=0)",
            "manifold]\nproxies = 3\ncontext_weight = 0",
            0.640_770_124_4,
        ),
        (
            "PML Manifold(4, 3, .5, .01)",
            "manifold]\nproxies = 4\ncontext_weight = 3\nalpha = 0.5\nmargin = 0.01",
            3.296_898_834_6,
        ),
        ("PML SphereFace(4, 1)", "sphereface]", 4.987_742_476_4),
        (
            "PML LargeMarginSoftmax(4, 1)",
            "large_margin_softmax]",
            6.657_033_040_1,
        ),
    ] {
        assert_golden(source, &format!("[loss.{recipe}"), expected);
    }
}

#[test]
fn a_sample_holds_the_classes_of_the_batch_and_is_the_loss_over_those() {
    // Classes 0, 1, 2, 4 and 7 of 8 are in the batch: seven in all when 0.8 of them are asked for.
    let batch = Batch::uneven(1);
    for (loss, per_class) in [
        ("normalized_softmax", 1),
        ("instance", 1),
        ("proxy_nca", 1),
        ("softmax", 1),
        ("cosface", 1),
        ("arcface", 1),
        ("sub_center_arcface", 3),
        ("soft_triple", 10),
    ] {
        for (share, expected) in [(0.8, 7), (0.1, 5)] {
            let recipe = format!("[loss.{loss}]\nsample = {share}");
            let objective: Objective = toml::from_str(&recipe).unwrap();
            let mut criterion = batch.criterion(&objective).unwrap();
            // A bias of zero would hide the bias of another class.
            for parameter in criterion.parameters_mut().iter_mut().skip(1) {
                let biases = parameter.values.iter_mut().enumerate();
                biases.for_each(|(class, bias)| *bias = (class as f32).sin());
            }
            let outcome = batch.run(&mut criterion).unwrap();
            let numbers = Numbers::new(&batch, &criterion);
            let touched = |class: usize| {
                let len = per_class * 3;
                let gradient = &outcome.parameters[0][class * len..][..len];
                gradient.iter().any(|&g| g != 0.0)
            };
            let classes: Vec<usize> = (0..8).filter(|&class| touched(class)).collect();
            assert_eq!(classes.len(), expected, "{loss}");
            assert!([0, 1, 2, 4, 7].iter().all(|class| classes.contains(class)));
            let len = per_class * 3;
            let proxies = |&class: &usize| numbers.parameters[0][class * len..][..len].to_vec();
            let columns = ExactColumns {
                vectors: classes.iter().flat_map(proxies).collect(),
                labels: classes
                    .iter()
                    .flat_map(|&class| vec![class as u32; per_class])
                    .collect(),
                own: None,
            };
            let distance = criterion.objective().distance().unwrap();
            let exact = Exact::against(
                &numbers.embeddings,
                3,
                &batch.labels,
                columns,
                distance.get(),
            );
            let exact = exact.with_parameters(numbers.parameters[1..].to_vec());
            let expected = criterion.objective().reference(&exact, &Tuples::All);
            assert_close(f64::from(outcome.value), expected, 1e-5, &loss);
            // A step of a class's bias against the gradient does what a step of the value says.
            if let Some(of_bias) = outcome.parameters.get(1) {
                let before = criterion.parameters()[1].values.clone();
                for class in 0..8 {
                    let mut step = |size: f32| {
                        criterion.parameters_mut()[1].values[class] = before[class] + size;
                        let value = batch.run(&mut criterion).unwrap().value;
                        criterion.parameters_mut()[1].values.clone_from(&before);
                        f64::from(value)
                    };
                    let slope = (step(1e-2) - step(-1e-2)) / 2e-2;
                    assert!((slope - f64::from(of_bias[class])).abs() < 1e-4, "{class}");
                }
            }
        }
    }
}

#[test]
fn classes_with_one_manifold_proxy_are_as_one_and_change_places_with_it() {
    let objective: Objective = toml::from_str("[loss.manifold]\nproxies = 3").unwrap();
    let batch = Batch::uneven(1);
    let with_labels = |of: fn(u32) -> u32| Batch {
        labels: batch.labels.iter().map(|&label| of(label)).collect(),
        ..batch.clone()
    };
    let mut criterion = batch.criterion(&objective).unwrap();
    let outcome = batch.run(&mut criterion).unwrap();
    assert_eq!(with_labels(|l| l % 3).run(&mut criterion).unwrap(), outcome);
    // A multiple of three is u32::MAX.
    let reversed = with_labels(|l| u32::MAX - 1 - l % 3);
    let proxies = &mut criterion.parameters_mut()[0].values;
    *proxies = proxies.chunks(3).rev().collect::<Vec<_>>().concat();
    let turned = reversed.run(&mut criterion).unwrap();
    assert_close(turned.value.into(), outcome.value.into(), 1e-5, &objective);
    let expected: Vec<f64> = outcome.gradient.iter().map(|&g| g.into()).collect();
    assert_all_close(&turned.gradient, &expected, 1e-4, &objective);
}

#[test]
fn proxies_beside_the_batch_can_be_regularized() {
    let recipe =
        "[loss.manifold]\nproxies = 4\n[[regularizers]]\non = 'proxies'\nweight = 0.5\npenalty.";
    for penalty in ["lp = {}", "regular_face = {}", "center_invariant = {}"] {
        let objective: Objective = toml::from_str(&format!("{recipe}{penalty}")).unwrap();
        assert!(agrees_everywhere(&Batch::uneven(3), &objective));
    }
    let objective: Objective =
        toml::from_str(&format!("{recipe}sparse_centers = {{ centers = 2 }}")).unwrap();
    assert!(objective.check().is_err());
}

#[test]
fn the_detached_gradient_is_that_of_an_additive_margin_of_the_same_value() {
    // With one anchor, CosFace with the margin m(d) - d has the value of ArcFace, and the gradient of InsightFace.
    let batch = Batch {
        embeddings: vec![0.3, -0.2, 0.9],
        cols: 3,
        labels: vec![2],
    };
    let run = |recipe: &str| {
        let objective: Objective = toml::from_str(recipe).unwrap();
        let mut criterion = batch.criterion(&objective).unwrap();
        let outcome = batch.run(&mut criterion).unwrap();
        (criterion, outcome)
    };
    for table in ["arcface]", "sub_center_arcface]\nsub_centers = 1"] {
        let rest = format!("[loss.{table}\nscale = 4\nslope = ");
        let (criterion, detached) = run(&format!("{rest}'detached'"));
        let (_, exact) = run(&format!("{rest}'exact'"));
        let proxy = &criterion.parameters()[0].values[6..9];
        let dot =
            |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum() };
        let x = &batch.embeddings;
        let cos = dot(x, proxy) / (dot(x, x) * dot(proxy, proxy)).sqrt();
        let margin = cos - (cos.acos() + 28.6_f64.to_radians()).cos();
        let (_, additive) = run(&format!("[loss.cosface]\nscale = 4\nmargin = {margin}"));
        assert!((detached.value - additive.value).abs() < 1e-5);
        let expected: Vec<f64> = additive.gradient.iter().map(|&g| f64::from(g)).collect();
        assert_all_close(&detached.gradient, &expected, 1e-5, &table);
        assert!((exact.value - detached.value).abs() <= 0.0);
        assert_ne!(exact.gradient, detached.gradient);
    }
}

#[test]
fn an_embedding_at_its_proxy_has_a_finite_gradient() {
    for loss in ["arcface", "sphereface", "large_margin_softmax", "p2s_grad"] {
        for sign in [1.0, -1.0, 1.0 + 1e-4] {
            let objective: Objective = toml::from_str(&format!("[loss.{loss}]")).unwrap();
            let batch = Batch {
                embeddings: vec![0.3, -0.2, 0.9, 0.3, -0.2, 0.9],
                cols: 3,
                labels: vec![0, 1],
            };
            let mut criterion = batch.criterion(&objective).unwrap();
            let at = [0.3 * sign, -0.2, 0.9 * sign];
            criterion.parameters_mut()[0].values[..3].copy_from_slice(&at);
            let outcome = batch.run(&mut criterion).unwrap();
            assert!(outcome.gradient.iter().all(|g| g.abs() < 200.0), "{loss}");
        }
    }
}

#[test]
fn outliers_are_far_from_the_proxy_of_most_of_their_class() {
    // Class 0 has proxies along x and y, class 1 has none of its items, class 2 one item at its second proxy.
    let proxies = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0];
    let embeddings = [2.0, 0.1, 1.0, -0.1, 0.2, 3.0, 1.0, 1.0, 0.0, -2.0];
    let two = Count::literal(2);
    let found = |degrees| {
        let items = (&embeddings[..], &[0, 0, 0, 0, 2][..]);
        outliers(items, &proxies, two, Degrees::literal(degrees))
    };
    let expected = |items: &[usize]| Outliers {
        dominant: vec![Some(0), None, Some(5)],
        items: items.to_vec(),
    };
    assert_eq!(found(75.0), expected(&[2]));
    assert_eq!(found(40.0), expected(&[2, 3]));
}

/// Those of pytorch-metric-learning's `get_outliers`.
#[test]
fn outliers_are_the_golden_ones() {
    let (batch, _) = Batch::golden();
    let proxies: Vec<f32> = golden_proxies([4, 2]).iter().map(|&w| w as f32).collect();
    for (degrees, expected) in [
        (40.0, &[0, 3, 4, 5, 6, 7][..]),
        (60.0, &[3, 4, 5, 6, 7]),
        (75.0, &[3, 4, 5, 6]),
        (110.0, &[3, 4]),
        (130.0, &[]),
    ] {
        let two = Count::literal(2);
        let items = (&batch.embeddings[..], &batch.labels[..]);
        let found = outliers(items, &proxies, two, Degrees::literal(degrees));
        assert_eq!(found.dominant, [Some(0), Some(3), Some(4), Some(6)]);
        assert_eq!(found.items, expected);
    }
}
