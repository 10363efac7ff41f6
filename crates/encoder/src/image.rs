//! Image input: encoded bytes to the numbers that a network reads.

use crate::error::{Error, Result};
use crate::network::InputShape;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageReader, Limits};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::io::Cursor;

/// The largest side of an image that is decoded, in pixels.
pub const LARGEST_SIDE: u32 = 16_384;
/// The most memory that decoding one image may take, in bytes.
const DECODE_BYTES: u64 = 1 << 30;

/// How an image becomes the input of a network, `[input]` in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageInput {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// One or three channels.
    pub color: Color,
    /// How an image of another shape is made to fit.
    pub fit: Fit,
    /// How pixel values become numbers.
    pub normalization: Normalization,
}

/// Channels of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// One channel, luma of a color image.
    Gray,
    /// Red, green, blue.
    Rgb,
}

/// How an image of another shape is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Each side is scaled on its own.
    Stretch,
    /// Scaled until both sides cover the input, then cut around the center.
    Crop,
}

/// How pixel values in 0..=1 become numbers: `(value − mean) / deviation`, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Mean 0, deviation 1.
    Unit,
    /// Mean 0.5, deviation 0.5: numbers in −1..=1.
    Centered,
    /// The means and deviations of `ImageNet`'s training images.
    Imagenet,
}

/// Random changes to training images, `[augment]` in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirrors half of the images.
    pub flip: bool,
    /// Cuts a random part of at least this share of each side, then scales it to the input; 1 = off.
    #[serde(deserialize_with = "crop")]
    pub crop: f32,
    /// Moves the image by up to this share of each side, edges repeated; 0 = off.
    #[serde(deserialize_with = "shift")]
    pub shift: f32,
}

/// Reads `augment.crop`: nothing is left of an image at 0, and there is nothing beyond its edge.
fn crop<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f32, D::Error> {
    let share = f32::deserialize(from)?;
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    let message = format!("{share} is out of range, expected a number above 0, up to 1");
    Err(D::Error::custom(message))
}

/// Reads `augment.shift`.
fn shift<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f32, D::Error> {
    let share = f32::deserialize(from)?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    let message = format!("{share} is out of range, expected a number from 0 to 1");
    Err(D::Error::custom(message))
}

impl Default for ImageInput {
    fn default() -> Self {
        Self {
            height: 64,
            width: 64,
            color: Color::Rgb,
            fit: Fit::Crop,
            normalization: Normalization::Centered,
        }
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: false,
            crop: 1.0,
            shift: 0.0,
        }
    }
}

impl Color {
    fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

impl Normalization {
    /// Mean and deviation of a channel.
    fn of(self, channel: usize) -> (f32, f32) {
        match self {
            Self::Unit => (0.0, 1.0),
            Self::Centered => (0.5, 0.5),
            Self::Imagenet => [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)][channel % 3],
        }
    }
}

impl ImageInput {
    /// The shape of the network's input.
    pub fn shape(&self) -> InputShape {
        InputShape::Image {
            height: self.height,
            width: self.width,
            channels: self.color.channels(),
        }
    }

    /// Decodes one image and makes it fit: `[H, W, C]` numbers.
    ///
    /// # Errors
    /// The bytes are not an image, or one beyond [`LARGEST_SIDE`]; the error carries `name`.
    pub fn prepare(&self, bytes: &[u8], name: &str) -> Result<Vec<f32>> {
        let image = decode(bytes, name)?;
        Ok(self.numbers(&self.fitted(image)))
    }

    /// The same for training: decoded, changed at random, and made to fit.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_augmented(
        &self,
        bytes: &[u8],
        name: &str,
        augment: &Augment,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<f32>> {
        let mut image = self.fitted(random_crop(decode(bytes, name)?, augment.crop, rng));
        // Each draw is made whether used or not, so that one switch does not change the others' draws.
        let mirrored = rng.random_bool(0.5);
        let span = |size: usize| (augment.shift.clamp(0.0, 1.0) * size as f32) as i64;
        let (dy, dx) = (span(self.height), span(self.width));
        let (dy, dx) = (rng.random_range(-dy..=dy), rng.random_range(-dx..=dx));
        if augment.flip && mirrored {
            image = image.fliph();
        }
        let numbers = self.numbers(&image);
        Ok(if dy == 0 && dx == 0 {
            numbers
        } else {
            self.shifted(&numbers, dy, dx)
        })
    }

    fn fitted(&self, image: DynamicImage) -> DynamicImage {
        let (width, height) = (self.width as u32, self.height as u32);
        if (image.width(), image.height()) == (width, height) {
            return image;
        }
        match self.fit {
            Fit::Stretch => image.resize_exact(width, height, FilterType::Triangle),
            Fit::Crop => image.resize_to_fill(width, height, FilterType::Triangle),
        }
    }

    fn numbers(&self, image: &DynamicImage) -> Vec<f32> {
        let bytes = match self.color {
            Color::Gray => image.to_luma8().into_raw(),
            Color::Rgb => image.to_rgb8().into_raw(),
        };
        let channels = self.color.channels();
        let scaled = bytes.iter().enumerate().map(|(at, &byte)| {
            let (mean, deviation) = self.normalization.of(at % channels);
            (f32::from(byte) / 255.0 - mean) / deviation
        });
        scaled.collect()
    }

    /// Moves an image by whole pixels; the edge repeats.
    fn shifted(&self, numbers: &[f32], dy: i64, dx: i64) -> Vec<f32> {
        let channels = self.color.channels();
        let mut moved = Vec::with_capacity(numbers.len());
        let source =
            |at: usize, by: i64, size: usize| (at as i64 - by).clamp(0, size as i64 - 1) as usize;
        for row in 0..self.height {
            for col in 0..self.width {
                let at = source(row, dy, self.height) * self.width + source(col, dx, self.width);
                moved.extend_from_slice(&numbers[at * channels..(at + 1) * channels]);
            }
        }
        moved
    }
}

