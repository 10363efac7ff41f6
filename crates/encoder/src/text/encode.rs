//! Embedding many texts: tokens in parallel, batches of like lengths, the order restored.

use super::frozen::{Compute, Frozen};
use super::module::Module;
use super::packed::{Packed, Tokens};
use super::pass::Pass;
use super::sentence_encoder::SentenceEncoder;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::op;
use rayon::prelude::*;
use std::sync::Mutex;

/// Texts that are tokenized at a time.
pub(super) const TOKENIZED: usize = 1 << 12;

/// Texts from which on packing the weights for them pays.
pub(super) const MANY: usize = 48;

/// How texts are embedded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Put before every text.
    pub prompt: Option<String>,
    /// Tokens of a batch, of which each thread has one at a time: memory follows it. A longer text is a batch of its own.
    pub tokens: usize,
    /// Numbers of a vector; all where absent.
    pub truncate_dim: Option<usize>,
    /// Whether vectors are scaled to unit length at the end, after truncation.
    pub normalize: bool,
    /// In what products are computed.
    pub compute: Compute,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prompt: None,
            tokens: 512,
            truncate_dim: None,
            normalize: false,
            compute: Compute::F32,
        }
    }
}

/// Vectors of texts.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    /// `[texts, dim]`, row by row.
    pub numbers: Vec<f32>,
    /// Length of a vector.
    pub dim: usize,
    /// Tokens that were embedded, special tokens included.
    pub tokens: usize,
}

impl SentenceEncoder {
    /// Embeds texts; `progress` is told how many are done.
    ///
    /// Many texts at once are embedded with weights that are packed for it, by an [`Embedder`] that is made for this call.
    ///
    /// # Errors
    /// The tokenizer refuses a text, the vectors are to be longer than the encoder's, or its products cannot be computed in bytes.
    pub fn encode(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &Options,
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Encoding> {
        let pays = texts.len() >= MANY || options.compute != Compute::F32;
        let embedder = Embedder::prepare(self, options.clone(), pays)?;
        embedder.encode(texts, progress)
    }

    fn tokenize_prompted(
        &self,
        texts: &[impl AsRef<str> + Sync],
        prompt: Option<&str>,
    ) -> Result<Vec<Tokens>> {
        match prompt.filter(|prompt| !prompt.is_empty()) {
            None => self.tokenize(texts),
            Some(prompt) => {
                let prompted: Vec<String> = texts
                    .iter()
                    .map(|text| format!("{prompt}{}", text.as_ref()))
                    .collect();
                self.tokenize(&prompted)
            }
        }
    }

    /// Tokens that a pooling without prompts leaves out: the prompt's, with the special token before it.
    fn prompt_tokens(&self, prompt: Option<&str>) -> Result<usize> {
        let leaves_out =
            |module: &Module| matches!(module, Module::Pooling(p) if !p.include_prompt);
        let prompt = prompt.filter(|prompt| !prompt.is_empty());
        let Some(prompt) = prompt.filter(|_| self.modules().iter().any(|m| leaves_out(&m.module)))
        else {
            return Ok(0);
        };
        // The special token at the end is not part of what stands before the text.
        let tokens = self.tokenize(&[prompt])?;
        Ok(tokens[0].ids.len().saturating_sub(1))
    }
}

/// An encoder whose weights are packed for many calls that embed in the same way, which takes the memory of its layers once more
/// (a quarter of it in bytes).
///
/// ```no_run
/// use nearkin_encoder::text::{Compute, Embedder, Options, SentenceEncoder};
/// let encoder = SentenceEncoder::load("model".as_ref())?;
/// let embedder = Embedder::new(&encoder, Options { compute: Compute::Int8, ..Options::default() })?;
/// let vectors = embedder.encode(&["one text", "another"], &mut |_| {})?.numbers;
/// # Ok::<(), nearkin_encoder::Error>(())
/// ```
pub struct Embedder<'a> {
    encoder: &'a SentenceEncoder,
    frozen: Option<Frozen<'a>>,
    options: Options,
    dim: usize,
}

impl<'a> Embedder<'a> {
    /// Packs the weights.
    ///
    /// # Errors
    /// The vectors are to be longer than the encoder's, or its products cannot be computed in bytes.
    pub fn new(encoder: &'a SentenceEncoder, options: Options) -> Result<Self> {
        Self::prepare(encoder, options, true)
    }

    fn prepare(encoder: &'a SentenceEncoder, options: Options, packed: bool) -> Result<Self> {
        let settings = (options.truncate_dim).or(encoder.settings.truncate_dim);
        let dim = settings.unwrap_or(encoder.dim());
        if dim == 0 || dim > encoder.dim() {
            return Err(Error::Setting {
                key: "truncate_dim".into(),
                expected: format!("1 to {}", encoder.dim()),
                found: dim.to_string(),
            });
        }
        let frozen = if packed {
            encoder.frozen(options.compute)?
        } else {
            None
        };
        if frozen.is_none() && options.compute == Compute::Int8 {
            return Err(Error::Setting {
                key: "compute".into(),
                expected: "f32: the encoder has no Transformer of plain layers in host memory, of at most 65536 inputs"
                    .into(),
                found: "int8".into(),
            });
        }
        Ok(Self {
            encoder,
            frozen,
            options,
            dim,
        })
    }

