//! Losses over aligned views: row `i` of each view is about the same item.

use super::{Definition, Evaluation};
use crate::distance::{Cosine, PairDistance};
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

    /// What the loss needs to know of each item, for so many views.
    fn needs(&self, _views: usize) -> Needs {
        Needs::default()
    }

    /// `L`, with the gradients added to `gradients`. What the loss [needs](Self::needs) is there.
    ///
    /// # Errors
    /// Embeddings too large for the distance, labels beyond the classes, a teacher of the wrong width.
    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error>;

    /// The value by the definition.
    fn reference(&self, views: &Views<'_, f64>) -> f64;

    /// The same with what has no slope, such as the weights of negatives by their hardness, held as it is for other views:
    /// its slope is the gradient.
    fn frozen_reference(&self, views: &Views<'_, f64>, _held: &Views<'_, f64>) -> f64 {
        self.reference(views)
    }
}

/// What losses over aligned views say alike: their targets, any one of which will do, and a distance; there is nothing for a
/// miner to choose nor for a reducer to reduce.
macro_rules! view_definition {
    ($name:ident, $targets:expr, $distance:expr $(, { $($rest:tt)* })?) => {
        impl $crate::loss::Definition for $name {
            fn targets(&self) -> &'static [$crate::loss::Target] {
                &$targets
            }

            fn default_distance(&self) -> Option<$crate::distance::Distance> {
                $distance
            }

            fn default_miner(&self) -> Option<$crate::miner::Miner> {
                None
            }

            fn default_reducer(&self) -> Option<$crate::reducer::Reducer> {
                None
            }

            $($($rest)*)?
        }
    };
}

pub(super) use view_definition;

/// What a view loss needs to know of each item beside its views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Scores of each item; none if zero.
    pub scores: usize,
    /// Whether it needs a class for each item.
    pub classes: bool,
    /// Whether it needs a teacher's embeddings.
    pub teacher: bool,
}

impl Needs {
    /// So many scores of each item, and nothing else.
    #[must_use]
    pub fn scores(scores: usize) -> Self {
        Self {
            scores,
            ..Self::default()
        }
    }
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

    /// The scores of item `i`.
    #[must_use]
    pub fn scores_of(&self, i: usize) -> &'a [T] {
        let k = self.scores_per_item();
        self.scores.map_or(&[], |scores| &scores[i * k..][..k])
    }

    /// The distance in use; cosine for a loss that sees the embeddings themselves.
    #[must_use]
    pub fn distance(&self) -> &'a dyn PairDistance {
        self.distance.unwrap_or(&Cosine {})
    }

    /// Scores of each item.
    #[must_use]
    pub fn scores_per_item(&self) -> usize {
        self.scores
            .map_or(0, |scores| scores.len() / self.items().max(1))
    }
}

impl Views<'_, f64> {
    /// `d(x_i, y_j)` of row `i` of view `x` and row `j` of view `y`, by the definition.
    #[must_use]
    pub fn d(&self, (x, i): (usize, usize), (y, j): (usize, usize)) -> f64 {
        self.distance().reference(self.row(x, i), self.row(y, j))
    }
}

impl<'a> Views<'a, f32> {
    /// A view as a matrix.
    #[must_use]
    pub fn mat(&self, view: usize) -> Mat<'a> {
        Mat::new(self.embeddings[view], self.items(), self.cols)
    }
}

/// Where the gradients of a view loss go; all come filled with zeros.
pub struct ViewGradients<'a> {
    /// `∂L/∂E` of each view, `[n, D]`.
    pub embeddings: Vec<&'a mut [f32]>,
    /// `∂L/∂p` of the loss's own learned parameters.
    pub parameters: &'a mut [Vec<f32>],
}
