//! Operations, optimizers and a whole network against PyTorch's numbers in float64.
//!
//! The folder `golden` holds outputs and gradients beside the scripts that wrote them; the inputs are
//! formulas. Each case runs twice: fused in f32 and composed in f64.

use candle_core::Var;
use nearkin_encoder::layer::BatchNorm;
use nearkin_encoder::network::Resnet;
use nearkin_encoder::op::{
    self, Activation, Epilogue, Heads, Moments, Pool, Pooling, Rule, State, Window,
};
use nearkin_encoder::parameters::Scope;
use nearkin_encoder::{DType, Device, Embedder, Head, InputShape, Mode, Network, Tensor};
use nearkin_kernels::{AdaGrad, AdamW, Sgd};
use serde::Deserialize;

/// Phase of the weights in the loss whose gradients are recorded.
const WEIGHTS_PHASE: u32 = 99;

/// The two roads and how near to the float64 goldens each must come.
const ROADS: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-9)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layers {
    #[serde(rename = "made_by")]
    _made_by: String,
    cases: Vec<Case>,
    optimizers: Vec<Steps>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    op: String,
    settings: Settings,
    inputs: Vec<Source>,
    output_shape: Vec<usize>,
    output: Vec<f64>,
    gradients: Vec<Vec<f64>>,
    // What a batch normalization in training leaves beside its output.
    batch_mean: Option<Vec<f64>>,
    batch_variance: Option<Vec<f64>>,
    running_mean_after: Option<Vec<f64>>,
    running_variance_after: Option<Vec<f64>>,
}

/// The settings of all operations; each names its own.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    kind: String,
    epsilon: f32,
    relu: bool,
    residual: bool,
    running_mean: Vec<f64>,
    running_variance: Vec<f64>,
    activation: String,
    targets: Vec<u32>,
    ids: Vec<u32>,
    heads: usize,
    head_dim: usize,
    offsets: Vec<usize>,
}

/// An input by formula.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default, rename = "name")]
    _name: String,
    shape: Vec<usize>,
    phase: u32,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    shift: f64,
}

fn one() -> f64 {
    1.0
}

/// An optimizer and the parameter after each of its steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    rule: String,
    settings: OptimizerSettings,
    after_each_step: Vec<Vec<f64>>,
}

/// Settings by their names in PyTorch.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OptimizerSettings {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    betas: [f32; 2],
    eps: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeNetwork {
    #[serde(rename = "made_by")]
    _made_by: String,
    images: Source,
    embeddings: Vec<f64>,
    parameters: Vec<Weight>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    phase: u32,
    scale: f64,
    shift: f64,
    gradient: Vec<f64>,
}

impl Source {
    fn new(shape: &[usize], phase: u32) -> Self {
        Self {
            _name: String::new(),
            shape: shape.to_vec(),
            phase,
            scale: 1.0,
            shift: 0.0,
        }
    }

    /// `shift + scale · (sin(0.37 i + 0.11 phase) + 0.5 sin(0.0173 i² + phase))`
    fn tensor(&self, dtype: DType) -> Tensor {
        let phase = f64::from(self.phase);
        let number = |i: usize| {
            let i = i as f64;
            let wave = (0.37 * i + 0.11 * phase).sin() + 0.5 * (0.0173 * i * i + phase).sin();
            self.shift + self.scale * wave
        };
        let numbers: Vec<f64> = (0..self.shape.iter().product()).map(number).collect();
        let exact = Tensor::from_vec(numbers, self.shape.as_slice(), &Device::Cpu).unwrap();
        exact.to_dtype(dtype).unwrap()
    }

    fn var(&self, dtype: DType) -> Var {
        Var::from_tensor(&self.tensor(dtype)).unwrap()
    }
}

