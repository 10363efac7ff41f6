//! What came of a comparison.

use super::student::paired_p;
use super::{Effort, Interval, Scores, Tested};
use serde::Serialize;
use std::fmt::Write as _;

/// A try with what it reached on the classes of each fold.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Its numbers, as `--set` takes them; none of the recipe as it is.
    pub changes: Vec<String>,
    /// One for each fold; none where it failed.
    pub validation: Vec<Scores>,
    /// Why training ended without a model, where it did.
    pub failed: Option<String>,
}

impl Tried {
    /// A try that was trained on every fold.
    pub fn new(changes: Vec<String>, validation: Vec<Scores>) -> Self {
        Self {
            changes,
            validation,
            failed: None,
        }
    }

    /// A try whose numbers left the range on some fold.
    pub fn failed(changes: Vec<String>, reason: String) -> Self {
        Self {
            changes,
            validation: Vec::new(),
            failed: Some(reason),
        }
    }

    /// The mean MAP@R over folds; 0 where it failed.
    pub fn map_at_r(&self) -> f64 {
        if self.failed.is_some() {
            return 0.0;
        }
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
    /// Why training ended without a model, where that of all tries did, or that of the one that was taken with a new seed.
    pub failed: Option<String>,
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

    /// The mean MAP@R of the models of each seed.
    fn of_seeds(&self) -> Vec<f64> {
        let seeds = self.tested.iter();
        seeds
            .map(|tested| Scores::mean(&tested.separate).map_at_r)
            .collect()
    }
}

/// How a loss stands to the best one, by MAP@R.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// The loss.
    pub loss: String,
    /// The mean of best − loss over the seeds, with its 95 % interval.
    pub behind: Interval,
    /// How often seeds of equal losses differ as much, by Student's test of paired differences, two-sided.
    pub p: f64,
    /// The same for all pairs of losses, after Holm: the best is one of them by chance too.
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
    /// Judges the losses by the mean MAP@R of their models by themselves. The p values are of Student's paired test, two-sided, over
    /// the seeds, each of which stands for the mean of its folds: the models of a fold share what they train on, so seeds alone are
    /// independent. (Signs of a few seeds could not say less than 2^(1 - seeds), too much for several losses.) They are adjusted by Holm's step-down rule for all pairs of losses. What p says is whether other seeds would
    /// agree on these folds and test classes, not whether other data would.
    ///
    /// # Reference
    /// S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    pub fn new(effort: Effort, raw: Scores, arms: Vec<Arm>) -> Self {
        let tested: Vec<&Arm> = arms.iter().filter(|arm| arm.failed.is_none()).collect();
        let mean = |arm: &Arm| arm.separate()[2].mean;
        let mut best = tested.first().copied();
        for &arm in &tested {
            if best.is_some_and(|best| mean(arm) > mean(best)) {
                best = Some(arm);
            }
        }
        let mut pairs = Vec::new();
        for (at, first) in tested.iter().enumerate() {
            for second in &tested[at + 1..] {
                let (a, b) = match best {
                    Some(best) if best.loss == second.loss => (second, first),
                    _ => (first, second),
                };
                pairs.push((a.loss.as_str(), contrast(a, b)));
            }
        }
        let adjusted = holm(&pairs.iter().map(|(_, of)| of.p).collect::<Vec<_>>());
        let best = best.map_or_else(String::new, |best| best.loss.clone());
        let with_best = pairs.into_iter().zip(adjusted);
        let with_best = with_best.filter(|((first, _), _)| *first == best);
        let contrasts = with_best.map(|((_, of), adjusted)| Contrast { adjusted, ..of });
        Self {
            effort,
            raw,
            contrasts: contrasts.collect(),
            best,
            arms,
        }
    }

    /// The names of columns, and a row for the raw input and each loss.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut header = vec![String::new(), "validation".into()];
        header.extend(Scores::NAMES.map(str::to_owned));
        header.extend(["MAP@R together", "behind", "p"].map(str::to_owned));
        let raw = self
            .raw
            .numbers()
            .map(|number| format!("{:.2}", 100.0 * number));
        let mut first = vec!["raw input".to_owned(), String::new()];
        first.extend(raw);
        first.resize(header.len(), String::new());
        let mut rows = vec![first];
        for arm in &self.arms {
            let validation = format!("{:.2}", 100.0 * arm.tries[arm.chosen].map_at_r());
            let mut row = vec![arm.loss.clone(), validation];
            if arm.failed.is_some() {
                row.resize(header.len(), "failed".into());
                rows.push(row);
                continue;
            }
            row.extend(arm.separate().map(|interval| interval.percent()));
            row.push(arm.together().percent());
            let contrast = self.contrasts.iter().find(|found| found.loss == arm.loss);
            row.extend(contrast.map_or_else(
                || ["best".to_owned(), String::new()],
                |found| [found.behind.percent(), chance(found.adjusted)],
            ));
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
            let failed = arm
                .tries
                .iter()
                .filter(|tried| tried.failed.is_some())
                .count();
            if let Some(reason) = &arm.failed {
                let _ = writeln!(
                    lines,
                    "- {}: no model, {failed} of {of} tries failed; {reason}",
                    arm.loss
                );
                continue;
            }
            let what = if changes.is_empty() {
                "as the recipe has it".to_owned()
            } else {
                changes.join(", ")
            };
            let failed = match failed {
                0 => String::new(),
                count => format!("; {count} of them ended in numbers that are not finite"),
            };
            let _ = writeln!(
                lines,
                "- {}: try {number} of {of}, {what}{failed}",
                arm.loss
            );
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
        let tries = match tries {
            1 => "one try, the numbers as they are".to_owned(),
            tries => format!("{tries} tries of its numbers and the learning rate"),
        };
        format!(
            "In percent. Each loss had {tries}, chosen by MAP@R on the classes of the fold left out (validation), {folds} folds. Then on the \
             test classes, which no choice saw: the mean of the {folds} models of a seed, and their embeddings together; {interval}. Behind: by \
             how much MAP@R is less than that of {}. p: how often seeds of equal losses differ as much (Student's paired test), \
             adjusted for all pairs of losses. Other seeds would agree, says a small p, on these folds and test classes; of other data it \
             says nothing.",
            self.best
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

fn contrast(first: &Arm, second: &Arm) -> Contrast {
    let pairs = first.of_seeds().into_iter().zip(second.of_seeds());
    let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
    let p = paired_p(&differences);
    Contrast {
        loss: second.loss.clone(),
        behind: Interval::of(&differences),
        p,
        adjusted: p,
    }
}

/// From the smallest p on: times the number of those not yet passed, and never less than one before.
fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut least) = (p.to_vec(), 0.0_f64);
    for (passed, &at) in order.iter().enumerate() {
        let left = (p.len() - passed) as f64;
        least = least.max((left * p[at]).min(1.0));
        adjusted[at] = least;
    }
    adjusted
}

