//! The arguments of every command, with the help that teaches them.

mod cluster;
mod compare;
mod degrade;
mod mine;
mod pairs;
mod protocols;
mod report;
mod reproduce;
mod retrieval;
mod sweep;
mod text;

pub use cluster::{Best, Cluster, Distance, Linkage, Method};
pub use compare::Compare;
pub use degrade::Degrade;
pub use mine::{Form, Labels, Mine, MineAction, MineInput, Mined, Negatives, Paraphrases};
pub use pairs::{VerificationPairs, Verify};
pub use protocols::{ItemProtocols, Ranked};
pub use report::{Report, Watch};
pub use reproduce::{Reproduce, ScaleName};
pub use retrieval::RetrievalOptions;
pub use sweep::Sweep;
pub use text::{
    Aggregate, Protocol, Quantize, TextEvaluate, TextInput, TextVectors, only_for_text,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::{NonZeroU16, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Deep metric learning: labeled images or sentences in, an embedding model out, in which near means kin.
#[derive(Debug, Parser)]
#[command(
    name = "nearkin",
    version,
    max_term_width = 100,
    after_help = "First steps:\n  nearkin quickstart                    train and measure on a bundled set, under a minute\n  nearkin init photos/ -o recipe.toml   write a recipe that fits your class folders\n  nearkin train recipe.toml             train; Ctrl-C stops, --resume goes on\n  nearkin search runs/recipe/model photos/ new.jpg\n  nearkin search sentence-transformers/all-MiniLM-L6-v2 texts.txt \"how do I cook rice?\"\n\nExit codes:\n  0    done\n  1    failed while running: data, disk, numbers that are not finite\n  2    the arguments or the recipe are wrong\n  130  stopped by Ctrl-C; training says how to go on"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Prints results as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to compute with; all cores where absent. The same count gives the same bits.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trains on a bundled set and shows what the training was worth.
    Quickstart(Quickstart),
    /// Looks at your data and writes a commented recipe that fits it.
    Init(Init),
    /// Trains a model from a recipe, or straight from data.
    Train(Train),
    /// Trains with every combination of some values, and shows the scores side by side.
    Sweep(Sweep),
    /// Compares losses at the same effort, on classes that neither training nor tuning saw.
    Compare(Compare),
    /// Runs the comparison of a paper again, and says which of its claims hold.
    Reproduce(Reproduce),
    /// Measures a model on labeled data.
    Evaluate(Box<Evaluate>),
    /// Writes a page to look at: curves, scores, a map, neighbors, what is hard.
    Report(Report),
    /// Shows the curves of a run in a browser while it trains.
    Watch(Watch),
    /// Says whether two images are of the same class.
    Verify(Verify),
    /// Turns images, features or texts into vectors.
    Embed(Embed),
    /// Finds the items of a gallery nearest to queries, exactly.
    Search(Search),
    /// Puts items that belong together into clusters: k-means, agglomerative, DBSCAN, HDBSCAN, communities.
    Cluster(Cluster),
    /// Finds hard negatives or paraphrases in texts, and the most alike in images.
    Mine(Mine),
    /// Rewrites the folder of a sentence encoder or cross-encoder so that every program reads it.
    Convert(Convert),
    /// Lists what a recipe can name.
    List(List),
    /// Explains a loss, a miner, a distance, a reducer, a regularizer or a sampler, with numbers.
    Explain(Explain),
    /// Checks a recipe, or shows it with all defaults written out.
    Recipe(Recipe),
}

/// `nearkin quickstart`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nearkin quickstart --out first\n\nThe run lies in the folder: metrics.jsonl with one line a step, checkpoints/, and model/ once it is done.\nStopped by Ctrl-C, it goes on with: nearkin train --resume --out runs/quickstart"
)]
pub struct Quickstart {
    /// Folder of the run.
    #[arg(long, value_name = "DIR", default_value = "runs/quickstart")]
    pub out: PathBuf,
}

