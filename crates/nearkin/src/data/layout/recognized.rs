//! Which published layout a tree of files has.

use super::{
    Cars196, Cub200, Cuhk01, Cuhk03, Lfw, Market1501, Omniglot, Sop, Viper, cars196, cuhk01,
    cuhk03, is_number, last_parts, lfw, stem,
};
use crate::data::tree::Tree;
use crate::data::{DataError, Source};
use std::collections::BTreeSet;
use std::path::Path;

/// The source of a published data set at a path, a folder or a zip archive, if its files tell which one it is.
///
/// Lists that only one set has tell it, or folders that only one has, or that every image is called as only its are.
///
/// # Errors
/// The folder or archive cannot be read.
pub(crate) fn recognized(path: &Path) -> Result<Option<Source>, DataError> {
    let tree = Tree::open(path)?;
    let files: BTreeSet<&str> = tree
        .files()
        .filter_map(|file| file.rsplit('/').next())
        .collect();
    let parents: BTreeSet<&str> = tree
        .images()
        .filter_map(|file| file.rsplit_once('/').map(|(folders, _)| folders))
        .collect();
    let folders: BTreeSet<&str> = parents
        .iter()
        .flat_map(|folders| folders.split('/'))
        .collect();
    let (lists, has) = (
        |names: &[&str]| names.iter().all(|name| files.contains(name)),
        |names: &[&str]| names.iter().all(|name| folders.contains(name)),
    );
    let every = |called: &dyn Fn(&str) -> bool| {
        let mut images = tree.images().peekable();
        images.peek().is_some() && images.all(called)
    };
    let path = path.to_owned();
    Ok(Some(if lists(&["Ebay_train.txt", "Ebay_test.txt"]) {
        Source::Sop(Sop { path })
    } else if lists(&["images.txt", "image_class_labels.txt"]) {
        let boxes = false;
        Source::Cub200(Cub200 { path, boxes })
    } else if has(&["bounding_box_train", "bounding_box_test"]) {
        let distractors = true;
        Source::Market1501(Market1501 { path, distractors })
    } else if has(&["cam_a", "cam_b"]) {
        Source::Viper(Viper { path })
    } else if every(&|file| cuhk03::is_called_so(file)) {
        let boxes = super::Boxes::default();
        Source::Cuhk03(Cuhk03 { path, boxes })
    } else if parents.len() <= 1 && every(&|file| cuhk01::is_called_so(file)) {
        Source::Cuhk01(Cuhk01 { path })
    } else if every(&is_face) {
        let (train, test) = (None, None);
        Source::Lfw(Lfw { path, train, test })
    } else if every(&is_character) {
        Source::Omniglot(Omniglot { path })
    } else if (lists(&[cars196::ANNOTATIONS]) && cars196::is_published(&tree)) || is_cars(&tree) {
        let boxes = false;
        Source::Cars196(Cars196 { path, boxes })
    } else {
        return Ok(None);
    }))
}

/// `Ann_Lee/Ann_Lee_0001.jpg`, with four digits.
fn is_face(file: &str) -> bool {
    let digits = lfw::person(file).and_then(|person| stem(file).rsplit_once(person));
    digits.is_some_and(|(_, number)| number.len() == 5)
}

/// `Greek/character01/0394_01.png`
fn is_character(file: &str) -> bool {
    let number = last_parts(file).and_then(|[_, character, _]| character.strip_prefix("character"));
    number.is_some_and(is_number)
}

/// Folders called by all of 1 to 196, or by 196 names that end with a year.
fn is_cars(tree: &Tree) -> bool {
    let classes: BTreeSet<&str> = tree
        .images()
        .filter_map(|file| last_parts(file).map(|[class, _]| class))
        .collect();
    let is_numbered = |class: &&str| is_number(class);
    let has_year = |class: &&str| {
        let year = class.rsplit(' ').next().filter(|year| year.len() == 4);
        class.contains(' ') && year.is_some_and(is_number)
    };
    let numbers: BTreeSet<usize> = classes
        .iter()
        .filter_map(|class| class.parse().ok())
        .collect();
    let all_numbers = numbers.into_iter().eq(1..=196);
    classes.len() == 196
        && (all_numbers && classes.iter().all(is_numbered) || classes.iter().all(has_year))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tree::tests::folder_of;

    fn named(files: &[&str]) -> Option<String> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|&file| (file, b"read later".as_slice()))
            .collect();
        let folder = folder_of(&files);
        let source = recognized(folder.path()).unwrap()?;
        let written = toml::to_string(&source).unwrap();
        Some(written[1..written.find(']').unwrap()].to_owned())
    }

    #[test]
    fn published_sets_are_known_by_their_files_and_others_are_not() {
        for (files, name) in [
            (
                &["Ebay_train.txt", "Ebay_test.txt", "chair_final/1_0.JPG"][..],
                "sop",
            ),
            (
                &[
                    "c/images.txt",
                    "c/image_class_labels.txt",
                    "c/images/001.Bird/a.jpg",
                ],
                "cub200",
            ),
            (
                &[
                    "bounding_box_train/0002_c1s1_000451_03.jpg",
                    "bounding_box_test/0003_c1s1_000451_03.jpg",
                    "query/0003_c2s1_000451_03.jpg",
                ],
                "market1501",
            ),
            (&["cam_a/001_45.bmp", "cam_b/001_90.bmp"], "viper"),
            (
                &[
                    "images_detected/1_005_2_07.png",
                    "images_labeled/1_005_2_07.png",
                ],
                "cuhk03",
            ),
            (&["train/0005_07.jpg", "val/0001_00.jpg"], "cuhk03"),
            (&["campus/0005003.png", "campus/0005004.png"], "cuhk01"),
            (&["CUHK01/campus/0005003.png"], "cuhk01"),
            (
                &[
                    "lfw/Ann_Lee/Ann_Lee_0001.jpg",
                    "lfw/Bo/Bo_0001.jpg",
                    "lfw/readme.txt",
                ],
                "lfw",
            ),
            (&["omniglot/Greek/character01/0394_01.png"], "omniglot"),
            (&["cars_annos.mat", "car_ims/000001.jpg"], "cars196"),
        ] {
            assert_eq!(named(files).as_deref(), Some(name), "{files:?}");
        }
        let cars: Vec<String> = (1..=196)
            .map(|class| format!("cars/{class:03}/1.jpg"))
            .collect();
        let cars: Vec<&str> = cars.iter().map(String::as_str).collect();
        assert_eq!(named(&cars).as_deref(), Some("cars196"));
        for files in [
            &cars[1..],
            &["cat/1.jpg", "dog/1.jpg"],
            &["Ann_Lee/Ann_Lee_0001.jpg", "Bo/portrait.jpg"],
            &["cat/cat_1.jpg", "dog/dog_2.jpg"],
            &["cat/0000001.jpg", "dog/0000002.jpg"],
            &["train/cat/0005_07.jpg"],
            &["images.txt", "a/1.jpg"],
            &["notes.txt"],
        ] {
            assert_eq!(named(files), None, "{files:?}");
        }
    }
}
