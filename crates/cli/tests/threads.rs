//! What another number of threads changes: the last digits, and with the same number nothing.

#[allow(dead_code, reason = "images and failures are for other tests")]
mod workplace;

use workplace::Workplace;

/// How far losses and gradient norms of the first steps may lie apart, relatively: sums that are cut by the number of threads
/// differ in their last bits, and each step hands that on. docs/design.md tells it.
const TOLERANCE: f64 = 1e-3;

/// Networks with every way of summing that is cut by threads: weight gradients of plain, Winograd's and depthwise
/// convolutions, batch norms, linear layers.
const NETWORKS: [&str; 3] = [
    "convnet = { widths = [16, 24] }",
    "resnet = { blocks = [1, 1], width = 16 }",
    "mobilenet_v3 = { stem = \"small\" }",
];

fn recipe(network: &str) -> String {
    format!(
        r#"
seed = 5
data.source.bundled.name = "glyphs"
data.split.prefix = {{ validation = ["Greek/"], test = ["Arabic/"] }}
sampler.pk = {{ classes = 8, per_class = 4 }}
input = {{ height = 24, width = 24, color = "gray" }}
schedule.warmup = 0
train = {{ steps = 3, evaluate_every = 3, select = "last" }}
loss.multi_similarity = {{}}
network.{network}
"#
    )
}

/// Loss and gradient norm of each step of a run, and the bytes of its weights.
fn train(place: &Workplace, run: &str, threads: &str) -> (Vec<[f64; 2]>, Vec<u8>) {
    let command = ["train", "recipe.toml", "--out", run, "--threads", threads];
    place.run(&command).succeeds();
    let journal = place.read(&format!("{run}/metrics.jsonl"));
    let steps = journal.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Some([line["loss"].as_f64()?, line["gradient_norm"].as_f64()?])
    });
    let steps: Vec<_> = steps.collect();
    assert_eq!(steps.len(), 3, "{journal}");
    let weights = place.path(&format!("{run}/model/model.safetensors"));
    (steps, std::fs::read(weights).unwrap())
}

#[test]
fn another_number_of_threads_changes_the_last_digits_and_the_same_one_none() {
    for network in NETWORKS {
        let place = Workplace::new();
        place.write("recipe.toml", recipe(network).as_bytes());
        let (two, weights) = train(&place, "two", "2");
        assert!(weights == train(&place, "again", "2").1, "{network}");
        for threads in ["1", "3"] {
            let (other, _) = train(&place, threads, threads);
            for (a, b) in two.iter().flatten().zip(other.iter().flatten()) {
                let apart = (a - b).abs() / a.abs();
                assert!(apart < TOLERANCE, "{network}, {threads} threads: {a} {b}");
            }
        }
    }
}
