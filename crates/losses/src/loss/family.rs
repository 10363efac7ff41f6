//! The list of the losses: one line each.

use super::{Definition, MatrixLoss, RowLoss, ViewLoss, Wrapper};
use super::{
    contrastive, generalized_lifted_structure, lifted_structure, multi_similarity, n_pair, nca,
    nt_xent, smooth_triplet, sup_con, triplet_margin, tuplet, tuplet_margin,
};

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
                $name($module::$name),
            )*)*
        }

        impl Loss {
            /// Every loss with its default parameters.
            pub fn defaults() -> Vec<Self> {
                vec![$($(Self::$name($module::$name::default()),)*)*]
            }

            /// Recipe key.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$name(_) => stringify!($module),)*)*
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
            impl From<$module::$name> for Loss {
                fn from(loss: $module::$name) -> Self {
                    Self::$name(loss)
                }
            }
        )*)*
    };
}

losses! {
    Rows {
        contrastive::Contrastive,
        generalized_lifted_structure::GeneralizedLiftedStructure,
        lifted_structure::LiftedStructure,
        multi_similarity::MultiSimilarity,
        nca::Nca,
        nt_xent::NtXent,
        smooth_triplet::SmoothTriplet,
        sup_con::SupCon,
        triplet_margin::TripletMargin,
        tuplet::Tuplet,
        tuplet_margin::TupletMargin,
    }
    Matrix {
        n_pair::NPair,
    }
    Views {
    }
    Wrapper {
    }
}
