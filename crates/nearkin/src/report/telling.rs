//! Telling the same from different by distance: ROC, DET, and the distances behind them.

use super::chart::{Axis, Chart, Series, Shape, number};
use super::html::{Html, Table, cell};
use super::pairs::Pairs;
use crate::evaluate::{
    ClassDistances, Estimate, EvaluateError, Roc, Spread, Verification, VerificationOptions,
    verification,
};

/// The levels of a histogram, over distances from 0 to 4.
const LEVELS: usize = 80;
/// The least rate on the axes of the DET curve.
const LEAST: f64 = 1e-4;
/// Folds of pairs, as LFW has.
const FOLDS: usize = 10;

/// What pairs tell.
pub struct Telling {
    pairs: Pairs,
    roc: Roc,
    /// Scores with intervals; none where there are too few pairs to part into folds.
    pub verification: Option<Verification>,
    /// The threshold that is marked, and what it is.
    threshold: (f64, String),
}

impl Telling {
    /// Measures pairs; `kept` is the threshold that the model answers by, if it has one.
    ///
    /// # Errors
    /// All pairs are of one kind, or a number is not finite.
    pub fn new(pairs: Pairs, kept: Option<f64>) -> Result<Self, EvaluateError> {
        let roc = Roc::new(&pairs.distances, &pairs.same)?;
        let verification = match folds(&pairs.same) {
            Some(fold_of) => Some(verification(
                &pairs.distances,
                &pairs.same,
                &fold_of,
                &VerificationOptions::default(),
            )?),
            None => None,
        };
        let threshold = if let Some(kept) = kept {
            (kept, format!("kept threshold {}", number(kept)))
        } else {
            let equal = roc.equal_error().threshold;
            (equal, format!("equal errors at {}", number(equal)))
        };
        Ok(Self {
            pairs,
            roc,
            verification,
            threshold,
        })
    }

    /// ROC and DET beside another curve, and the scores that are read off them.
    pub fn curves(&self, beside: &Chart) -> Html {
        let mut html = Html::default();
        html.raw("<p>").text(&self.pairs.drawn()).raw("</p>");
        html.raw("<div class=\"charts\">");
        for chart in [&self.roc_chart(), &self.det_chart(), beside] {
            html.add(&chart.figure());
        }
        html.raw("</div>");
        if let Some(found) = &self.verification {
            html.add(&table(found));
        }
        html
    }

    /// How many pairs lie at each distance.
    pub fn histogram(&self, spread: &ClassDistances) -> Html {
        let shares = [true, false].map(|kind| self.shares(kind));
        // Distances beyond the farthest pair are left out.
        let last = (0..LEVELS).rfind(|&at| shares.iter().any(|of| of[at] > 0.0));
        let used = last.unwrap_or(0) + 1;
        let edge = |at: usize| at as f64 * 4.0 / LEVELS as f64;
        let series = ["same class", "different classes"]
            .into_iter()
            .zip(&shares)
            .enumerate();
        let series = series.map(|(tone, (name, shares))| Series {
            name: name.to_owned(),
            tone,
            points: (0..used)
                .map(|at| (edge(at), shares[at]))
                .chain([(edge(used), 0.0)])
                .collect(),
            band: Vec::new(),
            shape: Shape::Filled,
        });
        let (false_accepts, true_accepts) = self.roc.rates(self.threshold.0);
        let chart = Chart {
            title: "Distances of pairs".into(),
            x: Axis::new("squared distance of unit vectors", 0.0, edge(used)),
            y: Axis::over(
                "share of the pairs of a kind",
                shares.iter().flatten().copied(),
            ),
            series: series.collect(),
            marks: vec![self.threshold.clone()],
            note: format!(
                "distance = 2 − 2 cosine; up to the threshold lie {} % of the same and {} % of the different pairs",
                number(100.0 * true_accepts),
                number(100.0 * false_accepts)
            ),
        };
        let of = |s: &Spread| format!("{:.3} ± {:.3}", s.mean, s.std);
        let mut html = chart.figure();
        html.raw("<p>").text(&format!(
            "Over all pairs, ‖u − v‖ / 2 of unit vectors is {} within classes and {} between them (mean ± deviation).",
            of(&spread.intra),
            of(&spread.inter)
        ));
        html.raw("</p>");
        html
    }

    /// The share of the pairs of a kind at each level of distance.
    fn shares(&self, kind: bool) -> [f64; LEVELS] {
        let mut counts = [0usize; LEVELS];
        for (&distance, &same) in self.pairs.distances.iter().zip(&self.pairs.same) {
            let level = (f64::from(distance) / 4.0 * LEVELS as f64) as usize;
            counts[level.min(LEVELS - 1)] += usize::from(same == kind);
        }
        let all = counts.iter().sum::<usize>().max(1) as f64;
        counts.map(|count| count as f64 / all)
    }

    /// Rates of false accepts and of true accepts as the threshold rises.
    fn rates(&self) -> Vec<(f64, f64)> {
        let points = self.roc.points();
        let (same, different) = points.last().map_or((1.0, 1.0), |p| (p.same, p.different));
        points
            .iter()
            .map(|p| (p.different / different, p.same / same))
            .collect()
    }

