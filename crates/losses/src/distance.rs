//! From embeddings to the pair matrix `S`, and from `G = ∂L/∂S` back to the embeddings: once for all losses.

pub mod cosine;
pub mod dot;
mod gram;
pub mod l2;
pub mod lp;
pub mod snr;
pub mod squared_l2;

pub use cosine::Cosine;
pub use dot::Dot;
pub use l2::L2;
pub use lp::Lp;
pub use snr::Snr;
pub use squared_l2::SquaredL2;

use crate::catalogue::family;
use crate::described::Described;
use crate::error::Error;
use crate::pairs::Space;
use crate::scratch;
use nearkin_kernels::{Mat, normalize_rows, normalize_rows_backward};
use rayon::prelude::*;

/// Numbers that one task passes over.
const CHUNK: usize = 1 << 14;

family! {
    /// How far apart two embeddings are: smaller is closer, always.
    ///
    /// In a recipe: `[distance.cosine]`, or `[distance.l2]` with `normalize = false`.
    pub enum Distance: PairDistance {
        squared_l2::SquaredL2,
        l2::L2,
        lp::Lp,
        cosine::Cosine,
        dot::Dot,
        snr::Snr,
    }
}

/// The points of a pair matrix: row-major `[B, D]` against `[C, D]`.
#[derive(Clone, Copy)]
pub struct Points<'a> {
    /// The points of the rows.
    pub x: Mat<'a>,
    /// The points of the columns.
    pub y: Mat<'a>,
    /// Whether rows and columns are the same points, so that `S` is square and `∂L/∂x` takes both parts.
    pub same: bool,
}

impl<'a> Points<'a> {
    /// The points of a batch against one another.
    #[must_use]
    pub fn among(x: Mat<'a>) -> Self {
        Self {
            x,
            y: x,
            same: true,
        }
    }

    /// Points against others.
    #[must_use]
    pub fn between(x: Mat<'a>, y: Mat<'a>) -> Self {
        Self { x, y, same: false }
    }
}

/// Where the gradients of the points go, overwritten.
pub struct Gradients<'a> {
    /// `∂L/∂x`, shape `[B, D]`.
    pub x: &'a mut [f32],
    /// `∂L/∂y`, shape `[C, D]`; nobody asks for it where the columns are the rows, or are held fixed.
    pub y: Option<&'a mut [f32]>,
}

/// A distance of pairs of rows.
pub trait PairDistance: Described + Send + Sync {
    /// Whether the points are the embeddings divided by their L2 norms; a zero vector stays zero, with zero gradient.
    fn normalize(&self) -> bool;

    /// `S` of shape `[B, C]`.
    fn matrix(&self, points: Points<'_>) -> Vec<f32>;

    /// Writes the gradients of the points, given `S` (overwritten as workspace) and `G = ∂L/∂S`.
    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>);

    /// The Euclidean distance of two points from their distance; `None` if it does not follow from that.
    fn euclidean(&self) -> Option<fn(f32) -> f32> {
        None
    }

    /// Whether the distance of a pair does not depend on its order.
    fn symmetric(&self) -> bool {
        true
    }

    /// The distance of a single pair of points.
    fn pair(&self, x: &[f32], y: &[f32]) -> f32;

    /// Adds the gradients of a single pair of points, given its distance `d` and `∂L/∂d`.
    fn pair_gradient(&self, points: [&[f32]; 2], d: f32, slope: f32, out: [&mut [f32]; 2]);

    /// The similarity at a distance: the cosine and the dot product are similarities, of which the distances are made.
    fn similarity(&self, d: f64) -> f64 {
        1.0 - d
    }

    /// The distance of two raw embeddings, plainly, in `f64`.
    fn reference(&self, x: &[f64], y: &[f64]) -> f64;
}

/// Embeddings as a distance sees them.
pub(crate) struct Side {
    /// The embeddings, divided by their norms if the distance says so.
    points: Vec<f32>,
    /// Norms of the embeddings; empty if the points are the embeddings themselves.
    norms: Vec<f32>,
    cols: usize,
}