impl Case {
    /// The operation; an unknown one fails the test, so that no case goes unseen.
    fn apply(&self, x: &[Tensor]) -> candle_core::Result<Tensor> {
        let s = &self.settings;
        let window = Window {
            stride: s.stride,
            padding: s.padding,
        };
        match self.op.as_str() {
            "conv2d" => op::conv2d(&x[0], &x[1], None, window.into()),
            "pool2d" => {
                let pool = Pool {
                    kind: pooling(&s.kind),
                    kernel: s.kernel,
                    window,
                    ceil: false,
                };
                op::pool2d(&x[0], pool)
            }
            "global_average" => op::global_average(&x[0]),
            "batch_norm" | "batch_norm_pool" => Ok(self.batch_norm(x)?.0),
            "batch_norm_inference" | "batch_norm_pool_inference" => {
                let fixed =
                    |numbers: &[f64]| Tensor::new(numbers, &Device::Cpu)?.to_dtype(x[0].dtype());
                let running = [&fixed(&s.running_mean)?, &fixed(&s.running_variance)?];
                if self.op == "batch_norm_pool_inference" {
                    return op::batch_norm_pool_inference(&x[0], &x[1], running, s.epsilon);
                }
                op::batch_norm_inference(&x[0], &x[1], running, s.epsilon, self.epilogue(x))
            }
            "layer_norm" => op::layer_norm(&x[0], &x[1], s.epsilon, self.epilogue(x).residual),
            "linear" => op::linear(&x[0], &x[1], &x[2], activation(&s.activation)),
            "normalize" => op::normalize(&x[0]),
            "softmax_cross_entropy" => op::softmax_cross_entropy(&x[0], &s.targets),
            "gather" => op::gather(&x[0], &s.ids[..].into()),
            "attention" => {
                let heads = Heads {
                    heads: s.heads,
                    head_dim: s.head_dim,
                    offsets: s.offsets[..].into(),
                    dropout: None,
                };
                op::attention(&x[0], None, &heads)
            }
            other => panic!("unknown operation {other}"),
        }
    }

    fn batch_norm(&self, x: &[Tensor]) -> candle_core::Result<(Tensor, Moments)> {
        let epsilon = self.settings.epsilon;
        if self.op == "batch_norm_pool" {
            return op::batch_norm_pool(&x[0], &x[1], epsilon);
        }
        op::batch_norm(&x[0], &x[1], epsilon, self.epilogue(x))
    }

    fn epilogue<'a>(&self, x: &'a [Tensor]) -> Epilogue<'a> {
        Epilogue {
            residual: self.settings.residual.then(|| &x[2]),
            relu: self.settings.relu,
        }
    }
}

fn activation(name: &str) -> Activation {
    match name {
        "none" => Activation::None,
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        other => panic!("unknown activation {other}"),
    }
}

fn pooling(name: &str) -> Pooling {
    match name {
        "max" => Pooling::Max,
        "average" => Pooling::Average,
        "l2" => Pooling::L2,
        other => panic!("unknown pooling {other}"),
    }
}

impl Steps {
    /// The rule of step `step`, counted from 1.
    fn rule(&self, step: u64) -> Rule {
        let s = &self.settings;
        match self.rule.as_str() {
            "sgd" => Rule::Sgd(Sgd {
                learning_rate: s.lr,
                momentum: s.momentum,
                weight_decay: s.weight_decay,
                nesterov: s.nesterov,
            }),
            "adamw" => Rule::AdamW(AdamW {
                learning_rate: s.lr,
                beta1: s.betas[0],
                beta2: s.betas[1],
                epsilon: s.eps,
                weight_decay: s.weight_decay,
                step,
            }),
            "adagrad" => Rule::AdaGrad(AdaGrad {
                learning_rate: s.lr,
                epsilon: s.eps,
                weight_decay: s.weight_decay,
            }),
            other => panic!("unknown rule {other}"),
        }
    }
}

fn layers() -> Layers {
    serde_json::from_str(include_str!("golden/layers.json")).unwrap()
}

/// `Σ y · wave`, the loss whose gradients are recorded.
fn weighted_sum(y: &Tensor) -> Tensor {
    let weights = Source::new(y.dims(), WEIGHTS_PHASE).tensor(y.dtype());
    (y * weights).unwrap().sum_all().unwrap()
}

/// Errors are relative to the largest number of the golden tensor.
fn assert_close(what: &str, found: &Tensor, golden: &[f64], tolerance: f64) {
    let exact = found.to_dtype(DType::F64).unwrap();
    let found: Vec<f64> = exact.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), golden.len(), "{what}");
    let scale = golden.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(golden).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * scale,
            "{what} [{i}]: {x} against {y}"
        );
    }
}

#[test]
fn operations_and_their_gradients_equal_pytorch() {
    for case in layers().cases {
        for (dtype, tolerance) in ROADS {
            let what = format!("{} in {dtype:?}", case.name);
            let vars: Vec<Var> = case.inputs.iter().map(|s| s.var(dtype)).collect();
            let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
            let y = case.apply(&inputs).unwrap();
            assert_eq!(y.dims(), case.output_shape, "{what}");
            assert_close(&what, &y, &case.output, tolerance);
            let store = weighted_sum(&y).backward().unwrap();
            assert_eq!(vars.len(), case.gradients.len(), "{what}");
            for (i, (var, golden)) in vars.iter().zip(&case.gradients).enumerate() {
                let what = format!("{what}, gradient {i}");
                assert_close(&what, store.get(var).unwrap(), golden, tolerance);
            }
        }
    }
}