    fn roc_chart(&self) -> Chart {
        let points = [(0.0, 0.0)].into_iter().chain(self.rates()).collect();
        Chart {
            title: "ROC".into(),
            x: Axis::new("false accepts (FAR)", 0.0, 1.0),
            y: Axis::new("true accepts (TAR)", 0.0, 1.0),
            series: vec![
                line("chance", 9, vec![(0.0, 0.0), (1.0, 1.0)]),
                line("these vectors", 0, points),
            ],
            marks: Vec::new(),
            note: format!("area under the curve {:.4}", self.roc.auc()),
        }
    }

    fn det_chart(&self) -> Chart {
        let different = self.pairs.same.iter().filter(|same| !**same).count().max(1) as f64;
        let least = LEAST.max(10f64.powf((1.0 / different).log10().floor()));
        let points = self.rates().into_iter();
        let points = points
            .filter(|p| p.0 >= least)
            .map(|(accepts, told)| (accepts, 1.0 - told));
        let equal = self.roc.equal_error();
        Chart {
            title: "DET".into(),
            x: Axis::log("false accepts (FAR)", least, 1.0),
            y: Axis::log("false rejects (1 − TAR)", 1e-3, 1.0),
            series: vec![
                line(
                    "equal errors",
                    9,
                    vec![(least.max(1e-3), least.max(1e-3)), (1.0, 1.0)],
                ),
                line("these vectors", 0, points.collect()),
            ],
            marks: Vec::new(),
            note: format!(
                "equal error rate {:.4}; axes are logarithmic, what lies beyond is drawn at the edge",
                equal.rate
            ),
        }
    }
}

fn line(name: &str, tone: usize, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.to_owned(),
        tone,
        points,
        band: Vec::new(),
        shape: Shape::Line,
    }
}

/// Folds that have both kinds of pairs alike; none where there are too few.
fn folds(same: &[bool]) -> Option<Vec<usize>> {
    let positives = same.iter().filter(|same| **same).count();
    let folds = FOLDS.min(positives).min(same.len() - positives);
    let mut seen = [0; 2];
    (folds >= 2).then(|| {
        let fold = same.iter().map(|&same| {
            let count = &mut seen[usize::from(same)];
            *count += 1;
            (*count - 1) % folds
        });
        fold.collect()
    })
}

fn table(found: &Verification) -> Html {
    let mut table = Table::new(
        "Verification",
        &["score", "value", "95% interval", "threshold"],
        &[],
        false,
    );
    let mut row = |name: &str, of: &Estimate, threshold: Option<f64>| {
        table.row(&[
            cell(name),
            cell(&format!("{:.4}", of.value)),
            cell(&format!("{:.4} – {:.4}", of.low, of.high)),
            cell(&threshold.map_or("–".into(), number)),
        ]);
    };
    row("AUC", &found.auc, None);
    row("EER", &found.equal_error, None);
    for accepted in &found.accepted {
        row(
            &format!("TAR@FAR={}", accepted.far),
            &accepted.tar,
            accepted.threshold,
        );
    }
    let mut html = table.finish();
    html.raw("<p class=\"note\">").text(&format!(
        "Accuracy {:.4} ± {:.4} over {} folds of pairs, thresholds chosen on the other folds; one answer for all of these pairs \
         would have {:.4}. Intervals: bootstrap over pairs as if these were independent, which pairs that share an item are not.",
        found.folds.accuracy.mean,
        found.folds.accuracy.std,
        found.folds.folds,
        found.same.max(found.different) as f64 / (found.same + found.different) as f64
    ));
    html.raw("</p>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kept: Option<f64>) -> Telling {
        let distances = (0..40).map(|at| at as f32 / 10.0).collect();
        let same = (0..40).map(|at| at % 20 < 10).collect();
        let pairs = Pairs {
            distances,
            same,
            all: [20, 20],
        };
        Telling::new(pairs, kept).unwrap()
    }

    #[test]
    fn folds_have_both_kinds_alike() {
        assert_eq!(
            folds(&[true, true, false, false, false]),
            Some(vec![0, 1, 0, 1, 0])
        );
        assert_eq!(folds(&[true, false, false]), None);
    }

    #[test]
    fn the_kept_threshold_is_marked_else_that_of_equal_errors() {
        let spread = ClassDistances {
            intra: Spread::default(),
            inter: Spread::default(),
        };
        let html = told(Some(1.25)).histogram(&spread);
        assert!(
            html.as_str().contains("kept threshold 1.25"),
            "{}",
            html.as_str()
        );
        // Below 1.25 lie ten of the twenty same pairs and three of the different ones.
        assert!(
            html.as_str()
                .contains("50 % of the same and 15 % of the different"),
            "{}",
            html.as_str()
        );
        assert!(
            told(None)
                .histogram(&spread)
                .as_str()
                .contains("equal errors at")
        );
    }

    #[test]
    fn curves_say_how_many_pairs_they_are_of() {
        let told = told(None);
        let html = told.curves(&told.roc_chart());
        for there in [
            "all 20 pairs of the same class",
            "ROC",
            "DET",
            "TAR@FAR=0.001",
            "AUC",
        ] {
            assert!(html.as_str().contains(there), "{there}");
        }
    }
}
