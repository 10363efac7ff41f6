//! Whole images through decoding, changes and normalization.

use super::*;
use crate::parameters::named_rng;
use image::{GrayImage, ImageFormat, RgbImage};
use std::io::Cursor;

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
        ..Augment::default()
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

/// A picture in which no two pixels are alike.
fn picture(width: u32, height: u32) -> Vec<u8> {
    png(RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 9) as u8, (y * 7) as u8, (x * y) as u8])
    }))
}

/// Everything at once.
fn all_changes() -> Augment {
    Augment {
        flip: true,
        crop: 0.6,
        shift: 0.2,
        rotate: true,
        turned_classes: false,
        landmark_noise: 0.1,
        resized_crop: Some(ResizedCrop::default()),
        affine: Some(Affine::default()),
        color_jitter: Some(serde_json::from_str(r#"{"brightness": 0.5, "hue": 0.2}"#).unwrap()),
        erase: Some(Erase::default()),
    }
}

#[test]
fn one_switch_does_not_change_the_draws_of_another() {
    let bytes = picture(20, 20);
    let input = input(12, 12, Color::Rgb);
    let draw = |augment: &Augment, seed| {
        let mut rng = named_rng(seed, "x");
        input
            .prepare_augmented(&bytes, "a", augment, &mut rng)
            .unwrap()
    };
    let mirrored = |augment: Augment, seed| {
        draw(
            &Augment {
                flip: true,
                ..augment.clone()
            },
            seed,
        ) != draw(&augment, seed)
    };
    let jitter = serde_json::from_str(r#"{"brightness": 0.1}"#).unwrap();
    for seed in 0..20 {
        let plain = mirrored(Augment::default(), seed);
        for other in [
            Augment {
                rotate: true,
                ..Augment::default()
            },
            Augment {
                color_jitter: Some(jitter),
                ..Augment::default()
            },
            Augment {
                resized_crop: Some(ResizedCrop::default()),
                ..Augment::default()
            },
            Augment {
                affine: Some(Affine::default()),
                ..Augment::default()
            },
        ] {
            assert_eq!(mirrored(other, seed), plain, "{seed}");
        }
    }
}

#[test]
fn what_is_decoded_once_gives_the_same_numbers_as_what_is_decoded_each_time() {
    let bytes = picture(31, 17);
    let landmarks = [
        [9.0, 5.0],
        [19.0, 6.0],
        [14.0, 9.0],
        [10.0, 12.0],
        [18.0, 13.0],
    ];
    let encoded = Encoded {
        landmarks: Some(&landmarks),
        region: Some(Region {
            x: 2.0,
            y: 1.0,
            width: 20.0,
            height: 14.0,
        }),
        ..Encoded::new(&bytes, "a")
    };
    for align in [None, Some(Align::Arcface)] {
        let input = ImageInput {
            align,
            ..input(12, 16, Color::Rgb)
        };
        for augment in [
            Augment::default(),
            Augment {
                crop: 0.5,
                ..Augment::default()
            },
            all_changes(),
        ] {
            let once = input.decode(&encoded, &augment).unwrap();
            let draw = |decoded: &Decoded, seed| {
                input.augmented(decoded, &augment, &mut named_rng(seed, "x"))
            };
            let mut seen = std::collections::BTreeSet::new();
            for seed in 0..8 {
                let again = input.decode(&encoded, &augment).unwrap();
                let numbers = draw(&once, seed);
                assert_eq!(numbers, draw(&again, seed));
                assert_eq!(numbers.len(), 12 * 16 * 3);
                seen.insert(numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            }
            assert_eq!(
                seen.len(),
                if augment == Augment::default() { 1 } else { 8 }
            );
        }
    }
}

#[test]
fn turns_are_of_quarters_where_the_input_is_square_and_of_halves_elsewhere() {
    let augment = Augment {
        rotate: true,
        ..Augment::default()
    };
    for (height, width, kinds) in [(4, 4, 4), (4, 6, 2)] {
        let bytes = picture(width, height);
        let input = input(height as usize, width as usize, Color::Rgb);
        let plain = input.prepare(&bytes, "a").unwrap();
        let mut counts = std::collections::BTreeMap::<Vec<u32>, usize>::new();
        for seed in 0..400 {
            let mut rng = named_rng(seed, "turn");
            let turned = input
                .prepare_augmented(&bytes, "a", &augment, &mut rng)
                .unwrap();
            *counts
                .entry(turned.iter().map(|x| x.to_bits()).collect())
                .or_default() += 1;
        }
        assert_eq!(counts.len(), kinds);
        assert!(
            counts.values().all(|&count| count > 280 / kinds),
            "{counts:?}"
        );
        let half: Vec<u32> = plain
            .chunks(3)
            .rev()
            .flatten()
            .map(|x| x.to_bits())
            .collect();
        assert!(counts.contains_key(&half));
    }
}

#[test]
fn a_region_is_cut_out_before_the_image_is_made_to_fit() {
    let bytes = picture(9, 9);
    let region = |x, y, width, height| Encoded {
        region: Some(Region {
            x,
            y,
            width,
            height,
        }),
        ..Encoded::new(&bytes, "dir/a.png")
    };
    let small = input(2, 3, Color::Rgb);
    // Edges are rounded to whole pixels and end at the image's.
    for cut in [region(6.0, 7.0, 3.0, 2.0), region(5.6, 7.3, 90.0, 5.0)] {
        let decoded = small.decode(&cut, &Augment::default()).unwrap();
        let whole = input(9, 9, Color::Rgb).prepare(&bytes, "a").unwrap();
        let want: Vec<f32> = [7, 8]
            .iter()
            .flat_map(|row| whole[(row * 9 + 6) * 3..(row + 1) * 27].to_vec())
            .collect();
        assert_eq!(small.numbers(&decoded), want);
    }
    for outside in [
        region(9.0, 0.0, 4.0, 4.0),
        region(3.0, -8.0, 4.0, 8.0),
        region(1.0, 1.0, 0.2, 5.0),
    ] {
        let error = small
            .decode(&outside, &Augment::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("dir/a.png") && error.contains("9 x 9 pixels"),
            "{error}"
        );
    }
}

#[test]
fn a_face_is_aligned_by_its_landmarks_and_without_them_refused() {
    // A face that lies where the places of a 28 × 28 input are, but moved by (5, 2).
    let places = Align::Arcface.places(28, 28);
    let landmarks = places.map(|[x, y]| [x as f32 + 5.0, y as f32 + 2.0]);
    let bytes = picture(36, 32);
    let input = ImageInput {
        align: Some(Align::Arcface),
        ..input(28, 28, Color::Rgb)
    };
    let encoded = Encoded {
        landmarks: Some(&landmarks),
        ..Encoded::new(&bytes, "a.png")
    };
    let aligned = input.numbers(&input.decode(&encoded, &Augment::default()).unwrap());
    let plain = ImageInput {
        align: None,
        ..input.clone()
    };
    let region = Some(Region {
        x: 5.0,
        y: 2.0,
        width: 28.0,
        height: 28.0,
    });
    let cut = plain
        .decode(&Encoded { region, ..encoded }, &Augment::default())
        .unwrap();
    for (found, want) in aligned.iter().zip(plain.numbers(&cut)) {
        assert!((found - want).abs() < 1.01 / 255.0);
    }
    let none = Encoded {
        landmarks: None,
        ..encoded
    };
    let point = [[3.0, 3.0]; 5];
    let one = Encoded {
        landmarks: Some(&point),
        ..encoded
    };
    for (encoded, words) in [(none, "no landmarks"), (one, "one point")] {
        let error = input
            .decode(&encoded, &Augment::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("a.png") && error.contains(words),
            "{error}"
        );
    }
}
