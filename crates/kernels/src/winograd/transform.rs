//! The transforms of Winograd's algorithm on tiles of channel vectors.

use std::ops::{Add, Mul, Neg, Sub};

/// Channels a transform works on at a time.
const LANES: usize = 16;

/// Neighboring channels.
#[derive(Clone, Copy)]
pub(super) struct Lane<const L: usize>([f32; L]);

impl<const L: usize> Add for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] += other.0[l];
        }
        self
    }
}

impl<const L: usize> Sub for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] -= other.0[l];
        }
        self
    }
}

impl<const L: usize> Neg for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self([0.0; L]) - self
    }
}

impl<const L: usize> Mul<f32> for Lane<L> {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, factor: f32) -> Self {
        for l in 0..L {
            self.0[l] *= factor;
        }
        self
    }
}

/// A matrix of the algorithm, as it acts on one axis of a tile.
pub(super) trait Transform<const N: usize, const M: usize> {
    fn apply<const L: usize>(x: [Lane<L>; N]) -> [Lane<L>; M];
}

/// Bᵀ
pub(super) struct Source;
/// Aᵀ
pub(super) struct Product;
/// A
pub(super) struct Gradient;
/// G
pub(super) struct Kernel;
/// Gᵀ
pub(super) struct KernelGradient;

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
pub(super) unsafe fn transform<T: Transform<N, M>, const N: usize, const M: usize>(
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
    // Loops, not `array::from_fn`: its closures are compiled without the caller's instruction set unless inlined.
    let mut half = [[Lane([0.0; L]); M]; N];
    for i in 0..N {
        let mut row = [Lane([0.0; L]); N];
        for j in 0..N {
            // SAFETY: the caller's promise; arrays of f32 need no more alignment than f32.
            row[j] = Lane(unsafe { from[i][j].add(c).cast::<[f32; L]>().read() });
        }
        half[i] = T::apply(row);
    }
    for j in 0..M {
        let mut column = [Lane([0.0; L]); N];
        for i in 0..N {
            column[i] = half[i][j];
        }
        let column = T::apply(column);
        for i in 0..M {
            // SAFETY: as above.
            unsafe { to[i][j].add(c).cast::<[f32; L]>().write(column[i].0) };
        }
    }
}
