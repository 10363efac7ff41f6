//! The signal-to-noise ratio as a distance.

use super::gram::{self, Of};
use super::{Gradients, PairDistance, Points, unit};
use crate::described::described;
use nearkin_kernels::Mat;
use rayon::prelude::*;

described! {
    /// The variance of the difference over the variance of the anchor: noise over signal. It is not symmetric.
    ///
    /// ```text
    /// S[i][j] = Var(x_i - x_j) / Var(x_i),   Var over the D components
    /// ```
    ///
    /// An anchor without variance has no signal; its distances are taken as zero.
    ///
    /// # Reference
    /// T. Yuan, W. Deng, J. Tang, Y. Tang, B. Chen, Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric
    /// Learning, CVPR 2019, Eq. 7.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{PairDistance, Snr};
    /// // Var(0, 2) over Var(0, 4): a quarter.
    /// assert_eq!(Snr { normalize: false }.reference(&[0.0, 4.0], &[0.0, 2.0]), 0.25);
    /// ```
    pub struct Snr {
        /// Divide the embeddings by their L2 norms first.
        pub normalize: bool = true,
    }
}

/// Below this share of its square sum the variance of an anchor is rounding.
const NO_SIGNAL: f32 = 1e-10;

/// Rows less their means.
fn centered(points: Mat<'_>) -> Vec<f32> {
    let d = points.cols;
    let mut centered = points.data.to_vec();
    centered.par_chunks_exact_mut(d).for_each(center);
    centered
}

fn center(row: &mut [f32]) {
    let mean = gram::sum(row) / row.len() as f32;
    for x in row {
        *x -= mean;
    }
}

/// `1 / Σ_k (x_ik - mean_i)²` of each row, zero without signal.
fn inverse_signals(points: Mat<'_>, centered: &[f32]) -> Vec<f32> {
    let d = points.cols;
    let rows = points.data.chunks_exact(d).zip(centered.chunks_exact(d));
    rows.map(|(x, centered)| inverse_signal(x, centered))
        .collect()
}

fn inverse_signal(x: &[f32], centered: &[f32]) -> f32 {
    let signal = gram::dot(centered, centered);
    let noise_floor = NO_SIGNAL * gram::dot(x, x);
    if signal > noise_floor {
        1.0 / signal
    } else {
        0.0
    }
}

/// A pair of rows, each less its mean.
fn centered_pair([x, y]: [&[f32]; 2]) -> [Vec<f32>; 2] {
    [x, y].map(|row| {
        let mut row = row.to_vec();
        center(&mut row);
        row
    })
}

impl PairDistance for Snr {
    fn normalize(&self) -> bool {
        self.normalize
    }

    fn symmetric(&self) -> bool {
        false
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        let (x, y) = (centered(points.x), centered(points.y));
        let of = |data, like: Mat<'_>| Mat::new(data, like.rows, like.cols);
        let (x, y) = (of(&x, points.x), of(&y, points.y));
        let inverse = inverse_signals(points.x, x.data);
        let same = points.same;
        gram::squared_l2(Points { x, y, same }, |i, row| {
            for s in row {
                *s *= inverse[i];
            }
        })
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        let (b, c, d) = (points.x.rows, points.y.rows, points.x.cols);
        let (x, y) = (centered(points.x), centered(points.y));
        let inverse = inverse_signals(points.x, &x);
        // ‖x - y‖² / ‖x‖² of centered rows: through the numerator with h = g / ‖x‖², then through the denominator.
        let mut through_signal = vec![0.0; b];
        s.par_chunks_exact_mut(c.max(1))
            .zip(g.par_chunks_exact(c.max(1)))
            .zip(&mut through_signal)
            .zip(&inverse)
            .for_each(|(((s, g), through), &inverse)| {
                *through = 2.0 * gram::dot(g, s) * inverse;
                s.iter_mut().zip(g).for_each(|(h, g)| *h = g * inverse);
            });
        let between = Points::between(Mat::new(&x, b, d), Mat::new(&y, c, d));
        let wants_y = points.same || out.y.is_some();
        let mut dy = vec![0.0; if wants_y { c * d } else { 0 }];
        let gradients = Gradients {
            x: &mut *out.x,
            y: wants_y.then_some(dy.as_mut_slice()),
        };
        gram::gradient_between(between, (Of::Differences, -2.0), s, gradients);
        for (i, dx) in out.x.chunks_exact_mut(d).enumerate() {
            for (dx, x) in dx.iter_mut().zip(&x[i * d..]) {
                *dx -= through_signal[i] * x;
            }
        }
        if points.same {
            out.x.iter_mut().zip(&dy).for_each(|(dx, dy)| *dx += dy);
        }
        out.x.par_chunks_exact_mut(d).for_each(center);
        if let Some(of_columns) = out.y {
            of_columns.copy_from_slice(&dy);
            of_columns.par_chunks_exact_mut(d).for_each(center);
        }
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        let [u, v] = centered_pair([x, y]);
        gram::squared_difference(&u, &v) * inverse_signal(x, &u)
    }

    fn pair_gradient(&self, [x, y]: [&[f32]; 2], d: f32, slope: f32, out: [&mut [f32]; 2]) {
        let [u, v] = centered_pair([x, y]);
        let h = 2.0 * slope * inverse_signal(x, &u);
        // Through the numerator, then through the signal; differences of centered rows need no centering.
        let [dx, dy] = out;
        gram::add_difference([&u, &v], h, [&mut *dx, dy]);
        dx.iter_mut().zip(&u).for_each(|(dx, u)| *dx -= h * d * u);
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        let (x, y) = if self.normalize {
            (unit(x), unit(y))
        } else {
            (x.to_vec(), y.to_vec())
        };
        let variance = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            v.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
        };
        let difference: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
        let (noise, signal) = (variance(&difference), variance(&x));
        let square: f64 = x.iter().map(|x| x * x).sum();
        if signal > f64::from(NO_SIGNAL) * square {
            noise / signal
        } else {
            0.0
        }
    }
}
