//! Search of items among themselves and its measures, timed for `bench/peers/evaluate.py`.
//!
//! Takes a file of labeled vectors and the work (`top`, with K, or `measures`, with the cut-offs), and prints one JSON
//! object: seconds without reading the file, the peak of the process's memory in MiB, and what was found, for a check.

use nearkin::Mat;
use nearkin::evaluate::{Options, retrieval};
use nearkin::search::{Similarity, neighbors_among};
use nearkin::vectors;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    nearkin_kernels::set_threads(std::env::var("THREADS").map_or(Ok(2), |n| n.parse())?)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, work, numbers @ ..] = arguments.as_slice() else {
        return Err("expected FILE, top or measures, and numbers".into());
    };
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|n| n.parse()).collect();
    let numbers = numbers?;
    let vectors = vectors::read(Path::new(file))?;
    let matrix = Mat::new(&vectors.data, vectors.rows, vectors.dim);
    let start = Instant::now();
    let found = if work == "top" {
        let k = *numbers.first().ok_or("expected K")?;
        let lists = neighbors_among(matrix, Similarity::Cosine, k)?;
        // Of the last item the last neighbor's number.
        json!(lists.row(vectors.rows - 1).last())
    } else {
        let labels = vectors.labels.as_ref().ok_or("expected labels")?;
        let labels: Result<Vec<u32>, _> = labels.iter().map(|label| label.parse()).collect();
        let options = Options {
            ks: numbers,
            ..Options::quick()
        };
        let found = retrieval(matrix, &labels?, &options)?;
        let recall: Vec<f64> = found.recall().map(|(_, recall)| recall.value).collect();
        json!({ "recall": recall, "map_at_r": found.map_at_r.value })
    };
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    println!(
        "{}",
        json!({ "seconds": seconds, "peak_mib": kib / 1024.0, "found": found })
    );
    Ok(())
}
