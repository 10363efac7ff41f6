//! The Rust side of `bench/peers/{encode,minilm,modules}.py`: embeds the lines of a file with a sentence encoder.
//!
//! `peer_encode MODEL TEXTS ROUNDS [VECTORS [FOLDER]]` prints seconds of each round, without loading, as JSON; the vectors of the last
//! round are written as little-endian `f32`, and the model into an existing folder. `COMPUTE=int8` computes in bytes; `PACKED=1`
//! packs the weights once, before the rounds, as a program does that embeds for long. `THREADS` is 2 where it is not given.

use nearkin_encoder::text::{Compute, Embedder, Options, SentenceEncoder};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, rounds, vectors @ ..] = &arguments[..] else {
        return Err("expected MODEL TEXTS ROUNDS [VECTORS [FOLDER]]".into());
    };
    let threads = std::env::var("THREADS").map_or(Ok(2), |threads| threads.parse())?;
    nearkin_kernels::set_threads(threads)?;
    let started = Instant::now();
    let encoder = SentenceEncoder::load(Path::new(model))?;
    let loaded = started.elapsed().as_secs_f64();
    let text = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = text.lines().collect();
    let mut options = Options::default();
    if std::env::var("COMPUTE").is_ok_and(|compute| compute == "int8") {
        options.compute = Compute::Int8;
    }
    let packed = match std::env::var_os("PACKED") {
        Some(_) => Some(Embedder::new(&encoder, options.clone())?),
        None => None,
    };
    let mut seconds = Vec::new();
    let mut numbers = Vec::new();
    for _ in 0..rounds.parse::<usize>()? {
        let started = Instant::now();
        let encoded = match &packed {
            Some(packed) => packed.encode(&texts, &mut |_| {})?,
            None => encoder.encode(&texts, &options, &mut |_| {})?,
        };
        seconds.push(started.elapsed().as_secs_f64());
        numbers = encoded.numbers;
    }
    if let [path, ..] = vectors {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(path, bytes)?;
    }
    if let [_, folder, ..] = vectors {
        encoder.save(Path::new(folder))?;
    }
    println!(
        "{}",
        serde_json::json!({ "load": loaded, "seconds": seconds })
    );
    Ok(())
}
