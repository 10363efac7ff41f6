//! The rule of class folders: an image's class is the path of the folder it lies in.

use std::collections::BTreeMap;
use std::path::Path;

use super::{DataError, Dataset, Skipped, dataset::Items, label_index::label_index};

/// Extensions that count as images, in any case.
pub const IMAGE_EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "webp", "pgm", "ppm", "pnm"];

/// Collects images by their path relative to the root, with whatever leads to the bytes (`T`: a path, an entry).
#[derive(Debug)]
pub(super) struct ClassFolders<T> {
    depth: Option<usize>,
    images: Vec<Image<T>>,
    skipped: Skipped,
}

#[derive(Debug)]
struct Image<T> {
    class: String,
    name: String,
    item: T,
}

impl<T> ClassFolders<T> {
    /// With `depth` only that many leading folders make the class; otherwise all of them do.
    pub(super) fn new(depth: Option<usize>) -> Self {
        Self {
            depth,
            images: Vec::new(),
            skipped: Skipped::default(),
        }
    }

    /// Takes the file at `relative` (with `/` between folders) if it is an image, else counts it; hidden files and
    /// those in hidden folders are passed over. Images in the root itself are of class `.`.
    pub(super) fn offer(&mut self, relative: &str, item: T) {
        if relative.split('/').any(is_hidden) {
            return;
        }
        let extension = Path::new(relative).extension().map_or_else(
            || "no extension".to_owned(),
            |e| e.to_string_lossy().to_lowercase(),
        );
        if !IMAGE_EXTENSIONS.contains(&extension.as_str()) {
            *self.skipped.other_files.entry(extension).or_default() += 1;
            return;
        }
        let folders = relative.rsplit_once('/').map_or("", |(folders, _)| folders);
        let kept: Vec<&str> = folders
            .split('/')
            .take(self.depth.unwrap_or(usize::MAX))
            .collect();
        let class = kept.join("/");
        self.images.push(Image {
            class: if class.is_empty() {
                ".".to_owned()
            } else {
                class
            },
            name: relative.to_owned(),
            item,
        });
    }

    /// Sorts by class and name, so that the numbering depends neither on the file system nor on the archive.
    pub(super) fn finish(
        mut self,
        path: &Path,
        items: impl FnOnce(Vec<T>) -> Items,
    ) -> Result<Dataset, DataError> {
        if self.images.is_empty() {
            return Err(DataError::NoImages {
                path: path.to_owned(),
                found: describe(&self.skipped.other_files),
            });
        }
        self.images
            .sort_by(|a, b| (&a.class, &a.name).cmp(&(&b.class, &b.name)));
        let (mut class_of, mut names, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for Image { class, name, item } in self.images {
            class_of.push(class);
            names.push(name);
            found.push(item);
        }
        let (classes, labels) = label_index(&class_of);
        Ok(Dataset {
            name: display_name(path),
            classes,
            labels,
            names,
            given_split: None,
            cameras: None,
            skipped: self.skipped,
            items: items(found),
        })
    }
}

/// Whether a file of this name counts as an image.
pub(super) fn has_image_extension(name: &str) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    IMAGE_EXTENSIONS.contains(&extension.as_str())
}

/// Files that systems and tools leave behind, never part of a data set.
pub(super) fn is_hidden(component: &str) -> bool {
    component.starts_with('.') || component == "__MACOSX"
}

/// The last two parts of the path, since `omniglot/images.zip` says more than `images.zip`.
pub(super) fn display_name(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn describe(other_files: &BTreeMap<String, usize>) -> String {
    if other_files.is_empty() {
        return "it is empty".to_owned();
    }
    let mut counts: Vec<_> = other_files.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let listed: Vec<String> = counts
        .iter()
        .take(5)
        .map(|(extension, count)| format!("{count} × {extension}"))
        .collect();
    format!("found only {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(depth: Option<usize>, files: &[&str]) -> Result<Dataset, DataError> {
        let mut found = ClassFolders::new(depth);
        for file in files {
            found.offer(file, file.into());
        }
        found.finish(Path::new("/data/set"), Items::Files)
    }

    #[test]
    fn the_class_is_the_whole_folder_path_and_the_order_is_sorted() {
        let data = collect(
            None,
            &[
                "Greek/c02/2.png",
                "Greek/c01/1.PNG",
                "Greek/c02/1.jpeg",
                "top.png",
            ],
        )
        .unwrap();
        assert_eq!(data.classes, [".", "Greek/c01", "Greek/c02"]);
        assert_eq!(data.labels, [0, 1, 2, 2]);
        assert_eq!(
            data.names,
            [
                "top.png",
                "Greek/c01/1.PNG",
                "Greek/c02/1.jpeg",
                "Greek/c02/2.png"
            ]
        );
        assert_eq!(data.name, "data/set");
    }

    #[test]
    fn a_depth_makes_the_class_of_the_leading_folders_only() {
        let data = collect(Some(1), &["a/x/1.png", "a/y/1.png", "b/1.png"]).unwrap();
        assert_eq!(
            (data.classes, data.labels),
            (vec!["a".into(), "b".into()], vec![0, 0, 1])
        );
    }

    #[test]
    fn class_folders_named_by_numbers_are_ordered_as_numbers() {
        let data = collect(None, &["10/1.png", "9/1.png"]).unwrap();
        assert_eq!(
            (data.classes, data.labels),
            (vec!["9".into(), "10".into()], vec![1, 0])
        );
    }

    #[test]
    fn hidden_files_are_passed_over_and_other_files_are_counted() {
        let data = collect(
            None,
            &[
                "a/1.png",
                "a/.1.png",
                ".git/2.png",
                "__MACOSX/a/1.png",
                "a/notes.txt",
                "LICENSE",
            ],
        )
        .unwrap();
        assert_eq!(data.len(), 1);
        let counted: Vec<_> = data.skipped.other_files.into_iter().collect();
        assert_eq!(
            counted,
            [("no extension".to_owned(), 1), ("txt".to_owned(), 1)]
        );
    }

    #[test]
    fn a_source_without_images_says_what_was_there_instead() {
        let message = collect(None, &["a/1.gif", "a/2.gif", "b.txt"])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("2 × gif, 1 × txt") && message.contains("png"),
            "{message}"
        );
        assert!(
            collect(None, &[])
                .unwrap_err()
                .to_string()
                .contains("it is empty")
        );
    }
}
