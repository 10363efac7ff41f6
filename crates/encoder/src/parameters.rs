//! The named parameters of a network.

use crate::error::{Error, Result};
use crate::lora::Lora;
use crate::stored::Stored;
use candle_core::{DType, Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};
use std::cell::{Cell, RefCell};
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
    /// Not learned: held as it was read.
    Frozen,
}

/// How a tensor lies in a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As it is.
    Plain,
    /// A convolution kernel: `[O, kh, kw, C]` here, `[O, C, kh, kw]` in files, as PyTorch has it.
    Kernel,
    /// A matrix `[O, C]` here, a 1×1 convolution `[O, C, 1, 1]` in files.
    Pointwise,
    /// Equal blocks of rows, each a tensor of its own in files: the projections of attention, made in one product here.
    Blocks(&'static [&'static str]),
    /// Rows, each a vector of its own in files: the scale and the shift of a norm.
    Rows(&'static [&'static str]),
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
    /// The names of its tensors in a weight file: its own, but for [`Storage::Blocks`] and [`Storage::Rows`].
    pub stored: Vec<String>,
}

impl Parameter {
    /// Says that a name is only that of a part of the parameter.
    pub fn not_by(&self, name: &str) -> String {
        let parts = self.stored.join(", ");
        format!("\"{name}\", which is no weight of its own here: {parts} are one")
    }
}

