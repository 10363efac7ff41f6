//! Networks: from a batch of inputs to embeddings.
//!
//! A network's settings ([`Network`], in the recipe's `[network.…]`) and the shape of its input
//! make an [`Embedder`]: a body that turns inputs into features and a head that turns features into
//! embeddings. Adding a network takes its file and one line of the catalogue below.

pub mod alexnet;
pub mod casia;
pub mod convnet;
mod embedder;
pub mod facenet;
pub mod googlenet;
pub mod inception_resnet_v1;
pub mod inception_v3;
mod layers;
pub mod mlp;
pub mod mobilenet_v3;
mod pair;
mod placed;
pub mod resnet;
mod stem;
pub mod vit;
mod vit_positions;
mod width;

pub use alexnet::{Alexnet, AlexnetLayout, AlexnetStem};
pub use casia::Casia;
pub use convnet::Convnet;
pub use embedder::{Embedder, Head, HeadActivation};
pub use facenet::Facenet;
pub use googlenet::Googlenet;
pub use inception_resnet_v1::InceptionResnetV1;
pub use inception_v3::InceptionV3;
pub use mlp::Mlp;
pub use mobilenet_v3::MobilenetV3;
pub use pair::{PairAlexnet, PairNetwork, PairOutput, PairScorer};
pub use resnet::Resnet;
pub use stem::Stem;
pub use vit::Vit;
pub use width::Width;

use crate::error::{Error, Result};
use crate::layer::{Map, Mode};
use crate::parameters::Scope;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// The shape of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputShape {
    /// An image, channels last.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// 1 for gray, 3 for color.
        channels: usize,
    },
    /// A vector of numbers.
    Features {
        /// Its length.
        dim: usize,
    },
}

impl InputShape {
    /// How many numbers one input has.
    pub fn numbers(self) -> usize {
        match self {
            Self::Image {
                height,
                width,
                channels,
            } => height * width * channels,
            Self::Features { dim } => dim,
        }
    }

    /// The dimensions of a batch of `count` inputs.
    pub fn batch(self, count: usize) -> Vec<usize> {
        match self {
            Self::Image {
                height,
                width,
                channels,
            } => vec![count, height, width, channels],
            Self::Features { dim } => vec![count, dim],
        }
    }

    fn image(self, key: &str) -> Result<Map> {
        match self {
            Self::Image {
                height,
                width,
                channels,
            } => Ok(Map {
                height,
                width,
                channels,
            }),
            Self::Features { dim } => Err(Error::Setting {
                key: key.into(),
                expected: "images as input (use [network.mlp] for features)".into(),
                found: format!("features of length {dim}"),
            }),
        }
    }
}

/// A share that dropout can have.
fn check_share(key: &str, share: f32) -> Result<()> {
    if (0.0..1.0).contains(&share) {
        return Ok(());
    }
    Err(Error::Setting {
        key: key.into(),
        expected: "a share from 0 on and below 1".into(),
        found: share.to_string(),
    })
}

/// Declares the networks: the settings enum, the built bodies, and the catalogue.
macro_rules! networks {
    ($($variant:ident, $module:ident, $about:literal;)*) => {
        /// The settings of a network, as `[network.NAME]` in a recipe.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Network {
            $(#[doc = $about] $variant($variant),)*
        }

        #[derive(Clone, Debug)]
        enum Body {
            $($variant($module::Body),)*
        }

        impl Network {
            fn build(&self, scope: &Scope, input: InputShape) -> Result<(Body, usize)> {
                match self {
                    $(Self::$variant(settings) => {
                        let (body, features) = settings.build(scope, input)?;
                        Ok((Body::$variant(body), features))
                    })*
                }
            }

            /// Every network with its defaults, for listings and for tests that miss none.
            pub fn catalogue() -> Vec<(&'static str, &'static str, Self)> {
                vec![$((stringify!($module), $about, Self::$variant($variant::default())),)*]
            }
        }

        impl Body {
            fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
                match self {
                    $(Self::$variant(body) => body.forward(x, mode),)*
                }
            }
        }
    };
}

networks! {
    Convnet, convnet, "Small convolutional network: blocks of 3×3 convolution, batch norm, ReLU, max pooling.";
    Resnet, resnet, "Residual network of basic or bottleneck blocks: ResNet-18, 34, 50, stem and width adjustable.";
    Googlenet, googlenet, "GoogLeNet with batch norm.";
    InceptionV3, inception_v3, "Inception-v3, the network of the constellation loss.";
    InceptionResnetV1, inception_resnet_v1, "Inception-ResNet-v1, the usual face network.";
    Facenet, facenet, "The networks NN1 to NN4, NNS1 and NNS2 of FaceNet.";
    Casia, casia, "The face network of CASIA-WebFace, of the N-pair loss.";
    Alexnet, alexnet, "AlexNet, the tower of the quadruplet paper's baseline.";
    MobilenetV3, mobilenet_v3, "MobileNetV3-small.";
    Vit, vit, "Vision Transformer: ViT-S/16 and its family.";
    Mlp, mlp, "Fully connected network for precomputed features.";
}
