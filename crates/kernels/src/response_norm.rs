//! Local response normalization over neighboring channels.

use crate::dispatch::{dispatch, fma};
use crate::parallel::{Shared, for_each, rows_per_piece, with_scratch};
use std::ops::Range;

/// Each number is divided by a power of the squares of its neighbors among the channels.
///
/// ```text
/// dᵢ = bias + alpha / size · Σⱼ xⱼ²        yᵢ = xᵢ / dᵢ^beta
/// ```
///
/// j runs over the `size` channels from i − ⌊size / 2⌋ on that there are.
///
/// # Reference
/// Krizhevsky, Sutskever and Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*, 2012, section
/// 3.3; that alpha is divided by the size is the convention of Caffe and PyTorch.
///
/// ```
/// use nearkin_kernels::ResponseNorm;
/// let norm = ResponseNorm { size: 1, alpha: 3.0, beta: 0.5, bias: 1.0 };
/// let mut y = [0.0; 1];
/// norm.forward(&[1.0], 1, &mut y); // 1 / √(1 + 3 · 1²)
/// assert_eq!(y, [0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResponseNorm {
    /// Channels that each is divided by, itself among them; above zero.
    pub size: usize,
    /// Factor on the mean of squares.
    pub alpha: f32,
    /// Exponent; 0.75 and 0.5 are fast.
    pub beta: f32,
    /// What is added to the mean of squares, above zero.
    pub bias: f32,
}

impl ResponseNorm {
    /// Overwrites `y`.
    ///
    /// # Shapes
    /// - `x`, `y`: `[rows, channels]`
    ///
    /// # Panics
    /// When the shapes do not fit or the size is 0.
    pub fn forward(&self, x: &[f32], channels: usize, y: &mut [f32]) {
        self.per_rows(x, channels, y, |span, y, scratch| {
            forward_rows(self, &x[span], channels, y, scratch);
        });
    }

    /// Gradient of x, overwriting `dx`; nothing of the way there is kept.
    ///
    /// ```text
    /// dxᵢ = dyᵢ / dᵢ^beta − 2 alpha beta / size · xᵢ Σⱼ dyⱼ xⱼ / dⱼ^(beta + 1)      over the j whose neighbor i is
    /// ```
    ///
    /// # Shapes
    /// - `x`, `dy`, `dx`: `[rows, channels]`
    ///
    /// # Panics
    /// When the shapes do not fit or the size is 0.
    pub fn backward(&self, x: &[f32], dy: &[f32], channels: usize, dx: &mut [f32]) {
        assert_eq!(x.len(), dy.len(), "x and dy differ in length");
        self.per_rows(x, channels, dx, |span, dx, scratch| {
            backward_rows(self, [&x[span.clone()], &dy[span]], channels, dx, scratch);
        });
    }

    /// `f(places of some rows, these rows of y, scratch)` in parallel.
    fn per_rows(
        &self,
        x: &[f32],
        channels: usize,
        y: &mut [f32],
        f: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync + Send,
    ) {
        let rows = x.len().checked_div(channels).unwrap_or(0);
        assert!(
            self.size > 0 && [x.len(), y.len()] == [rows * channels; 2],
            "{self:?}: {} and {} numbers, {channels} channels",
            x.len(),
            y.len()
        );
        let piece = rows_per_piece(channels);
        let y = Shared::new(y);
        for_each(rows.div_ceil(piece), true, |i| {
            let (start, n) = (i * piece * channels, piece.min(rows - i * piece) * channels);
            // SAFETY: pieces are disjoint ranges of rows.
            let y = unsafe { y.slice(start, n) };
            with_scratch(2 * (channels + self.size), |scratch| {
                f(start..start + n, y, scratch);
            });
        });
    }
}

dispatch! {
    fn forward_rows(norm: &ResponseNorm, x: &[f32], channels: usize, y: &mut [f32], scratch: &mut [f32]) = forward_body;
    fn backward_rows(norm: &ResponseNorm, inputs: [&[f32]; 2], channels: usize, dx: &mut [f32], scratch: &mut [f32]) = backward_body;
}

