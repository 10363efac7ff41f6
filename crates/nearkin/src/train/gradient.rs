//! One batch: embeddings, loss, and the gradient of every weight.

use super::Learner;
use super::task::Trained;
use crate::error::Result;
use crate::evaluate::spread;
use crate::optimize::Gradients;
use nearkin_encoder::host::Host;
use nearkin_encoder::tape::{self, Tape};
use nearkin_encoder::{Error as EncoderError, Mode, Tensor, profile};
use nearkin_kernels::Mat;
use nearkin_losses::Outcome;

/// What one batch says.
pub struct Measured {
    /// Gradients of the learned parameters.
    pub gradients: Gradients,
    /// Items of the batch.
    pub items: usize,
    /// The loss.
    pub value: f32,
    /// Share of the tuples that push.
    pub active: f32,
    /// Share of the pairs of the batch that the miner kept.
    pub kept: f32,
    /// Pairs or triplets that counted.
    pub tuples: usize,
    /// Those with fewer negatives than the loss asks for.
    pub short: usize,
    /// Spread of the embeddings, see [`spread`]; none of fewer than two.
    pub spread: Option<f32>,
}

/// The loss of all embeddings of a batch, with the number of the loss that was asked.
pub type LossOf<'a, M> = dyn Fn(&mut Learner<M>, Mat<'_>) -> Result<(usize, Outcome)> + 'a;

/// Embeds some rows of a batch once more, as in [`Mode::Replay`].
pub type OfRows<'a> = dyn Fn(&[usize]) -> Result<Tensor> + 'a;

/// The parts that a batch is embedded in.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The rows of the batch in each.
    pub rows: &'a [Vec<usize>],
    /// Embeds a part by its number.
    pub forward: &'a dyn Fn(usize, Mode) -> Result<Tensor>,
    /// Embeds any rows once more, where the network embeds each by itself; otherwise a part is passed again as it was.
    pub again: Option<&'a OfRows<'a>>,
}

/// Embeds a batch, takes the loss over all of it, and carries its gradient back to the weights.
///
/// `parts[k]` are the rows of the batch that `forward(k, mode)` embeds. With several parts this is gradient caching: they are
/// embedded one by one, the loss sees all embeddings, and each part is passed again with its rows of ∂L/∂E. The gradient
/// is that of the whole batch; memory is that of one part.
///
/// # Errors
/// The loss refuses the batch, or a tensor operation fails.
pub fn gradient<M: Trained>(
    learner: &mut Learner<M>,
    parts: &[Vec<usize>],
    forward: &dyn Fn(usize, Mode) -> Result<Tensor>,
    loss: &LossOf<'_, M>,
) -> Result<Measured> {
    let parts = Parts {
        rows: parts,
        forward,
        again: None,
    };
    gradient_of_parts(learner, parts, loss)
}

/// The same; what has no part in the loss is not passed again, since nothing of the gradient comes from there: parts whose
/// rows of ∂L/∂E are all zero, and where each row is embedded by itself every such row.
///
/// # Errors
/// As [`gradient`].
pub fn gradient_of_parts<M: Trained>(
    learner: &mut Learner<M>,
    parts: Parts<'_>,
    loss: &LossOf<'_, M>,
) -> Result<Measured> {
    let embedded = parts.embed()?;
    let matrix = Mat::new(&embedded.numbers, embedded.rows, embedded.dim);
    let (which, outcome) = {
        let _span = profile::span("loss");
        loss(learner, matrix)?
    };
    let of_rows = Mat::new(&outcome.gradient, embedded.rows, embedded.dim);
    let mut measured = Measured {
        items: embedded.rows,
        value: outcome.value,
        active: outcome.active,
        kept: outcome.kept,
        tuples: outcome.tuples,
        short: outcome.short,
        spread: (embedded.rows > 1).then(|| spread(matrix)),
        gradients: parts.backward(learner, embedded.single, of_rows)?,
    };
    learner.extend(&mut measured.gradients, which, outcome)?;
    Ok(measured)
}

