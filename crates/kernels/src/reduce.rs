//! Sums and maxima over a row, in lanes so that they vectorize; the order of additions is fixed.

use crate::dispatch::fma;

/// Independent partial results: two AVX-512 registers, four AVX2 ones.
pub(crate) const LANES: usize = 32;

/// The sum of the lanes, by halving.
#[inline(always)]
pub(crate) fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ f(xᵢ, yᵢ, accumulator).
#[inline(always)]
fn fold(x: &[f32], y: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (rest_x, rest_y) = (x.remainder(), y.remainder());
    for (x, y) in x.zip(y) {
        for l in 0..LANES {
            lanes[l] = f(x[l], y[l], lanes[l]);
        }
    }
    for (l, (&x, &y)) in rest_x.iter().zip(rest_y).enumerate() {
        lanes[l] = f(x, y, lanes[l]);
    }
    add_lanes(lanes)
}

/// Σ xᵢ.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    fold(x, x, |x, _, acc| acc + x)
}

/// Σ xᵢ yᵢ.
#[inline(always)]
pub(crate) fn dot<const FMA: bool>(x: &[f32], y: &[f32]) -> f32 {
    fold(x, y, fma::<FMA>)
}

/// The largest element, −∞ for none; NaN is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let larger = |x: f32, best: f32| if x > best { x } else { best };
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for l in 0..LANES {
            lanes[l] = larger(x[l], lanes[l]);
        }
    }
    for (best, &x) in lanes.iter_mut().zip(rest) {
        *best = larger(x, *best);
    }
    lanes
        .into_iter()
        .fold(f32::NEG_INFINITY, |best, x| larger(x, best))
}

/// Mean and biased variance, in one pass about the first element: the variance loses no more digits than that element
/// is standard deviations from the mean.
#[inline(always)]
pub(crate) fn moments<const FMA: bool>(x: &[f32]) -> [f32; 2] {
    let (n, pivot) = (x.len() as f32, x[0]);
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            let d = x[l] - pivot;
            sums[l] += d;
            squares[l] = fma::<FMA>(d, d, squares[l]);
        }
    }
    for (l, x) in rest.iter().enumerate() {
        let d = x - pivot;
        sums[l] += d;
        squares[l] = fma::<FMA>(d, d, squares[l]);
    }
    let shift = add_lanes(sums) / n;
    [
        pivot + shift,
        (add_lanes(squares) / n - shift * shift).max(0.0),
    ]
}

/// Σ f(xᵢ).
#[inline(always)]
pub(crate) fn sum_map(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    fold(x, x, |x, _, acc| acc + f(x))
}
