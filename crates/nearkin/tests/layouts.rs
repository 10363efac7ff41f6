//! The data sets of the project, read by their own layouts.

use nearkin::data::{Dataset, Part, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("NEARKIN_DATA").filter(|path| !path.is_empty());
    if data.is_none() {
        println!("skipped: NEARKIN_DATA is not set");
    }
    data.map(PathBuf::from)
}

fn open(source: &str, path: &Path) -> Dataset {
    let recipe = format!("[{source}]\npath = {:?}\n", path.to_str().unwrap());
    Dataset::open(&toml::from_str::<Source>(&recipe).unwrap()).unwrap()
}

/// Images and classes of a part.
fn size(data: &Dataset, part: Part) -> (usize, usize) {
    let parts = data.given_split.as_ref().unwrap();
    let items: Vec<u32> = (data.labels.iter().zip(parts))
        .filter_map(|(&label, &of)| (of == part).then_some(label))
        .collect();
    (items.len(), items.iter().collect::<BTreeSet<_>>().len())
}

// The numbers of images and classes are those that the README of each folder states.

#[test]
fn labeled_faces_are_4786_people() {
    let Some(folder) = data() else { return };
    let faces = open("lfw", &folder.join("lfw/images.zip"));
    assert_eq!((faces.len(), faces.classes.len()), (10_492, 4_786));
    assert_eq!(faces.skipped.images, 0);
    let pairs = nearkin::data::read_pairs(&folder.join("lfw/pairsDevTrain.txt"), &faces)
        .unwrap()
        .pairs;
    assert_eq!(pairs.iter().filter(|pair| pair.same).count(), 1_100);
}

#[test]
fn people_of_cuhk03_are_seen_by_two_cameras() {
    let Some(folder) = data() else { return };
    let people = open("cuhk03", &folder.join("cuhk03/images.zip"));
    assert_eq!(size(&people, Part::Train), (7_239, 743));
    assert_eq!(size(&people, Part::Test), (938, 100));
    let cameras = people.cameras.as_ref().unwrap();
    let seen: BTreeSet<(u32, u32)> = people
        .labels
        .iter()
        .copied()
        .zip(cameras.iter().copied())
        .collect();
    assert_eq!(seen.len(), 2 * 843);
}

#[test]
fn half_of_the_classes_of_cars_train() {
    let Some(folder) = data() else { return };
    let cars = open("cars196", &folder.join("cars196/images.zip"));
    assert_eq!(size(&cars, Part::Train), (4_052, 98));
    assert_eq!(size(&cars, Part::Test), (4_092, 98));
}

#[test]
fn characters_of_omniglot_are_classed_by_alphabet() {
    let Some(folder) = data() else { return };
    let characters = open("omniglot", &folder.join("omniglot/images.zip"));
    assert_eq!((characters.len(), characters.classes.len()), (4_840, 242));
    let greek = characters
        .classes
        .iter()
        .filter(|class| class.starts_with("Greek/"));
    assert_eq!((greek.count(), characters.given_split), (24, None));
}
