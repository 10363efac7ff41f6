//! Numbers to test with, and comparisons.

/// `n` reproducible numbers in (−1, 1), from the splitmix64 generator.
pub(crate) fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f32 + 0.5) / (1u32 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn to_f64(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// |got − want| ≤ tolerance · (1 + |want|) everywhere.
pub(crate) fn assert_close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= tolerance * (1.0 + want.abs()),
            "at {i}: got {got}, want {want}"
        );
    }
}

/// d f / d x by central differences, in f64.
pub(crate) fn central_differences(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = to_f64(x);
    (0..x.len())
        .map(|i| {
            let center = x[i];
            x[i] = center + STEP;
            let above = f(&x);
            x[i] = center - STEP;
            let below = f(&x);
            x[i] = center;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// Σ xᵢ wᵢ: the scalar whose gradient with respect to an output x is w.
pub(crate) fn weighted(x: &[f64], w: &[f32]) -> f64 {
    x.iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum()
}
