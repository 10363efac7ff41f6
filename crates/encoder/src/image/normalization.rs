//! From pixel values to numbers.

use serde::{Deserialize, Serialize};

/// How pixel values in 0..=1 become numbers: `(value − mean) / deviation`, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Mean 0, deviation 1.
    Unit,
    /// Mean 0.5, deviation 0.5: numbers in −1..=1; also called `half`.
    #[serde(alias = "half")]
    Centered,
    /// The means and deviations of `ImageNet`'s training images.
    Imagenet,
    /// `(byte − 127.5) / 128`, as FaceNet's models in PyTorch read images.
    Fixed,
    /// Mean and deviation of the image itself, over all its numbers, as FaceNet's models in TensorFlow read images. The
    /// deviation is at least that of one step in one number, `1 / (255 √N)`, so that a blank image becomes zeros.
    Whitened,
}

impl Normalization {
    /// Scales the numbers of one image, `[H, W, C]`, in place.
    pub(super) fn apply(self, numbers: &mut [f32], channels: usize) {
        let of: [(f32, f32); 3] = match self {
            Self::Unit => [(0.0, 1.0); 3],
            Self::Centered => [(0.5, 0.5); 3],
            Self::Imagenet => [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)],
            Self::Fixed => [(0.5, 128.0 / 255.0); 3],
            Self::Whitened => [moments(numbers); 3],
        };
        for pixel in numbers.chunks_exact_mut(channels) {
            for (number, (mean, deviation)) in pixel.iter_mut().zip(of) {
                *number = (*number - mean) / deviation;
            }
        }
    }
}

/// Mean and deviation of an image's numbers.
fn moments(numbers: &[f32]) -> (f32, f32) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares = numbers.iter().map(|&x| (f64::from(x) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    let least = 1.0 / (255.0 * count.sqrt());
    (mean as f32, deviation.max(least) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(normalization: Normalization, bytes: &[u8]) -> Vec<f32> {
        let mut numbers: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
        normalization.apply(&mut numbers, 3);
        numbers
    }

    fn assert_near(found: &[f32], want: &[f64]) {
        for (&f, w) in found.iter().zip(want) {
            assert!((f64::from(f) - w).abs() < 1e-5, "{found:?}, not {want:?}");
        }
    }

    #[test]
    fn presets_are_their_formulas() {
        let bytes = [0, 51, 255, 102, 204, 153];
        let of = |formula: fn(usize, f64) -> f64| {
            let numbers = bytes.iter().enumerate();
            numbers
                .map(|(at, &b)| formula(at % 3, f64::from(b)))
                .collect::<Vec<f64>>()
        };
        assert_near(&applied(Normalization::Unit, &bytes), &of(|_, b| b / 255.0));
        assert_near(
            &applied(Normalization::Centered, &bytes),
            &of(|_, b| b / 127.5 - 1.0),
        );
        assert_near(
            &applied(Normalization::Fixed, &bytes),
            &of(|_, b| (b - 127.5) / 128.0),
        );
        let imagenet = of(|channel, b| {
            let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
            (b / 255.0 - mean[channel]) / deviation[channel]
        });
        assert_near(&applied(Normalization::Imagenet, &bytes), &imagenet);
    }

    #[test]
    fn a_whitened_image_has_mean_0_and_deviation_1_and_a_blank_one_is_zeros() {
        // Mean 2, deviation √(8/3) · 1 in bytes: worked by hand from (0, 2, 4), twice.
        let white = applied(Normalization::Whitened, &[0, 2, 4, 0, 2, 4]);
        let side = 1.5f64.sqrt();
        assert_near(&white, &[-side, 0.0, side, -side, 0.0, side]);
        assert_near(&applied(Normalization::Whitened, &[77; 6]), &[0.0; 6]);
        // One byte off in 100 numbers: the deviation √99/100 is just below the least, 1/10.
        let mut bytes = [10; 99];
        bytes[0] = 11;
        let white = applied(Normalization::Whitened, &bytes);
        let (mean, least) = (10.0 + 1.0 / 99.0, 1.0 / 99f64.sqrt());
        assert_near(&white[..2], &[(11.0 - mean) / least, (10.0 - mean) / least]);
    }

    #[test]
    fn half_is_another_name_of_centered() {
        #[derive(Deserialize)]
        struct Table {
            of: Normalization,
        }
        let table: Table = serde_json::from_str(r#"{"of": "half"}"#).unwrap();
        assert_eq!(table.of, Normalization::Centered);
    }
}
