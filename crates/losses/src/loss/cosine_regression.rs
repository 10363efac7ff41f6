//! The cosine regression loss.

use super::paired::Paired;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Cosine;
use crate::error::Error;

described! {
    /// Fits the similarity of each pair to its gold score.
    ///
    /// ```text
    /// L = 1/n Σ_i ( 1 - d(u_i, v_i) - y_i )²
    /// ```
    ///
    /// Over the cosine distance `1 - d` is the cosine. A pair is active while it is off by more than 0.1.
    ///
    /// # Shapes
    /// - embeddings: two views `[n, D]`; scores: `[n, 1]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, EMNLP 2019, §3, regression
    /// objective.
    ///
    /// # Differences
    /// None: `CosineSimilarityLoss` of sentence-transformers is the same. Gold scores are expected on the scale of the cosine;
    /// the paper's, from 0 to 5, are divided by 5 in its code.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::CosineRegression};
    /// // Parallel vectors, cosine 1, with a gold score of 0.5: (1 - 0.5)².
    /// let targets = Targets::Aligned(Aligned { scores: Some(&[0.5]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0, 0.0, 2.0, 0.0], 2, 2), targets };
    /// let outcome = Objective::from(CosineRegression::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.25).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct CosineRegression {}
}

view_definition!(CosineRegression, [Target::Scores], Some(Cosine {}.into()));

impl ViewLoss for CosineRegression {
    fn needs(&self, _views: usize) -> Needs {
        Needs::scores(1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let paired = Paired::new(views, [0, 1])?;
        let (n, d) = (views.items(), paired.d());
        let mut total = Evaluation::default();
        let mut slopes = vec![0.0; n];
        for (i, slope) in slopes.iter_mut().enumerate() {
            let off = 1.0 - d[i] - views.scores_of(i)[0];
            *slope = -2.0 * off / n as f32;
            total = total.plus(Evaluation::of_tuple(
                f64::from(off).powi(2) / n as f64,
                off.abs() > 0.1,
            ));
        }
        paired.pull(&slopes, gradients);
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let n = views.items();
        let square = |i: usize| (1.0 - views.d((0, i), (1, i)) - views.scores_of(i)[0]).powi(2);
        (0..n).map(square).sum::<f64>() / n as f64
    }
}
