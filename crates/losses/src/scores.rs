//! Losses of pair scores that come from no embeddings.

use crate::criterion::{Outcome, finite, share};
use crate::error::Error;
use crate::loss::{Columns, Evaluation, Form, Matrix, MatrixGradients, Rows, Shape};
use crate::objective::Objective;
use crate::pairs::{Classes, Pairs};
use crate::reducer::{Mean, TermReducer};
use nearkin_kernels::Mat;
use rand_chacha::ChaCha8Rng;

impl Objective {
    /// The value for a pair matrix `S` of shape `[B, B]` that comes from anywhere, such as a learned metric of pairs, and as
    /// [`Outcome::gradient`] `∂L/∂S`, `[B, B]`, row-major. Smaller is closer; `S[i][j]` and `S[j][i]` are entries of their
    /// own, and the diagonal means nothing to most losses. The distance of the objective is out of use, and so is what its
    /// loss says about the embeddings themselves.
    ///
    /// # Errors
    /// A matrix that is not square, not finite or does not match the labels; [`Error::Stateful`] for a loss with parameters,
    /// [`Error::NoMatrix`] for one that is no function of `S`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng, loss::Quadruplet};
    /// // A metric g of ordered pairs, squared: the positives at 0.25, the negatives at 1 and at 0.64.
    /// let s = [0.0, 0.25, 1.0, 0.25, 0.0, 1.0, 0.64, 1.0, 0.0];
    /// let outcome = Objective::from(Quadruplet::default())
    ///     .of_scores(Mat::new(&s, 3, 3), &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.value, 0.25); // two triplets [0.25 - 1 + 1]₊; a quadruplet needs a third class
    /// assert_eq!(outcome.gradient[..3], [0.0, 0.5, -0.5]);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub fn of_scores(
        &self,
        s: Mat<'_>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Outcome, Error> {
        self.check()?;
        let (rows, loss) = (s.rows, self.loss.name());
        let definition = self.loss.definition();
        // What a loss learns does not depend on the sizes.
        let shape = Shape { dim: 1, classes: 1 };
        if definition.columns() != Columns::Items || !definition.learned(shape).is_empty() {
            return Err(Error::Stateful { loss });
        }
        if labels.len() != rows {
            let labels = labels.len();
            return Err(Error::Labels { rows, labels });
        }
        if s.cols != rows {
            return Err(Error::Width {
                found: s.cols,
                expected: rows,
            });
        }
        let s = finite(s)?;
        let classes = Classes::new(labels);
        let pairs = Pairs::new(&s, &classes);
        let mut gradient = vec![0.0; s.len()];
        let (evaluation, kept) = self.of_pairs(pairs, labels, (rng, &mut gradient))?;
        let value = evaluation.value as f32;
        if !value.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
            return Err(Error::overflow(&s));
        }
        Ok(Outcome {
            value,
            gradient,
            active: evaluation.active as f32 / evaluation.tuples.max(1) as f32,
            tuples: evaluation.tuples,
            kept: share(kept),
            ..Outcome::default()
        })
    }

    /// The evaluation, and how many pairs the miner kept, of how many.
    fn of_pairs(
        &self,
        pairs: Pairs<'_>,
        labels: &[u32],
        (rng, g): (&mut ChaCha8Rng, &mut [f32]),
    ) -> Result<(Evaluation, [usize; 2]), Error> {
        let tuples = match self.miner() {
            Some(miner) => miner.get().mine(pairs, rng),
            None => self.loss.definition().form(pairs, rng),
        };
        let reducer = self.reducer();
        let reducer: &dyn TermReducer = reducer.as_ref().map_or(&Mean {}, |reducer| reducer.get());
        match self.loss.form() {
            Form::Rows(loss) => {
                let rows = Rows {
                    loss,
                    reducer,
                    labels,
                };
                let (terms, kept) = rows.terms(pairs, &tuples, g);
                let reduced = rows.reduce(&terms);
                let factor = rows.weigh(&reduced, (pairs, &tuples), g);
                for g in g {
                    *g *= factor;
                }
                Ok((reduced.evaluation, kept))
            }
            Form::Matrix(loss) => {
                let matrix = Matrix {
                    pairs,
                    labels,
                    column_labels: labels,
                    tuples: &tuples,
                    reducer,
                    parameters: &[],
                    norms: [&[], &[]],
                };
                let mut gradients = MatrixGradients {
                    g,
                    parameters: &mut [],
                    norms: [&mut [], &mut []],
                };
                let evaluation = loss.value_and_grad(&matrix, &mut gradients);
                Ok((evaluation, tuples.pairs(pairs).counts()))
            }
            Form::Views(_) | Form::Wrapper(_) => Err(Error::NoMatrix {
                loss: self.loss.name(),
            }),
        }
    }
}
