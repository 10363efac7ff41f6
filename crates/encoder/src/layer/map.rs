//! The size of a feature map, followed through a network while it is built.

use crate::error::{Error, Result};
use crate::op::Pool;

/// The shape of the feature map at a place of a network, without the batch.
///
/// Layers take it while they are built and move it on: a network larger than its images allow is refused then, by the
/// name of the layer whose window does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Map {
    /// The map behind windows, with the same channels.
    ///
    /// # Errors
    /// The window is larger than the padded map.
    pub fn pooled(self, layer: &str, pool: Pool) -> Result<Self> {
        let padded = |side: usize, axis: usize| side + 2 * pool.window.padding[axis];
        if padded(self.height, 0) < pool.kernel[0] || padded(self.width, 1) < pool.kernel[1] {
            return Err(Error::TooSmall {
                layer: layer.into(),
                height: self.height,
                width: self.width,
                window: pool.kernel,
            });
        }
        let windows = pool.over([1, self.height, self.width, self.channels]);
        Ok(Self {
            height: windows.output_height(),
            width: windows.output_width(),
            ..self
        })
    }

    /// The count of its numbers.
    pub fn numbers(self) -> usize {
        self.height * self.width * self.channels
    }
}
