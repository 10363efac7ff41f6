//! Arguments of `nearkin cluster`.

use super::{MineInput, non_negative};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `nearkin cluster`
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("cut"),
    after_help = "Examples:\n  nearkin cluster photos/ --model runs/faces/model -o people.tsv   merged up to the threshold it keeps\n  nearkin cluster texts.npy --within 0.4 -o clusters.csv\n  nearkin cluster new.npy --threshold-from labeled.npy -o clusters.tsv\n  nearkin cluster vectors.parquet --method k-means --clusters 100 --batch 1024 -o clusters.jsonl\n  nearkin cluster texts.txt --model all-MiniLM-L6-v2/ --method communities --within 0.2\n  nearkin cluster vectors.npy --method hdbscan --min-size 10\n\nWritten are the cluster of each item, none for noise, whether it is the medoid (the one nearest to\nall others of its cluster), its place and name, and its class where it has one: then AMI, ARI, NMI,\npairwise F1 and B-cubed F1 are told, beside the silhouette and the clusters' sizes."
)]
pub struct Cluster {
    /// How clusters are found.
    #[arg(
        long,
        value_enum,
        value_name = "METHOD",
        default_value = "agglomerative"
    )]
    pub method: Method,
    /// The distance of two items; communities: cosine alone.
    #[arg(long, value_enum, value_name = "DISTANCE", default_value = "cosine")]
    pub distance: Distance,
    /// k-means, agglomerative: the number of clusters.
    #[arg(long = "clusters", value_name = "N", group = "cut")]
    pub count: Option<NonZeroUsize>,
    /// agglomerative: the largest distance at which clusters are merged; dbscan: of two neighbors; communities: of a member to
    /// the center, 0.25 where absent. The others take the threshold that the model folder keeps for `nearkin verify` where
    /// nothing is said. A cosine distance is 1 − cosine.
    #[arg(long, value_name = "DISTANCE", group = "cut", allow_hyphen_values = true, value_parser = non_negative)]
    pub within: Option<f64>,
    /// agglomerative: data with classes, read as INPUT is; the distance whose cut finds them best there is taken.
    #[arg(long, value_name = "LABELED", group = "cut")]
    pub threshold_from: Option<PathBuf>,
    /// --threshold-from: what is best [default: f1].
    #[arg(long, value_enum, value_name = "SCORE")]
    pub best: Option<Best>,
    /// agglomerative: the distance of two clusters, from those of their items [default: average].
    #[arg(long, value_enum, value_name = "LINKAGE")]
    pub linkage: Option<Linkage>,
    /// k-means: starts, of which the best is kept [default: 3].
    #[arg(long, value_name = "N")]
    pub restarts: Option<NonZeroUsize>,
    /// k-means: rounds over all items at most, or batches [default: 300].
    #[arg(long, value_name = "N")]
    pub iterations: Option<usize>,
    /// k-means: items of a batch, after each of which centers move; for very many items.
    #[arg(long, value_name = "N")]
    pub batch: Option<NonZeroUsize>,
    /// k-means: of what is drawn at random [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// dbscan: items within the distance of a core item, itself among them [default: 5]; hdbscan: the neighbor whose distance says
    /// how dense it is [default: as --min-size].
    #[arg(long, value_name = "N")]
    pub min_samples: Option<NonZeroUsize>,
    /// hdbscan, communities: items of a cluster at least [default: 5 and 10].
    #[arg(long, value_name = "N")]
    pub min_size: Option<NonZeroUsize>,
    /// What is clustered; last, since options after it would stand under its headings.
    #[command(flatten)]
    pub items: MineInput,
}

/// Ways to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// So many centers; every item is with the nearest.
    #[value(name = "k-means")]
    KMeans,
    /// The two nearest clusters are merged, again and again.
    Agglomerative,
    /// What is dense by one distance; the rest is noise.
    Dbscan,
    /// What is dense, each cluster in its own measure; the rest is noise.
    Hdbscan,
    /// Groups close to one of their own; the rest is noise.
    Communities,
}

impl Method {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KMeans => "k-means",
            Self::Agglomerative => "agglomerative",
            Self::Dbscan => "dbscan",
            Self::Hdbscan => "hdbscan",
            Self::Communities => "communities",
        }
    }
}

/// The distance of two items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distance {
    /// 1 − cosine.
    Cosine,
    /// The length of the difference.
    Euclidean,
}

/// What the best cut is best in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Best {
    /// Pairwise F1.
    F1,
    /// B-cubed F1.
    BCubed,
}

/// The distance of two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Linkage {
    /// The mean over all pairs.
    Average,
    /// The largest.
    Complete,
    /// The smallest.
    Single,
    /// By how much squared distances to the centers grow; with --distance euclidean.
    Ward,
}

impl Cluster {
    /// The first option given that does not go with the method, and the methods it goes with.
    pub fn stray(&self) -> Option<(&'static str, String)> {
        use Method::{Agglomerative, Communities, Dbscan, Hdbscan, KMeans};
        let options: [(bool, &str, &[Method]); 10] = [
            (self.count.is_some(), "--clusters", &[KMeans, Agglomerative]),
            (
                self.within.is_some(),
                "--within",
                &[Agglomerative, Dbscan, Communities],
            ),
            (
                self.threshold_from.is_some(),
                "--threshold-from",
                &[Agglomerative],
            ),
            (self.linkage.is_some(), "--linkage", &[Agglomerative]),
            (self.restarts.is_some(), "--restarts", &[KMeans]),
            (self.iterations.is_some(), "--iterations", &[KMeans]),
            (self.batch.is_some(), "--batch", &[KMeans]),
            (self.seed.is_some(), "--seed", &[KMeans]),
            (
                self.min_samples.is_some(),
                "--min-samples",
                &[Dbscan, Hdbscan],
            ),
            (
                self.min_size.is_some(),
                "--min-size",
                &[Hdbscan, Communities],
            ),
        ];
        let stray = options
            .into_iter()
            .find(|(given, _, methods)| *given && !methods.contains(&self.method));
        let names = |methods: &[Method]| methods.iter().map(|m| m.name()).collect::<Vec<_>>();
        stray.map(|(_, option, methods)| (option, names(methods).join(" or ")))
    }
}
