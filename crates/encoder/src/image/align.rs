//! Faces moved, turned and scaled so that five points lie where a network expects them.

use super::Color;
use super::gray::gray;
use image::{DynamicImage, GrayImage, RgbImage};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Five points of a face, `[x, y]` in pixels, where a whole number is the middle of a pixel: the eye that is left in the
/// image, the other eye, the tip of the nose, the corner of the mouth that is left in the image, the other corner.
pub type Landmarks = [[f32; 2]; 5];

/// Where the five points are moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// The places of ArcFace's 112 × 112 input, scaled to the shorter side of the input and centered on the other. Where
    /// that side is a multiple of 128 and not of 112, those of a 128 × 128 input, as its code has them: 8 further right.
    ///
    /// # Reference
    /// J. Deng, J. Guo, N. Xue, S. Zafeiriou, *ArcFace*, CVPR 2019; the points are those of its published code.
    Arcface,
}

impl<'de> Deserialize<'de> for Align {
    /// Reads the name; of anything else serde's own message for a choice would not say what is expected.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Align;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("the name of five places that faces are moved to, \"arcface\"")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Align, E> {
                match name {
                    "arcface" => Ok(Align::Arcface),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
        }
        deserializer.deserialize_str(Name)
    }
}

const ARCFACE: [[f64; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];
/// The side of the input that these places are in.
const SIDE: usize = 112;
/// The side of the other input, and by how much its places are further right.
const WIDE: (usize, f64) = (128, 8.0);

impl Align {
    /// The five places in an input of this size.
    pub(super) fn places(self, height: usize, width: usize) -> [[f64; 2]; 5] {
        let Self::Arcface = self;
        let shorter = height.min(width);
        let (side, right) = if shorter.is_multiple_of(WIDE.0) && !shorter.is_multiple_of(SIDE) {
            WIDE
        } else {
            (SIDE, 0.0)
        };
        let scale = shorter as f64 / side as f64;
        let margin = [width, height].map(|length| (length - shorter) as f64 / 2.0);
        ARCFACE.map(|[x, y]| [(x + right) * scale + margin[0], y * scale + margin[1]])
    }
}

/// A rotation, a scale and a shift: `(x, y) ↦ (a·x − b·y + shift[0], b·x + a·y + shift[1])`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Similarity {
    a: f64,
    b: f64,
    shift: [f64; 2],
}

impl Similarity {
    /// The similarity that moves `from` nearest to `to`, by the sum of squared distances; `None` if `from` is one point.
    ///
    /// In two dimensions the least squares of Umeyama without reflection are those over `a` and `b`, and with
    /// `u = from − mean`, `v = to − mean`: `a = Σ u·v / Σ |u|²`, `b = Σ (u₁v₂ − u₂v₁) / Σ |u|²`.
    ///
    /// # Reference
    /// S. Umeyama, *Least-squares estimation of transformation parameters between two point patterns*, PAMI 13, 1991,
    /// equations 40 to 42.
    pub(super) fn fit(from: &[[f64; 2]; 5], to: &[[f64; 2]; 5]) -> Option<Self> {
        let mean = |points: &[[f64; 2]; 5]| {
            [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / 5.0)
        };
        let (center, target) = (mean(from), mean(to));
        let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
        for (point, place) in from.iter().zip(to) {
            let u = [point[0] - center[0], point[1] - center[1]];
            let v = [place[0] - target[0], place[1] - target[1]];
            dot += u[0] * v[0] + u[1] * v[1];
            cross += u[0] * v[1] - u[1] * v[0];
            square += u[0] * u[0] + u[1] * u[1];
        }
        let (a, b) = (dot / square, cross / square);
        let invertible = a * a + b * b > 0.0 && a.is_finite() && b.is_finite();
        invertible.then(|| Self {
            a,
            b,
            shift: [
                target[0] - (a * center[0] - b * center[1]),
                target[1] - (b * center[0] + a * center[1]),
            ],
        })
    }

    /// The point that is moved to `[x, y]`.
    fn origin_of(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (x, y) = (x - self.shift[0], y - self.shift[1]);
        let square = self.a * self.a + self.b * self.b;
        [
            (self.a * x + self.b * y) / square,
            (self.a * y - self.b * x) / square,
        ]
    }

