//! The Lp distance.

use super::{Gradients, PairDistance, Points, gram, unit};
use crate::described::described;
use crate::range::Positive;
use crate::scratch;
use nearkin_kernels::Mat;
use rayon::prelude::*;

described! {
    /// The Lp distance, raised to a power: `p = 1` is the Manhattan distance, `p = 2` with `power = 2` is `squared_l2`.
    ///
    /// ```text
    /// S[i][j] = ( Σ_k |x_ik - x_jk|^p )^(power/p)
    /// ```
    ///
    /// It is no matrix product: `O(B² D)` without a fast path, where `l2` and `squared_l2` have one. Where it has no
    /// derivative, between equal points or coordinates, zero is taken.
    ///
    /// # Reference
    /// `LpDistance` of pytorch-metric-learning, whose order is kept: normalize by the L2 norm, distance, power.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{Lp, PairDistance};
    /// assert_eq!(Lp { normalize: false, ..Lp::default() }.reference(&[0.0, 3.0], &[4.0, 0.0]), 7.0);
    /// ```
    pub struct Lp {
        /// Exponent of the coordinates.
        pub p: Positive = Positive::literal(1.0),
        /// Exponent of the distance.
        pub power: Positive = Positive::literal(1.0),
        /// Divide the embeddings by their L2 norms first.
        pub normalize: bool = true,
    }
}

impl Lp {
    /// `Σ_k |x_k - y_k|^p`.
    fn sum(&self, x: &[f32], y: &[f32]) -> f32 {
        match self.p.get() {
            1.0 => gram::lanes(x, y, |x, y| (x - y).abs()),
            2.0 => gram::lanes(x, y, |x, y| (x - y) * (x - y)),
            p => gram::lanes(x, y, |x, y| (x - y).abs().powf(p)),
        }
    }

    /// Adds `h ∂d/∂x` to `out`, for `h = ∂L/∂d` and `d = S[i][j]`.
    fn add_slope(&self, [x, y]: [&[f32]; 2], d: f32, h: f32, out: &mut [f32]) {
        let (p, power) = (self.p.get(), self.power.get());
        if d <= 0.0 || h == 0.0 {
            return;
        }
        // d = s^(power/p) for s = Σ |x - y|^p.
        let outer = h * power * d.powf(1.0 - p / power);
        let pairs = out.iter_mut().zip(x.iter().zip(y));
        match p {
            1.0 => pairs.for_each(|(out, (x, y))| *out += outer * sign(x - y)),
            2.0 => pairs.for_each(|(out, (x, y))| *out += outer * (x - y)),
            _ => pairs.for_each(|(out, (x, y))| {
                let difference = x - y;
                // Between equal coordinates a power below one would be infinite.
                if difference != 0.0 {
                    *out += outer * difference.abs().powf(p - 1.0).copysign(difference);
                }
            }),
        }
    }

    /// Adds to each row of `out` what row `i` has against all of `others`; `entry(i, j)` is `(d, ∂L/∂d)`.
    fn add_slopes(
        &self,
        rows: Mat<'_>,
        others: Mat<'_>,
        entry: impl Fn(usize, usize) -> (f32, f32) + Sync,
        out: &mut [f32],
    ) {
        let d = rows.cols;
        out.par_chunks_exact_mut(d)
            .enumerate()
            .for_each(|(i, out)| {
                let x = &rows.data[i * d..][..d];
                for (j, y) in others.data.chunks_exact(d).enumerate() {
                    let (distance, h) = entry(i, j);
                    self.add_slope([x, y], distance, h, out);
                }
            });
    }
}

/// `±1`, and zero where `|x|` has no derivative.
fn sign(x: f32) -> f32 {
    f32::from(u8::from(x > 0.0)) - f32::from(u8::from(x < 0.0))
}

impl PairDistance for Lp {
    fn normalize(&self) -> bool {
        self.normalize
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        let (c, d) = (points.y.rows, points.x.cols);
        let mut s = scratch::take(points.x.rows * c);
        let outer = self.power.get() / self.p.get();
        s.par_chunks_exact_mut(c.max(1))
            .enumerate()
            .for_each(|(i, row)| {
                let x = &points.x.data[i * d..][..d];
                for (s, y) in row.iter_mut().zip(points.y.data.chunks_exact(d)) {
                    *s = self.sum(x, y).powf(outer);
                }
            });
        s
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        let Points { x, y, same } = points;
        let c = y.rows;
        out.x.fill(0.0);
        self.add_slopes(x, y, |i, j| (s[i * c + j], g[i * c + j]), out.x);
        let of_columns = |j: usize, i: usize| (s[i * c + j], g[i * c + j]);
        if same {
            self.add_slopes(y, x, of_columns, out.x);
        } else if let Some(dy) = out.y {
            dy.fill(0.0);
            self.add_slopes(y, x, of_columns, dy);
        }
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        self.sum(x, y).powf(self.power.get() / self.p.get())
    }

    fn pair_gradient(&self, [x, y]: [&[f32]; 2], d: f32, slope: f32, [dx, dy]: [&mut [f32]; 2]) {
        self.add_slope([x, y], d, slope, dx);
        self.add_slope([y, x], d, slope, dy);
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        let (x, y) = if self.normalize {
            (unit(x), unit(y))
        } else {
            (x.to_vec(), y.to_vec())
        };
        let p = self.p.exact();
        let sum: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).abs().powf(p)).sum();
        sum.powf(1.0 / p).powf(self.power.exact())
    }
}
