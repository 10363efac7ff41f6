//! Networks with the names, the shapes and the numbers of torchvision, timm and facenet-pytorch, and of the papers' tables.
//!
//! The file `golden/architectures.json` holds outputs, and of each gradient its norm and its product with a formula; the
//! script beside it says how. Weights and images are formulas, the weights by their names: a network that calls a tensor
//! otherwise gets other numbers.

use nearkin_encoder::host::{Host, tensor};
use nearkin_encoder::network::{Facenet, Vit, facenet::Variant};
use nearkin_encoder::parameters::{Parameter, Scope, Storage};
use nearkin_encoder::weights::{self, Tensors};
use nearkin_encoder::{Embedder, Head, InputShape, Mode, Network, Tensor, tape};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    #[serde(rename = "made_by")]
    _made_by: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    network: Network,
    head: Head,
    side: usize,
    batch: usize,
    count: usize,
    evaluated: Vec<f64>,
    trained: Vec<f64>,
    /// Of each parameter the product with the formula, and the norm.
    gradients: BTreeMap<String, [f64; 2]>,
}

/// How near the outputs must come, relative to the largest.
const TOLERANCE: f64 = 1e-4;

/// How near gradients must come, relative to their norm. Four of the networks come within 1e-4 everywhere; in the deepest
/// some ReLU or maximum is so near its kink that rounding decides it, which moves all gradients before it by a percent.
const MEDIAN_ERROR: f64 = 0.02;
const WORST_ERROR: f64 = 0.1;

fn cases() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("golden/architectures.json")).unwrap();
    golden.cases
}

/// `u` of the script.
fn u(name: &str, count: usize) -> Vec<f64> {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let number = |i: usize| {
        let mut x = (i as u32).wrapping_mul(0x9e37_79b1).wrapping_add(hash);
        for multiplier in [0x7feb_352d, 0x846c_a68b] {
            x = (x ^ (x >> 16)).wrapping_mul(multiplier);
        }
        x ^= x >> 16;
        (f64::from(x) + 0.5) / 2f64.powi(31) - 1.0
    };
    (0..count).map(number).collect()
}

