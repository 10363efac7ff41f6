//! Which setting of a recipe decides what does not fit.

use super::{Network, PairNetwork};
use crate::error::Error;

impl Network {
    /// What went wrong in making this network, as an error of the setting that decides it; others stay as they are.
    ///
    /// ```
    /// use nearkin_encoder::network::{Convnet, Network};
    /// use nearkin_encoder::{Embedder, Head, InputShape};
    /// let deep = Network::Convnet(Convnet { widths: vec![4; 5], ..Convnet::default() });
    /// let small = InputShape::Image { height: 16, width: 16, channels: 1 };
    /// let error = Embedder::new(&deep, &Head::default(), small, 0).unwrap_err();
    /// assert!(deep.placed(error).to_string().starts_with("network.convnet.widths: expected"));
    /// ```
    pub fn placed(&self, error: Error) -> Error {
        let [reach, width] = match self {
            Self::Convnet(_) => ["network.convnet.widths"; 2],
            Self::Resnet(_) => ["network.resnet.stem", "network.resnet.width"],
            Self::Googlenet(_) => ["network.googlenet.stem", "network.googlenet.width"],
            Self::InceptionV3(_) => ["network.inception_v3.stem", "network.inception_v3.width"],
            Self::InceptionResnetV1(_) => [
                "network.inception_resnet_v1.stem",
                "network.inception_resnet_v1.width",
            ],
            Self::Facenet(_) => ["network.facenet.stem", "network.facenet.width"],
            Self::Casia(_) => ["network.casia", "network.casia.width"],
            Self::Alexnet(_) => ["network.alexnet.stem", "network.alexnet.width"],
            Self::MobilenetV3(_) => ["network.mobilenet_v3.stem", "network.mobilenet_v3.width"],
            Self::Vit(_) => ["network.vit.patch", "network.vit.width"],
            Self::Mlp(_) => ["network.mlp.hidden"; 2],
        };
        placed(error, reach, width)
    }
}

impl PairNetwork {
    /// What went wrong in making this network, as an error of the setting that decides it; others stay as they are.
    pub fn placed(&self, error: Error) -> Error {
        match self {
            Self::Alexnet(_) => placed(
                error,
                "pair_network.alexnet.stem",
                "pair_network.alexnet.width",
            ),
        }
    }
}

/// An error at the setting that decides how small maps become, or at the one that decides how wide layers are.
fn placed(error: Error, reach: &str, width: &str) -> Error {
    let (key, expected) = match &error {
        Error::TooSmall { .. } => (reach, "one for images of this size"),
        Error::TooManyWeights { name, .. } if name.starts_with("embedding.") => {
            ("head.dim", "a smaller one")
        }
        Error::TooManyWeights { .. } => (width, "a smaller one"),
        _ => return error,
    };
    Error::Setting {
        key: key.into(),
        expected: expected.into(),
        found: error.to_string(),
    }
}