    /// Embeds texts; `progress` is told how many are done.
    ///
    /// Texts of like length share a batch, so that the work of a batch is even; the vectors come in the texts' order, and do
    /// not depend on which texts share a batch but in the last digits.
    ///
    /// # Errors
    /// The tokenizer refuses a text.
    pub fn encode(
        &self,
        texts: &[impl AsRef<str> + Sync],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Encoding> {
        let dim = self.dim;
        let mut encoding = Encoding {
            numbers: vec![0.0; texts.len() * dim],
            dim,
            tokens: 0,
        };
        let prompt = self.options.prompt.as_deref();
        for (part, texts) in texts.chunks(TOKENIZED).enumerate() {
            let tokens = self.encoder.tokenize_prompted(texts, prompt)?;
            encoding.tokens += tokens.iter().map(|t| t.ids.len()).sum::<usize>();
            let before = part * TOKENIZED;
            let rows = &mut encoding.numbers[before * dim..][..texts.len() * dim];
            let mut told = |done| progress(before + done);
            self.embed(&tokens, rows, &mut told)?;
        }
        Ok(encoding)
    }

    /// Writes the vectors of tokenized texts to `rows`.
    fn embed(
        &self,
        tokens: &[Tokens],
        rows: &mut [f32],
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<()> {
        let prompt = self.options.prompt.as_deref();
        let pass = Pass {
            skip: self.encoder.prompt_tokens(prompt)?,
            ..Pass::eval()
        };
        let embed = |batch: &Packed| self.embed_batch(batch, pass);
        run_batches(
            tokens,
            self.options.tokens,
            (rows, self.dim),
            &embed,
            progress,
        )
    }

    fn embed_batch(&self, batch: &Packed, pass: Pass) -> Result<Vec<f32>> {
        let mut vectors = match &self.frozen {
            Some(frozen) => self.encoder.forward_frozen(frozen, batch, pass)?,
            None => self.encoder.forward(batch, pass)?,
        };
        if self.dim < self.encoder.dim() {
            vectors = vectors.narrow(1, 0, self.dim)?.contiguous()?;
        }
        if self.options.normalize {
            vectors = op::normalize(&vectors)?;
        }
        Ok(Host::new(&vectors)?.to_vec())
    }
}

/// Fills the rows `[texts, dim]` of tokenized texts with what `run` makes of packed batches of at most so many tokens;
/// `progress` is told how many are done.
pub(super) fn run_batches(
    tokens: &[Tokens],
    most: usize,
    (rows, dim): (&mut [f32], usize),
    run: &(impl Fn(&Packed) -> Result<Vec<f32>> + Sync),
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<()> {
    let batches = batches(tokens, most);
    let told = Mutex::new((0, progress));
    let run = |batch: &Vec<usize>| {
        let found = run(&Packed::new(batch.iter().map(|&i| &tokens[i])));
        if let Ok(mut told) = told.lock() {
            told.0 += batch.len();
            let done = told.0;
            told.1(done);
        }
        found
    };
    // Whole batches for each thread: within a batch threads would wait for one another at every operation.
    let found: Vec<Result<Vec<f32>>> = if batches.len() < nearkin_kernels::threads() {
        nearkin_kernels::within_pool(|| batches.iter().map(run).collect())
    } else {
        let alone = |batch| nearkin_kernels::alone(|| run(batch));
        batches.par_iter().with_max_len(1).map(alone).collect()
    };
    for (batch, found) in batches.iter().zip(found) {
        for (row, &i) in found?.chunks_exact(dim).zip(batch) {
            rows[i * dim..][..dim].copy_from_slice(row);
        }
    }
    Ok(())
}

/// Batches of texts of like length, the longest first, each of at most so many tokens or of one text.
pub(super) fn batches(tokens: &[Tokens], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(tokens[i].ids.len()));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for i in order {
        let len = tokens[i].ids.len().max(1);
        if let Some(batch) = batches.last_mut().filter(|_| len <= room) {
            batch.push(i);
        } else {
            batches.push(vec![i]);
            room = most.max(len);
        }
        room -= len;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_text_once_and_no_more_tokens_than_allowed() {
        let tokens: Vec<Tokens> = [3, 9, 0, 4, 4, 20, 1]
            .map(|n| Tokens {
                ids: vec![1; n],
                segments: vec![0; n],
            })
            .into();
        let batches = batches(&tokens, 10);
        assert_eq!(batches, [vec![5], vec![1], vec![3, 4], vec![0, 6, 2]]);
    }
}
