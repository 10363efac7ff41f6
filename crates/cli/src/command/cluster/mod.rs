//! `nearkin cluster`

mod plan;

use self::plan::{Found, Plan};
use super::found::{Input, Table, check_output, load, working};
use super::text::Corpus;
use crate::arguments::Cluster;
use crate::failure::Failure;
use crate::output;
use nearkin::cluster::{Agreement, Quality, medoids};
use nearkin::vectors;
use serde_json::Value;

/// Writes the cluster of each item, and says how good the clusters are.
pub fn run(arguments: &Cluster, json: bool) -> Result<(), Failure> {
    if let Some((option, methods)) = arguments.stray() {
        let method = arguments.method.name();
        return Err(Failure::usage(format!(
            "{option} goes with --method {methods}, not {method}"
        )));
    }
    // Not by clap: what a group rules out, it does not require.
    if arguments.best.is_some() && arguments.threshold_from.is_none() {
        return Err(Failure::usage("--best goes with --threshold-from"));
    }
    check_output(&arguments.items.out)?;
    let plan = Plan::of(arguments)?;
    let Input { corpus, noun } = load(&arguments.items, &arguments.items.input)?;
    plan.check_count(corpus.mat().rows, noun)?;
    let Found {
        clusters,
        note,
        mut facts,
    } = working("clustering", || plan.cluster(corpus.mat()))?;
    let distance = plan.distance();
    let quality = working("measuring", || {
        Quality::new(corpus.mat(), &clusters, distance)
    })?;
    let agreement = agreement(&clusters, &corpus);
    if let Some(note) = note {
        output::note(note);
    }
    tell(&quality, agreement.as_ref());
    let mut columns = vec!["cluster", "medoid", "row", noun];
    columns.extend(corpus.classes.is_some().then_some("class"));
    facts.extend(facts_of(&quality, agreement.as_ref()));
    let in_clusters = match quality.noise {
        0 => String::new(),
        noise => format!("{} of ", clusters.len() - noise),
    };
    Table {
        columns,
        rows: rows(&clusters, &corpus)?,
        what: format!(
            "{} clusters of {in_clusters}{} {noun}s",
            quality.clusters,
            clusters.len()
        ),
        facts,
    }
    .write(&arguments.items.out, json)
}

fn rows(clusters: &[Option<u32>], corpus: &Corpus) -> Result<Vec<Vec<Value>>, Failure> {
    let medoids = medoids(corpus.mat(), clusters)?;
    let row = |(row, &cluster): (usize, &Option<u32>)| {
        let is_medoid = cluster.is_some_and(|cluster| medoids[cluster as usize] == row);
        let name = corpus.names[row].as_str();
        let mut cells = vec![cluster.into(), is_medoid.into(), row.into(), name.into()];
        let classes = corpus.classes.iter();
        cells.extend(classes.map(|of| Value::from(of[row].as_str())));
        cells
    };
    Ok(clusters.iter().enumerate().map(row).collect())
}

/// None where all items are of one class, as those without classes are.
fn agreement(clusters: &[Option<u32>], corpus: &Corpus) -> Option<Agreement> {
    let (classes, _) = vectors::classes(corpus.classes.as_deref()?);
    let agreement = Agreement::new(clusters, &classes);
    (agreement.classes > 1).then_some(agreement)
}

fn tell(quality: &Quality, agreement: Option<&Agreement>) {
    let Quality {
        smallest,
        median,
        largest,
        ..
    } = quality;
    let silhouette = quality.silhouette.map(|s| format!(", silhouette {s:.3}"));
    output::note(format_args!(
        "{smallest} to {largest} items a cluster, median {median}{}",
        silhouette.unwrap_or_default()
    ));
    if let Some(agreement) = agreement {
        let measures = measures(agreement);
        let each = measures.map(|(_, name, value)| format!("{name} {:.1}", 100.0 * value));
        output::note(format_args!(
            "against {} classes: {} percent",
            agreement.classes,
            each.join(", ")
        ));
    }
}

/// By the names of the facts and of the note, from 0 to 1.
fn measures(agreement: &Agreement) -> [(&'static str, &'static str, f64); 5] {
    [
        ("ami", "AMI", agreement.ami),
        ("ari", "ARI", agreement.ari),
        ("nmi", "NMI", agreement.nmi),
        ("f1", "pairwise F1", agreement.f1),
        ("b_cubed", "B-cubed F1", agreement.b_cubed.f1),
    ]
}

fn facts_of(quality: &Quality, agreement: Option<&Agreement>) -> Vec<(&'static str, Value)> {
    let mut facts: Vec<(&'static str, Value)> = vec![
        ("clusters", quality.clusters.into()),
        ("noise", quality.noise.into()),
        ("smallest", quality.smallest.into()),
        ("median", quality.median.into()),
        ("largest", quality.largest.into()),
        ("silhouette", quality.silhouette.into()),
    ];
    if let Some(agreement) = agreement {
        facts.push(("classes", agreement.classes.into()));
        let measures = measures(agreement);
        facts.extend(measures.map(|(key, _, value)| (key, value.into())));
    }
    facts
}
