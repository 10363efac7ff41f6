//! The hardest pairs: far though of one class, or near though of two. Wrong labels are among them.

use super::gallery::SIDE;
use super::html::Html;
use super::items::Items;
use super::pictures::{Pictures, tile};
use crate::evaluate::EvaluateError;
use crate::search::{Search, Similarity};
use std::collections::HashMap;

/// Pairs of a kind that are shown.
const SHOWN: usize = 12;
/// Pairs of a kind that an item may be in: otherwise one outlier would fill them all.
const EACH: usize = 2;

/// Two items with their cosine similarity.
type Pair = (usize, usize, f32);

/// The hardest pairs of both kinds.
pub struct Hardest {
    /// Of one class, the farthest first.
    pub far: Vec<Pair>,
    /// Of different classes, the nearest first.
    pub near: Vec<Pair>,
}

impl Hardest {
    /// For every item the farthest of its class and the nearest of others, by rows of similarities; of these the hardest.
    ///
    /// # Errors
    /// A number is not finite.
    pub fn new(items: &Items) -> Result<Self, EvaluateError> {
        let search = Search::among(items.matrix(), Similarity::Cosine)?;
        let labels = &items.labels;
        let found = search.rows(|item, scores| {
            let mut hardest: [Option<Pair>; 2] = [None; 2];
            for (other, &cosine) in scores
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != item)
            {
                let same = labels[other] == labels[item];
                let harder = |pair: &Pair| {
                    if same {
                        cosine < pair.2
                    } else {
                        cosine > pair.2
                    }
                };
                let hardest = &mut hardest[usize::from(!same)];
                if hardest.as_ref().is_none_or(harder) {
                    *hardest = Some((item.min(other), item.max(other), cosine));
                }
            }
            hardest
        });
        let of = |kind: usize| found.iter().filter_map(|pairs| pairs[kind]).collect();
        Ok(Self {
            far: hardest(of(0), |a, b| a.total_cmp(&b)),
            near: hardest(of(1), |a, b| b.total_cmp(&a)),
        })
    }

    /// Both kinds, with what the items look like.
    pub fn html(&self, items: &Items, pictures: &mut Pictures) -> Html {
        let mut html = Html::default();
        html.raw("<p>").text(&format!(
            "Of all pairs, an item in at most {EACH} of a kind. Check their labels first: a wrong label makes a hard pair."
        ));
        html.raw("</p>");
        let kinds = [
            ("One class, but far", &self.far),
            ("Different classes, but near", &self.near),
        ];
        for (title, pairs) in kinds {
            html.raw("<h3>").text(title).raw("</h3>");
            if pairs.is_empty() {
                html.raw("<p>There is no such pair.</p>");
            }
            html.raw("<div class=\"pairs\">");
            for pair in pairs {
                html.add(&shown(items, pair, pictures));
            }
            html.raw("</div>");
        }
        html
    }
}

/// Two items side by side, with their names below where pictures stand in their place.
fn shown(items: &Items, &(a, b, cosine): &Pair, pictures: &mut Pictures) -> Html {
    let addresses = pictures.of(&[a, b], SIDE);
    let mut html = Html::default();
    html.raw("<div class=\"pair\">");
    for (item, address) in [a, b].into_iter().zip(&addresses) {
        html.add(&tile(items, item, address.as_ref(), "plain", ""));
    }
    html.raw("<p class=\"note\">")
        .text(&format!("cosine {cosine:.3}"));
    if pictures.are_there() {
        html.name(&items.names[a]).name(&items.names[b]);
    }
    html.raw("</p></div>");
    html
}

/// The first pairs by similarity, each once, no item in more than [`EACH`].
fn hardest(mut pairs: Vec<Pair>, order: fn(f32, f32) -> std::cmp::Ordering) -> Vec<Pair> {
    pairs.sort_by(|a, b| order(a.2, b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    pairs.dedup_by_key(|pair| (pair.0, pair.1));
    let mut times: HashMap<usize, usize> = HashMap::new();
    pairs.retain(|&(a, b, _)| {
        let free = [a, b]
            .iter()
            .all(|item| times.get(item).is_none_or(|&t| t < EACH));
        if free {
            for item in [a, b] {
                *times.entry(item).or_default() += 1;
            }
        }
        free
    });
    pairs.truncate(SHOWN);
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    /// Slow and plain: every pair of a kind.
    fn all(items: &Items, same: bool) -> Vec<Pair> {
        let unit = |item: usize| {
            let row: Vec<f64> = items.row(item).iter().map(|&x| f64::from(x)).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect::<Vec<f64>>()
        };
        let mut pairs = Vec::new();
        for a in 0..items.len() {
            for b in a + 1..items.len() {
                if (items.labels[a] == items.labels[b]) == same {
                    let dot: f64 = unit(a).iter().zip(unit(b)).map(|(x, y)| x * y).sum();
                    pairs.push((a, b, dot as f32));
                }
            }
        }
        pairs
    }

    #[test]
    fn the_first_of_each_kind_is_the_hardest_of_all() {
        let mut rng = named_rng(2, "hardest");
        let numbers: Vec<f32> = (0..60 * 4).map(|_| rng.random_range(-1.0..1.0)).collect();
        let items = Items::plain(numbers, 4, &(0..60).map(|i| i % 7).collect::<Vec<u32>>());
        let found = Hardest::new(&items).unwrap();
        let by = |a: &Pair, b: &Pair| a.2.total_cmp(&b.2);
        let far = all(&items, true).into_iter().min_by(by).unwrap();
        let near = all(&items, false).into_iter().max_by(by).unwrap();
        assert_eq!((found.far[0].0, found.far[0].1), (far.0, far.1));
        assert_eq!((found.near[0].0, found.near[0].1), (near.0, near.1));
        assert!((found.near[0].2 - near.2).abs() < 1e-6);
        assert_eq!((found.far.len(), found.near.len()), (SHOWN, SHOWN));
        for pairs in [&found.far, &found.near] {
            for item in 0..items.len() {
                assert!(pairs.iter().filter(|p| p.0 == item || p.1 == item).count() <= EACH);
            }
        }
    }

    #[test]
    fn a_wrong_label_comes_first() {
        // Item 5 lies in the class of 0 to 4 but is labeled as those far away.
        let angles = [0.0f32, 0.02, 0.04, 0.05, 0.06, 0.03, 1.5, 1.52, 1.55];
        let numbers = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let items = Items::plain(numbers, 2, &[0, 0, 0, 0, 0, 1, 1, 1, 1]);
        let found = Hardest::new(&items).unwrap();
        assert_eq!((found.far[0].0, found.far[0].1), (5, 8));
        assert_eq!(found.near[0].1, 5);
        let html = found.html(&items, &mut Pictures::new(&items, 0));
        assert!(html.as_str().contains("item 5"));
    }
}
