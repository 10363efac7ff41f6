//! Fused differentiable operations on tensors.
//!
//! Each operation has two roads with one meaning: on the host in `f32` a fused node, forward and
//! backward over `nearkin_kernels`; anywhere else, and in `f64`, a composition of candle's
//! differentiable operations. Model code calls the function and never asks which.

mod activation;
mod attention;
mod batch_norm;
mod batch_norm_pool;
mod channels;
mod conv2d;
mod dropout;
mod gather;
mod image_tokens;
mod layer_norm;
mod linear;
mod normalize;
mod pair_sum;
mod pool;
mod saved;
mod shape;
mod softmax;
mod softmax_cross_entropy;
mod token_pool;
mod update;

pub use activation::activation;
pub use attention::{Heads, attention};
pub use batch_norm::{
    Epilogue, Moments, batch_norm, batch_norm_inference, batch_norm_inference_over,
};
pub use batch_norm_pool::{batch_norm_pool, batch_norm_pool_inference};
pub use channels::{concat, maxout, response_norm, scale_channels};
pub(crate) use conv2d::geometry;
pub use conv2d::{Convolution, Window, conv2d};
pub use dropout::dropout;
pub use gather::gather;
pub use image_tokens::image_tokens;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use nearkin_kernels::{Activation, Dropout, ResponseNorm, TokenPooling};
pub use normalize::normalize;
pub use pair_sum::pair_sum;
pub use pool::{Pool, Pooling, global_average, pool2d};
pub use shape::{flatten, flatten_by_channel, kernels_of_parts, pair, reshape, scale, sum};
pub use softmax::softmax;
pub use softmax_cross_entropy::softmax_cross_entropy;
pub use token_pool::token_pool;
pub use update::{Rule, State, ema, update};
