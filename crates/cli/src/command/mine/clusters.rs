//! `nearkin mine clusters`

use super::{Input, Table, load, working};
use crate::arguments::{Clusters, Linkage};
use crate::command::subject::refuse_pairs;
use crate::command::text::resolve;
use crate::failure::Failure;
use crate::output;
use nearkin::cluster::{self, Agglomerative, Dendrogram, medoids};
use nearkin::evaluate::{
    adjusted_mutual_information, adjusted_rand_index, b_cubed, normalized_mutual_information,
    pairwise_f1,
};
use nearkin::verify::kept_threshold;
use serde_json::Value;
use std::collections::HashMap;

/// Writes the cluster of each item, and says how well clusters agree with classes.
pub fn run(arguments: &Clusters, json: bool) -> Result<(), Failure> {
    let cut = Cut::of(arguments)?;
    let Input { corpus, noun } = load(&arguments.items)?;
    let clustering = Agglomerative {
        distance: cluster::Distance::Cosine,
        linkage: match arguments.linkage {
            Linkage::Average => cluster::Linkage::Average,
            Linkage::Complete => cluster::Linkage::Complete,
            Linkage::Single => cluster::Linkage::Single,
        },
    };
    let clusters = working("clustering", || -> Result<_, Failure> {
        Ok(cut.of_tree(&clustering.cluster(corpus.mat())?))
    })?;
    let medoids = medoids(corpus.mat(), &clusters)?;
    let mut columns = vec!["cluster", "medoid", "row", noun];
    columns.extend(corpus.classes.is_some().then_some("class"));
    let row = |(row, &cluster): (usize, &u32)| {
        let is_medoid = medoids[cluster as usize] == row;
        let name = corpus.names[row].as_str();
        let mut cells = vec![cluster.into(), is_medoid.into(), row.into(), name.into()];
        cells.extend(
            corpus
                .classes
                .iter()
                .map(|of| Value::from(of[row].as_str())),
        );
        cells
    };
    let rows: Vec<Vec<Value>> = clusters.iter().enumerate().map(row).collect();
    let mut facts = cut.facts();
    if let Some(quality) = corpus
        .classes
        .as_deref()
        .and_then(|of| Quality::of(&clusters, of))
    {
        quality.tell();
        facts.extend(quality.facts());
    }
    if let Cut::Kept(threshold) = cut {
        output::note(format_args!(
            "merged up to a squared distance of {threshold:.4}, the threshold that the model keeps"
        ));
    }
    Table {
        columns,
        what: format!("{} clusters of {} {noun}s", medoids.len(), rows.len()),
        rows,
        facts,
    }
    .write(&arguments.items.out, json)
}

/// Where the tree of merges is cut.
#[derive(Clone, Copy)]
enum Cut {
    /// At so many clusters.
    Count(usize),
    /// At a distance `1 − cos`.
    Within(f64),
    /// At the model's threshold on squared distances of unit vectors: `‖u − v‖² = 2 (1 − cos)`.
    Kept(f64),
}

impl Cut {
    fn of(arguments: &Clusters) -> Result<Self, Failure> {
        if let Some(count) = arguments.count {
            return Ok(Self::Count(count.get()));
        }
        if let Some(within) = arguments.within {
            return Ok(Self::Within(within));
        }
        let model = arguments.items.model.as_deref().map(resolve).transpose()?;
        let kept = match model {
            Some(model) => {
                refuse_pairs(&model)?;
                kept_threshold(&model)?
            }
            None => None,
        };
        let kept = kept.map(|kept| Self::Kept(kept.threshold));
        kept.ok_or_else(|| {
            Failure::usage(
                "say where to stop: --clusters N or --within DISTANCE; a model of images can keep a threshold for it, `nearkin evaluate MODEL --protocol verification --pairs FILE --keep`",
            )
        })
    }

    fn of_tree(self, tree: &Dendrogram) -> Vec<u32> {
        match self {
            Self::Count(count) => tree.clusters(count),
            Self::Within(distance) => tree.within(distance as f32),
            Self::Kept(threshold) => tree.within((threshold / 2.0) as f32),
        }
    }

    fn facts(self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Count(_) => Vec::new(),
            Self::Within(distance) => vec![("within", distance.into())],
            Self::Kept(threshold) => vec![("within", (threshold / 2.0).into())],
        }
    }
}

/// How well clusters agree with classes.
struct Quality {
    classes: usize,
    /// By the names of the facts and of the note, from 0 to 1.
    measures: [(&'static str, &'static str, f64); 5],
}

impl Quality {
    /// None where all items are of one class, as those without classes are.
    fn of(clusters: &[u32], classes: &[String]) -> Option<Self> {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut labels = Vec::with_capacity(classes.len());
        for class in classes {
            let next = numbers.len() as u32;
            labels.push(*numbers.entry(class).or_insert(next));
        }
        let nmi = normalized_mutual_information(clusters, &labels);
        (numbers.len() > 1).then(|| Self {
            classes: numbers.len(),
            measures: [
                ("nmi", "NMI", nmi),
                ("ami", "AMI", adjusted_mutual_information(clusters, &labels)),
                ("ari", "ARI", adjusted_rand_index(clusters, &labels)),
                ("f1", "pairwise F1", pairwise_f1(clusters, &labels)),
                ("b_cubed", "B-cubed F1", b_cubed(clusters, &labels).f1),
            ],
        })
    }

    fn tell(&self) {
        let each = self
            .measures
            .map(|(_, name, value)| format!("{name} {:.1}", 100.0 * value));
        output::note(format_args!(
            "against {} classes: {} percent",
            self.classes,
            each.join(", ")
        ));
    }

    fn facts(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let each = self.measures.map(|(key, _, value)| (key, value.into()));
        [("classes", self.classes.into())].into_iter().chain(each)
    }
}
