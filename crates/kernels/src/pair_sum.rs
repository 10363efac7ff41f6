//! Sums over pairs of maps: what one brings as the first, what the other brings as the second.

use crate::dispatch::dispatch;
use crate::linear::add_assign;
use crate::parallel::{Shared, for_each, rows_per_piece};

/// Pieces of the backward pass at most: each goes over all pairs for its images.
const IMAGE_PIECES: usize = 16;

/// What the images of each pair bring, and a bias.
///
/// ```text
/// y[p, s, o] = x[i, s, o] + x[j, s, O + o] + b[o]        (i, j) = pairs[p], s any place of the maps
/// ```
///
/// # Shapes
/// - `x`: `[images, places, 2 · O]`, `bias`: `[O]`, `y`: `[pairs, places, O]`
///
/// # Panics
/// When the shapes do not fit or a number of a pair is not below the count of images.
///
/// ```
/// let x = [1.0, 10.0, 2.0, 20.0]; // two images of one place
/// let mut y = [0.0; 2];
/// nearkin_kernels::pair_sum(&x, 1, &[[0, 1], [1, 0]], &[0.5], &mut y);
/// assert_eq!(y, [21.5, 12.5]);
/// ```
pub fn pair_sum(x: &[f32], places: usize, pairs: &[[u32; 2]], bias: &[f32], y: &mut [f32]) {
    let row = places * bias.len();
    check(x.len(), y.len(), pairs, row);
    let step = rows_per_piece(row);
    let y = Shared::new(y);
    for_each(pairs.len().div_ceil(step), true, |piece| {
        let (start, n) = (piece * step, step.min(pairs.len() - piece * step));
        // SAFETY: pieces are disjoint ranges of pairs.
        let y = unsafe { y.slice(start * row, n * row) };
        let image = |i: u32| &x[i as usize * 2 * row..][..2 * row];
        for (y, &[i, j]) in y.chunks_exact_mut(row.max(1)).zip(&pairs[start..]) {
            sum_map(image(i), image(j), bias, y);
        }
    });
}

/// The gradient of [`pair_sum`]: `dx[i, s, o] += dy[p, s, o]` and `dx[j, s, O + o] += dy[p, s, o]`, in the order of the pairs for every
/// image.
///
/// # Shapes
/// - `dy`: `[pairs, places, O]` with `cols` = O, `dx`: `[images, places, 2 · O]` (added to)
///
/// # Panics
/// When the shapes do not fit or a number of a pair is not below the count of images.
pub fn pair_sum_backward(
    dy: &[f32],
    places: usize,
    pairs: &[[u32; 2]],
    cols: usize,
    dx: &mut [f32],
) {
    let row = places * cols;
    check(dx.len(), dy.len(), pairs, row);
    if row == 0 {
        return;
    }
    let images = dx.len() / (2 * row);
    let step = images.div_ceil(IMAGE_PIECES).max(1);
    let dx = Shared::new(dx);
    for_each(
        images.div_ceil(step),
        pairs.len() > rows_per_piece(row),
        |piece| {
            let (start, n) = (piece * step, step.min(images - piece * step));
            // SAFETY: pieces are disjoint ranges of images.
            let dx = unsafe { dx.slice(start * 2 * row, n * 2 * row) };
            for (dy, pair) in dy.chunks_exact(row).zip(pairs) {
                for (side, &image) in pair.iter().enumerate() {
                    let local = (image as usize).wrapping_sub(start);
                    if local < n {
                        add_side(dy, cols, side, &mut dx[local * 2 * row..][..2 * row]);
                    }
                }
            }
        },
    );
}

fn check(inputs: usize, outputs: usize, pairs: &[[u32; 2]], row: usize) {
    let images = inputs.checked_div(2 * row).unwrap_or(0);
    assert!(
        inputs == images * 2 * row && outputs == pairs.len() * row,
        "{inputs} numbers of images and {outputs} of {} pairs, maps of {row}",
        pairs.len()
    );
    if let Some(i) = pairs
        .iter()
        .flatten()
        .find(|&&i| i as usize >= images && row > 0)
    {
        panic!("image {i} of {images}");
    }
}

/// Adds the gradient of a map to one half of the channels of an image.
fn add_side(dy: &[f32], cols: usize, side: usize, dx: &mut [f32]) {
    for (dy, dx) in dy.chunks_exact(cols).zip(dx.chunks_exact_mut(2 * cols)) {
        add_assign(dy, &mut dx[side * cols..][..cols]);
    }
}

dispatch! {
    fn sum_map(first: &[f32], second: &[f32], bias: &[f32], y: &mut [f32]) = sum_map_body;
}

#[inline(always)]
fn sum_map_body<const FMA: bool>(first: &[f32], second: &[f32], bias: &[f32], y: &mut [f32]) {
    let cols = bias.len();
    let sides = first
        .chunks_exact(2 * cols)
        .zip(second.chunks_exact(2 * cols));
    for ((a, b), y) in sides.zip(y.chunks_exact_mut(cols)) {
        let (a, b) = (&a[..cols], &b[cols..]);
        for (((y, a), b), bias) in y.iter_mut().zip(a).zip(b).zip(bias) {
            *y = a + b + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    #[test]
    fn sums_and_their_gradients_are_those_of_the_definition() {
        let shapes = [(2, 1, 1, 0), (3, 2, 5, 4), (4, 40, 24, 30), (9, 7, 33, 200)];
        for (images, places, cols, count) in shapes {
            let row = places * cols;
            let x = random(images * 2 * row, 1);
            let (bias, dy) = (random(cols, 2), random(count * row, 3));
            let pair = |p: usize| [p * 7 % images, (p * 5 + 1) % images].map(|i| i as u32);
            let pairs: Vec<[u32; 2]> = (0..count).map(pair).collect();
            let start = random(x.len(), 4);
            let (mut y, mut dx) = (vec![9.0; dy.len()], start.clone());
            pair_sum(&x, places, &pairs, &bias, &mut y);
            pair_sum_backward(&dy, places, &pairs, cols, &mut dx);

            let place = |image: u32, s: usize, side: usize, o: usize| {
                (image as usize * places + s) * 2 * cols + side * cols + o
            };
            let (mut want, mut gradient) = (Vec::new(), to_f64(&start));
            for (p, &[i, j]) in pairs.iter().enumerate() {
                for (s, o) in (0..row).map(|at| (at / cols, at % cols)) {
                    let (a, b) = (place(i, s, 0, o), place(j, s, 1, o));
                    want.push(f64::from(x[a]) + f64::from(x[b]) + f64::from(bias[o]));
                    let dy = f64::from(dy[(p * places + s) * cols + o]);
                    gradient[a] += dy;
                    gradient[b] += dy;
                }
            }
            assert_close(&y, &want, 1e-6);
            assert_close(&dx, &gradient, 1e-5);
        }
    }
}
