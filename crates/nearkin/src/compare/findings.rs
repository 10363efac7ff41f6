//! What came of a comparison.

use super::{Effort, Interval, Scores, Tested};
use crate::evaluate::sign_flips;
use serde::Serialize;
use std::fmt::Write as _;

/// A try with what it reached on the classes of each fold.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Its numbers, as `--set` takes them; none of the recipe as it is.
    pub changes: Vec<String>,
    /// One for each fold.
    pub validation: Vec<Scores>,
}

impl Tried {
    /// The mean MAP@R over folds.
    pub fn map_at_r(&self) -> f64 {
        Scores::mean(&self.validation).map_at_r
    }
}

/// A loss with its tries, and what the best of them reached.
#[derive(Clone, Debug, Serialize)]
pub struct Arm {
    /// The loss.
    pub loss: String,
    /// All tries in their order.
    pub tries: Vec<Tried>,
    /// The number of the one that was taken.
    pub chosen: usize,
    /// What its models reach on the test classes, seed by seed.
    pub tested: Vec<Tested>,
}

impl Arm {
    /// The number of the try with the highest mean MAP@R; of equal ones the first.
    pub fn best(tries: &[Tried]) -> usize {
        let better = |best: usize, at: usize| {
            if tries[at].map_at_r() > tries[best].map_at_r() {
                at
            } else {
                best
            }
        };
        (1..tries.len()).fold(0, better)
    }

    /// The scores of the models by themselves, in the order of columns: means over folds, over the seeds.
    pub fn separate(&self) -> [Interval; 3] {
        let means = |tested: &Tested| Scores::mean(&tested.separate).numbers();
        let means: Vec<[f64; 3]> = self.tested.iter().map(means).collect();
        [0, 1, 2].map(|at| Interval::of(&means.iter().map(|of| of[at]).collect::<Vec<_>>()))
    }

    /// MAP@R of the models of a seed together, over the seeds.
    pub fn together(&self) -> Interval {
        let numbers = self.tested.iter().map(|tested| tested.together.map_at_r);
        Interval::of(&numbers.collect::<Vec<_>>())
    }

    fn runs(&self) -> impl Iterator<Item = f64> {
        let scores = self.tested.iter().flat_map(|tested| &tested.separate);
        scores.map(|scores| scores.map_at_r)
    }
}

/// How a loss stands to the best one, by MAP@R.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// The loss.
    pub loss: String,
    /// The mean of best − loss over pairs of models of the same seed and fold.
    pub behind: f64,
    /// How often signs at random give a difference as large, of either sign.
    pub p: f64,
    /// The same for all losses compared with the best one, after Holm.
    pub adjusted: f64,
}

/// What came of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What each loss was given.
    pub effort: Effort,
    /// The raw input on the test classes, as the folds of a seed see it: features are scaled by what trains.
    pub raw: Scores,
    /// The losses in their order.
    pub arms: Vec<Arm>,
    /// The one with the highest MAP@R.
    pub best: String,
    /// All others beside it.
    pub contrasts: Vec<Contrast>,
}

