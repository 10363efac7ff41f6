//! The CMC curve: how soon a query finds an item of its class.

use super::chart::{Axis, Chart, Series, Shape};
use crate::evaluate::Retrieval;

/// The ranks that are measured.
pub const RANKS: [usize; 12] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32];

/// Recall@K over K, which for queries among all other items is the cumulative match characteristic.
pub fn chart(found: &Retrieval) -> Chart {
    let points = found.recall().map(|(k, e)| (k as f64, e.value));
    let band = found.recall().map(|(k, e)| (k as f64, e.low, e.high));
    let mut lows: Vec<f64> = found.recall().map(|(_, e)| e.low).collect();
    lows.push(1.0);
    let mut y = Axis::over("share of queries", lows.into_iter());
    y.high = 1.0;
    Chart {
        title: "CMC".into(),
        x: Axis::new("rank k", 0.0, RANKS[RANKS.len() - 1] as f64),
        y,
        series: vec![Series {
            name: "found by rank k".into(),
            tone: 0,
            points: points.collect(),
            band: band.collect(),
            shape: Shape::Line,
        }],
        marks: Vec::new(),
        note: format!(
            "share of queries with an item of their class among the first k; area: 95% bootstrap interval; {}",
            found.convention
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Options, retrieval};
    use nearkin_kernels::Mat;

    #[test]
    fn the_curve_is_recall_by_rank() {
        let points = [0.0f32, 0.1, 0.25, 0.45]
            .map(|a| [a.cos(), a.sin()])
            .concat();
        let options = Options {
            ks: RANKS.to_vec(),
            ..Options::default()
        };
        let found = retrieval(Mat::new(&points, 4, 2), &[0, 1, 0, 1], &options).unwrap();
        let chart = chart(&found);
        // The first of their class: ranks 2, 3, 3 and 2.
        let of = |rank: usize| chart.series[0].points[rank - 1].1;
        assert_eq!([of(1), of(2), of(3)], [0.0, 0.5, 1.0]);
        assert_eq!((chart.y.low, chart.y.high), (0.0, 1.0));
    }
}
