//! Every network of the catalogue: gradients, determinism, errors.

use candle_core::Var;
use nearkin_encoder::host::tensor;
use nearkin_encoder::network::{
    Alexnet, AlexnetLayout, AlexnetStem, Casia, Convnet, Facenet, Googlenet, InceptionResnetV1,
    InceptionV3, InputShape, Mlp, MobilenetV3, Network, Resnet, Stem, Vit, Width, convnet::Reduce,
    facenet::Variant,
};
use nearkin_encoder::parameters::Scope;
use nearkin_encoder::stored::Stored;
use nearkin_encoder::{DType, Device, Embedder, Head, Mode, Tensor, op, tape, weights};

fn square(side: usize) -> InputShape {
    InputShape::Image {
        height: side,
        width: side,
        channels: 3,
    }
}

fn head() -> Head {
    Head {
        dim: 8,
        ..Head::default()
    }
}

/// A network with the shape of its input.
struct Trial {
    network: Network,
    input: InputShape,
}

/// Every network of the catalogue, narrow, in each of its forms.
fn networks() -> Vec<Trial> {
    let small = |network: Network| match network {
        Network::Convnet(_) => [Reduce::Flatten, Reduce::Average]
            .map(|reduce| {
                let widths = vec![4, 6];
                Network::Convnet(Convnet { widths, reduce })
            })
            .into(),
        Network::Resnet(_) => resnets(),
        Network::Mlp(_) => vec![
            Network::Mlp(Mlp { hidden: vec![8] }),
            Network::Mlp(Mlp { hidden: vec![] }),
        ],
        Network::Facenet(_) => facenets(),
        Network::Googlenet(_) => [Stem::Small, Stem::Large]
            .map(|stem| {
                let width = narrow(0.0625);
                Network::Googlenet(Googlenet {
                    stem,
                    width,
                    ..Googlenet::default()
                })
            })
            .into(),
        Network::InceptionV3(_) => vec![Network::InceptionV3(InceptionV3 {
            stem: Stem::Small,
            width: narrow(0.0625),
            ..InceptionV3::default()
        })],
        Network::InceptionResnetV1(_) => inception_resnets(),
        Network::Casia(_) => [false, true]
            .map(|batch_norm| {
                let width = narrow(0.0625);
                Network::Casia(Casia {
                    width,
                    batch_norm,
                    ..Casia::default()
                })
            })
            .into(),
        Network::Alexnet(_) => [AlexnetLayout::Caffe, AlexnetLayout::Torchvision]
            .map(|layout| {
                Network::Alexnet(Alexnet {
                    layout,
                    stem: AlexnetStem::Small,
                    width: narrow(0.0625),
                    ..Alexnet::default()
                })
            })
            .into(),
        Network::MobilenetV3(_) => vec![Network::MobilenetV3(MobilenetV3 {
            stem: Stem::Small,
            width: narrow(0.25),
            ..MobilenetV3::default()
        })],
        Network::Vit(_) => vec![Network::Vit(Vit {
            patch: 5,
            width: 12,
            depth: 2,
            heads: 3,
        })],
    };
    let all = Network::catalogue().into_iter();
    let all = all.flat_map(|(_, _, network)| small(network));
    all.map(|network| {
        let input = square(match network {
            Network::Googlenet(_) | Network::InceptionV3(_) | Network::InceptionResnetV1(_) => 32,
            _ => 16,
        });
        Trial { network, input }
    })
    .collect()
}

fn narrow(factor: f64) -> Width {
    Width::try_from(factor).unwrap()
}

fn resnets() -> Vec<Network> {
    let forms = [
        (vec![1, 2], false, Stem::Small),
        (vec![1, 1], false, Stem::Large),
        (vec![1, 2], true, Stem::Small),
    ];
    let of = |(blocks, bottleneck, stem)| {
        Network::Resnet(Resnet {
            blocks,
            bottleneck,
            width: 4,
            stem,
        })
    };
    forms.into_iter().map(of).collect()
}

fn facenets() -> Vec<Network> {
    let forms = Variant::ALL
        .into_iter()
        .flat_map(|layers| [(layers, false), (layers, true)]);
    let of = |(layers, batch_norm)| {
        Network::Facenet(Facenet {
            layers,
            stem: if batch_norm { Stem::Small } else { Stem::Large },
            // Without batch norm a layer of one or two channels may give nothing but zeros.
            width: narrow(match (batch_norm, layers) {
                (true, Variant::Nns2) => 0.5,
                (true, _) => 0.0625,
                (false, Variant::Nns2) => 1.0,
                (false, _) => 0.25,
            }),
            batch_norm,
        })
    };
    forms.map(of).collect()
}

