//! Winograd's algorithm with weights that were transformed and packed once.

use super::{
    Direction, PLACES, Planes, Tiles, Winograd, planes_len, source_tiles, transform_back,
    transform_weights, weights_at,
};
use crate::activation::{Activation, activate_piece};
use crate::dispatch::dispatch;
use crate::packed_linear::PackedLinear;
use crate::parallel::{Shared, for_each, with_scratch};

/// U[ξ] for each of the 16 places, and what follows the transform back: `act(Y + bias)`.
#[derive(Clone, Debug)]
pub(crate) struct PackedWinograd {
    places: Vec<PackedLinear>,
    bias: Vec<f32>,
    act: Activation,
}

/// What follows the transform back.
#[derive(Clone, Copy)]
struct Ending<'a> {
    bias: &'a [f32],
    act: Activation,
}

impl PackedWinograd {
    /// Transforms and packs `w`, `[out_channels, 3, 3, in_channels]`, for `channels` in and out.
    pub(crate) fn new(w: &[f32], channels: [usize; 2], bias: &[f32], act: Activation) -> Self {
        let [input, output] = channels;
        let none = vec![0.0; output];
        let places = with_scratch(PLACES * input * output, |u| {
            transform_weights(w, channels, u);
            let plane = |place| weights_at(u, place, channels, Direction::Forward).t();
            let pack = |place| PackedLinear::new(plane(place), &none, Activation::None);
            (0..PLACES).map(pack).collect()
        });
        let bias = bias.to_vec();
        Self { places, bias, act }
    }

    /// Channels in and out.
    pub(crate) fn channels(&self) -> [usize; 2] {
        [self.places[0].inputs(), self.places[0].outputs()]
    }

    /// act(x ∗ w + bias) into `y`, whose every place is written and none read before.
    pub(crate) fn forward(&self, grid: Winograd, x: &[f32], y: Shared) {
        let [input, output] = grid.channels;
        let held = grid.held();
        let zeros = vec![0.0; input];
        let ending = Ending {
            bias: &self.bias,
            act: self.act,
        };
        with_scratch(
            planes_len(held, input) + planes_len(held, output),
            |scratch| {
                let (v, m) = scratch.split_at_mut(planes_len(held, input));
                for all in grid.groups(held) {
                    let (v, m) = (Planes::new(v, all, input), Planes::new(m, all, output));
                    for_each(all.pieces(), true, |i| {
                        source_tiles(grid, x, &zeros, all.piece(i), v);
                    });
                    for_each(PLACES, true, |place| {
                        // SAFETY: one plane of `m` for each place; those of `v` are only read.
                        let (v, m) = unsafe { (v.mat(place), m.plane(place)) };
                        self.places[place].forward(v.data, m);
                    });
                    for_each(all.pieces(), true, |i| {
                        with_scratch(output, |outside| {
                            finish_tiles(grid, m, all.piece(i), (ending, outside), y);
                        });
                    });
                }
            },
        );
    }
}

dispatch! {
    fn finish_tiles(grid: Winograd, m: Planes, tiles: Tiles, ends: (Ending, &mut [f32]), y: Shared) = finish_body;
}

/// As the transform back of the training pass, and bias and activation while the outputs are in the cache.
#[inline(always)]
fn finish_body<const FMA: bool>(
    grid: Winograd,
    m: Planes,
    tiles: Tiles,
    (ending, outside): (Ending, &mut [f32]),
    y: Shared,
) {
    let outside = &mut outside[..m.channels];
    for tile in tiles.first..tiles.first + tiles.count {
        for at in transform_back(grid, m, tile, outside, y)
            .as_flattened()
            .iter()
            .flatten()
        {
            // SAFETY: an output of this tile, written just now.
            let y = unsafe { y.slice(at * m.channels, m.channels) };
            for (y, bias) in y.iter_mut().zip(ending.bias) {
                *y += bias;
            }
            activate_piece::<FMA>(ending.act, y);
        }
    }
}