#[inline(always)]
fn forward_body<const FMA: bool>(
    norm: &ResponseNorm,
    x: &[f32],
    channels: usize,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    scratch.fill(0.0);
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
        denominators::<FMA>(norm, x, scratch, y);
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * inverse_power(*y, norm.beta);
        }
    }
}

/// Inputs are x and dy.
#[inline(always)]
fn backward_body<const FMA: bool>(
    norm: &ResponseNorm,
    [x, dy]: [&[f32]; 2],
    channels: usize,
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    scratch.fill(0.0);
    let (squares, terms) = scratch.split_at_mut(channels + norm.size);
    let factor = -2.0 * norm.alpha * norm.beta / norm.size as f32;
    // j has the neighbor i where j lies from i − ⌊(size − 1) / 2⌋ on.
    let before = (norm.size - 1) / 2;
    let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
    for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
        denominators::<FMA>(norm, x, squares, dx);
        for (((dx, x), dy), term) in dx.iter_mut().zip(x).zip(dy).zip(&mut terms[before..]) {
            let through = dy * inverse_power(*dx, norm.beta);
            *term = through * x / *dx;
            *dx = through;
        }
        for (i, (dx, x)) in dx.iter_mut().zip(x).enumerate() {
            let sum: f32 = terms[i..i + norm.size].iter().sum();
            *dx = fma::<FMA>(factor * x, sum, *dx);
        }
    }
}

/// dᵢ of one row; `squares` has zeros on both sides of the row's squares.
#[inline(always)]
fn denominators<const FMA: bool>(
    norm: &ResponseNorm,
    x: &[f32],
    squares: &mut [f32],
    d: &mut [f32],
) {
    for (square, x) in squares[norm.size / 2..].iter_mut().zip(x) {
        *square = x * x;
    }
    let share = norm.alpha / norm.size as f32;
    d.fill(norm.bias);
    for shift in 0..norm.size {
        for (d, &square) in d.iter_mut().zip(&squares[shift..]) {
            *d = fma::<FMA>(share, square, *d);
        }
    }
}

/// d^−beta.
#[inline(always)]
fn inverse_power(d: f32, beta: f32) -> f32 {
    if beta == 0.75 {
        let root = d.sqrt();
        1.0 / (root * root.sqrt())
    } else if beta == 0.5 {
        1.0 / d.sqrt()
    } else {
        d.powf(-beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, central_differences, random, to_f64, weighted};

    fn reference(norm: &ResponseNorm, x: &[f64], channels: usize) -> Vec<f64> {
        let of = |i: usize| {
            let (row, c) = (i / channels * channels, i % channels);
            let first = c as isize - (norm.size / 2) as isize;
            let near = (first..first + norm.size as isize)
                .filter(|&j| (0..channels as isize).contains(&j));
            let squares: f64 = near.map(|j| x[row + j as usize].powi(2)).sum();
            let d = f64::from(norm.bias) + f64::from(norm.alpha) / norm.size as f64 * squares;
            x[i] / d.powf(f64::from(norm.beta))
        };
        (0..x.len()).map(of).collect()
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for (size, beta) in [(5, 0.75), (1, 0.5), (4, 0.75), (3, 1.25)] {
            let norm = ResponseNorm {
                size,
                alpha: 0.7,
                beta,
                bias: 1.5,
            };
            for (rows, channels) in [(0, 3), (1, 1), (2, 3), (3, 17), (5, 33), (300, 64)] {
                let (x, dy) = (random(rows * channels, 1), random(rows * channels, 2));
                let (mut y, mut dx) = (vec![9.0; x.len()], vec![9.0; x.len()]);
                norm.forward(&x, channels, &mut y);
                assert_close(&y, &reference(&norm, &to_f64(&x), channels), 1e-6);
                norm.backward(&x, &dy, channels, &mut dx);
                if x.len() < 500 {
                    let value = |x: &[f64]| weighted(&reference(&norm, x, channels), &dy);
                    assert_close(&dx, &central_differences(&x, value), 1e-5);
                }
            }
        }
    }
}
