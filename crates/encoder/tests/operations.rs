//! Every fused operation against its composed twin in f64 and against central differences.

use nearkin_encoder::op::{
    Activation, Convolution, Dropout, Epilogue, Heads, Pool, Pooling, ResponseNorm, TokenPooling,
    Window, activation, attention, batch_norm, batch_norm_inference, batch_norm_inference_over,
    batch_norm_pool, batch_norm_pool_inference, concat, conv2d, dropout, gather, global_average,
    image_tokens, kernels_of_parts, layer_norm, linear, maxout, normalize, pair_sum, pool2d,
    response_norm, scale, scale_channels, softmax, softmax_cross_entropy, sum, token_pool,
};
use nearkin_encoder::{DType, Device, Tensor};

type Function = Box<dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>>;

/// A differentiable operation with the shapes of its inputs.
struct Case {
    name: &'static str,
    shapes: Vec<Vec<usize>>,
    apply: Function,
}

fn case(
    name: &'static str,
    shapes: &[&[usize]],
    apply: impl Fn(&[Tensor]) -> candle_core::Result<Tensor> + 'static,
) -> Case {
    Case {
        name,
        shapes: shapes.iter().map(|s| s.to_vec()).collect(),
        apply: Box::new(apply),
    }
}

/// Numbers without ties and away from the kinks of ReLU and max.
fn numbers(shape: &[usize], salt: usize) -> Vec<f64> {
    let count: usize = shape.iter().product();
    let wave = |i: usize| {
        ((i * 7 + salt * 13) as f64 * 0.731).sin() * 1.3 + ((i + salt) as f64 * 0.119).cos() * 0.4
    };
    (0..count)
        .map(wave)
        .map(|x| {
            if x.abs() < 0.02 {
                x.signum() * 0.02 + x
            } else {
                x
            }
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let mut cases = layers();
    cases.extend(convolutions());
    cases.extend(norms());
    cases.extend(pools());
    cases.extend(token_pools());
    cases
}

const NORM: ResponseNorm = ResponseNorm {
    size: 5,
    alpha: 0.7,
    beta: 0.75,
    bias: 1.5,
};

fn layers() -> Vec<Case> {
    let heads = |dropout| Heads {
        heads: 2,
        head_dim: 3,
        offsets: [0, 1, 5, 7].into(),
        dropout,
    };
    let dropped = Dropout { seed: 5, rate: 0.3 };
    vec![
        case("relu", &[&[5, 7]], |x| activation(&x[0], Activation::Relu)),
        case("gelu", &[&[5, 7]], |x| activation(&x[0], Activation::Gelu)),
        case("tanh", &[&[5, 7]], |x| activation(&x[0], Activation::Tanh)),
        case("sigmoid", &[&[5, 7]], |x| {
            activation(&x[0], Activation::Sigmoid)
        }),
        case("hard sigmoid", &[&[5, 7]], |x| {
            activation(&scale(&x[0], 3.0)?, Activation::HardSigmoid)
        }),
        case("hard swish", &[&[5, 7]], |x| {
            activation(&scale(&x[0], 3.0)?, Activation::HardSwish)
        }),
        case("silu", &[&[5, 7]], |x| activation(&x[0], Activation::Silu)),
        case("leaky relu", &[&[5, 7]], |x| {
            activation(&x[0], Activation::LeakyRelu)
        }),
        case("elu", &[&[5, 7]], |x| activation(&x[0], Activation::Elu)),
        case("softmax", &[&[5, 7]], |x| softmax(&scale(&x[0], 3.0)?)),
        case("maxout", &[&[5, 12]], |x| maxout(&x[0], 3)),
        case("scale channels", &[&[2, 3, 4, 5], &[2, 5]], |x| {
            scale_channels(&x[0], &x[1])
        }),
        case("response norm", &[&[2, 3, 4, 9]], |x| {
            response_norm(&x[0], NORM)
        }),
        case("response norm of an even size", &[&[7, 5]], |x| {
            let (size, beta) = (4, 1.5);
            response_norm(&x[0], ResponseNorm { size, beta, ..NORM })
        }),
        case(
            "image tokens",
            &[&[2, 2, 3, 4], &[1, 1, 4], &[1, 7, 4]],
            |x| image_tokens(&x[0], &x[1], &x[2]),
        ),
        case("dropout", &[&[5, 7]], move |x| dropout(&x[0], dropped)),
        case("linear", &[&[5, 7], &[4, 7], &[4]], |x| {
            linear(&x[0], &x[1], &x[2], Activation::None)
        }),
        case("linear relu", &[&[5, 7], &[4, 7], &[4]], |x| {
            linear(&x[0], &x[1], &x[2], Activation::Relu)
        }),
        case("linear gelu", &[&[5, 7], &[4, 7], &[4]], |x| {
            linear(&x[0], &x[1], &x[2], Activation::Gelu)
        }),
        case("softmax_cross_entropy", &[&[4, 6]], |x| {
            softmax_cross_entropy(&x[0], &[1, 5, 0, 1])
        }),
        case("gather", &[&[6, 5]], |x| {
            gather(&x[0], &[4, 0, 4, 5].into())
        }),
        case("pair sum", &[&[3, 2, 2, 8], &[4]], |x| {
            pair_sum(&x[0], &x[1], &[[0, 1], [2, 1], [1, 0], [2, 2]].into())
        }),
        case("kernels of parts", &[&[3, 2, 1, 6]], |x| {
            kernels_of_parts(&x[0], 3)
        }),
        case("normalize", &[&[5, 6]], |x| normalize(&x[0])),
        case("attention", &[&[7, 18]], move |x| {
            attention(&x[0], None, &heads(None))
        }),
        case("attention with dropout", &[&[7, 18]], move |x| {
            attention(&x[0], None, &heads(Some(dropped)))
        }),
        case("attention with bias", &[&[7, 18], &[7, 2]], move |x| {
            attention(&x[0], Some(&x[1]), &heads(None))
        }),
        case("attention with both", &[&[7, 18], &[7, 2]], move |x| {
            attention(&x[0], Some(&x[1]), &heads(Some(dropped)))
        }),
        case("concat", &[&[5, 3], &[5, 1], &[5, 2]], concat),
        case("concat maps", &[&[2, 2, 3, 3], &[2, 2, 3, 1]], concat),
        case("sum", &[&[5, 3], &[5, 3]], |x| sum(&x[0], &x[1])),
        case("sum of one twice", &[&[5, 3]], |x| sum(&x[0], &x[0])),
    ]
}

fn token_pools() -> Vec<Case> {
    let kinds = [
        ("cls", TokenPooling::Cls),
        ("max", TokenPooling::Max),
        ("mean", TokenPooling::Mean),
        ("mean sqrt len", TokenPooling::MeanSqrtLen),
        ("weighted mean", TokenPooling::WeightedMean),
        ("last", TokenPooling::Last),
    ];
    let of = |(name, kind)| {
        case(name, &[&[8, 3]], move |x| {
            // With a prompt of two tokens, which is all of the second sentence.
            token_pool(&x[0], kind, &[0, 5, 6, 8].into(), 1)
        })
    };
    kinds.into_iter().map(of).collect()
}

fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kernel, stride, padding) in [
        ("conv 3x3", 3, 1, 1),
        ("conv 3x3 stride 2", 3, 2, 1),
        ("conv 1x1 stride 2", 1, 2, 0),
        ("conv 5x5", 5, 1, 0),
    ] {
        cases.push(case(
            name,
            &[&[2, 7, 6, 3], &[4, kernel, kernel, 3]],
            move |x| conv2d(&x[0], &x[1], None, Window::square(stride, padding).into()),
        ));
    }
    let uneven = Window {
        stride: [1, 1],
        padding: [0, 2],
    };
    for (name, groups, inputs, outputs) in [
        ("conv in two groups", 2, 4, 6),
        ("depthwise conv", 3, 3, 3),
        ("depthwise conv of two outputs", 3, 3, 6),
    ] {
        let of_groups = Convolution {
            groups,
            ..Window::square(2, 1).into()
        };
        let shapes: [&[usize]; 3] = [
            &[2, 7, 6, inputs],
            &[outputs, 3, 3, inputs / groups],
            &[outputs],
        ];
        cases.push(case(name, &shapes, move |x| {
            conv2d(&x[0], &x[1], Some(&x[2]), of_groups)
        }));
    }
    let relu = Convolution {
        relu: true,
        ..Window::square(1, 1).into()
    };
    let shapes: [&[usize]; 3] = [&[2, 4, 5, 3], &[4, 3, 3, 3], &[4]];
    cases.push(case("conv with bias and relu", &shapes, move |x| {
        conv2d(&x[0], &x[1], Some(&x[2]), relu)
    }));
    cases.push(case("conv with relu", &shapes[..2], move |x| {
        conv2d(&x[0], &x[1], None, relu)
    }));
    cases.push(case(
        "conv 1x5 uneven",
        &[&[2, 3, 6, 3], &[4, 1, 5, 3]],
        move |x| conv2d(&x[0], &x[1], None, uneven.into()),
    ));
    cases
}