impl Findings {
    /// Judges the losses by the mean MAP@R of their models by themselves. The p values are of a paired permutation test over
    /// models of the same seed and fold, two-sided, and adjusted by Holm's step-down rule for the number of losses. Models of
    /// a seed share part of their training classes and all test classes: what p says is whether another seed and fold would
    /// agree, not whether other data would.
    ///
    /// # Reference
    /// S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    pub fn new(effort: Effort, raw: Scores, arms: Vec<Arm>) -> Self {
        let mean = |arm: &Arm| arm.separate()[2].mean;
        let mut best = arms.first();
        for arm in &arms {
            if best.is_some_and(|best| mean(arm) > mean(best)) {
                best = Some(arm);
            }
        }
        let mut contrasts: Vec<Contrast> = Vec::new();
        for arm in &arms {
            if let Some(best) = best.filter(|best| best.loss != arm.loss) {
                contrasts.push(contrast(best, arm));
            }
        }
        holm(&mut contrasts);
        Self {
            effort,
            raw,
            best: best.map_or_else(String::new, |best| best.loss.clone()),
            contrasts,
            arms,
        }
    }

    /// The names of columns, and a row for the raw input and each loss.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut header = vec![String::new(), "validation".into()];
        header.extend(Scores::NAMES.map(str::to_owned));
        header.extend(["MAP@R together", "p"].map(str::to_owned));
        let raw = self
            .raw
            .numbers()
            .map(|number| format!("{:.2}", 100.0 * number));
        let around = |name: &str, cells: &[String]| -> Vec<String> {
            let blank = || [String::new()];
            let cells = cells.iter().cloned();
            let name = [name.to_owned()].into_iter();
            name.chain(blank())
                .chain(cells)
                .chain(blank())
                .chain(blank())
                .collect()
        };
        let mut rows = vec![around("raw input", &raw)];
        for arm in &self.arms {
            let mut row = vec![
                arm.loss.clone(),
                format!("{:.2}", 100.0 * arm.tries[arm.chosen].map_at_r()),
            ];
            row.extend(arm.separate().map(|interval| interval.percent()));
            row.push(arm.together().percent());
            let contrast = self.contrasts.iter().find(|found| found.loss == arm.loss);
            row.push(
                contrast.map_or_else(|| "best".into(), |found| format!("{:.3}", found.adjusted)),
            );
            rows.push(row);
        }
        (header, rows)
    }

    /// The numbers that were taken, a line for each loss.
    pub fn choices(&self) -> String {
        let mut lines = String::new();
        for arm in &self.arms {
            let changes = &arm.tries[arm.chosen].changes;
            let (number, of) = (arm.chosen + 1, arm.tries.len());
            let what = if changes.is_empty() {
                "as the recipe has it".to_owned()
            } else {
                changes.join(", ")
            };
            let _ = writeln!(lines, "- {}: try {number} of {of}, {what}", arm.loss);
        }
        lines
    }

    /// How to read the table.
    pub fn legend(&self) -> String {
        let Effort {
            folds,
            tries,
            seeds,
        } = self.effort;
        let interval = if seeds > 1 {
            format!("± is the 95 % interval over {seeds} seeds")
        } else {
            "one seed has no interval".to_owned()
        };
        format!(
            "In percent. Each loss had {tries} tries of its numbers and the learning rate, chosen by MAP@R on the classes of the fold left \
             out (validation), {folds} folds. Then on the test classes, which no choice saw: the mean of the {folds} models of a seed, and \
             their embeddings together; {interval}. p: how often chance gives as large a difference to {}, {} pairs of models, adjusted \
             for the number of losses; {} pairs cannot say less than {:.3}.",
            self.best,
            folds * seeds,
            folds * seeds,
            2.0 * 0.5_f64.powi((folds * seeds).min(20) as i32)
        )
    }

    /// A page with table, legend and choices; `command` made it.
    pub fn markdown(&self, title: &str, command: &str) -> String {
        let (header, rows) = self.table();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(header.len() - 1));
        let rows: String = rows.iter().map(|row| line(row)).collect();
        format!(
            "## {title}\n\n`{command}`\n\n{}{rule}{rows}\n{}\n\nTaken:\n\n{}",
            line(&header),
            self.legend(),
            self.choices()
        )
    }

    /// One line for each number: loss, stage, try or seed, fold, score, value.
    pub fn csv(&self) -> String {
        let mut lines = String::from("loss,stage,number,fold,score,value\n");
        let mut put = |loss: &str, stage: &str, number: usize, folds: &[Scores]| {
            for (fold, scores) in folds.iter().enumerate() {
                for (name, value) in Scores::NAMES.iter().zip(scores.numbers()) {
                    let _ = writeln!(lines, "{loss},{stage},{number},{fold},{name},{value}");
                }
            }
        };
        for arm in &self.arms {
            for (number, tried) in arm.tries.iter().enumerate() {
                put(&arm.loss, "validation", number, &tried.validation);
            }
            for (seed, tested) in arm.tested.iter().enumerate() {
                put(&arm.loss, "test", seed, &tested.separate);
                put(&arm.loss, "together", seed, &[tested.together]);
            }
        }
        lines
    }
}

