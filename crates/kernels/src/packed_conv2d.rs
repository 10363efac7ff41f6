//! A convolution for inference, whose weights lie in the order in which its products read them.

use crate::activation::Activation;
use crate::conv2d::{Conv2d, Method};
use crate::im2col;
use crate::packed_linear::PackedLinear;
use crate::parallel::{Shared, with_scratch};
use crate::view::Mat;
use crate::winograd::PackedWinograd;

/// Positions up to which packed weights pay: over more of them, packing anew for each product is next to nothing.
const FEW: usize = 1 << 12;

/// The same where the patches of all positions are held.
const FEW_PATCHES: usize = 1 << 8;

/// act(x ∗ w + bias) with weights that were packed once, for networks that no longer learn: batches of one size of image and any
/// number of them. 3 × 3 kernels of stride 1 are kept as Winograd's algorithm has them, 16 numbers in place of 9 (Lavin and Gray,
/// *Fast Algorithms for Convolutional Neural Networks*, 2015, section 4.1); of other kernels all patches of a batch are held at a time.
///
/// # Shapes
/// - `x`, `w`, `bias`: as those of [`Conv2d`], with one group
/// - output: `[batch, output_height, output_width, out_channels]`
///
/// ```
/// use nearkin_kernels::{Activation, Conv2d, PackedConv2d};
/// let conv = Conv2d {
///     batch: 1, height: 1, width: 3, in_channels: 1, out_channels: 1, kernel: [1, 2], stride: [1, 1], padding: [0, 0],
///     groups: 1,
/// };
/// let packed = PackedConv2d::new(&conv, &[10.0, -1.0], &[0.5], Activation::Relu);
/// assert_eq!(packed.forward(&conv, &[1.0, 2.0, 4.0]), [8.5, 16.5]);
/// ```
#[derive(Clone, Debug)]
pub struct PackedConv2d {
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// One product over the patches, or over the input where the patches are the input.
    Patches(PackedLinear),
    /// Winograd's algorithm.
    Tiles(PackedWinograd),
}

impl PackedConv2d {
    /// Whether packed weights pay for this convolution: it has one group and few positions.
    pub fn pays(conv: &Conv2d) -> bool {
        let few = match form(conv) {
            Method::Pointwise | Method::Winograd => FEW,
            Method::Im2col => FEW_PATCHES,
            Method::Depthwise | Method::Grouped => return false,
        };
        conv.positions() <= few
    }

    /// Packs `w`, `[out_channels, kernel_height, kernel_width, in_channels]`, for images of the size that `conv` has.
    ///
    /// # Panics
    /// When the slices do not fit or there is more than one group.
    pub fn new(conv: &Conv2d, w: &[f32], bias: &[f32], act: Activation) -> Self {
        assert_eq!(conv.groups, 1, "groups of {conv:?}");
        let lens = (conv.weight_len(), conv.out_channels);
        assert_eq!((w.len(), bias.len()), lens, "w and bias of {conv:?}");
        let form = if matches!(form(conv), Method::Winograd) {
            let channels = [conv.in_channels, conv.out_channels];
            Form::Tiles(PackedWinograd::new(w, channels, bias, act))
        } else {
            let w = Mat::new(w, conv.out_channels, conv.patch_len());
            Form::Patches(PackedLinear::new(w, bias, act))
        };
        Self { form }
    }

    /// act(x ∗ w + bias); `conv` is that of [`new`](Self::new), perhaps with another number of images.
    ///
    /// # Panics
    /// When `x` does not fit, or `conv` is another one.
    pub fn forward(&self, conv: &Conv2d, x: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), conv.input_len(), "x of {conv:?}");
        match &self.form {
            Form::Patches(linear) => {
                let shape = [linear.outputs(), linear.inputs(), 1];
                let expected = [conv.out_channels, conv.patch_len(), conv.groups];
                assert_eq!(shape, expected, "outputs, inputs and groups of {conv:?}");
                patches(conv, x, linear)
            }
            Form::Tiles(packed) => {
                let expected = [conv.in_channels, conv.out_channels];
                let fits = matches!(conv.method(), Method::Winograd);
                assert!(
                    fits && packed.channels() == expected,
                    "weights of another {conv:?}"
                );
                let len = conv.output_len();
                let mut y = Vec::with_capacity(len);
                // SAFETY: tiles cover every output, and none is read before it is written.
                unsafe {
                    packed.forward(conv.winograd(), x, Shared::raw(y.as_mut_ptr(), len));
                    y.set_len(len);
                }
                y
            }
        }
    }
}

/// How packed weights are used; by the size of one image, so that all batches agree.
fn form(conv: &Conv2d) -> Method {
    Conv2d { batch: 1, ..*conv }.method_of_few()
}

fn patches(conv: &Conv2d, x: &[f32], w: &PackedLinear) -> Vec<f32> {
    if matches!(conv.method(), Method::Pointwise) {
        return w.forward_new(x);
    }
    with_scratch(conv.positions() * conv.patch_len(), |patches| {
        im2col::gather_all(conv, x, patches);
        w.forward_new(patches)
    })
}
