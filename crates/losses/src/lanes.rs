//! Sums and extremes of many numbers side by side, which the compiler turns into vector instructions.

/// Numbers that are compared or added side by side.
const LANES: usize = 16;

/// The largest of some numbers, `-∞` of none.
pub(crate) fn largest(z: &[f32]) -> f32 {
    extreme(z, f32::NEG_INFINITY, |m, z| if z > m { z } else { m })
}

/// The smallest of some numbers, `∞` of none.
pub(crate) fn smallest(z: &[f32]) -> f32 {
    extreme(z, f32::INFINITY, |m, z| if z < m { z } else { m })
}

fn extreme(z: &[f32], start: f32, pick: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let chunks = z.chunks_exact(LANES);
    for (m, &z) in lanes.iter_mut().zip(chunks.remainder()) {
        *m = pick(*m, z);
    }
    for chunk in chunks {
        let each = lanes.iter_mut().zip(chunk);
        each.for_each(|(m, &z)| *m = pick(*m, z));
    }
    lanes.into_iter().fold(start, pick)
}

/// The sum: in `f32` in each lane, so for blocks of some hundred numbers.
pub(crate) fn total(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let chunks = values.chunks_exact(LANES);
    for (sum, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *sum += v;
    }
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(sum, &v)| *sum += v);
    }
    lanes.into_iter().map(f64::from).sum()
}
