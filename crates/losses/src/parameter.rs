//! Learned parameters of losses: proxies, boundaries, classifiers. The optimizer moves them like any other.

use crate::error::Error;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Every number the same.
    Constant(f32),
    /// Normal with mean zero and this standard deviation.
    Normal(f32),
    /// Uniform between minus and plus this bound.
    Uniform(f32),
}

/// A learned parameter that a loss declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Its name within the loss.
    pub name: &'static str,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// How it starts.
    pub start: Start,
}

/// A learned parameter with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, with the names of the wrappers around its loss before it, as in `0.proxies`.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The numbers, row-major.
    pub values: Vec<f32>,
}

/// Numbers of one parameter at most, 8 GiB of them: more is a mistake in a recipe.
const LARGEST: usize = 1 << 31;

impl Parameter {
    /// Draws the starting values.
    pub(crate) fn new(
        prefix: &str,
        spec: &ParameterSpec,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, Error> {
        let [rows, cols] = spec.shape;
        let len = rows.checked_mul(cols).filter(|&len| len <= LARGEST);
        let len = len.ok_or(Error::Parameter {
            name: spec.name,
            shape: spec.shape,
            most: LARGEST,
        })?;
        let mut draw = || match spec.start {
            Start::Constant(value) => value,
            Start::Normal(deviation) => {
                let z: f32 = StandardNormal.sample(rng);
                deviation * z
            }
            Start::Uniform(bound) => bound * (2.0 * rng.random::<f32>() - 1.0),
        };
        Ok(Self {
            name: format!("{prefix}{}", spec.name),
            shape: spec.shape,
            values: (0..len).map(|_| draw()).collect(),
        })
    }
}
