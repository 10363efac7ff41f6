//! Encoders of nearkin: from images or features to embeddings.
//!
//! The central type is [`Embedder`], a network with its parameters. Below it stand the
//! differentiable operations of [`op`], each fused on the host over `nearkin_kernels` and composed
//! of candle's operations elsewhere; beside it the [`image`] input and the [`model`] folder.
//!
//! The seam to the losses is a row-major matrix of embeddings `[B, D]` and its gradient: this crate
//! knows no loss.

mod description;
mod error;
pub mod host;
pub mod image;
pub mod layer;
pub mod lora;
pub mod model;
pub mod network;
pub mod op;
mod pair_model;
pub mod parameters;
pub mod profile;
pub mod stored;
pub mod tape;
pub mod text;
pub mod weights;

pub use candle_core::{DType, Device, Tensor, Var};
pub use error::{Error, Result};
pub use image::ImageInput;
pub use layer::Mode;
pub use lora::Lora;
pub use model::Model;
pub use network::{Embedder, Head, InputShape, Network};
pub use pair_model::{PairConfig, PairModel};
pub use parameters::Parameters;
