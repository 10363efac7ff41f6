//! The end of a run: which weights become the model, how good it is, and its folder.

use super::checkpoint::{self, write_json};
use super::{Kept, Run, Task, Trained};
use crate::error::Result;
use nearkin_encoder::weights;

impl<T: Task> Run<'_, T> {
    /// Chooses the weights, measures them beside what they must beat, and writes the model folder.
    pub(super) fn finish(&mut self) -> Result<T::Report> {
        let (selected, step) = self.select();
        let model = if selected == "best" {
            let best = checkpoint::best_folder(&self.folder, step);
            checkpoint::restore_losses(&best, &mut self.learner)?;
            let model = self.task.model()?;
            checkpoint::restore_best(&best, model.parameters())?;
            model
        } else {
            self.kept().clone()
        };
        let kept = Kept {
            model: &model,
            losses: &self.learner.losses,
            folder: self.folder.join("model"),
            step,
            selected,
        };
        let report = self.task.report(&kept, self.control.observer)?;
        checkpoint::whole_folder(&kept.folder, |partial| {
            model.save(partial)?;
            self.task.save_beside(&kept, partial)?;
            let recipe = self.task.recipe()?;
            weights::write_beside(&partial.join("recipe.toml"), recipe.as_bytes())?;
            write_json(&partial.join("metrics.json"), &report)?;
            let card = self.task.card(&model, &report)?;
            Ok(weights::write_beside(
                &partial.join("README.md"),
                card.as_bytes(),
            )?)
        })?;
        Ok(report)
    }

    fn select(&self) -> (&'static str, u64) {
        match self.progress.best {
            Some(best) if self.chooses() => ("best", best.step),
            _ => ("last", self.progress.step),
        }
    }
}
