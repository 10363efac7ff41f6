//! A linear layer for inference, whose weights lie in the order in which the product reads them.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::activation::{Activation, activate_piece};
use crate::dispatch::{Cpu, cpu, dispatch, fma};
use crate::parallel::{Shared, for_each};
use crate::view::Mat;

/// Outputs of a panel where registers hold sixteen numbers, and elsewhere: four registers to each row of a tile.
const WIDE: usize = 64;
const NARROW: usize = 16;

/// Rows of a tile: with a panel's outputs, as many sums as registers hold beside what they are made of.
const ROWS: usize = 6;

/// Inputs that are summed before a tile is put down, so that this part of a panel stays in a core's cache.
const DEPTH: usize = 384;

/// Rows that are one piece of work for a thread.
const BLOCK: usize = 96;

/// Multiplications below which handing work to other threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 18;

/// act(x wᵀ + b) with weights that were packed once, for networks that no longer learn.
///
/// Sums are those of [`linear`](crate::linear) in another order. A row's outputs do not depend on the rows beside it nor on the
/// number of threads.
///
/// ```
/// use nearkin_kernels::{Activation, Mat, PackedLinear};
/// let w = Mat::new(&[1.0, 1.0, 1.0, -1.0], 2, 2);
/// let layer = PackedLinear::new(w, &[0.5, 0.5], Activation::Relu);
/// let mut y = [9.0; 2];
/// layer.forward(&[1.0, 2.0], &mut y);
/// assert_eq!(y, [3.5, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct PackedLinear {
    /// For each `width` outputs one panel, `[inputs, width]`; zeros where there is no output.
    panels: Lines,
    /// One for each output of each panel.
    bias: Vec<f32>,
    width: usize,
    inputs: usize,
    outputs: usize,
    act: Activation,
}

/// Numbers that begin with a line of the cache, so that no register is loaded of two.
#[derive(Clone, Debug)]
struct Lines(Vec<Line>);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Lines {
    /// As many zeros, a multiple of a line's sixteen.
    fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; 16]); len / 16])
    }

    fn numbers(&self) -> &[f32] {
        // SAFETY: a line is sixteen numbers and nothing beside.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }

    fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}

/// The rows of one block times one panel.
#[derive(Clone, Copy)]
struct Job<'a> {
    /// `[rows, inputs]`
    x: &'a [f32],
    /// `[inputs, width]`
    panel: &'a [f32],
    bias: &'a [f32],
    inputs: usize,
    act: Activation,
    /// All of the output, its row length, and where this job's part begins.
    y: Shared<'a>,
    outputs: usize,
    first: usize,
    /// How many of the panel's outputs there are.
    valid: usize,
}

impl PackedLinear {
    /// Packs `w`, `[outputs, inputs]`.
    ///
    /// # Panics
    /// When there is not one bias per output.
    pub fn new(w: Mat, bias: &[f32], act: Activation) -> Self {
        assert_eq!(bias.len(), w.rows, "one bias per output");
        w.assert_in_bounds();
        let width = if cpu() == Cpu::Avx512 { WIDE } else { NARROW };
        let (outputs, inputs) = (w.rows, w.cols);
        let mut lines = Lines::zeros(outputs.next_multiple_of(width) * inputs);
        let panels = lines.numbers_mut();
        for output in 0..outputs {
            let (panel, column) = (output / width, output % width);
            let panel = &mut panels[panel * width * inputs..][..width * inputs];
            for k in 0..inputs {
                let weight = w.data[output * w.row_stride + k * w.col_stride];
                panel[k * width + column] = weight;
            }
        }
        let mut padded = vec![0.0; outputs.next_multiple_of(width)];
        padded[..outputs].copy_from_slice(bias);
        Self {
            panels: lines,
            bias: padded,
            width,
            inputs,
            outputs,
            act,
        }
    }

