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

mod packed;
mod transform;

pub(crate) use self::packed::PackedWinograd;
use self::transform::{Gradient, Kernel, KernelGradient, Product, Source, transform};
use crate::dispatch::dispatch;
use crate::gemm::{Beta, RawMat, gemm_raw};
use crate::parallel::{Shared, for_each, threads, with_scratch};
use crate::view::Mat;

/// Places of a transformed tile.
const PLACES: usize = 16;

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
        let held = self.held();
        let zeros = vec![0.0; input.max(output)];
        let u_len = PLACES * input * output;
        with_scratch(
            u_len + planes_len(held, input) + planes_len(held, output),
            |scratch| {
                let (du, rest) = scratch.split_at_mut(u_len);
                let (v, m) = rest.split_at_mut(planes_len(held, input));
                du.fill(0.0);
                for all in self.groups(held) {
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

    /// Tiles whose planes are held at a time, where all of them would be too many.
    fn held(&self) -> usize {
        let [input, output] = self.channels;
        (HELD / (PLACES * (input + output)).max(1))
            .max(64)
            .min(self.tiles())
    }

    /// All tiles, `held` at a time.
    fn groups(&self, held: usize) -> impl Iterator<Item = Tiles> + use<> {
        let tiles = self.tiles();
        (0..tiles).step_by(held.max(1)).map(move |first| Tiles {
            first,
            count: held.min(tiles - first),
        })
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

/// Numbers of transformed tiles that are held at a time: a part of the third-level cache.
const HELD: usize = 1 << 20;

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
        let mut pointers = [[first; 4]; 4];
        for (place, pointer) in pointers.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: within the reach just checked.
            *pointer = unsafe { first.add(self.start(place)) };
        }
        pointers
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

    /// # Safety
    /// Nobody else may use the plane meanwhile.
    unsafe fn plane(&self, place: usize) -> &'a mut [f32] {
        let len = self.tiles.count * self.channels;
        // SAFETY: the caller's promise.
        unsafe { self.data.slice(self.start(place), len) }
    }
}

dispatch! {
    fn source_tiles(grid: Winograd, x: &[f32], zeros: &[f32], tiles: Tiles, v: Planes) = source_body;
    fn gradient_tiles(grid: Winograd, dy: &[f32], zeros: &[f32], tiles: Tiles, m: Planes) = gradient_body;
    fn product_tiles(grid: Winograd, m: Planes, outside: &mut [f32], y: Shared) = product_body;
    fn transform_kernel(w: *const f32, u: *mut f32, channels: [usize; 2]) = kernel_body;
    fn untransform_kernel(u: *const f32, w: *mut f32, channels: [usize; 2]) = kernel_gradient_body;
}

/// Where the pixels of an N × N tile lie in `[batch, size[0], size[1]]`, and which lie outside the image.
#[inline(always)]
fn pixels<const N: usize>(
    size: [usize; 2],
    [image, row, col]: [usize; 3],
) -> [[Option<usize>; N]; N] {
    let mut pixels = [[None; N]; N];
    for (i, line) in pixels.iter_mut().enumerate() {
        // A row before the image has wrapped around to a large number.
        let row = row.wrapping_add(i);
        for (j, pixel) in line.iter_mut().enumerate() {
            let col = col.wrapping_add(j);
            if row < size[0] && col < size[1] {
                *pixel = Some((image * size[0] + row) * size[1] + col);
            }
        }
    }
    pixels
}

/// The channels of each pixel, zeros outside the image.
#[inline(always)]
fn read_from<const N: usize>(
    pixels: [[Option<usize>; N]; N],
    x: &[f32],
    zeros: &[f32],
) -> [[*const f32; N]; N] {
    let channels = zeros.len();
    let mut from = [[zeros.as_ptr(); N]; N];
    for i in 0..N {
        for j in 0..N {
            if let Some(at) = pixels[i][j] {
                from[i][j] = x[at * channels..][..channels].as_ptr();
            }
        }
    }
    from
}

#[inline(always)]
fn source_body<const FMA: bool>(grid: Winograd, x: &[f32], zeros: &[f32], tiles: Tiles, v: Planes) {
    let zeros = &zeros[..v.channels];
    for tile in tiles.first..tiles.first + tiles.count {
        let [image, row, col] = grid.tile(tile);
        let corner = [
            image,
            row.wrapping_sub(grid.padding[0]),
            col.wrapping_sub(grid.padding[1]),
        ];
        let from = read_from(pixels(grid.source, corner), x, zeros);
        // SAFETY: `from` are slices of this length; `v` has a place for every tile.
        unsafe { transform::<Source, 4, 4>(from, v.pointers(tile), v.channels) };
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
    let zeros = &zeros[..m.channels];
    for tile in tiles.first..tiles.first + tiles.count {
        let from = read_from(pixels(grid.target, grid.tile(tile)), dy, zeros);
        // SAFETY: `from` are slices of this length; `m` has a place for every tile.
        unsafe { transform::<Gradient, 2, 4>(from, m.pointers(tile), m.channels) };
    }
}

#[inline(always)]
fn product_body<const FMA: bool>(grid: Winograd, m: Planes, outside: &mut [f32], y: Shared) {
    let outside = &mut outside[..m.channels];
    for tile in m.tiles.first..m.tiles.first + m.tiles.count {
        transform_back(grid, m, tile, outside, y);
    }
}

/// Aᵀ M A of one tile, and which pixels it wrote; what lies outside the image goes to `outside`.
#[inline(always)]
fn transform_back(
    grid: Winograd,
    m: Planes,
    tile: usize,
    outside: &mut [f32],
    y: Shared,
) -> [[Option<usize>; 2]; 2] {
    let from = m
        .pointers(tile)
        .map(|line| line.map(<*mut f32>::cast_const));
    let pixels: [[Option<usize>; 2]; 2] = pixels(grid.target, grid.tile(tile));
    let mut to = [[outside.as_mut_ptr(); 2]; 2];
    for i in 0..2 {
        for j in 0..2 {
            if let Some(at) = pixels[i][j] {
                to[i][j] = y.pointer(at * m.channels, m.channels);
            }
        }
    }
    // SAFETY: `m` holds every tile; the outputs of a tile are its own, and `outside` has as many channels.
    unsafe { transform::<Product, 4, 2>(from, to, m.channels) };
    pixels
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
    let (mut from, mut to) = ([[w; 3]; 3], [[u; 4]; 4]);
    // SAFETY: the callers pass one kernel of `w` and its places in `u`, checked there.
    unsafe {
        spread(&mut from, |w, tap| w.add(tap * input));
        spread(&mut to, |u, place| u.add(place * input * output));
        transform::<Kernel, 3, 4>(from, to, input);
    }
}

#[inline(always)]
fn kernel_gradient_body<const FMA: bool>(u: *const f32, w: *mut f32, [input, output]: [usize; 2]) {
    let (mut from, mut to) = ([[u; 4]; 4], [[w; 3]; 3]);
    // SAFETY: as in `kernel_body`.
    unsafe {
        spread(&mut from, |u, place| u.add(place * input * output));
        spread(&mut to, |w, tap| w.add(tap * input));
        transform::<KernelGradient, 4, 3>(from, to, input);
    }
}

/// Moves the pointer at each place of a tile by what `f` says.
#[inline(always)]
fn spread<P: Copy, const N: usize>(tile: &mut [[P; N]; N], f: impl Fn(P, usize) -> P) {
    for (place, pointer) in tile.as_flattened_mut().iter_mut().enumerate() {
        *pointer = f(*pointer, place);
    }
}
