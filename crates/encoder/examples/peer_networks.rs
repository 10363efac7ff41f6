//! A network's forward pass over one image and over 32, timed for `bench/peers/networks.py`.
//!
//! `peer_networks nn2|nn4|resnet50 ROUNDS [BATCH]` prints one JSON object; the images are those of the script's PyTorch side, the
//! weights are random.

use nearkin_encoder::host::tensor;
use nearkin_encoder::parameters::Scope;
use nearkin_encoder::{DType, Device, Embedder, Head, InputShape, Mode, Network};
use std::time::Instant;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    nearkin_kernels::set_threads(std::env::var("THREADS").map_or(Ok(2), |n| n.parse())?)?;
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("no network is named")?;
    let rounds: usize = arguments.next().ok_or("no number of rounds")?.parse()?;
    let batches = match arguments.next() {
        Some(batch) => vec![batch.parse()?],
        None => vec![1, 32],
    };
    let (settings, side) = match name.as_str() {
        "nn2" => (r#"{"facenet": {"layers": "nn2"}}"#, 220),
        "nn4" => (r#"{"facenet": {"layers": "nn4"}}"#, 96),
        "resnet50" => (
            r#"{"resnet": {"blocks": [3, 4, 6, 3], "bottleneck": true, "stem": "large"}}"#,
            224,
        ),
        _ => return Err(format!("expected nn2, nn4 or resnet50, found {name}").into()),
    };
    let network: Network = serde_json::from_str(settings)?;
    let input = InputShape::Image {
        height: side,
        width: side,
        channels: 3,
    };
    let scope = Scope::new(1, DType::F32, &Device::Cpu).for_inference();
    let embedder = Embedder::on(&network, &Head::default(), input, &scope)?;
    let mut found = serde_json::Map::new();
    for batch in batches {
        let wave = (0..batch * input.numbers()).map(|i| (i as f32 * 0.37).sin());
        let images = tensor(wave.collect(), input.batch(batch))?;
        let mut times = Vec::new();
        for _ in 0..=rounds {
            let start = Instant::now();
            nearkin_kernels::within_pool(|| embedder.forward(&images, Mode::Eval))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.remove(0); // the first warms up
        times.sort_by(f64::total_cmp);
        found.insert(format!("{name}/{batch}"), times[rounds / 2].into());
    }
    found.insert(format!("{name}/peak_rss_mib"), peak_rss_mib()?.into());
    println!("{}", serde_json::Value::from(found));
    Ok(())
}

fn peak_rss_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
