//! Evaluation of losses of the pair matrix.

use super::columns::{self, Learner, Others, Vectors};
use super::{CHUNK, Part, Run, Seen, add};
use crate::distance::{Distances, PairDistance, Side};
use crate::error::Error;
use crate::loss::{
    Columns, Evaluation, Form, Matrix, MatrixGradients, MatrixLoss, Reduced, RowLoss, Rows,
};
use crate::miner::TupleMiner;
use crate::objective::Objective;
use crate::pairs::{Classes, Pairs};
use crate::reducer::{Mean, TermReducer, Terms};
use crate::scratch;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// What decides the value of a batch, ready to use.
pub(super) struct Setting<'a> {
    distance: &'a dyn PairDistance,
    /// `None` if the loss forms its own tuples.
    miner: Option<&'a dyn TupleMiner>,
    reducer: &'a dyn TermReducer,
    objective: &'a Objective,
    /// Tuples that the batch itself spells out.
    listed: Option<Tuples>,
    labels: &'a [u32],
    dense: &'a [f32],
    dim: usize,
    /// Entries of `S` that are held at a time against references and proxies.
    held: usize,
}

/// What came of it.
struct Found {
    evaluation: Evaluation,
    /// `∂L/∂E` of the batch.
    rows: Vec<f32>,
    /// That of the points of the columns, then of the columns; empty before the first block, and if nobody learns from it.
    columns: Vec<f32>,
    /// Whether somebody learns from the columns.
    learn: bool,
    /// What both are to be multiplied by in the end.
    factor: f32,
    /// `∂L/∂p` of the loss's own parameters.
    parameters: Vec<Vec<f32>>,
    /// Pairs that take part, and all pairs.
    kept: [usize; 2],
    /// Tuples with fewer negatives than the loss asks for.
    short: usize,
}

impl Run<'_> {
    /// Adds a pair loss's value and gradients.
    pub(super) fn pair_loss(&mut self, part: Part<'_>, seen: &Seen<'_>) -> Result<(), Error> {
        let (objective, dim) = (part.objective, part.dim);
        let name = objective.loss.name();
        let rows = seen.dense.len() / dim.max(1);
        let labeled = seen.targets.labeled(rows)?;
        let (parameters, first) = self.take_parameters(part);
        let others = self.others(part, seen, (parameters, first), &labeled.labels)?;
        if rows == 0 {
            return Ok(());
        }
        let distance = objective
            .distance()
            .ok_or(Error::NoDistance { loss: name })?;
        let (miner, reducer) = (objective.miner(), objective.reducer());
        let definition = objective.loss.definition();
        let columns = definition.columns();
        let (dense, labels) = columns::rows(columns, seen.dense, &labeled.labels, parameters);
        let setting = Setting {
            distance: distance.get(),
            miner: miner.as_ref().map(super::super::miner::Miner::get),
            reducer: reducer.as_ref().map_or(&Mean {}, |reducer| reducer.get()),
            objective,
            // A miner that is asked for by name has the last word over the tuples that the batch spells out, and those are
            // tuples of the batch alone.
            listed: labeled
                .listed
                .filter(|_| objective.miner.is_none() && matches!(others, Others::Batch)),
            labels: &labels,
            dense: &dense,
            dim,
            held: self.held,
        };
        let proxies = usize::from(columns != Columns::Items);
        let own: Vec<&[f32]> = parameters[proxies..].iter().map(|p| &*p.values).collect();
        let mut found = match objective.loss.form() {
            Form::Rows(loss) => setting.rows(loss, &others, self.rng)?,
            Form::Matrix(loss) => setting.matrix(loss, &others, &own, self.rng)?,
            Form::Views(_) | Form::Wrapper(_) => return Ok(()),
        };
        let classes = Classes::new(&labeled.labels);
        let (gradient, of_proxies) = found.rows.split_at_mut(seen.dense.len());
        found.evaluation.value += definition.embedding_term(seen.dense, &classes, gradient);
        self.add_gradient(gradient, part);
        if !of_proxies.is_empty() {
            self.add_parameter_gradient(first, of_proxies.to_vec(), part.weight);
        }
        for (k, gradient) in found.parameters.into_iter().enumerate() {
            self.add_parameter_gradient(first + proxies + k, gradient, part.weight);
        }
        if let Others::Vectors(Vectors { learner, .. }) = &others {
            self.add_column_gradient(learner, found.columns, part);
        }
        scratch::keep(found.rows);
        self.outcome.short += found.short;
        self.kept[0] += found.kept[0];
        self.kept[1] += found.kept[1];
        self.add(found.evaluation, part.weight);
        Ok(())
    }
}