    /// Inputs of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
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
        self.forward_into(x, rows, Shared::new(y));
    }

    /// [`forward`](Self::forward) into a new buffer, which is not cleared before.
    ///
    /// # Panics
    /// When `x` is not of whole rows.
    pub fn forward_new(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs.max(1);
        assert_eq!(x.len(), rows * self.inputs, "x of {} inputs", self.inputs);
        let len = rows * self.outputs;
        let mut y = Vec::with_capacity(len);
        // SAFETY: every output of every row is written, and none read before.
        unsafe {
            self.forward_into(x, rows, Shared::raw(y.as_mut_ptr(), len));
            y.set_len(len);
        }
        y
    }

    fn forward_into(&self, x: &[f32], rows: usize, y: Shared) {
        let (panels, blocks) = (self.outputs.div_ceil(self.width), rows.div_ceil(BLOCK));
        let work = rows * self.inputs * self.outputs;
        // Panels outside, so that one stays in the cache while it meets one block of rows after another.
        for_each(panels * blocks, work >= PARALLEL_WORK, |job| {
            let (panel, block) = (job / blocks, job % blocks);
            self.run(panel, [block * BLOCK, rows.min((block + 1) * BLOCK)], x, y);
        });
    }

    fn run(&self, panel: usize, [start, end]: [usize; 2], x: &[f32], y: Shared) {
        let column = panel * self.width;
        let job = Job {
            x: &x[start * self.inputs..end * self.inputs],
            panel: &self.panels.numbers()[column * self.inputs..][..self.width * self.inputs],
            bias: &self.bias[column..][..self.width],
            inputs: self.inputs,
            act: self.act,
            y,
            outputs: self.outputs,
            first: start * self.outputs + column,
            valid: self.width.min(self.outputs - column),
        };
        #[cfg(target_arch = "x86_64")]
        if self.width == WIDE {
            // SAFETY: panels are wide where the processor has AVX-512.
            return unsafe { avx512::run(&job, end - start) };
        }
        narrow(job, end - start);
    }
}

impl<'a> Job<'a> {
    /// This job's part of a row of the output.
    #[inline(always)]
    fn out(&self, row: usize) -> &'a mut [f32] {
        // SAFETY: no other job has these rows and columns, and this one has no other slice of them meanwhile.
        unsafe { self.y.slice(self.first + row * self.outputs, self.valid) }
    }
}

dispatch! {
    fn narrow(job: Job, rows: usize) = narrow_body;
}

#[inline(always)]
fn narrow_body<const FMA: bool>(job: Job, rows: usize) {
    job_body::<FMA, NARROW>(job, rows);
}

#[inline(always)]
fn job_body<const FMA: bool, const WIDTH: usize>(job: Job, rows: usize) {
    let mut depth = 0;
    // At least once: without inputs the bias is the sum.
    loop {
        let end = job.inputs.min(depth + DEPTH);
        let mut row = 0;
        // Tiles of even height: a low one reads as many weights as a high one.
        for left in (1..=rows.div_ceil(ROWS)).rev() {
            let count = (rows - row).div_ceil(left);
            match count {
                1 => tile::<FMA, WIDTH, 1>(job, row, [depth, end]),
                2 => tile::<FMA, WIDTH, 2>(job, row, [depth, end]),
                3 => tile::<FMA, WIDTH, 3>(job, row, [depth, end]),
                4 => tile::<FMA, WIDTH, 4>(job, row, [depth, end]),
                5 => tile::<FMA, WIDTH, 5>(job, row, [depth, end]),
                _ => tile::<FMA, WIDTH, ROWS>(job, row, [depth, end]),
            }
            row += count;
        }
        depth = end;
        if depth == job.inputs {
            return;
        }
    }
}

/// Adds the inputs `start..end` to `COUNT` rows from `row` on; after the last ones the activation is applied.
#[inline(always)]
fn tile<const FMA: bool, const WIDTH: usize, const COUNT: usize>(
    job: Job,
    row: usize,
    [start, end]: [usize; 2],
) {
    let (bias, _) = job.bias.as_chunks::<WIDTH>();
    // Not zeros that are overwritten: clearing them takes a good part of a product with few inputs.
    let mut sums = [bias[0]; COUNT];
    let mut x: [&[f32]; COUNT] = [&[]; COUNT];
    for i in 0..COUNT {
        x[i] = &job.x[(row + i) * job.inputs..][start..end];
        if start > 0 {
            take(job.out(row + i), &mut sums[i]);
        }
    }
    let panel = &job.panel[start * WIDTH..end * WIDTH];
    multiply::<FMA, WIDTH, COUNT>(x, panel, &mut sums);
    for (i, sums) in sums.iter_mut().enumerate() {
        if end == job.inputs {
            activate_piece::<FMA>(job.act, sums);
        }
        put(sums, job.out(row + i));
    }
}

