//! Queries with their nearest neighbors, wrong ones marked.

use super::html::{Html, short};
use super::items::Items;
use super::neighbors::{DEPTH, Nearest};
use super::pictures::{Pictures, tile};
use nearkin_encoder::parameters::named_rng;
use rand::RngExt;
use std::cmp::Ordering;

/// Queries of a kind.
const QUERIES: usize = 6;
/// The side of a picture, in pixels.
pub const SIDE: u32 = 96;

/// Queries of each kind.
struct Chosen {
    title: &'static str,
    queries: Vec<usize>,
}

/// The gallery of the best, of random and of the worst queries.
pub fn gallery(items: &Items, nearest: &Nearest, pictures: &mut Pictures, seed: u64) -> Html {
    let mut html = Html::default();
    html.raw("<p>").text(&format!(
        "A query, then its {DEPTH} nearest among all other items by cosine similarity. Best and worst by the share of its class among \
         the first {DEPTH}, or as many as its class has, and by how much nearer its class is than others.",
    ));
    html.raw("</p>");
    for Chosen { title, queries } in chosen(items, nearest, seed) {
        html.raw("<h3>").text(title).raw("</h3>");
        for query in queries {
            html.add(&strip(items, nearest, pictures, query));
        }
    }
    html
}

fn chosen(items: &Items, nearest: &Nearest, seed: u64) -> [Chosen; 3] {
    let mut ranked: Vec<usize> = nearest.queries().collect();
    let mut rng = named_rng(seed, "gallery");
    let mut random = ranked.clone();
    let count = QUERIES.min(random.len());
    for at in 0..count {
        let other = rng.random_range(at..random.len());
        random.swap(at, other);
    }
    random.truncate(count);
    let keys: Vec<(f64, f64)> = (0..items.len())
        .map(|item| key(items, nearest, item))
        .collect();
    let better = |a: &usize, b: &usize| -> Ordering {
        let ((share, lead), (other_share, other_lead)) = (keys[*a], keys[*b]);
        other_share
            .total_cmp(&share)
            .then(other_lead.total_cmp(&lead))
            .then(a.cmp(b))
    };
    ranked.sort_by(better);
    let worst = ranked.iter().rev().take(QUERIES).copied().collect();
    ranked.truncate(QUERIES);
    [
        Chosen {
            title: "Best queries",
            queries: ranked,
        },
        Chosen {
            title: "Random queries",
            queries: random,
        },
        Chosen {
            title: "Worst queries",
            queries: worst,
        },
    ]
}

/// What makes a query good: its share of right neighbors, then by how much the nearest right one is nearer than the nearest
/// wrong one.
fn key(items: &Items, nearest: &Nearest, item: usize) -> (f64, f64) {
    let first = |right: bool| {
        let is = |other: usize| (items.labels[other] == items.labels[item]) == right;
        let found = nearest.of[item].iter().find(|(other, _)| is(*other));
        // Those beyond the last neighbor are at most as near as it.
        let last = nearest.of[item].last().map_or(0.0, |n| n.1);
        f64::from(found.map_or(last, |n| n.1))
    };
    (nearest.share(items, item), first(true) - first(false))
}

fn strip(items: &Items, nearest: &Nearest, pictures: &mut Pictures, query: usize) -> Html {
    let near = &nearest.of[query];
    let shown: Vec<usize> = [query]
        .into_iter()
        .chain(near.iter().map(|n| n.0))
        .collect();
    let addresses = pictures.of(&shown, SIDE);
    let mut html = Html::default();
    html.raw("<div class=\"strip\" role=\"group\" tabindex=\"0\" aria-label=\"")
        .text(&format!("Neighbors of {}", short(&items.names[query], 60)))
        .raw("\">");
    html.add(&tile(items, query, addresses[0].as_ref(), "query", "query"));
    for (&(other, cosine), address) in near.iter().zip(&addresses[1..]) {
        let right = items.labels[other] == items.labels[query];
        let (kind, mark) = if right {
            ("right", '✓')
        } else {
            ("wrong", '✗')
        };
        let caption = format!("{mark} {cosine:.3}");
        html.add(&tile(items, other, address.as_ref(), kind, &caption));
    }
    html.raw("</div>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Items {
        // Item 0 and 1 are a class far from others; 2 is of class 1 but lies among class 2.
        let angles = [0.0f32, 0.01, 2.0, 1.0, 1.05, 1.99, 2.02];
        let numbers = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        Items::plain(numbers, 2, &[0, 0, 1, 1, 1, 2, 2])
    }

    #[test]
    fn the_best_and_the_worst_are_found() {
        let items = items();
        let nearest = Nearest::new(&items).unwrap();
        let [best, random, worst] = chosen(&items, &nearest, 0);
        assert!(best.queries[0] < 2, "{:?}", best.queries);
        assert!([2, 5, 6].contains(&worst.queries[0]), "{:?}", worst.queries);
        let mut drawn = random.queries.clone();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), QUERIES);
        assert_eq!(random.queries, chosen(&items, &nearest, 0)[1].queries);
    }

    #[test]
    fn wrong_hits_are_marked_in_words_and_names_are_text() {
        let mut items = items();
        items.names[1] = "<script>".into();
        let nearest = Nearest::new(&items).unwrap();
        let mut pictures = Pictures::new(&items, 0);
        let html = gallery(&items, &nearest, &mut pictures, 0);
        let html = html.as_str();
        assert!(html.contains("class=\"tile wrong\"") && html.contains("✗ 0."));
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }
}
