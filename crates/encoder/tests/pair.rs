//! The network of pairs: gradients, the matrix of all pairs, weights.

use nearkin_encoder::host::tensor;
use nearkin_encoder::network::{
    Alexnet, AlexnetLayout, AlexnetStem, InputShape, PairAlexnet, PairNetwork, PairOutput,
    PairScorer, Width,
};
use nearkin_encoder::parameters::{Parameters, Scope};
use nearkin_encoder::stored::Stored;
use nearkin_encoder::{DType, Device, Embedder, Head, Mode, Network, Tensor, tape, weights};

const INPUT: InputShape = InputShape::Image {
    height: 12,
    width: 10,
    channels: 3,
};

fn settings(output: PairOutput) -> PairAlexnet {
    PairAlexnet {
        stem: AlexnetStem::Small,
        width: Width::try_from(0.0625).unwrap(),
        output,
        ..PairAlexnet::default()
    }
}

fn scorer(settings: &PairAlexnet, seed: u64) -> PairScorer {
    PairScorer::new(&PairNetwork::Alexnet(settings.clone()), INPUT, seed).unwrap()
}

fn images(count: usize, phase: f32) -> Tensor {
    let numbers = (0..count * INPUT.numbers()).map(|i| (i as f32 * 0.37 + phase).sin());
    tensor(numbers.collect(), INPUT.batch(count)).unwrap()
}

fn flat(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(DType::F64).unwrap();
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Pairs among four images, one of them twice: (probe, positive), (probe, negative), (negative 2, negative).
const PAIRS: [[u32; 2]; 4] = [[0, 1], [0, 2], [3, 2], [0, 2]];

#[test]
fn every_parameter_receives_the_gradient_of_the_composed_network() {
    for output in [PairOutput::Softmax, PairOutput::One] {
        let scorer = scorer(&settings(output), 3);
        let forward = |scorer: &PairScorer, x: &Tensor| {
            let maps = scorer.maps(x, Mode::Train)?;
            scorer.scores(&scorer.outputs(&maps, &PAIRS, Mode::Train)?)
        };
        let x = images(4, 0.0);
        let (scores, tape) = tape::record(|| forward(&scorer, &x)).unwrap();
        assert_eq!(scores.dims(), [4, 1]);
        let upstream = [1.0, -0.5, 0.25, 2.0];
        let gradients = tape.backward(&scores, upstream.to_vec()).unwrap();

        // Candle's tape over the composed operations; dropout sees maps, whose bits differ, so it is off there.
        let mut still = settings(output);
        still.dropout = 0.0;
        let fused = self::scorer(&still, 3);
        let still = PairNetwork::Alexnet(still);
        let exact =
            PairScorer::on(&still, INPUT, &Scope::new(3, DType::F64, &Device::Cpu)).unwrap();
        let (y, tape) = tape::record(|| forward(&fused, &x)).unwrap();
        let own = tape.backward(&y, upstream.to_vec()).unwrap();
        let z = forward(&exact, &x.to_dtype(DType::F64).unwrap()).unwrap();
        let weights = Tensor::new(&upstream.map(f64::from), &Device::Cpu).unwrap();
        let loss = (z.flatten_all().unwrap() * weights)
            .unwrap()
            .sum_all()
            .unwrap();
        let store = loss.backward().unwrap();

        let parameters = scorer
            .parameters()
            .learned()
            .zip(fused.parameters().learned());
        for ((p, q), r) in parameters.zip(exact.parameters().learned()) {
            let sum: f64 = flat(gradients.get(&p.var).unwrap())
                .iter()
                .map(|g| g.abs())
                .sum();
            assert!(sum > 0.0, "{output:?}: {} has gradient {sum}", p.name);
            let (found, want) = (
                flat(own.get(&q.var).unwrap()),
                flat(store.get(&r.var).unwrap()),
            );
            let scale = want.iter().fold(1e-6f64, |m, x| m.max(x.abs()));
            for (found, want) in found.iter().zip(&want) {
                assert!(
                    (found - want).abs() < 1e-4 * scale,
                    "{output:?} {}: {found} against {want}",
                    p.name
                );
            }
        }
    }
}

#[test]
fn the_matrix_holds_the_score_of_every_pair_for_any_block() {
    let scorer = scorer(&settings(PairOutput::Softmax), 3);
    let (probes, gallery) = (images(3, 0.0), images(4, 1.0));
    let whole = scorer.matrix(&probes, &gallery, 100).unwrap();
    assert_eq!(whole.len(), 12);
    for block in [1, 5, 12] {
        for (a, b) in scorer
            .matrix(&probes, &gallery, block)
            .unwrap()
            .iter()
            .zip(&whole)
        {
            assert!((a - b).abs() < 1e-5, "{a} against {b} in blocks of {block}");
        }
    }
    // One pair by itself, and its softmax by hand; the other order is another score.
    let both = Tensor::cat(
        &[
            probes.narrow(0, 2, 1).unwrap(),
            gallery.narrow(0, 1, 1).unwrap(),
        ],
        0,
    )
    .unwrap();
    let maps = scorer.maps(&both, Mode::Eval).unwrap();
    let outputs = flat(
        &scorer
            .outputs(&maps, &[[0, 1], [1, 0]], Mode::Eval)
            .unwrap(),
    );
    let different = |same: f64, different: f64| different.exp() / (same.exp() + different.exp());
    assert!((different(outputs[0], outputs[1]) - f64::from(whole[2 * 4 + 1])).abs() < 1e-5);
    assert!((outputs[0] - outputs[2]).abs() > 1e-4);
    assert!(
        scorer
            .matrix(&probes, &gallery, 0)
            .unwrap_err()
            .to_string()
            .starts_with("block")
    );
    assert!(
        scorer
            .maps(&tensor(vec![0.0; 12], (1, 2, 2, 3)).unwrap(), Mode::Eval)
            .is_err()
    );
    assert!(scorer.outputs(&maps, &[[0, 2]], Mode::Eval).is_err());
}

#[test]
fn stored_weights_give_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.safetensors");
    let make = |seed| scorer(&settings(PairOutput::One), seed);
    let (one, other) = (make(1), make(2));
    let score = |scorer: &PairScorer| scorer.matrix(&images(2, 0.0), &images(2, 2.0), 8).unwrap();
    assert_ne!(score(&one), score(&other));
    weights::save(one.parameters(), &path).unwrap();
    weights::load(other.parameters(), &path).unwrap();
    assert_eq!(score(&one), score(&other));
    // An output may go either way from zero, and a distance is its size.
    let maps = one.maps(&images(2, 0.0), Mode::Eval).unwrap();
    let outputs = one.outputs(&maps, &[[0, 1], [1, 0]], Mode::Eval).unwrap();
    let turned = outputs.neg().unwrap();
    for outputs in [&outputs, &turned] {
        let sizes: Vec<f32> = flat(outputs).iter().map(|g| g.abs() as f32).collect();
        assert_eq!(one.distances(outputs).unwrap(), sizes);
    }
}