impl Storage {
    /// The names of the parts that it lies in, where it lies in parts.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Kernel | Self::Pointwise => &[],
            Self::Blocks(parts) | Self::Rows(parts) => parts,
        }
    }

    /// The shape of each tensor in a weight file for a parameter of this shape.
    pub fn shape_in_file(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::Plain => shape.to_vec(),
            Self::Kernel => vec![shape[0], shape[3], shape[1], shape[2]],
            Self::Pointwise => vec![shape[0], shape[1], 1, 1],
            Self::Blocks(parts) => [&[shape[0] / parts.len()], &shape[1..]].concat(),
            Self::Rows(_) => shape[1..].to_vec(),
        }
    }
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
    /// Ones in the first half, zeros in the second: the scale and the shift of a norm.
    Affine,
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
        self.0
            .iter()
            .filter(|p| matches!(p.kind, Kind::Weight | Kind::Offset))
    }

    /// The parameter of which a tensor in files is called so at its beginning, but not the parameter itself: that tensor cannot be
    /// learned or held without the others, such as a query without key and value.
    pub fn around(&self, beginning: &str) -> Option<&Parameter> {
        let is_part = |p: &&Parameter| p.stored.iter().any(|name| begins(name, beginning));
        self.0.iter().find(is_part)
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
/// New numbers of a parameter depend on the seed and its full name alone, not on the order of making. A scope over stored
/// weights takes the numbers from there instead.
#[derive(Clone)]
pub struct Scope {
    /// Stands before the names of parameters, not before those of their tensors in files.
    label: String,
    prefix: String,
    seed: u64,
    stored: Option<Rc<Stored>>,
    /// Beginnings of the names of parameters that are not learned.
    frozen: Rc<[String]>,
    /// Whether batch norms keep their running averages and work from them, in training too.
    statistics_held: bool,
    /// Whether parameters are zeros.
    is_blank: bool,
    /// Whether nothing will learn.
    for_inference: bool,
    lora: Option<Rc<Lora>>,
    dtype: DType,
    device: Device,
    made: Rc<RefCell<Vec<Parameter>>>,
    /// Whether what one item becomes depends on those beside it, in training.
    is_batchwise: Rc<Cell<bool>>,
}

impl Scope {
    /// The root of a new network.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self {
            label: String::new(),
            prefix: String::new(),
            seed,
            stored: None,
            frozen: Rc::default(),
            statistics_held: false,
            is_blank: false,
            for_inference: false,
            lora: None,
            dtype,
            device: device.clone(),
            made: Rc::default(),
            is_batchwise: Rc::default(),
        }
    }

    /// The root of a network whose parameters are read from stored weights, as `f32` in host memory; `seed` is for those
    /// that are to start anew.
    pub fn stored(stored: Stored, seed: u64) -> Self {
        Self {
            stored: Some(Rc::new(stored)),
            ..Self::new(seed, DType::F32, &Device::Cpu)
        }
    }

    /// The same with parameters that are not learned, by the beginnings of their names.
    #[must_use]
    pub fn freezing(self, beginnings: &[String]) -> Self {
        Self {
            frozen: beginnings.into(),
            ..self
        }
    }

    /// A root whose parameters are zeros, which cost next to nothing: for those who ask what a network has.
    pub fn blank() -> Self {
        Self {
            is_blank: true,
            ..Self::new(0, DType::F32, &Device::Cpu)
        }
    }

    /// The same with batch norms that keep their running averages and work from them, in training too.
    #[must_use]
    pub fn holding_statistics(self) -> Self {
        Self {
            statistics_held: true,
            ..self
        }
    }

    /// Whether the batch norm here keeps its running averages: all do, or its own are frozen by name.
    pub(crate) fn holds_statistics(&self) -> bool {
        self.statistics_held
            || self.is_frozen(&format!("{}{}running_mean", self.label, self.prefix))
    }

    /// The same for a network that never learns: its layers may keep what their first pass makes of their weights, and do not see
    /// parameters that are changed after it.
    #[must_use]
    pub fn for_inference(self) -> Self {
        Self {
            for_inference: true,
            ..self
        }
    }

    /// Whether the network never learns.
    pub(crate) fn is_for_inference(&self) -> bool {
        self.for_inference
    }

    /// The same with adapters beside some of the linear layers; nothing else is learned.
    #[must_use]
    pub fn adapted(self, lora: &Lora) -> Self {
        Self {
            frozen: [String::new()].into(),
            lora: Some(Rc::new(lora.clone())),
            ..self
        }
    }

    /// The adapters to be made here.
    pub(crate) fn lora(&self) -> Option<&Lora> {
        self.lora.as_deref()
    }

    /// The same place for what is new: learned and not stored.
    pub(crate) fn anew(&self) -> Self {
        Self {
            stored: None,
            frozen: Rc::default(),
            ..self.clone()
        }
    }

    /// Whether the stored weights hold a tensor of this name; nothing is stored for a new network.
    pub fn has(&self, name: &str) -> bool {
        let name = format!("{}{name}", self.prefix);
        self.stored.as_ref().is_some_and(|stored| stored.has(&name))
    }

    /// The same with a word before the names of its parameters: of several modules with weight files of their own.
    #[must_use]
    pub fn labeled(&self, label: &str) -> Self {
        let label = if label.is_empty() {
            String::new()
        } else {
            format!("{label}.")
        };
        Self {
            label,
            ..self.clone()
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
            .ok_or_else(|| Error::TooManyWeights {
                name: name.to_owned(),
                shape: shape.to_vec(),
                most: LARGEST,
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
        let stored: Vec<String> = match storage.names() {
            [] => vec![format!("{}{name}", self.prefix)],
            parts => parts
                .iter()
                .map(|part| format!("{}{part}", self.prefix))
                .collect(),
        };
        let name = format!("{}{}{name}", self.label, self.prefix);
        let count = Self::count(&name, shape)?;
        let var = match &self.stored {
            Some(weights) if !weights.is_fresh(&name) => {
                Var::from_vec(weights.read(&stored, storage, shape)?, shape, &self.device)?
            }
            _ if self.is_blank => self.var(vec![0.0; count], shape)?,
            _ => {
                let numbers = init.sample(count, &mut named_rng(self.seed, &name));
                self.var(numbers, shape)?
            }
        };
        Ok(self.made(Parameter {
            name,
            var,
            kind,
            storage,
            stored,
        }))
    }

    /// Makes a parameter here of numbers that are at hand.
    ///
    /// # Errors
    /// The count of numbers does not fit the shape.
    pub fn given(&self, name: &str, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Ok(self.made(Parameter {
            name: format!("{}{}{name}", self.label, self.prefix),
            var: self.var(numbers, shape)?,
            kind: Kind::Weight,
            storage: Storage::Plain,
            stored: vec![format!("{}{name}", self.prefix)],
        }))
    }

    /// Notes a parameter, frozen where its name says so, and returns the tensor that layers use.
    fn made(&self, mut parameter: Parameter) -> Tensor {
        let shared = if self.is_frozen(&parameter.name) {
            parameter.kind = Kind::Frozen;
            // No variable to the tapes: its gradient is not computed.
            parameter.var.as_detached_tensor()
        } else {
            parameter.var.as_tensor().clone()
        };
        self.made.borrow_mut().push(parameter);
        shared
    }

    fn is_frozen(&self, name: &str) -> bool {
        self.frozen.iter().any(|start| begins(name, start))
    }

    /// Notes a layer that makes of an item in training what depends on those beside it: a batch norm, or dropout, whose mask
    /// is that of the batch.
    pub(crate) fn note_batchwise(&self) {
        self.is_batchwise.set(true);
    }

    /// Whether a layer made under the root is such a one.
    pub(crate) fn is_batchwise(&self) -> bool {
        self.is_batchwise.get()
    }

    /// The stored weights, of which layers may read tensors that are no parameters.
    pub(crate) fn weights(&self) -> Option<&Stored> {
        self.stored.as_deref()
    }

    fn var(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Var> {
        if self.dtype == DType::F32 {
            return Ok(Var::from_vec(numbers, shape, &self.device)?);
        }
        let values = Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
        Ok(Var::from_tensor(&values.to_device(&self.device)?)?)
    }

    /// All parameters made under the root so far.
    pub fn parameters(&self) -> Parameters {
        Parameters(self.made.borrow().clone())
    }
}

/// Whether a parameter's name begins so. A number ends where it ends: `layer.1` is no beginning of `layer.10`.
///
/// ```
/// use nearkin_encoder::parameters::begins;
/// assert!(begins("encoder.layer.1.output", "encoder.layer.1") && begins("conv2d_1a.weight", "conv2d_"));
/// assert!(!begins("encoder.layer.10.output", "encoder.layer.1"));
/// ```
pub fn begins(name: &str, beginning: &str) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    name.strip_prefix(beginning)
        .is_some_and(|rest| !(digit(beginning.chars().next_back()) && digit(rest.chars().next())))
}

impl Init {
    fn sample(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let constant = |value: f32| vec![value; count];
        match self {
            Self::Constant(value) => constant(value),
            Self::Affine => (0..count)
                .map(|i| f32::from(u8::from(i < count / 2)))
                .collect(),
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
