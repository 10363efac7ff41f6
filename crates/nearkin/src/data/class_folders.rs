//! The rule of class folders: an image's class is the path of the folder it lies in.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Described, Tree};
use super::{DataError, Dataset, Part};

/// Extensions that count as images, in any case.
pub const IMAGE_EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "webp", "pgm", "ppm", "pnm"];

/// The images of a tree, classed by their folders: with `depth` by that many leading ones, otherwise by all of them.
/// Images in the root itself are of class `.`.
///
/// Where images lie in folders of a part, such as `train/cat` and `test/cat`, these give the split, and the class is what
/// follows: a cat of both is one class. Up to one image in twenty may lie elsewhere, such as a figure beside the parts: it
/// is of no class, and counted. Where more do, all folders are classes.
pub(super) fn class_folders(tree: Tree, depth: Option<usize>) -> Result<Dataset, DataError> {
    let above = above_parts(&tree);
    tree.dataset("class/image.png", |file| {
        let (part, file) = match above.as_deref().map(|above| in_part(file, above)) {
            Some(Some((part, below))) => (Some(part), below),
            Some(None) => return Ok(None),
            None => (None, file),
        };
        let folders = file.rsplit_once('/').map_or("", |(folders, _)| folders);
        let kept: Vec<&str> = folders
            .split('/')
            .take(depth.unwrap_or(usize::MAX))
            .collect();
        let class = kept.join("/");
        Ok(Some(Described {
            class: if class.is_empty() {
                ".".to_owned()
            } else {
                class
            },
            part,
            ..Described::default()
        }))
    })
}

/// Of how many images one may lie outside of the parts.
const ELSEWHERE: usize = 20;

/// The folders above those of the parts, if nearly all images lie in a class of one.
fn above_parts(tree: &Tree) -> Option<String> {
    let mut of: BTreeMap<&str, (usize, BTreeSet<Part>)> = BTreeMap::new();
    let mut images = 0;
    for file in tree.images() {
        images += 1;
        let ends = file.match_indices('/').map(|(at, _)| at + 1);
        let mut above = std::iter::once(0).chain(ends).map(|end| &file[..end]);
        let found = above.find_map(|above| Some((above, in_part(file, above)?.0)));
        if let Some((above, part)) = found {
            let (count, parts) = of.entry(above).or_default();
            *count += 1;
            parts.insert(part);
        }
    }
    let (above, (most, parts)) = of.into_iter().max_by_key(|(_, (count, _))| *count)?;
    let elsewhere = images - most;
    // For a split that cannot be used no image is left out.
    let is_usable = parts.contains(&Part::Train) && parts.len() > 1;
    let fits = elsewhere == 0 || (is_usable && elsewhere * ELSEWHERE <= images);
    fits.then(|| above.to_owned())
}

/// Whether a class lies in a folder that is called as a part is, or is one, which gave no split then.
pub(crate) fn is_below_part(class: &str) -> bool {
    let above = class.rsplit_once('/').map_or(class, |(above, _)| above);
    above
        .split('/')
        .any(|folder| folder.parse::<Part>().is_ok())
}

/// The part that an image lies in, and its path from there, which has to begin with a folder of a class.
fn in_part<'f>(file: &'f str, above: &str) -> Option<(Part, &'f str)> {
    let (folder, below) = file.strip_prefix(above)?.split_once('/')?;
    let part = folder.parse().ok()?;
    below.contains('/').then_some((part, below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tree::tests::folder_of;

    fn collect(depth: Option<usize>, files: &[&str]) -> Result<Dataset, DataError> {
        let files: Vec<(&str, &[u8])> = files.iter().map(|&file| (file, &b"x"[..])).collect();
        let folder = folder_of(&files);
        class_folders(Tree::folder(folder.path())?, depth)
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
    fn folders_of_parts_give_the_split_and_are_no_classes() {
        let files = [
            "set/Train/cat/1.png",
            "set/Train/dog/x/1.png",
            "set/val/cat/1.png",
            "set/test/ant/1.png",
            "set/readme.txt",
        ];
        let data = collect(None, &files).unwrap();
        assert_eq!(data.classes, ["ant", "cat", "dog/x"]);
        assert_eq!(data.labels, [0, 1, 1, 2]);
        let (train, validation, test) = (Part::Train, Part::Validation, Part::Test);
        assert_eq!(data.given_split, Some(vec![test, train, validation, train]));
        assert_eq!(data.names[2], "set/val/cat/1.png");
        let shallow = collect(Some(1), &files).unwrap();
        assert_eq!(shallow.classes, ["ant", "cat", "dog"]);
        assert!(
            ["train/1", "dev", "Test/a/b", "a/train/c"]
                .iter()
                .all(|c| is_below_part(c))
        );
        assert!(!is_below_part("set/train") && !is_below_part("latest"));
        // Nothing is left out for a split without a part to train or to measure.
        let mut names: Vec<String> = (0..40)
            .map(|i| format!("test/c{}/{i}.png", i % 4))
            .collect();
        names.push("other/1.png".to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let data = collect(None, &names).unwrap();
        assert_eq!((data.given_split.is_none(), data.len()), (true, 41));
        // A class beside the parts, and parts without classes in them: all are classes.
        for files in [
            &["train/cat/1.png", "cat/1.png"][..],
            &["train/1.png", "test/1.png"],
        ] {
            let data = collect(None, files).unwrap();
            assert_eq!((data.given_split, data.classes.len()), (None, 2));
        }
    }

    #[test]
    fn one_image_in_twenty_may_lie_outside_of_the_parts() {
        let of_parts = |count: usize| -> Vec<String> {
            let name = |i| format!("set/{}/c{}/{i}.png", ["train", "test"][i % 2], i % 4);
            (0..count).map(name).collect()
        };
        for stray in ["1.png", "set/1.png", "set/train/1.png", "set/docs/1.png"] {
            let open = |count| {
                let mut files = of_parts(count);
                files.push(stray.to_owned());
                collect(None, &files.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
            };
            let (few, many) = (open(18), open(19));
            assert!(few.given_split.is_none() && few.len() == 19, "{stray}");
            assert_eq!((many.len(), many.skipped.images), (19, 1), "{stray}");
            assert_eq!(many.classes, ["c0", "c1", "c2", "c3"]);
        }
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
