//! From items of a data set to the numbers that a network reads.

use crate::cache::Cache;
use crate::data::{DataError, Dataset};
use crate::error::{Error, Result};
use nearkin_encoder::ImageInput;
use nearkin_encoder::image::{Augment, Decoded, Degradation, Encoded, Thumbnail, thumbnail};
use nearkin_encoder::model::{FeatureInput, Input};
use nearkin_encoder::parameters::named_rng;
use nearkin_encoder::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads, decodes, changes and scales items, in parallel; keeps count of the damaged ones.
#[derive(Clone)]
pub struct Feed {
    dataset: Arc<Dataset>,
    input: Input,
    allowed: usize,
    damaged: Arc<Mutex<BTreeSet<usize>>>,
    cache: Arc<Cache>,
    degradation: Option<Degradation>,
}

/// Random changes to the items of one training batch.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// What may change.
    pub augment: &'a Augment,
    /// Seed of the run.
    pub seed: u64,
    /// The batch's number.
    pub step: u64,
}

impl Changes<'_> {
    /// By how many quarters the images of a class are turned, of which each makes another class (`augment.turned_classes`).
    pub fn turn(&self, label: u32) -> u32 {
        if !self.augment.turned_classes {
            return 0;
        }
        named_rng(self.seed, &format!("turn/{}/{label}", self.step)).random_range(0..TURNS)
    }
}

/// Ways to turn an image by quarters.
pub const TURNS: u32 = 4;

/// Items ready for the network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The items, damaged ones left out.
    pub items: Vec<usize>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// Their numbers, item by item.
    pub numbers: Vec<f32>,
}

impl Feed {
    /// Items of `dataset` for a model that reads `input`; up to `share` of the items may be damaged.
    ///
    /// # Errors
    /// The model reads images and the items are features, the other way round, or features of another length; or the
    /// model reads aligned faces and the images have no landmarks.
    pub fn new(dataset: Arc<Dataset>, input: Input, share: f64) -> Result<Self> {
        let expected = match &input {
            Input::Image(_) => None,
            Input::Features(features) => Some(features.mean.len()),
        };
        if dataset.is_features() != expected {
            let describe = |dim: Option<usize>| {
                dim.map_or("images".into(), |dim| format!("rows of {dim} features"))
            };
            let (expected, found) = (describe(expected), describe(dataset.is_features()));
            return Err(Error::Input {
                data: dataset.name.clone(),
                expected,
                found,
            });
        }
        if matches!(&input, Input::Image(image) if image.align.is_some())
            && dataset.landmarks.is_none()
        {
            return Err(Error::NoLandmarks {
                data: dataset.name.clone(),
            });
        }
        let allowed = (share * dataset.len() as f64).floor() as usize;
        Ok(Self {
            dataset,
            input,
            allowed,
            damaged: Arc::default(),
            cache: Arc::default(),
            degradation: None,
        })
    }

