//! 3 × 3 convolutions of stride 1 by Winograd's minimal filtering F(2 × 2, 3 × 3).
//!
//! A 2 × 2 tile of the output needs a 4 × 4 tile d of the input and, done plainly, 36 products per pair of channels.
//! With the transforms of the file's matrices it is 16, and these are matrix products over channels:
//!
//! ```text
//! Y  = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A          V = Bᵀ d B     U = G g Gᵀ
//! dg = Gᵀ [(A dY Aᵀ) ∘ (Bᵀ d B)] G          M[ξ] = V[ξ] U[ξ]ᵀ for each of the 16 places ξ
//!
//!      ⎡1  0 −1  0⎤        ⎡ 1   0   0⎤
//! Bᵀ = ⎢0  1  1  0⎥    G = ⎢ ½   ½   ½⎥    Aᵀ = ⎡1  1  1  0⎤
//!      ⎢0 −1  1  0⎥        ⎢ ½  −½   ½⎥         ⎣0  1 −1 −1⎦
//!      ⎣0  1  0 −1⎦        ⎣ 0   0   1⎦
//! ```
//!
//! The factors are 1 and ½, so the rounding error stays close to that of the plain sum.
//!
//! Reference: Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2015, equations 7 and 8 and
//! section 4.1; the weight gradient is the transpose of the same bilinear form.

use crate::dispatch::dispatch;
use crate::gemm::{Beta, RawMat, gemm_raw};
use crate::parallel::{Shared, for_each, threads, with_scratch};
use crate::view::Mat;
use std::array::from_fn;
use std::ops::{Add, Mul, Neg, Sub};

/// Places of a transformed tile.
const PLACES: usize = 16;

/// Channels a transform works on at a time.
const LANES: usize = 16;

/// Numbers between two planes beyond their contents, so that a tile's 16 places do not fall on one cache set.
const GAP: usize = 16;

/// Output tiles of 2 × 2, and the source tiles of 4 × 4 under them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winograd {
    /// Images.
    pub(crate) batch: usize,
    /// Height and width of what is read.
    pub(crate) source: [usize; 2],
    /// Height and width of what is written.
    pub(crate) target: [usize; 2],
    /// Rows and columns of zeros before the source.
    pub(crate) padding: [usize; 2],
    /// Channels of x and of y, in this order for either direction.
    pub(crate) channels: [usize; 2],
}

/// Which way a product goes through the weights.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    /// M = V Uᵀ.
    Forward,
    /// M = V U with the kernel turned by 180°, which in U swaps the places 0 and 3 of each axis.
    Backward,
}

