//! Linear layer.

use super::Mode;
use crate::error::Result;
use crate::host::{Host, is_fused};
use crate::lora::Adapter;
use crate::op::{self, Activation};
use crate::parameters::{Init, Kind, Scope, Storage};
use candle_core::Tensor;
use nearkin_kernels::{Mat, PackedLinear, QuantizedLinear};

/// `y = act(x wᵀ + b)`; parameters `weight` `[out, in]` and `bias` `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
    /// One for each block of rows, if any of them is adapted.
    adapters: Vec<Option<Adapter>>,
}

/// The names in files of the layers that one layer is made of; none for a layer of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocks {
    /// Names of the weights.
    pub weights: &'static [&'static str],
    /// Names of the biases.
    pub biases: &'static [&'static str],
}

impl Linear {
    /// Makes the layer; both parameters start uniform in `± 1/√in`, as PyTorch's do.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(
        scope: &Scope,
        inputs: usize,
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        Self::lying(scope, [inputs, outputs], activation, Storage::Plain)
    }

    /// The same without a bias.
    ///
    /// # Errors
    /// The stored weights lack it.
    pub fn without_bias(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let (shape, kind) = ([outputs, inputs], (Kind::Weight, Storage::Plain));
        let weight = scope.parameter("weight", &shape, init, kind)?;
        Ok(Self {
            bias: Tensor::zeros(outputs, weight.dtype(), weight.device())?,
            weight,
            activation: Activation::None,
            adapters: Vec::new(),
        })
    }

    /// The same where files hold a 1×1 convolution, `[out, in, 1, 1]`.
    ///
    /// # Errors
    /// The stored weights lack it.
    pub fn of_convolution(
        scope: &Scope,
        sizes: [usize; 2],
        activation: Activation,
    ) -> Result<Self> {
        Self::lying(scope, sizes, activation, Storage::Pointwise)
    }

    fn lying(
        scope: &Scope,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
        storage: Storage,
    ) -> Result<Self> {
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let shape = [outputs, inputs];
        let weight = scope.parameter("weight", &shape, init, (Kind::Weight, storage))?;
        let bias = scope.parameter("bias", &[outputs], init, (Kind::Offset, Storage::Plain))?;
        Ok(Self {
            weight,
            bias,
            activation,
            adapters: Vec::new(),
        })
    }

    /// Makes the layer as Transformers do: weights normal with deviation 0.02, biases zero. With several `blocks` of names
    /// the layer is that many layers beside each other, each with its own tensors in files.
    ///
    /// # Errors
    /// The stored weights lack it.
    pub fn of_transformer(
        scope: &Scope,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
        blocks: Blocks,
    ) -> Result<Self> {
        let storage = |parts: &'static [&'static str]| match parts {
            [] => Storage::Plain,
            parts => Storage::Blocks(parts),
        };
        let (normal, zero) = (Init::Normal(0.02), Init::Constant(0.0));
        let weights = (Kind::Weight, storage(blocks.weights));
        let biases = (Kind::Offset, storage(blocks.biases));
        Ok(Self {
            weight: scope.parameter("weight", &[outputs, inputs], normal, weights)?,
            bias: scope.parameter("bias", &[outputs], zero, biases)?,
            activation,
            adapters: Adapter::of_blocks(scope, [inputs, outputs], blocks.weights)?,
        })
    }

    /// The tensors that a forward pass uses.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let adapters = self.adapters.iter().flatten().flat_map(Adapter::tensors);
        [&self.weight, &self.bias].into_iter().chain(adapters)
    }

    /// The layer for passes in which nothing learns; nothing where it is adapted, or not `f32` in host memory.
    ///
    /// # Errors
    /// Its tensors cannot be read.
    pub(crate) fn packed(&self) -> Result<Option<PackedLinear>> {
        self.made_of(|weight, bias| PackedLinear::new(weight, bias, self.activation))
    }

    /// The same in bytes; nothing also where there are too many inputs for it.
    ///
    /// # Errors
    /// Its tensors cannot be read.
    pub(crate) fn quantized(&self) -> Result<Option<QuantizedLinear>> {
        if self.weight.dims()[1] > QuantizedLinear::MOST_INPUTS {
            return Ok(None);
        }
        self.made_of(|weight, bias| QuantizedLinear::new(weight, bias, self.activation))
    }

    fn made_of<T>(&self, make: impl FnOnce(Mat, &[f32]) -> T) -> Result<Option<T>> {
        if !self.adapters.is_empty() || !is_fused(&self.weight) {
            return Ok(None);
        }
        let (outputs, inputs) = self.weight.dims2()?;
        let (weight, bias) = (Host::new(&self.weight)?, Host::new(&self.bias)?);
        Ok(Some(make(Mat::new(&weight, outputs, inputs), &bias)))
    }

    /// `[N, in]` to `[N, out]`.
    ///
    /// # Errors
    /// The width of `x` is not `in`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (weight, bias) = (mode.parameter(&self.weight), mode.parameter(&self.bias));
        if self.adapters.is_empty() {
            return Ok(op::linear(x, &weight, &bias, self.activation)?);
        }
        let plain = op::linear(x, &weight, &bias, Activation::None)?;
        let rows = self.weight.dims()[0] / self.adapters.len();
        let changes = self.adapters.iter().map(|adapter| match adapter {
            Some(adapter) => adapter.forward(x, mode),
            None => Ok(Tensor::zeros((x.dims()[0], rows), x.dtype(), x.device())?),
        });
        let changes = op::concat(&changes.collect::<Result<Vec<_>>>()?)?;
        Ok(op::activation(
            &op::sum(&plain, &changes)?,
            self.activation,
        )?)
    }
}