impl Setting<'_> {
    fn tuples(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        match (&self.listed, self.miner) {
            (Some(listed), _) => listed.clone(),
            (None, Some(miner)) => miner.mine(pairs, rng),
            (None, None) => self.objective.loss.definition().form(pairs, rng),
        }
    }

    fn classes(&self, others: &Others<'_>) -> Classes {
        match others {
            Others::Batch => Classes::new(self.labels),
            Others::Vectors(vectors) => Classes::between(self.labels, &vectors.labels),
        }
    }

    /// What the rows of every block are compared with, as the distance sees it.
    fn columns(&self, others: &Others<'_>) -> Result<Option<Side>, Error> {
        let Others::Vectors(vectors) = others else {
            return Ok(None);
        };
        Side::new(self.distance, &vectors.points, self.dim).map(Some)
    }

    fn distances<'b>(
        &'b self,
        columns: Option<&'b Side>,
        dense: &[f32],
    ) -> Result<Distances<'b>, Error> {
        match columns {
            None => Distances::among(self.distance, dense, self.dim),
            Some(columns) => Distances::to(self.distance, dense, columns),
        }
    }

    /// Rows of `S` that are held at a time: all of them among the batch itself.
    fn block(&self, others: &Others<'_>) -> usize {
        match others {
            Others::Batch => self.labels.len(),
            Others::Vectors(v) => (self.held / v.labels.len().max(1)).clamp(1, self.labels.len()),
        }
    }

    /// A loss that is a sum over anchors, in blocks of rows.
    fn rows(
        &self,
        loss: &dyn RowLoss,
        others: &Others<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Found, Error> {
        let rows = Rows {
            loss,
            reducer: self.reducer,
            labels: self.labels,
        };
        let blocks = Blocks {
            setting: self,
            rows,
            classes: self.classes(others),
            columns: self.columns(others)?,
            own: own(others),
            height: self.block(others),
        };
        let mut found = Found::empty(self.dense.len(), others);
        if blocks.height == self.labels.len() {
            blocks.one(&mut found, rng)?;
        } else {
            blocks.many(&mut found, rng)?;
        }
        found.finish(blocks.columns);
        Ok(found)
    }

    fn block_of(&self, first: usize, block: usize) -> &[f32] {
        let last = (first + block).min(self.labels.len());
        &self.dense[first * self.dim..last * self.dim]
    }

    /// A loss that needs the matrix as a whole.
    fn matrix(
        &self,
        loss: &dyn MatrixLoss,
        others: &Others<'_>,
        parameters: &[&[f32]],
        rng: &mut ChaCha8Rng,
    ) -> Result<Found, Error> {
        let classes = self.classes(others);
        let points = self.columns(others)?;
        let distances = self.distances(points.as_ref(), self.dense)?;
        let mut found = Found::empty(self.dense.len(), others);
        let pairs = Pairs::block(distances.s(), &classes, 0, own(others)).within(distances.space());
        let tuples = self.tuples(pairs, rng);
        found.keep(tuples.pairs(pairs).counts());
        found.short = self.objective.loss.definition().short(&tuples);
        let (columns, column_labels) = match others {
            Others::Batch => (self.dense, self.labels),
            Others::Vectors(vectors) => (&*vectors.points, &*vectors.labels),
        };
        let norms = [self.dense, columns].map(|vectors| {
            if loss.needs_norms() {
                vectors.chunks_exact(self.dim).map(norm).collect()
            } else {
                Vec::new()
            }
        });
        let mut of_norms = norms.clone().map(|norms| vec![0.0; norms.len()]);
        let [of_rows, of_columns] = &mut of_norms;
        let mut g = zeros(distances.s().len());
        found.parameters = parameters
            .iter()
            .map(|values| vec![0.0; values.len()])
            .collect();
        let mut gradients = MatrixGradients {
            g: &mut g,
            parameters: &mut found.parameters,
            norms: [of_rows, of_columns],
        };
        let matrix = Matrix {
            pairs,
            labels: self.labels,
            column_labels,
            tuples: &tuples,
            reducer: self.reducer,
            parameters,
            norms: [&norms[0], &norms[1]],
        };
        found.evaluation = loss.value_and_grad(&matrix, &mut gradients);
        found.add(distances, 0, &g);
        scratch::keep(g);
        found.finish(points);
        through_norms(&mut found.rows, self.dense, [&norms[0], &of_norms[0]]);
        if !found.columns.is_empty() {
            through_norms(&mut found.columns, columns, [&norms[1], &of_norms[1]]);
        }
        Ok(found)
    }
}