impl Winograd {
    /// y = x ∗ w.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        self.convolve(x, w, y, Direction::Forward);
    }

    /// dx from dy; `self` is the [`turned`](Self::turned) geometry.
    pub(crate) fn backward_input(&self, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        self.convolve(dy, w, dx, Direction::Backward);
    }

    fn convolve(&self, x: &[f32], w: &[f32], y: &mut [f32], direction: Direction) {
        let [input, output] = self.channels;
        let [from, to] = if direction == Direction::Forward {
            [input, output]
        } else {
            [output, input]
        };
        let tiles = self.tiles();
        let block = block_len(tiles, from + to);
        let zeros = vec![0.0; from];
        let y = Shared::new(y);
        with_scratch(PLACES * input * output, |u| {
            transform_weights(w, self.channels, u);
            for_each(tiles.div_ceil(block), true, |i| {
                let tiles = Tiles {
                    first: i * block,
                    count: block.min(tiles - i * block),
                };
                let [v_len, m_len] = [from, to].map(|channels| planes_len(tiles.count, channels));
                with_scratch(v_len + m_len + to, |scratch| {
                    let (v, rest) = scratch.split_at_mut(v_len);
                    let (m, outside) = rest.split_at_mut(m_len);
                    let (v, m) = (Planes::new(v, tiles, from), Planes::new(m, tiles, to));
                    source_tiles(*self, x, &zeros, tiles, v);
                    for place in 0..PLACES {
                        let u = weights_at(u, place, self.channels, direction);
                        // SAFETY: this block alone uses its planes, and they do not overlap.
                        unsafe { gemm_raw(m.raw(place), Beta::Overwrite, 1.0, v.mat(place), u) };
                    }
                    product_tiles(*self, m, outside, y);
                });
            });
        });
    }

    /// dw from x and dy; `self` is the geometry of the forward direction.
    pub(crate) fn backward_weight(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let [input, output] = self.channels;
        let tiles = self.tiles();
        let held = (HELD / (PLACES * (input + output))).max(64).min(tiles);
        let zeros = vec![0.0; input.max(output)];
        let u_len = PLACES * input * output;
        with_scratch(
            u_len + planes_len(held, input) + planes_len(held, output),
            |scratch| {
                let (du, rest) = scratch.split_at_mut(u_len);
                let (v, m) = rest.split_at_mut(planes_len(held, input));
                du.fill(0.0);
                for first in (0..tiles).step_by(held.max(1)) {
                    let all = Tiles {
                        first,
                        count: held.min(tiles - first),
                    };
                    let (v, m) = (Planes::new(v, all, input), Planes::new(m, all, output));
                    for_each(all.pieces(), true, |i| {
                        source_tiles(*self, x, &zeros, all.piece(i), v);
                        gradient_tiles(*self, dy, &zeros, all.piece(i), m);
                    });
                    let du = Shared::new(du);
                    for_each(PLACES, true, |place| {
                        let pointer = du.pointer(place * input * output, input * output);
                        let du = RawMat {
                            pointer,
                            strides: [input, 1],
                        };
                        // SAFETY: each place has its own part of `du`; the planes are only read.
                        unsafe { gemm_raw(du, Beta::Add, 1.0, m.mat(place).t(), v.mat(place)) };
                    });
                }
                untransform_weights(du, self.channels, dw);
            },
        );
    }

    /// The geometry of the other direction: the target is read, the source written.
    pub(crate) fn turned(self) -> Self {
        let padding = self.padding.map(|padding| 2 - padding);
        Self {
            source: self.target,
            target: self.source,
            padding,
            ..self
        }
    }

    /// Output tiles of the whole batch.
    pub(crate) fn tiles(&self) -> usize {
        self.batch * self.target[0].div_ceil(2) * self.target[1].div_ceil(2)
    }

    /// Image, row and column of a tile's first output.
    fn tile(&self, tile: usize) -> [usize; 3] {
        let [down, across] = self.target.map(|side| side.div_ceil(2));
        [
            tile / (down * across),
            tile / across % down * 2,
            tile % across * 2,
        ]
    }
}

/// Numbers of transformed tiles that the weight gradient holds at a time: a part of the third-level cache.
const HELD: usize = 1 << 21;

/// Tiles per product, so that each thread has some and reads of the weights are shared by many tiles.
fn block_len(tiles: usize, channels: usize) -> usize {
    let cached = ((1 << 19) / (PLACES * channels)).clamp(128, 256);
    cached.min(tiles.div_ceil(threads())).max(1)
}

/// The weights U[place] as the right factor of a product.
fn weights_at(
    u: &[f32],
    place: usize,
    [input, output]: [usize; 2],
    direction: Direction,
) -> Mat<'_> {
    const TURNED: [usize; 4] = [3, 1, 2, 0];
    let turned = TURNED[place / 4] * 4 + TURNED[place % 4];
    let plane = |place: usize| {
        Mat::new(
            &u[place * input * output..][..input * output],
            output,
            input,
        )
    };
    match direction {
        Direction::Forward => plane(place).t(),
        Direction::Backward => plane(turned),
    }
}