/// A batch as the network embeds it.
struct Embedded {
    numbers: Vec<f32>,
    rows: usize,
    dim: usize,
    /// The pass itself, where it was one.
    single: Option<(Tensor, Tape)>,
}

impl Parts<'_> {
    fn embed(&self) -> Result<Embedded> {
        let rows = self.rows.iter().map(Vec::len).sum();
        let (mut embeddings, mut dim) = (Vec::new(), 0);
        let mut single = None;
        for (k, of_part) in self.rows.iter().enumerate() {
            let (embedded, tape) = tape::record(|| (self.forward)(k, Mode::Train))?;
            dim = embedded.dim(1).map_err(EncoderError::from)?;
            embeddings.resize(rows * dim, 0.0);
            let numbers = Host::new(&embedded)?;
            for (&row, numbers) in of_part.iter().zip(numbers.chunks_exact(dim.max(1))) {
                embeddings[row * dim..][..dim].copy_from_slice(numbers);
            }
            drop(numbers);
            single = (self.rows.len() == 1).then_some((embedded, tape));
        }
        Ok(Embedded {
            numbers: embeddings,
            rows,
            dim,
            single,
        })
    }

    /// Carries ∂L/∂E to the weights of the model.
    fn backward<M: Trained>(
        &self,
        learner: &Learner<M>,
        single: Option<(Tensor, Tape)>,
        gradient: Mat<'_>,
    ) -> Result<Gradients> {
        let of_row = |row: usize| &gradient.data[row * gradient.cols..][..gradient.cols];
        let has_part = |row: &usize| of_row(*row).iter().any(|g| *g != 0.0);
        let mut sum: Option<Gradients> = None;
        let mut add = |(embedded, tape): (Tensor, Tape), rows: &[usize]| -> Result<()> {
            let of_rows = rows.iter().flat_map(|&row| of_row(row));
            let new = learner.backward(tape, (&embedded, of_rows.copied().collect()))?;
            match &sum {
                Some(sum) => crate::optimize::accumulate(sum, &new)?,
                None => sum = Some(new),
            }
            Ok(())
        };
        if let Some(recorded) = single {
            add(recorded, &self.rows[0])?;
        } else if let Some(again) = self.again {
            let most = self.rows.iter().map(Vec::len).max().unwrap_or(1);
            let rows = self.rows.iter().flatten().copied();
            let chosen: Vec<usize> = rows.filter(has_part).collect();
            for rows in chosen.chunks(most.max(1)) {
                add(tape::record(|| again(rows))?, rows)?;
            }
        } else {
            for (k, rows) in self.rows.iter().enumerate() {
                if rows.iter().any(has_part) {
                    add(tape::record(|| (self.forward)(k, Mode::Replay))?, rows)?;
                }
            }
        }
        sum.map_or_else(|| learner.nothing(), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Document;
    use crate::train::{Setup, Task};
    use nearkin_encoder::weights;
    use nearkin_losses::{Batch, Targets};
    use std::cell::Cell;

    fn setup(network: &str) -> Setup {
        let text = format!(
            "[data.source.bundled]\nname = \"glyphs\"\n[input]\nheight = 12\nwidth = 12\ncolor = \"gray\"\n\
             [sampler.pk]\nclasses = 10\nper_class = 4\n{network}\n[head]\ndim = 6\n[loss.triplet_margin]\n"
        );
        let document = Document::parse("r.toml", &text).unwrap();
        Setup::new(document.recipe().unwrap()).unwrap()
    }

    /// The rows that are passed again, and the gradient, of a batch in parts of 8 in which only some rows have a part in
    /// the loss; `skips` says whether others of the same part are left out.
    fn passed(setup: &Setup, has_part: fn(usize) -> bool, skips: bool) -> (usize, Vec<f32>) {
        let mut learner = Learner::new(setup).unwrap();
        let batch = setup.batches(None).unwrap()(0).unwrap().items;
        let rows: Vec<Vec<usize>> = (0..40)
            .step_by(8)
            .map(|at| (at..at + 8).collect())
            .collect();
        let (model, count) = (learner.model.clone(), Cell::new(0));
        let embed = |rows: &[usize], mode: Mode| {
            if mode == Mode::Replay {
                count.set(count.get() + rows.len());
            }
            let input = batch.tensor_of(&model.config.input, rows)?;
            Ok(model.embedder.forward(&input, mode)?)
        };
        let again: &OfRows = &|rows| embed(rows, Mode::Replay);
        let parts = Parts {
            rows: &rows,
            forward: &|part, mode| embed(&rows[part], mode),
            again: skips.then_some(again),
        };
        let measured = gradient_of_parts(&mut learner, parts, &|learner, embeddings| {
            let targets = Targets::Labels(&batch.labels);
            let batch = Batch {
                embeddings,
                targets,
            };
            let mut outcome = learner.losses[0].value_and_grad(batch, 0)?;
            for (row, gradient) in outcome.gradient.chunks_exact_mut(6).enumerate() {
                if !has_part(row) {
                    gradient.fill(0.0);
                }
            }
            Ok((0, outcome))
        });
        let gradients = measured.unwrap().gradients;
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (count.get(), gradients.iter().flat_map(numbers).collect())
    }

    #[track_caller]
    fn assert_close(found: &[f32], want: &[f32]) {
        let largest = want.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        assert!(found.len() == want.len() && largest > 0.0);
        let off = found.iter().zip(want).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max);
        assert!(off <= 1e-5 * largest, "{off} of {largest}");
    }

    #[test]
    fn only_what_has_a_part_in_the_loss_is_passed_again() {
        let of = setup("[network.casia]\nwidth = 0.125\ndropout = 0.0");
        assert!(!of.model().unwrap().embedder.is_batchwise());
        // One row of each part, so that whole parts are passed: that is the gradient of the batch.
        let (all, want) = passed(&of, |row| row % 8 == 3, false);
        let (some, found) = passed(&of, |row| row % 8 == 3, true);
        assert_eq!((all, some), (40, 5));
        assert_close(&found, &want);
        let (none, zeros) = passed(&of, |_| false, true);
        assert!(none == 0 && zeros.len() == want.len() && zeros.iter().all(|g| *g == 0.0));
    }

    #[test]
    fn parts_of_a_batch_norm_are_passed_whole_or_not_at_all() {
        let of = setup("[network.convnet]\nwidths = [4, 6]");
        assert!(of.model().unwrap().embedder.is_batchwise());
        let (two, found) = passed(&of, |row| row == 9 || row == 34, false);
        assert_eq!(two, 16);
        // The gradient is the sum of those of either row, whose own parts see the batch's statistics as they were.
        let (_, one) = passed(&of, |row| row == 9, false);
        let (_, other) = passed(&of, |row| row == 34, false);
        let sum: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a + b).collect();
        assert_close(&found, &sum);
    }

    #[test]
    fn statistics_that_are_held_and_dropout_of_nothing_leave_items_alone() {
        let folder = tempfile::tempdir().unwrap();
        let network = "[network.convnet]\nwidths = [4, 6]";
        let path = folder.path().join("begin.safetensors");
        let model = setup(network).model().unwrap();
        weights::save(model.embedder.parameters(), &path).unwrap();
        let held = format!("{network}\n[pretrained]\nweights = {path:?}\nhold_statistics = true");
        assert!(!setup(&held).model().unwrap().embedder.is_batchwise());
        let dropped = setup("[network.casia]\nwidth = 0.125\ndropout = 0.1");
        assert!(dropped.model().unwrap().embedder.is_batchwise());
    }
}
