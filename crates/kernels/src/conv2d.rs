//! Two-dimensional convolution of NHWC images, forward and backward.

use crate::gemm::{Beta, gemm, gemm_sequential};
use crate::parallel::{Shared, for_each, map_parts, with_scratch};
use crate::view::{Mat, MatMut};

/// A convolution (cross-correlation, as in every network library).
///
/// ```text
/// y[n, i, j, o] = Σ x[n, i · stride + a − padding, j · stride + b − padding, c] w[o, a, b, c] + bias[o]
/// ```
///
/// # Shapes
/// - `x`: `[batch, height, width, in_channels]`, zero outside
/// - `w`: `[out_channels, kernel_height, kernel_width, in_channels]`, `bias`: `[out_channels]`
/// - `y`: `[batch, output_height, output_width, out_channels]`
///
/// # Panics
/// Every method panics when a slice does not fit, a stride or kernel side is 0, or the kernel is larger than the
/// padded image.
///
/// ```
/// use nearkin_kernels::Conv2d;
/// let conv = Conv2d {
///     batch: 1, height: 1, width: 3, in_channels: 1, out_channels: 1, kernel: [1, 2], stride: [1, 1], padding: [0, 0],
/// };
/// let mut y = [0.0; 2];
/// conv.forward(&[1.0, 2.0, 4.0], &[10.0, 1.0], None, &mut y);
/// assert_eq!(y, [12.0, 24.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Rows and columns of zeros added on each side.
    pub padding: [usize; 2],
}

/// Numbers one im2col tile holds: about half of a core's second-level cache.
const TILE: usize = 1 << 17;

impl Conv2d {
    /// ⌊(height + 2 padding − kernel) / stride⌋ + 1.
    pub fn output_height(&self) -> usize {
        (self.height + 2 * self.padding[0] - self.kernel[0]) / self.stride[0] + 1
    }

    /// ⌊(width + 2 padding − kernel) / stride⌋ + 1.
    pub fn output_width(&self) -> usize {
        (self.width + 2 * self.padding[1] - self.kernel[1]) / self.stride[1] + 1
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        self.positions() * self.out_channels
    }

