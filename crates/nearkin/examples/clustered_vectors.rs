//! Writes labeled vectors around random centers, to measure search on: `FILE ROWS DIM CLASSES [SEED]`.
//!
//! Centers are uniform in a cube, items scatter around theirs by a third as much in each direction; row i is of class
//! `i mod CLASSES`. The same numbers give the same file; another seed gives other items around the same centers, such as
//! queries for a gallery.

use nearkin::vectors::{Vectors, write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, numbers @ ..] = arguments.as_slice() else {
        return Err("expected FILE ROWS DIM CLASSES [SEED]".into());
    };
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|n| n.parse()).collect();
    let (rows, dim, classes, seed) = match numbers?[..] {
        [rows, dim, classes] => (rows, dim, classes, None),
        [rows, dim, classes, seed] => (rows, dim, classes, Some(seed as u64)),
        _ => return Err("expected FILE ROWS DIM CLASSES [SEED]".into()),
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let draw = |rng: &mut ChaCha8Rng| rng.random_range(-1.0f32..1.0);
    let centers: Vec<f32> = (0..classes * dim).map(|_| draw(&mut rng)).collect();
    if let Some(seed) = seed {
        rng = ChaCha8Rng::seed_from_u64(seed);
    }
    let number = |at: usize| centers[at / dim % classes * dim + at % dim] + draw(&mut rng) / 3.0;
    let vectors = Vectors {
        labels: Some((0..rows).map(|i| (i % classes).to_string()).collect()),
        ..Vectors::new(rows, dim, (0..rows * dim).map(number).collect())
    };
    Ok(write(Path::new(file), &vectors)?)
}
