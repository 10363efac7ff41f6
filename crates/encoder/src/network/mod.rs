//! Networks: from a batch of inputs to embeddings.
//!
//! A network's settings ([`Network`], in the recipe's `[network.…]`) and the shape of its input
//! make an [`Embedder`]: a body that turns inputs into features and a head that turns features into
//! embeddings. Adding a network takes its file and one line of the catalogue below.

pub mod convnet;
mod embedder;
pub mod mlp;
pub mod resnet;

pub use convnet::Convnet;
pub use embedder::{Embedder, Head};
pub use mlp::Mlp;
pub use resnet::Resnet;

use crate::error::{Error, Result};
use crate::layer::Mode;
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

    fn image(self, key: &str) -> Result<(usize, usize, usize)> {
        match self {
            Self::Image {
                height,
                width,
                channels,
            } => Ok((height, width, channels)),
            Self::Features { dim } => Err(Error::Setting {
                key: key.into(),
                expected: "images as input (use [network.mlp] for features)".into(),
                found: format!("features of length {dim}"),
            }),
        }
    }
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
    Resnet, resnet, "Residual network of basic blocks: ResNet-18 and its family, stem and width adjustable.";
    Mlp, mlp, "Fully connected network for precomputed features.";
}
