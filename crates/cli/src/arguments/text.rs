//! Arguments of the commands on text.

use clap::{Args, ValueEnum};
use nearkin::quantize::Precision;
use nearkin::text::recipe::PoolingMode;
use nearkin::text::table::Format;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Where texts are in a table.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Text")]
pub struct TextInput {
    /// The column of a table that holds the texts; where absent, text, or the only one that is called sentence or question.
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// The column that names the rows in what is written or shown; the text itself where absent.
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// What the file holds, where its extension does not say it.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<TextFormat>,
}

impl TextInput {
    /// The first of these options that was given.
    fn given(&self) -> Option<&'static str> {
        let named = self.column.is_some().then_some("--column");
        let id = self.id.is_some().then_some("--id");
        named.or(id).or(self.format.is_some().then_some("--format"))
    }
}

/// The first option given that means nothing to a model of images or features.
pub fn only_for_text(input: Option<&TextInput>, vectors: &TextVectors) -> Option<&'static str> {
    input.and_then(TextInput::given).or_else(|| vectors.given())
}

/// The formats of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// One text a line.
    Lines,
    /// Tab-separated with a header.
    Tsv,
    /// Comma-separated with a header.
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// Parquet.
    Parquet,
}

impl From<TextFormat> for Format {
    fn from(format: TextFormat) -> Self {
        match format {
            TextFormat::Lines => Self::Lines,
            TextFormat::Tsv => Self::Tsv,
            TextFormat::Csv => Self::Csv,
            TextFormat::Jsonl => Self::Jsonl,
            TextFormat::Parquet => Self::Parquet,
        }
    }
}

/// How texts are embedded.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Text")]
pub struct TextVectors {
    /// The prompt of the model that is put before every text, by its name.
    #[arg(long, value_name = "NAME")]
    pub prompt: Option<String>,
    /// A prompt of your own, put before every text as it is.
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt")]
    pub prompt_text: Option<String>,
    /// How vectors of tokens become a text's, side by side where several, in place of the model's own pooling.
    #[arg(long, value_enum, value_name = "MODE", value_delimiter = ',')]
    pub pooling: Vec<Pooling>,
    /// Keeps only the first numbers of each vector.
    #[arg(long, value_name = "N")]
    pub dim: Option<NonZeroUsize>,
    /// Scales vectors to unit length, after they were cut.
    #[arg(long)]
    pub normalize: bool,
    /// In what a Transformer's products are computed: in bytes they are faster where the processor has AVX2 or AVX-512's VNNI, and
    /// the vectors are nearly the same.
    #[arg(long, value_enum, value_name = "NUMBERS", default_value_t)]
    pub compute: Compute,
}

impl TextVectors {
    /// The first of these options that was given.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (self.prompt.is_some(), "--prompt"),
            (self.prompt_text.is_some(), "--prompt-text"),
            (!self.pooling.is_empty(), "--pooling"),
            (self.dim.is_some(), "--dim"),
            (self.normalize, "--normalize"),
            (self.compute != Compute::F32, "--compute"),
        ];
        given.iter().find(|(is, _)| *is).map(|(_, name)| *name)
    }
}

/// Ways from vectors of tokens to a text's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooling {
    /// The vector of the first token.
    Cls,
    /// The largest number of each component.
    Max,
    /// The mean.
    Mean,
    /// The sum over the root of the count.
    MeanSqrtLen,
    /// The mean, weighted by the place.
    WeightedMean,
    /// The vector of the last token.
    Last,
}

impl From<Pooling> for PoolingMode {
    fn from(pooling: Pooling) -> Self {
        match pooling {
            Pooling::Cls => Self::Cls,
            Pooling::Max => Self::Max,
            Pooling::Mean => Self::Mean,
            Pooling::MeanSqrtLen => Self::MeanSqrtLen,
            Pooling::WeightedMean => Self::WeightedMean,
            Pooling::Last => Self::Last,
        }
    }
}

/// In what products are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Compute {
    /// 32-bit floats.
    #[default]
    F32,
    /// Bytes.
    Int8,
}

impl From<Compute> for nearkin::text::encoder::Compute {
    fn from(compute: Compute) -> Self {
        match compute {
            Compute::F32 => Self::F32,
            Compute::Int8 => Self::Int8,
        }
    }
}

/// What vectors may be made of in place of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quantize {
    /// A signed byte a number.
    Int8,
    /// An unsigned byte a number.
    Uint8,
    /// A bit a number, eight in a signed byte.
    Binary,
    /// A bit a number, eight in an unsigned byte.
    Ubinary,
}

impl From<Quantize> for Precision {
    fn from(to: Quantize) -> Self {
        match to {
            Quantize::Int8 => Self::Int8,
            Quantize::Uint8 => Self::Uint8,
            Quantize::Binary => Self::Binary,
            Quantize::Ubinary => Self::Ubinary,
        }
    }
}