/// A share as tables show it: never as nothing.
fn chance(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
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
        let tried = |map: f64| {
            let changes = vec![format!("loss.{loss}.margin={map:?}")];
            Tried::new(changes, vec![scores(map), scores(map + 0.1)])
        };
        // Seeds that are good for the others are bad for this one.
        let sign = if loss == "a" { -1.0 } else { 1.0 };
        let seed = |shift: f64| Tested {
            separate: vec![
                scores(level + sign * shift),
                scores(level + sign * shift + 0.02),
            ],
            together: scores(level + 0.1),
        };
        let tries = vec![tried(0.2), tried(0.3)];
        Arm {
            loss: loss.into(),
            chosen: Arm::best(&tries),
            tries,
            tested: vec![seed(0.0), seed(0.01), seed(0.02)],
            failed: None,
        }
    }

    #[test]
    fn the_best_try_is_taken_and_losses_are_judged_seed_by_seed() {
        let arms = vec![arm("a", 0.4), arm("b", 0.6), arm("c", 0.6)];
        let found = Findings::new(EFFORT, scores(0.1), arms);
        assert_eq!((found.best.as_str(), found.arms[0].chosen), ("b", 1));
        let a = &found.contrasts[0];
        // Differences of 0.20, 0.22 and 0.24; three pairs of losses.
        assert!((a.behind.mean - 0.22).abs() < 1e-12, "{a:?}");
        assert!(
            (a.p - 0.002_743_5).abs() < 1e-6 && (a.adjusted - 3.0 * a.p).abs() < 1e-12,
            "{a:?}"
        );
        // Equal in every seed.
        let c = &found.contrasts[1];
        assert_eq!((c.loss.as_str(), c.p, c.adjusted), ("c", 1.0, 1.0));
        let page = found.markdown("Digits", "nearkin compare digits.toml");
        for part in [
            "| a | 35.00 | 90.00 ± 0.00 | 50.00 ± 0.00 | 40.00 ± 2.48 | 50.00 ± 0.00 | 22.00 ± 4.97 | 0.008 |",
            "| raw input |  | 90.00 | 50.00 | 10.00 |",
            "- a: try 2 of 2, loss.a.margin=0.3",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(found.csv().lines().count(), 1 + 3 * 3 * (2 * 2 + 3 * 2 + 3));
    }

    #[test]
    fn a_loss_whose_training_fails_is_a_row_that_says_so() {
        let reason = || "step 7: the loss overflows".to_owned();
        let mut some = arm("a", 0.4);
        some.tries[0] = Tried::failed(Vec::new(), reason());
        let mut none = arm("b", 0.6);
        none.tries = vec![Tried::failed(Vec::new(), reason()); 2];
        (none.chosen, none.failed, none.tested) =
            (Arm::best(&none.tries), Some(reason()), Vec::new());
        let found = Findings::new(EFFORT, scores(0.1), vec![none, some]);
        assert_eq!((found.best.as_str(), found.contrasts.len()), ("a", 0));
        let page = found.markdown("Digits", "nearkin compare digits.toml");
        for part in [
            "| b | 0.00 | failed | failed |",
            "- b: no model, 2 of 2 tries failed; step 7: the loss overflows",
            "- a: try 2 of 2, loss.a.margin=0.3; 1 of them ended in numbers that are not finite",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn holm_multiplies_step_by_step_and_never_turns_the_order() {
        assert_eq!(holm(&[0.03, 0.01, 0.02, 0.6]), [0.06, 0.04, 0.06, 0.6]);
        assert_eq!([0.25, 0.0004].map(chance), ["0.250", "< 0.001"]);
    }
}
