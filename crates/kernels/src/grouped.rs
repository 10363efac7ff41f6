//! Convolution in groups of channels: each group's channels are drawn together, convolved, and put back.

use crate::buffer::zeros;
use crate::channels::{put_columns, take_columns};
use crate::conv2d::Conv2d;
use std::ops::Range;

/// The convolution of one group.
fn of_one(conv: &Conv2d) -> Conv2d {
    Conv2d {
        in_channels: conv.in_channels / conv.groups,
        out_channels: conv.out_channels / conv.groups,
        groups: 1,
        ..*conv
    }
}

/// The `group`-th run of `len` numbers.
fn run(group: usize, len: usize) -> Range<usize> {
    group * len..(group + 1) * len
}

/// y = x ∗ w.
pub(crate) fn forward(conv: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let one = of_one(conv);
    let (mut from, mut to) = (zeros(one.input_len()), zeros(one.output_len()));
    for group in 0..conv.groups {
        take_columns(x, conv.in_channels, run(group, one.in_channels), &mut from);
        one.forward(&from, &w[run(group, one.weight_len())], None, &mut to);
        put_columns(&to, y, conv.out_channels, run(group, one.out_channels));
    }
}

/// Gradient of x.
pub(crate) fn backward_input(conv: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let one = of_one(conv);
    let (mut from, mut to) = (zeros(one.output_len()), zeros(one.input_len()));
    for group in 0..conv.groups {
        take_columns(
            dy,
            conv.out_channels,
            run(group, one.out_channels),
            &mut from,
        );
        one.backward_input(&from, &w[run(group, one.weight_len())], &mut to);
        put_columns(&to, dx, conv.in_channels, run(group, one.in_channels));
    }
}

/// Gradient of w.
pub(crate) fn backward_weight(conv: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let one = of_one(conv);
    let (mut inputs, mut outputs) = (zeros(one.input_len()), zeros(one.output_len()));
    for group in 0..conv.groups {
        take_columns(
            x,
            conv.in_channels,
            run(group, one.in_channels),
            &mut inputs,
        );
        take_columns(
            dy,
            conv.out_channels,
            run(group, one.out_channels),
            &mut outputs,
        );
        one.backward_weight(&inputs, &outputs, &mut dw[run(group, one.weight_len())]);
    }
}
