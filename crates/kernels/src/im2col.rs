//! Convolution of any geometry as matrix products over patches (im2col).
//!
//! A patch is the part of the input under the kernel at one output position, `[kernel_height, kernel_width, in]`;
//! with patches as the rows of a matrix, y = patches wᵀ. The matrix is made and used in tiles, never whole.

use crate::conv2d::Conv2d;
use crate::gemm::{Beta, gemm, gemm_sequential};
use crate::parallel::{Shared, for_each, threads, with_scratch};
use crate::view::{Mat, MatMut};
use std::ops::Range;

/// Numbers one thread's tile of patches holds, where it can: about half of a second-level cache.
const TILE: usize = 1 << 17;

/// Positions a tile has at least, so that reads of the weights are shared.
const MIN_POSITIONS: usize = 128;

/// Numbers of patches the weight gradient holds at a time: a part of the third-level cache.
const HELD: usize = 1 << 21;

/// y = x ∗ w.
pub(crate) fn forward(conv: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let (patch, out) = (conv.patch_len(), conv.out_channels);
    let weights = Mat::new(w, out, patch).t();
    let positions = conv.positions();
    let tile = tile_len(conv, positions.div_ceil(threads()));
    let y = Shared::new(y);
    for_each(positions.div_ceil(tile), true, |i| {
        let (start, n) = (i * tile, tile.min(positions - i * tile));
        // SAFETY: tiles are disjoint ranges of output positions.
        let y = MatMut::new(unsafe { y.slice(start * out, n * out) }, n, out);
        with_scratch(n * patch, |patches| {
            gather(conv, x, start, patches);
            gemm_sequential(
                y,
                Beta::Overwrite,
                1.0,
                Mat::new(patches, n, patch),
                weights,
            );
        });
    });
}

/// Gradient of x: the gradients of the patches, added back to where the patches came from.
pub(crate) fn backward_input(conv: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (patch, out) = (conv.patch_len(), conv.out_channels);
    let weights = Mat::new(w, out, patch);
    let (positions, image) = (
        conv.positions() / conv.batch.max(1),
        dx.len() / conv.batch.max(1),
    );
    let tile = tile_len(conv, positions);
    let dx = Shared::new(dx);
    for_each(conv.batch, true, |i| {
        // SAFETY: images are disjoint.
        let dx = unsafe { dx.slice(i * image, image) };
        dx.fill(0.0);
        for start in (0..positions).step_by(tile) {
            let n = tile.min(positions - start);
            let dy = Mat::new(&dy[(i * positions + start) * out..][..n * out], n, out);
            with_scratch(n * patch, |patches| {
                gemm_sequential(
                    MatMut::new(patches, n, patch),
                    Beta::Overwrite,
                    1.0,
                    dy,
                    weights,
                );
                scatter(conv, patches, start, dx);
            });
        }
    });
}

/// Gradient of w: dyᵀ patches, summed over tiles in order.
pub(crate) fn backward_weight(conv: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    /// Positions gathered by one task.
    const PIECE: usize = 64;
    let (patch, out) = (conv.patch_len(), conv.out_channels);
    let positions = conv.positions();
    let held = (HELD / patch).clamp(MIN_POSITIONS, positions.max(MIN_POSITIONS));
    dw.fill(0.0);
    with_scratch(held.min(positions) * patch, |patches| {
        for start in (0..positions).step_by(held) {
            let n = held.min(positions - start);
            let patches = &mut patches[..n * patch];
            let shared = Shared::new(patches);
            for_each(n.div_ceil(PIECE), true, |i| {
                let count = PIECE.min(n - i * PIECE);
                // SAFETY: pieces are disjoint ranges of patches.
                let piece = unsafe { shared.slice(i * PIECE * patch, count * patch) };
                gather(conv, x, start + i * PIECE, piece);
            });
            let dy = Mat::new(&dy[start * out..][..n * out], n, out);
            gemm(
                MatMut::new(dw, out, patch),
                Beta::Add,
                1.0,
                dy.t(),
                Mat::new(patches, n, patch),
            );
        }
    });
}

fn tile_len(conv: &Conv2d, most: usize) -> usize {
    (TILE / conv.patch_len())
        .max(MIN_POSITIONS)
        .min(most)
        .max(1)
}

/// Writes the patches of the output positions from `start` on, one row each.
fn gather(conv: &Conv2d, x: &[f32], start: usize, patches: &mut [f32]) {
    for (i, patch) in patches.chunks_exact_mut(conv.patch_len()).enumerate() {
        for (row, part) in patch
            .chunks_exact_mut(conv.kernel[1] * conv.in_channels)
            .enumerate()
        {
            let Some(run) = run(conv, start + i, row) else {
                part.fill(0.0);
                continue;
            };
            part[..run.skipped].fill(0.0);
            part[run.skipped + run.places.len()..].fill(0.0);
            part[run.skipped..][..run.places.len()].copy_from_slice(&x[run.places]);
        }
    }
}

/// Adds the patches of positions from `start` on to the image `dx` they came from.
fn scatter(conv: &Conv2d, patches: &[f32], start: usize, dx: &mut [f32]) {
    for (i, patch) in patches.chunks_exact(conv.patch_len()).enumerate() {
        for (row, part) in patch
            .chunks_exact(conv.kernel[1] * conv.in_channels)
            .enumerate()
        {
            if let Some(run) = run(conv, start + i, row) {
                let part = &part[run.skipped..];
                dx[run.places]
                    .iter_mut()
                    .zip(part)
                    .for_each(|(dx, p)| *dx += p);
            }
        }
    }
}

/// The places of the input, one run of numbers, that one row of the kernel covers.
struct Run {
    /// Numbers of the kernel's row that lie before the image's left edge.
    skipped: usize,
    places: Range<usize>,
}

#[inline]
fn run(conv: &Conv2d, position: usize, kernel_row: usize) -> Option<Run> {
    let (out_height, out_width) = (conv.output_height(), conv.output_width());
    let (image, i, j) = (
        position / (out_height * out_width),
        position / out_width % out_height,
        position % out_width,
    );
    let row = (i * conv.stride[0] + kernel_row).checked_sub(conv.padding[0])?;
    let left = j * conv.stride[1];
    let skipped = conv.padding[1].saturating_sub(left);
    let first = (left + skipped).saturating_sub(conv.padding[1]);
    let end = (left + conv.kernel[1])
        .saturating_sub(conv.padding[1])
        .min(conv.width);
    if row >= conv.height || first >= end {
        return None;
    }
    let line = (image * conv.height + row) * conv.width;
    let channels = conv.in_channels;
    Some(Run {
        skipped: skipped * channels,
        places: (line + first) * channels..(line + end) * channels,
    })
}
