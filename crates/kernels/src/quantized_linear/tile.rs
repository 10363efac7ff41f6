//! Products of bytes: a few rows of inputs by a panel of outputs, in registers.

use super::{QUAD, Row};
use crate::activation::{Activation, activate_piece};
use crate::dispatch::{Cpu, PORTABLE_FMA, cpu};
use crate::parallel::Shared;
use std::sync::OnceLock;

/// Rows of a tile: with a panel's outputs, as many sums as registers hold beside what they are made of.
const ROWS: usize = 6;

/// Outputs of a panel where registers hold sixteen sums, and elsewhere.
const WIDE: usize = 64;
const NARROW: usize = 16;

/// How bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// Plainly.
    Portable,
    /// With AVX2, whose products of bytes are added up in pairs of 16 bits.
    Avx2,
    /// With the vector neural network instructions of AVX-512, which add four products to a sum of 32 bits.
    Vnni,
}

/// What [`cpu`] allows.
pub(super) fn products() -> Products {
    static CHOSEN: OnceLock<Products> = OnceLock::new();
    *CHOSEN.get_or_init(|| match cpu() {
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512 if is_x86_feature_detected!("avx512vnni") => Products::Vnni,
        Cpu::Avx512 | Cpu::Avx2 => Products::Avx2,
        Cpu::Portable => Products::Portable,
    })
}

impl Products {
    /// Outputs of a panel.
    pub(super) fn width(self) -> usize {
        if self == Self::Vnni { WIDE } else { NARROW }
    }

    /// The largest weight: of seven bits where pairs of products must stay within 16 (2 · 255 · 63). Inputs keep their eight, of
    /// which they have more need: a few of a token's are far larger than the rest.
    pub(super) fn largest_weight(self) -> f32 {
        if self == Self::Avx2 { 63.0 } else { 127.0 }
    }
}

/// The rows of one block times one panel.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// `[rows, depth]`
    pub(super) x: &'a [u8],
    pub(super) rows: &'a [Row],
    /// `[depth / 4, width, 4]`
    pub(super) panel: &'a [i8],
    /// Scales and biases of the panel's outputs.
    pub(super) outs: [&'a [f32]; 2],
    /// Sums of the weights of the panel's outputs.
    pub(super) sums: &'a [i32],
    /// Inputs, up to a multiple of four.
    pub(super) depth: usize,
    pub(super) act: Activation,
    /// All of the output, its row length, and where this job's part begins.
    pub(super) y: Shared<'a>,
    pub(super) outputs: usize,
    pub(super) first: usize,
    /// How many of the panel's outputs there are.
    pub(super) valid: usize,
}

/// Writes the outputs of a job.
pub(super) fn run(job: Job) {
    match products() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `products` names only what this processor has.
        Products::Vnni => unsafe { x86::vnni(job) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Products::Avx2 => unsafe { x86::avx2(job) },
        _ => rows::<PORTABLE_FMA, NARROW>(job, Portable),
    }
}

/// Σᵢ xᵣᵢ wₒᵢ of a few rows and a panel.
trait Multiply<const WIDTH: usize>: Copy {
    /// `x` are `COUNT` rows of `depth` bytes, `panel` is `[depth / 4, WIDTH, 4]`.
    fn multiply<const COUNT: usize>(self, x: [&[u8]; COUNT], panel: &[i8])
    -> [[i32; WIDTH]; COUNT];
}

#[inline(always)]
fn rows<const FMA: bool, const WIDTH: usize>(job: Job, by: impl Multiply<WIDTH>) {
    let rows = job.rows.len();
    let mut row = 0;
    // Tiles of even height: a low one reads as many weights as a high one.
    for left in (1..=rows.div_ceil(ROWS)).rev() {
        let count = (rows - row).div_ceil(left);
        match count {
            1 => tile::<FMA, WIDTH, 1>(job, row, by),
            2 => tile::<FMA, WIDTH, 2>(job, row, by),
            3 => tile::<FMA, WIDTH, 3>(job, row, by),
            4 => tile::<FMA, WIDTH, 4>(job, row, by),
            5 => tile::<FMA, WIDTH, 5>(job, row, by),
            _ => tile::<FMA, WIDTH, ROWS>(job, row, by),
        }
        row += count;
    }
}

/// `COUNT` rows from `row` on.
#[inline(always)]
fn tile<const FMA: bool, const WIDTH: usize, const COUNT: usize>(
    job: Job,
    row: usize,
    by: impl Multiply<WIDTH>,
) {
    let mut x: [&[u8]; COUNT] = [&[]; COUNT];
    for (i, x) in x.iter_mut().enumerate() {
        *x = &job.x[(row + i) * job.depth..][..job.depth];
    }
    let found = by.multiply(x, job.panel);
    let [scales, bias] = job.outs.map(|of| &of[..WIDTH]);
    let sums = &job.sums[..WIDTH];
    for (i, found) in found.iter().enumerate() {
        let Row { scale, zero } = job.rows[row + i];
        let mut y = [0.0; WIDTH];
        for o in 0..WIDTH {
            y[o] = (found[o] - zero * sums[o]) as f32 * (scale * scales[o]) + bias[o];
        }
        activate_piece::<FMA>(job.act, &mut y);
        let place = job.first + (row + i) * job.outputs;
        // SAFETY: no other job has these rows and columns, and this one has no other slice of them meanwhile.
        let to = unsafe { job.y.slice(place, job.valid) };
        match <&mut [f32; WIDTH]>::try_from(&mut *to) {
            Ok(to) => *to = y,
            Err(_) => to.copy_from_slice(&y[..job.valid]),
        }
    }
}

