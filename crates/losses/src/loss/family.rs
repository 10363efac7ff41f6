//! The list of the losses: one line each.

use super::{Definition, MatrixLoss, RowLoss, ViewLoss, Wrapper};
use crate::objective::Objective;

/// How a loss is computed.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    /// Anchor by anchor, from rows of `S`.
    Rows(&'a dyn RowLoss),
    /// From `S` as a whole.
    Matrix(&'a dyn MatrixLoss),
    /// From aligned views of the same items.
    Views(&'a dyn ViewLoss),
    /// From other losses.
    Wrapper(&'a dyn Wrapper),
}

/// The objectives inside of a loss of a form.
macro_rules! inside {
    (Wrapper, $loss:ident) => {
        Wrapper::objectives_mut($loss)
    };
    ($form:ident, $loss:ident) => {{
        _ = $loss;
        Vec::new()
    }};
}

/// Declares the enum: `Form { module::Type, … }` stands for keys `module` and structs `Type`, by the form of the loss.
macro_rules! losses {
    ($($form:ident { $($module:ident::$name:ident),* $(,)? })*) => {
        /// A loss over the pairs, triplets or tuplets of a batch.
        ///
        /// In a recipe: `[loss.triplet_margin]` with its parameters below it.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Loss {
            $($(
                #[doc = concat!("See [`", stringify!($name), "`](struct@super::", stringify!($name), ").")]
                $name(super::$module::$name),
            )*)*
        }

        impl Loss {
            /// Every loss with its default parameters.
            pub fn defaults() -> Vec<Self> {
                vec![$($(Self::$name(super::$module::$name::default()),)*)*]
            }

            /// Recipe key.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$name(_) => stringify!($module),)*)*
                }
            }

            /// The objectives that the loss is made of, if it is a wrapper.
            pub fn objectives_mut(&mut self) -> Vec<&mut Objective> {
                match self {
                    $($(Self::$name(loss) => inside!($form, loss),)*)*
                }
            }

            /// What the loss says about itself.
            pub fn definition(&self) -> &(dyn Definition + 'static) {
                match self {
                    $($(Self::$name(loss) => loss,)*)*
                }
            }

            /// How the loss is computed.
            pub fn form(&self) -> Form<'_> {
                match self {
                    $($(Self::$name(loss) => Form::$form(loss),)*)*
                }
            }
        }

        $($(
            impl From<super::$module::$name> for Loss {
                fn from(loss: super::$module::$name) -> Self {
                    Self::$name(loss)
                }
            }
        )*)*
    };
}

losses! {
    Rows {
        angular::Angular,
        arcface::Arcface,
        circle::Circle,
        contrastive::Contrastive,
        cosface::Cosface,
        fast_ap::FastAp,
        generalized_lifted_structure::GeneralizedLiftedStructure,
        harmonic_triplet::HarmonicTriplet,
        instance::Instance,
        lifted_structure::LiftedStructure,
        multi_similarity::MultiSimilarity,
        nca::Nca,
        normalized_softmax::NormalizedSoftmax,
        nt_xent::NtXent,
        p2s_grad::P2sGrad,
        pnp::Pnp,
        proxy_nca::ProxyNca,
        ranked_list::RankedList,
        smooth_ap::SmoothAp,
        smooth_triplet::SmoothTriplet,
        snr_contrastive::SnrContrastive,
        soft_triple::SoftTriple,
        sub_center_arcface::SubCenterArcface,
        sup_con::SupCon,
        threshold_consistent_margin::ThresholdConsistentMargin,
        triplet_margin::TripletMargin,
        tuplet::Tuplet,
        tuplet_margin::TupletMargin,
    }
    Matrix {
        constellation::Constellation,
        dynamic_soft_margin::DynamicSoftMargin,
        histogram::Histogram,
        improved_triplet::ImprovedTriplet,
        intra_pair_variance::IntraPairVariance,
        large_margin_softmax::LargeMarginSoftmax,
        manifold::Manifold,
        margin::Margin,
        n_pair::NPair,
        n_pair_ovo::NPairOvo,
        proxy_anchor::ProxyAnchor,
        quadruplet::Quadruplet,
        softmax::Softmax,
        sphereface::Sphereface,
    }
    Views {
        angle::Angle,
        barlow_twins::BarlowTwins,
        contrastive_tension::ContrastiveTension,
        contrastive_tension_in_batch::ContrastiveTensionInBatch,
        cosent::Cosent,
        cosine_regression::CosineRegression,
        distill_kl_div::DistillKlDiv,
        gist::Gist,
        global_orthogonal::GlobalOrthogonal,
        margin_mse::MarginMse,
        mega_batch_margin::MegaBatchMargin,
        mse_distill::MseDistill,
        multiple_negatives_ranking::MultipleNegativesRanking,
        online_contrastive::OnlineContrastive,
        softmax_classification::SoftmaxClassification,
        triplet_euclidean::TripletEuclidean,
        vicreg::Vicreg,
    }
    Wrapper {
        cross_batch_memory::CrossBatchMemory,
        matryoshka::Matryoshka,
        self_supervised::SelfSupervised,
        weighted_sum::WeightedSum,
    }
}