/// `nearkin init`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin init photos/ -o recipe.toml   folders of images, each folder a class\n  nearkin init photos.zip               the same in an archive\n  nearkin init list.csv                 a table with columns path, label and, if you like, split\n  nearkin init features.csv             a table of numbers with a column label\n\nPublished data sets are known by their files, in a folder or a zip, and read with the split, cameras and queries they come with:\nLFW, Market-1501, CUHK01, CUHK03, VIPeR, CUB-200-2011, Cars-196, Stanford Online Products, Omniglot."
)]
pub struct Init {
    /// Class folders, a zip of them, a published data set as it comes, a .csv or .tsv table, a .npy matrix, or a bundled set (glyphs, digits).
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// Where to write the recipe; standard output where absent.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `nearkin train`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin train recipe.toml --set loss.triplet_margin.margin=0.3 --set train.steps=2000\n  nearkin train photos/ --budget 10m\n  nearkin train text.toml --seeds 3                        a recipe with [encoder] trains a sentence encoder\n  nearkin train cross.toml                                 one with [cross_encoder] a cross-encoder\n  nearkin train pairs.toml                                 one with [pair_network] a metric of image pairs\n  nearkin train second.toml --set after.train.steps=100    one with after = \"first.toml\" trains both\n  nearkin train --resume --out runs/recipe\n\nA recipe with the key after = \"first.toml\" goes on from the model that this recipe, beside it, trains: that one is trained first,\nin the folder after/ of the run, and --set after.KEY=VALUE changes it. All is looked at before the first step of the first."
)]
pub struct Train {
    /// A recipe (.toml), or data for which `nearkin init` would write one.
    #[arg(value_name = "RECIPE|DATA", required_unless_present = "resume")]
    pub recipe: Option<PathBuf>,
    /// Changes one key of the recipe before it is read; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the run; runs/NAME where absent.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Goes on from the newest checkpoint of the run, bit for bit.
    #[arg(long)]
    pub resume: bool,
    /// Fits the number of steps to this time, such as 90s, 10m or 2h; the recipe's own is the most. The
    /// number is kept in the run, so that --resume needs no budget.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "resume")]
    pub budget: Option<Duration>,
    /// Trains with so many seeds, from the recipe's own on, and shows mean and standard deviation; given
    /// again, what was stopped goes on.
    #[arg(long, value_name = "N", conflicts_with_all = ["resume", "budget", "profile"])]
    pub seeds: Option<NonZeroU16>,
    /// Shows at the end where the time went.
    #[arg(long)]
    pub profile: bool,
}

/// `nearkin evaluate`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin evaluate runs/recipe/model                  on the classes that its recipe held out\n  nearkin evaluate runs/recipe/model --data more.zip  on other labeled images\n  nearkin evaluate runs/faces/model --data faces.zip --protocol verification --pairs pairs.txt\n  nearkin evaluate runs/faces/model --degrade jpeg=10,30,90 --degrade pixels=1600,6400\n  nearkin evaluate runs/people/model --data people.csv --protocol reid --ranking k-reciprocal\n  nearkin evaluate runs/tiles/model --protocol few-shot\n  nearkin evaluate runs/tiles/model --protocol clustering\n  nearkin evaluate vectors.parquet --at 1,10,100      vectors with labels, from anywhere\n  nearkin evaluate new.npy --against old.npy          which is better, query by query\n  nearkin evaluate vectors.npy --compressions         what int8, bits, a cut and HNSW lose of exact search\n  nearkin evaluate all-MiniLM-L6-v2/ --data sts-test.tsv --protocol sts\n  nearkin evaluate cross-encoder/ --data sts-test.tsv --protocol sts\n  nearkin evaluate tfidf --data quora-dev.tsv --protocol pairs\n  nearkin evaluate glove.6B.300d.txt --data sts-test.tsv --protocol sts\n  nearkin evaluate bert-base-uncased/ --pooling cls --data sts-test.tsv --protocol sts\n  nearkin evaluate all-MiniLM-L6-v2/ --data sts-2012.tsv --protocol sts --aggregate mean --by subset\n  nearkin evaluate all-MiniLM-L6-v2/ --data trec-test.tsv --train trec-train.tsv --protocol senteval\n  nearkin evaluate runs/sbert-nli/model --data nli-dev.tsv --protocol classification\n\nOf images every item searches all others. `nearkin list metrics` defines the columns."
)]
pub struct Evaluate {
    /// A model folder: of nearkin, or of a sentence encoder or cross-encoder; a text file of word vectors, which are
    /// averaged; tfidf for the baseline that compares words; or a file of vectors with labels (.npy, .safetensors, .parquet,
    /// .jsonl), from anywhere.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Labeled data, of which the test part is measured where it names one, and else all; the test part of the model's own
    /// recipe where absent. Texts: a table.
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// What is measured; needed for texts.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Option<Protocol>,
    /// What may be damaged.
    #[command(flatten)]
    pub tolerance: Tolerance,
    /// How pairs are measured.
    #[command(flatten)]
    pub verification: VerificationPairs,
    /// How labeled items are measured.
    #[command(flatten)]
    pub items: ItemProtocols,
    /// How retrieval is measured.
    #[command(flatten)]
    pub retrieval: RetrievalOptions,
    /// How texts are measured.
    #[command(flatten)]
    pub text: TextEvaluate,
    /// How texts are embedded.
    #[command(flatten)]
    pub vectors: TextVectors,
}

