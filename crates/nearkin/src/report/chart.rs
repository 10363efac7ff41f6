//! Charts as SVG inside the page: no script draws them, and they are as sharp on a phone as on paper.

use super::html::Html;
use std::fmt::Write;

/// The size of a chart in its own units; text of 12 units is about 12 pixels on a phone.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Points of a line nearer than this to the one before are left out.
const SAME_PLACE: f64 = 0.5;

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is read from left to right.
    pub x: Axis,
    /// What is read upwards.
    pub y: Axis,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
    /// Values of x that are marked, with what they are.
    pub marks: Vec<(f64, String)>,
    /// What else a reader needs to know.
    pub note: String,
}

/// One direction of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// The value where it begins.
    pub low: f64,
    /// The value where it ends.
    pub high: f64,
    /// Whether equal ways are equal factors.
    pub log: bool,
}

/// Values that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// Color and dashes, from 0.
    pub tone: usize,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
    /// From where to where the values behind a point go: `(x, low, high)`.
    pub band: Vec<(f64, f64, f64)>,
    /// How the points are drawn.
    pub shape: Shape,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Joined from one to the next.
    Line,
    /// A level until the next point, filled down to the axis.
    Filled,
}

impl Axis {
    /// An axis over these values, with whole steps at its ends and 0 where that is near.
    pub fn over(label: &str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match (low <= high, high > low) {
            (false, _) => (0.0, 1.0),
            (true, false) => (
                low - low.abs().max(1.0) / 2.0,
                low + low.abs().max(1.0) / 2.0,
            ),
            (true, true) => (low, high),
        };
        let low = if low > 0.0 && low < high / 2.0 {
            0.0
        } else {
            low
        };
        let step = step(high - low);
        Self {
            label: label.to_owned(),
            low: (low / step + 1e-9).floor() * step,
            high: (high / step - 1e-9).ceil() * step,
            log: false,
        }
    }

    /// An axis from `low` to `high`.
    pub fn new(label: &str, low: f64, high: f64) -> Self {
        Self {
            label: label.to_owned(),
            low,
            high,
            log: false,
        }
    }

    /// An axis of factors, from `low` to `high`, both above 0.
    pub fn log(label: &str, low: f64, high: f64) -> Self {
        Self {
            log: true,
            ..Self::new(label, low, high)
        }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = self.low.log10().ceil() as i32..=self.high.log10().floor() as i32;
            return decades.map(|power| 10f64.powi(power)).collect();
        }
        let step = step(self.high - self.low);
        let (first, last) = (
            (self.low / step - 1e-9).ceil(),
            (self.high / step + 1e-9).floor(),
        );
        (0..=(last - first) as i64)
            .map(|at| (first + at as f64) * step)
            .collect()
    }
}

/// A round distance between ticks: 1, 2 or 5 times a power of ten, about five of them.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|f| f * power >= rough * 0.8);
    factor.unwrap_or(10.0) * power
}

/// A number with the digits that a reader needs.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

impl Chart {
    /// The chart as a figure with its title, legend and note.
    pub fn figure(&self) -> Html {
        let mut html = Html::default();
        html.raw("<figure class=\"chart\"><figcaption><span class=\"title\">")
            .text(&self.title)
            .raw("</span>");
        if self.series.len() > 1 {
            for series in &self.series {
                html.raw(format_args!(
                    "<span class=\"key\"><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"line tone{}\" d=\"M0 4H24\"/></svg>",
                    series.tone
                ))
                .name(&series.name)
                .raw("</span>");
            }
        }
        html.raw("</figcaption>");
        self.svg(&mut html);
        if !self.note.is_empty() {
            html.raw("<p class=\"note\">").text(&self.note).raw("</p>");
        }
        html.raw("</figure>");
        html
    }

    fn svg(&self, html: &mut Html) {
        html.raw(format_args!(
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\""
        ))
        .text(&self.spoken())
        .raw("\">");
        self.axes(html);
        for series in &self.series {
            self.draw(series, html);
        }
        for (value, what) in &self.marks {
            self.mark(*value, what, html);
        }
        html.raw("</svg>");
    }

