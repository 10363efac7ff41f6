//! A linear layer for inference in bytes: weights are rounded once, inputs as they come.

mod tile;

use crate::activation::Activation;
use crate::dispatch::dispatch;
use crate::parallel::{Shared, for_each, with_scratch};
use crate::view::Mat;
use tile::{Job, products};

/// Inputs that one instruction multiplies and adds up.
const QUAD: usize = 4;

/// Steps of an input row's range: a byte.
const STEPS: f32 = 255.0;

/// Rows that are one piece of work for a thread.
const BLOCK: usize = 96;

/// Multiplications below which handing work to other threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 19;

/// act(x wᵀ + b) in integers, for networks that no longer learn: a quarter of the memory of [`PackedLinear`](crate::PackedLinear),
/// and faster where the processor has products of bytes.
///
/// ```text
/// w ≈ tₒ ŵₒᵢ with tₒ = maxᵢ |wₒᵢ| / 127           x ≈ sᵣ (x̂ᵣᵢ − zᵣ), sᵣ and zᵣ from the smallest and largest input of row r
/// yᵣₒ = act(sᵣ tₒ (Σᵢ x̂ᵣᵢ ŵₒᵢ − zᵣ Σᵢ ŵₒᵢ) + bₒ)
/// ```
///
/// The sums are exact. With AVX2 alone weights have 63 steps in place of 127, so that pairs of products stay within 16 bits. A row that holds a
/// number that is not finite gives NaN.
///
/// # Reference
/// Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, 2018,
/// equations 1 to 7; one scale for each output (Krishnamoorthi 2018, section 3.1), one for each row of inputs.
///
/// ```
/// use nearkin_kernels::{Activation, Mat, QuantizedLinear};
/// let w = Mat::new(&[1.0, 1.0, 1.0, -1.0], 2, 2);
/// let layer = QuantizedLinear::new(w, &[0.5, 0.5], Activation::Relu);
/// let mut y = [9.0; 2];
/// layer.forward(&[1.0, 2.0], &mut y);
/// assert!((y[0] - 3.5).abs() < 0.03 && y[1] == 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct QuantizedLinear {
    /// For each `width` outputs one panel, `[inputs / 4, width, 4]`; zeros where there is no input or no output.
    panels: Vec<i8>,
    outs: Outs,
    inputs: usize,
    outputs: usize,
    act: Activation,
}

/// What turns sums into numbers, for each output of each panel.
#[derive(Clone, Debug)]
struct Outs {
    /// tₒ
    scales: Vec<f32>,
    bias: Vec<f32>,
    /// Σᵢ ŵₒᵢ
    sums: Vec<i32>,
}

/// What turns the sums of one row into numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// sᵣ
    scale: f32,
    /// zᵣ
    zero: i32,
}

impl QuantizedLinear {
    /// Inputs at most: that many products of bytes cannot leave 32 bits.
    pub const MOST_INPUTS: usize = 1 << 16;

    /// Rounds and packs `w`, `[outputs, inputs]`.
    ///
    /// # Panics
    /// When there is not one bias per output, or there are more than [`MOST_INPUTS`](Self::MOST_INPUTS) inputs.
    pub fn new(w: Mat, bias: &[f32], act: Activation) -> Self {
        assert_eq!(bias.len(), w.rows, "one bias per output");
        assert!(w.cols <= Self::MOST_INPUTS, "{} inputs", w.cols);
        w.assert_in_bounds();
        let (width, most) = (products().width(), products().largest_weight());
        let (outputs, inputs) = (w.rows, w.cols);
        let (padded, depth) = (
            outputs.next_multiple_of(width),
            inputs.next_multiple_of(QUAD),
        );
        let mut panels = vec![0; padded * depth];
        let mut outs = Outs {
            scales: vec![0.0; padded],
            bias: vec![0.0; padded],
            sums: vec![0; padded],
        };
        outs.bias[..outputs].copy_from_slice(bias);
        let (mut row, mut bytes) = (vec![0.0; inputs], vec![0; depth]);
        for output in 0..outputs {
            for (i, number) in row.iter_mut().enumerate() {
                *number = w.data[output * w.row_stride + i * w.col_stride];
            }
            (outs.scales[output], outs.sums[output]) = round_weights(&row, most, &mut bytes);
            let panel = &mut panels[output / width * width * depth..][..width * depth];
            for (quad, bytes) in bytes.chunks_exact(QUAD).enumerate() {
                panel[(quad * width + output % width) * QUAD..][..QUAD].copy_from_slice(bytes);
            }
        }
        Self {
            panels,
            outs,
            inputs,
            outputs,
            act,
        }
    }