fn inception_resnets() -> Vec<Network> {
    let of = |last| {
        Network::InceptionResnetV1(InceptionResnetV1 {
            stem: Stem::Small,
            blocks: [1, 1, 1],
            width: narrow(0.25),
            last,
            ..InceptionResnetV1::default()
        })
    };
    vec![of(true), of(false)]
}

impl Trial {
    fn embedder(&self) -> Embedder {
        Embedder::new(&self.network, &head(), self.input, 3).unwrap()
    }

    fn images(&self, count: usize) -> Tensor {
        let numbers =
            (0..count * self.input.numbers()).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0);
        tensor(numbers.collect(), self.input.batch(count)).unwrap()
    }
}

fn weights(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn weighted_sum(embeddings: &Tensor) -> Tensor {
    let weights = tensor(weights(embeddings.elem_count()), embeddings.shape())
        .unwrap()
        .to_dtype(embeddings.dtype())
        .unwrap();
    (embeddings * weights).unwrap().sum_all().unwrap()
}

#[test]
fn every_learned_parameter_receives_a_gradient() {
    for trial in networks() {
        let what = format!("{:?}", trial.network);
        learns(&trial.embedder(), &trial.images(6), &what);
    }
}

/// Asserts that every parameter that is to learn has a gradient.
fn learns(embedder: &Embedder, images: &Tensor, what: &str) {
    let embeddings = embedder.forward(images, Mode::Train).unwrap();
    let store = weighted_sum(&embeddings).backward().unwrap();
    for p in embedder.parameters().learned() {
        let gradient = store
            .get(&p.var)
            .unwrap_or_else(|| panic!("{what}: {} has no gradient", p.name));
        let sum = gradient.abs().unwrap().sum_all().unwrap();
        let sum = sum.to_scalar::<f32>().unwrap();
        assert!(
            sum > 0.0 && sum.is_finite(),
            "{what}: {} has gradient {sum}",
            p.name
        );
    }
}

#[test]
fn the_own_tape_gives_the_gradients_of_candles_tape() {
    for trial in networks() {
        let network = &trial.network;
        let embedder = trial.embedder();
        let (y, tape) = tape::record(|| embedder.forward(&trial.images(6), Mode::Train)).unwrap();
        let gradients = tape.backward(&y, weights(y.elem_count())).unwrap();
        let y = embedder.forward(&trial.images(6), Mode::Train).unwrap();
        let store = weighted_sum(&y).backward().unwrap();
        for p in embedder.parameters().learned() {
            let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let own = numbers(gradients.get(&p.var).unwrap());
            assert_eq!(
                own,
                numbers(store.get(&p.var).unwrap()),
                "{network:?}: {}",
                p.name
            );
        }
    }
}

#[test]
fn the_own_tape_drops_no_gradient_in_silence() {
    let x = networks()[0].images(1).flatten_from(1).unwrap();
    let w = Var::ones((2, x.dim(1).unwrap()), DType::F32, &Device::Cpu).unwrap();
    let b = Var::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let linear = |w: &Tensor| op::linear(&x, w, &b, op::Activation::None);
    let (y, tape) = tape::record(|| linear(&w)).unwrap();
    // candle leads from y to here, the tape does not.
    let loss = y.sum_all().unwrap();
    let error = tape.backward(&loss, vec![1.0]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("linear: its result has no gradient"),
        "{error}"
    );
    let error = tape::record(|| linear(&w.affine(2.0, 0.0)?)).err().unwrap();
    assert!(error.to_string().contains("does not know"), "{error}");
    // A failed pass leaves no tape behind.
    assert!(linear(&w).unwrap().track_op());
}

#[test]
fn fused_networks_equal_composed_ones_in_f64() {
    for trial in networks() {
        let network = &trial.network;
        let fused = trial.embedder();
        let exact = Embedder::on(
            network,
            &head(),
            trial.input,
            &Scope::new(3, DType::F64, &Device::Cpu),
        )
        .unwrap();
        let y = fused.forward(&trial.images(6), Mode::Train).unwrap();
        let z = exact
            .forward(&trial.images(6).to_dtype(DType::F64).unwrap(), Mode::Train)
            .unwrap();
        let (store, exact_store) = (
            weighted_sum(&y).backward().unwrap(),
            weighted_sum(&z).backward().unwrap(),
        );
        let tolerance = tolerance(network);
        let of_outputs = if tolerance > 2e-4 { 1e-3 } else { 2e-4 };
        close(&format!("{network:?}"), (&y, &z), of_outputs, 1e-3);
        let learned = exact.parameters().learned();
        // A gradient that mathematics has as zero is rounding, to be measured by the others.
        let floor = match tolerance {
            0.1 => 1e-2 * largest(learned.map(|q| exact_store.get(&q.var).unwrap().clone())),
            _ => 1e-3,
        };
        for (p, q) in fused
            .parameters()
            .learned()
            .zip(exact.parameters().learned())
        {
            let name = format!("{network:?} {}", p.name);
            let both = (store.get(&p.var).unwrap(), exact_store.get(&q.var).unwrap());
            close(&name, both, tolerance, floor);
        }
        // The running statistics that the pass has left, too.
        let floor = if tolerance > 2e-4 { 1e-2 } else { 1e-3 };
        for (p, q) in fused.parameters().iter().zip(exact.parameters()) {
            let both = (p.var.as_tensor(), q.var.as_tensor());
            close(&p.name, both, of_outputs, floor);
        }
    }
}

/// How near a network in `f32` comes to itself in `f64`, relative to the largest number of a tensor.
///
/// In a deep network with batch norm some ReLU or maximum is so near its kink that rounding decides it, and moves all
/// gradients before it by a percent and more: here they are held to be of the same size and sign. That they are right is
/// shown layer by layer in `operations.rs` and against PyTorch in `architectures.rs`.
fn tolerance(network: &Network) -> f64 {
    match network {
        Network::Googlenet(_)
        | Network::InceptionV3(_)
        | Network::InceptionResnetV1(_)
        | Network::MobilenetV3(_) => 0.1,
        Network::Facenet(facenet) if facenet.batch_norm => 1e-2,
        Network::Casia(casia) if casia.batch_norm => 5e-4,
        _ => 2e-4,
    }
}

fn largest(numbers: impl Iterator<Item = Tensor>) -> f64 {
    let largest = |t: Tensor| {
        t.abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    };
    numbers.map(largest).fold(0.0, f64::max)
}

fn close(what: &str, (a, b): (&Tensor, &Tensor), tolerance: f64, floor: f64) {
    let numbers = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (a, b) = (numbers(a), numbers(b));
    let scale = b.iter().fold(floor, |m, x| m.max(x.abs()));
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() < tolerance * scale, "{what}: {x} against {y}");
    }
}

