//! The distillation loss of a ranking.

use super::paired::Paired;
use super::view::view_definition;
use super::{Evaluation, Needs, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::Dot;
use crate::error::Error;
use crate::range::Positive;

described! {
    /// Fits the softmax over the candidates of each query to that of a teacher.
    ///
    /// ```text
    /// L = T²/n Σ_i Σ_c q_c log(q_c / p_c),  q = softmax(scores / T),  p = softmax(-d(q_i, c) / T)
    /// ```
    ///
    /// The candidates of a query are its own positive and negatives. It is active while the closest is not the teacher's best.
    ///
    /// # Shapes
    /// - embeddings: three or more views `[n, D]`: queries, then `k` candidates; scores: `[n, k]`
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// S.-C. Lin, J.-H. Yang, J. Lin, Distilling Dense Representations for Ranking using Tightly-Coupled Teachers, arXiv 2020,
    /// Eq. 4; temperature as in G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015.
    ///
    /// # Differences
    /// sentence-transformers can give student and teacher temperatures of their own.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::DistillKlDiv};
    /// // The student is undecided, the teacher prefers the first three to one: ¾ log(¾·2) + ¼ log(¼·2).
    /// let targets = Targets::Aligned(Aligned { views: 3, scores: Some(&[3_f32.ln(), 0.0]), ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[1.0; 3], 3, 1), targets };
    /// let outcome = Objective::from(DistillKlDiv::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (0.75 * 1.5_f32.ln() + 0.25 * 0.5_f32.ln())).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct DistillKlDiv {
        /// Temperature of both softmaxes.
        pub temperature: Positive = Positive::literal(1.0),
    }
}

view_definition!(DistillKlDiv, [Target::Scores], Some(Dot::default().into()));

/// `log softmax` of a few numbers.
fn log_softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| x - largest - sum.ln()).collect()
}

fn best(x: &[f64]) -> Option<usize> {
    (0..x.len()).max_by(|&i, &j| x[i].total_cmp(&x[j]))
}

impl ViewLoss for DistillKlDiv {
    fn views(&self) -> (usize, usize) {
        (3, usize::MAX)
    }

    fn needs(&self, views: usize) -> Needs {
        Needs::scores(views - 1)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let (n, candidates) = (views.items(), views.embeddings.len() - 1);
        let t = self.temperature.exact();
        let paired: Vec<_> = (1..=candidates)
            .map(|view| Paired::new(views, [0, view]))
            .collect::<Result<_, _>>()?;
        let d: Vec<_> = paired.iter().map(Paired::d).collect();
        let mut slopes = vec![vec![0.0; n]; candidates];
        let mut total = Evaluation::default();
        for i in 0..n {
            let student: Vec<_> = d.iter().map(|d| f64::from(-d[i]) / t).collect();
            let scores = views.scores_of(i).iter();
            let teacher: Vec<_> = scores.map(|&score| f64::from(score) / t).collect();
            let (log_p, log_q) = (log_softmax(&student), log_softmax(&teacher));
            let mut value = 0.0;
            for c in 0..candidates {
                let (p, q) = (log_p[c].exp(), log_q[c].exp());
                value += q * (log_q[c] - log_p[c]);
                slopes[c][i] = ((q - p) * t / n as f64) as f32;
            }
            total = total.plus(Evaluation::of_tuple(
                value * t * t / n as f64,
                best(&student) != best(&teacher),
            ));
        }
        for (paired, slopes) in paired.into_iter().zip(&slopes) {
            paired.pull(slopes, gradients);
        }
        Ok(total)
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (n, t) = (views.items(), self.temperature.exact());
        let mut sum = 0.0;
        for i in 0..n {
            let scores = views.scores_of(i);
            let exp_student = |c: usize| (-views.d((0, i), (c + 1, i)) / t).exp();
            let student: f64 = (0..scores.len()).map(exp_student).sum();
            let teacher: f64 = scores.iter().map(|score| (score / t).exp()).sum();
            for (c, score) in scores.iter().enumerate() {
                let q = (score / t).exp() / teacher;
                sum += q * (q / (exp_student(c) / student)).ln();
            }
        }
        t * t * sum / n as f64
    }
}
