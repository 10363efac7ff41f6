//! Regularizers: penalties on rows of numbers, be they embeddings or class proxies.
//!
//! A regularizer is a function `rows [n, D] → (value, gradient [n, D])`. It knows no labels and no pairs, so it goes with
//! any loss: an [objective](crate::Objective) has a list of them, each with its weight.

pub mod center_invariant;
pub mod embedding_norm;
pub mod lp;
pub mod regular_face;
pub mod sparse_centers;
pub mod zero_mean;

pub use center_invariant::CenterInvariant;
pub use embedding_norm::EmbeddingNorm;
pub use lp::Lp;
pub use regular_face::RegularFace;
pub use sparse_centers::SparseCenters;
pub use zero_mean::ZeroMean;

use crate::catalogue::family;
use crate::described::{Described, words};
use crate::range::NonNegative;
use serde::{Deserialize, Serialize};

family! {
    /// A penalty on embeddings or on class proxies, of weight one; without rows it is zero.
    pub enum Regularizer: RowRegularizer {
        center_invariant::CenterInvariant,
        embedding_norm::EmbeddingNorm,
        lp::Lp,
        regular_face::RegularFace,
        sparse_centers::SparseCenters,
        zero_mean::ZeroMean,
    }
}

/// A penalty on rows.
pub trait RowRegularizer: Described + Send + Sync {
    /// The value for `rows` of shape `[n, dim]`, row-major, with its gradient of the same shape.
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>);

    /// The value by its definition.
    fn reference(&self, rows: &[f64], dim: usize) -> f64;

    /// Rows of each class that it joins, if it joins those of a class.
    fn per_class(&self) -> Option<usize> {
        None
    }
}

words! {
    /// What a regularizer acts on.
    pub enum On {
        /// The embeddings of the batch.
        Embeddings = "embeddings",
        /// All class proxies of the loss.
        Proxies = "proxies",
    }
}

/// A regularizer with its weight, as an objective adds it to its loss.
///
/// In a recipe:
///
/// ```
/// # let objective: nearkin_losses::Objective = toml::from_str(r#"
/// [loss.soft_triple]
/// centers = 3
///
/// [[regularizers]]
/// weight = 0.2
/// on = "proxies"
/// penalty.sparse_centers = { centers = 3 }
/// # "#).unwrap();
/// # assert!(objective.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regularization {
    /// What its value is multiplied by.
    #[serde(default = "one")]
    pub weight: NonNegative,
    /// What it acts on.
    #[serde(default)]
    pub on: On,
    /// The regularizer.
    pub penalty: Regularizer,
}

fn one() -> NonNegative {
    NonNegative::literal(1.0)
}

/// The mean of a term of each row, with the gradient: `term(row, gradient)` writes its slopes.
fn mean_over_rows(
    rows: &[f32],
    dim: usize,
    term: impl Fn(&[f32], &mut [f32]) -> f64,
) -> (f64, Vec<f32>) {
    let dim = dim.max(1);
    let weight = dim as f64 / rows.len().max(1) as f64;
    let mut gradient = vec![0.0; rows.len()];
    let mut value = 0.0;
    for (row, gradient) in rows.chunks_exact(dim).zip(gradient.chunks_exact_mut(dim)) {
        value += weight * term(row, gradient);
        for g in gradient {
            *g *= weight as f32;
        }
    }
    (value, gradient)
}

/// The same by its definition, without the gradient.
fn reference_mean(rows: &[f64], dim: usize, term: impl Fn(&[f64]) -> f64) -> f64 {
    let terms: Vec<f64> = rows.chunks_exact(dim.max(1)).map(term).collect();
    terms.iter().sum::<f64>() / terms.len().max(1) as f64
}

/// The rows divided by their norms, with the norms; a zero row stays zero.
fn unit_rows(rows: &[f32], dim: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut unit, mut norms) = (vec![0.0; rows.len()], vec![0.0; rows.len() / dim]);
    nearkin_kernels::normalize_rows(rows, dim, &mut unit, &mut norms);
    (unit, norms)
}

/// The gradient of the rows from that of their directions.
fn through_unit(unit: &[f32], norms: &[f32], dim: usize, gradient: &[f32]) -> Vec<f32> {
    let mut through = vec![0.0; gradient.len()];
    nearkin_kernels::normalize_rows_backward((unit, norms), dim, 1.0, gradient, &mut through);
    through
}
