//! Turns by a few degrees and changes of size.

use super::{Span, within};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};

/// Turns an image by a random angle around its center and changes its size: torchvision's `RandomAffine` without its shear;
/// `shift` moves. What comes from beyond the edges repeats them.
///
/// With the angle θ uniform in `±degrees`, clockwise, and s between `scale`'s numbers, uniform in its logarithm, the pixel at
/// `p` from the center shows what was at `R(−θ) p / s`, bilinear between the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    /// The largest angle either way.
    #[serde(deserialize_with = "angle")]
    pub degrees: f32,
    /// The least and the largest size, 1 = as it is.
    pub scale: Span,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: 10.0,
            scale: Span::literal(0.9, 1.1),
        }
    }
}

impl Affine {
    /// Changes `[H, W, C]` numbers.
    pub(in crate::image) fn apply(
        &self,
        numbers: &mut Vec<f32>,
        size: [usize; 2],
        draws: &mut ChaCha8Rng,
    ) {
        let radians = draws
            .random_range(-self.degrees..=self.degrees)
            .to_radians();
        let scale = draws.random_range(self.scale.logarithms()).exp();
        *numbers = warped(numbers, size, radians.sin_cos(), scale);
    }
}

/// The image turned clockwise by an angle with this sine and cosine, and enlarged.
fn warped(numbers: &[f32], size: [usize; 2], (sin, cos): (f32, f32), scale: f32) -> Vec<f32> {
    let [height, width] = size;
    let channels = numbers.len() / (height * width).max(1);
    let last = size.map(|side| side.saturating_sub(1) as f32);
    let center = last.map(|last| last / 2.0);
    let mut moved = Vec::with_capacity(numbers.len());
    for row in 0..height {
        for col in 0..width {
            let (y, x) = (
                (row as f32 - center[0]) / scale,
                (col as f32 - center[1]) / scale,
            );
            // Rows go down, so that this turns counterclockwise: where the pixel came from.
            let y_from = (center[0] + cos * y - sin * x).clamp(0.0, last[0]);
            let x_from = (center[1] + cos * x + sin * y).clamp(0.0, last[1]);
            let (top, left) = (y_from as usize, x_from as usize);
            let (bottom, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
            let (down, across) = (y_from - top as f32, x_from - left as f32);
            let at = |row: usize, col: usize| (row * width + col) * channels;
            let corners = [
                at(top, left),
                at(top, right),
                at(bottom, left),
                at(bottom, right),
            ];
            for channel in 0..channels {
                let [a, b, c, d] = corners.map(|at| numbers[at + channel]);
                let (upper, lower) = (a + across * (b - a), c + across * (d - c));
                moved.push(upper + down * (lower - upper));
            }
        }
    }
    moved
}

/// Reads an angle from none to half a turn.
fn angle<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    within(from, 180.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_rng;

    /// 3 rows of 3 pixels, two channels.
    const IMAGE: [f32; 18] = [
        1.0, 0.1, 2.0, 0.2, 3.0, 0.3, //
        4.0, 0.4, 5.0, 0.5, 6.0, 0.6, //
        7.0, 0.7, 8.0, 0.8, 9.0, 0.9,
    ];

    fn first_channel(numbers: &[f32]) -> Vec<f32> {
        numbers.iter().step_by(2).copied().collect()
    }

    #[test]
    fn a_quarter_turns_clockwise_and_twice_the_size_shows_the_middle() {
        let turned = warped(&IMAGE, [3, 3], (1.0, 0.0), 1.0);
        assert_eq!(
            first_channel(&turned),
            [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]
        );
        assert_eq!(turned[1], 0.7);
        let large = warped(&IMAGE, [3, 3], (0.0, 1.0), 2.0);
        assert_eq!(
            first_channel(&large),
            [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]
        );
        // Half the size: the edges repeat beyond it.
        let small = warped(&IMAGE, [3, 3], (0.0, 1.0), 0.5);
        assert_eq!(
            first_channel(&small),
            first_channel(&warped(&IMAGE, [3, 3], (0.0, 1.0), 1.0))
        );
        assert_eq!(warped(&IMAGE, [3, 3], (0.0, 1.0), 1.0), IMAGE);
    }

    #[test]
    fn angles_and_sizes_are_spread_over_what_is_allowed() {
        // A ramp down the rows: its middle column shows how steep it is, its middle row how far it was turned.
        let size = [21, 21];
        let ramp: Vec<f32> = (0..21 * 21).map(|at| (at / 21) as f32).collect();
        let affine = Affine {
            degrees: 20.0,
            scale: Span::literal(0.8, 1.25),
        };
        let mut draws = named_rng(5, "affine");
        let (mut angles, mut logs) = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            let mut image = ramp.clone();
            affine.apply(&mut image, size, &mut draws);
            let at = |row: usize, col: usize| image[row * 21 + col];
            let (down, across) = (at(11, 10) - at(9, 10), at(10, 11) - at(10, 9));
            angles.push(across.atan2(down).to_degrees());
            logs.push((2.0 / down.hypot(across)).ln());
        }
        let extent = |of: &[f32]| of.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
        assert!(
            (19.5..20.01).contains(&extent(&angles)),
            "{}",
            extent(&angles)
        );
        assert!(
            (0.215..0.2235).contains(&extent(&logs)),
            "{}",
            extent(&logs)
        );
        assert!(mean(&angles).abs() < 1.0 && mean(&logs).abs() < 0.01);
    }
}
