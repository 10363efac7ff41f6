//! From items of a data set to the numbers that a network reads.

use crate::data::Dataset;
use crate::error::{Error, Result};
use nearkin_encoder::image::Augment;
use nearkin_encoder::model::{FeatureInput, Input};
use nearkin_encoder::parameters::named_rng;
use nearkin_encoder::{Device, Tensor};
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
    /// The model reads images and the items are features, the other way round, or features of another length.
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
        let allowed = (share * dataset.len() as f64).floor() as usize;
        Ok(Self {
            dataset,
            input,
            allowed,
            damaged: Arc::default(),
        })
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What the model reads.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The names of the items found damaged so far.
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

    /// Prepares items, in their order; damaged ones are left out and counted.
    ///
    /// # Errors
    /// More items cannot be read or decoded than the share allows: the error names the last.
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
        for (&item, prepared) in items.iter().zip(prepared) {
            match prepared {
                Ok(numbers) => {
                    batch.items.push(item);
                    batch.labels.push(self.dataset.labels[item]);
                    batch.numbers.extend(numbers);
                }
                Err(error) => {
                    self.count(item, &error)?;
                }
            }
        }
        Ok(batch)
    }

    fn prepare(&self, item: usize, slot: usize, changes: Option<Changes>) -> Result<Vec<f32>> {
        match &self.input {
            Input::Features(features) => {
                let dim = self.dataset.is_features().unwrap_or(0);
                Ok(features.prepare(&self.dataset.features()[item * dim..(item + 1) * dim]))
            }
            Input::Image(image) => {
                let bytes = self.dataset.read(item)?;
                let name = &self.dataset.names[item];
                Ok(match changes {
                    None => image.prepare(&bytes, name)?,
                    Some(changes) => {
                        let mut rng =
                            named_rng(changes.seed, &format!("augment/{}/{slot}", changes.step));
                        image.prepare_augmented(&bytes, name, changes.augment, &mut rng)?
                    }
                })
            }
        }
    }

    /// Counts a damaged item; an error once more are damaged than allowed.
    fn count(&self, item: usize, error: &Error) -> Result<()> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.insert(item);
        if damaged.len() > self.allowed {
            return Err(Error::Damaged {
                found: damaged.len(),
                allowed: self.allowed,
                last: error.to_string(),
            });
        }
        Ok(())
    }
}

impl Batch {
    /// The batch, or a part of it, as the network's input.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn tensor(&self, input: &Input, part: std::ops::Range<usize>) -> Result<Tensor> {
        let shape = input.shape();
        let size = shape.numbers();
        let numbers = self.numbers[part.start * size..part.end * size].to_vec();
        let tensor = Tensor::from_vec(numbers, shape.batch(part.len()), &Device::Cpu);
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
