//! What came of a study: the table, and which of the paper's claims hold.

use super::{Arm, Claim, Measure, Study};
use crate::evaluate::{OverDraws, sign_flips};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The numbers of one arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// The arm.
    pub arm: String,
    /// For each seed, the measures in their order.
    pub runs: Vec<Vec<f64>>,
    /// The paper's figures, as printed.
    pub figures: BTreeMap<Measure, String>,
}

/// Up to which p a claim is said to hold.
const LEVEL: f64 = 0.05;

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ruling {
    /// The better arm is better, with p of at most 0.05.
    #[serde(rename = "held")]
    Held,
    /// Its mean is better, but the seeds are too few or too far apart to tell.
    #[serde(rename = "not clear")]
    NotClear,
    /// Its mean is not better.
    #[serde(rename = "did not hold")]
    DidNotHold,
}

impl Ruling {
    /// By the mean of differences, above zero where the better arm is better, and its p.
    fn of(mean: f64, p: f64) -> Self {
        match (mean > 0.0, p <= LEVEL) {
            (true, true) => Self::Held,
            (true, false) => Self::NotClear,
            (false, _) => Self::DidNotHold,
        }
    }

    /// The words of tables and pages.
    fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotClear => "not clear",
            Self::DidNotHold => "did not hold",
        }
    }
}

/// A claim and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The claim.
    #[serde(flatten)]
    pub claim: Claim,
    /// By how much the better arm is better, seed by seed; above zero it is, whichever way the measure goes.
    pub differences: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Seeds on which it is better.
    pub wins: usize,
    /// The share of choices of the differences' signs with a mean at least as large: one-sided, exact.
    pub p: f64,
    /// Whether the claim holds.
    pub ruling: Ruling,
}

/// What came of a study.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// What was measured, in the order of columns.
    pub measures: Vec<Measure>,
    /// The measures of the raw input, on the split of the first seed.
    pub raw: Vec<f64>,
    /// The arms in their order.
    pub arms: Vec<Numbers>,
    /// The claims in their order.
    pub verdicts: Vec<Verdict>,
}

impl Numbers {
    /// Of an arm before its first run.
    pub fn of(arm: &Arm) -> Self {
        Self {
            arm: arm.name.clone(),
            runs: Vec::new(),
            figures: arm.figures.clone(),
        }
    }

    /// Mean and deviation, of a sample, of the measure in column `at`, as tables show them.
    pub fn cell(&self, at: usize, measure: Measure) -> String {
        let values: Vec<f64> = self.runs.iter().map(|run| run[at]).collect();
        let over = OverDraws::of(&values);
        if over.draws < 2 {
            return measure.shown(over.mean);
        }
        format!("{} ± {}", measure.shown(over.mean), measure.shown(over.std))
    }
}

impl Findings {
    /// Judges the claims of a study by its numbers.
    pub fn new(study: &Study, raw: Vec<f64>, arms: Vec<Numbers>) -> Self {
        let measures = study.measures.clone();
        let verdict = |claim: &Claim| judged(claim, &measures, &arms);
        let verdicts = study.claims.iter().filter_map(verdict).collect();
        Self {
            measures,
            raw,
            arms,
            verdicts,
        }
    }

    /// A page: the table with the paper's figures below ours, and the claims.
    pub fn markdown(&self, study: &Study, run: &str) -> String {
        let mut page = format!(
            "## {}\n\n{}\n\n{run} {}\n\n|",
            study.title, study.source, study.remark
        );
        for measure in &self.measures {
            let better = if measure.smaller_is_better() {
                " ↓"
            } else {
                ""
            };
            let _ = write!(page, " | {}{better}", measure.name());
        }
        page.push_str(" |\n|---|");
        page.push_str(&"---|".repeat(self.measures.len()));
        page.push_str("\n| raw input |");
        for (measure, value) in self.measures.iter().zip(&self.raw) {
            let _ = write!(page, " {} |", measure.shown(*value));
        }
        for numbers in &self.arms {
            let _ = write!(page, "\n| {} |", numbers.arm);
            for (at, measure) in self.measures.iter().enumerate() {
                let _ = write!(page, " {} |", numbers.cell(at, *measure));
            }
            if numbers.figures.is_empty() {
                continue;
            }
            page.push_str("\n| *paper* |");
            for measure in &self.measures {
                let figure = numbers.figures.get(measure).map_or("", String::as_str);
                let _ = write!(page, " *{figure}* |");
            }
        }
        let page = page.replace(" ** |", " |");
        format!("{page}\n\n{}", self.claims())
    }

    /// The claims, a line each.
    pub fn claims(&self) -> String {
        let mut lines = String::from(
            "Held is what has a mean difference above zero and p of at most 0.05; not clear is what has one and a larger p: seeds too few or\n\
             too far apart to tell. p is the share of choices of the differences' signs with a mean as large.\n\n",
        );
        for verdict in &self.verdicts {
            let Verdict {
                claim,
                differences,
                mean,
                wins,
                p,
                ruling,
            } = verdict;
            let _ = writeln!(
                lines,
                "- {} beats {} by {}: {} (mean difference {}, on {wins} of {} seeds, p = {p:.3})",
                claim.better,
                claim.than,
                claim.by.name(),
                ruling.words(),
                claim.by.shown(*mean),
                differences.len(),
            );
        }
        lines
    }

