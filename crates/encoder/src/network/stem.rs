//! What comes before the stages of a network.

use serde::{Deserialize, Serialize};

/// What comes before the stages of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// The first convolution has stride 1, and where it is 7×7 it is 3×3; there is no pooling behind it: for images of
    /// up to about 100 pixels.
    Small,
    /// The paper's.
    Large,
}
