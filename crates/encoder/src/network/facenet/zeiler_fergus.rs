//! NN1: the network of Zeiler and Fergus with 1×1 convolutions.

use super::{NORM, POOL};
use crate::layer::Kernel;
use crate::network::layers::Layer;

/// Outputs of the two maxout layers, 32 × 128 each.
pub(super) const HIDDEN: &[usize] = &[4096, 4096];

/// Table 1 up to the last pool; all 3×3 convolutions and pools have a padding of 1, which gives the table's sizes.
pub(super) fn table() -> Vec<Layer> {
    let conv = |name, outputs, side| Layer::Conv(name, outputs, Kernel::same(side, side));
    vec![
        Layer::Conv("conv1", 64, Kernel::square(7, 2, 3)),
        Layer::Pool("pool1", POOL),
        Layer::ResponseNorm(NORM),
        conv("conv2a", 64, 1),
        conv("conv2", 192, 3),
        Layer::ResponseNorm(NORM),
        Layer::Pool("pool2", POOL),
        conv("conv3a", 192, 1),
        conv("conv3", 384, 3),
        Layer::Pool("pool3", POOL),
        conv("conv4a", 384, 1),
        conv("conv4", 256, 3),
        conv("conv5a", 256, 1),
        conv("conv5", 256, 3),
        conv("conv6a", 256, 1),
        conv("conv6", 256, 3),
        Layer::Pool("pool4", POOL),
    ]
}
