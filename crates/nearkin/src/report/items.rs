//! The items of a report: their vectors, their classes, and what they look like.

use crate::embed::{Embedded, embed};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::train::Setup;
use crate::vectors::{self, Vectors};
use nearkin_encoder::Model;
use nearkin_kernels::Mat;
use std::path::{Component, Path, PathBuf};

/// Labeled vectors, and what there is to show of each.
pub struct Items {
    /// What they are, in words.
    pub what: String,
    /// The matrix `[items, dim]`, row by row.
    pub numbers: Vec<f32>,
    /// Length of a vector.
    pub dim: usize,
    /// The class of each.
    pub labels: Vec<u32>,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// What each item is called: a path, an id, a text.
    pub names: Vec<String>,
    /// Where their pictures are.
    pub looks: Looks,
    /// Names of damaged items that were left out.
    pub damaged: Vec<String>,
}

/// Where the pictures of items are.
pub enum Looks {
    /// There are none: names and texts are shown.
    Names,
    /// In a data set, with the number that each item has there.
    Images(Box<Feed>, Vec<usize>),
    /// In files below a folder that are called as the items.
    Files(PathBuf),
}

impl Items {
    /// What a recipe holds out, embedded by the model that it trained; `progress` is told how many of how many are done.
    ///
    /// # Errors
    /// More items are damaged than the recipe allows.
    pub fn of_setup(
        setup: &Setup,
        model: &Model,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let (part, indices) = setup.parts.measured();
        let feed = &setup.feed;
        let embedded = embed(model, feed, indices, &mut |done| {
            progress(done, indices.len());
        })?;
        let dataset = feed.dataset();
        let Embedded {
            items,
            labels,
            numbers,
            dim,
        } = embedded;
        let looks = match dataset.is_features() {
            Some(_) => Looks::Names,
            None => Looks::Images(Box::new(feed.clone()), items.clone()),
        };
        Ok(Self {
            what: format!("the {part} part of {}", dataset.name),
            numbers,
            dim,
            labels,
            classes: dataset.classes.clone(),
            names: items
                .iter()
                .map(|&item| dataset.names[item].clone())
                .collect(),
            looks,
            damaged: feed.damaged(),
        })
    }

    /// The vectors of a file with their labels; their pictures are below `images`, if anywhere.
    ///
    /// # Errors
    /// The file cannot be read, or has no labels.
    pub fn of_file(path: &Path, images: Option<&Path>) -> Result<Self> {
        let Vectors {
            rows,
            dim,
            data,
            ids,
            labels,
        } = vectors::read(path)?;
        let Some(labels) = labels else {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            return Err(Error::Run {
                path: path.to_owned(),
                reason: format!(
                    "no labels; expected \"label\" beside each vector (.jsonl, .parquet), in the metadata (.safetensors), or one a line in {name}.labels.txt (.npy)"
                ),
            });
        };
        let (labels, classes) = vectors::classes(&labels);
        Ok(Self {
            what: format!("{rows} vectors of {}", path.display()),
            numbers: data,
            dim,
            labels,
            classes,
            names: ids.unwrap_or_else(|| (0..rows).map(|row| format!("row {row}")).collect()),
            looks: images.map_or(Looks::Names, |folder| Looks::Files(folder.to_owned())),
            damaged: Vec::new(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// All vectors, `[items, dim]`.
    pub fn matrix(&self) -> Mat<'_> {
        Mat::new(&self.numbers, self.len(), self.dim)
    }

    /// The vector of an item.
    pub fn row(&self, item: usize) -> &[f32] {
        &self.numbers[item * self.dim..][..self.dim]
    }

    /// The name of an item's class.
    pub fn class(&self, item: usize) -> &str {
        &self.classes[self.labels[item] as usize]
    }

    /// How many items each class has.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.classes.len()];
        self.labels
            .iter()
            .for_each(|&label| sizes[label as usize] += 1);
        sizes
    }

    /// Items called by their numbers, of classes called by theirs.
    #[cfg(test)]
    pub fn plain(numbers: Vec<f32>, dim: usize, labels: &[u32]) -> Self {
        let (labels, classes) = vectors::classes(
            &labels
                .iter()
                .map(|label| format!("c{label}"))
                .collect::<Vec<_>>(),
        );
        Self {
            what: "items".into(),
            dim,
            names: (0..labels.len())
                .map(|item| format!("item {item}"))
                .collect(),
            numbers,
            labels,
            classes,
            looks: Looks::Names,
            damaged: Vec::new(),
        }
    }
}

impl Looks {
    /// Where the file of an item is, if its name stays below the folder.
    pub fn file(folder: &Path, name: &str) -> Option<PathBuf> {
        let name = Path::new(name);
        let below = name
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        below.then(|| folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbered_as_they_come() {
        let (labels, classes) = vectors::classes(&["b", "a", "b"].map(String::from));
        assert_eq!(
            (labels, classes),
            (vec![0, 1, 0], vec!["b".to_owned(), "a".to_owned()])
        );
    }

    #[test]
    fn names_do_not_lead_out_of_the_folder_of_images() {
        let folder = Path::new("images");
        assert_eq!(Looks::file(folder, "a/b.png"), Some(folder.join("a/b.png")));
        for name in ["../b.png", "/b.png", "a/../../b.png"] {
            assert_eq!(Looks::file(folder, name), None, "{name}");
        }
    }

    #[test]
    fn a_file_without_labels_is_told_where_they_go() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("v.jsonl");
        fs_err::write(&path, "{\"embedding\":[1.0,2.0]}\n").unwrap();
        let error = Items::of_file(&path, None).err().unwrap().to_string();
        assert!(
            error.contains("no labels; expected \"label\" beside each vector"),
            "{error}"
        );
    }
}
