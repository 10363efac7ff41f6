//! Loss, distance, miner and reducer together: what a recipe names.

use crate::batch::{Batch, Targets};
use crate::criterion::{Criterion, Outcome, finite};
use crate::distance::{Distance, Distances};
use crate::error::Error;
use crate::exact::Exact;
use crate::loss::{Columns, Form, Loss, Needs, Shape, Twins};
use crate::miner::{All, Miner};
use crate::pairs::{Classes, Pairs};
use crate::reducer::{Mean, Reducer, Term};
use crate::regularizer::{On, Regularization};
use crate::tuples::Tuples;
use nearkin_kernels::Mat;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What training minimizes: a loss over the tuples that a miner finds by a distance, its terms reduced to one number.
///
/// ```text
/// E --distance--> S --miner--> tuples --loss--> terms, G = ∂L/∂S --reducer--> L, G --distance--> ∂L/∂E
/// ```
///
/// # Example
/// ```
/// use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng};
/// let objective: Objective = toml::from_str("[loss.contrastive]\nnegative_margin = 2\n").unwrap();
/// // Points 0 and 1.5 on a line, of two classes: [2 - 1.5]₊² for either order, and the slope -2 (2 - 1.5) for each.
/// let batch = Mat::new(&[0.0, 1.5], 2, 1);
/// let outcome = objective.value_and_grad(batch, &[0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert_eq!((outcome.value, outcome.gradient), (0.25, vec![1.0, -1.0]));
/// # Ok::<(), nearkin_losses::Error>(())
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The loss.
    pub loss: Loss,
    /// The distance; left out, that of the loss's paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// The miner; left out, that of the loss's paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Miner>,
    /// The reducer; left out, that of the loss's paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<Reducer>,
    /// Penalties on the embeddings or on the loss's proxies, added to the loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regularizers: Vec<Regularization>,
}

impl<L: Into<Loss>> From<L> for Objective {
    fn from(loss: L) -> Self {
        Self {
            loss: loss.into(),
            distance: None,
            miner: None,
            reducer: None,
            regularizers: Vec::new(),
        }
    }
}

impl Objective {
    /// The same with another distance.
    #[must_use]
    pub fn with_distance(self, distance: impl Into<Distance>) -> Self {
        Self {
            distance: Some(distance.into()),
            ..self
        }
    }

    /// The same with another miner.
    #[must_use]
    pub fn with_miner(self, miner: impl Into<Miner>) -> Self {
        Self {
            miner: Some(miner.into()),
            ..self
        }
    }

    /// The same with another reducer.
    #[must_use]
    pub fn with_reducer(self, reducer: impl Into<Reducer>) -> Self {
        Self {
            reducer: Some(reducer.into()),
            ..self
        }
    }

    /// The same with one more regularizer.
    #[must_use]
    pub fn with_regularizer(mut self, regularizer: Regularization) -> Self {
        self.regularizers.push(regularizer);
        self
    }

