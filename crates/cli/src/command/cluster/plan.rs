//! What is done, from the arguments.

use crate::arguments::{Best, Cluster, Distance, Linkage, Method};
use crate::command::found::{Input, load, working};
use crate::command::subject::refuse_pairs;
use crate::command::text::resolve;
use crate::failure::Failure;
use crate::output;
use nearkin::Mat;
use nearkin::cluster::{
    self, Agglomerative, CutScore, Dbscan, Finite, Hdbscan, KMeans, NonNegative,
};
use nearkin::evaluate::FARTHEST;
use nearkin::vectors::{self, Parts};
use nearkin::verify::kept_threshold;
use serde_json::Value;
use std::path::Path;

/// A method with its settings.
pub enum Plan {
    KMeans(KMeans),
    Agglomerative(Agglomerative, Cut),
    Dbscan(Dbscan),
    Hdbscan(Hdbscan),
    Communities(cluster::Communities),
}

/// Where the tree of merges is cut.
#[derive(Clone, Copy)]
pub enum Cut {
    /// At so many clusters.
    Count(usize),
    /// At a distance.
    Within(f64),
}

/// The cluster of each item.
pub struct Found {
    pub clusters: Vec<Option<u32>>,
    /// What should be known of them.
    pub note: Option<String>,
    /// What else is known, by its names in JSON.
    pub facts: Vec<(&'static str, Value)>,
}

impl Plan {
    pub fn of(arguments: &Cluster) -> Result<Self, Failure> {
        let distance = distance(arguments);
        Ok(match arguments.method {
            Method::KMeans => Self::KMeans(k_means(arguments)?),
            Method::Agglomerative => {
                let clustering = agglomerative(arguments);
                Self::Agglomerative(clustering, Cut::of(arguments, &clustering)?)
            }
            Method::Dbscan => {
                let default = Dbscan::default();
                let within = within(arguments)?.ok_or_else(|| nowhere("--within DISTANCE"))?;
                Self::Dbscan(Dbscan {
                    distance,
                    radius: NonNegative::new(within).map_err(|e| in_within(&e.to_string()))?,
                    min_samples: arguments.min_samples.unwrap_or(default.min_samples),
                })
            }
            Method::Hdbscan => Self::Hdbscan(Hdbscan {
                distance,
                min_size: arguments.min_size.unwrap_or(Hdbscan::default().min_size),
                min_samples: arguments.min_samples,
            }),
            Method::Communities => Self::Communities(communities(arguments)?),
        })
    }

    /// More clusters than items would be fewer than asked for.
    pub fn check_count(&self, items: usize, noun: &str) -> Result<(), Failure> {
        let count = match self {
            Self::KMeans(kmeans) => kmeans.clusters.get(),
            Self::Agglomerative(_, Cut::Count(count)) => *count,
            _ => return Ok(()),
        };
        if count > items {
            return Err(Failure::usage(format!(
                "--clusters {count}: there are only {items} {noun}s to cluster"
            )));
        }
        Ok(())
    }