    /// The same items for a model that reads another `input`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn reading(&self, input: Input) -> Result<Self> {
        let fresh = Self::new(self.dataset.clone(), input, 1.0)?;
        let allowed = self.allowed;
        Ok(Self { allowed, ..fresh })
    }

    /// The same, keeping up to `mib` MiB of decoded images for the next time they are asked for.
    #[must_use]
    pub fn with_cache(self, mib: u32) -> Self {
        let cache = Arc::new(Cache::new(mib));
        Self { cache, ..self }
    }

    /// The same images with a loss; features stay as they are.
    #[must_use]
    pub fn degraded(&self, degradation: Degradation) -> Self {
        Self {
            degradation: Some(degradation),
            // What is kept of the others is not of these.
            cache: Arc::default(),
            ..self.clone()
        }
    }

    /// Whether items can be asked for: no more of them are known not to be there than may be damaged.
    ///
    /// # Errors
    /// More are, or all.
    pub fn expect(&self, items: &[usize]) -> Result<()> {
        let reason = |item| self.dataset.absent.get(item);
        let absent: Vec<&String> = items.iter().filter_map(reason).collect();
        let (Some(first), Some(last)) = (absent.first(), absent.last()) else {
            return Ok(());
        };
        let (found, allowed) = (absent.len(), self.allowed);
        if found == items.len() {
            let reason = (*first).clone();
            let first = Error::Data(DataError::Absent { reason });
            return Err(self.unreadable(format!("{found} images"), &first));
        }
        if found > allowed {
            let last = (*last).clone();
            return Err(Error::Damaged {
                found,
                allowed,
                last,
            });
        }
        Ok(())
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What the model reads.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The names of the damaged items among those asked for so far.
    pub fn damaged(&self) -> Vec<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged
            .iter()
            .map(|&item| self.dataset.names[item].clone())
            .collect()
    }

    /// Takes over the items that were found damaged before, by their names: a resumed run knows them.
    pub fn recall(&self, names: &BTreeSet<String>) {
        let known = |item: &usize| names.contains(&self.dataset.names[*item]);
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.extend((0..self.dataset.len()).filter(known));
    }

    /// A small picture of an image, of the part of it that counts, turned as the model reads it.
    ///
    /// # Errors
    /// The image cannot be read or decoded, or the items are features.
    pub fn thumbnail(&self, item: usize, side: u32) -> Result<Thumbnail> {
        let data = &self.dataset;
        let bytes = data.read(item)?;
        let encoded = Encoded {
            region: data.regions.as_ref().map(|regions| regions[item]),
            ..Encoded::new(&bytes, &data.names[item])
        };
        let upright = matches!(&self.input, Input::Image(image) if image.upright);
        Ok(thumbnail(&encoded, side, upright)?)
    }

    /// Prepares items, in their order; damaged ones are left out and counted.
    ///
    /// # Errors
    /// More items cannot be read or decoded than the share allows, or none of the data set can, or none of a training
    /// batch.
    pub fn batch(&self, items: &[usize], changes: Option<Changes>) -> Result<Batch> {
        let prepared: Vec<_> = items
            .par_iter()
            .enumerate()
            .map(|(slot, &item)| self.prepare(item, slot, changes))
            .collect();
        let mut batch = Batch {
            items: Vec::new(),
            labels: Vec::new(),
            numbers: Vec::new(),
        };
        let mut failed = Vec::new();
        for (&item, prepared) in items.iter().zip(prepared) {
            match prepared {
                Ok(numbers) => {
                    batch.items.push(item);
                    batch.labels.push(self.dataset.labels[item]);
                    batch.numbers.extend(numbers);
                }
                Err(error) => failed.push((item, error)),
            }
        }
        self.count(&failed, items.len())?;
        match failed.first() {
            Some((_, first)) if batch.items.is_empty() && changes.is_some() => {
                Err(self.unreadable(format!("a batch of {} images", items.len()), first))
            }
            _ => Ok(batch),
        }
    }

    fn unreadable(&self, of: String, first: &Error) -> Error {
        Error::Unreadable {
            data: self.dataset.name.clone(),
            of,
            first: first.to_string(),
        }
    }

    fn prepare(&self, item: usize, slot: usize, changes: Option<Changes>) -> Result<Vec<f32>> {
        match &self.input {
            Input::Features(features) => {
                let dim = self.dataset.is_features().unwrap_or(0);
                Ok(features.prepare(&self.dataset.features()[item * dim..(item + 1) * dim]))
            }
            Input::Image(image) => {
                let Some(changes) = changes else {
                    let decoded = self.decoded(image, item, &Augment::default())?;
                    return Ok(image.numbers(&decoded));
                };
                let mut decoded = self.decoded(image, item, changes.augment)?;
                let turn = changes.turn(self.dataset.labels[item]);
                if turn > 0 {
                    decoded = Arc::new(decoded.turned(turn));
                }
                let mut rng = named_rng(changes.seed, &format!("augment/{}/{slot}", changes.step));
                Ok(image.augmented(&decoded, changes.augment, &mut rng))
            }
        }
    }

    /// An image, decoded as far as `augment` has no part in it.
    fn decoded(&self, image: &ImageInput, item: usize, augment: &Augment) -> Result<Arc<Decoded>> {
        let key = (item, image.is_changed_before_it_fits(augment));
        self.cache.get_or(key, || {
            let data = &self.dataset;
            let bytes = data.read(item)?;
            let encoded = Encoded {
                region: data.regions.as_ref().map(|regions| regions[item]),
                landmarks: data.landmarks.as_ref().map(|landmarks| &landmarks[item]),
                degradation: self.degradation,
                ..Encoded::new(&bytes, &data.names[item])
            };
            Ok(image.decode(&encoded, augment)?)
        })
    }

    /// Counts the damaged items of a batch of `size`; an error once more are damaged than allowed, or all.
    fn count(&self, failed: &[(usize, Error)], size: usize) -> Result<()> {
        let [(_, first), ..] = failed else {
            return Ok(());
        };
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut beyond = None;
        for (item, error) in failed {
            damaged.insert(*item);
            if damaged.len() > self.allowed && beyond.is_none() {
                beyond = Some((damaged.len(), error));
            }
        }
        let all = self.dataset.len();
        if damaged.len() == all && (all > 1 || beyond.is_none()) {
            let images = if all == 1 { "image" } else { "images" };
            return Err(self.unreadable(format!("its {all} {images}"), first));
        }
        match beyond {
            Some(_) if size > 1 && failed.len() == size => {
                Err(self.unreadable(format!("{size} images read together"), first))
            }
            Some((found, last)) => Err(Error::Damaged {
                found,
                allowed: self.allowed,
                last: last.to_string(),
            }),
            None => Ok(()),
        }
    }
}

