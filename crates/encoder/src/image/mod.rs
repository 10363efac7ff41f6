//! Image input: encoded bytes to the numbers that a network reads.
//!
//! An image takes two steps. [`ImageInput::decode`] goes as far as no random draw is needed: what it gives may be kept.
//! [`ImageInput::numbers`], or [`ImageInput::augmented`] in training, goes on from there.
//!
//! ```
//! use nearkin_encoder::image::{Augment, Encoded, ImageInput};
//!
//! // A gray image of 2 × 1 pixels in the format PGM.
//! let encoded = Encoded::new(b"P5 2 1 255 \x00\xff", "tiny.pgm");
//! let input = ImageInput { height: 1, width: 2, ..ImageInput::default() };
//! let decoded = input.decode(&encoded, &Augment::default())?;
//! assert_eq!(input.numbers(&decoded), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
//! # Ok::<(), nearkin_encoder::Error>(())
//! ```

mod align;
mod augment;
mod decode;
mod degradation;
mod encoded;
mod gray;
mod normalization;
#[cfg(test)]
mod tests;
mod thumbnail;

pub use align::{Align, Landmarks};
pub use augment::{Affine, Augment, ColorJitter, Erase, Fill, ResizedCrop, Span};
pub use decode::{LARGEST_SIDE, Look, look};
pub use degradation::Degradation;
pub use encoded::{Encoded, Region};
pub use normalization::Normalization;
pub use thumbnail::{Thumbnail, thumbnail};

use crate::error::Result;
use crate::network::InputShape;
use align::Similarity;
use augment::{Change, random_crop};
use gray::gray;
use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

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
    /// Whether an image is turned as its Exif orientation says. Without it pixels are read as they are stored, as
    /// `Pillow` and torchvision's data sets do.
    pub upright: bool,
    /// Moves faces so that their five landmarks lie in known places, in place of `fit`; needs landmarks with the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Align>,
}

/// Channels of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// One channel; of a color image its luma, `0.299 R + 0.587 G + 0.114 B` as in Pillow.
    Gray,
    /// Red, green, blue.
    Rgb,
}

/// How an image of another shape is made to fit; both ways average what they shrink, so that nothing aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Each side is scaled on its own.
    Stretch,
    /// Scaled until both sides cover the input, then cut around the center.
    Crop,
}

/// An image that is decoded, and made to fit unless a random draw comes before that.
#[derive(Clone, Debug)]
pub struct Decoded {
    image: DynamicImage,
    /// Where the face is, if it is aligned at random.
    landmarks: Option<[[f64; 2]; 5]>,
}

impl Decoded {
    /// The memory that the pixels take, in bytes.
    pub fn bytes(&self) -> usize {
        self.image.as_bytes().len()
    }

    /// The same, turned clockwise by quarters.
    #[must_use]
    pub fn turned(&self, quarters: u32) -> Self {
        Self {
            image: quarter_turns(Cow::Borrowed(&self.image), quarters).into_owned(),
            landmarks: self.landmarks,
        }
    }
}

