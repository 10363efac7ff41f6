//! Random brightness, contrast, saturation and hue.

use super::within;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Changes brightness, contrast, saturation and hue in random order, as torchvision's `ColorJitter` does.
///
/// With `r` uniform in `max(0, 1 − amount)..=1 + amount` a pixel `p` becomes, cut to 0..=1,
/// ```text
/// brightness   r·p
/// contrast     r·p + (1 − r)·(mean luma of the image)
/// saturation   r·p + (1 − r)·(luma of the pixel)
/// ```
/// where luma is `0.2989 R + 0.587 G + 0.114 B`. The hue (of HSV, all colors in 0..1) is turned by a number uniform in
/// `−amount..=amount`. Gray input has neither saturation nor hue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// The amount for brightness; 0 = off.
    #[serde(deserialize_with = "amount")]
    pub brightness: f32,
    /// The amount for contrast; 0 = off.
    #[serde(deserialize_with = "amount")]
    pub contrast: f32,
    /// The amount for saturation; 0 = off.
    #[serde(deserialize_with = "amount")]
    pub saturation: f32,
    /// The amount for hue, up to 0.5 (all colors); 0 = off.
    #[serde(deserialize_with = "hue_amount")]
    pub hue: f32,
}

fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let number = f32::deserialize(from)?;
    if number >= 0.0 && number.is_finite() {
        return Ok(number);
    }
    let message = format!("{number} is out of range, expected a number at or above 0");
    Err(D::Error::custom(message))
}

fn hue_amount<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    within(from, 0.5)
}

/// One change with the factor that was drawn for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

impl ColorJitter {
    /// Changes the numbers in 0..=1 of an image, `[H, W, C]`, in place.
    pub(in crate::image) fn apply(
        &self,
        numbers: &mut [f32],
        channels: usize,
        draws: &mut ChaCha8Rng,
    ) {
        for step in self.steps(draws) {
            step.apply(numbers, channels);
        }
    }

    /// The changes in their random order.
    fn steps(&self, draws: &mut ChaCha8Rng) -> [Step; 4] {
        let mut factor = |amount: f32| draws.random_range((1.0 - amount).max(0.0)..=1.0 + amount);
        let mut steps = [
            Step::Brightness(factor(self.brightness)),
            Step::Contrast(factor(self.contrast)),
            Step::Saturation(factor(self.saturation)),
            Step::Hue(draws.random_range(-self.hue..=self.hue)),
        ];
        steps.shuffle(draws);
        steps
    }
}

impl Step {
    fn apply(self, numbers: &mut [f32], channels: usize) {
        match self {
            Self::Brightness(factor) => blend(numbers, factor, 0.0),
            Self::Contrast(factor) => {
                let lumas = numbers
                    .chunks_exact(channels)
                    .map(|pixel| f64::from(luma(pixel)));
                let mean = lumas.sum::<f64>() / (numbers.len() / channels).max(1) as f64;
                blend(numbers, factor, mean as f32);
            }
            Self::Saturation(factor) if factor != 1.0 && channels == 3 => {
                for pixel in numbers.chunks_exact_mut(channels) {
                    let luma = luma(pixel);
                    blend(pixel, factor, luma);
                }
            }
            Self::Hue(turn) if turn != 0.0 && channels == 3 => {
                for pixel in numbers.chunks_exact_mut(channels) {
                    turn_hue(pixel, turn);
                }
            }
            Self::Saturation(_) | Self::Hue(_) => {}
        }
    }
}

fn blend(numbers: &mut [f32], factor: f32, other: f32) {
    if factor != 1.0 {
        for number in numbers {
            *number = (factor * *number + (1.0 - factor) * other).clamp(0.0, 1.0);
        }
    }
}

fn luma(pixel: &[f32]) -> f32 {
    match *pixel {
        [r, g, b] => 0.2989 * r + 0.587 * g + 0.114 * b,
        _ => pixel[0],
    }
}