/// A loss that is a sum over anchors, at work on blocks of rows.
struct Blocks<'a> {
    setting: &'a Setting<'a>,
    rows: Rows<'a>,
    classes: Classes,
    /// `None` where the columns are the batch itself.
    columns: Option<Side>,
    own: Option<usize>,
    /// Rows of a block.
    height: usize,
}

/// The rows of a block from `first` on, with their terms, and their slopes in `g`.
struct Block<'b> {
    first: usize,
    distances: Distances<'b>,
    tuples: Tuples,
    terms: Vec<[Terms; 2]>,
    kept: [usize; 2],
    g: Vec<f32>,
}

impl Blocks<'_> {
    fn block(&self, first: usize, rng: &mut ChaCha8Rng) -> Result<Block<'_>, Error> {
        let setting = self.setting;
        let dense = setting.block_of(first, self.height);
        let distances = setting.distances(self.columns.as_ref(), dense)?;
        let pairs = self.pairs(&distances, first);
        let mut g = scratch::take(distances.s().len());
        let tuples = setting.tuples(pairs, rng);
        let (terms, kept) = self.rows.terms(pairs, &tuples, &mut g);
        Ok(Block {
            first,
            distances,
            tuples,
            terms,
            kept,
            g,
        })
    }

    fn pairs<'b>(&'b self, distances: &'b Distances<'_>, first: usize) -> Pairs<'b> {
        Pairs::block(distances.s(), &self.classes, first, self.own).within(distances.space())
    }

    /// Weighs the slopes of a block and adds its gradients.
    fn add(&self, mut block: Block<'_>, reduced: &Reduced, found: &mut Found) {
        let pairs = self.pairs(&block.distances, block.first);
        found.factor = self
            .rows
            .weigh(reduced, (pairs, &block.tuples), &mut block.g);
        found.add_block(block, self.setting.dim);
    }

    /// All rows at once.
    fn one(&self, found: &mut Found, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        let block = self.block(0, rng)?;
        found.keep(block.kept);
        let reduced = self.rows.reduce(&block.terms);
        found.evaluation = reduced.evaluation;
        self.add(block, &reduced, found);
        Ok(())
    }

    /// Block by block. The weights of anchors come from the terms of all of them, so that blocks are passed twice, first for
    /// the value and then for the slopes, unless all anchors weigh the same.
    fn many(&self, found: &mut Found, rng: &mut ChaCha8Rng) -> Result<(), Error> {
        let firsts = || (0..self.setting.labels.len()).step_by(self.height);
        let (mut draws, alike) = (rng.clone(), self.rows.weigh_alike());
        let mut sums = Vec::with_capacity(self.setting.labels.len());
        for first in firsts() {
            let mut block = self.block(first, rng)?;
            sums.append(&mut block.terms);
            found.keep(block.kept);
            if alike {
                found.add_block(block, self.setting.dim);
            } else {
                scratch::keep(block.g);
            }
        }
        let reduced = self.rows.reduce(&sums);
        found.evaluation = reduced.evaluation;
        if alike {
            found.factor = reduced.weight();
            return Ok(());
        }
        for first in firsts() {
            let block = self.block(first, &mut draws)?;
            self.add(block, &reduced, found);
        }
        Ok(())
    }
}

