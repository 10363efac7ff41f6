//! Smooth ranks: how many columns are nearer than one of them.

use super::exponentials;

/// The steepness beyond which a sigmoid is 0 or 1.
const FLAT: f32 = 60.0;

/// `exp(-x)` of a sigmoid that is none.
pub(super) const NOT_NEARER: f32 = 1e19;

/// `Σ_k σ((at - d_k) / τ)`, how many columns are nearer than `at`. The `exp(-x)` of each sigmoid goes to `out`, from which
/// its slope comes without cancellation.
pub(super) fn nearer(d: &[f32], at: f32, temperature: f32, out: &mut [f32]) -> f64 {
    let scale = 1.0 / temperature;
    exponentials(d, |d| ((d - at) * scale).clamp(-FLAT, FLAT), out);
    count(out)
}

/// The sum of the sigmoids.
pub(super) fn count(exponentials: &[f32]) -> f64 {
    let sigmoids = exponentials.iter().map(|e| f64::from(1.0 / (1.0 + e)));
    sigmoids.sum()
}

/// Adds the slopes of `weight · Σ_k σ((at - d_k) / τ)` to `g`, from the exponentials; the slope of `at`.
pub(super) fn pull(exponentials: &[f32], weight: f32, temperature: f32, g: &mut [f32]) -> f64 {
    let factor = weight / temperature;
    let mut of_at = 0.0;
    for (g, &e) in g.iter_mut().zip(exponentials) {
        let sigmoid = 1.0 / (1.0 + e);
        let slope = factor * (e * sigmoid) * sigmoid;
        *g -= slope;
        of_at += f64::from(slope);
    }
    of_at
}

/// `σ(x)` by its definition.
pub(super) fn exact_sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
