//! The named parameters of a network.

use crate::error::{Error, Result};
use crate::host::tensor;
use candle_core::{DType, Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};
use std::cell::RefCell;
use std::rc::Rc;

/// The most numbers of one parameter, 4 GiB: more is a slip in the settings.
const LARGEST: usize = 1 << 30;

/// What a named tensor of a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Learned by the optimizer, with weight decay.
    Weight,
    /// Learned by the optimizer, without weight decay by default: biases and the affine maps of norms.
    Offset,
    /// Not learned: running statistics.
    Buffer,
}

/// How a tensor lies in a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As it is.
    Plain,
    /// A convolution kernel: `[O, kh, kw, C]` here, `[O, C, kh, kw]` in files, as `PyTorch` has it.
    Kernel,
}

/// One named tensor of a network.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Dotted name, `torchvision`'s where the network is one of its.
    pub name: String,
    /// The tensor; every layer that uses it shares its storage.
    pub var: Var,
    /// What it is.
    pub kind: Kind,
    /// How it lies in a weight file.
    pub storage: Storage,
}

/// How a new tensor is filled.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// One number everywhere.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform in ± this bound.
    Uniform(f32),
}

/// All parameters of a network, in the order of their making.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.0.iter()
    }

    /// The parameters that the optimizer changes.
    pub fn learned(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter().filter(|p| p.kind != Kind::Buffer)
    }

    /// The count of learned numbers.
    pub fn count(&self) -> usize {
        self.learned().map(|p| p.var.elem_count()).sum()
    }
}

impl FromIterator<Parameter> for Parameters {
    fn from_iter<I: IntoIterator<Item = Parameter>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A place in the tree of names where layers make their parameters.
///
/// The numbers of a parameter depend on the seed and its full name alone, not on the order of making.
#[derive(Clone)]
pub struct Scope {
    prefix: String,
    seed: u64,
    dtype: DType,
    device: Device,
    made: Rc<RefCell<Vec<Parameter>>>,
}

impl Scope {
    /// The root of a new network.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self {
            prefix: String::new(),
            seed,
            dtype,
            device: device.clone(),
            made: Rc::default(),
        }
    }

    /// The place `name` below this one.
    #[must_use]
    pub fn child(&self, name: impl std::fmt::Display) -> Self {
        Self {
            prefix: format!("{}{name}.", self.prefix),
            ..self.clone()
        }
    }

    /// The dotted name of this place.
    pub fn name(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// The numbers of a parameter, refused before memory for them is asked.
    fn count(name: &str, shape: &[usize]) -> Result<usize> {
        let count = shape
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size));
        count
            .filter(|&count| count <= LARGEST)
            .ok_or_else(|| Error::Setting {
                key: "network".into(),
                expected: format!("at most {LARGEST} weights in \"{name}\""),
                found: format!("shape {shape:?}"),
            })
    }

    /// Makes a parameter here and returns the tensor that layers use.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn parameter(
        &self,
        name: &str,
        shape: &[usize],
        init: Init,
        (kind, storage): (Kind, Storage),
    ) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        let data = init.sample(Self::count(&name, shape)?, &mut named_rng(self.seed, &name));
        let values = tensor(data, shape)?
            .to_dtype(self.dtype)?
            .to_device(&self.device)?;
        let var = Var::from_tensor(&values)?;
        let shared = var.as_tensor().clone();
        self.made.borrow_mut().push(Parameter {
            name,
            var,
            kind,
            storage,
        });
        Ok(shared)
    }

    /// All parameters made under the root so far.
    pub fn parameters(&self) -> Parameters {
        Parameters(self.made.borrow().clone())
    }
}

impl Init {
    fn sample(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let constant = |value: f32| vec![value; count];
        match self {
            Self::Constant(value) => constant(value),
            Self::Normal(deviation) => match Normal::new(0.0, deviation) {
                Ok(normal) => normal.sample_iter(rng).take(count).collect(),
                Err(_) => constant(0.0),
            },
            Self::Uniform(bound) => match Uniform::new_inclusive(-bound, bound) {
                Ok(uniform) => uniform.sample_iter(rng).take(count).collect(),
                Err(_) => constant(0.0),
            },
        }
    }
}

/// A generator that depends on the seed and a name alone (FNV-1a of the name beside the seed).
pub fn named_rng(seed: u64, name: &str) -> ChaCha8Rng {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}
