//! Which images a run is watched by, so that measuring costs no more than training.

use crate::data::Dataset;
use std::collections::{BTreeMap, HashMap};

/// The most identities that are looked for.
const IDENTITIES: usize = 200;

/// Images of an identity on either side that a run is watched by.
const WATCHED: usize = 1;
/// And those of a report.
const REPORTED: usize = 2;

/// Images that are looked for, and those they are looked for among: rows of [`items`](Self::items).
///
/// Every pair is a pass through most of the network, so that all images against all would take longer than the training.
/// Of each identity that two cameras saw, the first images by the first camera are looked for among the first ones by other
/// cameras, as in CUHK03's protocol; where nothing is known of cameras, its first image among the next ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// The images.
    pub items: Vec<usize>,
    /// Those that are looked for.
    pub queries: Vec<usize>,
    /// Those that are searched.
    pub gallery: Vec<usize>,
}

impl Probes {
    /// What a run is watched by.
    pub fn watched(dataset: &Dataset, items: &[usize]) -> Self {
        Self::new(dataset, items, WATCHED)
    }

    /// What a finished model is reported by.
    pub fn reported(dataset: &Dataset, items: &[usize]) -> Self {
        Self::new(dataset, items, REPORTED)
    }

    /// Of the first 200 identities of `items`, up to `each` images on either side.
    pub fn new(dataset: &Dataset, items: &[usize], each: usize) -> Self {
        let mut of_identity: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for &item in items {
            let of = of_identity.entry(dataset.labels[item]).or_default();
            of.push(item);
        }
        let cameras = cameras_of(dataset, items);
        let camera: HashMap<usize, u32> = items.iter().copied().zip(cameras).collect();
        let mut probes = Self::default();
        let mut found = 0;
        for items in of_identity.values() {
            let (own, others): (Vec<usize>, Vec<usize>) = items
                .iter()
                .partition(|item| camera[*item] == camera[&items[0]]);
            if others.is_empty() || found == IDENTITIES {
                continue;
            }
            found += 1;
            for (items, side) in [(own, &mut probes.queries), (others, &mut probes.gallery)] {
                let items = &items[..items.len().min(each)];
                side.extend(probes.items.len()..probes.items.len() + items.len());
                probes.items.extend(items);
            }
        }
        probes
    }

    /// The same rows of what is left, where damaged images were left out.
    #[must_use]
    pub fn kept(&self, left: &[usize]) -> Self {
        let rows: HashMap<usize, usize> = left.iter().copied().zip(0..).collect();
        let side = |side: &[usize]| {
            let rows = side.iter().filter_map(|&row| rows.get(&self.items[row]));
            rows.copied().collect()
        };
        Self {
            items: left.to_vec(),
            queries: side(&self.queries),
            gallery: side(&self.gallery),
        }
    }
}

/// The camera of each of some items; each of its own where nothing is known of cameras, so that none is left out.
pub fn cameras_of(dataset: &Dataset, items: &[usize]) -> Vec<u32> {
    match &dataset.cameras {
        Some(cameras) => items.iter().map(|&item| cameras[item]).collect(),
        None => items.iter().map(|&item| item as u32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Some file.
    const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

    /// Identity 0 was seen by cameras 3 and 1, identity 1 by one alone, identity 2 by three.
    fn dataset(cameras: Option<Vec<u32>>) -> Dataset {
        let mut dataset = Dataset::of_image(Path::new(MANIFEST)).unwrap();
        dataset.names = (0..9).map(|item| item.to_string()).collect();
        dataset.labels = vec![0, 0, 0, 0, 1, 1, 2, 2, 2];
        dataset.cameras = cameras;
        dataset
    }

    #[test]
    fn the_first_camera_looks_for_what_others_saw() {
        let all: Vec<usize> = (0..9).collect();
        let dataset = dataset(Some(vec![3, 3, 1, 1, 0, 0, 2, 1, 0]));
        let shown = |probes: &Probes, rows: &[usize]| -> Vec<usize> {
            rows.iter().map(|&row| probes.items[row]).collect()
        };
        let two = Probes::new(&dataset, &all, 2);
        assert_eq!(shown(&two, &two.queries), [0, 1, 6]);
        assert_eq!(shown(&two, &two.gallery), [2, 3, 7, 8]);
        let one = Probes::new(&dataset, &all, 1);
        assert_eq!(shown(&one, &one.queries), [0, 6]);
        assert_eq!(shown(&one, &one.gallery), [2, 7]);

        let left = two.kept(&[0, 2, 3, 7, 8]);
        assert_eq!((left.queries, left.gallery), (vec![0], vec![1, 2, 3, 4]));
    }

    #[test]
    fn without_cameras_the_first_image_looks_for_the_others() {
        let plain = dataset(None);
        let all: Vec<usize> = (0..9).collect();
        let probes = Probes::new(&plain, &all, 2);
        assert_eq!((probes.queries.len(), probes.gallery.len()), (3, 5));
        assert_eq!(cameras_of(&plain, &[4, 7]), [4, 7]);
    }
}
