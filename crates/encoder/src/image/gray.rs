//! What is left of colors in one channel.

use image::{DynamicImage, GrayImage, Luma};

/// The luma of an image, `(0.299 R + 0.587 G + 0.114 B)` of each pixel in steps of 2⁻¹⁶, rounded: what Pillow's
/// `convert("L")` gives, and with it the data sets of torchvision. Gray images stay what they are.
///
/// # Reference
/// ITU-R BT.601-7, section 2.5.1.
pub(super) fn gray(image: &DynamicImage) -> GrayImage {
    if !image.color().has_color() {
        return image.to_luma8();
    }
    let colors = image.to_rgb8();
    let mut gray = GrayImage::new(colors.width(), colors.height());
    for (to, from) in gray.pixels_mut().zip(colors.pixels()) {
        *to = luma(from.0);
    }
    gray
}

fn luma(pixel: [u8; 3]) -> Luma<u8> {
    const ONE: u32 = 1 << 16;
    // 0.299, 0.587 and 0.114 of it; they add up to it.
    const WEIGHTS: [u32; 3] = [19_595, 38_470, 7_471];
    let sum: u32 = pixel
        .iter()
        .zip(WEIGHTS)
        .map(|(&channel, weight)| u32::from(channel) * weight)
        .sum();
    Luma([((sum + ONE / 2) / ONE) as u8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgb, RgbImage};

    #[test]
    fn colors_have_the_luma_of_pillow() {
        // `Image.new("RGB", (1, 1), color).convert("L")`
        let known = [
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([10, 200, 90], 131),
            ([254, 1, 77], 85),
            ([255, 255, 255], 255),
        ];
        for (color, want) in known {
            let image = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb(color)));
            assert_eq!(gray(&image).into_raw(), [want], "{color:?}");
        }
    }

    #[test]
    fn every_gray_stays_what_it_is() {
        for value in 0..=255 {
            let color = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb([value; 3])));
            assert_eq!(gray(&color).into_raw(), [value]);
            let plain = DynamicImage::from(GrayImage::from_pixel(1, 1, Luma([value])));
            assert_eq!(gray(&plain).into_raw(), [value]);
        }
        let deep = ImageBuffer::from_pixel(1, 1, Luma([128 * 257_u16]));
        assert_eq!(gray(&DynamicImage::ImageLuma16(deep)).into_raw(), [128]);
    }
}
