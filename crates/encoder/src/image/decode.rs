//! From encoded bytes to pixels, with bounded memory.

use super::Color;
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// The largest side of an image that is decoded, in pixels.
pub const LARGEST_SIDE: u32 = 16_384;
/// The most memory that decoding one image may take, in MiB.
const DECODE_MIB: u64 = 1024;

/// Decodes an image of any supported format: 16-bit samples are rounded to 8 bits when they become numbers, and CMYK (with
/// the inverted inks that Adobe writes, as all programs take it to be) becomes RGB.
///
/// A side beyond [`LARGEST_SIDE`] is refused before memory is taken. A JPEG without an end is refused too: its decoder
/// would make the missing rows gray. One whose data stop early but that ends with the marker is not told: `image` gives its
/// decoder no strict mode.
pub(super) fn decode(bytes: &[u8], name: &str, upright: bool) -> Result<DynamicImage> {
    let failed = |reason: String| Error::Image {
        name: name.to_owned(),
        reason,
    };
    if bytes.is_empty() {
        return Err(failed("the file is empty".to_owned()));
    }
    let unreadable = |error: image::ImageError| failed(error.to_string());
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| failed(error.to_string()))?;
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(bytes) {
        return Err(failed(
            "the file is cut short: no end-of-image marker".into(),
        ));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODE_MIB << 20);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > LARGEST_SIDE {
        return Err(failed(format!(
            "it has {width} x {height} pixels, at most {LARGEST_SIDE} a side are decoded"
        )));
    }
    let mib = decoder.total_bytes() >> 20;
    if mib > DECODE_MIB {
        return Err(failed(format!(
            "its {width} x {height} pixels take {mib} MiB, at most {DECODE_MIB} are given"
        )));
    }
    let orientation = if upright {
        decoder.orientation().map_err(unreadable)?
    } else {
        Orientation::NoTransforms
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Whether a JPEG has an end-of-image marker after its segments; what a thumbnail or bytes behind the end hold does not count.
fn has_end(jpeg: &[u8]) -> bool {
    // Behind the start of the image.
    let mut at = 2;
    while let Some(pair) = jpeg.get(at..at + 2) {
        match pair {
            [0xff, 0xd9] => return true,
            // In the data of a scan 0xff is followed by 0 or is a restart marker; before a marker it may be repeated.
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8] => at += 2,
            [0xff, 0xff] => at += 1,
            [0xff, _] => {
                let Some(length) = jpeg.get(at + 2..at + 4) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
            _ => at += 1,
        }
    }
    false
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
    let image = decode(bytes, name, false)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
    use std::fmt::Write;

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn error_of(bytes: &[u8]) -> String {
        decode(bytes, "dir/a.png", false).unwrap_err().to_string()
    }

    /// A baseline JPEG of one 8 × 8 block: each component has one value, given as its bytes in the file.
    ///
    /// With quantization by 8 the DC coefficient of a constant block is its value − 128, and all else is zero.
    fn jpeg(components: &[u8], adobe_transform: Option<u8>) -> Vec<u8> {
        let count = components.len() as u8;
        let mut file = vec![0xff, 0xd8];
        let mut segment = |marker: u8, content: &[u8]| {
            let length = (content.len() as u16 + 2).to_be_bytes();
            file.extend_from_slice(&[0xff, marker, length[0], length[1]]);
            file.extend_from_slice(content);
        };
        if let Some(transform) = adobe_transform {
            segment(
                0xee,
                &[b"Adobe".as_slice(), &[0, 100, 0, 0, 0, 0, transform]].concat(),
            );
        }
        segment(0xdb, &[&[0][..], &[8; 64]].concat());
        let parts = (1..=count).flat_map(|id| [id, 0x11, 0]);
        segment(
            0xc0,
            &[vec![8, 0, 8, 0, 8, count], parts.collect()].concat(),
        );
        // DC: the nine categories have codes of four bits; AC: the end of block has the code 0.
        let categories: Vec<u8> = (0..=8).collect();
        let lengths = [0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        segment(0xc4, &[&[0x00], &lengths[..], &categories].concat());
        let lengths = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        segment(0xc4, &[&[0x10], &lengths[..], &[0]].concat());
        let parts = (1..=count).flat_map(|id| [id, 0]);
        segment(
            0xda,
            &[vec![count], parts.collect(), vec![0, 63, 0]].concat(),
        );
        let mut bits = String::new();
        for &value in components {
            let level = i32::from(value) - 128;
            let category = (32 - level.unsigned_abs().leading_zeros()) as usize;
            write!(bits, "{category:04b}").unwrap();
            let magnitude = if level < 0 {
                level + (1 << category) - 1
            } else {
                level
            };
            if category > 0 {
                write!(bits, "{magnitude:0category$b}").unwrap();
            }
            bits += "0";
        }
        while !bits.len().is_multiple_of(8) {
            bits += "1";
        }
        for byte in bits.as_bytes().chunks(8) {
            let byte = byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
            file.push(byte);
            if byte == 0xff {
                file.push(0);
            }
        }
        file.extend_from_slice(&[0xff, 0xd9]);
        file
    }

    fn near(pixel: Rgb<u8>, want: [f64; 3]) -> bool {
        let differences = pixel
            .0
            .iter()
            .zip(want)
            .map(|(&p, w)| (f64::from(p) - w).abs());
        differences.fold(0.0, f64::max) <= 2.0
    }

    #[test]
    fn gray_and_cmyk_and_ycck_of_jpeg_are_decoded() {
        let pixel = |bytes: &[u8]| {
            *decode(bytes, "a.jpg", false)
                .unwrap()
                .to_rgb8()
                .get_pixel(3, 5)
        };
        assert!(near(pixel(&jpeg(&[77], None)), [77.0; 3]));
        // Adobe stores 255 − ink: what each ink lets through is multiplied by what black lets through.
        for inks in [
            [255, 255, 255, 255],
            [200, 100, 50, 255],
            [200, 100, 50, 128],
            [9, 255, 0, 60],
        ] {
            let [c, m, y, k] = inks.map(f64::from);
            let want = [c, m, y].map(|ink| ink * k / 255.0);
            let found = pixel(&jpeg(&inks, Some(0)));
            assert!(near(found, want), "{inks:?}: {found:?}, not {want:?}");
        }
        // YCCK: the first three are Y, Cb and Cr of 255 − what is stored of cyan, magenta and yellow.
        for stored in [[100, 128, 128, 255], [120, 110, 150, 180]] {
            let [y, cb, cr, k] = stored.map(f64::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            let rgb = [
                y + 1.402 * cr,
                y - 0.344_136 * cb - 0.714_136 * cr,
                y + 1.772 * cb,
            ];
            let want = rgb.map(|value| (255.0 - value) * k / 255.0);
            let found = pixel(&jpeg(&stored, Some(2)));
            assert!(near(found, want), "{stored:?}: {found:?}, not {want:?}");
        }
    }

    #[test]
    fn samples_of_16_bits_are_rounded_to_8() {
        let gray = ImageBuffer::from_fn(3, 1, |x, _| Luma([[0u16, 32_896, 65_535][x as usize]]));
        let bytes = encoded(DynamicImage::ImageLuma16(gray), ImageFormat::Png);
        let image = decode(&bytes, "a", false).unwrap();
        assert_eq!(image.to_luma8().into_raw(), [0, 128, 255]);
        let color = ImageBuffer::from_fn(1, 1, |_, _| Rgb([65_535u16, 2_570, 129]));
        let bytes = encoded(DynamicImage::ImageRgb16(color), ImageFormat::Png);
        let image = decode(&bytes, "a", false).unwrap();
        assert_eq!(image.to_rgb8().into_raw(), [255, 10, 1]);
    }

    #[test]
    fn a_side_beyond_the_limit_is_refused_by_name_and_size() {
        let error = error_of(&encoded(GrayImage::new(30_000, 2), ImageFormat::Png));
        assert!(
            error.starts_with("dir/a.png") && error.contains("30000 x 2 pixels"),
            "{error}"
        );
        assert!(error.contains("at most 16384 a side"), "{error}");
        // A JPEG of 8 × 8 pixels whose header says 30,000 × 30,000.
        let mut bytes = jpeg(&[77], None);
        let header = bytes
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        for at in [header + 5, header + 7] {
            bytes[at..at + 2].copy_from_slice(&30_000u16.to_be_bytes());
        }
        assert!(
            error_of(&bytes).contains("30000 x 30000 pixels"),
            "{}",
            error_of(&bytes)
        );
    }

    #[test]
    fn more_memory_than_is_given_is_refused_before_it_is_taken() {
        // A header of 16,384 × 16,384 pixels of 8 bytes: 2 GiB; its checksum has to be right to be believed.
        let color = ImageBuffer::from_fn(1, 1, |_, _| image::Rgba([1u16, 2, 3, 4]));
        let mut bytes = encoded(DynamicImage::ImageRgba16(color), ImageFormat::Png);
        for at in [16, 20] {
            bytes[at..at + 4].copy_from_slice(&16_384u32.to_be_bytes());
        }
        let checksum = bytes[12..29].iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
            })
        });
        bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
        let error = error_of(&bytes);
        assert!(error.contains("take 2048 MiB, at most 1024"), "{error}");
    }

    #[test]
    fn files_that_are_cut_short_are_refused() {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            Rgb([(x * 4) as u8, (y * 4) as u8, (x * y) as u8])
        });
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Bmp,
            ImageFormat::WebP,
        ] {
            let bytes = encoded(image.clone(), format);
            assert!(decode(&bytes, "a", false).is_ok(), "{format:?}");
            for kept in [0, 1, 3, bytes.len() / 3, bytes.len() * 9 / 10] {
                let error = error_of(&bytes[..kept]);
                assert!(
                    error.starts_with("dir/a.png: not a readable image"),
                    "{error}"
                );
            }
        }
        assert!(error_of(&[]).contains("the file is empty"));
        // The end of an embedded thumbnail is not the image's.
        let thumbnail = [&[0xff, 0xe1, 0, 6][..], &[0xff, 0xd9, 0xff, 0xd9]].concat();
        let mut bytes = jpeg(&[77], None);
        bytes.splice(2..2, thumbnail);
        assert!(decode(&bytes, "a", false).is_ok());
        assert!(error_of(&bytes[..bytes.len() - 2]).contains("cut short"));
    }

    #[test]
    fn bytes_behind_the_end_of_a_jpeg_do_not_matter() {
        let whole = jpeg(&[77], None);
        // A start of a scan that no end follows, and a second image cut short.
        for trailer in [&[0xff, 0xda, 0, 8][..], &whole[..whole.len() - 2]] {
            let bytes = [&whole, trailer].concat();
            assert!(decode(&bytes, "a", false).is_ok(), "{trailer:?}");
        }
        let behind = [&whole[..whole.len() - 2], b"no end"].concat();
        assert!(error_of(&behind).contains("cut short"));
    }

    #[test]
    fn an_image_is_turned_upright_where_asked() {
        // Orientation 6 in Exif: the top row of the scene is the right column of the file.
        let exif = [
            b"Exif\0\0II*\0\x08\0\0\0".as_slice(),
            &[1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let mut bytes = encoded(GrayImage::new(12, 8), ImageFormat::Jpeg);
        bytes.splice(2..2, [&[0xff, 0xe1], &length[..], &exif].concat());
        let size = |upright| {
            let image = decode(&bytes, "a", upright).unwrap();
            (image.width(), image.height())
        };
        assert_eq!((size(false), size(true)), ((12, 8), (8, 12)));
    }
}