/// Consecutive tiles.
#[derive(Clone, Copy)]
struct Tiles {
    first: usize,
    count: usize,
}

impl Tiles {
    const PIECE: usize = 32;

    fn pieces(self) -> usize {
        self.count.div_ceil(Self::PIECE)
    }

    fn piece(self, i: usize) -> Self {
        let skip = i * Self::PIECE;
        Self {
            first: self.first + skip,
            count: Self::PIECE.min(self.count - skip),
        }
    }
}

/// Transformed tiles `[PLACES, tiles, channels]`.
#[derive(Clone, Copy)]
struct Planes<'a> {
    data: Shared<'a>,
    tiles: Tiles,
    channels: usize,
}

fn planes_len(tiles: usize, channels: usize) -> usize {
    PLACES * (tiles * channels + GAP)
}

impl<'a> Planes<'a> {
    fn new(data: &'a mut [f32], tiles: Tiles, channels: usize) -> Self {
        Self {
            data: Shared::new(&mut data[..planes_len(tiles.count, channels)]),
            tiles,
            channels,
        }
    }

    fn start(&self, place: usize) -> usize {
        place * (self.tiles.count * self.channels + GAP)
    }

    /// Where the channels of each place of tile `tile` lie.
    #[inline(always)]
    fn pointers(&self, tile: usize) -> [[*mut f32; 4]; 4] {
        let at = (tile - self.tiles.first) * self.channels;
        let first = self
            .data
            .pointer(at, self.start(PLACES - 1) + self.channels);
        // SAFETY: within the reach just checked.
        from_fn(|i| from_fn(|j| unsafe { first.add(self.start(4 * i + j)) }))
    }

    fn raw(&self, place: usize) -> RawMat {
        let len = self.tiles.count * self.channels;
        RawMat {
            pointer: self.data.pointer(self.start(place), len),
            strides: [self.channels, 1],
        }
    }

    /// # Safety
    /// Nobody may write the plane meanwhile.
    unsafe fn mat(&self, place: usize) -> Mat<'a> {
        let len = self.tiles.count * self.channels;
        // SAFETY: the caller's promise.
        let plane = unsafe { self.data.slice(self.start(place), len) };
        Mat::new(plane, self.tiles.count, self.channels)
    }
}

/// Neighboring channels.
#[derive(Clone, Copy)]
struct Lane<const L: usize>([f32; L]);

impl<const L: usize> Add for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|l| self.0[l] + other.0[l]))
    }
}

impl<const L: usize> Sub for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|l| self.0[l] - other.0[l]))
    }
}

impl<const L: usize> Neg for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(self.0.map(|x| -x))
    }
}

impl<const L: usize> Mul<f32> for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        Self(self.0.map(|x| x * factor))
    }
}

/// A matrix of the algorithm, as it acts on one axis of a tile.
trait Transform<const N: usize, const M: usize> {
    fn apply<const L: usize>(x: [Lane<L>; N]) -> [Lane<L>; M];
}

/// Bᵀ
struct Source;
/// Aᵀ
struct Product;
/// A
struct Gradient;
/// G
struct Kernel;
/// Gᵀ
struct KernelGradient;

impl Transform<4, 4> for Source {
    #[inline(always)]
    fn apply<const L: usize>([a, b, c, d]: [Lane<L>; 4]) -> [Lane<L>; 4] {
        [a - c, b + c, c - b, b - d]
    }
}

impl Transform<4, 2> for Product {
    #[inline(always)]
    fn apply<const L: usize>([a, b, c, d]: [Lane<L>; 4]) -> [Lane<L>; 2] {
        [a + b + c, b - c - d]
    }
}

impl Transform<2, 4> for Gradient {
    #[inline(always)]
    fn apply<const L: usize>([a, b]: [Lane<L>; 2]) -> [Lane<L>; 4] {
        [a, a + b, a - b, -b]
    }
}