    /// What someone who cannot see the chart is told.
    fn spoken(&self) -> String {
        let mut text = format!("{}: {} by {}.", self.title, self.y.label, self.x.label);
        for series in &self.series {
            if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
                let [x, y, to, end] = [first.0, first.1, last.0, last.1].map(number);
                let _ = write!(text, " {} from {y} at {x} to {end} at {to}.", series.name);
            }
        }
        text
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, html: &mut Html) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in self.y.ticks() {
            let y = self.y(tick);
            html.raw(format_args!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                number(tick)
            ));
        }
        for tick in self.x.ticks() {
            let x = self.x(tick);
            html.raw(format_args!(
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" class=\"middle\">{}</text>",
                bottom + 18.0,
                number(tick)
            ));
        }
        html.raw(format_args!(
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/><text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">",
            f64::midpoint(LEFT, right),
            HEIGHT - 6.0
        ))
        .text(&self.x.label)
        .raw(format_args!(
            "</text><text class=\"middle\" transform=\"translate(14 {:.1}) rotate(-90)\">",
            f64::midpoint(TOP, bottom)
        ))
        .text(&self.y.label)
        .raw("</text>");
    }

    fn draw(&self, series: &Series, html: &mut Html) {
        let tone = series.tone;
        if !series.band.is_empty() {
            let there = series.band.iter().map(|&(x, _, high)| (x, high));
            let back = series.band.iter().rev().map(|&(x, low, _)| (x, low));
            let path = self.path(there.chain(back));
            html.raw(format_args!(
                "<path class=\"band tone{tone}\" d=\"{path}Z\"/>"
            ));
        }
        match (series.shape, series.points.as_slice()) {
            (Shape::Line, [(x, y)]) => {
                html.raw(format_args!(
                    "<circle class=\"dot tone{tone}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    self.x(*x),
                    self.y(*y)
                ));
            }
            (Shape::Line, points) => {
                let path = self.path(points.iter().copied());
                html.raw(format_args!(
                    "<path class=\"line tone{tone}\" d=\"{path}\"/>"
                ));
            }
            (Shape::Filled, points) => {
                let path = self.levels(points);
                html.raw(format_args!(
                    "<path class=\"band tone{tone}\" d=\"{path}\"/>"
                ));
                html.raw(format_args!(
                    "<path class=\"line tone{tone}\" d=\"{path}\"/>"
                ));
            }
        }
    }

    /// Points joined by lines, without those that cannot be told from the one before.
    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        let mut last: Option<(f64, f64)> = None;
        let mut points = points.peekable();
        while let Some((x, y)) = points.next() {
            let at = (self.x(x), self.y(y));
            let near = last.is_some_and(|(x, y)| {
                (at.0 - x).abs() < SAME_PLACE && (at.1 - y).abs() < SAME_PLACE
            });
            if near && points.peek().is_some() {
                continue;
            }
            let letter = if last.is_none() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", at.0, at.1);
            last = Some(at);
        }
        path
    }

    /// Levels from each point to the next, closed along the axis; the last point ends the last level.
    fn levels(&self, points: &[(f64, f64)]) -> String {
        let Some((first, rest)) = points.split_first() else {
            return String::new();
        };
        let mut path = format!(
            "M{:.1} {:.1}V{:.1}",
            self.x(first.0),
            HEIGHT - BOTTOM,
            self.y(first.1)
        );
        for (at, &(x, y)) in rest.iter().enumerate() {
            let y = if at + 1 == rest.len() { self.y.low } else { y };
            let _ = write!(path, "H{:.1}V{:.1}", self.x(x), self.y(y));
        }
        path
    }

    fn mark(&self, value: f64, what: &str, html: &mut Html) {
        let x = self.x(value);
        // The words stand on the side that has room for them.
        let (at, class) = if x > WIDTH / 2.0 {
            (x - 5.0, "end")
        } else {
            (x + 5.0, "start")
        };
        html.raw(format_args!(
            "<path class=\"mark\" d=\"M{x:.1} {TOP}V{:.1}\"/><text class=\"{class} marked\" x=\"{at:.1}\" y=\"{:.1}\">",
            HEIGHT - BOTTOM,
            TOP + 10.0
        ))
        .text(what)
        .raw("</text>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "<b>".into(),
            x: Axis::new("x", 0.0, 10.0),
            y: Axis::new("y", 0.0, 1.0),
            series: vec![Series {
                name: "</svg><script>".into(),
                tone: 0,
                points,
                band: Vec::new(),
                shape: Shape::Line,
            }],
            marks: vec![(5.0, "<i>".into())],
            note: String::new(),
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::over("loss", [0.013, 0.97].into_iter());
        assert_eq!((axis.low, axis.high), (0.0, 1.0));
        assert_eq!(axis.ticks().len(), 6);
        let axis = Axis::over("rate", [3e-4, 3e-4].into_iter());
        assert!(axis.low < 3e-4 && axis.high > 3e-4);
        let axis = Axis::log("far", 1e-4, 1.0);
        assert_eq!(axis.ticks().len(), 5);
        assert!((axis.place(1e-2) - 0.5).abs() < 1e-12);
        // Nothing and what is not known make no panic.
        assert_eq!(Axis::over("none", std::iter::empty()).high, 1.0);
    }

    #[test]
    fn numbers_have_the_digits_that_are_read() {
        let shown = [0.0, 0.5, 12.0, 300.0, 1234.5, 3e-4, 2.5e-5, 2e6, 0.1234].map(number);
        assert_eq!(
            shown,
            [
                "0", "0.5", "12", "300", "1234", "3e-4", "2.5e-5", "2e6", "0.1234"
            ]
        );
    }

    #[test]
    fn points_lie_where_the_axes_say_and_doubles_are_left_out() {
        let many = (0..=10_000).map(|at| (at as f64 / 1000.0, 0.5)).collect();
        let drawn = chart(many);
        let path = drawn.path(drawn.series[0].points.iter().copied());
        let points = path.split(['M', 'L']).skip(1).count();
        assert!(
            (400..800).contains(&points),
            "{points} points for 360 units"
        );
        assert!(
            path.starts_with("M66.0 118.0") && path.ends_with("L426.0 118.0"),
            "{path}"
        );
    }

    #[test]
    fn foreign_names_are_no_markup() {
        let html = chart(vec![(0.0, 0.0), (10.0, 1.0)]).figure();
        for markup in ["<script>", "<b>", "<i>"] {
            assert!(!html.as_str().contains(markup), "{markup}");
        }
    }

    #[test]
    fn levels_end_on_the_axis() {
        let drawn = chart(Vec::new());
        let path = drawn.levels(&[(0.0, 1.0), (5.0, 0.5), (10.0, 0.0)]);
        assert_eq!(path, "M66.0 224.0V12.0H246.0V118.0H426.0V224.0");
        assert_eq!(drawn.levels(&[]), "");
    }
}