#[derive(Clone, Copy)]
struct Portable;

impl Multiply<NARROW> for Portable {
    #[inline(always)]
    fn multiply<const COUNT: usize>(
        self,
        x: [&[u8]; COUNT],
        panel: &[i8],
    ) -> [[i32; NARROW]; COUNT] {
        let mut sums = [[0; NARROW]; COUNT];
        let (weights, _) = panel.as_chunks::<{ NARROW * QUAD }>();
        for (k, weights) in weights.iter().enumerate() {
            for (sums, x) in sums.iter_mut().zip(&x) {
                let x = &x[k * QUAD..][..QUAD];
                for (o, sum) in sums.iter_mut().enumerate() {
                    for (i, &x) in x.iter().enumerate() {
                        *sum += i32::from(x) * i32::from(weights[o * QUAD + i]);
                    }
                }
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Job, Multiply, NARROW, QUAD, WIDE, rows};
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512,
    };

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,popcnt")]
    pub(super) fn vnni(job: Job) {
        rows::<true, WIDE>(job, Vnni(()));
    }

    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) fn avx2(job: Job) {
        rows::<true, NARROW>(job, Avx2(()));
    }

    /// Made by [`vnni`] alone, where its instructions are known to be there.
    #[derive(Clone, Copy)]
    struct Vnni(());

    /// Made by [`avx2`] alone.
    #[derive(Clone, Copy)]
    struct Avx2(());

    /// Four bytes of a row as one number.
    ///
    /// # Safety
    /// `x` must hold four bytes from `4 k` on.
    #[inline(always)]
    unsafe fn quad(x: &[u8], k: usize) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { x.as_ptr().add(k * QUAD).cast::<i32>().read_unaligned() }
    }

    impl Multiply<WIDE> for Vnni {
        #[inline(always)]
        fn multiply<const COUNT: usize>(
            self,
            x: [&[u8]; COUNT],
            panel: &[i8],
        ) -> [[i32; WIDE]; COUNT] {
            const VECTORS: usize = WIDE / 16;
            let (weights, _) = panel.as_chunks::<{ WIDE * QUAD }>();
            assert!(x.iter().all(|x| x.len() == weights.len() * QUAD), "rows");
            let mut found = [[0; WIDE]; COUNT];
            // SAFETY: the instructions are there, the rows as long as the panel is deep, and each load and store within its array.
            unsafe {
                let mut sums = [[_mm512_setzero_si512(); VECTORS]; COUNT];
                for (k, bytes) in weights.iter().enumerate() {
                    let mut weights = [_mm512_setzero_si512(); VECTORS];
                    for (v, weights) in weights.iter_mut().enumerate() {
                        *weights = _mm512_loadu_si512(bytes.as_ptr().add(v * 64).cast());
                    }
                    for (sums, x) in sums.iter_mut().zip(&x) {
                        let x = _mm512_set1_epi32(quad(x, k));
                        for (sum, &weights) in sums.iter_mut().zip(&weights) {
                            *sum = _mm512_dpbusd_epi32(*sum, x, weights);
                        }
                    }
                }
                for (found, sums) in found.iter_mut().zip(&sums) {
                    for (v, &sum) in sums.iter().enumerate() {
                        _mm512_storeu_si512(found.as_mut_ptr().add(v * 16).cast(), sum);
                    }
                }
            }
            found
        }
    }

    impl Multiply<NARROW> for Avx2 {
        #[inline(always)]
        fn multiply<const COUNT: usize>(
            self,
            x: [&[u8]; COUNT],
            panel: &[i8],
        ) -> [[i32; NARROW]; COUNT] {
            const VECTORS: usize = NARROW / 8;
            let (weights, _) = panel.as_chunks::<{ NARROW * QUAD }>();
            assert!(x.iter().all(|x| x.len() == weights.len() * QUAD), "rows");
            let mut found = [[0; NARROW]; COUNT];
            // SAFETY: as above.
            unsafe {
                let ones = _mm256_set1_epi16(1);
                let mut sums = [[_mm256_setzero_si256(); VECTORS]; COUNT];
                for (k, bytes) in weights.iter().enumerate() {
                    let mut weights = [_mm256_setzero_si256(); VECTORS];
                    for (v, weights) in weights.iter_mut().enumerate() {
                        *weights = _mm256_loadu_si256(bytes.as_ptr().add(v * 32).cast());
                    }
                    for (sums, x) in sums.iter_mut().zip(&x) {
                        let x = _mm256_set1_epi32(quad(x, k));
                        for (sum, &weights) in sums.iter_mut().zip(&weights) {
                            let pairs = _mm256_maddubs_epi16(x, weights);
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                        }
                    }
                }
                for (found, sums) in found.iter_mut().zip(&sums) {
                    for (v, &sum) in sums.iter().enumerate() {
                        _mm256_storeu_si256(found.as_mut_ptr().add(v * 8).cast(), sum);
                    }
                }
            }
            found
        }
    }
}
