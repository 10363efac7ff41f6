//! MobileNetV3-small.

use super::{InputShape, Stem, Width};
use crate::error::Result;
use crate::layer::{ConvNorm, Dropout, Kernel, Linear, Map, Mode, SqueezeExcite};
use crate::op::{self, Activation};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// MobileNetV3-small, as `torchvision` has it, up to the features before its last linear layer.
///
/// ```text
/// image → conv 3×3 → 11 blocks → conv 1×1 → average → linear 1024 → hard swish → dropout
/// block:  y = bn(conv 1×1 (se(act(bn(depthwise(act(bn(conv 1×1 x)))))))) + x,  the sum where the shapes agree
/// ```
///
/// Tensor names are `torchvision`'s (`features.1.block.0.0.weight`, `features.1.block.1.fc1.weight`, …), so its weights
/// load unchanged; its `classifier.3` is not read.
///
/// # Shapes
/// - input: `[N, H, W, C]`
/// - output: `[N, 1024]`
///
/// # Reference
/// Howard et al. 2019 (*Searching for MobileNetV3*), table 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MobilenetV3 {
    /// What comes before the blocks.
    pub stem: Stem,
    /// Factor on the channels of all convolutions; they are rounded to multiples of 8.
    pub width: Width,
    /// Share of the features that training drops; `torchvision`'s is 0.2.
    pub dropout: f32,
}

impl Default for MobilenetV3 {
    fn default() -> Self {
        Self {
            stem: Stem::Large,
            width: Width::PAPER,
            dropout: 0.2,
        }
    }
}

/// A row of the paper's table.
#[derive(Clone, Copy)]
struct Row {
    kernel: usize,
    expanded: usize,
    outputs: usize,
    squeezes: bool,
    activation: Activation,
    stride: usize,
}

const fn row(kernel: usize, [expanded, outputs]: [usize; 2], squeezes: bool, stride: usize) -> Row {
    Row {
        kernel,
        expanded,
        outputs,
        squeezes,
        activation: Activation::HardSwish,
        stride,
    }
}

const fn relu(row: Row) -> Row {
    Row {
        activation: Activation::Relu,
        ..row
    }
}

/// Table 2 of the paper.
const ROWS: [Row; 11] = [
    relu(row(3, [16, 16], true, 2)),
    relu(row(3, [72, 24], false, 2)),
    relu(row(3, [88, 24], false, 1)),
    row(5, [96, 40], true, 2),
    row(5, [240, 40], true, 1),
    row(5, [240, 40], true, 1),
    row(5, [120, 48], true, 1),
    row(5, [144, 48], true, 1),
    row(5, [288, 96], true, 2),
    row(5, [576, 96], true, 1),
    row(5, [576, 96], true, 1),
];

/// Features before the last linear layer.
const FEATURES: usize = 1024;

/// A [`MobilenetV3`] with its parameters.
#[derive(Clone, Debug)]
pub struct Body {
    first: Unit,
    blocks: Vec<Block>,
    last: Unit,
    linear: Linear,
    dropout: Dropout,
}

/// Convolution, batch norm and activation.
#[derive(Clone, Debug)]
struct Unit(ConvNorm, Activation);

#[derive(Clone, Debug)]
struct Block {
    expand: Option<Unit>,
    depthwise: Unit,
    squeeze: Option<SqueezeExcite>,
    project: Unit,
    is_residual: bool,
}

/// The multiple of 8 next to `channels`, not more than a tenth below it.
fn of_eight(channels: f64) -> usize {
    let near = ((channels / 8.0 + 0.5).floor() as usize * 8).max(8);
    if (near as f64) < 0.9 * channels {
        near + 8
    } else {
        near
    }
}

impl MobilenetV3 {
    fn channels(&self, paper: usize) -> usize {
        of_eight(paper as f64 * f64::from(self.width))
    }

