//! The rows of a block times one panel with registers of sixteen numbers, written out: of the plain loops LLVM makes a tile that
//! reaches three quarters of what the processor can, of this one nine tenths.

use super::{DEPTH, Job};
use crate::activation::activate_piece;
use std::arch::x86_64::{
    __m512, __mmask16, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

/// Numbers of a register, and registers to each row of a tile.
const LANES: usize = 16;
const COLUMNS: usize = super::WIDE / LANES;

/// Rows of a tile: its sums, a panel's weights and two inputs fill the 32 registers.
const ROWS: usize = 6;

/// Writes the outputs of a job.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,popcnt")]
pub(super) fn run(job: &Job, rows: usize) {
    let mut depth = 0;
    // At least once: without inputs the bias is the sum.
    loop {
        let range = [depth, job.inputs.min(depth + DEPTH)];
        let mut row = 0;
        // Tiles of even height: a low one reads as many weights as a high one.
        for left in (1..=rows.div_ceil(ROWS)).rev() {
            let count = (rows - row).div_ceil(left);
            match count {
                1 => tile::<1>(job, row, range),
                2 => tile::<2>(job, row, range),
                3 => tile::<3>(job, row, range),
                4 => tile::<4>(job, row, range),
                5 => tile::<5>(job, row, range),
                _ => tile::<ROWS>(job, row, range),
            }
            if range[1] == job.inputs {
                activate(job, row, count);
            }
            row += count;
        }
        depth = range[1];
        if depth == job.inputs {
            return;
        }
    }
}

/// Adds the products of the inputs `start..end` to `COUNT` rows from `row` on.
#[target_feature(enable = "avx512f")]
fn tile<const COUNT: usize>(job: &Job, row: usize, [start, end]: [usize; 2]) {
    let x = &job.x[row * job.inputs..(row + COUNT) * job.inputs];
    let panel = &job.panel[start * super::WIDE..end * super::WIDE];
    let masks = masks(job.valid);
    let mut sums = [[_mm512_setzero_ps(); COLUMNS]; COUNT];
    for (i, sums) in sums.iter_mut().enumerate() {
        let before: &[f32] = if start == 0 {
            &job.bias[..job.valid]
        } else {
            job.out(row + i)
        };
        for (j, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the mask leaves out what lies behind the slice.
            *sum =
                unsafe { _mm512_maskz_loadu_ps(masks[j], before.as_ptr().wrapping_add(j * LANES)) };
        }
    }
    // SAFETY: rows of `inputs` numbers, of which `start..end` are read, and as many rows of the panel.
    unsafe {
        let x = x.as_ptr().add(start);
        multiply(x, job.inputs, panel.as_ptr(), end - start, &mut sums);
    }
    for (i, sums) in sums.iter().enumerate() {
        let out = job.out(row + i).as_mut_ptr();
        for (j, &sum) in sums.iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_ps(out.wrapping_add(j * LANES), masks[j], sum) };
        }
    }
}

/// sumsᵢⱼ += Σₖ xᵢₖ panelₖⱼ over `depth` numbers of rows that lie `stride` apart.
///
/// # Safety
/// All of that can be read.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn multiply<const COUNT: usize>(
    mut x: *const f32,
    stride: usize,
    mut panel: *const f32,
    depth: usize,
    sums: &mut [[__m512; COLUMNS]; COUNT],
) {
    let mut held = *sums;
    for _ in 0..depth {
        // SAFETY: `depth` steps through what can be read.
        unsafe {
            let mut weights = [_mm512_setzero_ps(); COLUMNS];
            for (j, weights) in weights.iter_mut().enumerate() {
                *weights = _mm512_loadu_ps(panel.add(j * LANES));
            }
            for (i, sums) in held.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.add(i * stride));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = _mm512_fmadd_ps(x, weights, *sum);
                }
            }
            (x, panel) = (x.add(1), panel.add(COLUMNS * LANES));
        }
    }
    *sums = held;
}

/// Which lanes of each register there are outputs for.
fn masks(valid: usize) -> [__mmask16; COLUMNS] {
    let mut masks = [0; COLUMNS];
    for (j, mask) in masks.iter_mut().enumerate() {
        let lanes = valid.saturating_sub(j * LANES).min(LANES);
        *mask = ((1_u32 << lanes) - 1) as __mmask16;
    }
    masks
}

#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,popcnt")]
fn activate(job: &Job, row: usize, count: usize) {
    for row in row..row + count {
        let out = job.out(row);
        // Of known length, as it mostly is, a piece is computed without a loop.
        match <&mut [f32; super::WIDE]>::try_from(&mut *out) {
            Ok(out) => activate_piece::<true>(job.act, out),
            Err(_) => activate_piece::<true>(job.act, out),
        }
    }
}
