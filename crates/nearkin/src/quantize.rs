//! Embeddings in a byte or a bit a number; the definitions are those of [`nearkin_index::quantize`].

pub use nearkin_index::quantize::{QuantizeError, Ranges, binary, int8, restore, ubinary, uint8};

use serde::{Deserialize, Serialize};

/// How small embeddings are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// By [`int8`].
    Int8,
    /// By [`uint8`].
    Uint8,
    /// By [`binary`].
    Binary,
    /// By [`ubinary`].
    Ubinary,
}
