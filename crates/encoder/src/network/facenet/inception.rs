//! NN2 and what is made from it: inceptions.

use super::{NORM, POOL, Variant};
use crate::layer::Kernel;
use crate::network::Stem;
use crate::network::layers::Layer;
use crate::op::{Pool, Pooling};

/// A row of table 2: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5; 0 where there is none.
struct Row {
    name: &'static str,
    outputs: [usize; 5],
    pooling: Pooling,
    /// Outputs of the 1×1 behind the pool; 0 where its input goes on as it is, with stride 2 in all branches.
    projection: usize,
}

const fn max(name: &'static str, outputs: [usize; 5], projection: usize) -> Row {
    Row {
        name,
        outputs,
        pooling: Pooling::Max,
        projection,
    }
}

const fn l2(name: &'static str, outputs: [usize; 5], projection: usize) -> Row {
    Row {
        pooling: Pooling::L2,
        ..max(name, outputs, projection)
    }
}

/// Table 2 up to 4e.
const NN2_LOW: &[Row] = &[
    max("inception3a", [64, 96, 128, 16, 32], 32),
    l2("inception3b", [64, 96, 128, 32, 64], 64),
    max("inception3c", [0, 128, 256, 32, 64], 0),
    l2("inception4a", [256, 96, 192, 32, 64], 128),
    l2("inception4b", [224, 112, 224, 32, 64], 128),
    l2("inception4c", [192, 128, 256, 32, 64], 128),
    l2("inception4d", [160, 144, 288, 32, 64], 128),
    max("inception4e", [0, 160, 256, 64, 128], 0),
];

/// The rest of table 2.
const NN2_HIGH: &[Row] = &[
    l2("inception5a", [384, 192, 384, 48, 128], 128),
    max("inception5b", [384, 192, 384, 48, 128], 128),
];

const NN4_HIGH: &[Row] = &[
    l2("inception5a", [384, 192, 384, 0, 0], 128),
    max("inception5b", [384, 192, 384, 0, 0], 128),
];

/// Three quarters of the channels of NN2, six of its inceptions.
const NNS1: &[Row] = &[
    max("inception3a", [48, 72, 96, 16, 24], 24),
    max("inception3c", [0, 96, 192, 24, 48], 0),
    l2("inception4a", [192, 72, 144, 24, 48], 96),
    max("inception4e", [0, 120, 192, 48, 96], 0),
    l2("inception5a", [288, 144, 288, 32, 96], 96),
    max("inception5b", [288, 144, 288, 32, 96], 96),
];

/// A quarter of the channels of NN2, five of its inceptions; most of its weights are in a maxout layer as NN1 has it.
const NNS2: &[Row] = &[
    max("inception3a", [16, 24, 32, 8, 8], 8),
    max("inception3c", [0, 32, 64, 8, 16], 0),
    l2("inception4a", [64, 24, 48, 8, 16], 32),
    max("inception4e", [0, 40, 64, 16, 32], 0),
    l2("inception5a", [96, 48, 96, 16, 32], 32),
];

/// The layers of a network, and the outputs of the maxout layers behind them; averaged where there are none.
pub(super) fn table(variant: Variant, stem: Stem) -> (Vec<Layer>, &'static [usize]) {
    let (first, rows, hidden): (_, [&[Row]; 2], &[usize]) = match variant {
        Variant::Nn1 | Variant::Nn2 | Variant::Nn3 => ([64, 64, 192], [NN2_LOW, NN2_HIGH], &[]),
        Variant::Nn4 => ([64, 64, 192], [NN2_LOW, NN4_HIGH], &[]),
        Variant::Nns1 => ([32, 32, 64], [NNS1, &[]], &[]),
        Variant::Nns2 => ([8, 8, 16], [NNS2, &[]], &[384]),
    };
    let mut table = match stem {
        Stem::Large => vec![
            Layer::Conv("conv1", first[0], Kernel::square(7, 2, 3)),
            Layer::Pool("pool1", POOL),
        ],
        Stem::Small => vec![Layer::Conv("conv1", first[0], Kernel::same(3, 3))],
    };
    table.extend([
        Layer::ResponseNorm(NORM),
        Layer::Conv("conv2a", first[1], Kernel::same(1, 1)),
        Layer::Conv("conv2", first[2], Kernel::same(3, 3)),
        Layer::ResponseNorm(NORM),
        Layer::Pool("pool2", POOL),
    ]);
    table.extend(rows.into_iter().flatten().map(inception));
    (table, hidden)
}

fn inception(row: &Row) -> Layer {
    let [one, reduce3, three, reduce5, five] = row.outputs;
    let stride = if row.projection == 0 { 2 } else { 1 };
    let point = |name, outputs| Layer::Conv(name, outputs, Kernel::same(1, 1));
    let wide =
        |name, outputs, side| Layer::Conv(name, outputs, Kernel::square(side, stride, side / 2));
    let mut branches = Vec::new();
    if one > 0 {
        branches.push(vec![point("branch1", one)]);
    }
    branches.push(vec![
        point("branch3_reduce", reduce3),
        wide("branch3", three, 3),
    ]);
    if five > 0 {
        branches.push(vec![
            point("branch5_reduce", reduce5),
            wide("branch5", five, 5),
        ]);
    }
    let mut pooled = vec![Layer::Pool("pool", Pool::square(row.pooling, 3, stride, 1))];
    if row.projection > 0 {
        pooled.push(point("projection", row.projection));
    }
    branches.push(pooled);
    Layer::Fork(row.name, branches)
}
