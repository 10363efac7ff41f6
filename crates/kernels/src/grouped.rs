//! Convolution in groups of channels: each group's channels are drawn together, convolved, and put back.

use crate::channels::{put_columns, take_columns};
use crate::conv2d::Conv2d;
use crate::parallel::with_scratch;

/// The convolution of one group.
fn of_one(conv: &Conv2d) -> Conv2d {
    Conv2d {
        in_channels: conv.in_channels / conv.groups,
        out_channels: conv.out_channels / conv.groups,
        groups: 1,
        ..*conv
    }
}

/// y = x ∗ w.
pub(crate) fn forward(conv: &Conv2d, x: &[f32], w: &[f32], y: &mut [f32]) {
    let one = of_one(conv);
    with_scratch(one.input_len() + one.output_len(), |scratch| {
        let (from, to) = scratch.split_at_mut(one.input_len());
        for group in 0..conv.groups {
            take_columns(
                x,
                conv.in_channels,
                group * one.in_channels,
                from,
                one.in_channels,
            );
            let w = &w[group * one.weight_len()..][..one.weight_len()];
            one.forward(from, w, None, to);
            put_columns(
                to,
                one.out_channels,
                y,
                conv.out_channels,
                group * one.out_channels,
            );
        }
    });
}

/// Gradient of x.
pub(crate) fn backward_input(conv: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let one = of_one(conv);
    with_scratch(one.input_len() + one.output_len(), |scratch| {
        let (to, from) = scratch.split_at_mut(one.input_len());
        for group in 0..conv.groups {
            take_columns(
                dy,
                conv.out_channels,
                group * one.out_channels,
                from,
                one.out_channels,
            );
            let w = &w[group * one.weight_len()..][..one.weight_len()];
            one.backward_input(from, w, to);
            put_columns(
                to,
                one.in_channels,
                dx,
                conv.in_channels,
                group * one.in_channels,
            );
        }
    });
}

/// Gradient of w.
pub(crate) fn backward_weight(conv: &Conv2d, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let one = of_one(conv);
    with_scratch(one.input_len() + one.output_len(), |scratch| {
        let (inputs, outputs) = scratch.split_at_mut(one.input_len());
        for group in 0..conv.groups {
            take_columns(
                x,
                conv.in_channels,
                group * one.in_channels,
                inputs,
                one.in_channels,
            );
            take_columns(
                dy,
                conv.out_channels,
                group * one.out_channels,
                outputs,
                one.out_channels,
            );
            let dw = &mut dw[group * one.weight_len()..][..one.weight_len()];
            one.backward_weight(inputs, outputs, dw);
        }
    });
}
