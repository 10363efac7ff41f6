//! Embedding a text file or a column of a table into a file of vectors, of any length within the same memory.
//!
//! ```
//! # use nearkin_encoder::text::{Module, Placed, SentenceEncoder, Settings, StaticEmbedding, Tokenizer};
//! # use nearkin_encoder::{parameters::Scope, stored::Stored, weights, Device, Tensor};
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb")?;
//! # let table = [("embedding.weight".to_owned(), Tensor::arange(0f32, 21.0, &Device::Cpu)?.reshape((7, 3))?)];
//! # weights::write(&table.into_iter().collect(), &folder.path().join("model.safetensors"))?;
//! # let tokenizer = Tokenizer::read(folder.path())?;
//! # let table = StaticEmbedding::new(&Scope::stored(Stored::open(&folder.path().join("model.safetensors"))?, 0))?;
//! # let module = Placed { module: Module::Static(table), path: String::new(), parameters: Default::default() };
//! # let encoder = SentenceEncoder::new(tokenizer, vec![module], Settings::default())?;
//! # let path = |name: &str| folder.path().join(name);
//! # std::fs::write(path("texts.txt"), "a b\nb\n")?;
//! use nearkin::text::{TextTable, embed::{Job, Options, embed_file}};
//! // let encoder = SentenceEncoder::load("all-MiniLM-L6-v2".as_ref())?;
//! let texts = TextTable::new(path("texts.txt"));
//! let job = Job { texts: &texts, column: "text", id: None, output: &path("vectors.npy") };
//! let written = embed_file(&encoder, job, &Options::default(), &mut |done| println!("{done} texts"))?;
//! assert_eq!((written.rows, written.dim), (2, 3));
//! assert_eq!(nearkin::vectors::read(&path("vectors.npy"))?.data, [16.5, 17.5, 18.5, 18.0, 19.0, 20.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::Path;

use nearkin_encoder::text::{self, Embedder, SentenceEncoder, Settings};
use nearkin_kernels::Mat;

use super::source::Source;
use super::table::{Damage, RowReader, TextTable};
use crate::error::{Error, Result};
use crate::quantize::{self, Precision, QuantizeError, Ranges};
use crate::vectors::{self, Element, Numbers, Spool, VectorsError};

/// Texts that are embedded and kept together.
const TEXTS: usize = 1 << 12;
/// Their bytes: where texts are long, fewer of them are held.
const BYTES: usize = 1 << 22;
/// Rows that are read again at a time.
const BLOCK: usize = 1 << 12;
/// How far a vector may differ from the same one embedded in other company.
const SAME: f32 = 1e-3;

/// From which file into which.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where the texts are.
    pub texts: &'a TextTable,
    /// The column that holds them; `text` in a file of lines.
    pub column: &'a str,
    /// The column that names the rows; the text itself where absent.
    pub id: Option<&'a str>,
    /// The file to write: `.npy`, `.safetensors`, `.parquet` or `.jsonl`.
    pub output: &'a Path,
}

/// How texts are embedded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Prompt, length and norm of the vectors.
    pub encoding: text::Options,
    /// Bytes or bits in place of floats.
    pub precision: Option<Precision>,
    /// The ranges of bytes, beyond which numbers are the smallest and the largest byte; those of all the vectors written where absent.
    pub ranges: Option<Ranges>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Texts.
    pub rows: usize,
    /// Numbers of each vector in the file.
    pub dim: usize,
    /// Texts of which an earlier, stopped run had the vectors.
    pub resumed: usize,
    /// Tokens that were embedded.
    pub tokens: usize,
    /// Rows that were left out.
    pub damage: Damage,
}

/// What a text is to the search, which decides the prompt where none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Neither: the model's default prompt.
    #[default]
    Text,
    /// What is looked for: the prompt `query`.
    Query,
    /// What is searched: the prompt `document`, `passage` or `corpus`.
    Document,
}

impl Role {
    /// The prompt of a text in this role: that of its name, else the model's default one, else none.
    pub fn prompt(self, settings: &Settings) -> Option<String> {
        let names: &[&str] = match self {
            Self::Text => &[],
            Self::Query => &["query"],
            Self::Document => &["document", "passage", "corpus"],
        };
        let default = settings.default_prompt.as_deref();
        let prompt = |name: &str| settings.prompt(name).ok().map(str::to_owned);
        names.iter().copied().chain(default).find_map(prompt)
    }
}

