//! A factor on the channels of a network.

use serde::{Deserialize, Serialize};

/// Factor on the channels of a network's layers, above zero and at most 16; 1 is the paper's width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Width(f64);

impl Width {
    /// The width of a paper.
    pub const PAPER: Self = Self(1.0);

    /// The channels of a layer that has `channels` in the paper, at least one.
    pub(super) fn of(self, channels: usize) -> usize {
        ((channels as f64 * self.0).round() as usize).max(1)
    }
}

impl Default for Width {
    fn default() -> Self {
        Self::PAPER
    }
}

impl TryFrom<f64> for Width {
    type Error = String;

    fn try_from(factor: f64) -> Result<Self, String> {
        if factor > 0.0 && factor <= 16.0 {
            Ok(Self(factor))
        } else {
            Err(format!("{factor} is out of range: above 0 and at most 16"))
        }
    }
}

impl From<Width> for f64 {
    fn from(width: Width) -> Self {
        width.0
    }
}