impl Transform<3, 4> for Kernel {
    #[inline(always)]
    fn apply<const L: usize>([a, b, c]: [Lane<L>; 3]) -> [Lane<L>; 4] {
        [a, (a + c + b) * 0.5, (a + c - b) * 0.5, c]
    }
}

impl Transform<4, 3> for KernelGradient {
    #[inline(always)]
    fn apply<const L: usize>([a, b, c, d]: [Lane<L>; 4]) -> [Lane<L>; 3] {
        [a + (b + c) * 0.5, (b - c) * 0.5, (b + c) * 0.5 + d]
    }
}

/// T X Tᵀ for the tile X of each channel.
///
/// # Safety
/// `channels` numbers must be readable at each of `from` and writable at each of `to`.
#[inline(always)]
unsafe fn transform<T: Transform<N, M>, const N: usize, const M: usize>(
    from: [[*const f32; N]; N],
    to: [[*mut f32; M]; M],
    channels: usize,
) {
    let whole = channels - channels % LANES;
    for c in (0..whole).step_by(LANES) {
        // SAFETY: c + LANES ≤ channels.
        unsafe { transform_lanes::<T, N, M, LANES>(from, to, c) };
    }
    for c in whole..channels {
        // SAFETY: c < channels.
        unsafe { transform_lanes::<T, N, M, 1>(from, to, c) };
    }
}

/// # Safety
/// `L` numbers from `c` on must be readable at each of `from` and writable at each of `to`.
#[inline(always)]
unsafe fn transform_lanes<T: Transform<N, M>, const N: usize, const M: usize, const L: usize>(
    from: [[*const f32; N]; N],
    to: [[*mut f32; M]; M],
    c: usize,
) {
    // SAFETY: the caller's promise; arrays of f32 need no more alignment than f32.
    let half: [[Lane<L>; M]; N] = from_fn(|i| {
        T::apply(from_fn(|j| unsafe {
            Lane(from[i][j].add(c).cast::<[f32; L]>().read())
        }))
    });
    for j in 0..M {
        let column = T::apply(from_fn(|i| half[i][j]));
        for i in 0..M {
            // SAFETY: as above.
            unsafe { to[i][j].add(c).cast::<[f32; L]>().write(column[i].0) };
        }
    }
}

dispatch! {
    fn source_tiles(grid: Winograd, x: &[f32], zeros: &[f32], tiles: Tiles, v: Planes) = source_body;
    fn gradient_tiles(grid: Winograd, dy: &[f32], zeros: &[f32], tiles: Tiles, m: Planes) = gradient_body;
    fn product_tiles(grid: Winograd, m: Planes, outside: &mut [f32], y: Shared) = product_body;
    fn transform_kernel(w: *const f32, u: *mut f32, channels: [usize; 2]) = kernel_body;
    fn untransform_kernel(u: *const f32, w: *mut f32, channels: [usize; 2]) = kernel_gradient_body;
}

/// The place (row, col) of an image that starts at `image`, or nothing outside it.
#[inline(always)]
fn pixel(image: usize, size: [usize; 2], row: usize, col: usize) -> Option<usize> {
    (row < size[0] && col < size[1]).then_some((image * size[0] + row) * size[1] + col)
}

#[inline(always)]
fn source_body<const FMA: bool>(grid: Winograd, x: &[f32], zeros: &[f32], tiles: Tiles, v: Planes) {
    let channels = v.channels;
    for tile in tiles.first..tiles.first + tiles.count {
        let [image, row, col] = grid.tile(tile);
        let (row, col) = (
            row.wrapping_sub(grid.padding[0]),
            col.wrapping_sub(grid.padding[1]),
        );
        let from = from_fn(|i| {
            from_fn(|j| {
                let at = pixel(image, grid.source, row.wrapping_add(i), col.wrapping_add(j));
                at.map_or(zeros, |at| &x[at * channels..])[..channels].as_ptr()
            })
        });
        let to = v.pointers(tile);
        // SAFETY: `from` are slices of this length; `v` has a place for every tile.
        unsafe { transform::<Source, 4, 4>(from, to, channels) };
    }
}