/// Running statistics of three channels.
fn running(x: &Tensor) -> candle_core::Result<[Tensor; 2]> {
    let fixed = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.to_dtype(x.dtype());
    Ok([fixed(&[0.1, -0.2, 0.3])?, fixed(&[0.5, 1.5, 0.9])?])
}

fn norms() -> Vec<Case> {
    let train = |x: &[Tensor], residual: Option<&Tensor>, relu| {
        Ok(batch_norm(&x[0], &x[1], 1e-5, Epilogue { residual, relu })?.0)
    };
    let held = |x: &[Tensor]| {
        let [mean, variance] = &running(&x[0])?;
        let (residual, relu) = (Some(&x[2]), true);
        let epilogue = Epilogue { residual, relu };
        batch_norm_inference(&x[0], &x[1], [mean, variance], 1e-5, epilogue)
    };
    let eval = |x: &[Tensor]| {
        let [mean, variance] = &running(&x[0])?;
        batch_norm_inference(
            &x[0],
            &x[1],
            [mean, variance],
            1e-5,
            Epilogue {
                residual: None,
                relu: true,
            },
        )
    };
    let pooled_eval = |x: &[Tensor]| {
        let [mean, variance] = &running(&x[0])?;
        batch_norm_pool_inference(&x[0], &x[1], [mean, variance], 1e-5)
    };
    vec![
        case("batch_norm", &[&[4, 5, 3], &[2, 3]], move |x| {
            train(x, None, false)
        }),
        case("batch_norm relu", &[&[4, 5, 3], &[2, 3]], move |x| {
            train(x, None, true)
        }),
        case(
            "batch_norm residual",
            &[&[4, 5, 3], &[2, 3], &[4, 5, 3]],
            move |x| train(x, Some(&x[2]), false),
        ),
        case(
            "batch_norm residual relu",
            &[&[4, 5, 3], &[2, 3], &[4, 5, 3]],
            move |x| train(x, Some(&x[2]), true),
        ),
        case("batch_norm_inference", &[&[4, 5, 3], &[2, 3]], eval),
        case(
            "batch_norm_inference residual",
            &[&[4, 5, 3], &[2, 3], &[4, 5, 3]],
            held,
        ),
        case(
            "batch_norm_inference over its input, residual",
            &[&[4, 5, 3], &[2, 3], &[4, 5, 3]],
            |x| {
                let [mean, variance] = &running(&x[0])?;
                let (residual, relu) = (Some(&x[2]), true);
                let epilogue = Epilogue { residual, relu };
                // A copy, since it gives its memory away where no gradient is asked for.
                let copy = (&x[0] * 1.0)?;
                batch_norm_inference_over(copy, &x[1], [mean, variance], 1e-5, epilogue)
            },
        ),
        case("batch_norm_pool", &[&[2, 4, 6, 3], &[2, 3]], move |x| {
            Ok(batch_norm_pool(&x[0], &x[1], 1e-5)?.0)
        }),
        case(
            "batch_norm_pool odd sides",
            &[&[2, 5, 7, 3], &[2, 3]],
            move |x| Ok(batch_norm_pool(&x[0], &x[1], 1e-5)?.0),
        ),
        case(
            "batch_norm_pool one image, one channel",
            &[&[1, 3, 2, 1], &[2, 1]],
            move |x| Ok(batch_norm_pool(&x[0], &x[1], 1e-5)?.0),
        ),
        case(
            "batch_norm_pool_inference",
            &[&[2, 5, 4, 3], &[2, 3]],
            pooled_eval,
        ),
        case("layer_norm", &[&[5, 7], &[2, 7]], |x| {
            layer_norm(&x[0], &x[1], 1e-5, None)
        }),
        case("layer_norm residual", &[&[5, 7], &[2, 7], &[5, 7]], |x| {
            layer_norm(&x[0], &x[1], 1e-5, Some(&x[2]))
        }),
    ]
}

