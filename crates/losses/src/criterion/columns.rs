//! The columns of a pair matrix: the batch itself, references, or class proxies.

use super::{Part, Run, Seen, add_rows, finite};
use crate::error::Error;
use crate::loss::{Columns, Form};
use crate::parameter::Parameter;
use nearkin_kernels::gather_rows;
use rand::seq::index::sample;
use std::borrow::Cow;
use std::collections::HashSet;

/// The columns of a pair matrix.
pub(super) enum Others<'a> {
    /// The batch itself.
    Batch,
    /// References or proxies.
    Vectors(Vectors<'a>),
}

pub(super) struct Vectors<'a> {
    /// `[C, D]`, row-major.
    pub points: Cow<'a, [f32]>,
    pub labels: Cow<'a, [u32]>,
    /// Column of row 0 of the batch, if the batch is among the columns.
    pub own: Option<usize>,
    pub learner: Learner,
}

/// Who learns from the gradient of the columns.
#[derive(PartialEq)]
pub(super) enum Learner {
    Nobody,
    References,
    /// The rows of the batch from this one on.
    Rows(usize),
    /// The parameter with this number, all of it.
    Proxies(usize),
    /// These rows of it.
    SomeProxies(usize, Vec<u32>),
}

impl Run<'_> {
    /// What the rows are compared with; `parameters` are those of the part, `first` is the number of the first.
    pub(super) fn others<'b>(
        &mut self,
        part: Part<'_>,
        seen: &Seen<'b>,
        (parameters, first): (&'b [Parameter], usize),
        labels: &[u32],
    ) -> Result<Others<'b>, Error> {
        let name = part.objective.loss.name();
        match (part.objective.loss.definition().columns(), seen.references) {
            (Columns::Items | Columns::ItemsAndProxies { .. }, None) => Ok(Others::Batch),
            (Columns::Items, Some(_)) => references(part, seen),
            (_, Some(_)) => Err(Error::References { loss: name }),
            (Columns::Proxies { per_class }, None) => {
                if let Some(&label) = labels.iter().find(|&&label| label as usize >= self.classes) {
                    return Err(Error::Class {
                        label,
                        classes: self.classes,
                    });
                }
                let share = part.objective.loss.definition().sampled();
                let wanted = (f64::from(share) * self.classes as f64).ceil() as usize;
                let values = &parameters[0].values;
                if wanted >= self.classes {
                    let classes: Vec<u32> = (0..self.classes as u32).collect();
                    return Ok(Others::Vectors(Vectors {
                        points: Cow::Borrowed(values),
                        labels: Cow::Owned(repeated(&classes, per_class)),
                        own: None,
                        learner: Learner::Proxies(first),
                    }));
                }
                let classes = self.sampled_classes(wanted, labels);
                let of =
                    |&class: &u32| (0..per_class as u32).map(move |k| class * per_class as u32 + k);
                let rows: Vec<u32> = classes.iter().flat_map(of).collect();
                let mut vectors = vec![0.0; rows.len() * part.dim];
                gather_rows(values, part.dim, &rows, &mut vectors);
                Ok(Others::Vectors(Vectors {
                    points: Cow::Owned(vectors),
                    labels: Cow::Owned(repeated(&classes, per_class)),
                    own: None,
                    learner: Learner::SomeProxies(first, rows),
                }))
            }
        }
    }

    /// The classes of the batch with as many others, drawn at random, as make `wanted`.
    fn sampled_classes(&mut self, wanted: usize, labels: &[u32]) -> Vec<u32> {
        let mut present = labels.to_vec();
        present.sort_unstable();
        present.dedup();
        let drawn = sample(self.rng, self.classes, wanted)
            .into_iter()
            .map(|class| class as u32);
        let absent = drawn.filter(|class| present.binary_search(class).is_err());
        let mut classes: Vec<u32> = absent.take(wanted.saturating_sub(present.len())).collect();
        classes.extend(present);
        classes.sort_unstable();
        classes
    }

    /// Hands the gradient of the columns to whoever learns from it.
    pub(super) fn add_column_gradient(
        &mut self,
        learner: &Learner,
        gradient: Vec<f32>,
        part: Part<'_>,
    ) {
        match learner {
            Learner::Nobody => {}
            Learner::References => {
                add_rows(&mut self.outcome.references, self.width, &gradient, part);
            }
            Learner::Rows(first) => {
                let rows = &mut self.outcome.gradient[first * self.width..];
                add_rows(rows, self.width, &gradient, part);
            }
            Learner::Proxies(parameter) => {
                self.add_parameter_gradient(*parameter, gradient, part.weight);
            }
            Learner::SomeProxies(parameter, rows) => {
                let len = self.parameters[*parameter].values.len();
                let sum = &mut self.outcome.parameters[*parameter];
                sum.resize(len, 0.0);
                for (&row, gradient) in rows.iter().zip(gradient.chunks_exact(part.dim)) {
                    let sum = &mut sum[row as usize * part.dim..][..part.dim];
                    sum.iter_mut()
                        .zip(gradient)
                        .for_each(|(s, g)| *s += part.weight as f32 * g);
                }
            }
        }
    }
}

/// The rows of a pair matrix with their labels: the batch, and proxies after it if the loss has them as rows.
pub(super) fn rows<'b>(
    columns: Columns,
    dense: &'b [f32],
    labels: &'b [u32],
    parameters: &[Parameter],
) -> (Cow<'b, [f32]>, Cow<'b, [u32]>) {
    let Columns::ItemsAndProxies { proxies } = columns else {
        return (Cow::Borrowed(dense), Cow::Borrowed(labels));
    };
    let present: HashSet<u32> = labels.iter().copied().collect();
    // The labels of no item.
    let absent = (0..).filter(|label| !present.contains(label));
    let labels = labels.iter().copied().chain(absent.take(proxies)).collect();
    let dense = [dense, &parameters[0].values].concat();
    (Cow::Owned(dense), Cow::Owned(labels))
}

fn repeated(classes: &[u32], times: usize) -> Vec<u32> {
    let of = |&class| std::iter::repeat_n(class, times);
    classes.iter().flat_map(of).collect()
}

/// The references of a batch, if the loss can be used against them.
fn references<'b>(part: Part<'_>, seen: &Seen<'b>) -> Result<Others<'b>, Error> {
    let loss = &part.objective.loss;
    let needs_square = match loss.form() {
        Form::Rows(rows) => rows.needs_square(),
        Form::Matrix(matrix) => matrix.needs_square(),
        Form::Views(_) | Form::Wrapper(_) => false,
    };
    let Some(references) = seen.references.filter(|_| !needs_square) else {
        return Err(Error::References { loss: loss.name() });
    };
    if let Some(miner) = part.objective.square_miner() {
        return Err(Error::MinerReferences { miner });
    }
    let (rows, cols) = (references.embeddings.rows, references.embeddings.cols);
    if references.labels.len() != rows {
        let labels = references.labels.len();
        return Err(Error::Labels { rows, labels });
    }
    if cols != part.dim {
        return Err(Error::Width {
            found: cols,
            expected: part.dim,
        });
    }
    Ok(Others::Vectors(Vectors {
        points: finite(references.embeddings)?,
        labels: Cow::Borrowed(references.labels),
        own: references.own,
        learner: match (references.learn, seen.reference_rows) {
            (false, _) => Learner::Nobody,
            (true, None) => Learner::References,
            (true, Some(first)) => Learner::Rows(first),
        },
    }))
}