impl Batch {
    /// The batch, or a part of it, as the network's input.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn tensor(&self, input: &Input, part: std::ops::Range<usize>) -> Result<Tensor> {
        self.tensor_of(input, &part.collect::<Vec<_>>())
    }

    /// Some rows of the batch as the network's input.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn tensor_of(&self, input: &Input, rows: &[usize]) -> Result<Tensor> {
        let shape = input.shape();
        let size = shape.numbers();
        let of_row = |row: &usize| &self.numbers[row * size..][..size];
        let numbers: Vec<&[f32]> = rows.iter().map(of_row).collect();
        let tensor = Tensor::from_vec(numbers.concat(), shape.batch(rows.len()), &Device::Cpu);
        Ok(tensor.map_err(nearkin_encoder::Error::from)?)
    }
}

/// Means and deviations of the features of some items; a constant feature gets deviation 1.
pub fn feature_input(dataset: &Dataset, items: &[usize]) -> FeatureInput {
    let dim = dataset.is_features().unwrap_or(0);
    let rows = || {
        items
            .iter()
            .map(|&item| &dataset.features()[item * dim..(item + 1) * dim])
    };
    let count = items.len().max(1) as f64;
    let mut mean = vec![0.0f64; dim];
    for row in rows() {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, &x)| *m += f64::from(x) / count);
    }
    let mut variance = vec![0.0f64; dim];
    for row in rows() {
        let squares = row
            .iter()
            .zip(&mean)
            .map(|(&x, m)| (f64::from(x) - m).powi(2) / count);
        variance
            .iter_mut()
            .zip(squares)
            .for_each(|(v, square)| *v += square);
    }
    let deviation = variance
        .iter()
        .map(|v| if *v > 1e-12 { v.sqrt() as f32 } else { 1.0 });
    FeatureInput {
        mean: mean.iter().map(|&m| m as f32).collect(),
        deviation: deviation.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::images_of;
    use nearkin_encoder::image::{Align, ResizedCrop};

    /// Images of the format PGM, each of one gray; `None` is a damaged one.
    fn feed(grays: &[Option<u8>], share: f64) -> (tempfile::TempDir, Feed) {
        let contents = grays.iter().map(|gray| match gray {
            Some(gray) => [b"P5 8 6 255\n".as_slice(), &[*gray; 48]].concat(),
            None => b"not an image".to_vec(),
        });
        let (folder, data) = images_of(&contents.collect::<Vec<_>>());
        let feed = Feed::new(Arc::new(data), Input::Image(small()), share).unwrap();
        (folder, feed)
    }

    fn small() -> ImageInput {
        ImageInput {
            height: 4,
            width: 4,
            ..ImageInput::default()
        }
    }

    fn changes(augment: &Augment) -> Changes<'_> {
        let (seed, step) = (7, 3);
        Changes {
            augment,
            seed,
            step,
        }
    }

    #[test]
    fn a_cache_changes_no_bit_and_spares_the_files() {
        let grays: Vec<_> = (0..20).map(|gray| Some(gray * 11)).collect();
        let cutting = Augment {
            resized_crop: Some(ResizedCrop::default()),
            ..Augment::default()
        };
        let shifting = Augment {
            flip: true,
            shift: 0.5,
            ..Augment::default()
        };
        let items: Vec<usize> = (0..20).collect();
        let (folder, plain) = feed(&grays, 0.0);
        let cached = plain.clone().with_cache(1);
        let numbers = |feed: &Feed, changes| feed.batch(&items, changes).unwrap().numbers;
        for changes in [None, Some(changes(&cutting)), Some(changes(&shifting))] {
            let want = numbers(&plain, changes);
            // The first time the cache is filled, the second time it is read.
            assert_eq!(numbers(&cached, changes), want);
            assert_eq!(numbers(&cached, changes), want);
        }
        drop(folder);
        assert!(plain.batch(&items, None).is_err());
        assert_eq!(numbers(&cached, None).len(), 20 * 4 * 4 * 3);
    }

    #[test]
    fn classes_are_turned_as_a_whole_and_by_the_seed() {
        // A quarter of the image is white: where it is says how the image was turned.
        let corner = |place: usize| {
            let pixels = (0..64).map(|p| u8::from((p / 8 / 4) * 2 + p % 8 / 4 == place) * 255);
            [b"P5 8 8 255\n".to_vec(), pixels.collect()].concat()
        };
        let (_folder, data) = images_of(&vec![corner(0); 12]);
        let count = data.classes.len() as u32;
        let labels = data.labels.clone();
        let input = ImageInput {
            height: 2,
            width: 2,
            color: nearkin_encoder::image::Color::Gray,
            ..ImageInput::default()
        };
        let feed = Feed::new(Arc::new(data), Input::Image(input), 0.0).unwrap();
        let augment = Augment {
            turned_classes: true,
            ..Augment::default()
        };
        let items: Vec<usize> = (0..12).collect();
        let mut seen = BTreeSet::new();
        for step in 0..40 {
            let changes = Changes {
                augment: &augment,
                seed: 1,
                step,
            };
            let batch = feed.batch(&items, Some(changes)).unwrap();
            for (label, image) in labels.iter().zip(batch.numbers.chunks_exact(4)) {
                // Clockwise from the first corner.
                let whitest = image.iter().copied().fold(f32::MIN, f32::max);
                let turn = [0, 1, 3, 2]
                    .iter()
                    .position(|&place| image[place] == whitest);
                assert_eq!(turn, Some(changes.turn(*label) as usize));
                seen.insert((*label, turn));
            }
            assert_eq!(batch.labels, labels);
        }
        assert_eq!(seen.len() as u32, count * TURNS);
    }

    #[test]
    fn damaged_images_are_left_out_up_to_the_share_and_named() {
        let (_folder, feed) = feed(&[Some(1), None, Some(3), Some(4)], 0.25);
        let batch = feed.batch(&[0, 1, 2], None).unwrap();
        assert_eq!((batch.items, batch.labels.len()), (vec![0, 2], 2));
        assert_eq!(feed.damaged(), [feed.dataset().names[1].clone()]);
        let strict = Feed::new(feed.dataset.clone(), feed.input.clone(), 0.2).unwrap();
        let error = strict.batch(&[0, 1, 2], None).unwrap_err().to_string();
        assert!(
            error.contains("1 damaged image, data.damaged allows 0"),
            "{error}"
        );
        assert!(error.contains(&feed.dataset().names[1]), "{error}");
    }

    #[test]
    fn where_no_image_can_be_read_it_is_an_error_whatever_the_share() {
        let (_folder, nothing) = feed(&[None, None, None], 1.0);
        let error = nothing.batch(&[0, 1, 2], None).unwrap_err().to_string();
        assert!(
            error.contains("none of its 3 images can be read") && error.contains(".pgm"),
            "{error}"
        );
        // A training batch of nothing has no gradient; in a measurement others may follow.
        let (_folder, some) = feed(&[None, None, Some(3)], 1.0);
        assert!(some.batch(&[0, 1], None).unwrap().items.is_empty());
        let error = some
            .batch(&[0, 1], Some(changes(&Augment::default())))
            .unwrap_err();
        assert!(
            error.to_string().contains("none of a batch of 2 images"),
            "{error}"
        );
    }

    #[test]
    fn faces_without_landmarks_are_refused_before_any_is_read() {
        let (_folder, plain) = feed(&[Some(1)], 0.0);
        let aligned = ImageInput {
            align: Some(Align::Arcface),
            ..small()
        };
        let error = Feed::new(plain.dataset.clone(), Input::Image(aligned), 0.0).err();
        let error = error.unwrap().to_string();
        assert!(
            error.contains("no landmarks") && error.contains("landmark_columns"),
            "{error}"
        );
    }
}