    /// The moved image; black comes from beyond the edges. Where it shrinks, a pixel is the mean of a grid of points.
    pub(super) fn warp(
        &self,
        image: &DynamicImage,
        size: [usize; 2],
        color: Color,
    ) -> DynamicImage {
        let [height, width] = size.map(|side| side as u32);
        match color {
            Color::Gray => {
                let pixels = gray(image);
                let moved =
                    self.resample::<1>(pixels.as_raw(), [pixels.height(), pixels.width()], size);
                GrayImage::from_raw(width, height, moved).map_or_else(|| image.clone(), Into::into)
            }
            Color::Rgb => {
                let pixels = image.to_rgb8();
                let moved =
                    self.resample::<3>(pixels.as_raw(), [pixels.height(), pixels.width()], size);
                RgbImage::from_raw(width, height, moved).map_or_else(|| image.clone(), Into::into)
            }
        }
    }

    fn resample<const C: usize>(&self, pixels: &[u8], from: [u32; 2], to: [usize; 2]) -> Vec<u8> {
        /// Points a side of a pixel at most: an image is not shrunk further without aliasing.
        const GRID: f64 = 8.0;
        let scale = (self.a * self.a + self.b * self.b).sqrt();
        let grid = (1.0 / scale).ceil().clamp(1.0, GRID) as usize;
        let offsets: Vec<f64> = (0..grid)
            .map(|i| (i as f64 + 0.5) / grid as f64 - 0.5)
            .collect();
        let mut moved = Vec::with_capacity(to[0] * to[1] * C);
        for row in 0..to[0] {
            for col in 0..to[1] {
                let mut sum = [0.0; C];
                for dy in &offsets {
                    for dx in &offsets {
                        let point = self.origin_of([col as f64 + dx, row as f64 + dy]);
                        add_bilinear(&mut sum, pixels, from, point);
                    }
                }
                let count = (grid * grid) as f64;
                moved.extend(sum.map(|value| (value / count).round() as u8));
            }
        }
        moved
    }
}

