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
    if conv.batch == 0 {
        return;
    }
    let (patch, out) = (conv.patch_len(), conv.out_channels);
    let weights = Mat::new(w, out, patch);
    let (positions, image) = (conv.positions() / conv.batch, dx.len() / conv.batch);
    let images = (MIN_POSITIONS / positions).clamp(1, conv.batch.div_ceil(threads()));
    let dx = Shared::new(dx);
    for_each(conv.batch.div_ceil(images), true, |i| {
        let (first, images) = (i * images, images.min(conv.batch - i * images));
        // SAFETY: groups of images are disjoint.
        let dx = unsafe { dx.slice(first * image, images * image) };
        dx.fill(0.0);
        let (first, positions) = (first * positions, images * positions);
        let tile = tile_len(conv, positions);
        for start in (0..positions).step_by(tile) {
            let n = tile.min(positions - start);
            let dy = Mat::new(&dy[(first + start) * out..][..n * out], n, out);
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
    let cover = Cover::new(conv);
    for (i, patch) in patches.chunks_exact_mut(conv.patch_len()).enumerate() {
        let corner = cover.corner(start + i);
        for (row, part) in patch.chunks_exact_mut(cover.line).enumerate() {
            let Some((skipped, places)) = cover.run(corner, row) else {
                part.fill(0.0);
                continue;
            };
            part[..skipped].fill(0.0);
            part[skipped + places.len()..].fill(0.0);
            part[skipped..][..places.len()].copy_from_slice(&x[places]);
        }
    }
}

/// Adds the patches of positions from `start` on to the images `dx` they came from.
fn scatter(conv: &Conv2d, patches: &[f32], start: usize, dx: &mut [f32]) {
    let cover = Cover::new(conv);
    for (i, patch) in patches.chunks_exact(conv.patch_len()).enumerate() {
        let corner = cover.corner(start + i);
        for (row, part) in patch.chunks_exact(cover.line).enumerate() {
            if let Some((skipped, places)) = cover.run(corner, row) {
                dx[places]
                    .iter_mut()
                    .zip(&part[skipped..])
                    .for_each(|(dx, p)| *dx += p);
            }
        }
    }
}

/// Which numbers of the input each row of the kernel covers.
#[derive(Clone, Copy)]
struct Cover<'a> {
    conv: &'a Conv2d,
    output: [usize; 2],
    /// Numbers in one row of the kernel.
    line: usize,
}

/// The kernel's first row and column at a position, counted from the first row and column of padding.
#[derive(Clone, Copy)]
struct Corner {
    image: usize,
    row: usize,
    col: usize,
}

impl<'a> Cover<'a> {
    fn new(conv: &'a Conv2d) -> Self {
        let output = [conv.output_height(), conv.output_width()];
        Self {
            conv,
            output,
            line: conv.kernel[1] * conv.in_channels,
        }
    }

    fn corner(&self, position: usize) -> Corner {
        let [height, width] = self.output;
        let (line, col) = (position / width, position % width);
        let (image, row) = (line / height, line % height);
        Corner {
            image,
            row: row * self.conv.stride[0],
            col: col * self.conv.stride[1],
        }
    }

    /// How many numbers of kernel row `row` lie left of the image, and the run of the input under the next ones.
    fn run(&self, corner: Corner, row: usize) -> Option<(usize, Range<usize>)> {
        let Conv2d {
            height,
            width,
            in_channels,
            kernel,
            padding,
            ..
        } = *self.conv;
        let row = (corner.row + row).wrapping_sub(padding[0]);
        let first = corner.col.max(padding[1]) - padding[1];
        let end = (corner.col + kernel[1])
            .saturating_sub(padding[1])
            .min(width);
        if row >= height || first >= end {
            return None;
        }
        let skipped = padding[1].saturating_sub(corner.col) * in_channels;
        let line = (corner.image * height + row) * width;
        Some((
            skipped,
            (line + first) * in_channels..(line + end) * in_channels,
        ))
    }
}
