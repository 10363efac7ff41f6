//! Losses: functions of the pair matrix, or of aligned views of the same items.

pub mod angle;
pub mod angular;
pub mod arcface;
pub mod barlow_twins;
pub mod circle;
pub mod constellation;
pub mod contrastive;
pub mod contrastive_tension;
pub mod contrastive_tension_in_batch;
pub mod cosent;
pub mod cosface;
pub mod cosine_regression;
pub mod cross_batch_memory;
pub mod distill_kl_div;
pub mod dynamic_soft_margin;
pub mod fast_ap;
pub mod generalized_lifted_structure;
pub mod gist;
pub mod global_orthogonal;
pub mod harmonic_triplet;
pub mod histogram;
pub mod improved_triplet;
pub mod instance;
pub mod intra_pair_variance;
pub mod large_margin_softmax;
pub mod lifted_structure;
pub mod manifold;
pub mod margin;
pub mod margin_mse;
pub mod matryoshka;
pub mod mega_batch_margin;
pub mod mse_distill;
pub mod multi_similarity;
pub mod multiple_negatives_ranking;
pub mod n_pair;
pub mod n_pair_ovo;
pub mod nca;
pub mod normalized_softmax;
pub mod nt_xent;
pub mod online_contrastive;
pub mod p2s_grad;
pub mod pnp;
pub mod proxy_anchor;
pub mod proxy_nca;
pub mod quadruplet;
pub mod ranked_list;
pub mod self_supervised;
pub mod smooth_ap;
pub mod smooth_triplet;
pub mod snr_contrastive;
pub mod soft_triple;
pub mod softmax;
pub mod softmax_classification;
pub mod sphereface;
pub mod sub_center_arcface;
pub mod sup_con;
pub mod threshold_consistent_margin;
pub mod triplet_euclidean;
pub mod triplet_margin;
pub mod tuplet;
pub mod tuplet_margin;
pub mod vicreg;
pub mod weighted_sum;

// The forms of losses, and what several losses share.
mod angular_margin;
mod bins;
mod candidates;
mod cholesky;
mod class_softmax;
mod family;
mod hinge;
mod ladder;
mod matrix;
mod multiple_angle;
mod order;
mod paired;
mod picks;
mod quadruples;
mod rank;
mod row;
mod view;
mod walks;
mod wrapper;

pub use angle::Angle;
pub use angular::Angular;
pub use arcface::Arcface;
pub use barlow_twins::BarlowTwins;
pub use circle::Circle;
pub use constellation::Constellation;
pub use contrastive::Contrastive;
pub use contrastive_tension::ContrastiveTension;
pub use contrastive_tension_in_batch::ContrastiveTensionInBatch;
pub use cosent::Cosent;
pub use cosface::Cosface;
pub use cosine_regression::CosineRegression;
pub use cross_batch_memory::CrossBatchMemory;
pub use distill_kl_div::DistillKlDiv;
pub use dynamic_soft_margin::DynamicSoftMargin;
pub use family::{Form, Loss};
pub use fast_ap::FastAp;
pub use generalized_lifted_structure::GeneralizedLiftedStructure;
pub use gist::Gist;
pub use global_orthogonal::GlobalOrthogonal;
pub use harmonic_triplet::HarmonicTriplet;
pub use histogram::Histogram;
pub use improved_triplet::ImprovedTriplet;
pub use instance::Instance;
pub use intra_pair_variance::IntraPairVariance;
pub use large_margin_softmax::LargeMarginSoftmax;
pub use lifted_structure::LiftedStructure;
pub use manifold::Manifold;
pub use margin::Margin;
pub use margin_mse::MarginMse;
pub use matrix::{Matrix, MatrixGradients, MatrixLoss};
pub use matryoshka::Matryoshka;
pub use mega_batch_margin::MegaBatchMargin;
pub use mse_distill::MseDistill;
pub use multi_similarity::MultiSimilarity;
pub use multiple_negatives_ranking::MultipleNegativesRanking;
pub use n_pair::NPair;
pub use n_pair_ovo::NPairOvo;
pub use nca::Nca;
pub use normalized_softmax::NormalizedSoftmax;
pub use nt_xent::NtXent;
pub use online_contrastive::OnlineContrastive;
pub use p2s_grad::P2sGrad;
pub use pnp::Pnp;
pub use proxy_anchor::ProxyAnchor;
pub use proxy_nca::ProxyNca;
pub use quadruplet::Quadruplet;
pub use ranked_list::RankedList;
pub(crate) use row::{Reduced, Rows};
pub use row::{Row, RowLoss};
pub use self_supervised::SelfSupervised;
pub use smooth_ap::SmoothAp;
pub use smooth_triplet::SmoothTriplet;
pub use snr_contrastive::SnrContrastive;
pub use soft_triple::SoftTriple;
pub use softmax::Softmax;
pub use softmax_classification::SoftmaxClassification;
pub use sphereface::Sphereface;
pub use sub_center_arcface::SubCenterArcface;
pub use sup_con::SupCon;
pub use threshold_consistent_margin::ThresholdConsistentMargin;
pub use triplet_euclidean::TripletEuclidean;
pub use triplet_margin::TripletMargin;
pub use tuplet::Tuplet;
pub use tuplet_margin::TupletMargin;
pub use vicreg::Vicreg;
pub use view::{Needs, ViewGradients, ViewLoss, Views};
pub use weighted_sum::{Weighted, WeightedSum};
pub use wrapper::{Inner, List, Part, Twins, Wrapper};