    /// The same with distance, miner and reducer spelled out, here and in what the loss wraps, as a checkpoint records them.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        for objective in self.loss.objectives_mut() {
            *objective = objective.clone().resolved();
        }
        Self {
            distance: self.distance(),
            miner: self.miner(),
            reducer: self.reducer(),
            ..self
        }
    }

    /// The distance in use; `None` if the loss sees the embeddings themselves.
    #[must_use]
    pub fn distance(&self) -> Option<Distance> {
        let default = || self.loss.definition().default_distance();
        self.distance.clone().or_else(default)
    }

    /// The miner in use; `None` if the loss forms its own tuples.
    #[must_use]
    pub fn miner(&self) -> Option<Miner> {
        let default = || self.loss.definition().default_miner();
        self.miner.clone().or_else(default)
    }

    /// The reducer in use; `None` if the loss is no sum of terms.
    #[must_use]
    pub fn reducer(&self) -> Option<Reducer> {
        let default = || self.loss.definition().default_reducer();
        self.reducer.clone().or_else(default)
    }

    /// Whether the parts go together.
    ///
    /// # Errors
    /// A distance, a miner, a reducer or a regularizer is named that would have no effect on the loss, or whose settings
    /// do not go together, here or in what the loss wraps.
    pub fn check(&self) -> Result<(), Error> {
        let (loss, definition) = (self.loss.name(), self.loss.definition());
        if self.distance.is_some() && definition.default_distance().is_none() {
            return Err(Error::NoDistance { loss });
        }
        match &self.miner {
            Some(miner) if definition.default_miner().is_none() && *miner != All {}.into() => {
                return Err(Error::Miner {
                    loss,
                    miner: miner.name(),
                });
            }
            _ => {}
        }
        match &self.reducer {
            Some(reducer)
                if definition.default_reducer().is_none() && *reducer != Mean {}.into() =>
            {
                return Err(Error::Reducer {
                    loss,
                    reducer: reducer.name(),
                });
            }
            _ => {}
        }
        if let Some((miner, distance)) = self.miner().zip(self.distance()) {
            let lacks = |lacks| Error::MinerSettings {
                miner: miner.name(),
                lacks,
            };
            miner.get().check(distance.get()).map_err(lacks)?;
        }
        for place in 0..self.regularizers.len() {
            self.check_regularizer(place)?;
        }
        match self.loss.form() {
            // The width does not matter to what is checked.
            Form::Wrapper(wrapper) => wrapper.parts(1).iter().try_for_each(|part| {
                let loss = part.objective.loss.name();
                let twins = wrapper.twins();
                if twins.is_some() && !part.objective.takes_items_as_classes() {
                    return Err(Error::SelfSupervised { loss });
                }
                let needs_references = wrapper.memory().is_some() || twins == Some(Twins::Against);
                if needs_references && !part.objective.takes_references() {
                    return Err(Error::References { loss });
                }
                if let Some(miner) = part.objective.square_miner().filter(|_| needs_references) {
                    return Err(Error::MinerReferences { miner });
                }
                part.objective.check()
            }),
            _ => Ok(()),
        }
    }

    fn check_regularizer(&self, place: usize) -> Result<(), Error> {
        let regularization = &self.regularizers[place];
        let (loss, regularizer) = (self.loss.name(), regularization.penalty.name());
        match (regularization.on, self.loss.definition().columns()) {
            (On::Embeddings, _) => Ok(()),
            (On::Proxies, Columns::Items) => Err(Error::NoProxies {
                loss,
                regularizer,
                place,
            }),
            (On::Proxies, columns) => {
                let expected = match columns {
                    Columns::Proxies { per_class } => per_class,
                    // Proxies of no class are together with none.
                    Columns::Items | Columns::ItemsAndProxies { .. } => 1,
                };
                match regularization.penalty.get().per_class() {
                    Some(found) if found != expected => Err(Error::Centers {
                        loss,
                        regularizer,
                        place,
                        expected,
                        found,
                    }),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Whether the loss, and what it wraps, can take embeddings of `dim` components.
    ///
    /// # Errors
    /// A prefix is wider than that.
    pub fn check_width(&self, dim: usize) -> Result<(), Error> {
        let Form::Wrapper(wrapper) = self.loss.form() else {
            return Ok(());
        };
        wrapper.check_width(dim)?;
        let parts = wrapper.parts(dim);
        parts
            .iter()
            .try_for_each(|part| part.objective.check_width(part.dim))
    }

    /// Whether the loss, or all that it wraps, sees classes only as who belongs together, within one batch.
    fn takes_items_as_classes(&self) -> bool {
        let definition = self.loss.definition();
        match self.loss.form() {
            Form::Rows(_) | Form::Matrix(_) => {
                let learned = |classes| definition.learned(Shape { dim: 1, classes });
                definition.columns() == Columns::Items && learned(1) == learned(2)
            }
            Form::Views(_) => false,
            Form::Wrapper(wrapper) => {
                let parts = wrapper.parts(1);
                let mut parts = parts.iter().map(|part| part.objective);
                wrapper.memory().is_none()
                    && wrapper.twins().is_none()
                    && parts.all(Self::takes_items_as_classes)
            }
        }
    }

    /// Whether a memory makes sense for the loss, or for all that it wraps.
    fn takes_references(&self) -> bool {
        match self.loss.form() {
            Form::Rows(loss) => !loss.needs_square(),
            Form::Matrix(loss) => !loss.needs_square(),
            Form::Views(_) => false,
            Form::Wrapper(wrapper) => {
                let parts = wrapper.parts(1);
                wrapper.memory().is_none()
                    && wrapper.twins().is_none()
                    && parts.iter().all(|part| part.objective.takes_references())
            }
        }
    }

    /// The first miner, here or in what the loss wraps, that cannot choose among references.
    pub(crate) fn square_miner(&self) -> Option<&'static str> {
        if let Form::Wrapper(wrapper) = self.loss.form() {
            let parts = wrapper.parts(1);
            return parts.iter().find_map(|part| part.objective.square_miner());
        }
        let miner = self.miner().filter(|miner| miner.get().needs_square());
        miner.map(|miner| miner.name())
    }

    /// The first loss, here or in what the loss wraps, that a class for each item is not enough for.
    #[must_use]
    pub fn unlabeled_loss(&self) -> Option<&'static str> {
        match self.loss.form() {
            Form::Views(_) => Some(self.loss.name()),
            Form::Wrapper(wrapper) if wrapper.twins().is_some() => Some(self.loss.name()),
            Form::Wrapper(wrapper) => {
                let parts = wrapper.parts(1);
                parts
                    .iter()
                    .find_map(|part| part.objective.unlabeled_loss())
            }
            Form::Rows(_) | Form::Matrix(_) => None,
        }
    }

    /// What losses over views, here or in what the loss wraps, need to know of each item of so many views.
    #[must_use]
    pub fn needs(&self, views: usize) -> Needs {
        match self.loss.form() {
            Form::Views(loss) => loss.needs(views),
            Form::Wrapper(wrapper) => {
                let parts = wrapper.parts(1);
                let needs = parts.iter().map(|part| part.objective.needs(views));
                needs.fold(Needs::default(), |all, one| Needs {
                    scores: all.scores.max(one.scores),
                    classes: all.classes || one.classes,
                    teacher: all.teacher || one.teacher,
                })
            }
            Form::Rows(_) | Form::Matrix(_) => Needs::default(),
        }
    }

    /// Value and gradient for embeddings `[B, D]`, row-major, with one label for each row, of a loss that learns nothing
    /// itself; others need a [`Criterion`].
    ///
    /// # Errors
    /// As for [`Criterion::value_and_grad`]; [`Error::Stateful`] for a loss with parameters or a memory.
    pub fn value_and_grad(
        &self,
        embeddings: Mat<'_>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        let batch = Batch {
            embeddings,
            targets: Targets::Labels(labels),
        };
        self.evaluate(batch, rng)
    }

    /// Value and gradient of a batch of any kind, of a loss that learns nothing itself.
    ///
    /// # Errors
    /// As for [`value_and_grad`](Self::value_and_grad).
    pub fn evaluate(&self, batch: Batch<'_>, rng: &mut ChaCha8Rng) -> Result<Outcome, Error> {
        let shape = Shape {
            dim: batch.embeddings.cols,
            classes: 1,
        };
        let mut criterion = Criterion::new(self.clone(), shape, 0)?;
        if !criterion.parameters().is_empty() || !criterion.queues().is_empty() {
            return Err(Error::Stateful {
                loss: self.loss.name(),
            });
        }
        criterion.value_and_grad(batch, rng)
    }

    /// The tuples that [`value_and_grad`](Self::value_and_grad) would use.
    ///
    /// # Errors
    /// As for [`value_and_grad`](Self::value_and_grad).
    pub fn mine(
        &self,
        embeddings: Mat<'_>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Tuples, Error> {
        self.check()?;
        let labeled = Targets::Labels(labels).labeled(embeddings.rows)?;
        let dense = finite(embeddings)?;
        let Some(distance) = self.distance().filter(|_| !dense.is_empty()) else {
            return Ok(Tuples::All);
        };
        let classes = Classes::new(&labeled.labels);
        let distances = Distances::among(distance.get(), &dense, embeddings.cols)?;
        let pairs = Pairs::new(distances.s(), &classes).within(distances.space());
        Ok(match self.miner() {
            Some(miner) => miner.get().mine(pairs, rng),
            None => self.loss.definition().form(pairs, rng),
        })
    }

    /// The value by its definition, in `f64`, over given tuples: simple, slow and sharing nothing with
    /// [`value_and_grad`](Self::value_and_grad).
    ///
    /// # Panics
    /// For a loss over views or one made of others, which have no pair matrix of their own.
    #[must_use]
    pub fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> f64 {
        let (terms, divisor) = match self.loss.form() {
            Form::Rows(loss) => {
                let terms = loss.reference(batch, tuples);
                let divisor = loss.reference_divisor(&terms);
                (terms, divisor)
            }
            Form::Matrix(loss) => (
                loss.reference(batch, tuples),
                loss.reference_divisor(batch, tuples),
            ),
            Form::Views(_) | Form::Wrapper(_) => {
                panic!("loss {} has no pair matrix", self.loss.name())
            }
        };
        let labels: Vec<_> = (0..batch.rows()).map(|i| batch.label(i)).collect();
        self.reduced(&terms, &labels, divisor)
            + self.loss.definition().embedding_reference(batch)
            + self.penalties(batch)
    }

    /// The values of the regularizers by their definitions; the proxies are the columns, or those after the batch.
    fn penalties(&self, batch: &Exact<'_>) -> f64 {
        let first_proxy = match self.loss.definition().columns() {
            Columns::ItemsAndProxies { .. } => batch.rows(),
            Columns::Items | Columns::Proxies { .. } => 0,
        };
        let penalty = |regularization: &Regularization| {
            let rows: Vec<f64> = match regularization.on {
                On::Embeddings => (0..batch.rows())
                    .flat_map(|i| batch.embedding(i).to_vec())
                    .collect(),
                On::Proxies => (first_proxy..batch.columns())
                    .flat_map(|j| batch.column(j).to_vec())
                    .collect(),
            };
            let value = regularization.penalty.get().reference(&rows, batch.dim());
            regularization.weight.exact() * value
        };
        self.regularizers.iter().map(penalty).sum()
    }

    fn reduced(&self, terms: &[Term], labels: &[u32], divisor: Option<f64>) -> f64 {
        let Some(reducer) = self.reducer() else {
            return terms.iter().map(|term| term.value).sum();
        };
        let groups = terms
            .iter()
            .map(|term| term.group)
            .max()
            .map_or(0, |last| last + 1);
        let of = |group| {
            terms
                .iter()
                .copied()
                .filter(move |term| term.group == group)
        };
        let reduced = |group| {
            reducer
                .get()
                .reference(&of(group).collect::<Vec<_>>(), labels, divisor)
        };
        (0..groups).map(reduced).sum()
    }
}
