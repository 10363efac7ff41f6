//! `nearkin evaluate --protocol clustering`

use crate::failure::Failure;
use crate::table::{numbers_right, over_draws};
use crate::{command::items, table};
use comfy_table::Table;
use items::{Side, labeled};
use nearkin::evaluate::{Grouping, Labeled, OverDraws, grouping};

/// Runs of k-means, as many as papers average over.
pub const SEEDS: u64 = 10;

/// Measures one side.
pub fn measure(side: &Side) -> Result<Grouping, Failure> {
    let Labeled { vectors, labels } = labeled(&side.measured);
    Ok(grouping(vectors, labels, (SEEDS, 0))?)
}

/// Two tables, of the clusters and of the vectors, and what is what.
pub fn show(sides: &[(&str, &Grouping)]) -> (String, String) {
    let agreement: [(&str, fn(&Grouping) -> &OverDraws); 7] = [
        ("NMI", |g| &g.nmi),
        ("AMI", |g| &g.ami),
        ("ARI", |g| &g.ari),
        ("homogeneity", |g| &g.homogeneity),
        ("completeness", |g| &g.completeness),
        ("pairwise F1", |g| &g.f1),
        ("B-cubed F1", |g| &g.b_cubed),
    ];
    let heads: Vec<&str> = [""]
        .into_iter()
        .chain(agreement.map(|(name, _)| name))
        .collect();
    let mut clusters = table::new(&heads);
    for (name, side) in sides {
        let mut row = vec![(*name).to_owned()];
        row.extend(agreement.iter().map(|(_, of)| over_draws(of(side))));
        clusters.add_row(row);
    }
    numbers_right(&mut clusters);
    let conventions = format!(
        "k-means of unit vectors with {} clusters: mean ± deviation over {SEEDS} seeds; NMI with the arithmetic mean is also the V-measure; AMI and ARI are 0 for clusters by chance\nof unit vectors and true classes, not percent: alignment is the mean square distance of kin, uniformity the log mean of exp(-2 d²), dimensions the participation ratio; hubness is the skewness of how often an item is among the 10 nearest of others, orphans are no one's",
        sides.first().map_or(0, |(_, side)| side.clusters)
    );
    (format!("{clusters}\n{}", vectors(sides)), conventions)
}

/// A row for each number that says how vectors lie.
fn vectors(sides: &[(&str, &Grouping)]) -> Table {
    let three = |x: f64| format!("{x:.3}");
    let absent = || "–".to_owned();
    let numbers: [(&str, &dyn Fn(&Grouping) -> String); 8] = [
        ("silhouette", &|g| three(g.silhouette)),
        ("Davies–Bouldin ↓", &|g| three(g.davies_bouldin)),
        ("Calinski–Harabasz", &|g| {
            format!("{:.1}", g.calinski_harabasz)
        }),
        ("alignment ↓", &|g| {
            g.sphere.alignment.map_or_else(absent, three)
        }),
        ("uniformity ↓", &|g| three(g.sphere.uniformity)),
        ("dimensions", &|g| format!("{:.1}", g.sphere.dimensions)),
        ("hubness ↓", &|g| {
            g.hubness.map_or_else(absent, |h| three(h.skewness))
        }),
        ("orphans ↓", &|g| {
            g.hubness
                .map_or_else(absent, |h| format!("{:.1} %", 100.0 * h.orphans))
        }),
    ];
    let names = sides.iter().map(|(name, _)| *name);
    let heads: Vec<&str> = [""].into_iter().chain(names).collect();
    let mut table = table::new(&heads);
    for (name, of) in numbers {
        let each = sides.iter().map(|(_, side)| of(side));
        table.add_row([name.to_owned()].into_iter().chain(each));
    }
    numbers_right(&mut table);
    table
}