    /// Numbers in the weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.patch_len()
    }

    /// y = x ∗ w + bias, overwriting `y`.
    pub fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        self.check(x, w, y);
        let (patch, out) = (self.patch_len(), self.out_channels);
        let weights = Mat::new(w, out, patch).t();
        let finish = |y: &mut [f32]| {
            if let Some(bias) = bias {
                y.chunks_exact_mut(out)
                    .for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
            }
        };
        if self.is_pointwise() {
            gemm(
                MatMut::new(y, self.positions(), out),
                Beta::Overwrite,
                1.0,
                Mat::new(x, self.positions(), patch),
                weights,
            );
            return finish(y);
        }
        let y = Shared::new(y);
        self.for_tiles(|start, n| {
            // SAFETY: tiles are disjoint ranges of output positions.
            let y = unsafe { y.slice(start * out, n * out) };
            with_scratch(n * patch, |tile| {
                self.gather_patches(x, start, tile);
                gemm_sequential(
                    MatMut::new(y, n, out),
                    Beta::Overwrite,
                    1.0,
                    Mat::new(tile, n, patch),
                    weights,
                );
            });
            finish(y);
        });
    }

    /// Gradient of x, overwriting `dx`.
    pub fn backward_input(&self, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        self.check(dx, w, dy);
        let (patch, out) = (self.patch_len(), self.out_channels);
        let weights = Mat::new(w, out, patch);
        let per_image = self.output_height() * self.output_width();
        let dx = Shared::new(dx);
        let image = self.height * self.width * self.in_channels;
        for_each(self.batch, true, |i| {
            // SAFETY: images are disjoint.
            let dx = unsafe { dx.slice(i * image, image) };
            dx.fill(0.0);
            let tile = (TILE / patch).max(1);
            for start in (0..per_image).step_by(tile) {
                let n = tile.min(per_image - start);
                let dy = &dy[(i * per_image + start) * out..][..n * out];
                with_scratch(n * patch, |patches| {
                    let product = MatMut::new(patches, n, patch);
                    gemm_sequential(product, Beta::Overwrite, 1.0, Mat::new(dy, n, out), weights);
                    self.scatter_patches(patches, start, dx);
                });
            }
        });
    }

    /// Gradient of w, overwriting `dw`.
    pub fn backward_weight(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        self.check(x, dw, dy);
        const PARTS: usize = 16;
        let (patch, out) = (self.patch_len(), self.out_channels);
        let part = self.positions().div_ceil(PARTS).max(1);
        let sums = map_parts(self.positions().div_ceil(part), |i| {
            let mut sum = vec![0.0; self.weight_len()];
            let (tile, end) = ((TILE / patch).max(1), self.positions().min((i + 1) * part));
            for start in (i * part..end).step_by(tile) {
                let n = tile.min(end - start);
                let dy = Mat::new(&dy[start * out..][..n * out], n, out);
                with_scratch(n * patch, |patches| {
                    self.gather_patches(x, start, patches);
                    gemm_sequential(
                        MatMut::new(&mut sum, out, patch),
                        Beta::Add,
                        1.0,
                        dy.t(),
                        Mat::new(patches, n, patch),
                    );
                });
            }
            sum
        });
        dw.fill(0.0);
        for sum in sums {
            crate::linear::add_assign(&sum, dw);
        }
    }

    fn positions(&self) -> usize {
        self.batch * self.output_height() * self.output_width()
    }

    fn patch_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.in_channels
    }

    /// Whether the patches are the input itself.
    fn is_pointwise(&self) -> bool {
        (self.kernel, self.stride, self.padding) == ([1, 1], [1, 1], [0, 0])
    }

    /// `f(first position, positions)` for tiles of output positions, in parallel.
    fn for_tiles(&self, f: impl Fn(usize, usize) + Sync + Send) {
        let tile = (TILE / self.patch_len()).max(1);
        let positions = self.positions();
        for_each(positions.div_ceil(tile), true, |i| {
            f(i * tile, tile.min(positions - i * tile));
        });
    }

    /// Writes the patches of the output positions from `start` on, one row each.
    fn gather_patches(&self, x: &[f32], start: usize, tile: &mut [f32]) {
        let channels = self.in_channels;
        for (i, patch) in tile.chunks_exact_mut(self.patch_len()).enumerate() {
            let image = (start + i) / (self.output_height() * self.output_width())
                * self.height
                * self.width;
            for (tap, place) in self.taps(start + i).zip(patch.chunks_exact_mut(channels)) {
                match tap {
                    Some(at) => place.copy_from_slice(&x[(image + at) * channels..][..channels]),
                    None => place.fill(0.0),
                }
            }
        }
    }

    /// Adds patches back to the places of one image they came from.
    fn scatter_patches(&self, patches: &[f32], start: usize, dx: &mut [f32]) {
        let channels = self.in_channels;
        for (i, patch) in patches.chunks_exact(self.patch_len()).enumerate() {
            for (tap, patch) in self.taps(start + i).zip(patch.chunks_exact(channels)) {
                if let Some(at) = tap {
                    let dx = &mut dx[at * channels..][..channels];
                    dx.iter_mut().zip(patch).for_each(|(dx, p)| *dx += p);
                }
            }
        }
    }

    /// Where each place of the kernel lies for an output position: row · width + column in its image, or outside.
    fn taps(&self, position: usize) -> impl Iterator<Item = Option<usize>> + '_ {
        let out_width = self.output_width();
        let (row, col) = (
            position / out_width % self.output_height(),
            position % out_width,
        );
        (0..self.kernel[0] * self.kernel[1]).map(move |tap| {
            let h = (row * self.stride[0] + tap / self.kernel[1]).wrapping_sub(self.padding[0]);
            let w = (col * self.stride[1] + tap % self.kernel[1]).wrapping_sub(self.padding[1]);
            (h < self.height && w < self.width).then_some(h * self.width + w)
        })
    }

    fn check(&self, x: &[f32], w: &[f32], y: &[f32]) {
        for axis in 0..2 {
            let side = [self.height, self.width][axis] + 2 * self.padding[axis];
            assert!(
                self.stride[axis] > 0 && self.kernel[axis] > 0 && self.kernel[axis] <= side,
                "{self:?}"
            );
        }
        let lens = (self.input_len(), self.weight_len(), self.output_len());
        assert_eq!((x.len(), w.len(), y.len()), lens, "x, w and y of {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, to_f64};

    /// Calls `f(index of x, of w, of y)` for every product of the definition.
    fn for_each_product(conv: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
        let (oh, ow) = (conv.output_height(), conv.output_width());
        let [kh, kw] = conv.kernel;
        for position in 0..conv.batch * oh * ow {
            let (n, i, j) = (position / (oh * ow), position / ow % oh, position % ow);
            for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                let h = (i * conv.stride[0] + a).wrapping_sub(conv.padding[0]);
                let w = (j * conv.stride[1] + b).wrapping_sub(conv.padding[1]);
                if h < conv.height && w < conv.width {
                    for (o, c) in (0..conv.out_channels)
                        .flat_map(|o| (0..conv.in_channels).map(move |c| (o, c)))
                    {
                        let x = ((n * conv.height + h) * conv.width + w) * conv.in_channels + c;
                        f(
                            x,
                            ((o * kh + a) * kw + b) * conv.in_channels + c,
                            position * conv.out_channels + o,
                        );
                    }
                }
            }
        }
    }

    fn conv(
        size: [usize; 5],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Conv2d {
        let [batch, height, width, in_channels, out_channels] = size;
        Conv2d {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
        }
    }

    #[test]
    fn values_and_gradients_agree_with_the_definition() {
        for conv in [
            conv([2, 5, 6, 3, 4], [3, 3], [1, 1], [1, 1]),
            conv([1, 1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
            conv([3, 7, 5, 2, 17], [3, 2], [2, 1], [1, 0]),
            conv([1, 9, 9, 3, 33], [7, 7], [2, 2], [3, 3]),
            conv([2, 8, 8, 16, 40], [1, 1], [2, 2], [0, 0]),
            conv([2, 6, 7, 19, 35], [1, 1], [1, 1], [0, 0]),
            conv([0, 6, 7, 2, 3], [3, 3], [1, 1], [1, 1]),
            conv([5, 16, 17, 32, 32], [3, 3], [1, 1], [1, 1]),
            conv([3, 12, 12, 40, 24], [3, 3], [2, 2], [1, 1]),
            conv([1, 5, 4, 3, 2], [3, 3], [3, 2], [4, 3]),
        ] {
            let (x, w, dy) = (
                random(conv.input_len(), 1),
                random(conv.weight_len(), 2),
                random(conv.output_len(), 3),
            );
            let bias = random(conv.out_channels, 4);
            let mut want_y: Vec<f64> = (0..dy.len())
                .map(|i| f64::from(bias[i % conv.out_channels]))
                .collect();
            let (mut want_dx, mut want_dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            let (x64, w64, dy64) = (to_f64(&x), to_f64(&w), to_f64(&dy));
            for_each_product(&conv, |i, j, k| {
                want_y[k] += x64[i] * w64[j];
                want_dx[i] += dy64[k] * w64[j];
                want_dw[j] += dy64[k] * x64[i];
            });
            let (mut y, mut dx, mut dw) =
                (vec![9.0; dy.len()], vec![9.0; x.len()], vec![9.0; w.len()]);
            conv.forward(&x, &w, Some(&bias), &mut y);
            conv.backward_input(&dy, &w, &mut dx);
            conv.backward_weight(&x, &dy, &mut dw);
            assert_close(&y, &want_y, 2e-5);
            assert_close(&dx, &want_dx, 2e-5);
            assert_close(&dw, &want_dw, 2e-5);
        }
    }

    #[test]
    fn gradients_are_the_same_bits_every_time() {
        let conv = conv([4, 16, 16, 24, 24], [3, 3], [1, 1], [1, 1]);
        let (x, dy) = (random(conv.input_len(), 1), random(conv.output_len(), 2));
        let run = || {
            let mut dw = vec![0.0; conv.weight_len()];
            conv.backward_weight(&x, &dy, &mut dw);
            dw
        };
        let first = run();
        assert!((0..5).all(|_| run() == first));
    }
}
