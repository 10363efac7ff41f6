//! The networks of FaceNet.

mod inception;
mod zeiler_fergus;

use super::layers::{Layers, Unit};
use super::{InputShape, Stem, Width};
use crate::error::Result;
use crate::layer::{Linear, Mode};
use crate::op::{self, Activation, Pool, Pooling, ResponseNorm};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// The networks NN1 to NN4, NNS1 and NNS2 of FaceNet, up to the layer that gives the embedding.
///
/// ```text
/// NN1:        image → 11 convolutions, 1×1 before each 3×3 → 2 maxout layers
/// NN2 …:      image → conv 7×7 → pool → norm → conv 1×1, 3×3 → norm → pool → inceptions → average
/// inception:  1×1 ‖ 1×1 → 3×3 ‖ 1×1 → 5×5 ‖ max or L2 pool → 1×1, concatenated over channels
/// ```
///
/// The head is the paper's last layer and its normalization: `[head] dim = 128`. Tensor names are those of the paper's
/// tables: `conv1.weight`, `conv2a.weight`, `inception3a.branch3_reduce.weight`, …, `fc1.weight`; with `batch_norm` a
/// convolution's are `conv1.conv.weight` and `conv1.bn.…`.
///
/// | network | input in the paper | |
/// |---|---|---|
/// | `nn1` | 220 × 220 | of Zeiler and Fergus with 1×1 convolutions, 140 M weights |
/// | `nn2` | 224 × 224 | inceptions, 7.4 M weights |
/// | `nn3` | 160 × 160 | the layers of `nn2` |
/// | `nn4` | 96 × 96 | `nn2` without 5×5 convolutions in 5a and 5b, as OpenFace reads it |
/// | `nns1` | 165 × 165 | layers not published: a reading that comes to 2.9 M weights and 0.26 G products |
/// | `nns2` | 140 × 116 | layers not published: a reading that comes to 4.2 M weights and 0.02 G products |
///
/// Of NNS1 the paper says 26 M weights, which cannot be for a network called small (2.6 M is likely), and 0.22 G
/// products; of NNS2 4.3 M weights and 0.02 G products.
///
/// # Shapes
/// - input: `[N, H, W, C]`, of any size
/// - output: `[N, F]`, F = 4096 of `nn1`, 1024 of `nn2` and `nn3`
///
/// # Reference
/// Schroff, Kalenichenko and Philbin 2015, tables 1 and 2 and section 3.3. The normalization's constants are not in the
/// paper; these are OpenFace's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facenet {
    /// Which of the networks.
    pub layers: Variant,
    /// What comes before the inceptions; `nn1` has the paper's alone.
    pub stem: Stem,
    /// Factor on the channels of all layers.
    pub width: Width,
    /// Batch norm behind each convolution, in place of its bias; the paper has none.
    pub batch_norm: bool,
}

/// The networks of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Table 1.
    Nn1,
    /// Table 2.
    Nn2,
    /// NN2 for smaller images.
    Nn3,
    /// NN2 with fewer 5×5 convolutions.
    Nn4,
    /// The larger of the two for telephones.
    Nns1,
    /// The smaller of the two for telephones.
    Nns2,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Nn1,
        Self::Nn2,
        Self::Nn3,
        Self::Nn4,
        Self::Nns1,
        Self::Nns2,
    ];
}

impl Default for Facenet {
    fn default() -> Self {
        Self {
            layers: Variant::Nn4,
            stem: Stem::Large,
            width: Width::PAPER,
            batch_norm: false,
        }
    }
}

/// A [`Facenet`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    layers: Layers,
    end: End,
}

/// What comes behind the last map.
#[derive(Clone, Debug)]
enum End {
    Average,
    /// Linear layers, each with maxout, over all places of the map.
    Maxout(Vec<Linear>),
}

/// Linear maps of which maxout takes the largest, p = 2 in table 1.
const PIECES: usize = 2;

const NORM: ResponseNorm = ResponseNorm {
    size: 5,
    alpha: 1e-4,
    beta: 0.75,
    bias: 1.0,
};

const POOL: Pool = Pool::square(Pooling::Max, 3, 2, 1);

impl Facenet {
    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.facenet")?;
        let (table, hidden) = match self.layers {
            Variant::Nn1 => (zeiler_fergus::table(), zeiler_fergus::HIDDEN),
            other => inception::table(other, self.stem),
        };
        let unit = Unit::of(self.batch_norm);
        let layers = Layers::new(scope, &mut map, table, (unit, self.width))?;
        if hidden.is_empty() {
            let end = End::Average;
            return Ok((Body { layers, end }, map.channels));
        }
        let (mut inputs, mut linears) = (map.numbers(), Vec::new());
        for (index, &paper) in hidden.iter().enumerate() {
            let (place, outputs) = (
                scope.child(format!("fc{}", index + 1)),
                self.width.of(paper),
            );
            linears.push(Linear::new(
                &place,
                inputs,
                PIECES * outputs,
                Activation::None,
            )?);
            inputs = outputs;
        }
        let end = End::Maxout(linears);
        Ok((Body { layers, end }, inputs))
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let map = self.layers.forward(x, mode)?;
        match &self.end {
            End::Average => Ok(op::global_average(&map)?),
            End::Maxout(linears) => linears.iter().try_fold(op::flatten(&map)?, |x, linear| {
                Ok(op::maxout(&linear.forward(&x, mode)?, PIECES)?)
            }),
        }
    }
}
