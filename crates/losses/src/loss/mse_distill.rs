//! The mean squared error to a teacher.

use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::error::Error;

described! {
    /// Fits each embedding to the one that a teacher gives the item.
    ///
    /// ```text
    /// L = 1/(B D) Σ_i ‖x_i - t_i‖²
    /// ```
    ///
    /// Every row of every view counts alike; each is a tuple, and active while it is off by more than 0.1 in the mean square.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`; teacher: `[B, D]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// N. Reimers, I. Gurevych, Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation, EMNLP 2020,
    /// §2.
    ///
    /// # Differences
    /// None: `MSELoss` of sentence-transformers is the same.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::MseDistill};
    /// // Off by 0 and by 2: (0 + 4) / 2.
    /// let targets = Targets::Aligned(Aligned { teacher: Some(Mat::new(&[1.0, 4.0], 2, 1)), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 2.0], 2, 1), targets };
    /// let outcome = Objective::from(MseDistill::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2.0).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MseDistill {}
}

view_definition!(MseDistill, [Target::Teacher], None);

impl ViewLoss for MseDistill {
    fn views(&self) -> (usize, usize) {
        (2, usize::MAX)
    }

    fn needs(&self, _views: usize) -> Needs {
        Needs {
            teacher: true,
            ..Needs::default()
        }
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        if views.teacher_cols != views.cols {
            return Err(Error::Width {
                found: views.cols,
                expected: views.teacher_cols,
            });
        }
        let numbers = (views.embeddings.len() * views.embeddings[0].len()) as f64;
        let mut total = Evaluation::default();
        for (view, gradient) in gradients.embeddings.iter_mut().enumerate() {
            for (i, gradient) in gradient.chunks_exact_mut(views.cols).enumerate() {
                let teacher = &views.teacher[view][i * views.cols..][..views.cols];
                let mut square = 0.0;
                for ((g, x), t) in gradient.iter_mut().zip(views.row(view, i)).zip(teacher) {
                    let off = x - t;
                    *g = (2.0 * f64::from(off) / numbers) as f32;
                    square += f64::from(off).powi(2);
                }
                total = total.plus(Evaluation::of_tuple(
                    square / numbers,
                    square > 0.01 * views.cols as f64,
                ));
            }
        }
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for (view, teacher) in views.embeddings.iter().zip(&views.teacher) {
            for (x, t) in view.iter().zip(*teacher) {
                sum += (x - t) * (x - t);
                count += 1;
            }
        }
        sum / f64::from(count)
    }
}
