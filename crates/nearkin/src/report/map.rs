//! The map: items in the plane, near where their vectors are near.

use super::html::{Html, json, short};
use super::items::Items;
use super::neighbors::DEPTH;
use super::pictures::Pictures;
use super::tsne::tsne;
use crate::error::{Error, Result};
use crate::evaluate::EvaluateError;
use crate::search::{Search, Similarity};
use nearkin_encoder::parameters::named_rng;
use nearkin_kernels::Mat;
use rand::RngExt;
use serde::Serialize;
use std::cmp::Reverse;

/// The side of a picture, in pixels.
const SIDE: u32 = 40;
/// The side of the map in its own units, and its margin.
const SIZE: f64 = 640.0;
const MARGIN: f64 = 14.0;
/// Classes with a color of their own: more could not be told apart.
const COLORED: usize = 9;
/// Neighbors by which the map is judged.
const JUDGED: usize = 10;
/// Characters of a name in the list of items.
const LONGEST: usize = 100;

/// Some items in the plane.
pub struct Map {
    /// The items that are shown, rising.
    pub shown: Vec<usize>,
    /// Where they are.
    pub places: Vec<[f64; 2]>,
    /// The nearest among those shown, as places in `shown`, with cosine similarity.
    pub near: Vec<Vec<(usize, f32)>>,
    /// The share of their ten nearest neighbors that are among the ten nearest on the map too.
    pub kept: f64,
}

/// An item as the page's script has it: name, class, picture, neighbors.
#[derive(Serialize)]
struct Point(String, usize, Option<String>, Vec<(usize, f32)>);

/// What the page's script needs.
#[derive(Serialize)]
struct Data {
    classes: Vec<String>,
    places: Vec<[f64; 2]>,
    points: Vec<Point>,
}

impl Map {
    /// A map of all items, or of `most` drawn at random where there are more.
    ///
    /// # Errors
    /// A number is not finite.
    pub fn new(items: &Items, most: usize, seed: u64) -> std::result::Result<Self, EvaluateError> {
        let shown = drawn(items.len(), most, seed);
        let numbers: Vec<f32> = shown
            .iter()
            .flat_map(|&item| items.row(item))
            .copied()
            .collect();
        let matrix = Mat::new(&numbers, shown.len(), items.dim);
        let near = Search::among(matrix, Similarity::Cosine)?;
        let near = near.map(JUDGED, |_, near| {
            near.iter()
                .map(|n| (n.index as usize, n.score))
                .collect::<Vec<_>>()
        });
        let places = fitted(&tsne(matrix, seed)?);
        let kept = kept(&near, &places)?;
        Ok(Self {
            shown,
            places,
            near,
            kept,
        })
    }

    /// The map with the list of its items and the data by which its script answers.
    ///
    /// # Errors
    /// None that data can cause: the data cannot be written as JSON.
    pub fn html(&self, items: &Items, pictures: &mut Pictures) -> Result<Html> {
        let colored = colored(items, &self.shown);
        let mut html = Html::default();
        html.raw("<p>").text(&self.words(items)).raw("</p>");
        html.add(&legend(items, &self.shown, &colored))
            .raw("<div class=\"map\">");
        html.add(&self.field(items, &colored));
        html.raw(
            "<div class=\"side\"><label for=\"map-list\">Items of the map</label><select id=\"map-list\" size=\"7\"></select>\
             <div id=\"map-panel\" aria-live=\"polite\"><p class=\"note\">Choose an item on the map or in the list.</p></div></div></div>",
        );
        let data = json("map-data", &self.data(items, pictures)).map_err(|error| Error::Run {
            path: "map-data".into(),
            reason: error.to_string(),
        })?;
        html.add(&data);
        Ok(html)
    }

