//! Two-dimensional convolution of NHWC images, forward and backward.

use crate::buffer::zeros;
use crate::gemm::{Beta, gemm, gemm_new};
use crate::linear::add_to_rows;
use crate::view::{Mat, MatMut};
use crate::winograd::Winograd;
use crate::{depthwise, grouped, im2col};

/// A convolution (cross-correlation, as in every network library).
///
/// ```text
/// y[n, i, j, o] = Σ x[n, i · stride + a − padding, j · stride + b − padding, c] w[o, a, b, c] + bias[o]
/// ```
///
/// With `groups` above 1 the channels of x and of y lie in that many equal runs, and each run of y sees its run of x
/// alone; with as many groups as channels the convolution is depthwise.
///
/// # Shapes
/// - `x`: `[batch, height, width, in_channels]`, zero outside
/// - `w`: `[out_channels, kernel_height, kernel_width, in_channels / groups]`, `bias`: `[out_channels]`
/// - `y`: `[batch, output_height, output_width, out_channels]`
///
/// # Panics
/// Every method panics when a slice does not fit, a stride or kernel side is 0, the kernel is larger than the
/// padded image, or the channels are no multiple of the groups.
///
/// ```
/// use nearkin_kernels::Conv2d;
/// let conv = Conv2d {
///     batch: 1, height: 1, width: 3, in_channels: 1, out_channels: 1, kernel: [1, 2], stride: [1, 1], padding: [0, 0],
///     groups: 1,
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
    /// Runs of channels that do not see one another; 1 for a plain convolution.
    pub groups: usize,
}

