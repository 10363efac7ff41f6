//! The head that a softmax classification of pairs learned, kept beside the encoder.

use crate::error::{Error, Result};
use crate::train::LearnedLoss;
use crate::train::checkpoint::write_json;
use nearkin_encoder::host::{Host, tensor};
use nearkin_encoder::weights::{self, Tensors};
use nearkin_kernels::Mat;
use nearkin_losses::loss::{Loss, SoftmaxClassification};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A linear layer on a pair's embeddings that tells classes of pairs apart, such as entailment and contradiction
/// (Sentence-BERT, section 3, classification objective).
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What the layer sees of a pair.
    pub concatenation: SoftmaxClassification,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// `[classes, width]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`; none where the layer has none.
    pub bias: Option<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    concatenation: SoftmaxClassification,
    classes: Vec<String>,
}

impl Head {
    /// The head of a loss over pairs of these classes; `None` for a loss that is no softmax classification.
    ///
    /// # Errors
    /// Its parameters are not in host memory.
    pub fn of(loss: &LearnedLoss, classes: &[String]) -> Result<Option<Self>> {
        let Loss::SoftmaxClassification(concatenation) = &loss.objective().loss else {
            return Ok(None);
        };
        let numbers = |parameter: &nearkin_encoder::parameters::Parameter| -> Result<Vec<f32>> {
            Ok(Host::new(parameter.var.as_tensor())?.to_vec())
        };
        let mut learned = loss.parameters().iter().map(numbers);
        Ok(Some(Self {
            concatenation: concatenation.clone(),
            classes: classes.to_vec(),
            weight: learned.next().transpose()?.unwrap_or_default(),
            bias: learned.next().transpose()?,
        }))
    }

    /// The class of each pair.
    ///
    /// # Errors
    /// The embeddings are of another width than the head's, or not finite.
    pub fn classify(&self, first: Mat<'_>, second: Mat<'_>) -> Result<Vec<u32>> {
        let parameters: Vec<&[f32]> = std::iter::once(&self.weight[..])
            .chain(self.bias.as_deref())
            .collect();
        let classes = self.concatenation.classify([first, second], &parameters);
        classes.map_err(Error::Objective)
    }

    /// Writes `head.safetensors` and `head.json` into a folder, under another name than `head` where given.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let rows = self.classes.len();
        let width = self.weight.len() / rows.max(1);
        let mut tensors = Tensors::new();
        tensors.insert("weight".into(), tensor(self.weight.clone(), (rows, width))?);
        if let Some(bias) = &self.bias {
            tensors.insert("bias".into(), tensor(bias.clone(), rows)?);
        }
        weights::write(&tensors, &folder.join(format!("{name}.safetensors")))?;
        let config = Config {
            concatenation: self.concatenation.clone(),
            classes: self.classes.clone(),
        };
        write_json(&folder.join(format!("{name}.json")), &config)
    }

    /// Whether a folder holds one of this name.
    pub fn is_in(folder: &Path, name: &str) -> bool {
        folder.join(format!("{name}.safetensors")).exists()
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn load(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        let wrong = |path: &Path, reason: String| Error::Run {
            path: path.into(),
            reason,
        };
        let text = fs_err::read_to_string(&path)?;
        let config: Config =
            serde_json::from_str(&text).map_err(|e| wrong(&path, e.to_string()))?;
        let path = folder.join(format!("{name}.safetensors"));
        let tensors = weights::read(&path)?;
        let numbers = |name: &str| -> Result<Option<Vec<f32>>> {
            let found = tensors.get(name);
            let numbers = found.map(|values| Ok(Host::new(values)?.to_vec()));
            numbers.transpose()
        };
        let weight = numbers("weight")?;
        let weight = weight.ok_or_else(|| wrong(&path, "tensor \"weight\" is missing".into()))?;
        Ok(Self {
            concatenation: config.concatenation,
            classes: config.classes,
            weight,
            bias: numbers("bias")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_writing_and_tells_pairs_apart() {
        let head = Head {
            concatenation: SoftmaxClassification {
                embeddings: false,
                ..SoftmaxClassification::default()
            },
            classes: vec!["near".into(), "far".into()],
            weight: vec![-1.0, 1.0],
            bias: Some(vec![1.0, -1.0]),
        };
        let folder = tempfile::tempdir().unwrap();
        head.save(folder.path(), "head").unwrap();
        assert!(Head::is_in(folder.path(), "head") && !Head::is_in(folder.path(), "other"));
        let again = Head::load(folder.path(), "head").unwrap();
        assert_eq!(again, head);
        let (u, v) = ([0.0, 0.0], [0.5, 3.0]);
        let found = again.classify(Mat::new(&u, 2, 1), Mat::new(&v, 2, 1));
        assert_eq!(found.unwrap(), [0, 1]);
        let wide = [0.0; 4];
        assert!(
            head.classify(Mat::new(&wide, 2, 2), Mat::new(&wide, 2, 2))
                .is_ok_and(|c| c.len() == 2)
        );
    }
}
