//! Small pictures of images, for people to look at.

use super::decode::decode;
use super::encoded::Encoded;
use crate::error::Result;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;

/// The quality of a JPEG, of 100.
const QUALITY: u8 = 75;

/// A small picture in a format that browsers know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// The file.
    pub bytes: Vec<u8>,
    /// `image/png` or `image/jpeg`.
    pub media_type: &'static str,
}

/// The part of an image that counts, averaged to at most `side` pixels a side, as PNG or JPEG, whichever is smaller; an image
/// that is small already keeps its size. `upright` turns it as its Exif orientation says.
///
/// # Errors
/// The image cannot be decoded, or its box lies outside it.
///
/// ```
/// use nearkin_encoder::image::{Encoded, thumbnail};
/// let encoded = Encoded::new(b"P5 4 1 255 \x00\x00\xff\xff", "tiny.pgm");
/// let small = thumbnail(&encoded, 2, false)?;
/// assert_eq!(small.media_type, "image/png");
/// # Ok::<(), nearkin_encoder::Error>(())
/// ```
pub fn thumbnail(encoded: &Encoded, side: u32, upright: bool) -> Result<Thumbnail> {
    let image = encoded.cut(decode(encoded.bytes, encoded.name, upright)?)?;
    let small = if image.width().max(image.height()) > side {
        image.resize(side, side, FilterType::Triangle)
    } else {
        image
    };
    // Transparency and 16 bits are of no use at this size.
    let small = if small.color().has_color() {
        DynamicImage::from(small.to_rgb8())
    } else {
        DynamicImage::from(small.to_luma8())
    };
    let failed = |error: image::ImageError| encoded.failed(error.to_string());
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, ImageFormat::Png).map_err(failed)?;
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    small.write_with_encoder(encoder).map_err(failed)?;
    let png = png.into_inner();
    let (bytes, media_type) = if jpeg.len() < png.len() {
        (jpeg, "image/jpeg")
    } else {
        (png, "image/png")
    };
    Ok(Thumbnail { bytes, media_type })
}

#[cfg(test)]
mod tests {
    use super::super::{Region, look};
    use super::*;

    #[test]
    fn the_box_is_cut_out_and_made_small() {
        let pixels: Vec<u8> = (0..40 * 20)
            .map(|at| if at % 40 < 20 { 0 } else { 255 })
            .collect();
        let file = [b"P5 40 20 255 ".as_slice(), &pixels].concat();
        let whole = thumbnail(&Encoded::new(&file, "a"), 10, false).unwrap();
        let size = look(&whole.bytes, "a").unwrap();
        assert_eq!((size.width, size.height), (10, 5));
        let region = Region {
            x: 20.0,
            y: 0.0,
            width: 20.0,
            height: 20.0,
        };
        let part = Encoded {
            region: Some(region),
            ..Encoded::new(&file, "a")
        };
        let part = thumbnail(&part, 10, false).unwrap();
        let white = image::load_from_memory(&part.bytes).unwrap().to_luma8();
        assert!(white.pixels().all(|p| p.0[0] > 250));
        // What is small already is not made larger.
        let small = thumbnail(&Encoded::new(b"P5 1 1 255 \x07", "a"), 10, false).unwrap();
        assert_eq!(look(&small.bytes, "a").unwrap().width, 1);
        assert!(thumbnail(&Encoded::new(b"no image", "a"), 10, false).is_err());
    }

    #[test]
    fn the_smaller_format_is_taken() {
        let mut state = 1u32;
        let noise = (0..64 * 64).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let file = [b"P5 64 64 255 ".to_vec(), noise.collect()].concat();
        let noisy = thumbnail(&Encoded::new(&file, "a"), 64, false).unwrap();
        assert_eq!(noisy.media_type, "image/jpeg");
    }
}