/// What of the input may be damaged.
#[derive(Clone, Debug, Args)]
pub struct Tolerance {
    /// Share of the images or rows, from 0 to 1, that may be damaged and are then left out; as the model's recipe says
    /// (data.damaged) where absent, and none for texts.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub damaged: Option<f64>,
}

/// `nearkin embed`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin embed runs/recipe/model photos/ -o vectors.npy   ids and classes beside it, one a line\n  nearkin embed runs/recipe/model new.jpg -o new.jsonl     ids and classes on each line\n  nearkin embed all-MiniLM-L6-v2/ texts.txt -o texts.npy   one text a line; the texts beside it\n  nearkin embed all-MiniLM-L6-v2/ quora.tsv --column question1 --quantize int8 -o quora.parquet\n  nearkin embed all-MiniLM-L6-v2/ new.txt --quantize int8 --calibration texts.npy -o new.npy\n\nA run over texts that was stopped goes on where it was when it is started again."
)]
pub struct Embed {
    /// A model folder: of nearkin, or of a sentence encoder; or a text file of word vectors.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Images or features: a folder, one image, a zip, a table, a matrix, or a bundled set. For a sentence encoder a file with
    /// a text on each line, a table, or - for lines of standard input.
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// The file to write: .npy, .safetensors, .parquet or .jsonl.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What may be damaged.
    #[command(flatten)]
    pub tolerance: Tolerance,
    /// Where the texts are.
    #[command(flatten)]
    pub text: TextInput,
    /// How texts are embedded.
    #[command(flatten)]
    pub vectors: TextVectors,
    /// Text: bytes or packed bits in place of floats, as sentence-transformers makes them; the ranges of bytes are those of
    /// all the vectors written, or of --calibration.
    #[arg(long, value_enum, value_name = "TO", help_heading = "Text")]
    pub quantize: Option<Quantize>,
    /// Text: a file of vectors whose smallest and largest numbers are the ranges of bytes, so that bytes of several files can be
    /// compared; two rows can be the ranges themselves.
    #[arg(
        long,
        value_name = "VECTORS",
        requires = "quantize",
        help_heading = "Text"
    )]
    pub calibration: Option<PathBuf>,
}

/// `nearkin search`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin search runs/recipe/model photos/ new.jpg         the five images most like it\n  nearkin search runs/recipe/model vectors.npy new/ -k 1   vectors embedded before, many queries\n  nearkin search all-MiniLM-L6-v2/ texts.npy \"how do I cook rice?\"\n  nearkin search all-MiniLM-L6-v2/ quora.tsv questions.txt --column question1 --json\n  nearkin search all-MiniLM-L6-v2/ texts.npy \"how do I cook rice?\" --rerank cross-encoder/"
)]
pub struct Search {
    /// A model folder: of nearkin, or of a sentence encoder; or a text file of word vectors.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// What is searched: images, features, texts, or a file that `nearkin embed` has written.
    #[arg(value_name = "GALLERY")]
    pub gallery: PathBuf,
    /// What is looked for: likewise, or a single image. For a sentence encoder a file of texts, or else the text itself.
    #[arg(value_name = "QUERY")]
    pub query: PathBuf,
    /// Neighbors of each query.
    #[arg(short, long, value_name = "K", default_value = "5")]
    pub k: NonZeroUsize,
    /// What may be damaged.
    #[command(flatten)]
    pub tolerance: Tolerance,
    /// Where the texts are.
    #[command(flatten)]
    pub text: TextInput,
    /// How texts are embedded.
    #[command(flatten)]
    pub vectors: TextVectors,
    /// A cross-encoder that reads each query together with the best that were found, and ranks these anew.
    #[arg(long, value_name = "MODEL", help_heading = "Text")]
    pub rerank: Option<PathBuf>,
    /// How many of the best the cross-encoder reads, for each query.
    #[arg(long, value_name = "N", default_value = "50", help_heading = "Text")]
    pub candidates: NonZeroUsize,
}

/// `nearkin convert`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nearkin convert saved-by-5.4/ for-tei/\n\nAny form of sentence-transformers, of transformers and of model2vec is read; written is the form of before 5.4, which\nall versions of sentence-transformers and text-embeddings-inference load. Numbers become F32."
)]
pub struct Convert {
    /// The model folder to read, or a name on the hub.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The folder to write; it must not be there yet, or be empty.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
}

