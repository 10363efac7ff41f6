//! The curves of training.

use super::chart::{Axis, Chart, Series, Shape};
use super::history::{History, Step};
use super::html::Html;
use std::collections::BTreeMap;

/// Points of a curve: a chart is about twice as many pixels wide.
const POINTS: usize = 240;
/// A range of factors above this is shown on a logarithmic axis.
const WIDE: f64 = 200.0;

/// A line of a curve: its name, and its value at a step where that was written.
type Line = (&'static str, fn(&Step) -> Option<f64>);

/// A quantity of the steps.
struct Curve {
    title: &'static str,
    unit: &'static str,
    note: &'static str,
    lines: &'static [Line],
}

const CURVES: [Curve; 6] = [
    Curve {
        title: "Loss",
        unit: "loss",
        note: "",
        lines: &[("loss", |s| s.loss)],
    },
    Curve {
        title: "Active and kept shares",
        unit: "share",
        note: "active: tuples that push; kept: pairs of the batch that the miner took",
        lines: &[("active", |s| s.active), ("kept", |s| s.kept)],
    },
    Curve {
        title: "Learning rate",
        unit: "rate",
        note: "",
        lines: &[("rate", |s| s.rate)],
    },
    Curve {
        title: "Spread of embeddings",
        unit: "spread",
        note: "near 0 they have collapsed to one point",
        lines: &[("spread", |s| s.spread)],
    },
    Curve {
        title: "Gradient norm",
        unit: "Euclidean norm",
        note: "before clipping",
        lines: &[("norm", |s| s.gradient_norm)],
    },
    Curve {
        title: "Speed",
        unit: "items/s",
        note: "",
        lines: &[("items/s", |s| s.items_per_second)],
    },
];

/// A figure of each quantity that the journal has, and of the scores.
pub fn figures(history: &History) -> Html {
    let mut html = Html::default();
    html.raw("<div class=\"charts\">");
    for chart in CURVES
        .iter()
        .filter_map(|curve| curve.chart(&history.steps))
    {
        html.add(&chart.figure());
    }
    if let Some(chart) = scores(history) {
        html.add(&chart.figure());
    }
    html.raw("</div>");
    if history.steps.len() > POINTS {
        let text =
            "Lines are means of neighboring steps, areas go from the least to the most of them.";
        html.raw("<p class=\"note\">").text(text).raw("</p>");
    }
    html
}

impl Curve {
    fn chart(&self, steps: &[Step]) -> Option<Chart> {
        let mut series = Vec::new();
        for (tone, (name, value)) in self.lines.iter().enumerate() {
            let all = steps
                .iter()
                .filter_map(|step| Some((step.step as f64, value(step)?)));
            let all: Vec<(f64, f64)> = all.filter(|(_, y)| y.is_finite()).collect();
            if !all.is_empty() {
                series.push(bundled(name, tone, &all));
            }
        }
        let values = |s: &Series| -> Vec<f64> {
            let band = s.band.iter().flat_map(|&(_, low, high)| [low, high]);
            band.chain(s.points.iter().map(|p| p.1)).collect()
        };
        let values: Vec<f64> = series.iter().flat_map(values).collect();
        let last = series
            .iter()
            .filter_map(|s| s.points.last())
            .map(|p| p.0)
            .fold(0.0, f64::max);
        let x = Axis::over("step", [0.0, last].into_iter());
        (!series.is_empty()).then(|| Chart {
            title: self.title.into(),
            x,
            y: vertical(self.unit, &values),
            series,
            marks: Vec::new(),
            note: self.note.into(),
        })
    }
}

/// Linear, or of factors where the values go over many.
fn vertical(unit: &str, values: &[f64]) -> Axis {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    if unit == "Euclidean norm" && low > 0.0 && high / low > WIDE {
        let power = |x: f64| 10f64.powf(x);
        return Axis::log(unit, power(low.log10().floor()), power(high.log10().ceil()));
    }
    Axis::over(unit, values.iter().copied())
}

/// Values in bundles of neighbors: their means, and the least and the most where a bundle is of several.
fn bundled(name: &str, tone: usize, all: &[(f64, f64)]) -> Series {
    let size = all.len().div_ceil(POINTS);
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for bundle in all.chunks(size) {
        let count = bundle.len() as f64;
        let x = bundle.iter().map(|p| p.0).sum::<f64>() / count;
        let ys = bundle.iter().map(|p| p.1);
        points.push((x, ys.clone().sum::<f64>() / count));
        if size > 1 {
            let (low, high) = (
                ys.clone().fold(f64::INFINITY, f64::min),
                ys.fold(f64::NEG_INFINITY, f64::max),
            );
            band.push((x, low, high));
        }
    }
    Series {
        name: name.to_owned(),
        tone,
        points,
        band,
        shape: Shape::Line,
    }
}

/// The scores of the evaluations during training, up to as many as can be told apart.
fn scores(history: &History) -> Option<Chart> {
    const MOST: usize = 6;
    let mut lines: BTreeMap<(&str, &str), Vec<(f64, f64)>> = BTreeMap::new();
    for evaluated in &history.evaluations {
        for (name, score) in &evaluated.scores {
            let line = lines.entry((&evaluated.part, name)).or_default();
            line.push((evaluated.step as f64, *score));
        }
    }
    let count = lines.len();
    let series: Vec<Series> = lines
        .into_iter()
        .take(MOST)
        .enumerate()
        .map(|(tone, ((part, name), points))| Series {
            name: format!("{part}: {name}"),
            tone,
            points,
            band: Vec::new(),
            shape: Shape::Line,
        })
        .collect();
    let last = series
        .iter()
        .filter_map(|s| s.points.last())
        .map(|p| p.0)
        .fold(0.0, f64::max);
    let values = series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let (x, y) = (
        Axis::over("step", [0.0, last].into_iter()),
        Axis::over("score", values),
    );
    let note = if count > MOST {
        format!("{MOST} of {count} scores")
    } else {
        String::new()
    };
    (!series.is_empty()).then(|| Chart {
        title: "Scores during training".into(),
        x,
        y,
        series,
        marks: Vec::new(),
        note,
    })
}

#[cfg(test)]
mod tests {
    use super::super::history::Evaluated;
    use super::*;

    fn history(steps: u64) -> History {
        let step = |step| Step {
            step,
            loss: Some(1.0 / step as f64),
            rate: Some(1e-3),
            gradient_norm: Some(10f64.powi(-(step as i32 % 5))),
            ..Step::default()
        };
        History {
            steps: (1..=steps).map(step).collect(),
            evaluations: vec![Evaluated {
                step: steps,
                part: "<test>".into(),
                scores: vec![("map_at_r".into(), 0.5)],
            }],
        }
    }

    #[test]
    fn many_steps_are_bundled_and_no_extreme_is_lost() {
        let all: Vec<(f64, f64)> = (0..1000)
            .map(|i| (i as f64, if i == 777 { 9.0 } else { 1.0 }))
            .collect();
        let series = bundled("loss", 0, &all);
        assert!(series.points.len() <= POINTS);
        assert!(
            series
                .band
                .iter()
                .any(|&(_, low, high)| low == 1.0 && high == 9.0)
        );
        let mean = series.points.iter().map(|p| p.1).sum::<f64>() / series.points.len() as f64;
        assert!((mean - 1.008).abs() < 1e-9, "{mean}");
        assert!(bundled("loss", 0, &all[..200]).band.is_empty());
    }

    #[test]
    fn only_what_was_written_is_drawn() {
        let html = figures(&history(20));
        let html = html.as_str();
        for there in [
            "Loss",
            "Learning rate",
            "Gradient norm",
            "Scores during training",
            "&lt;test&gt;",
        ] {
            assert!(html.contains(there), "{there}");
        }
        assert!(!html.contains("Spread") && !html.contains("<test>"));
    }

    #[test]
    fn norms_over_many_factors_have_an_axis_of_factors() {
        let chart = CURVES[4].chart(&history(20).steps).unwrap();
        assert!(chart.y.log);
        assert_eq!((chart.y.low, chart.y.high), (1e-4, 1.0));
    }

    #[test]
    fn a_run_of_one_step_has_curves() {
        assert!(figures(&history(1)).as_str().contains("<circle"));
    }
}