fn quarter_turns(image: Cow<'_, DynamicImage>, quarters: u32) -> Cow<'_, DynamicImage> {
    match quarters % 4 {
        0 => image,
        1 => Cow::Owned(image.rotate90()),
        2 => Cow::Owned(image.rotate180()),
        _ => Cow::Owned(image.rotate270()),
    }
}

impl Default for ImageInput {
    fn default() -> Self {
        Self {
            height: 64,
            width: 64,
            color: Color::Rgb,
            fit: Fit::Crop,
            normalization: Normalization::Centered,
            upright: false,
            align: None,
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
    /// As [`Self::decode`]; the error carries `name`.
    pub fn prepare(&self, bytes: &[u8], name: &str) -> Result<Vec<f32>> {
        let decoded = self.decode(&Encoded::new(bytes, name), &Augment::default())?;
        Ok(self.numbers(&decoded))
    }

    /// The same for training: decoded, changed at random, and made to fit.
    ///
    /// # Errors
    /// As [`Self::decode`]; the error carries `name`.
    pub fn prepare_augmented(
        &self,
        bytes: &[u8],
        name: &str,
        augment: &Augment,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<f32>> {
        let decoded = self.decode(&Encoded::new(bytes, name), augment)?;
        Ok(self.augmented(&decoded, augment, rng))
    }

    /// Whether `augment` changes an image before it is made to fit, so that it is kept as it was decoded.
    pub fn is_changed_before_it_fits(&self, augment: &Augment) -> bool {
        match self.align {
            Some(_) => augment.landmark_noise > 0.0,
            None => augment.cuts(),
        }
    }

    /// Decodes one image as far as nothing is random in it: it also fits unless `augment` changes it before that. A face to
    /// be aligned at random is not degraded.
    ///
    /// # Errors
    /// The bytes are not an image, or one beyond [`LARGEST_SIDE`]; nothing of its region lies inside; it is to be aligned
    /// and has no landmarks.
    pub fn decode(&self, encoded: &Encoded, augment: &Augment) -> Result<Decoded> {
        let image = decode::decode(encoded.bytes, encoded.name, self.upright)?;
        let fixed = |image| Decoded {
            image,
            landmarks: None,
        };
        let Some(align) = self.align else {
            let image = encoded.degraded(encoded.cut(image)?)?;
            return Ok(fixed(if self.is_changed_before_it_fits(augment) {
                image
            } else {
                self.fitted(Cow::Owned(image)).into_owned()
            }));
        };
        let landmarks = encoded.landmarks.ok_or_else(|| {
            encoded.failed("it has no landmarks, by which input.align would align it".into())
        })?;
        let landmarks = landmarks.map(|point| point.map(f64::from));
        let places = align.places(self.height, self.width);
        let similarity = Similarity::fit(&landmarks, &places)
            .ok_or_else(|| encoded.failed("its five landmarks are one point".into()))?;
        Ok(if self.is_changed_before_it_fits(augment) {
            Decoded {
                image,
                landmarks: Some(landmarks),
            }
        } else {
            let aligned = similarity.warp(&image, [self.height, self.width], self.color);
            fixed(encoded.degraded(aligned)?)
        })
    }

    /// The numbers of a decoded image, `[H, W, C]`.
    pub fn numbers(&self, decoded: &Decoded) -> Vec<f32> {
        let mut numbers = self.values(&self.fitted(Cow::Borrowed(&decoded.image)));
        self.normalization
            .apply(&mut numbers, self.color.channels());
        numbers
    }

    /// The numbers of a decoded image for training, `[H, W, C]`: changed at random. The image has to be decoded with the
    /// same `augment`.
    pub fn augmented(
        &self,
        decoded: &Decoded,
        augment: &Augment,
        rng: &mut ChaCha8Rng,
    ) -> Vec<f32> {
        let image = match (&decoded.landmarks, self.align) {
            (Some(landmarks), Some(align)) => {
                Cow::Owned(self.aligned_at_random(&decoded.image, landmarks, align, augment, rng))
            }
            _ => Cow::Borrowed(&decoded.image),
        };
        let mut image = random_crop(image, augment.crop, rng);
        if let Some(crop) = &augment.resized_crop {
            let (width, height) = image.dimensions();
            let part = crop.part(width, height, &mut Change::ResizedCrop.draws(rng));
            image = Cow::Owned(self.stretched(&part.of(&image)));
        }
        let mut image = self.fitted(image);
        // Each draw is made whether used or not, so that one switch does not change the others' draws.
        let mirrored = rng.random_bool(0.5);
        let span = |size: usize| (augment.shift.clamp(0.0, 1.0) * size as f32) as i64;
        let (dy, dx) = (span(self.height), span(self.width));
        let (dy, dx) = (rng.random_range(-dy..=dy), rng.random_range(-dx..=dx));
        if augment.flip && mirrored {
            image = Cow::Owned(image.fliph());
        }
        if augment.rotate {
            image = self.turned(image, Change::Rotate.draws(rng).random_range(0..4));
        }
        let channels = self.color.channels();
        let mut numbers = self.values(&image);
        let size = [self.height, self.width];
        if let Some(affine) = &augment.affine {
            affine.apply(&mut numbers, size, &mut Change::Affine.draws(rng));
        }
        if let Some(jitter) = &augment.color_jitter {
            jitter.apply(&mut numbers, channels, &mut Change::ColorJitter.draws(rng));
        }
        if (dy, dx) != (0, 0) {
            numbers = self.shifted(&numbers, dy, dx);
        }
        self.normalization.apply(&mut numbers, channels);
        if let Some(erase) = &augment.erase {
            erase.apply(&mut numbers, size, &mut Change::Erase.draws(rng));
        }
        numbers
    }

    /// Aligned to places moved by noise; as they are, in the unlikely case that noise makes them one point.
    fn aligned_at_random(
        &self,
        image: &DynamicImage,
        landmarks: &[[f64; 2]; 5],
        align: Align,
        augment: &Augment,
        rng: &ChaCha8Rng,
    ) -> DynamicImage {
        let mut draws = Change::LandmarkNoise.draws(rng);
        let deviation = f64::from(augment.landmark_noise) * self.height as f64;
        let places = align.places(self.height, self.width);
        let moved = places.map(|place| {
            place.map(|at| {
                let noise: f64 = StandardNormal.sample(&mut draws);
                at + deviation * noise
            })
        });
        let fit = |to| Similarity::fit(landmarks, to);
        match fit(&moved).or_else(|| fit(&places)) {
            Some(similarity) => similarity.warp(image, [self.height, self.width], self.color),
            None => image.clone(),
        }
    }

    fn fitted<'a>(&self, image: Cow<'a, DynamicImage>) -> Cow<'a, DynamicImage> {
        let (width, height) = (self.width as u32, self.height as u32);
        if image.dimensions() == (width, height) {
            return image;
        }
        Cow::Owned(match self.fit {
            Fit::Stretch => self.stretched(&image),
            Fit::Crop => image.resize_to_fill(width, height, FilterType::Triangle),
        })
    }

    fn stretched(&self, image: &DynamicImage) -> DynamicImage {
        image.resize_exact(self.width as u32, self.height as u32, FilterType::Triangle)
    }

    /// Turned by quarters; by halves where a quarter would not fit.
    fn turned<'a>(&self, image: Cow<'a, DynamicImage>, quarters: u32) -> Cow<'a, DynamicImage> {
        let quarters = if self.height == self.width {
            quarters
        } else {
            quarters % 2 * 2
        };
        quarter_turns(image, quarters)
    }

    /// The values of the pixels in 0..=1.
    fn values(&self, image: &DynamicImage) -> Vec<f32> {
        let bytes = match self.color {
            Color::Gray => gray(image).into_raw(),
            Color::Rgb => image.to_rgb8().into_raw(),
        };
        bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect()
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