    /// The points in the plane.
    fn field(&self, items: &Items, colored: &[u32]) -> Html {
        let mut html = Html::default();
        html.raw(format_args!(
            "<div class=\"field\"><svg id=\"map-field\" viewBox=\"0 0 {SIZE} {SIZE}\" tabindex=\"0\" role=\"application\" \
             aria-roledescription=\"map\" aria-label=\"Map of items: arrow keys go to the nearest item in a direction\"><g id=\"map-points\">"
        ));
        for (&item, [x, y]) in self.shown.iter().zip(&self.places) {
            let tone = colored
                .iter()
                .position(|&class| class == items.labels[item]);
            let tone = tone.map_or("other".to_owned(), |tone| format!("tone{tone}"));
            html.raw(format_args!(
                "<circle class=\"dot {tone}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>"
            ));
        }
        html.raw("</g><g id=\"map-marks\"></g></svg><div id=\"map-tip\" hidden></div></div>");
        html
    }

    fn words(&self, items: &Items) -> String {
        let (shown, all) = (self.shown.len(), items.len());
        let of = if shown == all {
            format!("All {all} items")
        } else {
            format!("{shown} of {all} items, drawn at random")
        };
        format!(
            "{of}, by t-SNE (perplexity 30, cosine). {:.0} % of the {JUDGED} nearest neighbors of an item are among its {JUDGED} nearest \
             on the map: trust the neighbors listed, not the distances drawn. Colors: the largest classes. Click an item, or go by \
             arrow keys, for its nearest neighbors among those shown.",
            100.0 * self.kept
        )
    }

    fn data(&self, items: &Items, pictures: &mut Pictures) -> Data {
        let addresses = pictures.of(&self.shown, SIDE);
        let classes = classes(items, &self.shown);
        let points = self.shown.iter().zip(addresses).zip(&self.near);
        let points = points.map(|((&item, address), near)| {
            let near = near.iter().take(DEPTH);
            let near = near.map(|&(at, cosine)| (at, (cosine * 1e3).round() / 1e3));
            let class = classes.partition_point(|&class| class < items.labels[item]);
            let name = short(&items.names[item], LONGEST);
            Point(name, class, address, near.collect())
        });
        let name = |&class: &u32| short(&items.classes[class as usize], LONGEST);
        Data {
            points: points.collect(),
            classes: classes.iter().map(name).collect(),
            places: self.places.clone(),
        }
    }
}

