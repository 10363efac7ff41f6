//! Fresh buffers for the outputs of kernels.

use crate::parallel::GRAIN;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// `len` zeros, as `vec![0.0; len]`, but a large buffer is cleared by all threads: an allocator that hands out used
/// memory clears it on one, which for an activation map takes as long as a small kernel on all of them.
///
/// ```
/// assert_eq!(nearkin_kernels::zeros(3), [0.0; 3]);
/// ```
pub fn zeros(len: usize) -> Vec<f32> {
    if len <= GRAIN {
        return vec![0.0; len];
    }
    let mut numbers = Vec::with_capacity(len);
    let room = &mut numbers.spare_capacity_mut()[..len];
    room.par_chunks_mut(GRAIN)
        .for_each(|piece| piece.fill(MaybeUninit::new(0.0)));
    // SAFETY: the pieces are all of the first `len` places, and each was written.
    unsafe { numbers.set_len(len) };
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_buffers_are_zeros() {
        for len in [0, 1, GRAIN, GRAIN + 1, 3 * GRAIN] {
            drop(vec![7.0f32; len]);
            assert!(zeros(len) == vec![0.0; len], "{len}");
        }
    }
}