/// AlexNet's convolutions and linear layers, the third convolution for twice the channels, and two outputs.
#[test]
fn the_whole_network_has_the_parameters_of_its_layers() {
    let input = InputShape::Image {
        height: 227,
        width: 227,
        channels: 3,
    };
    let paper = PairNetwork::Alexnet(PairAlexnet::default());
    let scorer = PairScorer::on(&paper, input, &Scope::blank()).unwrap();
    let low = 96 * 3 * 121 + 96 + 256 * 48 * 25 + 256;
    let high = 384 * 512 * 9 + 384 + 384 * 192 * 9 + 384 + 256 * 192 * 9 + 256;
    let linear = 4096 * 9216 + 4096 + 4096 * 4096 + 4096 + 2 * 4096 + 2;
    assert_eq!(scorer.parameters().count(), low + high + linear);
}

/// `hidden` is that of both linear layers; a small image that a stem cannot see names the layer.
#[test]
fn stems_are_for_images_of_their_size() {
    let input = |height, width| InputShape::Image {
        height,
        width,
        channels: 3,
    };
    let on = |stem, input| {
        let hidden = std::num::NonZeroUsize::new(7);
        let settings = PairAlexnet {
            stem,
            hidden,
            ..settings(PairOutput::Softmax)
        };
        PairScorer::on(&PairNetwork::Alexnet(settings), input, &Scope::blank())
    };
    let scorer = on(AlexnetStem::Medium, input(80, 32)).unwrap();
    let rows = |name: &str| {
        let mut parameters = scorer.parameters().iter();
        let found = parameters.find(|p| p.name == name);
        found.unwrap().var.dims()[0]
    };
    assert_eq!(
        ["fc6.weight", "fc7.weight", "fc8.weight"].map(rows),
        [7, 7, 2]
    );
    for (stem, smallest) in [(AlexnetStem::Small, 12), (AlexnetStem::Medium, 24)] {
        assert!(on(stem, input(smallest, smallest)).is_ok(), "{stem:?}");
    }
    let error = on(AlexnetStem::Large, input(80, 32))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("pool5: the feature map is 4x1 here"),
        "{error}"
    );
}

/// Layers of one image and those behind the pair are AlexNet's own; the third convolution sees two images.
#[test]
fn it_begins_with_weights_of_torchvisions_alexnet() {
    let settings = PairAlexnet {
        layout: AlexnetLayout::Torchvision,
        ..settings(PairOutput::Softmax)
    };
    let single = Network::Alexnet(Alexnet {
        layout: settings.layout,
        stem: settings.stem,
        width: settings.width,
        hidden: settings.hidden,
        dropout: settings.dropout,
    });
    let single = Embedder::new(&single, &Head::default(), INPUT, 3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alexnet.safetensors");
    weights::save(single.parameters(), &path).unwrap();
    let settings = PairNetwork::Alexnet(settings);
    let scorer = |fresh: &[&str]| {
        let fresh = fresh.iter().map(ToString::to_string).collect();
        let stored = Stored::open(&path).unwrap().fresh(fresh);
        PairScorer::on(&settings, INPUT, &Scope::stored(stored, 5))
    };
    let error = scorer(&["fc8"]).unwrap_err().to_string();
    assert!(error.contains("\"features.6.weight\" has shape"), "{error}");
    let scorer = scorer(&["features.6", "fc8"]).unwrap();
    let numbers = |parameters: &Parameters, name: &str| {
        let found = parameters.iter().find(|p| p.name == name).unwrap();
        flat(found.var.as_tensor())
    };
    for name in [
        "features.0.weight",
        "features.10.bias",
        "classifier.1.weight",
    ] {
        let [one, other] = [scorer.parameters(), single.parameters()].map(|of| numbers(of, name));
        assert_eq!(one, other, "{name}");
    }
}