/// `filling` of the script.
fn filling(name: &str, shape: &[usize]) -> (f64, f64) {
    if name.ends_with("running_var") {
        (0.3, 1.0)
    } else if shape.len() > 1 {
        (
            (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
            0.0,
        )
    } else if name.ends_with("weight") {
        (0.2, 1.0)
    } else {
        (0.1, 0.0)
    }
}

/// The tensors of a parameter in a weight file, by formula.
fn stored(p: &Parameter) -> Vec<(String, Tensor)> {
    let shape = p.storage.shape_in_file(p.var.dims());
    let of = |name: &String| {
        let (scale, shift) = filling(name, &shape);
        let numbers = u(name, shape.iter().product()).into_iter();
        let numbers = numbers.map(|x| (shift + scale * x) as f32).collect();
        (name.clone(), tensor(numbers, &shape[..]).unwrap())
    };
    p.stored.iter().map(of).collect()
}

impl Case {
    fn input(&self) -> InputShape {
        InputShape::Image {
            height: self.side,
            width: self.side,
            channels: 3,
        }
    }

    /// The network with the weights of the script, through a weight file.
    fn embedder(&self) -> Embedder {
        let embedder =
            Embedder::on(&self.network, &self.head, self.input(), &Scope::blank()).unwrap();
        let tensors: Tensors = embedder.parameters().iter().flat_map(stored).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        weights::write(&tensors, &path).unwrap();
        weights::load(embedder.parameters(), &path).unwrap();
        embedder
    }

    fn images(&self) -> Tensor {
        let numbers = u("images", self.batch * self.input().numbers());
        let numbers = numbers.into_iter().map(|x| x as f32).collect();
        tensor(numbers, self.input().batch(self.batch)).unwrap()
    }
}

/// A gradient as the script lays it out: of several tensors in a file, each for itself.
fn in_file(p: &Parameter, gradient: &Tensor) -> Vec<(String, Vec<f32>)> {
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let laid = match p.storage {
        Storage::Kernel => numbers(
            &gradient
                .permute((0, 3, 1, 2))
                .unwrap()
                .contiguous()
                .unwrap(),
        ),
        _ => numbers(gradient),
    };
    let each = laid.len() / p.stored.len();
    let parts = p.stored.iter().zip(laid.chunks(each));
    parts
        .map(|(name, part)| (name.clone(), part.to_vec()))
        .collect()
}

fn assert_close(what: &str, found: &Tensor, golden: &[f64], tolerance: f64) {
    let found = found.flatten_all().unwrap();
    let found = Host::new(&found).unwrap();
    assert_eq!(found.len(), golden.len(), "{what}");
    let scale = golden.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let error = found
        .iter()
        .zip(golden)
        .map(|(x, y)| (f64::from(*x) - y).abs() / scale)
        .fold(0.0, f64::max);
    assert!(
        error <= tolerance,
        "{what}: off by {error:.2e} of the largest"
    );
}

#[test]
fn outputs_equal_pytorch_in_evaluation_and_in_training() {
    for case in cases() {
        let embedder = case.embedder();
        assert_eq!(embedder.parameters().count(), case.count, "{}", case.name);
        let images = case.images();
        let evaluated = embedder.forward(&images, Mode::Eval).unwrap();
        assert_close(
            &format!("{} evaluated", case.name),
            &evaluated,
            &case.evaluated,
            TOLERANCE,
        );
        let trained = embedder.forward(&images, Mode::Replay).unwrap();
        assert_close(
            &format!("{} trained", case.name),
            &trained,
            &case.trained,
            TOLERANCE,
        );
    }
}

#[test]
fn every_gradient_equals_pytorchs() {
    for case in cases() {
        let embedder = case.embedder();
        let images = case.images();
        let (y, tape) = tape::record(|| embedder.forward(&images, Mode::Train)).unwrap();
        let upstream = u("loss", y.elem_count()).into_iter().map(|x| x as f32);
        let gradients = tape.backward(&y, upstream.collect()).unwrap();
        // A gradient that mathematics has as zero is rounding, to be measured by the others.
        let floor = 1e-3
            * case
                .gradients
                .values()
                .map(|[_, norm]| *norm)
                .fold(0.0, f64::max);
        let mut errors = Vec::new();
        for p in embedder.parameters().learned() {
            let gradient = gradients
                .get(&p.var)
                .unwrap_or_else(|| panic!("{}: no gradient of {}", case.name, p.name));
            for (name, numbers) in in_file(p, gradient) {
                let [product, norm] = case.gradients[&name];
                let formula = u(&format!("gradient of {name}"), numbers.len());
                let pairs = numbers.iter().zip(&formula);
                let found: f64 = pairs.map(|(&g, f)| f64::from(g) * f).sum();
                errors.push(((found - product).abs() / norm.max(floor), name));
            }
        }
        assert_eq!(errors.len(), case.gradients.len(), "{}", case.name);
        errors.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (median, worst) = (&errors[errors.len() / 2], &errors[errors.len() - 1]);
        assert!(
            median.0 <= MEDIAN_ERROR && worst.0 <= WORST_ERROR,
            "{}: {median:?} in the middle, {worst:?} at worst",
            case.name
        );
    }
}

/// The learned numbers of the layers whose names begin so, weights alone or all.
fn count(network: &Network, [height, width]: [usize; 2], head: usize, start: &str) -> usize {
    let input = InputShape::Image {
        height,
        width,
        channels: 3,
    };
    let head = Head {
        dim: head,
        ..Head::default()
    };
    let embedder = Embedder::on(network, &head, input, &Scope::blank()).unwrap();
    let of = |p: &&Parameter| p.name.starts_with(start) && p.name.ends_with("weight");
    embedder
        .parameters()
        .learned()
        .filter(of)
        .map(|p| p.var.elem_count())
        .sum()
}

fn facenet(layers: Variant) -> Network {
    Network::Facenet(Facenet {
        layers,
        ..Facenet::default()
    })
}

/// Table 1 of the FaceNet paper, whose column of parameters is these numbers in thousands and millions.
#[test]
fn nn1_has_the_weights_of_its_table() {
    let rows = [
        ("conv1.", 9_408),
        ("conv2a.", 4_096),
        ("conv2.", 110_592),
        ("conv3a.", 36_864),
        ("conv3.", 663_552),
        ("conv4a.", 147_456),
        ("conv4.", 884_736),
        ("conv5a.", 65_536),
        ("conv5.", 589_824),
        ("conv6a.", 65_536),
        ("conv6.", 589_824),
        ("fc1.", 102_760_448),
        ("fc2.", 33_554_432),
        ("embedding.", 524_288),
        ("", 140_006_592),
    ];
    for (start, weights) in rows {
        assert_eq!(
            count(&facenet(Variant::Nn1), [220, 220], 128, start),
            weights,
            "{start}"
        );
    }
}

/// Table 2.
#[test]
fn nn2_has_the_weights_of_its_table() {
    let rows = [
        ("conv1.", 9_408),
        ("conv2", 114_688),
        ("inception3a", 163_328),
        ("inception3b", 227_328),
        ("inception3c", 397_312),
        ("inception4a", 544_768),
        ("inception4b", 594_432),
        ("inception4c", 653_312),
        ("inception4d", 721_408),
        ("inception4e", 716_800),
        ("inception5a", 1_587_200),
        ("inception5b", 1_587_200),
        ("embedding.", 131_072),
        ("", 7_448_256),
    ];
    for (start, weights) in rows {
        assert_eq!(
            count(&facenet(Variant::Nn2), [224, 224], 128, start),
            weights,
            "{start}"
        );
    }
    assert_eq!(
        count(&facenet(Variant::Nn3), [160, 160], 128, ""),
        7_448_256
    );
}

/// OpenFace's reading of NN4, and ours of the two whose layers are not published.
#[test]
fn the_smaller_facenets_have_the_weights_of_their_readings() {
    let without = 2 * (1024 * 48 + 48 * 128 * 25) + 128 * (384 + 192 + 128);
    let fewer = 7_448_256 - without - 128 * 128;
    assert_eq!(count(&facenet(Variant::Nn4), [96, 96], 128, ""), fewer);
    for (layers, size, weights) in [
        (Variant::Nns1, [165, 165], 2_873_696),
        (Variant::Nns2, [140, 116], 4_197_528),
    ] {
        assert_eq!(
            count(&facenet(layers), size, 128, ""),
            weights,
            "{layers:?}"
        );
    }
}

/// `sum(p.numel() for p in m.parameters())` of the models with 1000 classes; of Inception-v3 and GoogLeNet without
/// auxiliary classifiers.
#[test]
fn whole_networks_have_the_parameters_of_their_origins() {
    let large = |blocks: &str, more: &str| {
        format!(r#"{{"resnet": {{"blocks": {blocks}, "stem": "large"{more}}}}}"#)
    };
    for (network, parameters) in [
        (large("[2, 2, 2, 2]", ""), 11_689_512),
        (large("[3, 4, 6, 3]", ""), 21_797_672),
        (large("[3, 4, 6, 3]", r#", "bottleneck": true"#), 25_557_032),
        (r#"{"googlenet": {}}"#.into(), 6_624_904),
        (r#"{"inception_v3": {}}"#.into(), 23_834_568),
        (r#"{"mobilenet_v3": {}}"#.into(), 2_542_856),
        // Caffe's AlexNet, whose images have 227 pixels a side.
        (r#"{"alexnet": {}}"#.into(), 60_965_224),
        (
            r#"{"alexnet": {"layout": "torchvision"}}"#.into(),
            61_100_840,
        ),
        (r#"{"vit": {}}"#.into(), 22_050_664),
    ] {
        let network: Network = serde_json::from_str(&network).unwrap();
        let input = InputShape::Image {
            height: 227,
            width: 227,
            channels: 3,
        };
        let head = Head {
            dim: 1000,
            ..Head::default()
        };
        let embedder = Embedder::on(&network, &head, input, &Scope::blank()).unwrap();
        assert_eq!(embedder.parameters().count(), parameters, "{network:?}");
    }
}

#[test]
fn torchvisions_alexnet_has_the_weights_of_its_features() {
    let network: Network =
        serde_json::from_str(r#"{"alexnet": {"layout": "torchvision"}}"#).unwrap();
    let input = InputShape::Image {
        height: 224,
        width: 224,
        channels: 3,
    };
    let embedder = Embedder::on(&network, &Head::default(), input, &Scope::blank()).unwrap();
    let of = |start: &str| -> usize {
        let parameters = embedder.parameters().iter();
        let found = parameters.filter(|p| p.name.starts_with(start));
        found.map(|p| p.var.elem_count()).sum()
    };
    assert_eq!(of("features."), 2_469_696);
    assert_eq!(of("classifier."), 4096 * (9216 + 1) + 4096 * (4096 + 1));
}

#[test]
fn a_network_larger_than_the_image_names_the_layer() {
    let deep = r#"{"inception_v3": {}}"#;
    for (network, side, layer) in [
        (deep, 74, "Mixed_7a.branch3x3_2.conv"),
        (deep, 2, "Conv2d_1a_3x3.conv"),
        (
            r#"{"inception_resnet_v1": {}}"#,
            60,
            "mixed_7a.branch0.1.conv",
        ),
        (r#"{"vit": {}}"#, 15, "patch_embed.proj"),
    ] {
        let network: Network = serde_json::from_str(network).unwrap();
        let input = InputShape::Image {
            height: side,
            width: 300,
            channels: 3,
        };
        let error = Embedder::on(&network, &Head::default(), input, &Scope::blank());
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{layer}: the feature map is")),
            "{error}"
        );
    }
}

#[test]
fn weights_of_another_network_name_the_first_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let vit = |width| {
        let network = Network::Vit(Vit {
            width,
            depth: 1,
            ..Vit::default()
        });
        let input = InputShape::Image {
            height: 16,
            width: 16,
            channels: 3,
        };
        Embedder::on(&network, &Head::default(), input, &Scope::blank()).unwrap()
    };
    weights::save(vit(12).parameters(), &path).unwrap();
    let error = |embedder: &Embedder| {
        weights::load(embedder.parameters(), &path)
            .unwrap_err()
            .to_string()
    };
    let found = error(&vit(24));
    assert!(
        found.contains("\"patch_embed.proj.weight\" has shape [12, 3, 16, 16], expected [24,"),
        "{found}"
    );
    let resnet = cases().remove(0);
    let other = Embedder::on(
        &resnet.network,
        &resnet.head,
        resnet.input(),
        &Scope::blank(),
    )
    .unwrap();
    let found = error(&other);
    assert!(found.contains("\"conv1.weight\" is missing"), "{found}");
}

#[test]
fn a_head_without_a_layer_says_how_many_features_there_are() {
    let head = Head {
        dim: 128,
        linear: false,
        ..Head::default()
    };
    let network: Network = serde_json::from_str(r#"{"casia": {}}"#).unwrap();
    let input = InputShape::Image {
        height: 100,
        width: 100,
        channels: 1,
    };
    let error = Embedder::on(&network, &head, input, &Scope::blank())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("head.dim: expected 320, the network's features"),
        "{error}"
    );
    let head = Head { dim: 320, ..head };
    assert!(Embedder::on(&network, &head, input, &Scope::blank()).is_ok());
}