/// How many texts there are that can be used: a look at all of them before the work.
///
/// # Errors
/// The table cannot be read, more rows are damaged than it allows, or the output has no room for the names of all.
pub fn count(job: Job) -> Result<usize> {
    let mut texts = Texts::open(job)?;
    let (mut count, mut bytes) = (0, 0);
    while let Some((_, name)) = texts.next()? {
        count += 1;
        bytes += vectors::id_bytes(&name);
        vectors::check_ids(job.output, count, bytes)?;
    }
    texts.rows.finish()?;
    Ok(count)
}

/// Embeds texts into a file; `progress` is told how many are done.
///
/// Memory holds a few thousand texts and their vectors, whatever the length of the input. The vectors are kept beside the
/// output until it is whole (see [`Spool`]): a run that was stopped goes on where it was, and the file has the same bytes as
/// if it had not been stopped.
///
/// # Errors
/// The texts cannot be read, more of them are damaged than allowed, the output cannot be written, or what an earlier run kept
/// is of other texts or of another model; the ranges of bytes are of vectors of another length.
pub fn embed_file(
    encoder: &SentenceEncoder,
    job: Job,
    options: &Options,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Written> {
    if let Some(ranges) = &options.ranges {
        // Before the work, not after it.
        let dim = (options.encoding.truncate_dim).or(encoder.settings.truncate_dim);
        ranges.check(dim.unwrap_or(encoder.dim()))?;
    }
    let mut spool = Spool::open(job.output)?;
    let mut texts = Texts::open(job)?;
    let resumed = spool.rows();
    texts.pass_over(&mut spool, encoder, options)?;
    progress(resumed);
    let mut tokens = 0;
    // Weights are packed once for all parts, where there is more than one.
    let mut embedder = None;
    while let Some(part) = texts.part()? {
        let done = spool.rows();
        let told = &mut |more| progress(done + more);
        let encoding = if done == 0 && part.texts.len() < TEXTS {
            encoder.encode(&part.texts, &options.encoding, told)?
        } else {
            let packed = match &embedder {
                Some(packed) => packed,
                None => embedder.insert(Embedder::new(encoder, options.encoding.clone())?),
            };
            packed.encode(&part.texts, told)?
        };
        spool.append(&part.names, &encoding.numbers, encoding.dim)?;
        // The last part has its file in a moment.
        if part.is_full {
            spool.keep(&texts.source.name(encoder, &options.encoding)?)?;
        }
        tokens += encoding.tokens;
    }
    let damage = texts.rows.finish()?;
    let rows = spool.rows();
    let dim = finish(spool, options)?;
    Ok(Written {
        rows,
        dim,
        resumed,
        tokens,
        damage,
    })
}

/// Texts on their way from a table.
struct Texts<'a> {
    job: Job<'a>,
    rows: RowReader<'a>,
    fields: Vec<String>,
    source: Source,
}

/// Some texts and their names.
#[derive(Default)]
struct Part {
    texts: Vec<String>,
    names: Vec<String>,
    /// Whether there may be more.
    is_full: bool,
}

impl<'a> Texts<'a> {
    fn open(job: Job<'a>) -> Result<Self> {
        let columns: Vec<&str> = [job.column].into_iter().chain(job.id).collect();
        let rows = job.texts.rows(&columns)?;
        Ok(Self {
            job,
            rows,
            fields: Vec::new(),
            source: Source::default(),
        })
    }

    /// The next text and its name.
    fn next(&mut self) -> Result<Option<(String, String)>> {
        if !self.rows.read_row(&mut self.fields)? {
            return Ok(None);
        }
        let name = self
            .fields
            .last()
            .map(|name| name.replace(['\n', '\r'], " "));
        let text = std::mem::take(&mut self.fields[0]);
        self.source.push(&text);
        Ok(Some((text, name.unwrap_or_default())))
    }

    /// The texts that are embedded together: the same ones, wherever a run begins.
    fn part(&mut self) -> Result<Option<Part>> {
        let (mut part, mut bytes) = (Part::default(), 0);
        while part.texts.len() < TEXTS && bytes < BYTES {
            let Some((text, name)) = self.next()? else {
                break;
            };
            bytes += text.len();
            part.texts.push(text);
            part.names.push(name);
        }
        part.is_full = part.texts.len() == TEXTS || bytes >= BYTES;
        // The first damaged row ends a run that allows none, not the hours after it.
        if self.rows.damage().rows > 0 && self.job.texts.damaged.exact() == 0.0 {
            let again = self.job.texts.rows(&[self.job.column])?;
            std::mem::replace(&mut self.rows, again).finish()?;
        }
        Ok((!part.texts.is_empty()).then_some(part))
    }