    pub fn cluster(&self, embeddings: Mat) -> Result<Found, Failure> {
        let mut note = None;
        let mut facts: Vec<(&'static str, Value)> = Vec::new();
        let mut within = |distance: f64| facts.push(("within", distance.into()));
        let clusters = match self {
            Self::KMeans(kmeans) => {
                let found = kmeans.cluster(embeddings)?;
                facts.push(("inertia", found.inertia.into()));
                some(found.assigned)
            }
            Self::Agglomerative(clustering, cut) => {
                let tree = clustering.cluster(embeddings)?;
                note = (!clustering.is_exact(embeddings.rows)).then(|| approximate(clustering));
                some(match *cut {
                    Cut::Count(count) => tree.clusters(count),
                    Cut::Within(distance) => {
                        within(distance);
                        tree.within(distance as f32)
                    }
                })
            }
            Self::Dbscan(dbscan) => {
                within(dbscan.radius.exact());
                dbscan.cluster(embeddings)?
            }
            Self::Hdbscan(hdbscan) => hdbscan.cluster(embeddings)?,
            Self::Communities(communities) => {
                within(1.0 - communities.threshold.exact());
                let mut clusters = vec![None; embeddings.rows];
                for (number, rows) in (0..).zip(communities.detect(embeddings)?) {
                    for row in rows {
                        clusters[row] = Some(number);
                    }
                }
                clusters
            }
        };
        Ok(Found {
            clusters,
            note,
            facts,
        })
    }

    /// The distance by which items are near.
    pub fn distance(&self) -> cluster::Distance {
        match self {
            Self::KMeans(kmeans) => kmeans.distance,
            Self::Agglomerative(clustering, _) => clustering.distance,
            Self::Dbscan(dbscan) => dbscan.distance,
            Self::Hdbscan(hdbscan) => hdbscan.distance,
            Self::Communities(_) => cluster::Distance::Cosine,
        }
    }
}

fn approximate(clustering: &Agglomerative) -> String {
    format!(
        "the distances of all pairs would take more than {} GiB: each cluster was merged with one of its {} nearest",
        clustering.memory >> 30,
        clustering.neighbors
    )
}

fn some(clusters: Vec<u32>) -> Vec<Option<u32>> {
    clusters.into_iter().map(Some).collect()
}

fn distance(arguments: &Cluster) -> cluster::Distance {
    match arguments.distance {
        Distance::Cosine => cluster::Distance::Cosine,
        Distance::Euclidean => cluster::Distance::Euclidean,
    }
}

fn k_means(arguments: &Cluster) -> Result<KMeans, Failure> {
    let default = KMeans::default();
    let clusters = arguments.count.ok_or_else(|| {
        Failure::usage("--method k-means needs the number of clusters: --clusters N")
    })?;
    Ok(KMeans {
        clusters,
        distance: distance(arguments),
        restarts: arguments.restarts.unwrap_or(default.restarts),
        iterations: arguments.iterations.unwrap_or(default.iterations),
        batch: arguments.batch,
        seed: arguments.seed.unwrap_or(default.seed),
    })
}

fn agglomerative(arguments: &Cluster) -> Agglomerative {
    Agglomerative {
        distance: distance(arguments),
        linkage: match arguments.linkage {
            None | Some(Linkage::Average) => cluster::Linkage::Average,
            Some(Linkage::Complete) => cluster::Linkage::Complete,
            Some(Linkage::Single) => cluster::Linkage::Single,
            Some(Linkage::Ward) => cluster::Linkage::Ward,
        },
        ..Agglomerative::default()
    }
}

fn communities(arguments: &Cluster) -> Result<cluster::Communities, Failure> {
    if arguments.distance == Distance::Euclidean {
        return Err(Failure::usage(
            "--method communities goes by the cosine, not by --distance euclidean",
        ));
    }
    let default = cluster::Communities::default();
    let threshold = match given(arguments)? {
        None => default.threshold,
        Some(within) => Finite::new(1.0 - within).map_err(|e| in_within(&e.to_string()))?,
    };
    let min_size = arguments.min_size.map(usize::from);
    Ok(cluster::Communities {
        threshold,
        min_size: min_size.unwrap_or(default.min_size),
    })
}

fn in_within(reason: &str) -> Failure {
    Failure::usage(format!("--within: {reason}"))
}

/// `--within`, which for the cosine has an end.
fn given(arguments: &Cluster) -> Result<Option<f64>, Failure> {
    match arguments.within {
        Some(within) if within > 2.0 && arguments.distance == Distance::Cosine => Err(in_within(
            "expected a cosine distance, a number from 0 to 2",
        )),
        within => Ok(within),
    }
}

/// `--within`, or what the model keeps.
///
/// It keeps a threshold on squared distances of unit vectors: `‖u − v‖² = 2 (1 − cos)`.
fn within(arguments: &Cluster) -> Result<Option<f64>, Failure> {
    if let Some(within) = given(arguments)? {
        return Ok(Some(within));
    }
    let (Some(model), Distance::Cosine) = (&arguments.items.model, arguments.distance) else {
        return Ok(None);
    };
    let model = resolve(model)?;
    refuse_pairs(&model)?;
    let kept = kept_threshold(&model, FARTHEST)?.map(|kept| kept.threshold / 2.0);
    if let Some(within) = kept {
        output::note(format_args!(
            "near is up to a distance of {within:.4}, by the threshold that the model keeps"
        ));
    }
    Ok(kept)
}

fn nowhere(options: &str) -> Failure {
    Failure::usage(format!(
        "say where to stop: {options}; a model of images can keep a threshold for it, `nearkin evaluate MODEL --protocol verification --pairs FILE --keep`"
    ))
}

impl Cut {
    fn of(arguments: &Cluster, clustering: &Agglomerative) -> Result<Self, Failure> {
        if let Some(count) = arguments.count {
            return Ok(Self::Count(count.get()));
        }
        if let Some(labeled) = &arguments.threshold_from {
            return Self::best(arguments, clustering, labeled);
        }
        let within = within(arguments)?;
        within
            .map(Self::Within)
            .ok_or_else(|| nowhere("--clusters N, --within DISTANCE or --threshold-from LABELED"))
    }

    /// The cut that finds the classes of other items best.
    fn best(
        arguments: &Cluster,
        clustering: &Agglomerative,
        labeled: &Path,
    ) -> Result<Self, Failure> {
        let Input { corpus, noun } = load(&arguments.items, labeled)?;
        let path = labeled.display();
        let classes = corpus.classes.as_deref().unwrap_or_default();
        let (classes, _) = vectors::classes(classes);
        let count = classes.iter().max().map_or(0, |last| last + 1);
        if count < 2 {
            return Err(Failure::usage(format!(
                "--threshold-from {path}: expected {noun}s of two classes or more, found {count}"
            )));
        }
        let input = &arguments.items.input;
        if !input.is_dir() && vectors::check_extension(input).is_ok() {
            let (found, expected) = (corpus.mat().cols, Parts::open(input)?.dim());
            if found != expected {
                return Err(Failure::usage(format!(
                    "--threshold-from {path}: vectors of {found} numbers, those of {} have {expected}",
                    input.display()
                )));
            }
        }
        let (by, name) = match arguments.best {
            None | Some(Best::F1) => (CutScore::PairwiseF1, "pairwise F1"),
            Some(Best::BCubed) => (CutScore::BCubedF1, "B-cubed F1"),
        };
        let cut = working("choosing the cut", || {
            let tree = clustering.cluster(corpus.mat())?;
            tree.best_cut(&classes, by)
        })?;
        output::note(format_args!(
            "cut at a distance of {:.4}: {name} {:.1} percent on {path}, {} clusters of {} {noun}s of {count} classes",
            cut.distance,
            100.0 * cut.score,
            cut.clusters,
            classes.len(),
        ));
        Ok(Self::Within(f64::from(cut.distance)))
    }
}
