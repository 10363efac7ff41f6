//! `nearkin evaluate --protocol clustering`

use crate::failure::Failure;
use crate::table::{numbers_right, over_draws};
use crate::{command::items, table};
use comfy_table::Table;
use items::{Side, labeled};
use nearkin::evaluate::{Grouping, Hubness, Labeled, grouping};

/// Runs of k-means, as many as papers average over.
pub const SEEDS: u64 = 10;

/// Measures one side.
pub fn measure(side: &Side) -> Result<Grouping, Failure> {
    let Labeled { vectors, labels } = labeled(&side.measured);
    Ok(grouping(vectors, labels, (SEEDS, 0))?)
}

/// Two tables, of the clusters and of the vectors, and what is what.
pub fn show(sides: &[(&str, &Grouping)]) -> (String, String) {
    let clusters = sides.first().map_or(0, |(_, side)| side.clusters);
    let conventions = format!(
        "k-means of unit vectors with {clusters} clusters: mean ± deviation over {SEEDS} seeds; NMI with the arithmetic mean is also the V-measure; AMI and ARI are 0 for clusters by chance\nof unit vectors and true classes, not percent: alignment is the mean square distance of kin, uniformity the log mean of exp(-2 d²), dimensions the participation ratio, effective rank the exponential of the entropy of singular values; hubness is the skewness of how often an item is among the 10 nearest of others, orphans are no one's"
    );
    (
        format!("{}\n{}", agreements(sides), vectors(sides)),
        conventions,
    )
}

/// A row for each side.
fn agreements(sides: &[(&str, &Grouping)]) -> Table {
    let mut table = table::new(&[
        "",
        "NMI",
        "AMI",
        "ARI",
        "homogeneity",
        "completeness",
        "pairwise F1",
        "B-cubed F1",
    ]);
    for (name, side) in sides {
        table.add_row([
            (*name).to_owned(),
            over_draws(&side.nmi),
            over_draws(&side.ami),
            over_draws(&side.ari),
            over_draws(&side.homogeneity),
            over_draws(&side.completeness),
            over_draws(&side.f1),
            over_draws(&side.b_cubed),
        ]);
    }
    numbers_right(&mut table);
    table
}

/// A row for each number that says how vectors lie.
fn vectors(sides: &[(&str, &Grouping)]) -> Table {
    let columns: Vec<_> = sides.iter().map(|(_, side)| numbers(side)).collect();
    let names = sides.iter().map(|(name, _)| *name);
    let heads: Vec<&str> = [""].into_iter().chain(names).collect();
    let mut table = table::new(&heads);
    for row in 0..columns.first().map_or(0, |column| column.len()) {
        let each = columns.iter().map(|column| column[row].1.clone());
        table.add_row([columns[0][row].0.to_owned()].into_iter().chain(each));
    }
    numbers_right(&mut table);
    table
}

fn numbers(side: &Grouping) -> [(&'static str, String); 9] {
    let three = |x: f64| format!("{x:.3}");
    let hubs = |of: fn(&Hubness) -> String| side.hubness.as_ref().map_or_else(|| "–".into(), of);
    [
        ("silhouette", three(side.silhouette)),
        ("Davies–Bouldin ↓", three(side.davies_bouldin)),
        (
            "Calinski–Harabasz",
            format!("{:.1}", side.calinski_harabasz),
        ),
        (
            "alignment ↓",
            side.sphere.alignment.map_or_else(|| "–".into(), three),
        ),
        ("uniformity ↓", three(side.sphere.uniformity)),
        ("dimensions", format!("{:.1}", side.sphere.dimensions)),
        (
            "effective rank",
            side.sphere
                .effective_rank
                .map_or_else(|| "–".into(), |rank| format!("{rank:.1}")),
        ),
        ("hubness ↓", hubs(|h| format!("{:.3}", h.skewness))),
        ("orphans ↓", hubs(|h| format!("{:.1} %", 100.0 * h.orphans))),
    ]
}