fn pools() -> Vec<Case> {
    let mut cases = vec![case("global_average", &[&[3, 4, 5, 2]], |x| {
        global_average(&x[0])
    })];
    for (name, kind) in [
        ("max pool", Pooling::Max),
        ("average pool", Pooling::Average),
        ("padded average pool", Pooling::PaddedAverage),
        ("l2 pool", Pooling::L2),
    ] {
        let uneven = Pool {
            kind,
            kernel: [1, 4],
            window: Window {
                stride: [1, 2],
                padding: [0, 2],
            },
            ceil: false,
        };
        for pool in [
            Pool::square(kind, 2, 2, 0),
            Pool::square(kind, 3, 2, 1),
            Pool::square(kind, 3, 2, 0).ceil(),
            Pool::square(kind, 2, 3, 1).ceil(),
            uneven,
        ] {
            cases.push(case(name, &[&[2, 6, 7, 3]], move |x| pool2d(&x[0], pool)));
        }
    }
    cases
}

fn inputs(case: &Case, dtype: DType) -> Vec<candle_core::Var> {
    let make = |(salt, shape): (usize, &Vec<usize>)| {
        let values = Tensor::from_vec(numbers(shape, salt), shape.clone(), &Device::Cpu).unwrap();
        candle_core::Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
    };
    case.shapes.iter().enumerate().map(make).collect()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// A weighted sum of the outputs, so that every output's gradient differs.
fn objective(case: &Case, inputs: &[Tensor]) -> Tensor {
    let y = (case.apply)(inputs).unwrap();
    let weights = Tensor::from_vec(numbers(y.dims(), 5), y.dims(), &Device::Cpu).unwrap();
    (&y * weights.to_dtype(y.dtype()).unwrap())
        .unwrap()
        .sum_all()
        .unwrap()
}

/// Output and gradients of all inputs.
fn run(case: &Case, dtype: DType) -> (Vec<f64>, Vec<Vec<f64>>) {
    let vars = inputs(case, dtype);
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = flat(&(case.apply)(&tensors).unwrap());
    let store = objective(case, &tensors).backward().unwrap();
    let gradients = vars.iter().map(|v| {
        flat(
            store
                .get(v)
                .unwrap_or_else(|| panic!("{}: no gradient", case.name)),
        )
    });
    (y, gradients.collect())
}

fn assert_close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = b.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * scale,
            "{what} [{i}]: {x} against {y}"
        );
    }
}

