//! The commands on text: what they start from, and each of them.

pub mod convert;
mod corpus;
pub mod embed;
pub mod evaluate;
pub mod search;

pub use corpus::Corpus;

use crate::arguments::{TextInput, TextVectors};
use crate::failure::Failure;
use crate::output;
use crate::progress::items;
use nearkin::text::embed::Role;
use nearkin::text::encoder::{CrossEncoder, Options, Reading, SentenceEncoder};
use nearkin::text::recipe::pooling;
use nearkin::text::{self, TextTable};
use nearkin_losses::range::Fraction;
use std::path::{Path, PathBuf};

/// The names of columns that hold texts: the first of them is taken where it is there, another where it is the only one.
const COLUMNS: [&str; 5] = ["text", "sentence", "sentence1", "sentence2", "question"];

/// Files of which a folder of a text model has one.
const FOLDERS: [&str; 3] = ["modules.json", "config.json", "adapter_config.json"];

/// Whether a model is of texts rather than of images or features: a folder as sentence-transformers or PEFT have it, or a text
/// file of word vectors.
pub fn is_text_model(model: &Path) -> bool {
    let has = |name: &str| model.join(name).exists();
    model.is_file() || !has("nearkin.json") && FOLDERS.iter().any(|name| has(name))
}

/// A sentence encoder at work.
pub struct TextSubject {
    pub encoder: SentenceEncoder,
    vectors: TextVectors,
}

impl TextSubject {
    /// Reads the encoder in a folder, or a text file of word vectors.
    pub fn load(folder: &Path, vectors: &TextVectors) -> Result<Self, Failure> {
        if CrossEncoder::is_in(folder) {
            return Err(Failure::usage(format!(
                "{}: a cross-encoder scores pairs and has no vectors; it can be measured by --protocol sts, pairs or classification, and rank what a search has found by --rerank",
                folder.display()
            )));
        }
        let modes: Vec<_> = vectors.pooling.iter().map(|&mode| mode.into()).collect();
        let reading = Reading {
            pooling: pooling(folder, &modes)?,
            ..Reading::default()
        };
        let encoder = text::open_with(folder, reading)?;
        if let Some(name) = &vectors.prompt {
            let known = encoder.settings.prompt(name);
            known.map_err(|error| Failure::usage(format!("--prompt: {error}")))?;
        }
        if let Some(dim) = vectors.dim.filter(|dim| dim.get() > encoder.dim()) {
            let all = encoder.dim();
            return Err(Failure::usage(format!(
                "--dim {dim}: the model's vectors have {all} numbers"
            )));
        }
        let vectors = vectors.clone();
        Ok(Self { encoder, vectors })
    }

    /// How texts of a role are embedded.
    pub fn options(&self, role: Role) -> Options {
        let settings = &self.encoder.settings;
        let named = |name: &String| settings.prompt(name).ok().map(str::to_owned);
        let chosen = self.vectors.prompt_text.clone();
        let chosen = chosen.or_else(|| self.vectors.prompt.as_ref().and_then(named));
        Options {
            prompt: chosen.or_else(|| role.prompt(settings)),
            truncate_dim: self.vectors.dim.map(usize::from),
            normalize: self.vectors.normalize,
            compute: self.vectors.compute.into(),
            ..Options::default()
        }
    }

    /// The vectors of texts in memory, under a progress bar.
    pub fn vectors(
        &self,
        texts: &[impl AsRef<str> + Sync],
        role: Role,
    ) -> Result<(Vec<f32>, usize), Failure> {
        let bar = items(texts.len(), "embedding");
        let told = &mut |done| bar.set_position(done as u64);
        let encoding = self.encoder.encode(texts, &self.options(role), told);
        bar.finish_and_clear();
        let encoding = encoding?;
        Ok((encoding.numbers, encoding.dim))
    }
}

impl TextInput {
    /// The table at a path, of whose rows a share may be damaged.
    pub fn table(&self, path: &Path, damaged: Option<f64>) -> Result<TextTable, Failure> {
        let damaged = Fraction::new(damaged.unwrap_or(0.0));
        Ok(TextTable {
            format: self.format.map(Into::into),
            damaged: damaged.map_err(|error| Failure::usage(format!("--damaged: {error}")))?,
            ..TextTable::new(path)
        })
    }

    /// The column of the texts: the one that was named, or one whose name says it.
    pub fn column(&self, table: &TextTable) -> Result<String, Failure> {
        if let Some(column) = &self.column {
            if table.is_standard_input() && column != "text" {
                let message =
                    "--column goes with a table in a file; standard input is read as lines";
                return Err(Failure::usage(message));
            }
            return Ok(column.clone());
        }
        let known = if table.is_standard_input() {
            vec!["text".to_owned()]
        } else {
            table.columns()?
        };
        if known.iter().any(|name| name == COLUMNS[0]) {
            return Ok(COLUMNS[0].to_owned());
        }
        let named = known.iter().filter(|name| COLUMNS.contains(&name.as_str()));
        let named: Vec<&String> = named.collect();
        match (&named[..], &known[..]) {
            (&[only], _) | ([], [only]) => Ok(only.clone()),
            _ => Err(Failure::usage(format!(
                "{}: which of its columns holds the texts, {}? Name it with --column, or call it text",
                table.path.display(),
                known.join(", ")
            ))),
        }
    }

    /// The texts of a table, and their names where a column of names was named.
    pub fn read(&self, table: &TextTable) -> Result<(Vec<String>, Option<Vec<String>>), Failure> {
        let column = self.column(table)?;
        let columns: Vec<&str> = [&column]
            .into_iter()
            .chain(&self.id)
            .map(String::as_str)
            .collect();
        let (mut texts, mut names, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = table.rows(&columns)?;
        while rows.read_row(&mut fields)? {
            let mut fields = fields.drain(..);
            texts.extend(fields.next());
            names.extend(fields.next());
        }
        let damage = rows.finish()?;
        if damage.rows > 0 {
            output::note(format_args!(
                "warning: {}: left out {damage}",
                table.path.display()
            ));
        }
        if texts.is_empty() {
            return Err(Failure::run(format!(
                "{}: no texts in it",
                table.path.display()
            )));
        }
        Ok((texts, self.id.is_some().then_some(names)))
    }
}

/// The texts of a file of lines or of a table's column of texts.
pub fn whole_column(path: &Path) -> Result<Vec<String>, Failure> {
    let input = TextInput {
        column: None,
        id: None,
        format: None,
    };
    Ok(input.read(&TextTable::new(path))?.0)
}

/// The folder of a model: the one at this path, or that of a name on the hub.
pub fn resolve(model: &Path) -> Result<PathBuf, Failure> {
    if model.exists() || !nearkin::hub::is_name(&model.to_string_lossy()) {
        return Ok(model.to_owned());
    }
    Ok(nearkin::hub::folder(model)?)
}

/// Refuses an option of texts where the model is of images or features, or is not there.
pub fn refuse_option(option: Option<&'static str>, model: &Path) -> Result<(), Failure> {
    option.map_or(Ok(()), |option| {
        if !model.exists() {
            let model = model.display();
            let message = format!("{model}: no such folder or file, and no name on the hub");
            return Err(Failure::usage(message));
        }
        let message =
            format!("{option} goes with a sentence encoder; this model is of images or features");
        Err(Failure::usage(message))
    })
}