/// Turns the hue, with value and saturation of HSV kept: the largest and the smallest channel stay what they are, and
/// the hue says which channel is which and how far the third lies between them.
fn turn_hue(pixel: &mut [f32], turn: f32) {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let span = most - least;
    if span == 0.0 {
        return;
    }
    // In sixths of the circle: red at 0, green at 2, blue at 4.
    let hue = if most == r {
        (g - b) / span
    } else if most == g {
        2.0 + (b - r) / span
    } else {
        4.0 + (r - g) / span
    };
    let hue = (hue + 6.0 * turn).rem_euclid(6.0);
    for (channel, at) in pixel.iter_mut().zip([0.0, 4.0, 2.0]) {
        // 1 within a sixth of the channel's own hue, 0 beyond two sixths.
        let distance = ((hue + at) % 6.0 - 3.0).abs();
        *channel = least + span * (distance - 1.0).clamp(0.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_rng;

    /// The steps in `f64`, as torchvision's documentation words them; hue by way of HSV as a table of six cases.
    fn reference(step: Step, image: &[[f64; 3]]) -> Vec<[f64; 3]> {
        let luma = |p: &[f64; 3]| 0.2989 * p[0] + 0.587 * p[1] + 0.114 * p[2];
        let mix = |p: &[f64; 3], r: f64, other: f64| {
            p.map(|x| (r * x + (1.0 - r) * other).clamp(0.0, 1.0))
        };
        let mean = image.iter().map(luma).sum::<f64>() / image.len() as f64;
        let change = |p: &[f64; 3]| match step {
            Step::Brightness(r) => mix(p, r.into(), 0.0),
            Step::Contrast(r) => mix(p, r.into(), mean),
            Step::Saturation(r) => mix(p, r.into(), luma(p)),
            Step::Hue(turn) => {
                let [h, s, v] = to_hsv(*p);
                from_hsv([(h + f64::from(turn)).rem_euclid(1.0), s, v])
            }
        };
        image.iter().map(change).collect()
    }

    fn to_hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        if max == min {
            return [0.0, 0.0, max];
        }
        let (rc, gc, bc) = (
            (max - r) / (max - min),
            (max - g) / (max - min),
            (max - b) / (max - min),
        );
        let sixths = if r == max {
            bc - gc
        } else if g == max {
            2.0 + rc - bc
        } else {
            4.0 + gc - rc
        };
        [(sixths / 6.0).rem_euclid(1.0), (max - min) / max, max]
    }

    fn from_hsv([h, s, v]: [f64; 3]) -> [f64; 3] {
        let (i, f) = ((h * 6.0).floor(), (h * 6.0).fract());
        let (p, q, t) = (v * (1.0 - s), v * (1.0 - s * f), v * (1.0 - s * (1.0 - f)));
        match i as u32 % 6 {
            0 => [v, t, p],
            1 => [q, v, p],
            2 => [p, v, t],
            3 => [p, q, v],
            4 => [t, p, v],
            _ => [v, p, q],
        }
    }

    #[test]
    fn every_step_is_its_formula() {
        let mut draws = named_rng(5, "pixels");
        let mut image: Vec<[f64; 3]> = (0..200)
            .map(|_| [0; 3].map(|_| f64::from(draws.random_range(0.0f32..=1.0))))
            .collect();
        image.extend([
            [0.0; 3],
            [1.0; 3],
            [0.5; 3],
            [1.0, 0.0, 0.0],
            [0.2, 0.2, 0.9],
            [0.0, 0.7, 0.7],
        ]);
        let mut steps = Vec::new();
        for factor in [0.0, 0.3, 1.0, 1.7] {
            steps.extend([
                Step::Brightness(factor),
                Step::Contrast(factor),
                Step::Saturation(factor),
            ]);
        }
        steps.extend([-0.5, -0.21, 0.0, 0.1, 0.5].map(Step::Hue));
        for step in steps {
            let mut numbers: Vec<f32> = image.iter().flatten().map(|&x| x as f32).collect();
            step.apply(&mut numbers, 3);
            for (found, want) in numbers.chunks(3).zip(reference(step, &image)) {
                for (f, w) in found.iter().zip(want) {
                    assert!(
                        (f64::from(*f) - w).abs() < 2e-6,
                        "{step:?}: {found:?}, not {want:?}"
                    );
                }
            }
        }
    }

    /// ```python
    /// x = torch.tensor([[[0.9, 0.2, 0.4]], [[0.1, 0.7, 0.4]], [[0.3, 0.6, 0.4]]])
    /// F.adjust_brightness(x, 1.5), F.adjust_contrast(x, 0.3), F.adjust_saturation(x, 1.7), F.adjust_hue(x, -0.21)
    /// ```
    #[test]
    fn every_step_is_that_of_torchvision() {
        let image = [0.9, 0.1, 0.3, 0.2, 0.7, 0.6, 0.4, 0.4, 0.4];
        let golden = [
            (
                Step::Brightness(1.5),
                [1.0, 0.15, 0.45, 0.3, 1.0, 0.9, 0.6, 0.6, 0.6],
            ),
            (
                Step::Contrast(0.3),
                [
                    0.573_555, 0.333_555, 0.393_555, 0.363_555, 0.513_555, 0.483_555, 0.423_555,
                    0.423_555, 0.423_555,
                ],
            ),
            (
                Step::Saturation(1.7),
                [
                    1.0, 0.0, 0.256_663, 0.0, 0.812_644, 0.642_644, 0.400_028, 0.400_028, 0.400_028,
                ],
            ),
            (
                Step::Hue(-0.21),
                [0.492, 0.1, 0.9, 0.43, 0.7, 0.2, 0.4, 0.4, 0.4],
            ),
        ];
        for (step, want) in golden {
            let mut numbers = image;
            step.apply(&mut numbers, 3);
            for (found, want) in numbers.iter().zip(want) {
                assert!((found - want).abs() < 2e-6, "{step:?}: {numbers:?}");
            }
        }
    }

    #[test]
    fn a_third_of_the_circle_takes_red_to_green() {
        let mut pixel = [1.0, 0.25, 0.25];
        turn_hue(&mut pixel, 1.0 / 3.0);
        for (found, want) in pixel.iter().zip([0.25, 1.0, 0.25]) {
            assert!((found - want).abs() < 1e-6, "{pixel:?}");
        }
    }

    #[test]
    fn gray_images_change_in_brightness_and_contrast_alone() {
        let apply = |step: Step| {
            let mut numbers = [0.2, 0.4, 0.9];
            step.apply(&mut numbers, 1);
            numbers
        };
        assert_eq!(apply(Step::Brightness(0.5)), [0.1, 0.2, 0.45]);
        assert_eq!(apply(Step::Contrast(0.0)), [0.5; 3]);
        assert_eq!(apply(Step::Saturation(0.0)), [0.2, 0.4, 0.9]);
        assert_eq!(apply(Step::Hue(0.3)), [0.2, 0.4, 0.9]);
    }

    #[test]
    fn factors_stay_in_their_ranges_and_every_order_comes_up() {
        let jitter = ColorJitter {
            brightness: 0.4,
            contrast: 2.0,
            saturation: 0.0,
            hue: 0.1,
        };
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let steps = jitter.steps(&mut named_rng(seed, "jitter"));
            orders.insert(steps.map(|step| match step {
                Step::Brightness(r) => i32::from((0.6..=1.4).contains(&r)),
                Step::Contrast(r) => 2 * i32::from((0.0..=3.0).contains(&r)),
                Step::Saturation(r) => 3 * i32::from(r == 1.0),
                Step::Hue(turn) => 4 * i32::from(turn.abs() <= 0.1),
            }));
        }
        assert_eq!(orders.len(), 24);
        assert!(orders.iter().all(|order| !order.contains(&0)));
        // Off is off, to the bit.
        let mut numbers = [0.1, 0.7, 0.3];
        ColorJitter::default().apply(&mut numbers, 3, &mut named_rng(1, "jitter"));
        assert_eq!(numbers, [0.1, 0.7, 0.3]);
    }
}