impl Side {
    /// Embeddings `[n, D]`, row-major, `D = cols`.
    pub(crate) fn new(
        distance: &dyn PairDistance,
        embeddings: &[f32],
        cols: usize,
    ) -> Result<Self, Error> {
        if !distance.normalize() {
            check_range(embeddings, cols)?;
            return Ok(Self {
                points: embeddings.to_vec(),
                norms: Vec::new(),
                cols,
            });
        }
        let mut points = scratch::take(embeddings.len());
        let mut norms = vec![0.0; embeddings.len() / cols];
        normalize_rows(embeddings, cols, &mut points, &mut norms);
        if norms.iter().any(|norm| !norm.is_finite()) {
            return Err(Error::overflow(embeddings));
        }
        Ok(Self {
            points,
            norms,
            cols,
        })
    }

    fn mat(&self) -> Mat<'_> {
        Mat::new(&self.points, self.points.len() / self.cols, self.cols)
    }

    /// `∂L/∂E` from the gradient of the points, times a factor.
    pub(crate) fn through_norm(&self, gradient: &[f32], factor: f32, out: &mut [f32]) {
        if self.norms.is_empty() {
            let pieces = out.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
            return pieces.for_each(|(out, gradient)| {
                for (out, &g) in out.iter_mut().zip(gradient) {
                    *out = factor * g;
                }
            });
        }
        let points = (&*self.points, &*self.norms);
        normalize_rows_backward(points, self.cols, factor, gradient, out);
    }

    /// The same, in memory of the scratch.
    fn kept_through_norm(&self, gradient: Vec<f32>) -> Vec<f32> {
        if self.norms.is_empty() {
            return gradient;
        }
        let mut through = scratch::take(gradient.len());
        self.through_norm(&gradient, 1.0, &mut through);
        scratch::keep(gradient);
        through
    }

    /// Gives the memory back for the next batch.
    pub(crate) fn release(self) {
        scratch::keep(self.points);
    }
}

/// `‖x - y‖² ≤ 4 max ‖x‖²` must fit into `f32`.
fn check_range(embeddings: &[f32], cols: usize) -> Result<(), Error> {
    // In f32 wherever that is far from its end.
    let square = |row: &[f32]| match gram::dot(row, row) {
        square if square < f32::MAX / 8.0 => f64::from(square),
        _ => row.iter().map(|&e| f64::from(e).powi(2)).sum(),
    };
    let largest = embeddings
        .par_chunks_exact(cols)
        .with_min_len(64)
        .map(square)
        .reduce(|| 0.0, f64::max);
    if largest > f64::from(f32::MAX) / 4.0 {
        return Err(Error::overflow(embeddings));
    }
    Ok(())
}

/// The distances of a batch, with what their gradient needs.
pub struct Distances<'a> {
    distance: &'a dyn PairDistance,
    x: Side,
    /// `None` if the columns are the rows.
    y: Option<Columns<'a>>,
    s: Vec<f32>,
}

/// The points that rows are compared with.
enum Columns<'a> {
    Own(Side),
    /// Those of other blocks of rows too.
    Shared(&'a Side),
}

impl Columns<'_> {
    fn side(&self) -> &Side {
        match self {
            Self::Own(side) => side,
            Self::Shared(side) => side,
        }
    }
}

impl<'a> Distances<'a> {
    /// `S` of embeddings `[B, D]`, row-major, `D = cols`, against one another.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a distance could leave the range of `f32`.
    ///
    /// # Panics
    /// When `cols` is zero.
    pub fn among(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        cols: usize,
    ) -> Result<Self, Error> {
        let x = Side::new(distance, embeddings, cols)?;
        let s = distance.matrix(Points::among(x.mat()));
        Ok(Self {
            distance,
            x,
            y: None,
            s,
        })
    }

    /// `S` of embeddings `[B, D]` against others `[C, D]`.
    ///
    /// # Errors
    /// As for [`among`](Self::among).
    ///
    /// # Panics
    /// When `cols` is zero.
    pub fn between(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        others: &[f32],
        cols: usize,
    ) -> Result<Self, Error> {
        let y = Columns::Own(Side::new(distance, others, cols)?);
        Self::to_columns(distance, embeddings, y)
    }

    /// The same against points that other blocks of rows are compared with too.
    pub(crate) fn to(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        others: &'a Side,
    ) -> Result<Self, Error> {
        Self::to_columns(distance, embeddings, Columns::Shared(others))
    }