#[test]
fn evaluation_does_not_depend_on_the_rest_of_the_batch() {
    for trial in networks() {
        let network = &trial.network;
        let embedder = trial.embedder();
        embedder.forward(&trial.images(6), Mode::Train).unwrap();
        let all = embedder
            .forward(&trial.images(6), Mode::Eval)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let one = embedder
            .forward(&trial.images(6).narrow(0, 4, 1).unwrap(), Mode::Eval)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (a, b) in all[4].iter().zip(&one[0]) {
            assert!((a - b).abs() < 1e-5, "{network:?}");
        }
    }
}

#[test]
fn a_network_that_never_learns_gives_the_same_vectors() {
    for trial in networks() {
        let learns = trial.embedder();
        for (i, p) in learns.parameters().iter().enumerate() {
            // Every tensor at numbers of its own, variances among them: what is folded has to be folded right.
            let wave = |k: usize| 1.0 + 0.3 * (0.7 * k as f32 + i as f32).sin();
            let factors = (0..p.var.elem_count()).map(wave).collect();
            let factors = tensor(factors, p.var.shape()).unwrap();
            p.var.set(&(p.var.as_tensor() * factors).unwrap()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        weights::save(learns.parameters(), &path).unwrap();
        let scope = Scope::stored(Stored::open(&path).unwrap(), 0).for_inference();
        let packed = Embedder::on(&trial.network, &head(), trial.input, &scope).unwrap();
        // The first pass packs; the second one finds it.
        for count in [2, 3] {
            let x = trial.images(count);
            let [a, b] = [&learns, &packed].map(|e| e.forward(&x, Mode::Eval).unwrap());
            close(&format!("{:?}", trial.network), (&a, &b), 1e-4, 1e-3);
        }
    }
}

#[test]
fn evaluation_leaves_no_tape() {
    for trial in networks() {
        let network = &trial.network;
        let embedder = trial.embedder();
        assert!(
            !embedder
                .forward(&trial.images(2), Mode::Eval)
                .unwrap()
                .track_op(),
            "{network:?}"
        );
        assert!(
            embedder
                .forward(&trial.images(2), Mode::Train)
                .unwrap()
                .track_op(),
            "{network:?}"
        );
    }
}

#[test]
fn replay_leaves_running_statistics_alone() {
    let trial = &networks()[0];
    let embedder = trial.embedder();
    let buffers = || {
        let stored = embedder
            .parameters()
            .iter()
            .filter(|p| p.name.contains("running"));
        stored
            .map(|p| p.var.to_vec1::<f32>().unwrap())
            .collect::<Vec<_>>()
    };
    let before = buffers();
    let replayed = embedder
        .forward(&trial.images(6), Mode::Replay)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert_eq!(before, buffers());
    let trained = embedder
        .forward(&trial.images(6), Mode::Train)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert_ne!(before, buffers());
    assert_eq!(replayed, trained);
}

#[test]
fn every_network_is_built_from_its_settings_and_its_weights_again() {
    for trial in networks() {
        let (folder, network) = (tempfile::tempdir().unwrap(), &trial.network);
        let path = folder.path().join("w.safetensors");
        let one = trial.embedder();
        // Running averages that are not those of a new network.
        one.forward(&trial.images(6), Mode::Train).unwrap();
        weights::save(one.parameters(), &path).unwrap();
        let settings = serde_json::to_string(network).unwrap();
        let read: Network = serde_json::from_str(&settings).unwrap();
        assert_eq!(*network, read);
        let scope = Scope::stored(Stored::open(&path).unwrap(), 9);
        let other = Embedder::on(&read, &head(), trial.input, &scope).unwrap();
        let embed = |embedder: &Embedder| {
            let y = embedder.forward(&trial.images(2), Mode::Eval).unwrap();
            y.to_vec2::<f32>().unwrap()
        };
        assert_eq!(embed(&one), embed(&other), "{network:?}");
    }
}

#[test]
fn an_input_too_small_for_the_network_names_the_layer() {
    let network = Network::Convnet(Convnet::default());
    let small = InputShape::Image {
        height: 8,
        width: 8,
        channels: 1,
    };
    let error = Embedder::new(&network, &head(), small, 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("block3.pool") && error.contains("1x1"),
        "{error}"
    );
    let features = InputShape::Features { dim: 5 };
    let error = Embedder::new(&network, &head(), features, 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("network.convnet") && error.contains("mlp"),
        "{error}"
    );
}

#[test]
fn in_use_a_mirrored_head_cannot_tell_an_image_from_its_mirror_image() {
    let trial = &networks()[0];
    let of = |mirrored, normalize| {
        let head = Head {
            mirrored,
            normalize,
            ..head()
        };
        Embedder::new(&trial.network, &head, trial.input, 3).unwrap()
    };
    let (mirrored, alone) = (of(true, true), of(false, false));
    let x = trial.images(4);
    let columns: Vec<u32> = (0..16).rev().collect();
    let columns = Tensor::new(columns, &Device::Cpu).unwrap();
    let flipped = x.index_select(&columns, 2).unwrap();
    let embed = |of: &Embedder, x: &Tensor| of.forward(x, Mode::Eval).unwrap();
    let [y, z] = [&x, &flipped].map(|x| embed(&mirrored, x));
    close("mirrored", (&y, &z), 1e-6, 1e-3);
    // In the long form: both images through the network alone, added, scaled to unit length.
    let sum = (embed(&alone, &x) + embed(&alone, &flipped)).unwrap();
    close("sum", (&y, &op::normalize(&sum).unwrap()), 1e-6, 1e-3);
    // Training sees the image alone.
    let train = |of: &Embedder| of.forward(&x, Mode::Train).unwrap();
    let scaled = op::normalize(&train(&alone)).unwrap();
    close("training", (&train(&mirrored), &scaled), 1e-6, 1e-3);

    let mlp = Network::Mlp(Mlp { hidden: vec![] });
    let head = Head {
        mirrored: true,
        ..head()
    };
    let features = InputShape::Features { dim: 4 };
    let error = Embedder::new(&mlp, &head, features, 3).unwrap_err();
    assert!(error.to_string().contains("head.mirrored"), "{error}");
}

#[test]
fn a_head_with_a_batch_norm_standardizes_features_before_its_linear_layer() {
    let trial = &networks()[0];
    let x = trial.images(6);
    let of = |batch_norm, linear, dim| {
        let head = Head {
            batch_norm,
            linear,
            dim,
            normalize: false,
            ..head()
        };
        Embedder::new(&trial.network, &head, trial.input, 3).unwrap()
    };
    let layered = of(true, true, 5);
    let shape = |name| {
        let found = layered.parameters().iter().find(|p| p.name == name);
        found.map(|p| p.var.dims().to_vec())
    };
    let features = shape("embedding.weight").unwrap()[1];
    for name in ["features_norm.weight", "features_norm.running_var"] {
        assert_eq!(shape(name), Some(vec![features]), "{name}");
    }
    learns(&layered, &x, "a head with a batch norm");
    let train = |of: Embedder| of.forward(&x, Mode::Train).unwrap();
    let rows = |of: Embedder| train(of).to_vec2::<f32>().unwrap();
    let plain = rows(of(false, false, features));
    let normed = rows(of(true, false, features));
    for feature in 0..features {
        let column: Vec<f64> = plain.iter().map(|row| row[feature].into()).collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        let square = column.iter().map(|f| (f - mean).powi(2)).sum::<f64>();
        let deviation = (square / column.len() as f64 + 1e-5).sqrt();
        for (row, f) in normed.iter().zip(&column) {
            let expected = (f - mean) / deviation;
            let found: f64 = row[feature].into();
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
    }
}