fn contrast(best: &Arm, arm: &Arm) -> Contrast {
    let differences: Vec<f64> = best.runs().zip(arm.runs()).map(|(b, a)| b - a).collect();
    let turned: Vec<f64> = differences.iter().map(|d| -d).collect();
    let p = (2.0 * sign_flips(&differences).min(sign_flips(&turned))).min(1.0);
    Contrast {
        loss: arm.loss.clone(),
        behind: differences.iter().sum::<f64>() / differences.len().max(1) as f64,
        p,
        adjusted: p,
    }
}

/// From the smallest p on: times the number of those not yet passed, and never less than one before.
fn holm(contrasts: &mut [Contrast]) {
    let mut order: Vec<usize> = (0..contrasts.len()).collect();
    order.sort_by(|&a, &b| contrasts[a].p.total_cmp(&contrasts[b].p));
    let mut least: f64 = 0.0;
    for (passed, &at) in order.iter().enumerate() {
        let left = (contrasts.len() - passed) as f64;
        least = least.max((left * contrasts[at].p).min(1.0));
        contrasts[at].adjusted = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        folds: 2,
        tries: 2,
        seeds: 3,
    };

    fn scores(map_at_r: f64) -> Scores {
        Scores {
            recall_at_1: 0.9,
            r_precision: 0.5,
            map_at_r,
        }
    }

    fn arm(loss: &str, level: f64) -> Arm {
        let tried = |map: f64| Tried {
            changes: vec![format!("loss.{loss}.margin={map:?}")],
            validation: vec![scores(map), scores(map + 0.1)],
        };
        let seed = |shift: f64| Tested {
            separate: vec![scores(level + shift), scores(level + shift + 0.02)],
            together: scores(level + 0.1),
        };
        let tries = vec![tried(0.2), tried(0.3)];
        Arm {
            loss: loss.into(),
            chosen: Arm::best(&tries),
            tries,
            tested: vec![seed(0.0), seed(0.01), seed(0.02)],
        }
    }

    #[test]
    fn the_best_try_is_taken_and_losses_are_judged_by_pairs_of_models() {
        let found = Findings::new(
            EFFORT,
            scores(0.1),
            vec![arm("a", 0.4), arm("b", 0.6), arm("c", 0.6)],
        );
        assert_eq!((found.best.as_str(), found.arms[0].chosen), ("b", 1));
        let a = &found.contrasts[0];
        // Six pairs that agree: two of 64 choices of signs are as large; two losses are compared with the best.
        assert!(
            (a.behind - 0.2).abs() < 1e-12 && a.p == 2.0 / 64.0 && a.adjusted == 4.0 / 64.0,
            "{a:?}"
        );
        // Equal in every pair.
        assert_eq!(
            (found.contrasts[1].p, found.contrasts[1].adjusted),
            (1.0, 1.0)
        );
        let page = found.markdown("Digits", "nearkin compare digits.toml");
        assert!(
            page.contains(
                "| a | 35.00 | 90.00 ± 0.00 | 50.00 ± 0.00 | 42.00 ± 2.48 | 50.00 ± 0.00 | 0.062 |"
            ),
            "{page}"
        );
        assert!(
            page.contains("| raw input |  | 90.00 | 50.00 | 10.00 |"),
            "{page}"
        );
        assert!(
            page.contains("- a: try 2 of 2, loss.a.margin=0.3"),
            "{page}"
        );
        assert_eq!(found.csv().lines().count(), 1 + 3 * 3 * (2 * 2 + 3 * 2 + 3));
    }

    #[test]
    fn holm_multiplies_step_by_step_and_never_turns_the_order() {
        let of = |p: f64| Contrast {
            loss: String::new(),
            behind: 0.0,
            p,
            adjusted: 0.0,
        };
        let mut contrasts = [of(0.03), of(0.01), of(0.02), of(0.6)];
        holm(&mut contrasts);
        assert_eq!(contrasts.map(|c| c.adjusted), [0.06, 0.04, 0.06, 0.6]);
    }
}
