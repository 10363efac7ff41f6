//! An objective at work: with the learned parameters and the memory that its losses need.

mod columns;
mod pairs;
mod queue;
mod views;

pub use queue::Queue;

use crate::batch::{Batch, References, Targets};
use crate::error::Error;
use crate::loss::Part;
use crate::loss::{Columns, Evaluation, Form, Shape, Twins, Wrapper};
use crate::objective::Objective;
use crate::parameter::{Parameter, ParameterSpec, Start};
use crate::regularizer::On;
use nearkin_kernels::{Mat, first_non_finite};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::borrow::Cow;

/// Entries of `S` beyond which references and proxies are passed in blocks of rows: 128 MiB each for `S` and `G`.
const HELD: usize = 1 << 25;

/// Numbers that one task passes over.
const CHUNK: usize = 1 << 14;

/// An objective at work.
///
/// # Example
/// ```
/// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, Objective, SeedableRng, Targets, loss::{Shape, TripletMargin}};
/// let shape = Shape { dim: 1, classes: 2 };
/// let mut criterion = Criterion::new(TripletMargin::default().into(), shape, 0)?;
/// assert!(criterion.parameters().is_empty()); // a triplet loss learns nothing itself
/// let embeddings = [0.0, 1.0, 3.0];
/// let batch = Batch { embeddings: Mat::new(&embeddings, 3, 1), targets: Targets::Labels(&[0, 0, 1]) };
/// let outcome = criterion.value_and_grad(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert_eq!(outcome.gradient.len(), 3);
/// # Ok::<(), nearkin_losses::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Criterion {
    objective: Objective,
    shape: Shape,
    parameters: Vec<Parameter>,
    queues: Vec<Queue>,
    held: usize,
}

/// What an objective makes of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// `L`.
    pub value: f32,
    /// `∂L/∂E`, shape `[B, D]`, row-major.
    pub gradient: Vec<f32>,
    /// Share of the tuples still violated, from 0 to 1: near 0 there is nothing left to learn from, and a sudden 1 is a
    /// sign of collapse.
    pub active: f32,
    /// Share of the pairs of the batch that the miner let take part, from 0 to 1; 1 for a loss that is not of pairs.
    pub kept: f32,
    /// Tuples that took part; zero if the batch has no positives or no negatives to form one.
    pub tuples: usize,
    /// Those of them with fewer negatives than the loss asks for, which are made of the negatives that there are.
    pub short: usize,
    /// `∂L/∂p` of each learned parameter of the loss, in the order of [`Criterion::parameters`].
    pub parameters: Vec<Vec<f32>>,
    /// `∂L/∂E` of the references, if they were to learn; empty otherwise.
    pub references: Vec<f32>,
}

impl Criterion {
    /// With starting values drawn from `seed`.
    ///
    /// # Errors
    /// Parts of the objective do not go together, or with the width: see [`Objective::check`] and
    /// [`Objective::check_width`].
    pub fn new(objective: Objective, shape: Shape, seed: u64) -> Result<Self, Error> {
        objective.check()?;
        objective.check_width(shape.dim)?;
        let mut criterion = Self {
            objective,
            shape,
            parameters: Vec::new(),
            queues: Vec::new(),
            held: HELD,
        };
        let objective = criterion.objective.clone();
        criterion.declare(&objective, shape, "", &mut ChaCha8Rng::seed_from_u64(seed))?;
        Ok(criterion)
    }

    /// Learned parameters of a loss and of what it wraps, in the order in which they are evaluated.
    fn declare(
        &mut self,
        objective: &Objective,
        shape: Shape,
        prefix: &str,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), Error> {
        if let Form::Wrapper(wrapper) = objective.loss.form() {
            self.queues
                .extend(wrapper.memory().map(|size| Queue::new(size, shape.dim)));
            for (k, part) in wrapper.parts(shape.dim).into_iter().enumerate() {
                let inner = Shape {
                    dim: part.dim,
                    ..shape
                };
                self.declare(part.objective, inner, &format!("{prefix}{k}."), rng)?;
            }
            return Ok(());
        }
        let definition = objective.loss.definition();
        let proxies = match definition.columns() {
            Columns::Items => None,
            Columns::Proxies { per_class } => Some(shape.classes * per_class),
            Columns::ItemsAndProxies { proxies } => Some(proxies),
        };
        let proxies = proxies.map(|proxies| ParameterSpec {
            name: "proxies",
            shape: [proxies, shape.dim],
            start: Start::Normal((shape.dim as f32).sqrt().recip()),
        });
        for spec in proxies.into_iter().chain(definition.learned(shape)) {
            self.parameters.push(Parameter::new(prefix, &spec, rng)?);
        }
        Ok(())
    }

