//! A loss at work in a run: what it learns is the optimizer's, what it remembers the checkpoint's.

use crate::error::{Error, Result};
use nearkin_encoder::host::{Host, tensor};
use nearkin_encoder::parameters::{Kind, Parameter, Storage, named_rng};
use nearkin_encoder::weights::Tensors;
use nearkin_encoder::{Tensor, Var};
use nearkin_losses::loss::Shape;
use nearkin_losses::{Batch, Criterion, Objective, Outcome};

/// A loss with its learned parameters as the optimizer sees them.
pub struct LearnedLoss {
    criterion: Criterion,
    parameters: Vec<Parameter>,
    /// Stands before the names of its parameters, and keys its random draws.
    name: String,
    seed: u64,
}

impl LearnedLoss {
    /// The loss at its start; its parameters are named `{name}.…`.
    ///
    /// # Errors
    /// The parts of the objective do not go together.
    pub fn new(objective: Objective, shape: Shape, seed: u64, name: &str) -> Result<Self> {
        let criterion = Criterion::new(objective, shape, seed).map_err(Error::Objective)?;
        let parameter = |parameter: &nearkin_losses::Parameter| -> Result<Parameter> {
            let values = tensor(parameter.values.clone(), &parameter.shape[..])?;
            let name = format!("{name}.{}", parameter.name);
            Ok(Parameter {
                stored: vec![name.clone()],
                name,
                var: Var::from_tensor(&values)?,
                // A single row or column is a bias or a boundary, which weight decay leaves alone.
                kind: if parameter.shape.contains(&1) {
                    Kind::Offset
                } else {
                    Kind::Weight
                },
                storage: Storage::Plain,
            })
        };
        let parameters = criterion.parameters().iter().map(parameter);
        Ok(Self {
            parameters: parameters.collect::<Result<_>>()?,
            criterion,
            name: name.to_owned(),
            seed,
        })
    }

    /// What it minimizes.
    pub fn objective(&self) -> &Objective {
        self.criterion.objective()
    }

    /// What it learns.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Value and gradients of batch number `number`.
    ///
    /// # Errors
    /// The loss refuses the batch.
    pub fn value_and_grad(&mut self, batch: Batch<'_>, number: u64) -> Result<Outcome> {
        let values = self.criterion.parameters_mut().iter_mut();
        for (values, learned) in values.zip(&self.parameters) {
            let learned = Host::new(learned.var.as_tensor())?;
            values.values.copy_from_slice(&learned);
        }
        let mut rng = named_rng(self.seed, &format!("{}/{number}", self.name));
        let outcome = self.criterion.value_and_grad(batch, &mut rng);
        outcome.map_err(|source| Error::Loss {
            step: number + 1,
            loss: self.objective().loss.name().to_owned(),
            source,
        })
    }

    /// What it learned and remembers, for a checkpoint.
    ///
    /// # Errors
    /// A tensor cannot be made.
    pub fn tensors(&self) -> Result<Tensors> {
        let of_parameter = |p: &Parameter| (p.name.clone(), p.var.as_detached_tensor());
        let mut tensors: Tensors = self.parameters.iter().map(of_parameter).collect();
        for (k, queue) in self.criterion.queues().iter().enumerate() {
            let rows = queue.labels().len();
            // Numbers of classes are small enough to be exact in f32.
            let labels: Vec<f32> = queue.labels().iter().map(|&label| label as f32).collect();
            let cols = queue.vectors().len() / rows.max(1);
            let [of_vectors, of_labels] = self.queue_names(k);
            tensors.insert(of_labels, tensor(labels, rows)?);
            let vectors = tensor(queue.vectors().to_vec(), (rows, cols))?;
            tensors.insert(of_vectors, vectors);
        }
        Ok(tensors)
    }

    /// Takes back what [`tensors`](Self::tensors) gave.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn restore(&mut self, tensors: &Tensors) -> std::result::Result<(), String> {
        let find = |name: &str| {
            let found = tensors.get(name);
            found.ok_or_else(|| format!("tensor \"{name}\" is missing"))
        };
        for parameter in &self.parameters {
            let stored = find(&parameter.name)?;
            let set = parameter.var.set(stored);
            set.map_err(|e| format!("tensor \"{}\": {e}", parameter.name))?;
        }
        let names: Vec<_> = (0..self.criterion.queues().len())
            .map(|k| self.queue_names(k))
            .collect();
        for ([vectors, labels], queue) in names.iter().zip(self.criterion.queues_mut()) {
            let labels = numbers(find(labels)?)?;
            let labels = labels.iter().map(|&label| label as u32).collect();
            let restored = queue.restore(numbers(find(vectors)?)?, labels);
            restored.map_err(|e| format!("tensor \"{vectors}\": {e}"))?;
        }
        Ok(())
    }

    fn queue_names(&self, k: usize) -> [String; 2] {
        ["vectors", "labels"].map(|part| format!("{}.queue.{k}.{part}", self.name))
    }
}

fn numbers(tensor: &Tensor) -> std::result::Result<Vec<f32>, String> {
    Ok(Host::new(tensor).map_err(|e| e.to_string())?.to_vec())
}
