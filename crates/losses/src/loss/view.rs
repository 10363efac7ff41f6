//! Losses over aligned views: row `i` of each view is about the same item.

use super::{Definition, Evaluation};
use crate::distance::PairDistance;
use crate::error::Error;
use nearkin_kernels::Mat;

/// A loss over aligned views of the same items: pairs, triplets, or an anchor with many candidates.
///
/// [`value_and_grad`](Self::value_and_grad) is fused and in `f32`; [`reference`](Self::reference) is the formula of the
/// paper in `f64`. Neither calls the other.
pub trait ViewLoss: Definition {
    /// How many views the loss takes, the fewest and the most.
    fn views(&self) -> (usize, usize) {
        (2, 2)
    }

    /// `L`, with the gradients added to `gradients`.
    ///
    /// # Errors
    /// Scores, labels or a teacher's numbers that the loss needs are missing or of the wrong shape.
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error>;

    /// The value by the definition.
    fn reference(&self, views: &Views<'_, f64>) -> f64;
}

/// What a view loss sees, in single precision or, for the references, in double.
pub struct Views<'a, T> {
    /// The embeddings of each view, `[n, D]`, row-major: anchors first.
    pub embeddings: Vec<&'a [T]>,
    /// `D`.
    pub cols: usize,
    /// A class for each item, if known.
    pub labels: Option<&'a [u32]>,
    /// Numbers for each item, `[n, k]`, row-major: gold scores, a teacher's scores, or weights.
    pub scores: Option<&'a [T]>,
    /// What a teacher makes of each view, `[n, D']` each; `D'` is `teacher_cols`.
    pub teacher: Vec<&'a [T]>,
    /// `D'`.
    pub teacher_cols: usize,
    /// Values of the loss's own learned parameters, in the order in which it declares them.
    pub parameters: Vec<&'a [T]>,
    /// The distance in use.
    pub distance: Option<&'a dyn PairDistance>,
}

impl<'a, T> Views<'a, T> {
    /// `n`, the number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.embeddings
            .first()
            .map_or(0, |view| view.len() / self.cols)
    }

    /// Row `i` of a view.
    #[must_use]
    pub fn row(&self, view: usize, i: usize) -> &'a [T] {
        &self.embeddings[view][i * self.cols..][..self.cols]
    }

    /// Scores of each item.
    #[must_use]
    pub fn scores_per_item(&self) -> usize {
        self.scores
            .map_or(0, |scores| scores.len() / self.items().max(1))
    }
}

impl<'a> Views<'a, f32> {
    /// A view as a matrix.
    #[must_use]
    pub fn mat(&self, view: usize) -> Mat<'a> {
        Mat::new(self.embeddings[view], self.items(), self.cols)
    }

    /// The scores, `per_item` of them for each item.
    ///
    /// # Errors
    /// There are none, or another number of them.
    pub fn need_scores(&self, loss: &'static str, per_item: usize) -> Result<&'a [f32], Error> {
        let found = self.scores_per_item();
        match self.scores {
            Some(scores) if found == per_item => Ok(scores),
            _ => Err(Error::Scores {
                loss,
                expected: per_item,
                found,
            }),
        }
    }
}

/// Where the gradients of a view loss go; all come filled with zeros.
pub struct ViewGradients<'a> {
    /// `∂L/∂E` of each view, `[n, D]`.
    pub embeddings: Vec<&'a mut [f32]>,
    /// `∂L/∂p` of the loss's own learned parameters.
    pub parameters: &'a mut [Vec<f32>],
}