/// How a sentence encoder is measured.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Text")]
pub struct TextEvaluate {
    /// What the columns are, as a recipe says it, such as 'scored={first="a",second="b",score="s",high=5}'; where absent,
    /// columns of well-known names are taken.
    #[arg(long, value_name = "TOML")]
    pub rows: Option<String>,
    /// Only rows whose column has this value, or one of a TOML list of values; may be repeated.
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub filter: Vec<String>,
    /// sts: how the correlations of subsets become one.
    #[arg(long, value_enum, value_name = "HOW", requires = "by")]
    pub aggregate: Option<Aggregate>,
    /// sts: the column that tells subsets apart.
    #[arg(long, value_name = "COLUMN", requires = "aggregate")]
    pub by: Option<String>,
    /// pairs, senteval: folds; thresholds or classifiers are made on the others.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..), conflicts_with = "topics")]
    pub folds: Option<u16>,
    /// pairs, senteval: a fold for each value of this column.
    #[arg(long, value_name = "COLUMN")]
    pub topics: Option<String>,
    /// ir: further texts among which answers are looked for, a file of lines or a table.
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// senteval: the table to fit classifiers to, in place of folds.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["folds", "topics"])]
    pub train: Option<PathBuf>,
    /// senteval: the table to choose the penalty on, beside --train.
    #[arg(long, value_name = "TABLE", requires = "train")]
    pub validation: Option<PathBuf>,
}

impl TextEvaluate {
    /// What the first of these options goes with, where another protocol than that is measured.
    pub fn misplaced(&self, protocol: Option<Protocol>) -> Option<String> {
        let sts = (protocol == Some(Protocol::Sts), "sts");
        let ir = (protocol == Some(Protocol::Ir), "ir");
        let senteval = (protocol == Some(Protocol::Senteval), "senteval");
        let folded = protocol == Some(Protocol::Pairs) || senteval.0;
        let folded = (folded, "pairs and senteval");
        let texts = protocol.is_some_and(Protocol::is_of_texts);
        let texts = (texts, Protocol::OF_TEXTS);
        let given = [
            (self.rows.is_some(), "--rows", texts),
            (!self.filter.is_empty(), "--filter", texts),
            (self.aggregate.is_some(), "--aggregate", sts),
            (self.by.is_some(), "--by", sts),
            (self.folds.is_some(), "--folds", folded),
            (self.topics.is_some(), "--topics", folded),
            (self.corpus.is_some(), "--corpus", ir),
            (self.train.is_some(), "--train", senteval),
            (self.validation.is_some(), "--validation", senteval),
        ];
        let misplaced = given.iter().find(|(is, _, (fits, _))| *is && !fits);
        misplaced.map(|(_, option, (_, of))| {
            let instead = match *option {
                "--topics" if sts.0 => {
                    "; sts has the mean over topics by --aggregate mean --by COLUMN"
                }
                _ => "",
            };
            format!("{option} goes with --protocol {of}{instead}")
        })
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Images and features: does every item find its own class? What is measured where nothing is said.
    Retrieval,
    /// Images and features: are two items of the same class?
    Verification,
    /// Images with cameras: CMC, mAP and mINP over the whole gallery, and CMC over one item an identity.
    Reid,
    /// Images and features: rank-1 among known identities, and DIR@FAR where some are unknown.
    Identification,
    /// Images and features: k-NN accuracy, balanced accuracy, silhouette and Davies–Bouldin of the classes.
    FewShot,
    /// Images and features: is the positive nearer than 1 and than 71 negatives?
    NWay,
    /// Images and features: agreement of k-means with the classes (NMI, AMI, ARI, B-cubed), and how the vectors lie:
    /// silhouette, alignment, uniformity, hubs.
    Clustering,
    /// Semantic textual similarity: correlation with scores.
    Sts,
    /// Pairs of two classes: average precision, best F1 and accuracy.
    Pairs,
    /// Pairs of classes: accuracy and macro F1 of the head that was trained with the model (`[loss.softmax_classification]`), or of
    /// a cross-encoder.
    Classification,
    /// Is the anchor closer to the positive?
    Triplets,
    /// Do the first texts of pairs find the second ones?
    Ir,
    /// Accuracy of a linear classifier on the vectors.
    Senteval,
}

impl Protocol {
    /// Those of texts, in words.
    pub const OF_TEXTS: &str = "sts, pairs, classification, triplets, ir or senteval";

    /// Whether it measures models of texts.
    pub fn is_of_texts(self) -> bool {
        matches!(
            self,
            Self::Sts
                | Self::Pairs
                | Self::Classification
                | Self::Triplets
                | Self::Ir
                | Self::Senteval
        )
    }
}

/// How subsets become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Aggregate {
    /// One correlation over all pairs together.
    All,
    /// The mean of the subsets' correlations.
    Mean,
    /// The mean weighted by the subsets' pairs.
    Wmean,
}
