//! Random changes to training images.

mod affine;
mod color_jitter;
mod crop;
mod erase;

pub use affine::Affine;
pub use color_jitter::ColorJitter;
pub use crop::ResizedCrop;
pub(super) use crop::random_crop;
pub use erase::{Erase, Fill};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::ops::RangeInclusive;

/// Random changes to training images, `[augment]` in a recipe; each is off by default. They are made in this order:
/// (turned classes), landmark noise, crop, resized crop, (fit), flip, rotation, affine, color jitter, shift,
/// (normalization), erasing.
///
/// Every draw comes from the run's seed, the number of the batch and the place in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirrors half of the images.
    pub flip: bool,
    /// Cuts a random part of at least this share of each side, then scales it to the input; 1 = off.
    #[serde(deserialize_with = "crop_share")]
    pub crop: f32,
    /// Moves the image by up to this share of each side, edges repeated; 0 = off.
    #[serde(deserialize_with = "share")]
    pub shift: f32,
    /// Turns the image by 0, 90, 180 or 270 degrees, as likely each; by 0 or 180 where the input is not square.
    pub rotate: bool,
    /// Makes classes of turned ones: all images of a class in a batch are turned alike, by 0, 90, 180 or 270 degrees, and
    /// each of the four is a class of its own. For what is another thing when it is turned, such as characters (Vinyals et
    /// al. 2016, *Matching Networks for One Shot Learning*, section 4.1.1).
    pub turned_classes: bool,
    /// Moves the five places that a face is aligned to, each by normal noise of this share of the input's height, before
    /// the alignment is fitted to them; 0 = off.
    #[serde(deserialize_with = "share")]
    pub landmark_noise: f32,
    /// Cuts a random part of random area and shape, then stretches it to the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Turns the image by a few degrees and changes its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// Changes brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Covers a random rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            flip: false,
            crop: 1.0,
            shift: 0.0,
            rotate: false,
            turned_classes: false,
            landmark_noise: 0.0,
            resized_crop: None,
            affine: None,
            color_jitter: None,
            erase: None,
        }
    }
}

impl Augment {
    /// Whether an image is cut at random before it is made to fit.
    pub(super) fn cuts(&self) -> bool {
        self.crop < 1.0 || self.resized_crop.is_some()
    }
}

/// The changes that have draws of their own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    ResizedCrop = 1,
    Rotate,
    ColorJitter,
    Erase,
    LandmarkNoise,
    Affine,
}

impl Change {
    /// The draws of this change: a stream of their own, so that one switch does not change the others' draws.
    pub fn draws(self, of: &ChaCha8Rng) -> ChaCha8Rng {
        let mut draws = of.clone();
        draws.set_stream(self as u64);
        draws.set_word_pos(0);
        draws
    }
}

/// Two numbers above 0, the first at most the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f32; 2]", into = "[f32; 2]")]
pub struct Span {
    low: f32,
    high: f32,
}

impl Span {
    /// A constant of the program, such as a paper's default.
    const fn literal(low: f32, high: f32) -> Self {
        Self { low, high }
    }

    fn range(self) -> RangeInclusive<f32> {
        self.low..=self.high
    }

    /// The range of the logarithms, in which 1/2 and 2 are as far from 1.
    fn logarithms(self) -> RangeInclusive<f32> {
        self.low.ln()..=self.high.ln()
    }
}

impl TryFrom<[f32; 2]> for Span {
    type Error = String;

    fn try_from([low, high]: [f32; 2]) -> Result<Self, String> {
        if low > 0.0 && low <= high && high.is_finite() {
            Ok(Self { low, high })
        } else {
            Err(format!(
                "[{low}, {high}] is out of range, expected two numbers above 0, the first at most the second"
            ))
        }
    }
}

impl From<Span> for [f32; 2] {
    fn from(span: Span) -> Self {
        [span.low, span.high]
    }
}

/// Reads `augment.crop`: nothing is left of an image at 0, and there is nothing beyond its edge.
fn crop_share<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let share = f32::deserialize(from)?;
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    let message = format!("{share} is out of range, expected a number above 0, up to 1");
    Err(D::Error::custom(message))
}

/// Reads a share that may be nothing or all.
fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    within(from, 1.0)
}

/// Reads a number from 0 to `most`.
fn within<'de, D: Deserializer<'de>>(from: D, most: f32) -> Result<f32, D::Error> {
    let number = f32::deserialize(from)?;
    if (0.0..=most).contains(&number) {
        return Ok(number);
    }
    let message = format!("{number} is out of range, expected a number from 0 to {most}");
    Err(D::Error::custom(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_while_parsing() {
        for (table, words) in [
            (r#"{"crop": 0}"#, "above 0, up to 1"),
            (r#"{"shift": 1.5}"#, "from 0 to 1"),
            (r#"{"landmark_noise": -1}"#, "from 0 to 1"),
            (r#"{"color_jitter": {"hue": 0.6}}"#, "from 0 to 0.5"),
            (r#"{"color_jitter": {"contrast": -0.1}}"#, "at or above 0"),
            (
                r#"{"resized_crop": {"scale": [0.5, 0.4]}}"#,
                "the first at most the second",
            ),
            (r#"{"erase": {"probability": 2}}"#, "from 0 to 1"),
            (r#"{"affine": {"degrees": 200}}"#, "from 0 to 180"),
            (r#"{"affine": {"scale": [0, 1]}}"#, "above 0"),
            (r#"{"rotation": true}"#, "unknown field `rotation`"),
        ] {
            let error = serde_json::from_str::<Augment>(table)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
        let all = r#"{"rotate": true, "resized_crop": {}, "affine": {}, "color_jitter": {"hue": 0.1}, "erase": {"fill": "noise"}}"#;
        let augment: Augment = serde_json::from_str(all).unwrap();
        let written = serde_json::to_string(&augment).unwrap();
        assert_eq!(serde_json::from_str::<Augment>(&written).unwrap(), augment);
        assert!(augment.cuts() && !Augment::default().cuts());
    }
}