#[inline(always)]
fn gradient_body<const FMA: bool>(
    grid: Winograd,
    dy: &[f32],
    zeros: &[f32],
    tiles: Tiles,
    m: Planes,
) {
    let channels = m.channels;
    for tile in tiles.first..tiles.first + tiles.count {
        let [image, row, col] = grid.tile(tile);
        let from = from_fn(|i| {
            from_fn(|j| {
                let at = pixel(image, grid.target, row + i, col + j);
                at.map_or(zeros, |at| &dy[at * channels..])[..channels].as_ptr()
            })
        });
        let to = m.pointers(tile);
        // SAFETY: `from` are slices of this length; `m` has a place for every tile.
        unsafe { transform::<Gradient, 2, 4>(from, to, channels) };
    }
}

#[inline(always)]
fn product_body<const FMA: bool>(grid: Winograd, m: Planes, outside: &mut [f32], y: Shared) {
    let channels = m.channels;
    for tile in m.tiles.first..m.tiles.first + m.tiles.count {
        let [image, row, col] = grid.tile(tile);
        let from = m.pointers(tile).map(|row| row.map(<*mut f32>::cast_const));
        let to = from_fn(|i| {
            from_fn(|j| match pixel(image, grid.target, row + i, col + j) {
                Some(at) => y.pointer(at * channels, channels),
                None => outside[..channels].as_mut_ptr(),
            })
        });
        // SAFETY: `m` holds every tile; the outputs of a tile are its own, and what lies outside is thrown away.
        unsafe { transform::<Product, 4, 2>(from, to, channels) };
    }
}

/// U = G g Gᵀ for all kernels g.
fn transform_weights(w: &[f32], [input, output]: [usize; 2], u: &mut [f32]) {
    assert_eq!(
        (w.len(), u.len()),
        (9 * input * output, PLACES * input * output),
        "weights and their transform"
    );
    let u = Shared::new(u);
    for_each(output, true, |o| {
        let u = u.pointer(o * input, (PLACES - 1) * input * output + input);
        transform_kernel(w[9 * o * input..][..9 * input].as_ptr(), u, [input, output]);
    });
}

/// dg = Gᵀ dU G for all kernels g.
fn untransform_weights(du: &[f32], [input, output]: [usize; 2], dw: &mut [f32]) {
    assert_eq!(
        (dw.len(), du.len()),
        (9 * input * output, PLACES * input * output),
        "weights and their transform"
    );
    let dw = Shared::new(dw);
    for_each(output, true, |o| {
        let du = du[o * input..][..(PLACES - 1) * input * output + input].as_ptr();
        untransform_kernel(du, dw.pointer(9 * o * input, 9 * input), [input, output]);
    });
}

#[inline(always)]
fn kernel_body<const FMA: bool>(w: *const f32, u: *mut f32, [input, output]: [usize; 2]) {
    // SAFETY: the callers pass one kernel of `w` and its places in `u`, checked there.
    unsafe {
        let from = from_fn(|i| from_fn(|j| w.add((3 * i + j) * input)));
        let to = from_fn(|i| from_fn(|j| u.add((4 * i + j) * input * output)));
        transform::<Kernel, 3, 4>(from, to, input);
    }
}

#[inline(always)]
fn kernel_gradient_body<const FMA: bool>(u: *const f32, w: *mut f32, [input, output]: [usize; 2]) {
    // SAFETY: as in `kernel_body`.
    unsafe {
        let from = from_fn(|i| from_fn(|j| u.add((4 * i + j) * input * output)));
        let to = from_fn(|i| from_fn(|j| w.add((3 * i + j) * input)));
        transform::<KernelGradient, 4, 3>(from, to, input);
    }
}