/// Size and color of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns of pixels.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Whether it has color.
    pub color: Color,
}

/// Size and color of an encoded image.
///
/// # Errors
/// The bytes are not an image; the error carries `name`.
pub fn look(bytes: &[u8], name: &str) -> Result<Look> {
    let image = decode(bytes, name)?;
    let color = if image.color().has_color() {
        Color::Rgb
    } else {
        Color::Gray
    };
    Ok(Look {
        width: image.width() as usize,
        height: image.height() as usize,
        color,
    })
}

/// Decodes an image of any supported format, with bounded memory.
fn decode(bytes: &[u8], name: &str) -> Result<DynamicImage> {
    let failed = |reason: String| Error::Image {
        name: name.to_owned(),
        reason,
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| failed(e.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(DECODE_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|e| failed(e.to_string()))
}

/// Cuts a random part with sides of `share..=1` of the image's.
fn random_crop(image: DynamicImage, share: f32, rng: &mut ChaCha8Rng) -> DynamicImage {
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
    match image {
        DynamicImage::ImageLuma8(pixels) => imageops::crop_imm(&pixels, x, y, width, height)
            .to_image()
            .into(),
        DynamicImage::ImageRgb8(pixels) => imageops::crop_imm(&pixels, x, y, width, height)
            .to_image()
            .into(),
        other => other.crop_imm(x, y, width, height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_rng;
    use image::{GrayImage, ImageFormat, RgbImage};

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn input(height: usize, width: usize, color: Color) -> ImageInput {
        ImageInput {
            height,
            width,
            color,
            normalization: Normalization::Unit,
            ..ImageInput::default()
        }
    }

    #[test]
    fn pixels_arrive_in_rows_channels_last() {
        let image = RgbImage::from_fn(2, 2, |x, y| {
            image::Rgb([(x * 255) as u8, (y * 255) as u8, 0])
        });
        let numbers = input(2, 2, Color::Rgb)
            .prepare(&png(image), "a.png")
            .unwrap();
        assert_eq!(
            numbers,
            [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
        );
    }

    #[test]
    fn crop_keeps_the_shape_and_stretch_does_not() {
        // A gray image twice as wide as high: left quarter and right quarter white.
        let image = GrayImage::from_fn(16, 8, |x, _| {
            image::Luma([if (4..12).contains(&x) { 0 } else { 255 }])
        });
        let crop = input(8, 8, Color::Gray)
            .prepare(&png(image.clone()), "a.png")
            .unwrap();
        assert!(crop.iter().all(|&v| v == 0.0));
        let stretch = ImageInput {
            fit: Fit::Stretch,
            ..input(8, 8, Color::Gray)
        };
        let stretched = stretch.prepare(&png(image), "a.png").unwrap();
        assert!(stretched[0] > 0.9 && stretched[4] < 0.1);
    }

    #[test]
    fn centered_pixels_lie_between_minus_one_and_one() {
        let image = GrayImage::from_fn(2, 1, |x, _| image::Luma([(x * 255) as u8]));
        let centered = ImageInput {
            normalization: Normalization::Centered,
            ..input(1, 2, Color::Gray)
        };
        assert_eq!(centered.prepare(&png(image), "a.png").unwrap(), [-1.0, 1.0]);
    }

    #[test]
    fn augmentation_depends_on_the_generator_alone() {
        let image = GrayImage::from_fn(9, 9, |x, y| image::Luma([(x * 20 + y) as u8]));
        let bytes = png(image);
        let augment = Augment {
            flip: true,
            crop: 0.5,
            shift: 0.3,
        };
        let draw = |seed| {
            input(6, 6, Color::Gray)
                .prepare_augmented(&bytes, "a", &augment, &mut named_rng(seed, "x"))
                .unwrap()
        };
        assert_eq!(draw(1), draw(1));
        assert!((2..9).any(|seed| draw(seed) != draw(1)));
    }

    #[test]
    fn no_augmentation_is_the_plain_image() {
        let bytes = png(GrayImage::from_fn(5, 7, |x, y| {
            image::Luma([(x * 20 + y) as u8])
        }));
        let plain = input(4, 4, Color::Gray).prepare(&bytes, "a").unwrap();
        let mut rng = named_rng(3, "x");
        let same = input(4, 4, Color::Gray)
            .prepare_augmented(&bytes, "a", &Augment::default(), &mut rng)
            .unwrap();
        assert_eq!(plain, same);
    }

    #[test]
    fn a_shift_repeats_the_edge() {
        let gray = input(1, 3, Color::Gray);
        assert_eq!(gray.shifted(&[1.0, 2.0, 3.0], 0, 1), [1.0, 1.0, 2.0]);
        assert_eq!(gray.shifted(&[1.0, 2.0, 3.0], 0, -2), [3.0, 3.0, 3.0]);
    }

    #[test]
    fn damaged_and_oversized_images_are_named() {
        let bytes = png(GrayImage::new(8, 8));
        for broken in [&b""[..], b"not an image", &bytes[..bytes.len() / 2]] {
            let error = input(4, 4, Color::Gray)
                .prepare(broken, "dir/a.png")
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("dir/a.png: not a readable image"),
                "{error}"
            );
        }
        // A header that claims a side of 30,000 pixels is refused before memory is taken.
        let mut wide = bytes;
        wide[16..20].copy_from_slice(&30_000u32.to_be_bytes());
        assert!(input(4, 4, Color::Gray).prepare(&wide, "wide.png").is_err());
    }
}
