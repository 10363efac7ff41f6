//! Arguments of `nearkin mine`.

use super::{TextInput, TextVectors, Tolerance, cosine, share};
use clap::{Args, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `nearkin mine`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin mine negatives qa.tsv --model all-MiniLM-L6-v2/ --relative-margin 0.05 -o triplets.jsonl\n  nearkin mine paraphrases texts.txt --model all-MiniLM-L6-v2/ --max-pairs 100\n  nearkin mine labels photos/ --model runs/recipe/model -o suspects.tsv"
)]
pub struct Mine {
    /// What to find.
    #[command(subcommand)]
    pub action: MineAction,
}

/// What can be found.
#[derive(Debug, Subcommand)]
pub enum MineAction {
    /// Documents that a model takes for answers although they are none, to train on.
    Negatives(Negatives),
    /// The pairs of texts or images most alike.
    Paraphrases(Paraphrases),
    /// Items whose neighbors say that their label is wrong.
    Labels(Labels),
}

/// Texts, images or features with their vectors.
#[derive(Debug, Args)]
pub struct MineInput {
    /// Texts, one a line or a table; images or features, for a model of these; or a file that `nearkin embed` has written.
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// The model: a sentence encoder, or one of images or features.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Where to write.
    #[command(flatten)]
    pub out: Mined,
    /// What may be damaged.
    #[command(flatten)]
    pub tolerance: Tolerance,
    /// Where the texts are.
    #[command(flatten)]
    pub text: TextInput,
    /// How texts are embedded.
    #[command(flatten)]
    pub vectors: TextVectors,
}

/// Where what was found is written.
#[derive(Debug, Args)]
pub struct Mined {
    /// The file to write, .jsonl, .tsv or .csv; JSON lines on standard output where absent.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `nearkin mine negatives`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nearkin mine negatives nq.tsv --columns query,answer --model all-MiniLM-L6-v2/ --absolute-margin 0.1 -o triplets.tsv\n\nTraining reads the result: rows = { triplets = { anchor = \"anchor\", positive = \"positive\", negative = \"negative\" } }"
)]
pub struct Negatives {
    /// A table of queries and their answers; several rows may have one query.
    #[arg(value_name = "PAIRS")]
    pub pairs: PathBuf,
    /// The sentence encoder that is to be misled.
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// The columns of the query and of the answer; columns of well-known names where absent.
    #[arg(long, value_name = "QUERY,ANSWER", value_delimiter = ',', num_args = 1)]
    pub columns: Vec<String>,
    /// Further documents: a file of lines, or a table.
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// How negatives are written.
    #[arg(
        long = "as",
        value_enum,
        value_name = "FORM",
        default_value = "triplets"
    )]
    pub form: Form,
    /// Negatives of each query, at most.
    #[arg(long = "negatives", value_name = "N", default_value = "3")]
    pub count: NonZeroUsize,
    /// Ranks to pass over: the nearest documents may be answers that nobody marked.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub range_min: usize,
    /// The rank to stop before.
    #[arg(long, value_name = "N")]
    pub range_max: Option<usize>,
    /// The highest score of a negative.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub max_score: Option<f64>,
    /// The lowest score of a negative.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub min_score: Option<f64>,
    /// How far below the score of the query's lowest answer a negative's must be.
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub absolute_margin: Option<f64>,
    /// The same as a share of that score.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    pub relative_margin: Option<f64>,
    /// Takes any of the candidates, drawn at random by this seed, not the nearest.
    #[arg(long, value_name = "SEED")]
    pub random: Option<u64>,
    /// Where to write.
    #[command(flatten)]
    pub out: Mined,
    /// What may be damaged.
    #[command(flatten)]
    pub tolerance: Tolerance,
    /// How texts are embedded.
    #[command(flatten)]
    pub vectors: TextVectors,
}

/// How hard negatives are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A row for each negative: anchor, positive, negative.
    Triplets,
    /// A row for each positive, with its negatives in columns of their own; without queries that have fewer.
    Tuples,
    /// A row for each document: sentence1, sentence2, label 1 for answers and 0 for negatives.
    Pairs,
}

/// `nearkin mine paraphrases`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nearkin mine paraphrases texts.npy --max-pairs 1000 -o pairs.tsv"
)]
pub struct Paraphrases {
    /// Pairs to write, the most alike first.
    #[arg(long, value_name = "N", default_value = "500")]
    pub max_pairs: NonZeroUsize,
    /// The lowest cosine similarity of a pair.
    #[arg(long, value_name = "COSINE", default_value = "-1", allow_hyphen_values = true, value_parser = cosine)]
    pub min_score: f64,
    /// What is searched; last, since options after it would stand under its headings.
    #[command(flatten)]
    pub texts: MineInput,
}

/// `nearkin mine labels`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin mine labels photos/ --model runs/recipe/model -o suspects.tsv\n  nearkin mine labels vectors.parquet --plant 0.05   how many of labels that were made wrong are found?\n\nThe most suspect come first. A label is suspect where the nearest items of another class agree on it and are nearer than the\nnearest of its own: suspicion is the difference of their cosines. A model that was trained on these labels has learned them,\nwrong ones too: vectors of another model, or of other training data, say more."
)]
pub struct Labels {
    /// Neighbors of each kind that are compared, at most; as many as the class has others where these are fewer.
    #[arg(short = 'k', long, value_name = "K", default_value = "10")]
    pub neighbors: NonZeroUsize,
    /// Suspects to write, at most.
    #[arg(long, value_name = "N", default_value = "100")]
    pub most: NonZeroUsize,
    /// The lowest suspicion that is written; above 0 the other class is nearer than the own.
    #[arg(long, value_name = "DIFFERENCE", default_value = "0", allow_hyphen_values = true, value_parser = cosine)]
    pub min_suspicion: f64,
    /// Makes this share of the labels wrong first and says how many of them are found: what to expect of the list.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub plant: Option<f64>,
    /// What is looked through; last, since options after it would stand under its headings.
    #[command(flatten)]
    pub items: MineInput,
}
