//! What `evaluate`, `embed` and `search` start from: a model, and what of its input may be damaged.

use crate::arguments::Tolerance;
use crate::failure::Failure;
use crate::output;
use crate::progress::items;
use nearkin::data::{Dataset, Source, summary};
use nearkin::embed::{Embedded, embed};
use nearkin::feed::Feed;
use nearkin::recipe::Document;
use nearkin::vectors::{self, Vectors};
use nearkin::{Error, Input, InputShape, Model, PairModel};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model folder, and what of its input may be damaged.
#[derive(Clone)]
pub struct ModelFolder {
    path: PathBuf,
    tolerance: Tolerance,
}

impl ModelFolder {
    /// A folder that may hold a model of any kind.
    pub fn new(path: &Path, tolerance: &Tolerance) -> Self {
        Self {
            path: path.to_owned(),
            tolerance: tolerance.clone(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe in it, if there is one, with the tolerance asked for.
    pub fn recipe(&self) -> Result<Option<Document>, Failure> {
        let path = self.path.join("recipe.toml");
        if !path.exists() {
            return Ok(None);
        }
        let mut document = Document::read(&path)?;
        if let Some(share) = self.tolerance.damaged {
            document.set(&format!("data.damaged={share:?}"))?;
        }
        Ok(Some(document))
    }

    /// The table at a path as the model's recipe describes its own, where that has the same columns.
    pub fn table(&self, path: &Path) -> Result<Option<Source>, Failure> {
        let recipe = self.recipe()?.map(|document| document.any_recipe());
        let recipe = recipe.transpose()?;
        let data = recipe.as_ref().and_then(|recipe| recipe.of_items());
        let Some(Source::Manifest(manifest)) = data.map(|(data, _)| &data.source) else {
            return Ok(None);
        };
        Ok(manifest.of_table(path).map(Source::Manifest))
    }

    /// Items for a model that reads `input`; as many may be damaged as was asked for, or as the recipe says.
    pub fn feed(&self, dataset: Dataset, input: &Input) -> Result<Feed, Failure> {
        let share = match (self.tolerance.damaged, self.recipe()?) {
            (Some(share), _) => share,
            (None, Some(document)) => {
                let recipe = document.any_recipe()?;
                let of_data = recipe.of_items();
                of_data.map_or(0.0, |(data, _)| data.damaged.exact())
            }
            (None, None) => 0.0,
        };
        Feed::new(Arc::new(dataset), input.clone(), share).map_err(with_remedy)
    }
}

/// A model that embeds items, at work.
pub struct Subject {
    /// The model.
    pub model: Model,
    /// Where it is.
    pub folder: ModelFolder,
}

impl Subject {
    /// Reads the model in a folder.
    pub fn load(folder: &Path, tolerance: &Tolerance) -> Result<Self, Failure> {
        refuse_pairs(folder)?;
        Ok(Self {
            model: Model::load(folder)?,
            folder: ModelFolder::new(folder, tolerance),
        })
    }

    /// Items for the model.
    pub fn feed(&self, dataset: Dataset) -> Result<Feed, Failure> {
        self.folder.feed(dataset, &self.model.config.input)
    }

    /// Embeds items under a progress bar.
    pub fn embed(&self, feed: &Feed, indices: &[usize]) -> Result<Embedded, Failure> {
        feed.expect(indices).map_err(with_remedy)?;
        let bar = items(indices.len(), "embedding");
        let embedded = embed(&self.model, feed, indices, &mut |done| {
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        embedded.map_err(with_remedy)
    }

    /// Vectors from a file of them, or of everything at a path, embedded now; with the names of damaged items.
    pub fn read(&self, path: &Path) -> Result<(Vectors, Vec<String>), Failure> {
        if path.is_file() && vectors::check_extension(path).is_ok() {
            return Ok((vectors::read(path)?, Vec::new()));
        }
        self.vectors(path)
    }

    /// Embeds everything at a path; also returns the names of the damaged items that were left out.
    pub fn vectors(&self, path: &Path) -> Result<(Vectors, Vec<String>), Failure> {
        let dim = match self.model.config.input.shape() {
            InputShape::Features { dim } => Some(dim),
            InputShape::Image { .. } => None,
        };
        let dataset = match self.folder.table(path)? {
            Some(source) => Dataset::open(&source)?,
            None => nearkin::init::open_any(path, dim)?,
        };
        let feed = self.feed(dataset)?;
        let indices: Vec<usize> = (0..feed.dataset().len()).collect();
        say_left_out(feed.dataset());
        let embedded = self.embed(&feed, &indices)?;
        let dataset = feed.dataset();
        let name = |&item: &usize| dataset.names[item].clone();
        let class = |&label: &u32| dataset.classes[label as usize].clone();
        let vectors = Vectors {
            rows: embedded.items.len(),
            dim: embedded.dim,
            ids: Some(embedded.items.iter().map(name).collect()),
            labels: Some(embedded.labels.iter().map(class).collect()),
            data: embedded.numbers,
        };
        Ok((vectors, feed.damaged()))
    }
}

/// Warns of images that are none of the data set by its layout.
pub fn say_left_out(dataset: &Dataset) {
    if dataset.skipped.images > 0 {
        output::note(format_args!("warning: {}", summary(dataset)));
    }
}

/// Says what a network of pairs is for, where vectors are needed.
pub fn refuse_pairs(folder: &Path) -> Result<(), Failure> {
    if PairModel::is_in(folder) {
        return Err(Failure::usage(format!(
            "{}: a network of pairs scores two images together and has no vector of one; measure it with `nearkin evaluate --protocol reid` or `--protocol verification`, or compare two images with `nearkin verify`",
            folder.display()
        )));
    }
    Ok(())
}

/// Says how to go on where too much is damaged.
pub fn with_remedy(error: Error) -> Failure {
    match error {
        Error::Damaged { .. } => {
            Failure::run(format!("{error}; to leave out more: --damaged SHARE"))
        }
        error => error.into(),
    }
}

/// The damaged items that were left out, in words, or nothing.
pub fn left_out(damaged: &[String]) -> Option<String> {
    /// Names in a message; the rest is counted.
    const NAMED: usize = 10;
    if damaged.is_empty() {
        return None;
    }
    let more = match damaged.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = &damaged[..damaged.len().min(NAMED)];
    let names = named.join(", ");
    let images = match damaged.len() {
        1 => "1 damaged image was".to_owned(),
        count => format!("{count} damaged images were"),
    };
    Some(format!("{images} left out: {names}{more}"))
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn many_damaged_images_are_named_in_part_and_counted() {
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        let text = "12 damaged images were left out: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more";
        assert_eq!(left_out(&names).as_deref(), Some(text));
        let text = "1 damaged image was left out: 0";
        assert_eq!(left_out(&names[..1]).as_deref(), Some(text));
        assert_eq!(left_out(&[]), None);
    }
}