/// What was put down before.
#[inline(always)]
fn take<const WIDTH: usize>(out: &[f32], sums: &mut [f32; WIDTH]) {
    match <&[f32; WIDTH]>::try_from(out) {
        Ok(out) => *sums = *out,
        Err(_) => sums[..out.len()].copy_from_slice(out),
    }
}

/// Puts down as many sums as there are outputs.
#[inline(always)]
fn put<const WIDTH: usize>(sums: &[f32; WIDTH], out: &mut [f32]) {
    match <&mut [f32; WIDTH]>::try_from(&mut *out) {
        Ok(out) => *out = *sums,
        Err(_) => out.copy_from_slice(&sums[..out.len()]),
    }
}

/// sumsᵢⱼ += Σₖ xᵢₖ panelₖⱼ, in registers.
#[inline(always)]
fn multiply<const FMA: bool, const WIDTH: usize, const COUNT: usize>(
    x: [&[f32]; COUNT],
    panel: &[f32],
    sums: &mut [[f32; WIDTH]; COUNT],
) {
    let mut held = *sums;
    let (weights, _) = panel.as_chunks::<WIDTH>();
    assert!(x.iter().all(|x| x.len() == weights.len()), "rows of x");
    for (k, weights) in weights.iter().enumerate() {
        for (sums, x) in held.iter_mut().zip(&x) {
            // SAFETY: as long as the panel is deep, as asserted; the check in this loop would cost a tenth of it.
            let x = unsafe { *x.get_unchecked(k) };
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum = fma::<FMA>(x, weight, *sum);
            }
        }
    }
    *sums = held;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::activate_in_place;
    use crate::testing::{assert_close, random};

    #[test]
    fn outputs_agree_with_the_definition_at_odd_shapes() {
        for [rows, inputs, outputs] in [
            [0, 3, 2],
            [1, 1, 1],
            [4, 0, 3],
            [7, 5, 3],
            [6, 384, 64],
            [13, 385, 65],
            [101, 771, 130],
            [200, 40, 17],
        ] {
            let (x, bias) = (random(rows * inputs, 1), random(outputs, 3));
            let scale = 1.0 / (inputs.max(1) as f32).sqrt();
            let w = random(outputs * inputs, 2);
            let w: Vec<f32> = w.iter().map(|w| w * scale).collect();
            let mut want = Vec::new();
            for row in 0..rows {
                for o in 0..outputs {
                    let products = (0..inputs)
                        .map(|k| f64::from(x[row * inputs + k]) * f64::from(w[o * inputs + k]));
                    want.push(f64::from(bias[o]) + products.sum::<f64>());
                }
            }
            let transposed: Vec<f32> = (0..w.len())
                .map(|i| w[(i % outputs.max(1)) * inputs + i / outputs.max(1)])
                .collect();
            let views = [
                Mat::new(&w, outputs, inputs),
                Mat::new(&transposed, inputs, outputs).t(),
            ];
            for w in views {
                let mut plain = vec![9.0; rows * outputs];
                PackedLinear::new(w, &bias, Activation::None).forward(&x, &mut plain);
                assert_close(&plain, &want, 1e-5);
                let mut activated = vec![9.0; rows * outputs];
                let gelu = PackedLinear::new(w, &bias, Activation::Gelu);
                gelu.forward(&x, &mut activated);
                assert!(inputs == 0 || gelu.forward_new(&x) == activated);
                activate_in_place(Activation::Gelu, &mut plain);
                assert_eq!(activated, plain);
            }
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_among_others() {
        let (inputs, outputs) = (400, 70);
        let (x, w) = (random(20 * inputs, 1), random(outputs * inputs, 2));
        let layer = PackedLinear::new(
            Mat::new(&w, outputs, inputs),
            &random(outputs, 3),
            Activation::None,
        );
        let mut together = vec![9.0; 20 * outputs];
        layer.forward(&x, &mut together);
        for (x, want) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
            let mut y = vec![9.0; outputs];
            layer.forward(x, &mut y);
            assert_eq!(y, want);
        }
    }
}
