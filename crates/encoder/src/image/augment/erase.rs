//! Random rectangles covered.

use super::{Span, share};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Covers a random rectangle of some of the images, after normalization: torchvision's `RandomErasing`.
///
/// Area (a share of the input's) and ratio (height over width, uniform in its logarithm) are drawn up to ten times until
/// the rectangle is smaller than the input; then nothing is covered.
///
/// # Reference
/// Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, *Random Erasing Data Augmentation*, AAAI 2020, algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Erase {
    /// The share of the images that are covered.
    #[serde(deserialize_with = "share")]
    pub probability: f32,
    /// The least and the largest share of the input's area.
    pub scale: Span,
    /// The least and the largest height over width.
    pub ratio: Span,
    /// What covers.
    pub fill: Fill,
}

/// What covers a rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Zeros: the mean of the normalization.
    Zero,
    /// Normal noise of mean 0 and deviation 1.
    Noise,
}

impl Default for Erase {
    fn default() -> Self {
        Self {
            probability: 0.5,
            scale: Span::literal(0.02, 0.33),
            ratio: Span::literal(0.3, 3.3),
            fill: Fill::Zero,
        }
    }
}

impl Erase {
    /// Covers a part of normalized numbers, `[H, W, C]` with `size = [H, W]`, in place.
    pub(in crate::image) fn apply(
        &self,
        numbers: &mut [f32],
        size: [usize; 2],
        draws: &mut ChaCha8Rng,
    ) {
        let Some([rows, cols]) = self.rectangle(size, draws) else {
            return;
        };
        let channels = numbers.len() / (size[0] * size[1]).max(1);
        for row in rows {
            let at = row * size[1];
            let covered = &mut numbers[(at + cols.start) * channels..(at + cols.end) * channels];
            match self.fill {
                Fill::Zero => covered.fill(0.0),
                Fill::Noise => covered.fill_with(|| StandardNormal.sample(draws)),
            }
        }
    }

    /// The rows and columns to cover; `None` where the image is left as it is.
    fn rectangle(
        &self,
        [height, width]: [usize; 2],
        draws: &mut ChaCha8Rng,
    ) -> Option<[Range<usize>; 2]> {
        const ATTEMPTS: usize = 10;
        if draws.random::<f32>() >= self.probability {
            return None;
        }
        let area = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let target = area * f64::from(draws.random_range(self.scale.range()));
            let ratio = f64::from(draws.random_range(self.ratio.logarithms())).exp();
            let h = (target * ratio).sqrt().round() as usize;
            let w = (target / ratio).sqrt().round() as usize;
            if h < height && w < width {
                let top = draws.random_range(0..=height - h);
                let left = draws.random_range(0..=width - w);
                return Some([top..top + h, left..left + w]);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_rng;

    #[test]
    fn rectangles_have_the_drawn_area_and_ratio_in_the_asked_share_of_images() {
        let erase = Erase {
            probability: 0.3,
            ..Erase::default()
        };
        let mut draws = named_rng(1, "erase");
        let (count, size) = (4000, [500, 400]);
        let rectangles = (0..count).filter_map(|_| erase.rectangle(size, &mut draws));
        let rectangles: Vec<_> = rectangles.collect();
        let share = rectangles.len() as f64 / f64::from(count);
        assert!((share - 0.3).abs() < 0.03, "{share}");
        let mut areas = 0.0;
        for [rows, cols] in &rectangles {
            assert!(rows.end <= 500 && cols.end <= 400);
            let (h, w) = (rows.len() as f64, cols.len() as f64);
            let area = h * w / 200_000.0;
            assert!((0.0195..=0.3305).contains(&area), "{area}");
            assert!((0.295..=3.35).contains(&(h / w)), "{h} {w}");
            areas += area;
        }
        let mean = areas / rectangles.len() as f64;
        assert!((mean - 0.175).abs() < 0.01, "{mean}");
    }

    #[test]
    fn exactly_the_rectangle_is_covered_in_every_channel() {
        for fill in [Fill::Zero, Fill::Noise] {
            let erase = Erase {
                probability: 1.0,
                fill,
                ..Erase::default()
            };
            let mut numbers = vec![9.0; 20 * 10 * 3];
            erase.apply(&mut numbers, [20, 10], &mut named_rng(3, "erase"));
            let [rows, cols] = erase
                .rectangle([20, 10], &mut named_rng(3, "erase"))
                .unwrap();
            assert!(!rows.is_empty() && !cols.is_empty());
            for (at, number) in numbers.iter().enumerate() {
                let (row, col) = (at / 30, at / 3 % 10);
                let covered = rows.contains(&row) && cols.contains(&col);
                assert_eq!(*number != 9.0, covered, "{row} {col}");
                assert!(!covered || (fill == Fill::Zero) == (*number == 0.0));
            }
        }
    }

    #[test]
    fn what_does_not_fit_covers_nothing() {
        let erase = Erase {
            probability: 1.0,
            scale: Span::literal(1.0, 1.0),
            ..Erase::default()
        };
        assert_eq!(erase.rectangle([8, 8], &mut named_rng(1, "x")), None);
        let never = Erase {
            probability: 0.0,
            ..Erase::default()
        };
        assert_eq!(never.rectangle([8, 8], &mut named_rng(1, "x")), None);
    }
}