    /// The same with another bound of memory: against references and proxies, losses that are sums over anchors hold so many
    /// distances at a time, or one row of them, and as many slopes. The value does not depend on it, but for a miner that
    /// draws at random.
    #[must_use]
    pub fn holding(self, distances: usize) -> Self {
        Self {
            held: distances,
            ..self
        }
    }

    /// The objective.
    #[must_use]
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// The learned parameters of the loss.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The same, for an optimizer.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// What the loss remembers of earlier batches, for a checkpoint.
    #[must_use]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// The same, to go on from a checkpoint.
    pub fn queues_mut(&mut self) -> &mut [Queue] {
        &mut self.queues
    }

    /// Value and gradients of a batch.
    ///
    /// The same inputs and state of `rng` give the same bits on any number of threads. Only a miner or a loss that
    /// chooses at random draws from `rng`. Memory: two matrices `[B, C]`, which the calling thread keeps for its next
    /// batch; against references or proxies too many for that, blocks of rows.
    ///
    /// # Errors
    /// Targets that do not match the rows, embeddings that are not finite or too large: see [`Error`].
    pub fn value_and_grad(
        &mut self,
        batch: Batch<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        self.evaluate(batch, None, rng)
    }

    /// The same, with the batch compared with references in place of itself.
    ///
    /// # Errors
    /// As for [`value_and_grad`](Self::value_and_grad), and for losses that know no references.
    pub fn against(
        &mut self,
        batch: Batch<'_>,
        references: References<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        self.evaluate(batch, Some(references), rng)
    }

    fn evaluate(
        &mut self,
        batch: Batch<'_>,
        references: Option<References<'_>>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        let (rows, dim) = (batch.embeddings.rows, batch.embeddings.cols);
        if dim != self.shape.dim && rows > 0 {
            return Err(Error::Width {
                found: dim,
                expected: self.shape.dim,
            });
        }
        let dense = finite(batch.embeddings)?;
        let mut outcome = Outcome {
            gradient: vec![0.0; dense.len()],
            references: vec![
                0.0;
                references.map_or(0, |r| if r.learn {
                    r.labels.len() * dim
                } else {
                    0
                })
            ],
            // Each is empty until a first gradient is there.
            parameters: vec![Vec::new(); self.parameters.len()],
            ..Outcome::default()
        };
        let mut run = Run {
            parameters: &self.parameters,
            next_parameter: 0,
            queues: self.queues.iter_mut(),
            classes: self.shape.classes,
            width: dim,
            held: self.held,
            total: Evaluation::default(),
            kept: [0; 2],
            outcome: &mut outcome,
            rng,
        };
        let whole = Part {
            objective: &self.objective,
            weight: 1.0,
            dim,
        };
        // Labels and views are checked also where there is nothing to compute.
        run.part(
            whole,
            &Seen {
                dense: &dense,
                targets: batch.targets,
                references,
                reference_rows: None,
            },
        )?;
        let (total, kept) = (run.total, run.kept);
        for (gradient, parameter) in outcome.parameters.iter_mut().zip(&self.parameters) {
            gradient.resize(parameter.values.len(), 0.0);
        }
        outcome.value = total.value as f32;
        outcome.kept = share(kept);
        outcome.tuples = total.tuples;
        outcome.active = total.active as f32 / total.tuples.max(1) as f32;
        let gradients = [&outcome.gradient, &outcome.references];
        let mut gradients = gradients.iter().copied().chain(&outcome.parameters);
        if !outcome.value.is_finite() || gradients.any(|g| first_non_finite(g).is_some()) {
            return Err(Error::overflow(&dense));
        }
        Ok(outcome)
    }
}

/// What a part sees of a batch.
#[derive(Clone, Copy)]
struct Seen<'a> {
    /// Embeddings `[B, D]`, row-major, of the width of the part.
    dense: &'a [f32],
    targets: Targets<'a>,
    references: Option<References<'a>>,
    /// The row of the batch that is the first reference, if the references are rows of the batch.
    reference_rows: Option<usize>,
}

