//! Which classes are taken for one another.

use super::html::{Html, Table, cell};
use super::items::Items;
use super::neighbors::Nearest;
use super::pictures::{Pictures, tile};
use std::collections::HashMap;

/// Pairs of classes that are shown.
const MOST: usize = 20;
/// The side of a picture of an example.
const SIDE: u32 = 64;

/// Two classes whose items are each other's nearest neighbors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confused {
    /// The two classes, the smaller number first.
    pub classes: (u32, u32),
    /// Items of the first whose nearest neighbor is of the second, and the other way round.
    pub times: (usize, usize),
    /// The first such item and its neighbor.
    pub example: (usize, usize),
}

/// All confused pairs of classes, the most often confused first.
pub fn confusions(items: &Items, nearest: &Nearest) -> Vec<Confused> {
    let mut found: HashMap<(u32, u32), Confused> = HashMap::new();
    for query in nearest.queries() {
        let Some(&(other, _)) = nearest.of[query].first() else {
            continue;
        };
        let (own, wrong) = (items.labels[query], items.labels[other]);
        if own == wrong {
            continue;
        }
        let classes = (own.min(wrong), own.max(wrong));
        let confused = found.entry(classes).or_insert(Confused {
            classes,
            times: (0, 0),
            example: (query, other),
        });
        let times = &mut confused.times;
        *(if own == classes.0 {
            &mut times.0
        } else {
            &mut times.1
        }) += 1;
    }
    let mut found: Vec<Confused> = found.into_values().collect();
    found.sort_by_key(|c| (std::cmp::Reverse(c.times.0 + c.times.1), c.classes));
    found
}

/// The table of the first pairs, each with an example.
pub fn table(items: &Items, found: &[Confused], pictures: &mut Pictures) -> Html {
    let mut html = Html::default();
    if found.is_empty() {
        html.raw("<p>No item's nearest neighbor is of another class.</p>");
        return html;
    }
    let sizes = items.sizes();
    let heads = [
        "classes",
        "times",
        "of items, %",
        "example: item, nearest neighbor",
    ];
    let mut table = Table::new("Confused classes", &heads, &[3], false);
    for Confused {
        classes,
        times,
        example,
    } in found.iter().take(MOST)
    {
        let (a, b) = (classes.0 as usize, classes.1 as usize);
        let mut names = Html::default();
        names
            .name(&items.classes[a])
            .raw(" ↔ ")
            .name(&items.classes[b]);
        let count = times.0 + times.1;
        let share = 100.0 * count as f64 / (sizes[a] + sizes[b]) as f64;
        let addresses = pictures.of(&[example.0, example.1], SIDE);
        let mut shown = Html::default();
        shown.raw("<div class=\"strip\">");
        for (item, address) in [example.0, example.1].into_iter().zip(&addresses) {
            shown.add(&tile(items, item, address.as_ref(), "small", ""));
        }
        shown.raw("</div>");
        table.row(&[
            names,
            cell(&format!("{count} ({} + {})", times.0, times.1)),
            cell(&format!("{share:.1}")),
            shown,
        ]);
    }
    html.add(&table.finish()).raw("<p class=\"note\">").text(&format!(
        "The {} pairs of classes whose items are most often each other's nearest neighbor, of {} pairs that are at all; in brackets how \
         often an item of the first found one of the second, and the other way round.",
        found.len().min(MOST),
        found.len()
    ));
    html.raw("</p>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusions_are_counted_both_ways() {
        // 0 and 1 of class 0 are nearest to class 1 and it to them; class 2 stands apart.
        let angles = [0.0f32, 0.5, 0.01, 0.52, 2.0, 2.1];
        let numbers = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let items = Items::plain(numbers, 2, &[0, 0, 1, 1, 2, 2]);
        let nearest = Nearest::new(&items).unwrap();
        let found = confusions(&items, &nearest);
        let expected = Confused {
            classes: (0, 1),
            times: (2, 2),
            example: (0, 2),
        };
        assert_eq!(found, [expected]);
        let html = table(&items, &found, &mut Pictures::new(&items, 0));
        assert!(html.as_str().contains("4 (2 + 2)"), "{}", html.as_str());
    }
}
