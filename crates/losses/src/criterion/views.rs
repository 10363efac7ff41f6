//! Evaluation of losses over aligned views.

use super::{Part, Run, Seen, finite};
use crate::batch::{Aligned, Targets};
use crate::error::Error;
use crate::loss::{Needs, ViewGradients, ViewLoss, Views};
use std::borrow::Cow;

impl Run<'_> {
    /// Adds a view loss's value and gradients.
    pub(super) fn view_loss(
        &mut self,
        loss: &dyn ViewLoss,
        part: Part<'_>,
        seen: &Seen<'_>,
    ) -> Result<(), Error> {
        let name = part.objective.loss.name();
        let Targets::Aligned(aligned) = seen.targets else {
            return Err(Error::NotAligned { loss: name });
        };
        if seen.references.is_some() {
            return Err(Error::References { loss: name });
        }
        let dim = part.dim;
        let n = aligned.items(seen.dense.len() / dim.max(1))?;
        let (fewest, most) = loss.views();
        if aligned.views < fewest || aligned.views > most {
            return Err(Error::ViewCount {
                loss: name,
                fewest,
                most,
                found: aligned.views,
            });
        }
        let (parameters, first) = self.take_parameters(part);
        let teacher = aligned.teacher.map(finite).transpose()?;
        if n == 0 {
            return Ok(());
        }
        check(name, loss.needs(aligned.views), &aligned, n)?;
        let distance = part.objective.distance();
        let views = Views {
            embeddings: seen.dense.chunks_exact(n * dim).collect(),
            cols: dim,
            labels: aligned.labels,
            scores: aligned.scores,
            teacher: teacher_views(&aligned, n, teacher.as_ref())?,
            teacher_cols: aligned.teacher.map_or(0, |teacher| teacher.cols),
            parameters: parameters.iter().map(|p| p.values.as_slice()).collect(),
            distance: distance.as_ref().map(super::super::distance::Distance::get),
        };
        let mut gradient = vec![0.0; seen.dense.len()];
        let mut of_parameters: Vec<_> = parameters
            .iter()
            .map(|p| vec![0.0; p.values.len()])
            .collect();
        let mut gradients = ViewGradients {
            embeddings: gradient.chunks_exact_mut(n * dim).collect(),
            parameters: &mut of_parameters,
        };
        let evaluation = loss.value_and_grad(&views, &mut gradients)?;
        self.add_gradient(&gradient, part);
        for (k, gradient) in of_parameters.into_iter().enumerate() {
            self.add_parameter_gradient(first + k, gradient, part.weight);
        }
        self.add(evaluation, part.weight);
        Ok(())
    }
}

/// Whether all that a loss needs to know of the items is there.
fn check(loss: &'static str, needs: Needs, aligned: &Aligned<'_>, n: usize) -> Result<(), Error> {
    let scores = aligned.scores.unwrap_or(&[]);
    if needs.scores > 0 && scores.len() != needs.scores * n {
        return Err(Error::Scores {
            loss,
            expected: needs.scores,
            found: scores.len() / n,
        });
    }
    if let Some(k) = scores.iter().position(|score| !score.is_finite()) {
        return Err(Error::Score {
            item: k / (scores.len() / n).max(1),
            value: scores[k],
        });
    }
    if needs.classes && aligned.labels.is_none() {
        return Err(Error::NoClasses { loss });
    }
    if needs.teacher && aligned.teacher.is_none() {
        return Err(Error::NoTeacher { loss });
    }
    Ok(())
}

/// The rows of the teacher for each view.
fn teacher_views<'a>(
    aligned: &Aligned<'_>,
    n: usize,
    teacher: Option<&'a Cow<'_, [f32]>>,
) -> Result<Vec<&'a [f32]>, Error> {
    let Some((dense, mat)) = teacher.zip(aligned.teacher) else {
        return Ok(Vec::new());
    };
    if mat.rows != n * aligned.views {
        return Err(Error::Teacher {
            rows: n * aligned.views,
            found: mat.rows,
        });
    }
    Ok(dense.chunks_exact((n * mat.cols).max(1)).collect())
}