use crate::described::{Described, words};
use crate::distance::Distance;
use crate::exact::Exact;
use crate::lanes::total;
use crate::miner::{All, Miner};
use crate::pairs::{Classes, Pairs};
use crate::parameter::ParameterSpec;
use crate::reducer::{Mean, Reducer};
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

words! {
    /// What a loss needs to know of each item.
    pub enum Target {
        /// A class for each item.
        Labels = "labels",
        /// Pairs that belong together.
        Pairs = "pairs",
        /// Triplets: an anchor, a positive and negatives.
        Triplets = "triplets",
        /// A number for each pair or triplet.
        Scores = "scores",
        /// What a teacher model makes of the items.
        Teacher = "teacher",
    }
}

impl Target {
    const ALL: [Self; 5] = [
        Self::Labels,
        Self::Pairs,
        Self::Triplets,
        Self::Scores,
        Self::Teacher,
    ];

    /// Those of all targets that are asked for.
    fn subset(keep: impl Fn(Self) -> bool) -> &'static [Self] {
        static SUBSETS: LazyLock<Vec<Vec<Target>>> = LazyLock::new(|| {
            let of = |bits: usize| {
                let numbered = Target::ALL.into_iter().enumerate();
                let kept = numbered.filter(|(k, _)| bits >> k & 1 == 1);
                kept.map(|(_, target)| target).collect()
            };
            (0..1 << Target::ALL.len()).map(of).collect()
        });
        let bits = Self::ALL.into_iter().enumerate();
        let bits: usize = bits.map(|(k, target)| usize::from(keep(target)) << k).sum();
        &SUBSETS[bits]
    }
}

/// What the columns of the pair matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// The batch itself, or a set of references.
    Items,
    /// Learned proxies, so many of each class, those of a class one after another.
    Proxies {
        /// Proxies of each class.
        per_class: usize,
    },
    /// The batch with learned proxies after it that are of no class and are rows as well, for losses that need the
    /// distances among all of them.
    ItemsAndProxies {
        /// Proxies.
        proxies: usize,
    },
}

/// The sizes that a loss's learned parameters depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `D`, the width of an embedding.
    pub dim: usize,
    /// Classes of the training data.
    pub classes: usize,
}

/// What every loss says about itself.
pub trait Definition: Described + Send + Sync {
    /// What the loss needs to know of the items; any one of these will do.
    fn targets(&self) -> &'static [Target] {
        &[Target::Labels, Target::Pairs, Target::Triplets]
    }

    /// The distance of the paper; `None` if the loss sees the embeddings themselves.
    fn default_distance(&self) -> Option<Distance>;

    /// The miner of the paper; `None` if the loss forms its own tuples, so that a miner would have nothing to choose.
    fn default_miner(&self) -> Option<Miner> {
        Some(All {}.into())
    }

    /// The reducer of the paper; `None` if the loss is no sum of terms.
    fn default_reducer(&self) -> Option<Reducer> {
        Some(Mean {}.into())
    }

    /// What the columns of the pair matrix are.
    fn columns(&self) -> Columns {
        Columns::Items
    }

    /// The share of the proxies that a batch is compared with: those of its classes always, the others drawn at random.
    fn sampled(&self) -> f32 {
        1.0
    }

    /// Learned parameters of the loss's own, beside its proxies.
    fn learned(&self, _shape: Shape) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// The tuples of a loss that forms its own. Only a random choice draws from `rng`.
    fn form(&self, _pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        Tuples::All
    }

    /// How many of the tuples that the loss formed have fewer negatives than it asks for.
    fn short(&self, _tuples: &Tuples) -> usize {
        0
    }

    /// The part of the loss on the embeddings themselves, such as a penalty of their norms: its value, with its gradient
    /// added to `gradient`. Both are `[B, D]`, row-major; the embeddings are as they came, before any normalization.
    fn embedding_term(
        &self,
        _embeddings: &[f32],
        _classes: &Classes,
        _gradient: &mut [f32],
    ) -> f64 {
        0.0
    }

    /// The embedding term by its definition.
    fn embedding_reference(&self, _batch: &Exact<'_>) -> f64 {
        0.0
    }
}

/// What a loss made of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// `L`.
    pub value: f64,
    /// Tuples that took part.
    pub tuples: usize,
    /// Those still violated: the ones a hinge would count. A smooth loss counts the same ones.
    pub active: usize,
}

/// Writes `exp(x(d))` for each distance to `out`, in blocks of vector instructions; their sum.
fn exponentials(d: &[f32], x: impl Fn(f32) -> f32, out: &mut [f32]) -> f64 {
    const BLOCK: usize = 256;
    let mut sum = 0.0;
    for (out, d) in out.chunks_mut(BLOCK).zip(d.chunks(BLOCK)) {
        let mut exponents = [0.0; BLOCK];
        exponents.iter_mut().zip(d).for_each(|(e, &d)| *e = x(d));
        nearkin_kernels::exp(&exponents[..d.len()], out);
        sum += total(out);
    }
    sum
}

/// `log(1 + e^x)` and its derivative, for any `x`.
fn softplus(x: f32) -> (f32, f32) {
    let e = (-x.abs()).exp();
    let sigmoid = if x >= 0.0 {
        1.0 / (1.0 + e)
    } else {
        e / (1.0 + e)
    };
    (x.max(0.0) + e.ln_1p(), sigmoid)
}
