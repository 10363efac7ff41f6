//! Convolution of any geometry as matrix products over patches (im2col).
//!
//! A patch is the part of the input under the kernel at one output position, `[kernel_height, kernel_width, in]`;
//! with patches as the rows of a matrix, y = patches wᵀ. The matrix is made and used in tiles, never whole.

use crate::conv2d::Conv2d;
use crate::gemm::{Beta, gemm_sequential};
use crate::parallel::{Shared, for_each, threads, with_scratch};
use crate::view::{Mat, MatMut};
use std::ops::Range;

/// Numbers one thread's tile of patches and outputs holds, where it can: about half of a second-level cache.
const TILE: usize = 1 << 17;

/// Positions a tile has at least, so that reads of the weights are shared.
const MIN_POSITIONS: usize = 128;

/// Parts of the weight gradient per thread: more even out what else the machine does, fewer are added up faster.
const PARTS_PER_THREAD: usize = 2;

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

/// The patches of all positions, `[positions, patch]`.
pub(crate) fn gather_all(conv: &Conv2d, x: &[f32], patches: &mut [f32]) {
    let (patch, positions) = (conv.patch_len(), conv.positions());
    let tile = tile_len(conv, positions.div_ceil(threads()));
    let patches = Shared::new(patches);
    for_each(positions.div_ceil(tile), true, |i| {
        let (start, n) = (i * tile, tile.min(positions - i * tile));
        // SAFETY: tiles are disjoint ranges of positions.
        let patches = unsafe { patches.slice(start * patch, n * patch) };
        gather(conv, x, start, patches);
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

/// Gradient of w: dyᵀ patches. Each part of the positions sums its tiles, and the parts are added in order.
pub(crate) fn backward_weight(conv: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (patch, out, positions) = (conv.patch_len(), conv.out_channels, conv.positions());
    let part = positions
        .div_ceil(PARTS_PER_THREAD * threads())
        .max(2 * MIN_POSITIONS);
    let parts = positions.div_ceil(part);
    with_scratch(parts * dw.len(), |sums| {
        let shared = Shared::new(sums);
        for_each(parts, true, |i| {
            // SAFETY: each part has its own sum.
            let sum = unsafe { shared.slice(i * patch * out, patch * out) };
            sum.fill(0.0);
            let end = positions.min((i + 1) * part);
            let tile = tile_len(conv, part);
            for start in (i * part..end).step_by(tile) {
                let n = tile.min(end - start);
                let dy = Mat::new(&dy[start * out..][..n * out], n, out);
                with_scratch(n * patch, |patches| {
                    gather(conv, x, start, patches);
                    let patches = Mat::new(patches, n, patch);
                    // The transposed gradient: faer vectorizes over the contiguous axis, and out channels are many.
                    gemm_sequential(
                        MatMut::new(sum, patch, out),
                        Beta::Add,
                        1.0,
                        patches.t(),
                        dy,
                    );
                });
            }
        });
        add_transposed(sums, [patch, out], dw);
    });
}

/// dw = the sum of the transposed `[patch, out]` matrices in `sums`.
fn add_transposed(sums: &[f32], [patch, out]: [usize; 2], dw: &mut [f32]) {
    /// Rows of `dw` made at a time, so that lines of `sums` are used whole.
    const ROWS: usize = 16;
    let dw = Shared::new(dw);
    for_each(out.div_ceil(ROWS), true, |i| {
        let (first, rows) = (i * ROWS, ROWS.min(out - i * ROWS));
        // SAFETY: groups of rows are disjoint.
        let dw = unsafe { dw.slice(first * patch, rows * patch) };
        dw.fill(0.0);
        for sum in sums.chunks_exact(patch * out) {
            for (k, line) in sum.chunks_exact(out).enumerate() {
                for (o, x) in line[first..first + rows].iter().enumerate() {
                    dw[o * patch + k] += x;
                }
            }
        }
    });
}

fn tile_len(conv: &Conv2d, most: usize) -> usize {
    (TILE / (conv.patch_len() + conv.out_channels))
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