/// One evaluation under way: parts take their parameters and queues in the order in which they were declared.
struct Run<'a> {
    parameters: &'a [Parameter],
    next_parameter: usize,
    queues: std::slice::IterMut<'a, Queue>,
    classes: usize,
    /// Components of the embeddings of the batch.
    width: usize,
    /// Distances that are held at a time.
    held: usize,
    total: Evaluation,
    /// Pairs that took part, and all pairs.
    kept: [usize; 2],
    outcome: &'a mut Outcome,
    rng: &'a mut ChaCha8Rng,
}

impl<'a> Run<'a> {
    /// Adds a part's value and gradients.
    fn part(&mut self, part: Part<'_>, seen: &Seen<'_>) -> Result<(), Error> {
        // The first parameter of a loss with proxies is the proxies.
        let proxies = self.next_parameter;
        match part.objective.loss.form() {
            Form::Rows(_) | Form::Matrix(_) => self.pair_loss(part, seen),
            Form::Views(loss) => self.view_loss(loss, part, seen),
            Form::Wrapper(wrapper) => self.wrapper(wrapper, part, seen),
        }?;
        self.regularize(part, seen, proxies);
        Ok(())
    }

    /// Adds the values and gradients of a part's regularizers.
    fn regularize(&mut self, part: Part<'_>, seen: &Seen<'_>, proxies: usize) {
        for regularization in &part.objective.regularizers {
            let weighted = Part {
                weight: part.weight * regularization.weight.exact(),
                ..part
            };
            // An empty batch may have no width.
            let (rows, dim) = match regularization.on {
                On::Embeddings => (seen.dense, part.dim),
                On::Proxies => {
                    let proxies = &self.parameters[proxies];
                    (&proxies.values[..], proxies.shape[1])
                }
            };
            if rows.is_empty() {
                continue;
            }
            let (value, gradient) = regularization.penalty.get().value_and_grad(rows, dim);
            self.total.value += weighted.weight * value;
            match regularization.on {
                On::Embeddings => self.add_gradient(&gradient, weighted),
                On::Proxies => self.add_parameter_gradient(proxies, gradient, weighted.weight),
            }
        }
    }

    fn wrapper(
        &mut self,
        wrapper: &dyn Wrapper,
        part: Part<'_>,
        seen: &Seen<'_>,
    ) -> Result<(), Error> {
        let mut seen = *seen;
        let queue = wrapper.memory().and_then(|_| self.queues.next());
        if let Some(queue) = queue {
            let name = part.objective.loss.name();
            let rows = seen.dense.len() / part.dim.max(1);
            if seen.references.is_some() {
                return Err(Error::References { loss: name });
            }
            queue.push(seen.dense, &seen.targets.labeled(rows)?.labels)?;
            let queue: &Queue = queue;
            seen.references = Some(References {
                embeddings: Mat::new(queue.vectors(), queue.labels().len(), part.dim),
                labels: queue.labels(),
                own: Some(queue.labels().len() - rows),
                learn: false,
            });
            return self.parts(wrapper, part, &seen);
        }
        match wrapper.twins() {
            Some(twins) => self.twins(wrapper, twins, part, &seen),
            None => self.parts(wrapper, part, &seen),
        }
    }

    /// The parts of a wrapper for which each item is a class.
    fn twins(
        &mut self,
        wrapper: &dyn Wrapper,
        twins: Twins,
        part: Part<'_>,
        seen: &Seen<'_>,
    ) -> Result<(), Error> {
        let loss = part.objective.loss.name();
        let Targets::Aligned(aligned) = seen.targets else {
            return Err(Error::NotAligned { loss });
        };
        if seen.references.is_some() {
            return Err(Error::References { loss });
        }
        let rows = seen.dense.len() / part.dim.max(1);
        let n = aligned.items(rows)?;
        let labels: Vec<u32> = (0..rows).map(|row| (row % n) as u32).collect();
        let mut seen = Seen {
            targets: Targets::Labels(&labels),
            ..*seen
        };
        if twins == Twins::Against {
            let (first, others) = seen.dense.split_at(n * part.dim);
            seen.dense = first;
            seen.targets = Targets::Labels(&labels[..n]);
            seen.references = Some(References {
                embeddings: Mat::new(others, rows - n, part.dim),
                labels: &labels[n..],
                own: None,
                learn: true,
            });
            seen.reference_rows = Some(n);
        }
        self.parts(wrapper, part, &seen)
    }