    /// One line for each number: arm, run, measure, value.
    pub fn csv(&self) -> String {
        let mut lines = String::from("arm,run,measure,value\n");
        for numbers in &self.arms {
            for (run, values) in numbers.runs.iter().enumerate() {
                for (measure, value) in self.measures.iter().zip(values) {
                    let name = measure.name();
                    // Names of arms hold commas.
                    let _ = writeln!(lines, "\"{}\",{run},{name},{value}", numbers.arm);
                }
            }
        }
        lines
    }
}

/// Nothing where an arm was not run.
fn judged(claim: &Claim, measures: &[Measure], arms: &[Numbers]) -> Option<Verdict> {
    let at = measures.iter().position(|measure| *measure == claim.by)?;
    let runs = |name: &str| arms.iter().find(|arm| arm.arm == name).map(|arm| &arm.runs);
    let pairs = runs(&claim.better)?.iter().zip(runs(&claim.than)?);
    let sign = if claim.by.smaller_is_better() {
        -1.0
    } else {
        1.0
    };
    let differences: Vec<f64> = pairs.map(|(b, w)| sign * (b[at] - w[at])).collect();
    let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
    let p = sign_flips(&differences);
    Some(Verdict {
        claim: claim.clone(),
        mean,
        wins: differences.iter().filter(|d| **d > 0.0).count(),
        p,
        ruling: Ruling::of(mean, p),
        differences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::Paper;

    #[test]
    fn claims_are_judged_by_paired_differences_the_right_way_round() {
        let study = Study::of(Paper::Constellation).unwrap();
        let by = |m: Measure| study.measures.iter().position(|x| *x == m).unwrap();
        let (silhouette, davies) = (by(Measure::Silhouette), by(Measure::DaviesBouldin));
        let runs = |s: f64, d: f64| -> Vec<Vec<f64>> {
            let run = |step: f64| {
                let mut values = vec![0.5; study.measures.len()];
                values[silhouette] = s + step;
                values[davies] = d + step;
                values
            };
            vec![run(0.0), run(0.01), run(0.02)]
        };
        let arms = study.arms.iter().map(|arm| Numbers {
            runs: if arm.name == "triplet" {
                runs(0.3, 0.9)
            } else {
                runs(0.6, 0.5)
            },
            ..Numbers::of(arm)
        });
        let findings = Findings::new(&study, vec![0.25; study.measures.len()], arms.collect());
        let over_triplet = findings
            .verdicts
            .iter()
            .filter(|v| v.claim.than == "triplet");
        let judged: Vec<_> = over_triplet
            .filter(|v| matches!(v.claim.by, Measure::Silhouette | Measure::DaviesBouldin))
            .collect();
        assert!(judged.len() >= 2);
        for verdict in judged {
            assert!(
                verdict.ruling == Ruling::NotClear && verdict.wins == 3 && verdict.p == 0.125,
                "{verdict:?}"
            );
            assert!(verdict.mean > 0.29, "{verdict:?}");
        }
        // Three seeds cannot tell: no p is smaller.
        assert!(findings.claims().contains(": not clear (mean difference"));
        assert!(!findings.claims().contains(": held"));
        let page = findings.markdown(&study, "Run.");
        let raw = "| raw input | 25.00 | 25.00 | 0.2500 | 0.2500 |";
        assert!(page.contains(raw), "{page}");
        assert!(
            page.contains("| 0.3100 ± 0.0100 |") && page.contains("*0.6265 ± 0.0245*"),
            "{page}"
        );
        assert_eq!(
            findings.csv().lines().count(),
            1 + study.arms.len() * 3 * study.measures.len()
        );
    }

    #[test]
    fn a_claim_holds_only_where_chance_would_seldom_do_as_much() {
        let study = Study::of(Paper::Constellation).unwrap();
        let claim = study.claims.iter().find(|claim| claim.than == "triplet");
        let claim = claim.unwrap();
        let at = study.measures.iter().position(|m| *m == claim.by).unwrap();
        let rule = |differences: &[f64]| {
            let arm = |name: &str, scale: f64| Numbers {
                arm: name.to_owned(),
                runs: (differences.iter())
                    .map(|difference| {
                        let mut values = vec![0.5; study.measures.len()];
                        values[at] += scale * difference;
                        values
                    })
                    .collect(),
                figures: BTreeMap::new(),
            };
            let sign = if claim.by.smaller_is_better() {
                -1.0
            } else {
                1.0
            };
            let arms = [arm(&claim.better, sign), arm(&claim.than, 0.0)];
            judged(claim, &study.measures, &arms).unwrap().ruling
        };
        // Five of five: p = 1/32; four of four: 1/16; one far the other way leaves the mean above zero.
        assert_eq!(rule(&[0.1, 0.2, 0.1, 0.3, 0.1]), Ruling::Held);
        assert_eq!(rule(&[0.1, 0.2, 0.1, 0.3]), Ruling::NotClear);
        assert_eq!(rule(&[0.1, 0.2, 0.1, 0.3, -0.4]), Ruling::NotClear);
        assert_eq!(rule(&[-0.1, 0.2, -0.1, -0.3, -0.1]), Ruling::DidNotHold);
        assert_eq!(rule(&[0.0, 0.0]), Ruling::DidNotHold);
        let json = serde_json::to_value(Ruling::NotClear).unwrap();
        assert_eq!(json, Ruling::NotClear.words());
    }
}
