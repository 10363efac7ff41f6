//! The CPU kernels of nearkin: plain functions on `f32` slices and row-major matrix views.
//!
//! Everything a network's forward and backward pass, an optimizer or an exact search spends its time in is here,
//! and nothing else: no tensors, no tape, no files. A kernel reads its inputs, overwrites its outputs (the few that
//! add say so) and keeps no state but per-thread scratch memory.
//!
//! - **Layout.** Matrices are row-major, images are `[batch, height, width, channels]` (NHWC) and convolution weights
//!   `[out, kernel_height, kernel_width, in]`, so that the innermost axis is always contiguous and a multiple of a
//!   SIMD register in real networks.
//! - **Threads.** Large calls split over rayon's global pool ([`set_threads`]); small ones stay on the caller's thread.
//! - **Determinism.** Work is split by size alone and partial sums are added in a fixed order: the same inputs and
//!   thread count give the same bits.
//! - **SIMD.** One plain loop per kernel is compiled for AVX-512, for AVX2 + FMA and for the baseline, and the
//!   processor is asked once ([`cpu`]). `NEARKIN_CPU=portable|avx2|avx512` forces a path.
//! - **Shapes are the caller's promise.** A slice of the wrong length is a bug in the caller and panics with the
//!   numbers; no value inside a slice can make a kernel panic, unless its documentation says so.
//!
//! ```
//! use nearkin_kernels::{Beta, Mat, MatMut, gemm};
//! let a = [1.0, 2.0, 3.0, 4.0]; // [2, 2]
//! let x = [1.0, 10.0];
//! let mut y = [0.0; 2];
//! gemm(MatMut::new(&mut y, 2, 1), Beta::Overwrite, 1.0, Mat::new(&a, 2, 2), Mat::new(&x, 2, 1));
//! assert_eq!(y, [21.0, 43.0]);
//! ```

// The one crate of the workspace that may: SIMD dispatch, matrix products over raw parts and disjoint writes.
#![allow(unsafe_code)]
// Kernels take the slices they work on; a `# Panics` section says what their lengths must be where it is not plain.
#![allow(clippy::missing_panics_doc)]
// Loop bodies must be inlined into the functions that `dispatch!` compiles for each instruction set.
#![allow(clippy::inline_always)]
// An output view and a set of gradients are given away, like the `&mut` slices they hold.
#![allow(clippy::needless_pass_by_value)]
// ReLU, LeVeque, √head_dim and other names that are not code.
#![allow(clippy::doc_markdown)]
// Exact comparisons are meant: ties, zeros, and tests of equal bits.
#![allow(clippy::float_cmp)]

mod activation;
mod alike_bits;
mod attention;
mod batch_norm;
mod batch_norm_pool;
mod buffer;
mod channels;
mod conv2d;
mod depthwise;
mod dispatch;
mod dot_rows;
mod dropout;
mod exp;
mod gather;
mod gemm;
mod grouped;
mod im2col;
mod layer_norm;
mod linear;
mod maxout;
mod nearest_of_groups;
mod normalize;
mod optimizer;
mod packed_conv2d;
mod packed_linear;
mod pair_sum;
mod parallel;
mod places;
mod pool;
mod quantized_linear;
mod reduce;
mod response_norm;
mod root;
mod softmax;
#[cfg(test)]
mod testing;
mod token_pool;
mod top_k;
mod view;
mod winograd;

pub use activation::{Activation, activate, activate_backward, activate_in_place};
pub use alike_bits::alike_bits;
pub use attention::Attention;
pub use batch_norm::{BatchNorm, BatchNormGradients, BatchStatistics};
pub use batch_norm_pool::{BatchNormPool, BatchNormPoolGradients};
pub use buffer::zeros;
pub use channels::{put_columns, scale_channels, scale_channels_backward, take_columns};
pub use conv2d::Conv2d;
pub use dispatch::{Cpu, cpu};
pub use dot_rows::{any_dot_reaches, dot_byte_rows, dot_rows, widen_bytes};
pub use dropout::Dropout;
pub use exp::{exp, exp_scalar};
pub use gather::{gather_rows, scatter_add_rows};
pub use gemm::{Beta, gemm, gemm_sequential};
pub use layer_norm::{LayerNorm, LayerNormGradients, RowStatistics};
pub use linear::{LinearGradients, column_sums, linear, linear_backward, linear_new};
pub use maxout::{maxout, maxout_backward};
pub use nearest_of_groups::{
    nearest_of_groups, nearest_of_groups_backward, soft_nearest_of_groups,
    soft_nearest_of_groups_backward,
};
pub use normalize::{normalize_rows, normalize_rows_backward};
pub use optimizer::{AdaGrad, AdamW, Sgd, add, ema, first_non_finite, scale, squared_norm};
pub use packed_conv2d::PackedConv2d;
pub use packed_linear::PackedLinear;
pub use pair_sum::{pair_sum, pair_sum_backward};
pub use parallel::{ThreadsAlreadySet, alone, set_threads, threads, within_pool};
pub use places::places;
pub use pool::{Pool2d, global_average, global_average_backward};
pub use quantized_linear::QuantizedLinear;
pub use response_norm::ResponseNorm;
pub use root::{reciprocals, square_roots};
pub use softmax::{log_sum_exp_rows, softmax_cross_entropy, softmax_rows, softmax_rows_backward};
pub use token_pool::{TokenPool, TokenPooling};
pub use top_k::{Neighbor, TopK};
pub use view::{Mat, MatMut};
