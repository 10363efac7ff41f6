//! A recipe with what it names opened: what `train` runs and `recipe check` looks at.

use crate::failure::Failure;
use nearkin::pair_network::PairSetup;
use nearkin::recipe::{AnyRecipe, Document};
use nearkin::text::train::{CrossEncoderSetup, TextSetup};
use nearkin::train::{Setup, Task, Trained};
use nearkin::{EncoderError, Error};
use std::path::{Path, PathBuf};

/// A recipe with what it names opened.
pub enum Opened {
    Items(Box<Setup>),
    Pairs(Box<PairSetup>),
    Text(Box<TextSetup>),
    CrossEncoder(Box<CrossEncoderSetup>),
}

impl Opened {
    /// Opens what a recipe names; `refused` says what does not fit.
    fn new(recipe: AnyRecipe, refused: impl FnOnce(Error) -> Failure) -> Result<Self, Failure> {
        let opened = match recipe {
            AnyRecipe::Items(recipe) => Setup::new(*recipe).map(|setup| Self::Items(setup.into())),
            AnyRecipe::Pairs(recipe) => {
                PairSetup::new(*recipe).map(|setup| Self::Pairs(setup.into()))
            }
            AnyRecipe::Text(recipe) => {
                TextSetup::new(*recipe).map(|setup| Self::Text(setup.into()))
            }
            AnyRecipe::CrossEncoder(recipe) => {
                CrossEncoderSetup::new(*recipe).map(|setup| Self::CrossEncoder(setup.into()))
            }
        };
        let there = match &opened {
            Ok(Self::Items(setup)) => setup.check_there(),
            Ok(Self::Pairs(setup)) => setup.check_there(),
            _ => Ok(()),
        };
        match there {
            Ok(()) => opened.map_err(refused),
            Err(error) => Err(refused(error)),
        }
    }

    /// Writes the model that training begins with into a new folder.
    fn save_untrained(&self, folder: &Path) -> Result<(), Failure> {
        nearkin::create_folder(folder)?;
        match self {
            Self::Items(setup) => Trained::save(&Task::model(&**setup)?, folder)?,
            Self::Pairs(setup) => Trained::save(&Task::model(&**setup)?, folder)?,
            Self::Text(setup) => Trained::save(&Task::model(&**setup)?, folder)?,
            Self::CrossEncoder(setup) => Trained::save(&Task::model(&**setup)?, folder)?,
        }
        Ok(())
    }
}

/// Opens what a recipe names; what does not fit is placed in the recipe.
pub fn opened(document: &Document) -> Result<Opened, Failure> {
    Opened::new(document.any_recipe()?, |error| placed(document, error))
}

/// An error about a key of the recipe, at that key.
fn placed(document: &Document, error: Error) -> Failure {
    match error.recipe_key() {
        Some(key) => document.error_at(&key, &error.to_string()).into(),
        None => error.into(),
    }
}

/// Opens a chain of recipes as training would, the first to train first. No model is trained yet: each recipe begins with the
/// untrained one of the recipe before, whose tensors are called as the trained one's are and have its shapes.
pub fn look(
    documents: &[Document],
    mut each: impl FnMut(&Document, Opened) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let mut before: Option<PathBuf> = None;
    for (number, document) in documents.iter().enumerate() {
        let mut begun = document.clone();
        if let Some(model) = &before {
            begun.begin_with(model)?;
        }
        let model = place.path().join(number.to_string());
        let found = Opened::new(begun.any_recipe()?, |error| match &before {
            Some(before) => of_before(&begun, before, error),
            None => placed(&begun, error),
        })?;
        if number + 1 < documents.len() {
            found.save_untrained(&model)?;
        }
        before = Some(model);
        each(&begun, found)?;
    }
    Ok(())
}

/// What does not fit the model of the recipe before is said of that recipe, at the key that names it.
fn of_before(document: &Document, model: &Path, mut error: Error) -> Failure {
    if let Error::Encoder(
        EncoderError::MissingTensor { path, .. }
        | EncoderError::TensorShape { path, .. }
        | EncoderError::Kind { path, .. }
        | EncoderError::File { path, .. },
    ) = &mut error
        && path.starts_with(model)
    {
        let after = document.after().unwrap_or(Path::new("the recipe before"));
        *path = format!("the model that {} trains", after.display()).into();
        return document.error_at("after", &error.to_string()).into();
    }
    placed(document, error)
}
