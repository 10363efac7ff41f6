//! Losses that need the pair matrix as a whole.

use super::{Definition, Evaluation};
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::reducer::{Term, TermReducer};
use crate::tuples::Tuples;

/// A loss whose terms join several anchors, or that has learned parameters of its own.
///
/// [`value_and_grad`](Self::value_and_grad) is fused and in `f32`; [`reference`](Self::reference) is the formula of the
/// paper in `f64`. Neither calls the other.
pub trait MatrixLoss: Definition {
    /// `L`, with `G = ∂L/∂S` added to `gradients.g`, which comes filled with zeros.
    ///
    /// `S[i][j]` and `S[j][i]` are independent entries here: the distance adds up `G` and its transpose.
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation;

    /// Whether the loss needs the norms of the embeddings and the columns, which its distance divides away.
    fn needs_norms(&self) -> bool {
        false
    }

    /// Whether the loss needs `S[p][n]`, the distances among the columns, so that it cannot be used against references.
    fn needs_square(&self) -> bool {
        true
    }

    /// The terms by the definition; one term, the value, where the loss is no sum of terms.
    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term>;

    /// What the divisor reducer divides by, by the definition; `None` for the number of terms.
    fn reference_divisor(&self, _batch: &Exact<'_>, _tuples: &Tuples) -> Option<f64> {
        None
    }
}

/// What a matrix loss sees.
pub struct Matrix<'a> {
    /// The pair matrix.
    pub pairs: Pairs<'a>,
    /// Labels of the anchors.
    pub labels: &'a [u32],
    /// Labels of the columns.
    pub column_labels: &'a [u32],
    /// The tuples that take part.
    pub tuples: &'a Tuples,
    /// How terms become one number; a loss that is no sum of terms leaves it alone.
    pub reducer: &'a dyn TermReducer,
    /// Values of the loss's own learned parameters, in the order in which it declares them.
    pub parameters: &'a [&'a [f32]],
    /// Norms of the embeddings and of the columns, if the loss asked for them; empty otherwise.
    pub norms: [&'a [f32]; 2],
}

/// Where the gradients of a matrix loss go; all come filled with zeros.
pub struct MatrixGradients<'a> {
    /// `∂L/∂S`, shape `[B, C]`.
    pub g: &'a mut [f32],
    /// `∂L/∂p` of the loss's own learned parameters.
    pub parameters: &'a mut [Vec<f32>],
    /// `∂L/∂‖x_i‖` and `∂L/∂‖y_j‖`, if the loss asked for norms.
    pub norms: [&'a mut [f32]; 2],
}
