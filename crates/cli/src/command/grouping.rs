//! `nearkin evaluate --protocol clustering`

use crate::failure::Failure;
use crate::table::{numbers_right, over_draws};
use crate::{command::items, table};
use items::{NAMES, Side, labeled};
use nearkin::evaluate::{Grouping, Labeled, OverDraws, grouping};

/// Runs of k-means, as many as papers average over.
const SEEDS: u64 = 10;

/// Measures one side.
pub fn measure(side: &Side) -> Result<Grouping, Failure> {
    let Labeled { vectors, labels } = labeled(&side.measured);
    Ok(grouping(vectors, labels, (SEEDS, 0))?)
}

/// Two tables, of the clusters and of the vectors, and what is what.
pub fn show(sides: [&Grouping; 2]) -> (String, String) {
    let agreement: [(&str, fn(&Grouping) -> &OverDraws); 7] = [
        ("NMI", |g| &g.nmi),
        ("AMI", |g| &g.ami),
        ("ARI", |g| &g.ari),
        ("homogeneity", |g| &g.homogeneity),
        ("completeness", |g| &g.completeness),
        ("pairwise F1", |g| &g.f1),
        ("B-cubed F1", |g| &g.b_cubed),
    ];
    let heads = agreement.map(|(name, _)| name);
    let clusters = rows(sides, &heads, |side| {
        agreement
            .iter()
            .map(|(_, of)| over_draws(of(side)))
            .collect()
    });
    let heads = [
        "silhouette",
        "Davies–Bouldin ↓",
        "Calinski–Harabasz",
        "alignment ↓",
        "uniformity ↓",
        "dimensions",
        "hubness ↓",
        "orphans ↓",
    ];
    let vectors = rows(sides, &heads, |side| {
        let number = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.3}"));
        vec![
            number(Some(side.silhouette)),
            number(Some(side.davies_bouldin)),
            format!("{:.1}", side.calinski_harabasz),
            number(side.sphere.alignment),
            number(Some(side.sphere.uniformity)),
            format!("{:.1}", side.sphere.dimensions),
            number(side.hubness.map(|h| h.skewness)),
            side.hubness
                .map_or_else(|| "–".to_owned(), |h| format!("{:.1} %", 100.0 * h.orphans)),
        ]
    });
    let conventions = format!(
        "k-means of unit vectors with {} clusters: mean ± deviation over {SEEDS} seeds; NMI with the arithmetic mean is also the V-measure; AMI and ARI are 0 for clusters by chance\nof unit vectors and true classes, not percent: alignment is the mean square distance of kin, uniformity the log mean of exp(-2 d²), dimensions the participation ratio; hubness is the skewness of how often an item is among the 10 nearest of others, orphans are no one's",
        sides[1].clusters
    );
    (format!("{clusters}\n{vectors}"), conventions)
}

fn rows(sides: [&Grouping; 2], heads: &[&str], cells: impl Fn(&Grouping) -> Vec<String>) -> String {
    let names: Vec<&str> = [""].into_iter().chain(heads.iter().copied()).collect();
    let mut table = table::new(&names);
    for (name, side) in NAMES.into_iter().zip(sides) {
        let mut row = vec![name.to_owned()];
        row.extend(cells(side));
        table.add_row(row);
    }
    numbers_right(&mut table);
    table.to_string()
}