    /// The parts of a wrapper, each on its leading components.
    fn parts(
        &mut self,
        wrapper: &dyn Wrapper,
        outer: Part<'_>,
        seen: &Seen<'_>,
    ) -> Result<(), Error> {
        for part in wrapper.parts(outer.dim) {
            let weighted = Part {
                weight: outer.weight * part.weight,
                ..part
            };
            if part.dim == outer.dim {
                self.part(weighted, seen)?;
                continue;
            }
            let dense = leading(seen.dense, outer.dim, part.dim);
            let others = seen.references.map(|r| finite(r.embeddings)).transpose()?;
            let others = others.map(|dense| leading(&dense, outer.dim, part.dim));
            let references = seen
                .references
                .zip(others.as_ref())
                .map(|(r, dense)| References {
                    embeddings: Mat::new(dense, r.labels.len(), part.dim),
                    ..r
                });
            self.part(
                weighted,
                &Seen {
                    dense: &dense,
                    references,
                    ..*seen
                },
            )?;
        }
        Ok(())
    }

    /// The parameters of a part that is no wrapper, and the number of the first.
    fn take_parameters(&mut self, part: Part<'_>) -> (&'a [Parameter], usize) {
        let definition = part.objective.loss.definition();
        let shape = Shape {
            dim: part.dim,
            classes: self.classes,
        };
        let proxies = usize::from(definition.columns() != Columns::Items);
        let first = self.next_parameter;
        self.next_parameter += proxies + definition.learned(shape).len();
        (&self.parameters[first..self.next_parameter], first)
    }

    fn add(&mut self, evaluation: Evaluation, weight: f64) {
        self.total.value += weight * evaluation.value;
        self.total.tuples += evaluation.tuples;
        self.total.active += evaluation.active;
    }

    fn add_gradient(&mut self, gradient: &[f32], part: Part<'_>) {
        add_rows(&mut self.outcome.gradient, self.width, gradient, part);
    }

    /// The first gradient of a parameter becomes its sum, those after it are added.
    fn add_parameter_gradient(&mut self, parameter: usize, mut gradient: Vec<f32>, weight: f64) {
        let (sum, weight) = (&mut self.outcome.parameters[parameter], weight as f32);
        if !sum.is_empty() {
            return add(sum, &gradient, weight);
        }
        if weight != 1.0 {
            let chunks = gradient.par_chunks_mut(CHUNK);
            chunks.for_each(|chunk| chunk.iter_mut().for_each(|g| *g *= weight));
        }
        *sum = gradient;
    }
}

/// Adds numbers times a factor.
fn add(sum: &mut [f32], part: &[f32], factor: f32) {
    sum.par_chunks_mut(CHUNK)
        .zip(part.par_chunks(CHUNK))
        .for_each(|(sum, part)| {
            let each = sum.iter_mut().zip(part);
            each.for_each(|(s, g)| *s += factor * g);
        });
}

/// Adds rows of the width of a part to rows of `width`.
fn add_rows(sum: &mut [f32], width: usize, gradient: &[f32], part: Part<'_>) {
    let weight = part.weight as f32;
    for (sum, gradient) in sum
        .chunks_exact_mut(width.max(1))
        .zip(gradient.chunks_exact(part.dim))
    {
        sum.iter_mut()
            .zip(gradient)
            .for_each(|(s, g)| *s += weight * g);
    }
}

/// The first `to` of `from` components of each row.
fn leading(dense: &[f32], from: usize, to: usize) -> Vec<f32> {
    dense
        .chunks_exact(from)
        .flat_map(|row| &row[..to])
        .copied()
        .collect()
}

/// The embeddings row after row, if they are sound.
pub(crate) fn finite(embeddings: Mat<'_>) -> Result<Cow<'_, [f32]>, Error> {
    let Mat {
        rows,
        cols,
        row_stride,
        col_stride,
        ..
    } = embeddings;
    let dense = embeddings.as_contiguous().map_or_else(
        || {
            let at = |k: usize| embeddings.data[k / cols * row_stride + k % cols * col_stride];
            (0..rows * cols).map(at).collect()
        },
        Cow::Borrowed,
    );
    match first_non_finite(&dense) {
        None => Ok(dense),
        Some(k) => Err(Error::NonFinite {
            row: k / cols,
            column: k % cols,
            value: dense[k],
        }),
    }
}

/// The share that some are of all, 1 where there are none.
pub(crate) fn share([some, all]: [usize; 2]) -> f32 {
    if all == 0 {
        1.0
    } else {
        some as f32 / all as f32
    }
}
