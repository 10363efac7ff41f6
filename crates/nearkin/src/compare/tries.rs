//! The numbers of a try, drawn.

use crate::recipe::{Document, RecipeError};
use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use toml::Value;

/// A number is divided or multiplied by at most this.
const REACH: f64 = 4.0;

/// Draws of a number before it is left as it is, because what is drawn is out of its range.
const DRAWS: usize = 16;

/// The changes of a try: the decimal numbers of the loss and the learning rate, each times a factor from 1/4 to 4, drawn evenly
/// on a logarithmic scale and rounded to three digits. Zeros, whole numbers and choices stay.
pub(super) fn drawn(
    document: &Document,
    seed: u64,
    (loss, number): (&str, usize),
) -> Result<Vec<String>, RecipeError> {
    let recipe = document.recipe()?;
    let resolved = Value::try_from(&recipe).map_err(|e| RecipeError::Write(e.to_string()))?;
    let mut numbers = Vec::new();
    for key in ["loss", "optimizer"] {
        if let Some(table) = resolved.get(key) {
            decimals(key, table, &mut numbers);
        }
    }
    let is_tried = |key: &str| key.starts_with("loss.") || key.rsplit('.').next() == Some("rate");
    numbers.retain(|(key, _)| is_tried(key));
    let mut rng = named_rng(seed, &format!("compare/{loss}/{number}"));
    let mut changes = Vec::new();
    for (key, value) in numbers {
        for _ in 0..DRAWS {
            let factor = REACH.powf(rng.random_range(-1.0..=1.0));
            let change = format!("{key}={}", rounded(value * factor));
            let mut changed = document.clone();
            changed.set(&change)?;
            if changed.recipe().is_ok() {
                changes.push(change);
                break;
            }
        }
    }
    Ok(changes)
}

/// The decimal numbers of a table and of those in it, but zeros, with their dotted keys.
fn decimals(path: &str, value: &Value, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Float(number) if *number != 0.0 => found.push((path.to_owned(), *number)),
        Value::Table(table) => {
            for (key, value) in table {
                decimals(&format!("{path}.{key}"), value, found);
            }
        }
        _ => {}
    }
}

/// To three digits, always with a point: a whole number would be of another type.
fn rounded(number: f64) -> String {
    let digits = 2 - number.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    format!("{:?}", (number * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(loss: &str) -> Document {
        let text = format!(
            "[data.source.bundled]\nname = \"digits\"\n[network.mlp]\n[loss.{loss}]\n[optimizer.adamw]\nrate = 1e-3\n"
        );
        Document::parse("r.toml", &text).unwrap()
    }

    fn changes(loss: &str, seed: u64, number: usize) -> Vec<String> {
        drawn(&document(loss), seed, (loss, number)).unwrap()
    }

    #[test]
    fn every_decimal_number_of_the_loss_and_the_rate_are_drawn_within_reach() {
        let resolved = Value::try_from(document("multi_similarity").recipe().unwrap()).unwrap();
        for number in 1..40 {
            let changes = changes("multi_similarity", 0, number);
            let keys: Vec<&str> = changes
                .iter()
                .map(|c| c.split_once('=').unwrap().0)
                .collect();
            assert_eq!(
                keys,
                [
                    "loss.multi_similarity.alpha",
                    "loss.multi_similarity.base",
                    "loss.multi_similarity.beta",
                    "optimizer.adamw.rate"
                ]
            );
            for change in &changes {
                let (key, value) = change.split_once('=').unwrap();
                let before = key
                    .split('.')
                    .fold(&resolved, |at, key| &at[key])
                    .as_float()
                    .unwrap();
                let factor = value.parse::<f64>().unwrap() / before;
                assert!((0.248..4.02).contains(&factor), "{change}");
            }
        }
    }

    #[test]
    fn a_draw_is_its_own_and_always_the_same() {
        let first = changes("triplet_margin", 0, 1);
        assert_eq!(first, changes("triplet_margin", 0, 1));
        assert_ne!(first, changes("triplet_margin", 0, 2));
        assert_ne!(first, changes("triplet_margin", 1, 1));
    }

    #[test]
    fn what_is_drawn_is_a_recipe_for_every_loss_of_labeled_items() {
        for loss in nearkin_losses::loss::Loss::defaults() {
            let text = format!(
                "[data.source.bundled]\nname = \"digits\"\n[network.mlp]\n[loss.{}]\n",
                loss.name()
            );
            let mut document = Document::parse("r.toml", &text).unwrap();
            if document.recipe().is_err() {
                continue; // it needs other losses inside it
            }
            for change in drawn(&document, 3, (loss.name(), 1)).unwrap() {
                document.set(&change).unwrap();
            }
            assert!(document.recipe().is_ok(), "{}", loss.name());
        }
    }

    #[test]
    fn rounding_keeps_three_digits_and_the_point() {
        assert_eq!(
            [0.012_345, 1234.5, 2.0, 0.5].map(rounded),
            ["0.0123", "1230.0", "2.0", "0.5"]
        );
    }
}
