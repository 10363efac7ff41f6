//! An encoded image and the part of it that counts.

use super::{Degradation, Landmarks};
use crate::error::{Error, Result};
use image::{DynamicImage, GenericImageView};
use serde::{Deserialize, Serialize};

/// An encoded image and what is known of it. Coordinates are pixels of the image as it is decoded, turned if it is.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// The content of a JPEG, PNG, WebP, BMP or PNM file.
    pub bytes: &'a [u8],
    /// What to call it in errors.
    pub name: &'a str,
    /// The part of it that counts; all of it where absent, and where it is aligned.
    pub region: Option<Region>,
    /// Five points of a face, for [`Align`](super::Align).
    pub landmarks: Option<&'a Landmarks>,
    /// What it is to lose before it is read.
    pub degradation: Option<Degradation>,
}

/// A part of an image, in pixels: edges are rounded to whole pixels and end at the image's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// The left edge.
    pub x: f32,
    /// The top edge.
    pub y: f32,
    /// Columns from there.
    pub width: f32,
    /// Rows from there.
    pub height: f32,
}

impl<'a> Encoded<'a> {
    /// An image of which nothing else is known.
    pub fn new(bytes: &'a [u8], name: &'a str) -> Self {
        Self {
            bytes,
            name,
            region: None,
            landmarks: None,
            degradation: None,
        }
    }

    pub(super) fn failed(&self, reason: String) -> Error {
        Error::Image {
            name: self.name.to_owned(),
            reason,
        }
    }

    /// What is left of an image after what it is to lose.
    pub(super) fn degraded(&self, image: DynamicImage) -> Result<DynamicImage> {
        match self.degradation {
            Some(degradation) => degradation.apply(&image, self),
            None => Ok(image),
        }
    }

    /// The region of the decoded image, or the whole.
    pub(super) fn cut(&self, image: DynamicImage) -> Result<DynamicImage> {
        let Some(Region {
            x,
            y,
            width,
            height,
        }) = self.region
        else {
            return Ok(image);
        };
        let (columns, rows) = image.dimensions();
        let edge = |at: f32, size: u32| at.round().clamp(0.0, size as f32) as u32;
        let (left, right) = (edge(x, columns), edge(x + width, columns));
        let (top, bottom) = (edge(y, rows), edge(y + height, rows));
        if left >= right || top >= bottom {
            return Err(self.failed(format!(
                "no pixel of its {columns} x {rows} pixels is in the box at ({x}, {y}) of {width} x {height}"
            )));
        }
        Ok(image.crop_imm(left, top, right - left, bottom - top))
    }
}