    /// Outputs of a row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// act(x wᵀ + b), overwriting `y`.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`, `y`: `[rows, outputs]`
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        let rows = y.len() / self.outputs.max(1);
        assert_eq!(
            (x.len(), y.len()),
            (rows * self.inputs, rows * self.outputs),
            "x and y of {} inputs and {} outputs",
            self.inputs,
            self.outputs
        );
        let depth = self.inputs.next_multiple_of(QUAD);
        let parallel = rows * self.inputs * self.outputs >= PARALLEL_WORK;
        let y = Shared::new(y);
        let mut scales = vec![Row::default(); rows];
        with_scratch((rows * depth).div_ceil(QUAD), |scratch| {
            let bytes = as_bytes(scratch);
            self.round(x, bytes, &mut scales, parallel);
            let width = products().width();
            let (panels, blocks) = (self.outputs.div_ceil(width), rows.div_ceil(BLOCK));
            // Panels outside, so that one stays in the cache while it meets one block of rows after another.
            for_each(panels * blocks, parallel, |job| {
                let (column, block) = (job / blocks * width, job % blocks);
                let (start, end) = (block * BLOCK, rows.min((block + 1) * BLOCK));
                tile::run(Job {
                    x: &bytes[start * depth..end * depth],
                    rows: &scales[start..end],
                    panel: &self.panels[column * depth..][..width * depth],
                    outs: [&self.outs.scales, &self.outs.bias].map(|of| &of[column..][..width]),
                    sums: &self.outs.sums[column..][..width],
                    depth,
                    act: self.act,
                    y,
                    outputs: self.outputs,
                    first: start * self.outputs + column,
                    valid: width.min(self.outputs - column),
                });
            });
        });
    }

    /// Rounds the rows of `x` into `bytes`, each up to a multiple of four.
    fn round(&self, x: &[f32], bytes: &mut [u8], scales: &mut [Row], parallel: bool) {
        let depth = self.inputs.next_multiple_of(QUAD);
        let (bytes, rows) = (Shared::new(bytes), scales.len());
        let scales = Shared::new(scales);
        for_each(rows.div_ceil(BLOCK), parallel, |block| {
            for row in block * BLOCK..rows.min((block + 1) * BLOCK) {
                let x = &x[row * self.inputs..][..self.inputs];
                // SAFETY: each row is visited once.
                let (bytes, scale) =
                    unsafe { (bytes.slice(row * depth, depth), scales.slice(row, 1)) };
                let (used, rest) = bytes.split_at_mut(self.inputs);
                rest.fill(0);
                scale[0] = round_row(x, used);
            }
        });
    }
}

/// The bytes of a buffer of numbers.
fn as_bytes(numbers: &mut [f32]) -> &mut [u8] {
    let len = size_of_val(numbers);
    // SAFETY: the same memory, whose every byte is initialized; any bytes are numbers again.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), len) }
}

dispatch! {
    fn round_weights(w: &[f32], most: f32, bytes: &mut [i8]) -> (f32, i32) = round_weights_body;
    fn round_row(x: &[f32], bytes: &mut [u8]) -> Row = round_row_body;
}

/// ŵ = round(w / t) with t = max |w| / most, and its sum; returns t.
#[inline(always)]
fn round_weights_body<const FMA: bool>(w: &[f32], most: f32, bytes: &mut [i8]) -> (f32, i32) {
    let [least, largest, finite] = range(w);
    let largest = if -least > largest { -least } else { largest };
    // Numbers that have no reciprocal are zeros in bytes.
    let inverse = if largest / most >= f32::MIN_POSITIVE {
        most / largest
    } else {
        0.0
    };
    let mut sum = 0;
    for (byte, &w) in bytes.iter_mut().zip(w) {
        let place = w * inverse;
        *byte = (place + 0.5f32.copysign(place)) as i8;
        sum += i32::from(*byte);
    }
    // NaN where a weight is not finite, which the largest may have passed over.
    (largest / most + finite, sum)
}