/// Adds what an image of `[height, width]` shows at a point between its pixels.
fn add_bilinear<const C: usize>(
    sum: &mut [f64; C],
    pixels: &[u8],
    [height, width]: [u32; 2],
    [x, y]: [f64; 2],
) {
    let (left, top) = (x.floor(), y.floor());
    let corners = [
        (left, top, (left + 1.0 - x) * (top + 1.0 - y)),
        (left + 1.0, top, (x - left) * (top + 1.0 - y)),
        (left, top + 1.0, (left + 1.0 - x) * (y - top)),
        (left + 1.0, top + 1.0, (x - left) * (y - top)),
    ];
    for (col, row, weight) in corners {
        if col >= 0.0 && row >= 0.0 && col < f64::from(width) && row < f64::from(height) {
            let at = (row as usize * width as usize + col as usize) * C;
            for (total, &value) in sum.iter_mut().zip(&pixels[at..at + C]) {
                *total += weight * f64::from(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: [[f64; 2]; 5] = [
        [30.0, 42.5],
        [71.0, 39.0],
        [52.0, 60.0],
        [37.0, 81.0],
        [68.5, 77.0],
    ];

    /// Least squares over `(a, b, shift)` by the normal equations, slow and plain.
    fn reference(from: &[[f64; 2]; 5], to: &[[f64; 2]; 5]) -> [f64; 4] {
        let mut system = [[0.0; 5]; 4];
        for (&[x, y], &[u, v]) in from.iter().zip(to) {
            for (row, right) in [([x, -y, 1.0, 0.0], u), ([y, x, 0.0, 1.0], v)] {
                for i in 0..4 {
                    for j in 0..4 {
                        system[i][j] += row[i] * row[j];
                    }
                    system[i][4] += row[i] * right;
                }
            }
        }
        for pivot in 0..4 {
            for row in 0..4 {
                if row != pivot {
                    let factor = system[row][pivot] / system[pivot][pivot];
                    let subtracted = system[pivot];
                    for (number, other) in system[row].iter_mut().zip(subtracted) {
                        *number -= factor * other;
                    }
                }
            }
        }
        [0, 1, 2, 3].map(|i| system[i][4] / system[i][i])
    }

    #[test]
    fn the_similarity_solves_the_normal_equations() {
        for places in [
            Align::Arcface.places(112, 112),
            Align::Arcface.places(64, 96),
            FACE,
        ] {
            let found = Similarity::fit(&FACE, &places).unwrap();
            let found = [found.a, found.b, found.shift[0], found.shift[1]];
            for (f, w) in found.iter().zip(reference(&FACE, &places)) {
                assert!((f - w).abs() < 1e-9, "{found:?}");
            }
        }
        // Points turned by 90°, doubled and moved come from exactly that.
        let moved = FACE.map(|[x, y]| [-2.0 * y + 7.0, 2.0 * x - 3.0]);
        let found = Similarity::fit(&FACE, &moved).unwrap();
        assert!((found.a).abs() < 1e-12 && (found.b - 2.0).abs() < 1e-12);
        let [x, y] = found.origin_of(moved[2]);
        assert!((x - FACE[2][0]).abs() < 1e-9 && (y - FACE[2][1]).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_name_of_places_is_told_the_name() {
        let read = |json: &str| serde_json::from_str::<Align>(json);
        assert_eq!(read("\"arcface\"").unwrap(), Align::Arcface);
        for wrong in ["{}", "true", "\"eyes\"", "[]"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(
                error.contains("five places") && error.contains("\"arcface\""),
                "{error}"
            );
        }
    }

    #[test]
    fn one_point_five_times_has_no_similarity() {
        assert!(Similarity::fit(&[[3.0, 4.0]; 5], &FACE).is_none());
        assert!(Similarity::fit(&FACE, &[[3.0, 4.0]; 5]).is_none());
    }

    #[test]
    fn places_are_scaled_to_the_shorter_side_and_centered_on_the_other() {
        assert_eq!(Align::Arcface.places(112, 112), ARCFACE);
        let wide = Align::Arcface.places(56, 76);
        assert_eq!(wide[2], [56.0252 / 2.0 + 10.0, 71.7366 / 2.0]);
    }

    #[test]
    fn places_of_an_input_of_128_are_further_right() {
        assert_eq!(Align::Arcface.places(128, 128)[0], [46.2946, 51.6963]);
        assert_eq!(Align::Arcface.places(256, 256)[0], [92.5892, 103.3926]);
        assert_eq!(Align::Arcface.places(896, 896)[0][0], 38.2946 * 8.0);
    }

    #[test]
    fn a_warp_moves_turns_and_shrinks_pixels() {
        let image = GrayImage::from_fn(4, 4, |x, y| image::Luma([(x * 50 + y * 7) as u8]));
        let pixels = |similarity: Similarity, size| {
            let image = DynamicImage::from(image.clone());
            similarity
                .warp(&image, size, Color::Gray)
                .to_luma8()
                .into_raw()
        };
        let similarity = |a, b, shift| Similarity { a, b, shift };
        assert_eq!(
            pixels(similarity(1.0, 0.0, [0.0, 0.0]), [4, 4]),
            image.clone().into_raw()
        );
        // Moved by half a pixel to the right: means of neighbors, half of the first from beyond the edge.
        assert_eq!(
            pixels(similarity(1.0, 0.0, [0.5, 0.0]), [1, 4]),
            [0, 25, 75, 125]
        );
        // A quarter turn: (x, y) goes to (3 − y, x).
        let turned = pixels(similarity(0.0, 1.0, [3.0, 0.0]), [4, 4]);
        let want = GrayImage::from_fn(4, 4, |x, y| *image.get_pixel(y, 3 - x));
        assert_eq!(turned, want.into_raw());
        // Half the size: each pixel the mean of four.
        let shrunk = pixels(similarity(0.5, 0.0, [-0.25, -0.25]), [2, 2]);
        let mean = |x: u32, y: u32| 50.0 * (f64::from(x) + 0.5) + 7.0 * (f64::from(y) + 0.5);
        let want: Vec<u8> = [(0, 0), (2, 0), (0, 2), (2, 2)]
            .map(|(x, y)| mean(x, y).round() as u8)
            .to_vec();
        assert_eq!(shrunk, want);
    }
}
