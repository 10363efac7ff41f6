//! Decoding and augmentation of a folder of images, timed for `bench/peers/image_pipeline.py`.
//!
//! Takes the folder and prints one JSON object: milliseconds an image, read and decoded anew each time, and from the
//! cache of decoded images.

use nearkin::data::{Dataset, Source};
use nearkin::feed::{Changes, Feed};
use nearkin::recipe::Document;
use nearkin_encoder::model::Input;
use std::sync::Arc;
use std::time::Instant;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What the other side does: a random resized crop to 64 × 64, mirroring, color jitter, `ImageNet`'s normalization.
const RECIPE: &str = r#"
    [data.source.bundled]
    name = "glyphs"
    [input]
    normalization = "imagenet"
    [augment]
    flip = true
    resized_crop = {}
    color_jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }
    [network.convnet]
    [loss.triplet_margin]
"#;

fn main() -> Outcome<()> {
    nearkin_kernels::set_threads(std::env::var("THREADS").map_or(Ok(2), |n| n.parse())?)?;
    let folder = std::env::args()
        .nth(1)
        .ok_or("expected a folder of class folders")?;
    let source: Source = toml::from_str(&format!("[folder]\npath = {folder:?}"))?;
    let dataset = Arc::new(Dataset::open(&source)?);
    let recipe = Document::parse("peer", RECIPE)?.recipe()?;
    let feed = Feed::new(dataset, Input::Image(recipe.input.clone()), 0.0)?;
    let once = |feed: &Feed, seed| -> Outcome<f64> {
        let items: Vec<usize> = (0..feed.dataset().len()).collect();
        let start = Instant::now();
        for (step, batch) in (0..).zip(items.chunks(BATCH)) {
            let augment = &recipe.augment;
            let changes = Changes {
                augment,
                seed,
                step,
            };
            std::hint::black_box(feed.batch(batch, Some(changes))?);
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / items.len() as f64)
    };
    once(&feed, 0)?;
    let decoded = once(&feed, 1)?;
    let cached = feed.with_cache(4096);
    once(&cached, 2)?;
    let kept = once(&cached, 3)?;
    println!("{{\"decoded\": {decoded:.4}, \"cached\": {kept:.4}}}");
    Ok(())
}
