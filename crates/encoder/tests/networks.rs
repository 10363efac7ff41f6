//! Every network of the catalogue: gradients, determinism, errors.

use candle_core::Var;
use nearkin_encoder::host::tensor;
use nearkin_encoder::network::{
    Convnet, InputShape, Mlp, Network, Resnet, convnet::Reduce, resnet::Stem,
};
use nearkin_encoder::parameters::Scope;
use nearkin_encoder::{DType, Device, Embedder, Head, Mode, Tensor, op, tape};

const IMAGE: InputShape = InputShape::Image {
    height: 16,
    width: 16,
    channels: 3,
};

fn head() -> Head {
    Head {
        dim: 8,
        normalize: true,
    }
}

/// Every network of the catalogue, narrow, in each of its forms.
fn networks() -> Vec<Network> {
    let small = |network: Network| match network {
        Network::Convnet(_) => vec![
            Network::Convnet(Convnet {
                widths: vec![4, 6],
                reduce: Reduce::Flatten,
            }),
            Network::Convnet(Convnet {
                widths: vec![4, 6],
                reduce: Reduce::Average,
            }),
        ],
        Network::Resnet(_) => vec![
            Network::Resnet(Resnet {
                blocks: vec![1, 2],
                width: 4,
                stem: Stem::Small,
            }),
            Network::Resnet(Resnet {
                blocks: vec![1, 1],
                width: 4,
                stem: Stem::Large,
            }),
        ],
        Network::Mlp(_) => vec![
            Network::Mlp(Mlp { hidden: vec![8] }),
            Network::Mlp(Mlp { hidden: vec![] }),
        ],
    };
    Network::catalogue()
        .into_iter()
        .flat_map(|(_, _, network)| small(network))
        .collect()
}

fn images(count: usize) -> Tensor {
    let numbers = (0..count * IMAGE.numbers()).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0);
    tensor(numbers.collect(), IMAGE.batch(count)).unwrap()
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
    for network in networks() {
        let embedder = Embedder::new(&network, &head(), IMAGE, 3).unwrap();
        let store = weighted_sum(&embedder.forward(&images(6), Mode::Train).unwrap())
            .backward()
            .unwrap();
        for p in embedder.parameters().learned() {
            let gradient = store
                .get(&p.var)
                .unwrap_or_else(|| panic!("{network:?}: {} has no gradient", p.name));
            let sum = gradient
                .abs()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(
                sum > 0.0 && sum.is_finite(),
                "{network:?}: {} has gradient {sum}",
                p.name
            );
        }
    }
}

#[test]
fn the_own_tape_gives_the_gradients_of_candles_tape() {
    for network in networks() {
        let embedder = Embedder::new(&network, &head(), IMAGE, 3).unwrap();
        let (y, tape) = tape::record(|| embedder.forward(&images(6), Mode::Train)).unwrap();
        let gradients = tape.backward(&y, weights(y.elem_count())).unwrap();
        let y = embedder.forward(&images(6), Mode::Train).unwrap();
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
    let x = images(1).flatten_from(1).unwrap();
    let w = Var::ones((2, IMAGE.numbers()), DType::F32, &Device::Cpu).unwrap();
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
    for network in networks() {
        let fused = Embedder::new(&network, &head(), IMAGE, 3).unwrap();
        let exact = Embedder::on(
            &network,
            &head(),
            IMAGE,
            &Scope::new(3, DType::F64, &Device::Cpu),
        )
        .unwrap();
        let y = fused.forward(&images(6), Mode::Train).unwrap();
        let z = exact
            .forward(&images(6).to_dtype(DType::F64).unwrap(), Mode::Train)
            .unwrap();
        let (store, exact_store) = (
            weighted_sum(&y).backward().unwrap(),
            weighted_sum(&z).backward().unwrap(),
        );
        close(&format!("{network:?}"), &y, &z);
        for (p, q) in fused
            .parameters()
            .learned()
            .zip(exact.parameters().learned())
        {
            let name = format!("{network:?} {}", p.name);
            close(
                &name,
                store.get(&p.var).unwrap(),
                exact_store.get(&q.var).unwrap(),
            );
        }
        // The running statistics that the pass has left, too.
        for (p, q) in fused.parameters().iter().zip(exact.parameters()) {
            close(&p.name, p.var.as_tensor(), q.var.as_tensor());
        }
    }
}

fn close(what: &str, a: &Tensor, b: &Tensor) {
    let numbers = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (a, b) = (numbers(a), numbers(b));
    let scale = b.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() < 2e-4 * scale, "{what}: {x} against {y}");
    }
}

#[test]
fn evaluation_does_not_depend_on_the_rest_of_the_batch() {
    for network in networks() {
        let embedder = Embedder::new(&network, &head(), IMAGE, 3).unwrap();
        embedder.forward(&images(6), Mode::Train).unwrap();
        let all = embedder
            .forward(&images(6), Mode::Eval)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let one = embedder
            .forward(&images(6).narrow(0, 4, 1).unwrap(), Mode::Eval)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (a, b) in all[4].iter().zip(&one[0]) {
            assert!((a - b).abs() < 1e-5, "{network:?}");
        }
    }
}

#[test]
fn evaluation_leaves_no_tape() {
    for network in networks() {
        let embedder = Embedder::new(&network, &head(), IMAGE, 3).unwrap();
        assert!(
            !embedder.forward(&images(2), Mode::Eval).unwrap().track_op(),
            "{network:?}"
        );
        assert!(
            embedder
                .forward(&images(2), Mode::Train)
                .unwrap()
                .track_op(),
            "{network:?}"
        );
    }
}

#[test]
fn replay_leaves_running_statistics_alone() {
    let embedder = Embedder::new(&networks()[0], &head(), IMAGE, 3).unwrap();
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
        .forward(&images(6), Mode::Replay)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert_eq!(before, buffers());
    let trained = embedder
        .forward(&images(6), Mode::Train)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    assert_ne!(before, buffers());
    assert_eq!(replayed, trained);
}

#[test]
fn resnet_18_has_the_weights_of_its_paper() {
    let resnet = Network::Resnet(Resnet {
        stem: Stem::Large,
        ..Resnet::default()
    });
    let input = InputShape::Image {
        height: 32,
        width: 32,
        channels: 3,
    };
    let embedder = Embedder::new(
        &resnet,
        &Head {
            dim: 1000,
            normalize: false,
        },
        input,
        1,
    )
    .unwrap();
    // torchvision.models.resnet18(): sum(p.numel() for p in m.parameters()) = 11689512
    assert_eq!(embedder.parameters().count(), 11_689_512);
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
