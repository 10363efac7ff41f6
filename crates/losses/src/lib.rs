//! Distances, miners and losses of deep metric learning.
//!
//! The central type is [`Objective`]: embeddings `[B, D]` and labels in, a value and the gradient `[B, D]` out.
//!
//! ```
//! use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng, loss::TripletMargin, miner::All};
//!
//! // Three unit vectors at 0°, 90° and 180°; the first two belong together.
//! let batch = Mat::new(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 3, 2);
//! let objective = Objective::from(TripletMargin::default()).with_miner(All {});
//! let outcome = objective.value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
//! assert_eq!(outcome.tuples, 2); // (0, 1, 2) and (1, 0, 2)
//! assert_eq!(outcome.active, 0.5); // the second: the negative is as near as the positive
//! # Ok::<(), nearkin_losses::Error>(())
//! ```
//!
//! # The seam
//!
//! A key design decision is that a loss never sees embeddings. It is a function of the matrix of pair distances,
//!
//! ```text
//! (S, labels, tuples) → (L, G = ∂L/∂S),        S[i][j] = d(x_i, x_j): smaller is closer, always
//! ```
//!
//! and the [distance](distance::PairDistance) turns `G` into `∂L/∂E` once for all losses. So a [loss](loss::RowLoss) is a
//! page of formulas over rows of `S`; it works with every distance; and its cost is that of two matrix products plus its
//! passes over `S`. There are no sign flags: cosine similarity enters as `1 - cos`, a dot product as its negative.
//!
//! Which pairs or triplets take part is the choice of a [miner](miner::TupleMiner). It answers with [`Tuples`], a form of
//! its own for each kind of choice, none of which grows with the number of triplets.
//!
//! What a loss says about the embeddings themselves, such as the norm penalty of the N-pair loss, has its own place,
//! [`Definition::embedding_term`](loss::Definition::embedding_term), outside of `S`.
//!
//! # Recipes
//!
//! The struct that a recipe table is parsed into *is* the loss: [`TripletMargin`](loss::TripletMargin) is
//! `[loss.triplet_margin]`. Its parameters have types that cannot hold a bad value ([`range`]), its defaults are those of
//! its paper, and its doc comment is the page in the [catalogue]. Adding a loss takes its file and one line in [`loss`].
//!
//! # References
//!
//! Every loss, miner and distance carries a plain `reference` in `f64`, written tuple by tuple in the letters of its
//! paper. The tests hold the fused versions and their gradients against it, for everything in the catalogue.

mod batch;
pub mod catalogue;
mod criterion;
pub mod described;
pub mod distance;
mod error;
mod exact;
mod lanes;
pub mod logits;
pub mod loss;
pub mod miner;
mod objective;
pub mod pair_metric;
mod pairs;
mod parameter;
pub mod range;
pub mod reducer;
pub mod regularizer;
mod scores;
mod scratch;
mod tuples;
mod worked;

pub use batch::{Aligned, Batch, References, Targets};
pub use criterion::{Criterion, Outcome, Queue};
pub use error::Error;
pub use exact::{Exact, ExactColumns};
pub use nearkin_kernels::Mat;
pub use objective::Objective;
pub use pairs::{Classes, Pairs, Space};
pub use parameter::{Parameter, ParameterSpec, Start};
pub use rand::SeedableRng;
pub use rand_chacha::ChaCha8Rng;
pub use tuples::{KeptPairs, PairMask, Tuples};
pub use worked::{Worked, worked};
