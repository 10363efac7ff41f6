//! From embeddings to the pair matrix `S`, and from `G = ∂L/∂S` back to the embeddings: once for all losses.

mod cosine;
mod dot;
mod gram;
mod l2;
mod squared_l2;

pub use cosine::Cosine;
pub use dot::Dot;
pub use l2::L2;
pub use squared_l2::SquaredL2;

use crate::catalogue::family;
use crate::described::Described;
use crate::error::Error;
use crate::scratch;
use nearkin_kernels::{Mat, normalize_rows, normalize_rows_backward};

family! {
    /// How far apart two embeddings are: smaller is closer, always.
    ///
    /// In a recipe: `[distance.cosine]`, or `[distance.l2]` with `normalize = false`.
    pub enum Distance: PairDistance {
        squared_l2::SquaredL2,
        l2::L2,
        cosine::Cosine,
        dot::Dot,
    }
}

/// A distance of pairs of rows.
pub trait PairDistance: Described + Send + Sync {
    /// Whether the points are the embeddings divided by their L2 norms; a zero vector stays zero, with zero gradient.
    fn normalize(&self) -> bool;

    /// `S` of shape `[B, B]` from points of shape `[B, D]`.
    fn matrix(&self, points: Mat<'_>) -> Vec<f32>;

    /// Writes `∂L/∂points`, shape `[B, D]`, given `S` (overwritten as workspace) and `G = ∂L/∂S`.
    fn gradient(&self, points: Mat<'_>, s: &mut [f32], g: &[f32], out: &mut [f32]);

    /// The distance of two raw embeddings, plainly, in `f64`.
    fn reference(&self, x: &[f64], y: &[f64]) -> f64;
}

/// The distances of a batch, with what their gradient needs.
pub struct Distances<'a> {
    distance: &'a dyn PairDistance,
    /// The embeddings, divided by their norms if the distance says so.
    points: Vec<f32>,
    /// Norms of the embeddings; empty if the points are the embeddings themselves.
    norms: Vec<f32>,
    cols: usize,
    s: Vec<f32>,
}

impl<'a> Distances<'a> {
    /// Computes `S` from embeddings `[B, D]`, row-major, `D = cols`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a distance could leave the range of `f32`.
    ///
    /// # Panics
    /// When `cols` is zero.
    pub fn new(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        cols: usize,
    ) -> Result<Self, Error> {
        let square = |row: &[f32]| row.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>();
        let largest = embeddings
            .chunks_exact(cols)
            .map(square)
            .fold(0.0, f64::max);
        let range = f64::from(f32::MAX);
        // Norms are divided away, or ‖x - y‖² ≤ 4 max ‖x‖² must fit.
        if largest
            > if distance.normalize() {
                range * range
            } else {
                range / 4.0
            }
        {
            return Err(Error::overflow(embeddings));
        }
        let rows = embeddings.len() / cols;
        let (mut points, mut norms) = (embeddings.to_vec(), Vec::new());
        if distance.normalize() {
            norms.resize(rows, 0.0);
            normalize_rows(embeddings, cols, &mut points, &mut norms);
        }
        let s = distance.matrix(Mat::new(&points, rows, cols));
        Ok(Self {
            distance,
            points,
            norms,
            cols,
            s,
        })
    }

    /// `S`, shape `[B, B]`, row-major.
    pub fn s(&self) -> &[f32] {
        &self.s
    }

    /// `∂L/∂E`, shape `[B, D]`, from `G = ∂L/∂S`; the memory of `S` is reused on the way.
    pub fn gradient(mut self, g: &[f32]) -> Vec<f32> {
        let (rows, cols) = (self.points.len() / self.cols, self.cols);
        let mut gradient = vec![0.0; self.points.len()];
        self.distance.gradient(
            Mat::new(&self.points, rows, cols),
            &mut self.s,
            g,
            &mut gradient,
        );
        scratch::keep(self.s);
        if self.norms.is_empty() {
            return gradient;
        }
        let mut through_norm = vec![0.0; gradient.len()];
        normalize_rows_backward(
            &self.points,
            &self.norms,
            cols,
            &gradient,
            &mut through_norm,
        );
        through_norm
    }
}

/// `x / ‖x‖`, or zero for the zero vector; for the references.
fn unit(x: &[f64]) -> Vec<f64> {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    x.iter()
        .map(|x| if norm > 0.0 { x / norm } else { 0.0 })
        .collect()
}