/// The classes of the items that are shown, rising.
fn classes(items: &Items, shown: &[usize]) -> Vec<u32> {
    let mut classes: Vec<u32> = shown.iter().map(|&item| items.labels[item]).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// A button for each class that has a color.
fn legend(items: &Items, shown: &[usize], colored: &[u32]) -> Html {
    let classes = classes(items, shown);
    let mut html = Html::default();
    html.raw("<div class=\"legend\">");
    for (tone, &class) in colored.iter().enumerate() {
        let number = classes.partition_point(|&other| other < class);
        html.raw(format_args!(
            "<button type=\"button\" aria-pressed=\"false\" data-class=\"{number}\"><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\">\
             <circle class=\"dot tone{tone}\" cx=\"5\" cy=\"5\" r=\"4\"/></svg>"
        ))
        .name(&items.classes[class as usize])
        .raw("</button>");
    }
    html.raw("</div>");
    html
}

/// All numbers below `count`, or `most` of them, rising.
fn drawn(count: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    if count > most {
        let mut rng = named_rng(seed, "map");
        for at in 0..most {
            let other = rng.random_range(at..count);
            all.swap(at, other);
        }
        all.truncate(most);
        all.sort_unstable();
    }
    all
}

/// The classes with the most items on the map.
fn colored(items: &Items, shown: &[usize]) -> Vec<u32> {
    let mut sizes = vec![0usize; items.classes.len()];
    for &item in shown {
        sizes[items.labels[item] as usize] += 1;
    }
    let mut classes = classes(items, shown);
    classes.sort_by_key(|&class| (Reverse(sizes[class as usize]), class));
    classes.truncate(COLORED);
    classes
}

/// Places moved and scaled into the map, to a tenth of its units.
fn fitted(places: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let bounds = [0, 1].map(|axis| {
        let values = places.iter().map(|p| p[axis]);
        (
            values.clone().fold(f64::INFINITY, f64::min),
            values.fold(f64::NEG_INFINITY, f64::max),
        )
    });
    let range = bounds
        .map(|(low, high)| high - low)
        .into_iter()
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (SIZE - 2.0 * MARGIN) / range;
    let place = |p: &[f64; 2]| {
        [0, 1].map(|axis| {
            let (low, high) = bounds[axis];
            let from_middle = (p[axis] - f64::midpoint(low, high)) * scale;
            ((SIZE / 2.0 + from_middle) * 10.0).round() / 10.0
        })
    };
    places.iter().map(place).collect()
}

/// The share of the neighbors of each point that are its neighbors in the plane.
fn kept(
    near: &[Vec<(usize, f32)>],
    places: &[[f64; 2]],
) -> std::result::Result<f64, EvaluateError> {
    let flat: Vec<f32> = places.iter().flatten().map(|&x| x as f32).collect();
    let plane = Mat::new(&flat, places.len(), 2);
    let search = Search::among(plane, Similarity::Euclidean)?;
    let kept = search.map(JUDGED, |point, found| {
        let found: Vec<usize> = found.iter().map(|n| n.index as usize).collect();
        near[point]
            .iter()
            .filter(|(other, _)| found.contains(other))
            .count()
    });
    let all: usize = near.iter().map(Vec::len).sum();
    Ok(kept.iter().sum::<usize>() as f64 / all.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(count: u32) -> Items {
        let angles = (0..count).map(|i| i as f32 * std::f32::consts::TAU / count as f32);
        let numbers = angles.flat_map(|a| [a.cos(), a.sin()]).collect();
        Items::plain(numbers, 2, &(0..count).map(|i| i % 3).collect::<Vec<u32>>())
    }

    #[test]
    fn a_circle_keeps_its_neighbors() {
        let map = Map::new(&circle(90), 1000, 0).unwrap();
        assert!(map.kept > 0.6, "{}", map.kept);
        assert!(
            map.places
                .iter()
                .flatten()
                .all(|x| (MARGIN..=SIZE - MARGIN).contains(x))
        );
    }

    #[test]
    fn large_sets_are_drawn_from_and_said_so() {
        let items = circle(50);
        let map = Map::new(&items, 20, 1).unwrap();
        assert_eq!(map.shown.len(), 20);
        assert!(map.shown.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(map.shown, Map::new(&items, 20, 1).unwrap().shown);
        assert!(map.words(&items).starts_with("20 of 50 items"));
    }

    #[test]
    fn names_cannot_leave_the_data() {
        let mut items = circle(12);
        items.names[3] = "</script><script>alert(1)</script>".into();
        items.classes[0] = "<script>".into();
        let map = Map::new(&items, 100, 0).unwrap();
        let html = map.html(&items, &mut Pictures::new(&items, 0)).unwrap();
        assert_eq!(html.as_str().matches("<script").count(), 1);
    }

    #[test]
    fn neighbors_that_the_plane_has_too_are_counted() {
        // On a line at distances that all differ: what is near there, and what is far.
        let places: Vec<[f64; 2]> = (0..24u32)
            .map(|at| [f64::from(at) + 0.01 * f64::from(at * at), 0.0])
            .collect();
        let others = |at: usize, near: bool| {
            let mut others: Vec<(usize, f32)> =
                (0..24).filter(|o| *o != at).map(|o| (o, 0.0)).collect();
            let distance = |o: usize| (places[o][0] - places[at][0]).abs();
            others.sort_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
            if !near {
                others.reverse();
            }
            others.truncate(JUDGED);
            others
        };
        let of = |near: bool| (0..24).map(|at| others(at, near)).collect::<Vec<_>>();
        assert_eq!(kept(&of(true), &places).unwrap(), 1.0);
        assert_eq!(kept(&of(false), &places).unwrap(), 0.0);
    }
}
