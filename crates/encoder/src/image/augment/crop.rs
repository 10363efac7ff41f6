//! Random parts of an image.

use super::Span;
use image::{DynamicImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Cuts a random part of random area and shape, which is then stretched to the input: torchvision's `RandomResizedCrop`.
///
/// Area (a share of the image's) and ratio (width over height, uniform in its logarithm) are drawn up to ten times until
/// the part fits into the image; then the part is the largest around the center whose ratio is allowed.
///
/// # Reference
/// C. Szegedy et al., *Going Deeper with Convolutions*, CVPR 2015, §6.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResizedCrop {
    /// The least and the largest share of the image's area.
    pub scale: Span,
    /// The least and the largest width over height.
    pub ratio: Span,
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self {
            scale: Span::literal(0.08, 1.0),
            ratio: Span::literal(0.75, 4.0 / 3.0),
        }
    }
}

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image) struct Part {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Part {
    /// The part, cut out.
    pub fn of(self, image: &DynamicImage) -> DynamicImage {
        let Self {
            x,
            y,
            width,
            height,
        } = self;
        match image {
            DynamicImage::ImageLuma8(pixels) => imageops::crop_imm(pixels, x, y, width, height)
                .to_image()
                .into(),
            DynamicImage::ImageRgb8(pixels) => imageops::crop_imm(pixels, x, y, width, height)
                .to_image()
                .into(),
            other => other.crop_imm(x, y, width, height),
        }
    }
}

impl ResizedCrop {
    /// The part to cut of an image of this size.
    pub(in crate::image) fn part(&self, width: u32, height: u32, draws: &mut ChaCha8Rng) -> Part {
        const ATTEMPTS: usize = 10;
        let area = f64::from(width) * f64::from(height);
        for _ in 0..ATTEMPTS {
            let target = area * f64::from(draws.random_range(self.scale.range()));
            let ratio = f64::from(draws.random_range(self.ratio.logarithms())).exp();
            let w = (target * ratio).sqrt().round() as u32;
            let h = (target / ratio).sqrt().round() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let y = draws.random_range(0..=height - h);
                let x = draws.random_range(0..=width - w);
                return Part {
                    x,
                    y,
                    width: w,
                    height: h,
                };
            }
        }
        self.central(width, height)
    }

    /// The largest part around the center whose ratio is allowed.
    fn central(&self, width: u32, height: u32) -> Part {
        let ratio = width as f32 / height as f32;
        let (low, high) = (*self.ratio.range().start(), *self.ratio.range().end());
        let (w, h) = if ratio < low {
            (width, (width as f32 / low).round() as u32)
        } else if ratio > high {
            ((height as f32 * high).round() as u32, height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Part {
            x: (width - w) / 2,
            y: (height - h) / 2,
            width: w,
            height: h,
        }
    }
}

/// Cuts a random part with sides of `share..=1` of the image's.
pub(in crate::image) fn random_crop<'a>(
    image: Cow<'a, DynamicImage>,
    share: f32,
    rng: &mut ChaCha8Rng,
) -> Cow<'a, DynamicImage> {
    let share = share.clamp(0.01, 1.0);
    let mut cut = |size: u32| {
        let length = ((size as f32 * rng.random_range(share..=1.0)).round() as u32).clamp(1, size);
        (rng.random_range(0..=size - length), length)
    };
    let (x, width) = cut(image.width());
    let (y, height) = cut(image.height());
    if (width, height) == (image.width(), image.height()) {
        return image;
    }
    Cow::Owned(
        Part {
            x,
            y,
            width,
            height,
        }
        .of(&image),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_rng;

    #[test]
    fn parts_have_the_drawn_area_and_ratio_and_lie_inside() {
        let crop = ResizedCrop {
            scale: Span::literal(0.2, 0.6),
            ratio: Span::literal(0.5, 2.0),
        };
        let mut draws = named_rng(1, "crop");
        let (mut shares, mut logs, mut lefts) = (0.0, 0.0, 0.0);
        let count = 4000;
        for _ in 0..count {
            let part = crop.part(1000, 1000, &mut draws);
            assert!(part.x + part.width <= 1000 && part.y + part.height <= 1000);
            let (w, h) = (f64::from(part.width), f64::from(part.height));
            let (share, ratio) = (w * h / 1e6, w / h);
            assert!((0.199..=0.601).contains(&share) && (0.498..=2.01).contains(&ratio));
            shares += share;
            logs += ratio.ln();
            lefts += f64::from(part.x) / (1000.0 - w).max(1.0);
        }
        // Wide parts of large area do not fit and are drawn again, so the mean share is a little below 0.4.
        let mean = |sum: f64| sum / f64::from(count);
        assert!((mean(shares) - 0.4).abs() < 0.01, "{}", mean(shares));
        assert!(mean(logs).abs() < 0.03 && (mean(lefts) - 0.5).abs() < 0.02);
    }

    #[test]
    fn where_nothing_fits_the_part_is_the_largest_allowed_around_the_center() {
        let mut draws = named_rng(2, "crop");
        // An area of all and a ratio of at least 2 cannot fit into what is 10 wide and 100 high.
        let crop = ResizedCrop {
            scale: Span::literal(1.0, 1.0),
            ratio: Span::literal(0.5, 2.0),
        };
        let part = |width, height, draws: &mut ChaCha8Rng| {
            let part = crop.part(width, height, draws);
            [part.x, part.y, part.width, part.height]
        };
        assert_eq!(part(10, 100, &mut draws), [0, 40, 10, 20]);
        assert_eq!(part(100, 10, &mut draws), [40, 0, 20, 10]);
        assert_eq!(
            crop.central(10, 10),
            Part {
                x: 0,
                y: 0,
                width: 10,
                height: 10
            }
        );
        assert_eq!(part(1, 1, &mut draws), [0, 0, 1, 1]);
    }
}