    pub(super) fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
        let mut map = input.image("network.mobilenet_v3")?;
        super::check_share("network.mobilenet_v3.dropout", self.dropout)?;
        let stride = if self.stem == Stem::Large { 2 } else { 1 };
        let features = scope.child("features");
        let (outputs, kernel) = (self.channels(16), Kernel::square(3, stride, 1));
        let place = |index: usize| features.child(index);
        let first = Unit::new(
            &place(0),
            &mut map,
            (outputs, kernel),
            Activation::HardSwish,
        )?;
        let mut blocks = Vec::new();
        for (index, row) in ROWS.iter().enumerate() {
            blocks.push(self.block(&place(index + 1).child("block"), &mut map, row)?);
        }
        let (place, outputs) = (place(ROWS.len() + 1), 6 * map.channels);
        let one = (outputs, Kernel::same(1, 1));
        let last = Unit::new(&place, &mut map, one, Activation::HardSwish)?;
        let place = scope.child("classifier.0");
        let linear = Linear::new(&place, outputs, FEATURES, Activation::HardSwish)?;
        let dropout = Dropout::new(&scope.child("classifier.2"), self.dropout);
        let body = Body {
            first,
            blocks,
            last,
            linear,
            dropout,
        };
        Ok((body, FEATURES))
    }

    fn block(&self, scope: &Scope, map: &mut Map, row: &Row) -> Result<Block> {
        let (inputs, expanded) = (map.channels, self.channels(row.expanded));
        let outputs = self.channels(row.outputs);
        let mut places = (0..).map(|index| scope.child(index));
        let mut next = || places.next().unwrap_or_else(|| scope.clone());
        let one = Kernel::same(1, 1);
        let expand = if expanded == inputs {
            None
        } else {
            Some(Unit::new(&next(), map, (expanded, one), row.activation)?)
        };
        let kernel = Kernel::square(row.kernel, row.stride, row.kernel / 2).in_groups(expanded);
        let depthwise = Unit::new(&next(), map, (expanded, kernel), row.activation)?;
        let squeeze = if row.squeezes {
            let width = of_eight(expanded as f64 / 4.0);
            Some(SqueezeExcite::new(&next(), expanded, width)?)
        } else {
            None
        };
        Ok(Block {
            expand,
            depthwise,
            squeeze,
            project: Unit::new(&next(), map, (outputs, one), Activation::None)?,
            is_residual: row.stride == 1 && inputs == outputs,
        })
    }
}

impl Unit {
    fn new(
        scope: &Scope,
        map: &mut Map,
        (outputs, kernel): (usize, Kernel),
        activation: Activation,
    ) -> Result<Self> {
        let places = [&scope.child(0), &scope.child(1)];
        let unit = ConvNorm::new(places, map, outputs, kernel)?;
        let unit = unit.epsilon(1e-3).momentum(0.01);
        // The ReLU is fused with the norm; others follow it.
        Ok(match activation {
            Activation::Relu => Self(unit, Activation::None),
            other => Self(unit.linear(), other),
        })
    }

    fn forward(&self, x: &Tensor, residual: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let y = self.0.forward_with(x, residual, mode)?;
        Ok(op::activation(&y, self.1)?)
    }
}

impl Block {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut y = x.clone();
        if let Some(expand) = &self.expand {
            y = expand.forward(&y, None, mode)?;
        }
        y = self.depthwise.forward(&y, None, mode)?;
        if let Some(squeeze) = &self.squeeze {
            y = squeeze.forward(&y, mode)?;
        }
        self.project
            .forward(&y, self.is_residual.then_some(x), mode)
    }
}

impl Body {
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut y = self.first.forward(x, None, mode)?;
        for block in &self.blocks {
            y = block.forward(&y, mode)?;
        }
        let features = op::global_average(&self.last.forward(&y, None, mode)?)?;
        self.dropout
            .forward(&self.linear.forward(&features, mode)?, x, mode)
    }
}
