//! The numbers of a model on the test classes.

use crate::embed::Embedded;
use crate::error::Result;
use crate::evaluate::{Evaluation, Options, evaluate};
use nearkin_kernels::{Mat, normalize_rows};
use serde::{Deserialize, Serialize};

/// What a comparison shows of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Recall@1.
    pub recall_at_1: f64,
    /// R-precision.
    pub r_precision: f64,
    /// MAP@R, by which tries are chosen and losses compared.
    pub map_at_r: f64,
}

impl Scores {
    /// Their names, in the order of columns.
    pub const NAMES: [&'static str; 3] = ["Recall@1", "R-precision", "MAP@R"];

    /// The same in that order.
    pub fn numbers(&self) -> [f64; 3] {
        [self.recall_at_1, self.r_precision, self.map_at_r]
    }

    /// Those of an evaluation.
    pub fn of(evaluation: &Evaluation) -> Self {
        let retrieval = &evaluation.retrieval;
        let first = retrieval.recall().find(|(k, _)| *k == 1);
        Self {
            recall_at_1: first.map_or(f64::NAN, |(_, estimate)| estimate.value),
            r_precision: retrieval.r_precision.value,
            map_at_r: retrieval.map_at_r.value,
        }
    }

    /// The mean of several, such as those of all folds.
    pub fn mean(scores: &[Self]) -> Self {
        let count = scores.len().max(1) as f64;
        let mean = |score: fn(&Self) -> f64| scores.iter().map(score).sum::<f64>() / count;
        Self {
            recall_at_1: mean(|scores| scores.recall_at_1),
            r_precision: mean(|scores| scores.r_precision),
            map_at_r: mean(|scores| scores.map_at_r),
        }
    }

    /// Those of embeddings.
    fn measured(embedded: &Embedded) -> Result<Self> {
        let rows = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
        Ok(Self::of(&evaluate(
            rows,
            &embedded.labels,
            &Options::quick(),
        )?))
    }
}

/// What the models of one seed reach on the test classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// The model of each fold by itself.
    pub separate: Vec<Scores>,
    /// Their embeddings, each of unit length, one after another.
    pub together: Scores,
}

/// Measures the embeddings of the same items by the models of all folds of a seed.
///
/// # Errors
/// There are none, or they cannot be measured.
pub fn tested(folds: Vec<Embedded>) -> Result<Tested> {
    let mut together = Embedded::default();
    let mut separate = Vec::with_capacity(folds.len());
    for embedded in folds {
        separate.push(Scores::measured(&embedded)?);
        together = match together.dim {
            0 => unit(embedded),
            _ => beside(&together, &unit(embedded)),
        };
    }
    Ok(Tested {
        separate,
        together: Scores::measured(&together)?,
    })
}

fn unit(embedded: Embedded) -> Embedded {
    let mut numbers = vec![0.0; embedded.numbers.len()];
    let mut norms = vec![0.0; embedded.items.len()];
    normalize_rows(&embedded.numbers, embedded.dim, &mut numbers, &mut norms);
    Embedded {
        numbers,
        ..embedded
    }
}

/// Each item's numbers of one and then of the other; both are of the same items.
fn beside(first: &Embedded, second: &Embedded) -> Embedded {
    let rows = first.numbers.chunks_exact(first.dim.max(1));
    let rows = rows.zip(second.numbers.chunks_exact(second.dim.max(1)));
    Embedded {
        items: first.items.clone(),
        labels: first.labels.clone(),
        numbers: rows.flat_map(|(a, b)| a.iter().chain(b)).copied().collect(),
        dim: first.dim + second.dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_together_are_as_near_as_the_mean_of_their_cosines() {
        let embedded = |numbers: &[f32]| Embedded {
            items: vec![3, 4],
            labels: vec![0, 1],
            numbers: numbers.to_vec(),
            dim: numbers.len() / 2,
        };
        let sides = [
            [3.0, 4.0, 0.0, 2.0].as_slice(),
            &[5.0, 0.0, 0.0, 1.0, 0.0, 1.0],
        ];
        let [a, b] = sides.map(|numbers| unit(embedded(numbers)));
        let both = beside(&a, &b);
        assert_eq!(
            (both.dim, both.items, both.labels),
            (5, vec![3, 4], vec![0, 1])
        );
        let product: f32 = both.numbers[..5]
            .iter()
            .zip(&both.numbers[5..])
            .map(|(x, y)| x * y)
            .sum();
        // Cosines 0.8 and 1/√2 add up: each vector has the length √2.
        let sum = 0.8 + 0.5_f32.sqrt();
        assert!((product - sum).abs() < 1e-6, "{product}");
    }
}
