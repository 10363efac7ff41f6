//! Regularizers against their references and the values of other systems.

use crate::{Batch, assert_all_close, assert_close, golden_proxies, variants};
use nearkin_losses::regularizer::Regularizer;

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
        let exact = golden_proxies(per_class);
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
