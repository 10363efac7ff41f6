//! A recipe of any kind.

use super::{Data, Recipe, RecipeError, Train};
use crate::pair_network::PairRecipe;
use crate::text::recipe::{CrossEncoderRecipe, TextRecipe};
use serde::Serialize;

/// A recipe of any kind: what its tables are decides which.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum AnyRecipe {
    /// Labeled images or features.
    Items(Box<Recipe>),
    /// A network of pairs, `[pair_network]`.
    Pairs(Box<PairRecipe>),
    /// A sentence encoder, `[encoder]`.
    Text(Box<TextRecipe>),
    /// A cross-encoder, `[cross_encoder]`.
    CrossEncoder(Box<CrossEncoderRecipe>),
}

impl AnyRecipe {
    /// What decides its random draws.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Items(recipe) => recipe.seed,
            Self::Pairs(recipe) => recipe.seed,
            Self::Text(recipe) => recipe.seed,
            Self::CrossEncoder(recipe) => recipe.seed,
        }
    }

    /// `[data]` and `[train]` of labeled items; none of texts, whose tables are others.
    pub fn of_items(&self) -> Option<(&Data, &Train)> {
        match self {
            Self::Items(recipe) => Some((&recipe.data, &recipe.train)),
            Self::Pairs(recipe) => Some((&recipe.data, &recipe.train)),
            Self::Text(_) | Self::CrossEncoder(_) => None,
        }
    }

    /// The recipe as a document, every default written out.
    ///
    /// # Errors
    /// A number has no TOML form (TOML's integers end at 2⁶³ − 1).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        match self {
            Self::Items(recipe) => recipe.to_toml(),
            Self::Pairs(recipe) => recipe.to_toml(),
            Self::Text(recipe) => recipe.to_toml(),
            Self::CrossEncoder(recipe) => recipe.to_toml(),
        }
    }
}