impl Found {
    fn empty(len: usize, others: &Others<'_>) -> Self {
        let mut rows = scratch::take(len);
        rows.fill(0.0);
        Self {
            evaluation: Evaluation::default(),
            rows,
            columns: Vec::new(),
            learn: matches!(others, Others::Vectors(v) if v.learner != Learner::Nobody),
            factor: 1.0,
            parameters: Vec::new(),
            kept: [0; 2],
            short: 0,
        }
    }

    /// Counts the pairs of a block.
    fn keep(&mut self, [kept, all]: [usize; 2]) {
        self.kept[0] += kept;
        self.kept[1] += all;
    }

    /// Adds the gradients of a block whose rows begin at number `at` of the batch, given its `G`.
    fn add(&mut self, distances: Distances<'_>, at: usize, g: &[f32]) {
        let (rows, columns) = distances.gradients(g, self.learn);
        add(&mut self.rows[at..at + rows.len()], &rows, 1.0);
        scratch::keep(rows);
        if self.columns.is_empty() {
            self.columns = columns;
        } else {
            add(&mut self.columns, &columns, 1.0);
            scratch::keep(columns);
        }
    }

    /// The same of a block of rows of `dim` numbers.
    fn add_block(&mut self, block: Block<'_>, dim: usize) {
        self.add(block.distances, block.first * dim, &block.g);
        scratch::keep(block.g);
    }

    /// Makes of the gradient of the columns' points that of the columns, and multiplies both.
    fn finish(&mut self, columns: Option<Side>) {
        if self.factor != 1.0 {
            self.rows.iter_mut().for_each(|g| *g *= self.factor);
        }
        let Some(columns) = columns else { return };
        if self.learn {
            let of_points = std::mem::take(&mut self.columns);
            // It leaves with the outcome: no memory of the scratch, which is larger.
            self.columns = vec![0.0; of_points.len()];
            columns.through_norm(&of_points, self.factor, &mut self.columns);
            scratch::keep(of_points);
        }
        columns.release();
    }
}

/// Adds `∂L/∂‖x‖ · x / ‖x‖` to the gradient of each row.
fn through_norms(gradient: &mut [f32], vectors: &[f32], [norms, of_norms]: [&[f32]; 2]) {
    let dim = vectors.len() / norms.len().max(1);
    for (i, (&norm, &slope)) in norms.iter().zip(of_norms).enumerate() {
        if norm > 0.0 && slope != 0.0 {
            let range = i * dim..(i + 1) * dim;
            let rows = gradient[range.clone()].iter_mut().zip(&vectors[range]);
            rows.for_each(|(g, x)| *g += slope / norm * x);
        }
    }
}

fn norm(row: &[f32]) -> f32 {
    row.iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt() as f32
}

fn own(others: &Others<'_>) -> Option<usize> {
    match others {
        Others::Batch => Some(0),
        Others::Vectors(vectors) => vectors.own,
    }
}

fn zeros(len: usize) -> Vec<f32> {
    let mut g = scratch::take(len);
    g.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.0));
    g
}