#[test]
fn statistics_of_batch_norm_equal_pytorch() {
    let cases = layers().cases;
    for case in cases.iter().filter(|c| c.batch_mean.is_some()) {
        for (dtype, _) in ROADS {
            // Moments are f32 on both roads.
            let check = |found: &Tensor, golden: &Option<Vec<f64>>| {
                let what = format!("statistics of {} in {dtype:?}", case.name);
                assert_close(&what, found, golden.as_ref().unwrap(), 1e-6);
            };
            let inputs: Vec<Tensor> = case.inputs.iter().map(|s| s.tensor(dtype)).collect();
            let (_, moments) = case.batch_norm(&inputs).unwrap();
            let vector = |v: &[f32]| Tensor::new(v, &Device::Cpu).unwrap();
            check(&vector(&moments.mean), &case.batch_mean);
            check(&vector(&moments.variance), &case.batch_variance);
            // The layer's running averages take the unbiased variance.
            let scope = Scope::new(0, dtype, &Device::Cpu);
            let layer = BatchNorm::new(&scope, moments.mean.len()).unwrap();
            let forward = if case.op == "batch_norm_pool" {
                layer.forward_pooled(&inputs[0], Mode::Train)
            } else {
                layer.forward(&inputs[0], case.epilogue(&inputs), Mode::Train)
            };
            forward.unwrap();
            let parameters = scope.parameters();
            let buffer = |name: &str| parameters.iter().find(|p| p.name == name).unwrap();
            check(&buffer("running_mean").var, &case.running_mean_after);
            check(&buffer("running_var").var, &case.running_variance_after);
        }
    }
}

#[test]
fn optimizer_steps_equal_pytorch() {
    for optimizer in layers().optimizers {
        for (dtype, tolerance) in ROADS {
            let parameter = Source::new(&[7], 30).var(dtype);
            let mut state = State::new(&optimizer.rule(1), &parameter).unwrap();
            for (step, golden) in (1u32..).zip(&optimizer.after_each_step) {
                let gradient = Source::new(&[7], 30 + step).tensor(dtype);
                let rule = optimizer.rule(u64::from(step));
                op::update(&parameter, &gradient, &rule, &mut state).unwrap();
                let what = format!("{rule:?}, step {step} in {dtype:?}");
                assert_close(&what, &parameter, golden, tolerance);
            }
        }
    }
}

#[test]
fn a_whole_residual_network_equals_pytorch() {
    let golden: WholeNetwork = serde_json::from_str(include_str!("golden/network.json")).unwrap();
    let network = Network::Resnet(Resnet {
        blocks: vec![1, 1],
        width: 4,
        ..Resnet::default()
    });
    let head = Head {
        dim: 5,
        ..Head::default()
    };
    let input = InputShape::Image {
        height: 8,
        width: 8,
        channels: 3,
    };
    for (dtype, tolerance) in ROADS {
        let scope = Scope::new(0, dtype, &Device::Cpu);
        let embedder = Embedder::on(&network, &head, input, &scope).unwrap();
        let learned: Vec<_> = embedder.parameters().learned().collect();
        assert_eq!(learned.len(), golden.parameters.len());
        for (p, weight) in learned.iter().zip(&golden.parameters) {
            assert_eq!(p.name, weight.name);
            let source = Source {
                scale: weight.scale,
                shift: weight.shift,
                ..Source::new(&weight.shape, weight.phase)
            };
            p.var.set(&source.tensor(dtype)).unwrap();
        }
        let images = golden.images.tensor(dtype);
        let y = embedder.forward(&images, Mode::Train).unwrap();
        assert_close(
            &format!("embeddings in {dtype:?}"),
            &y,
            &golden.embeddings,
            tolerance,
        );
        let store = weighted_sum(&y).backward().unwrap();
        for (p, weight) in learned.iter().zip(&golden.parameters) {
            let what = format!("gradient of {} in {dtype:?}", p.name);
            assert_close(
                &what,
                store.get(&p.var).unwrap(),
                &weight.gradient,
                tolerance,
            );
        }
    }
}