/// `nearkin list`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nearkin list losses --json")]
pub struct List {
    /// What to list.
    #[arg(value_enum)]
    pub what: Listed,
    /// Prints the reference page of the losses as Markdown.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// What `nearkin list` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// What training minimizes.
    Losses,
    /// Which pairs or triplets count.
    Miners,
    /// How far two embeddings are apart.
    Distances,
    /// How the terms of a batch become one number.
    Reducers,
    /// Penalties on embeddings or on class proxies.
    Regularizers,
    /// How batches are drawn.
    Samplers,
    /// From inputs to features.
    Networks,
    /// How gradients move the weights.
    Optimizers,
    /// How good embeddings are.
    Metrics,
}

/// `nearkin explain`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin explain loss triplet_margin\n  nearkin explain miner semi_hard --json\n  nearkin explain sampler identities"
)]
pub struct Explain {
    /// What kind of thing it is.
    #[arg(value_enum)]
    pub what: Explained,
    /// Its name in a recipe; `nearkin list` shows them.
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// What `nearkin explain` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Explained {
    /// What training minimizes.
    Loss,
    /// Which pairs or triplets count.
    Miner,
    /// How far two embeddings are apart.
    Distance,
    /// How the terms of a batch become one number.
    Reducer,
    /// Penalties on embeddings or on class proxies.
    Regularizer,
    /// How batches are drawn.
    Sampler,
}

impl Explained {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Miner => "miner",
            Self::Distance => "distance",
            Self::Reducer => "reducer",
            Self::Regularizer => "regularizer",
            Self::Sampler => "sampler",
        }
    }
}

/// `nearkin recipe`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nearkin recipe check recipe.toml\n  nearkin recipe show recipe.toml --set train.steps=2000"
)]
pub struct Recipe {
    /// What to do with it.
    #[command(subcommand)]
    pub action: RecipeAction,
}

/// The actions on recipes.
#[derive(Debug, Subcommand)]
pub enum RecipeAction {
    /// Says whether a recipe can run: keys, ranges, data, network, batches; likewise those that it goes on from (after).
    Check(RecipeFile),
    /// Prints the recipe with every default written out.
    Show(RecipeFile),
}

/// A recipe with changes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nearkin recipe show recipe.toml --set train.steps=2000")]
pub struct RecipeFile {
    /// The recipe.
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Changes one key before the recipe is read; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A share such as `0.05`.
fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0..=1.0)
}

/// A cosine similarity.
fn cosine(text: &str) -> Result<f64, String> {
    number(text, -1.0..=1.0)
}

/// A distance.
fn non_negative(text: &str) -> Result<f64, String> {
    number(text, 0.0..=f64::MAX)
}

/// Any score of a model.
fn score(text: &str) -> Result<f64, String> {
    number(text, f64::MIN..=f64::MAX)
}

/// A number of a range, so neither NaN nor infinite.
fn number(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let found = text.parse().ok().filter(|found| range.contains(found));
    found.ok_or_else(|| match (*range.start(), *range.end()) {
        (f64::MIN, _) => "expected a finite number".to_owned(),
        (low, f64::MAX) => format!("expected a number of at least {low}"),
        (low, high) => format!("expected a number from {low} to {high}"),
    })
}

/// A time such as `90s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!("\"{text}\" is no time, expected a number with s, m or h, such as 90s, 10m or 1.5h")
    };
    let (unit, seconds) = match text.chars().last() {
        Some('s') => ('s', 1.0),
        Some('m') => ('m', 60.0),
        Some('h') => ('h', 3600.0),
        _ => return Err(expected()),
    };
    let number = text.strip_suffix(unit).map(str::parse::<f64>);
    let number = number.and_then(Result::ok).ok_or_else(expected)?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| expected())?;
    if time.is_zero() {
        Err(expected())
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn numbers_are_of_their_range() {
        assert_eq!(share("0.05"), Ok(0.05));
        for wrong in ["", "5%", "-0.1", "1.1", "NaN", "inf"] {
            let message = share(wrong).unwrap_err();
            assert_eq!(message, "expected a number from 0 to 1", "{wrong}");
        }
        assert_eq!((cosine("-1"), non_negative("9")), (Ok(-1.0), Ok(9.0)));
        for wrong in ["-1", "nan", "inf"] {
            let message = non_negative(wrong).unwrap_err();
            assert_eq!(message, "expected a number of at least 0", "{wrong}");
        }
        assert_eq!(cosine("nan").unwrap_err(), "expected a number from -1 to 1");
        assert_eq!(score("-7"), Ok(-7.0));
        for wrong in ["-inf", "NaN", "1e999", "x"] {
            assert_eq!(score(wrong).unwrap_err(), "expected a finite number");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_mins(90)));
        for wrong in [
            "", "10", "m", "-3s", "0s", "1x", "1ss", "NaNs", "infs", "1e300h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