#[test]
fn fused_outputs_and_gradients_equal_the_composed_ones_in_f64() {
    for case in cases() {
        let (fused, fused_gradients) = run(&case, DType::F32);
        let (composed, composed_gradients) = run(&case, DType::F64);
        assert_close(case.name, &fused, &composed, 3e-6);
        for (i, (a, b)) in fused_gradients.iter().zip(&composed_gradients).enumerate() {
            assert_close(&format!("{} gradient {i}", case.name), a, b, 1e-5);
        }
    }
}

#[test]
fn composed_gradients_equal_central_differences() {
    let step = 1e-5;
    for case in cases() {
        let (_, gradients) = run(&case, DType::F64);
        for (which, shape) in case.shapes.iter().enumerate() {
            let value = |at: usize, by: f64| {
                let make = |(salt, shape): (usize, &Vec<usize>)| {
                    let mut values = numbers(shape, salt);
                    if salt == which {
                        values[at] += by;
                    }
                    Tensor::from_vec(values, shape.clone(), &Device::Cpu).unwrap()
                };
                let tensors: Vec<Tensor> = case.shapes.iter().enumerate().map(make).collect();
                objective(&case, &tensors).to_scalar::<f64>().unwrap()
            };
            let count: usize = shape.iter().product();
            let numeric: Vec<f64> = (0..count)
                .map(|i| (value(i, step) - value(i, -step)) / (2.0 * step))
                .collect();
            assert_close(
                &format!("{} input {which}", case.name),
                &gradients[which],
                &numeric,
                1e-7,
            );
        }
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_give() {
    let x = Tensor::from_vec(numbers(&[7, 5], 1), (7, 5), &Device::Cpu)
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap();
    let (w, b) = (
        x.narrow(0, 0, 4).unwrap(),
        x.narrow(0, 0, 4)
            .unwrap()
            .narrow(1, 0, 1)
            .unwrap()
            .flatten_all()
            .unwrap(),
    );
    let plain = x.t().unwrap().contiguous().unwrap().t().unwrap();
    let strided = linear(&plain, &w, &b, Activation::None).unwrap();
    assert_eq!(
        flat(&strided),
        flat(&linear(&x, &w, &b, Activation::None).unwrap())
    );
}

#[test]
fn a_second_backward_pass_is_an_error() {
    let case = case("batch_norm", &[&[4, 5, 3], &[2, 3]], |x| {
        Ok(batch_norm(
            &x[0],
            &x[1],
            1e-5,
            Epilogue {
                residual: None,
                relu: false,
            },
        )?
        .0)
    });
    let vars = inputs(&case, DType::F32);
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = objective(&case, &tensors);
    y.backward().unwrap();
    let error = y.backward().unwrap_err().to_string();
    assert!(error.contains("backward ran twice"), "{error}");
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let t = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    assert!(linear(&t(&[2, 3]), &t(&[4, 5]), &t(&[4]), Activation::None).is_err());
    let plain = |x: &[usize], w: &[usize]| conv2d(&t(x), &t(w), None, Window::square(1, 0).into());
    assert!(plain(&[1, 2, 2, 3], &[4, 3, 3, 3]).is_err());
    assert!(plain(&[1, 3, 3, 3], &[4, 3, 3, 1]).is_err());
    assert!(maxout(&t(&[2, 5]), 2).is_err());
    assert!(scale_channels(&t(&[2, 3, 3, 4]), &t(&[2, 3])).is_err());
    assert!(image_tokens(&t(&[2, 2, 2, 3]), &t(&[1, 1, 3]), &t(&[1, 4, 3])).is_err());
    assert!(
        batch_norm(
            &t(&[2, 3]),
            &t(&[2, 4]),
            1e-5,
            Epilogue {
                residual: None,
                relu: false
            }
        )
        .is_err()
    );
    assert!(batch_norm_pool(&t(&[2, 1, 4, 3]), &t(&[2, 3]), 1e-5).is_err());
    assert!(batch_norm_pool(&t(&[2, 2, 4, 3]), &t(&[2, 4]), 1e-5).is_err());
    assert!(softmax_cross_entropy(&t(&[2, 3]), &[0, 3]).is_err());
    assert!(gather(&t(&[2, 3]), &[2].into()).is_err());
    assert!(pair_sum(&t(&[2, 1, 1, 6]), &t(&[3]), &[[0, 2]].into()).is_err());
    assert!(pair_sum(&t(&[2, 1, 1, 6]), &t(&[6]), &[[0, 1]].into()).is_err());
    assert!(kernels_of_parts(&t(&[2, 3, 3, 5]), 2).is_err());
    let heads = |offsets: &[usize]| Heads {
        heads: 1,
        head_dim: 2,
        offsets: offsets.into(),
        dropout: None,
    };
    assert!(attention(&t(&[3, 6]), None, &heads(&[0, 2, 1, 3])).is_err());
    assert!(attention(&t(&[3, 6]), Some(&t(&[2, 1])), &heads(&[0, 3])).is_err());
    assert!(token_pool(&t(&[3, 6]), TokenPooling::Mean, &[0, 2].into(), 0).is_err());
}
