//! How well each class is found.

use super::html::{Html, Table, cell};
use super::items::Items;
use super::neighbors::{DEPTH, Nearest};
use std::collections::HashMap;

/// Rows of the table.
const MOST: usize = 200;

/// How well the items of a class find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScore {
    /// The class's number.
    pub class: u32,
    /// Its items.
    pub items: usize,
    /// The share of them whose nearest neighbor is of the class.
    pub recall: f64,
    /// The mean share of the class among as many first neighbors as it can fill, at most eight.
    pub share: f64,
    /// The class that most of the wrong nearest neighbors are of.
    pub taken_for: Option<u32>,
}

/// The classes with at least two items, the worst found first.
pub fn scores(items: &Items, nearest: &Nearest) -> Vec<ClassScore> {
    let mut queries: HashMap<u32, Vec<usize>> = HashMap::new();
    for query in nearest.queries() {
        queries.entry(items.labels[query]).or_default().push(query);
    }
    let mut scores: Vec<ClassScore> = queries
        .into_iter()
        .map(|(class, queries)| {
            let count = queries.len() as f64;
            let right = queries
                .iter()
                .filter(|&&q| nearest.is_right(items, q))
                .count();
            let mut wrong: HashMap<u32, usize> = HashMap::new();
            for &(other, _) in queries.iter().filter_map(|&q| nearest.of[q].first()) {
                if items.labels[other] != class {
                    *wrong.entry(items.labels[other]).or_default() += 1;
                }
            }
            let most = wrong
                .into_iter()
                .max_by_key(|&(class, times)| (times, std::cmp::Reverse(class)));
            ClassScore {
                class,
                items: queries.len(),
                recall: right as f64 / count,
                share: queries
                    .iter()
                    .map(|&q| nearest.share(items, q))
                    .sum::<f64>()
                    / count,
                taken_for: most.map(|(class, _)| class),
            }
        })
        .collect();
    scores.sort_by(|a, b| {
        let by = a
            .recall
            .total_cmp(&b.recall)
            .then(a.share.total_cmp(&b.share));
        by.then(a.class.cmp(&b.class))
    });
    scores
}

/// The table, the worst classes first.
pub fn table(items: &Items, scores: &[ClassScore]) -> Html {
    let near = format!("right of first {DEPTH}, %");
    let heads = [
        "class",
        "items",
        "Recall@1, %",
        &near,
        "most often taken for",
    ];
    let mut table = Table::new("Classes", &heads, &[4], true);
    for score in scores.iter().take(MOST) {
        let mut name = Html::default();
        name.name(&items.classes[score.class as usize]);
        let mut other = Html::default();
        match score.taken_for {
            Some(class) => other.name(&items.classes[class as usize]),
            None => other.text("–"),
        };
        table.row(&[
            name,
            cell(&score.items.to_string()),
            cell(&format!("{:.1}", 100.0 * score.recall)),
            cell(&format!("{:.1}", 100.0 * score.share)),
            other,
        ]);
    }
    let mut html = table.finish();
    if scores.len() > MOST {
        let text = format!("The {MOST} classes found worst, of {}.", scores.len());
        html.raw("<p class=\"note\">").text(&text).raw("</p>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_scored_and_the_worst_comes_first() {
        let angles = [0.0f32, 0.1, 0.95, 1.0, 1.2, 2.0];
        let numbers = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let mut items = Items::plain(numbers, 2, &[0, 0, 1, 2, 1, 3]);
        let nearest = Nearest::new(&items).unwrap();
        let scores = scores(&items, &nearest);
        let classes: Vec<u32> = scores.iter().map(|s| s.class).collect();
        // Classes of one item are not scored.
        assert_eq!(classes, [1, 0]);
        assert_eq!((scores[0].recall, scores[0].taken_for), (0.0, Some(2)));
        assert_eq!(
            (scores[1].recall, scores[1].share, scores[1].taken_for),
            (1.0, 1.0, None)
        );
        items.classes[1] = "<script>".into();
        let html = table(&items, &scores);
        assert!(html.as_str().contains("&lt;script&gt;") && !html.as_str().contains("<script>"));
    }
}
