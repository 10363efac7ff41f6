//! Writes labeled vectors around random centers, to measure indices on: `FILE ROWS DIM CLASSES`.
//!
//! Centers are uniform in a cube, items scatter around theirs by a third as much in each direction; row i is of class
//! `i mod CLASSES`. The same numbers give the same file.

use nearkin::vectors::{Vectors, write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, numbers @ ..] = arguments.as_slice() else {
        return Err("expected FILE ROWS DIM CLASSES".into());
    };
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|n| n.parse()).collect();
    let [rows, dim, classes] = numbers?[..] else {
        return Err("expected FILE ROWS DIM CLASSES".into());
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut draw = || rng.random_range(-1.0f32..1.0);
    let centers: Vec<f32> = (0..classes * dim).map(|_| draw()).collect();
    let number = |at: usize| centers[at / dim % classes * dim + at % dim] + draw() / 3.0;
    let vectors = Vectors {
        labels: Some((0..rows).map(|i| (i % classes).to_string()).collect()),
        ..Vectors::new(rows, dim, (0..rows * dim).map(number).collect())
    };
    Ok(write(Path::new(file), &vectors)?)
}
