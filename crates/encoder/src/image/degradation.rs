//! What images lose on their way: compression, and pixels.

use super::Encoded;
use crate::error::Result;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView, ImageFormat};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A loss that images are put through before a network reads them, to see how it bears that.
///
/// It comes after the region is cut out or the face aligned, and before the image is made to fit.
///
/// # Reference
/// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
/// table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// JPEG at this quality, 1 to 100, with the standard's tables of quantization.
    Jpeg(u8),
    /// Shrunk to at most so many pixels, sides in proportion; a smaller image stays as it is.
    Pixels(u32),
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jpeg(quality) => write!(f, "jpeg={quality}"),
            Self::Pixels(count) => write!(f, "pixels={count}"),
        }
    }
}

impl Degradation {
    /// What is left of an image.
    pub(super) fn apply(self, image: &DynamicImage, encoded: &Encoded) -> Result<DynamicImage> {
        match self {
            Self::Jpeg(quality) => {
                let failed = |error: image::ImageError| encoded.failed(error.to_string());
                let mut bytes = Vec::new();
                let encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
                // JPEG has neither transparency nor samples of 16 bits.
                let written = if image.color().has_color() {
                    image.to_rgb8().write_with_encoder(encoder)
                } else {
                    image.to_luma8().write_with_encoder(encoder)
                };
                written.map_err(failed)?;
                image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).map_err(failed)
            }
            Self::Pixels(count) => {
                let (width, height) = image.dimensions();
                let area = f64::from(width) * f64::from(height);
                let scale = (f64::from(count) / area).sqrt();
                if scale >= 1.0 {
                    return Ok(image.clone());
                }
                let side = |side: u32| (f64::from(side) * scale).round().max(1.0) as u32;
                let (width, height) = (side(width), side(height));
                Ok(image.resize_exact(width, height, FilterType::Triangle))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    fn degraded(degradation: Degradation, image: impl Into<DynamicImage>) -> DynamicImage {
        let name = Encoded::new(&[], "a");
        degradation.apply(&image.into(), &name).unwrap()
    }

    fn pattern() -> RgbImage {
        RgbImage::from_fn(40, 24, |x, y| {
            Rgb([(x * 6) as u8, (y * 10) as u8, (x * y) as u8])
        })
    }

    #[test]
    fn a_lower_quality_is_farther_from_the_image() {
        let original = pattern();
        let apart = |quality| {
            let found = degraded(Degradation::Jpeg(quality), original.clone()).to_rgb8();
            let pairs = found.as_raw().iter().zip(original.as_raw());
            pairs.map(|(&a, &b)| u64::from(a.abs_diff(b))).sum::<u64>()
        };
        let [low, middle, high] = [5, 40, 95].map(apart);
        assert!(
            low > middle && middle > high && high > 0,
            "{low} {middle} {high}"
        );
        // A constant block has no detail to lose.
        let gray = GrayImage::from_pixel(16, 16, Luma([128]));
        let found = degraded(Degradation::Jpeg(50), gray.clone());
        assert_eq!(found.to_luma8(), gray);
        assert!(!found.color().has_color());
    }

    #[test]
    fn an_image_has_at_most_so_many_pixels_in_its_shape() {
        let size = |count| {
            let image = degraded(Degradation::Pixels(count), pattern());
            (image.width(), image.height())
        };
        assert_eq!(size(240), (20, 12));
        assert_eq!(size(1), (1, 1));
        assert_eq!(size(960), (40, 24));
        assert_eq!(size(65_536), (40, 24));
    }
}