    /// Passes over the texts that an earlier run embedded, after a look at whether they are the same.
    fn pass_over(
        &mut self,
        spool: &mut Spool,
        encoder: &SentenceEncoder,
        options: &Options,
    ) -> Result<()> {
        let output = self.job.output;
        let other = |what: &str| {
            let name = output.file_name().unwrap_or_default().to_string_lossy();
            Error::Run {
                path: output.with_file_name(format!("{name}.partial")),
                reason: format!(
                    "an earlier run left vectors here, but {what}; remove {name}.partial* to start anew"
                ),
            }
        };
        for (row, kept) in spool.names()?.take(spool.rows()).enumerate() {
            let kept = kept?;
            let Some((text, name)) = self.next()? else {
                return Err(other("the input has fewer texts now"));
            };
            if name != kept {
                return Err(other(&format!(
                    "text {} of the input was another then",
                    row + 1
                )));
            }
            if row == 0 {
                let now = encoder
                    .encode(&[text], &options.encoding, &mut |_| {})?
                    .numbers;
                let then = spool.read(0..1)?;
                let apart = |(a, b): (&f32, &f32)| (a - b).abs() > SAME;
                if now.len() != then.len() || now.iter().zip(&then).any(apart) {
                    return Err(other(
                        "of another model, prompt or length, or computed otherwise",
                    ));
                }
            }
        }
        if spool.rows() > 0 && spool.source() != self.source.name(encoder, &options.encoding)? {
            return Err(other(
                "of another text among the first ones, or of a model with other weights",
            ));
        }
        Ok(())
    }
}

/// Writes the file; the numbers of a row in it.
fn finish(mut spool: Spool, options: &Options) -> Result<usize> {
    let dim = spool.dim();
    let Some(precision) = options.precision else {
        let floats = &mut |rows: &[f32]| Ok(Numbers::F32(rows.to_vec().into()));
        spool.finish((dim, Element::F32), floats)?;
        return Ok(dim);
    };
    let output = spool.target().to_owned();
    let ranges = match (precision, &options.ranges) {
        (Precision::Binary | Precision::Ubinary, _) => Ranges::none(dim),
        (Precision::Int8 | Precision::Uint8, Some(given)) => given.clone(),
        (Precision::Int8 | Precision::Uint8, None) => ranges(&mut spool)?,
    };
    let (width, element) = match precision {
        Precision::Int8 => (dim, Element::I8),
        Precision::Uint8 => (dim, Element::U8),
        Precision::Binary => (dim.div_ceil(8), Element::I8),
        Precision::Ubinary => (dim.div_ceil(8), Element::U8),
    };
    let quantize = |rows: Mat| match precision {
        Precision::Int8 => quantize::int8(rows, &ranges).map(Numbers::I8),
        Precision::Uint8 => quantize::uint8(rows, &ranges).map(Numbers::U8),
        Precision::Binary => quantize::binary(rows).map(Numbers::I8),
        Precision::Ubinary => quantize::ubinary(rows).map(Numbers::U8),
    };
    let bytes = &mut |rows: &[f32]| {
        let quantized = quantize(Mat::new(rows, rows.len() / dim, dim));
        quantized.map_err(|error| VectorsError::Write {
            path: output.clone(),
            reason: error.to_string(),
        })
    };
    spool.finish((width, element), bytes)?;
    Ok(width)
}

/// The ranges of all vectors.
fn ranges(spool: &mut Spool) -> Result<Ranges> {
    let (rows, dim) = (spool.rows(), spool.dim());
    if rows < 2 {
        return Err(QuantizeError::TooFew { found: rows }.into());
    }
    let mut ranges = Ranges::none(dim);
    for start in (0..rows).step_by(BLOCK) {
        let block = start..rows.min(start + BLOCK);
        let numbers = spool.read(block.clone())?;
        ranges.widen(Mat::new(&numbers, block.len(), dim))?;
    }
    Ok(ranges)
}