/// x̂ = round(x / s) + z, with s and z such that the range of x and 0 just fits.
#[inline(always)]
fn round_row_body<const FMA: bool>(x: &[f32], bytes: &mut [u8]) -> Row {
    let [least, most, finite] = range(x);
    let scale = (most - least) / STEPS;
    // Numbers that have no reciprocal are zeros in bytes.
    let inverse = if scale >= f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    };
    let zero = (-least * inverse).round();
    let shift = zero + 0.5;
    for (byte, &x) in bytes.iter_mut().zip(x) {
        let place = x * inverse + shift;
        let place = if place > 0.0 { place } else { 0.0 };
        let place = if place < STEPS { place } else { STEPS };
        // SAFETY: between 0 and 255; what is not a number was made 0.
        *byte = unsafe { place.to_int_unchecked::<i32>() } as u8;
    }
    Row {
        scale: scale + finite,
        zero: zero as i32,
    }
}

/// The smallest and the largest number, 0 among them, and 0 where all are finite, else NaN.
#[inline(always)]
fn range(x: &[f32]) -> [f32; 3] {
    const LANES: usize = 32;
    let (mut least, mut most, mut finite) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            least[i] = if chunk[i] < least[i] {
                chunk[i]
            } else {
                least[i]
            };
            most[i] = if chunk[i] > most[i] {
                chunk[i]
            } else {
                most[i]
            };
            finite[i] += chunk[i] * 0.0;
        }
    }
    let mut found = [0.0; 3];
    for i in 0..LANES {
        let x = rest.get(i).copied().unwrap_or(0.0);
        found[0] = least[i].min(x).min(found[0]);
        found[1] = most[i].max(x).max(found[1]);
        found[2] += finite[i] + x * 0.0;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::activate_in_place;
    use crate::testing::{assert_close, random};

    /// The definition in f64, from the rounding on: outputs of rows of `x`.
    fn reference(x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f64> {
        let (outputs, steps) = (bias.len(), f64::from(STEPS));
        let inputs = w.len() / outputs.max(1);
        let mut y = Vec::new();
        for x in x.chunks_exact(inputs.max(1)) {
            let fold = |start: f32, f: fn(f32, f32) -> f32| x.iter().copied().fold(start, f);
            let (least, most) = (fold(0.0, f32::min), fold(0.0, f32::max));
            let s = f64::from(most - least) / steps;
            let z = (f64::from(-least) / s).round();
            for o in 0..outputs {
                let w = &w[o * inputs..][..inputs];
                let t = f64::from(w.iter().fold(0.0f32, |m, w| m.max(w.abs())))
                    / f64::from(products().largest_weight());
                let products = x.iter().zip(w).map(|(&x, &w)| {
                    let (x, w) = (f64::from(x) / s, (f64::from(w) / t).round());
                    ((x + z + 0.5).floor().clamp(0.0, steps) - z) * w
                });
                y.push(s * t * products.sum::<f64>() + f64::from(bias[o]));
            }
        }
        y
    }

    #[test]
    fn outputs_agree_with_the_definition_at_odd_shapes() {
        for [rows, inputs, outputs] in [
            [0, 3, 2],
            [1, 1, 1],
            [7, 5, 3],
            [6, 384, 64],
            [13, 385, 65],
            [101, 771, 130],
            [200, 40, 17],
        ] {
            let (x, bias) = (random(rows * inputs, 1), random(outputs, 3));
            let w = random(outputs * inputs, 2);
            let want = reference(&x, &w, &bias);
            let transposed: Vec<f32> = (0..w.len())
                .map(|i| w[(i % outputs) * inputs + i / outputs])
                .collect();
            let views = [
                Mat::new(&w, outputs, inputs),
                Mat::new(&transposed, inputs, outputs).t(),
            ];
            for w in views {
                let mut plain = vec![9.0; rows * outputs];
                QuantizedLinear::new(w, &bias, Activation::None).forward(&x, &mut plain);
                // An input or a weight that lies in the middle between two steps may go either way.
                let step = 3.0 / f64::from(products().largest_weight());
                for (y, want) in plain.iter().zip(&want) {
                    assert!((f64::from(*y) - want).abs() < step, "{y} {want}");
                }
                let mut activated = vec![9.0; rows * outputs];
                QuantizedLinear::new(w, &bias, Activation::Gelu).forward(&x, &mut activated);
                activate_in_place(Activation::Gelu, &mut plain);
                assert_eq!(activated, plain);
            }
        }
    }

    #[test]
    fn sums_of_the_largest_bytes_are_exact() {
        // Every product is as large as it can be, and so are the sums of pairs; x̂ = 255, ŵ = ±127 or ±63.
        for (sign, inputs) in [(1.0, 400), (-1.0, 400), (1.0, QuantizedLinear::MOST_INPUTS)] {
            let (x, w) = (vec![1.0; inputs], vec![sign; inputs]);
            let layer = QuantizedLinear::new(Mat::new(&w, 1, inputs), &[0.0], Activation::None);
            let mut y = [0.0];
            layer.forward(&x, &mut y);
            let want = sign * inputs as f32;
            assert!(
                (y[0] - want).abs() <= 1e-5 * inputs as f32,
                "{} {want}",
                y[0]
            );
        }
    }

    #[test]
    fn constant_rows_and_rows_without_inputs_give_what_they_should() {
        let layer = QuantizedLinear::new(Mat::new(&[], 2, 0), &[1.0, -2.0], Activation::Relu);
        let mut y = [9.0; 4];
        layer.forward(&[], &mut y);
        assert_eq!(y, [1.0, 0.0, 1.0, 0.0]);
        let w = Mat::new(&[0.0, 0.0, 1.0, 1.0], 2, 2);
        let layer = QuantizedLinear::new(w, &[0.5, 0.5], Activation::None);
        layer.forward(&[0.0, 0.0, -3.0, -3.0], &mut y);
        assert_close(&y, &[0.5, 0.5, 0.5, -5.5], 1e-6);
    }

    #[test]
    fn numbers_too_small_to_divide_by_are_zeros() {
        let tiny = [-1e-38, 1e-39, -1e-45, 0.0];
        for (x, w) in [(tiny, [1.0; 4]), ([1.0; 4], tiny), (tiny, tiny)] {
            let layer = QuantizedLinear::new(Mat::new(&w, 1, 4), &[0.5], Activation::None);
            let mut y = [9.0];
            layer.forward(&x, &mut y);
            assert_close(&y, &[0.5], 1e-6);
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = random(2 * 100, 1);
            x[140] = bad;
            let w = random(3 * 100, 2);
            let layer = QuantizedLinear::new(Mat::new(&w, 3, 100), &[0.0; 3], Activation::None);
            let mut y = [9.0; 6];
            layer.forward(&x, &mut y);
            assert!(y[..3].iter().all(|y| y.is_finite()) && y[3..].iter().all(|y| y.is_nan()));
            let mut w = w.clone();
            w[150] = bad;
            let layer = QuantizedLinear::new(Mat::new(&w, 3, 100), &[0.0; 3], Activation::None);
            layer.forward(&x[..100], &mut y[..3]);
            assert!(
                y[0].is_finite() && y[1].is_nan() && y[2].is_finite(),
                "{y:?}"
            );
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_among_others() {
        let (inputs, outputs) = (400, 70);
        let (x, w) = (random(200 * inputs, 1), random(outputs * inputs, 2));
        let bias = random(outputs, 3);
        let layer = QuantizedLinear::new(Mat::new(&w, outputs, inputs), &bias, Activation::None);
        let mut together = vec![9.0; 200 * outputs];
        layer.forward(&x, &mut together);
        for (x, want) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
            let mut y = vec![9.0; outputs];
            layer.forward(x, &mut y);
            assert_eq!(y, want);
        }
    }
}