/// How a convolution is computed.
pub(crate) enum Method {
    /// One matrix product: the patches are the input itself.
    Pointwise,
    /// 3 × 3 of stride 1, with enough channels.
    Winograd,
    /// Anything else with one group.
    Im2col,
    /// One kernel for each channel.
    Depthwise,
    /// Several groups of channels.
    Grouped,
}

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
        match self.method_of_few() {
            Method::Pointwise => {
                let (x, w) = (
                    Mat::new(x, self.positions(), self.in_channels),
                    self.weights(w),
                );
                gemm(
                    MatMut::new(y, x.rows, w.rows),
                    Beta::Overwrite,
                    1.0,
                    x,
                    w.t(),
                );
            }
            Method::Winograd => self.winograd().forward(x, w, y),
            Method::Im2col => im2col::forward(self, x, w, y),
            Method::Depthwise => depthwise::forward(self, x, w, y),
            Method::Grouped => grouped::forward(self, x, w, y),
        }
        if let Some(bias) = bias {
            add_to_rows(bias, y);
        }
    }

    /// [`forward`](Self::forward) into a new buffer, which is not cleared before where that is not needed.
    pub fn forward_new(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        if !matches!(self.method_of_few(), Method::Pointwise) {
            let mut y = zeros(self.output_len());
            self.forward(x, w, bias, &mut y);
            return y;
        }
        let lens = (self.input_len(), self.weight_len());
        assert_eq!((x.len(), w.len()), lens, "x and w of {self:?}");
        let x = Mat::new(x, self.positions(), self.in_channels);
        let mut y = gemm_new(x, self.weights(w).t());
        if let Some(bias) = bias {
            add_to_rows(bias, &mut y);
        }
        y
    }

    /// Gradient of x, overwriting `dx`.
    pub fn backward_input(&self, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        self.check(dx, w, dy);
        match self.method_of_few() {
            Method::Pointwise => {
                let (dy, w) = (
                    Mat::new(dy, self.positions(), self.out_channels),
                    self.weights(w),
                );
                gemm(
                    MatMut::new(dx, dy.rows, w.cols),
                    Beta::Overwrite,
                    1.0,
                    dy,
                    w,
                );
            }
            Method::Winograd => self.winograd().turned().backward_input(dy, w, dx),
            Method::Im2col => im2col::backward_input(self, dy, w, dx),
            Method::Depthwise => depthwise::backward_input(self, dy, w, dx),
            Method::Grouped => grouped::backward_input(self, dy, w, dx),
        }
    }

    /// Gradient of w, overwriting `dw`.
    pub fn backward_weight(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        self.check(x, dw, dy);
        match self.method() {
            Method::Pointwise => {
                let x = Mat::new(x, self.positions(), self.in_channels);
                let dy = Mat::new(dy, self.positions(), self.out_channels);
                gemm(
                    MatMut::new(dw, dy.cols, x.cols),
                    Beta::Overwrite,
                    1.0,
                    dy.t(),
                    x,
                );
            }
            Method::Winograd => self.winograd().backward_weight(x, dy, dw),
            Method::Im2col => im2col::backward_weight(self, x, dy, dw),
            Method::Depthwise => depthwise::backward_weight(self, x, dy, dw),
            Method::Grouped => grouped::backward_weight(self, x, dy, dw),
        }
    }

    pub(crate) fn method(&self) -> Method {
        /// Channels below which the transforms cost more than the products they save.
        const ENOUGH: usize = 16;
        if self.groups > 1 {
            let of_one = self.groups == self.in_channels && self.groups == self.out_channels;
            if of_one {
                Method::Depthwise
            } else {
                Method::Grouped
            }
        } else if (self.kernel, self.stride, self.padding) == ([1, 1], [1, 1], [0, 0]) {
            Method::Pointwise
        } else if (self.kernel, self.stride) == ([3, 3], [1, 1])
            && self.padding.iter().all(|&p| p <= 2)
            && self.in_channels.min(self.out_channels) >= ENOUGH
        {
            Method::Winograd
        } else {
            Method::Im2col
        }
    }

    /// As [`method`](Self::method), where the weights are transformed for so few tiles that this costs more than
    /// it saves.
    pub(crate) fn method_of_few(&self) -> Method {
        const ENOUGH: usize = 32;
        match self.method() {
            Method::Winograd if self.winograd().tiles() < ENOUGH => Method::Im2col,
            method => method,
        }
    }

    pub(crate) fn winograd(&self) -> Winograd {
        Winograd {
            batch: self.batch,
            source: [self.height, self.width],
            target: [self.output_height(), self.output_width()],
            padding: self.padding,
            channels: [self.in_channels, self.out_channels],
        }
    }

    fn weights<'a>(&self, w: &'a [f32]) -> Mat<'a> {
        Mat::new(w, self.out_channels, self.patch_len())
    }

    /// Output positions of the whole batch.
    pub(crate) fn positions(&self) -> usize {
        self.batch * self.output_height() * self.output_width()
    }

    /// Numbers under the kernel at one position.
    pub(crate) fn patch_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.in_channels / self.groups
    }

    fn check(&self, x: &[f32], w: &[f32], y: &[f32]) {
        for axis in 0..2 {
            let side = [self.height, self.width][axis] + 2 * self.padding[axis];
            assert!(
                self.stride[axis] > 0 && self.kernel[axis] > 0 && self.kernel[axis] <= side,
                "{self:?}"
            );
        }
        assert!(
            self.groups > 0
                && self.in_channels.is_multiple_of(self.groups)
                && self.out_channels.is_multiple_of(self.groups),
            "{self:?}"
        );
        let lens = (self.input_len(), self.weight_len(), self.output_len());
        assert_eq!((x.len(), w.len(), y.len()), lens, "x, w and y of {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::{Activation, activate_in_place};
    use crate::packed_conv2d::PackedConv2d;
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
                    let (inputs, outputs) = (
                        conv.in_channels / conv.groups,
                        conv.out_channels / conv.groups,
                    );
                    for (o, c) in
                        (0..conv.out_channels).flat_map(|o| (0..inputs).map(move |c| (o, c)))
                    {
                        let channel = o / outputs * inputs + c;
                        let x =
                            ((n * conv.height + h) * conv.width + w) * conv.in_channels + channel;
                        f(
                            x,
                            ((o * kh + a) * kw + b) * inputs + c,
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
            groups: 1,
        }
    }

    fn grouped(groups: usize, conv: Conv2d) -> Conv2d {
        Conv2d { groups, ..conv }
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
            conv([6, 7, 9, 17, 35], [3, 3], [1, 1], [0, 2]),
            conv([3, 1, 2, 48, 16], [3, 3], [1, 1], [1, 1]),
            conv([9, 13, 16, 64, 20], [3, 3], [1, 1], [2, 1]),
            conv([2, 8, 9, 5, 6], [1, 7], [1, 1], [0, 3]),
            conv([2, 9, 8, 5, 6], [7, 1], [1, 1], [3, 0]),
            conv([2, 5, 6, 32, 24], [1, 3], [1, 1], [0, 1]),
            conv([2, 5, 6, 32, 24], [3, 1], [1, 1], [1, 0]),
            grouped(2, conv([2, 5, 6, 6, 4], [3, 3], [1, 1], [1, 1])),
            grouped(3, conv([1, 6, 5, 9, 15], [1, 1], [2, 1], [0, 0])),
            grouped(4, conv([2, 5, 6, 4, 8], [3, 3], [2, 2], [1, 1])),
            grouped(2, conv([4, 9, 9, 64, 32], [5, 5], [1, 1], [2, 2])),
            grouped(3, conv([2, 5, 6, 3, 3], [3, 3], [1, 1], [1, 1])),
            grouped(40, conv([2, 9, 7, 40, 40], [5, 5], [2, 2], [2, 2])),
            grouped(33, conv([3, 8, 8, 33, 33], [3, 2], [1, 2], [1, 0])),
            grouped(2, conv([0, 6, 7, 2, 2], [3, 3], [1, 1], [1, 1])),
            grouped(64, conv([5, 12, 13, 64, 64], [3, 3], [1, 1], [1, 1])),
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
            assert_eq!(conv.forward_new(&x, &w, Some(&bias)), y);
            if conv.groups == 1 {
                let largest = y.iter().fold(1.0, |m: f32, y| m.max(y.abs()));
                let mut active = y.clone();
                activate_in_place(Activation::Relu, &mut active);
                for (act, want) in [(Activation::None, &y), (Activation::Relu, &active)] {
                    let layer = PackedConv2d::new(&conv, &w, &bias, act);
                    let packed = layer.forward(&conv, &x);
                    let apart = packed.iter().zip(want).map(|(p, y)| (p - y).abs());
                    assert!(apart.fold(0.0, f32::max) <= 3e-6 * largest, "{conv:?}");
                    let of_one = PackedConv2d::new(&Conv2d { batch: 1, ..conv }, &w, &bias, act);
                    assert_eq!(of_one.forward(&conv, &x), packed, "{conv:?}");
                }
            }
            conv.backward_input(&dy, &w, &mut dx);
            conv.backward_weight(&x, &dy, &mut dw);
            for (got, want) in [(y, want_y), (dx, want_dx), (dw, want_dw)] {
                // Rounding errors grow with the sums they are made in, so they are measured by the largest.
                let largest = want.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
                let want: Vec<f64> = want.iter().map(|x| x / largest).collect();
                let got: Vec<f32> = got.iter().map(|x| x / largest as f32).collect();
                assert_close(&got, &want, 3e-6);
            }
        }
    }

    #[test]
    fn gradients_are_the_same_bits_every_time() {
        let plain = conv([4, 16, 16, 24, 24], [3, 3], [1, 1], [1, 1]);
        for conv in [plain, grouped(24, plain), grouped(2, plain)] {
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
}
