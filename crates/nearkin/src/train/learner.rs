//! What learns: the network, and what its loss learns and remembers beside it.

use super::Setup;
use crate::error::{Error, Result};
use crate::optimize::Gradients;
use nearkin_encoder::Model;
use nearkin_encoder::host::{Host, tensor};
use nearkin_encoder::parameters::{Kind, Parameter, Parameters, Storage, named_rng};
use nearkin_encoder::weights::Tensors;
use nearkin_encoder::{Tensor, Var};
use nearkin_kernels::Mat;
use nearkin_losses::loss::Shape;
use nearkin_losses::{Batch, Criterion, Outcome, Targets};

/// A network with its loss at work.
pub struct Learner {
    /// The network.
    pub model: Model,
    criterion: Criterion,
    /// Learned parameters of the network, then those of the loss, named `loss.…`.
    parameters: Parameters,
    /// How many of them are the loss's: the last ones.
    of_loss: usize,
    /// Number of each class among the training classes, by its number in the data.
    classes: Vec<u32>,
    seed: u64,
}

impl Learner {
    /// A network with starting weights, and its loss.
    ///
    /// # Errors
    /// The network does not fit the input, or the parts of the loss do not go together.
    pub fn new(setup: &Setup) -> Result<Self> {
        let model = setup.model()?;
        let classes = training_classes(setup);
        let shape = Shape {
            dim: model.embedder.dim(),
            classes: classes.iter().filter(|&&class| class != u32::MAX).count(),
        };
        let objective = setup.recipe.objective();
        // Items of classes are all that training knows; better known now than at the first batch.
        let criterion = match objective.unlabeled_loss() {
            Some(loss) => Err(nearkin_losses::Error::NotAligned { loss }),
            None => Criterion::new(objective, shape, setup.recipe.seed),
        };
        let criterion = criterion.map_err(Error::Objective)?;
        let of_loss: Vec<Parameter> = criterion
            .parameters()
            .iter()
            .map(|parameter| {
                Ok(Parameter {
                    name: format!("loss.{}", parameter.name),
                    var: Var::from_tensor(&tensor(
                        parameter.values.clone(),
                        &parameter.shape[..],
                    )?)?,
                    // A single row is a bias or a boundary.
                    kind: if parameter.shape[0] > 1 {
                        Kind::Weight
                    } else {
                        Kind::Offset
                    },
                    storage: Storage::Plain,
                    stored: vec![format!("loss.{}", parameter.name)],
                })
            })
            .collect::<Result<_>>()?;
        let count = of_loss.len();
        let of_network = model.embedder.parameters().learned().cloned();
        Ok(Self {
            parameters: of_network.chain(of_loss).collect(),
            of_loss: count,
            model,
            criterion,
            classes,
            seed: setup.recipe.seed,
        })
    }

    /// All that the optimizer moves.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn loss_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().rev().take(self.of_loss).rev()
    }

    /// The loss of embeddings with the labels of the data, at batch number `step`.
    ///
    /// # Errors
    /// The loss refuses the batch.
    pub fn loss(&mut self, embeddings: Mat<'_>, labels: &[u32], step: u64) -> Result<Outcome> {
        let first = self.parameters.iter().len() - self.of_loss;
        let learned = self.parameters.iter().skip(first);
        for (parameter, learned) in self.criterion.parameters_mut().iter_mut().zip(learned) {
            parameter
                .values
                .copy_from_slice(&Host::new(learned.var.as_tensor())?);
        }
        let labels: Vec<u32> = labels
            .iter()
            .map(|&label| self.classes[label as usize])
            .collect();
        let batch = Batch {
            embeddings,
            targets: Targets::Labels(&labels),
        };
        let mut rng = named_rng(self.seed, &format!("loss/{step}"));
        let outcome = self.criterion.value_and_grad(batch, &mut rng);
        outcome.map_err(|source| Error::Loss {
            step: step + 1,
            loss: self.criterion.objective().loss.name().to_owned(),
            source,
        })
    }

    /// Appends the gradients of the loss's parameters to those of the network's.
    ///
    /// # Errors
    /// A gradient is not of its parameter's shape.
    pub fn extend(&self, gradients: &mut Gradients, outcome: Outcome) -> Result<()> {
        for (parameter, gradient) in self.loss_parameters().zip(outcome.parameters) {
            gradients.push(tensor(gradient, parameter.var.shape())?);
        }
        Ok(())
    }

    /// What the loss learned and remembers, for a checkpoint.
    ///
    /// # Errors
    /// A tensor cannot be made.
    pub fn loss_tensors(&self) -> Result<Tensors> {
        let of_parameter = |p: &Parameter| (p.name.clone(), p.var.as_detached_tensor());
        let mut tensors: Tensors = self.loss_parameters().map(of_parameter).collect();
        for (k, queue) in self.criterion.queues().iter().enumerate() {
            let rows = queue.labels().len();
            // Numbers of classes are small enough to be exact in f32.
            let labels: Vec<f32> = queue.labels().iter().map(|&label| label as f32).collect();
            let cols = queue.vectors().len() / rows.max(1);
            tensors.insert(format!("queue.{k}.labels"), tensor(labels, rows)?);
            let vectors = tensor(queue.vectors().to_vec(), (rows, cols))?;
            tensors.insert(format!("queue.{k}.vectors"), vectors);
        }
        Ok(tensors)
    }

    /// Takes back what [`loss_tensors`](Self::loss_tensors) gave.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn restore_loss(&mut self, tensors: &Tensors) -> std::result::Result<(), String> {
        let find = |name: &str| {
            let found = tensors.get(name);
            found.ok_or_else(|| format!("tensor \"{name}\" is missing"))
        };
        for parameter in self.loss_parameters() {
            let stored = find(&parameter.name)?;
            let set = parameter.var.set(stored);
            set.map_err(|e| format!("tensor \"{}\": {e}", parameter.name))?;
        }
        for (k, queue) in self.criterion.queues_mut().iter_mut().enumerate() {
            let [vectors, labels] = ["vectors", "labels"].map(|part| format!("queue.{k}.{part}"));
            let labels = numbers(find(&labels)?)?
                .iter()
                .map(|&label| label as u32)
                .collect();
            let restored = queue.restore(numbers(find(&vectors)?)?, labels);
            restored.map_err(|e| format!("tensor \"{vectors}\": {e}"))?;
        }
        Ok(())
    }
}

fn numbers(tensor: &Tensor) -> std::result::Result<Vec<f32>, String> {
    Ok(Host::new(tensor).map_err(|e| e.to_string())?.to_vec())
}

/// Number of each class of the data among the training classes; `u32::MAX` for one that trains nothing.
fn training_classes(setup: &Setup) -> Vec<u32> {
    let dataset = setup.feed.dataset();
    let labels = &dataset.labels;
    let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut classes = vec![u32::MAX; count];
    for &item in &setup.parts.train {
        classes[labels[item] as usize] = 0;
    }
    let present = classes.iter_mut().filter(|class| **class == 0);
    for (number, class) in present.enumerate() {
        *class = number as u32;
    }
    classes
}