    fn to_columns(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        y: Columns<'a>,
    ) -> Result<Self, Error> {
        let x = Side::new(distance, embeddings, y.side().cols)?;
        let s = distance.matrix(Points::between(x.mat(), y.side().mat()));
        Ok(Self {
            distance,
            x,
            y: Some(y),
            s,
        })
    }

    /// `S`, shape `[B, C]`, row-major.
    #[must_use]
    pub fn s(&self) -> &[f32] {
        &self.s
    }

    /// What is known of the space.
    #[must_use]
    pub fn space(&self) -> Space {
        Space {
            dim: self.x.cols,
            euclidean: self.distance.euclidean(),
            symmetric: self.y.is_none() && self.distance.symmetric(),
        }
    }

    /// `∂L/∂E` of the rows, shape `[B, D]`, from `G = ∂L/∂S`; the memory of `S` is reused on the way.
    ///
    /// Among one set that is all of it; otherwise the columns are held fixed.
    #[must_use]
    pub fn gradient(self, g: &[f32]) -> Vec<f32> {
        self.gradients(g, false).0
    }

    /// `∂L/∂E` of the rows and of the columns; the second is empty among one set, or if not asked for. It is that of their
    /// points where these are shared, for the blocks to be added up first.
    #[must_use]
    pub fn gradients(mut self, g: &[f32], of_columns: bool) -> (Vec<f32>, Vec<f32>) {
        let mut dx = scratch::take(self.x.points.len());
        let columns = self.y.as_ref().filter(|_| of_columns);
        let mut dy = scratch::take(columns.map_or(0, |y| y.side().points.len()));
        let points = match &self.y {
            None => Points::among(self.x.mat()),
            Some(y) => Points::between(self.x.mat(), y.side().mat()),
        };
        let out = Gradients {
            x: &mut dx,
            y: columns.is_some().then_some(dy.as_mut_slice()),
        };
        self.distance.gradient(points, &mut self.s, g, out);
        if let Some(Columns::Own(y)) = columns {
            dy = y.kept_through_norm(dy);
        }
        let dx = self.x.kept_through_norm(dx);
        self.release();
        (dx, dy)
    }

    /// Gives the memory back for the next batch.
    pub(crate) fn release(self) {
        scratch::keep(self.s);
        self.x.release();
        if let Some(Columns::Own(y)) = self.y {
            y.release();
        }
    }
}

/// The distances of rows to the rows in the same places of another matrix.
pub struct AlignedDistances<'a> {
    distance: &'a dyn PairDistance,
    x: Side,
    y: Side,
    d: Vec<f32>,
}

impl<'a> AlignedDistances<'a> {
    /// Of embeddings `[n, D]`, row-major, `D = cols`, to others `[n, D]`.
    ///
    /// # Errors
    /// As for [`Distances::among`].
    ///
    /// # Panics
    /// When `cols` is zero.
    pub fn new(
        distance: &'a dyn PairDistance,
        embeddings: &[f32],
        others: &[f32],
        cols: usize,
    ) -> Result<Self, Error> {
        let x = Side::new(distance, embeddings, cols)?;
        let y = Side::new(distance, others, cols)?;
        let rows = x.points.chunks_exact(cols).zip(y.points.chunks_exact(cols));
        let d = rows.map(|(x, y)| distance.pair(x, y)).collect();
        Ok(Self { distance, x, y, d })
    }

    /// The distances, `[n]`.
    #[must_use]
    pub fn d(&self) -> &[f32] {
        &self.d
    }

    /// `∂L/∂E` of the rows and of the others, from `∂L/∂d`.
    #[must_use]
    pub fn gradients(self, slopes: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let cols = self.x.cols;
        let mut dx = vec![0.0; self.x.points.len()];
        let mut dy = dx.clone();
        for (i, (&d, &slope)) in self.d.iter().zip(slopes).enumerate() {
            let at = i * cols..(i + 1) * cols;
            let points = [&self.x.points[at.clone()], &self.y.points[at.clone()]];
            let out = [&mut dx[at.clone()], &mut dy[at]];
            self.distance.pair_gradient(points, d, slope, out);
        }
        (self.x.kept_through_norm(dx), self.y.kept_through_norm(dy))
    }
}

/// `x / ‖x‖`, or zero for the zero vector; for the references.
pub(crate) fn unit(x: &[f64]) -> Vec<f64> {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    x.iter()
        .map(|x| if norm > 0.0 { x / norm } else { 0.0 })
        .collect()
}
