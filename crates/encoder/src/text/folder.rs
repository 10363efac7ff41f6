//! The folder of a sentence encoder, as sentence-transformers and text-embeddings-inference read it.
//!
//! ```text
//! modules.json                       the modules in order, each with its folder
//! config_sentence_transformers.json  prompts, similarity
//! sentence_bert_config.json          the most tokens of a text
//! config.json, model.safetensors     the Transformer
//! tokenizer.json, tokenizer_config.json
//! 1_Pooling/config.json, 2_Dense/…   the other modules
//! ```
//! Every form since version 2.0 is read, and a folder without `modules.json` as a Transformer with mean pooling. Where
//! PEFT's adapters lie where the Transformer would, it is that of their base. Written is the form of before 5.4, which all
//! versions read.

use super::adapters::Adapters;
use super::architecture::Architecture;
use super::dense::Dense;
use super::module::{Module, Placed};
use super::pooling::Pooling;
use super::settings::{self, Settings};
use super::static_embedding::StaticEmbedding;
use super::tokenizer::Tokenizer;
use super::transformer::Transformer;
use super::words::WordEmbeddings;
use super::{CrossEncoder, SentenceEncoder, write_json};
use crate::error::{Error, Result};
use crate::layer::LayerNorm;
use crate::lora::Lora;
use crate::parameters::{Init, Kind, Parameters, Scope, Storage};
use crate::stored::Stored;
use crate::weights;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};

/// The folder of the adapters that were merged into the weights.
const ADAPTER: &str = "adapter";
/// Why adapters of some folders are refused.
const OF_CROSS_ENCODERS: &str = "adapters of a cross-encoder, which are not read";
const MODULES: &str = "modules.json";
pub(super) const CONFIG: &str = "config.json";
/// The settings of word vectors.
const WORDS: &str = "wordembedding_config.json";
/// Words of a text that count where nothing else is said, sentence-transformers' default.
const MOST_WORDS: usize = 1_000_000;
pub(super) const WEIGHTS: &str = "model.safetensors";
/// The files that may hold weights, the preferred one first.
const WEIGHT_FILES: [&str; 5] = [
    WEIGHTS,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
];
/// The files that may hold the limit of tokens; the later ones were written by version 1.
const LIMIT_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

#[derive(Serialize, Deserialize)]
struct Entry {
    idx: usize,
    name: String,
    path: String,
    #[serde(rename = "type")]
    class: String,
}

/// What is decided when an encoder is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Beginnings of the names of parameters that start anew, such as `encoder.layer.5`.
    pub fresh: Vec<String>,
    /// Beginnings of the names of parameters that are not learned.
    pub freeze: Vec<String>,
    /// Adapters of the Transformer's linear layers; nothing else of it is learned then.
    pub lora: Option<Lora>,
    /// Seed of the parameters that start anew.
    pub seed: u64,
    /// The pooling of a folder without modules, or in place of the one it has.
    pub pooling: Option<Pooling>,
    /// The folder of the model that adapters change, for a folder of adapters ([`base_of_adapters`]); what they call it
    /// themselves where absent.
    pub base: Option<PathBuf>,
}

/// What the adapters in a folder call the model that they change: a folder, or a name on the hub. None where the folder holds
/// the model itself.
///
/// # Errors
/// The settings of the adapters cannot be read, or name no model.
pub fn base_of_adapters(folder: &Path) -> Result<Option<String>> {
    let adapters = adapters(folder)?.filter(|adapters| !adapters.are_with_their_model());
    let base = adapters.as_ref().map(Adapters::base).transpose()?;
    Ok(base.map(str::to_owned))
}

impl SentenceEncoder {
    /// Reads a folder, or a text file of word vectors such as GloVe's.
    ///
    /// # Errors
    /// A file is missing, damaged, of a module that is not known, or its tensors do not fit its settings.
    pub fn load(folder: &Path) -> Result<Self> {
        Self::load_with(folder, &Reading::default())
    }

    /// Reads a folder, with some parameters started anew or another pooling.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(folder: &Path, reading: &Reading) -> Result<Self> {
        if folder.is_file() {
            return Self::of_words(folder, reading);
        }
        match adapters(folder)? {
            Some(adapters) => Self::of_adapters(folder, &adapters, reading),
            None => Self::of_modules(folder, None, reading),
        }
    }

    /// The model that adapters change, with them worked in; modules and settings are the folder's where it has any.
    fn of_adapters(folder: &Path, adapters: &Adapters, reading: &Reading) -> Result<Self> {
        let base = match &reading.base {
            _ if adapters.are_with_their_model() => folder,
            Some(base) => base,
            None => Path::new(adapters.base()?),
        };
        if !base.is_dir() {
            let reason = format!("adapters of \"{}\", which is no folder", base.display());
            return Err(wrong(folder, &reason));
        }
        if self::adapters(base)?.is_some_and(|others| !others.are_with_their_model()) {
            let reason = format!("adapters of \"{}\", which are adapters", base.display());
            return Err(wrong(folder, &reason));
        }
        if reading.lora.is_some() || !reading.fresh.is_empty() {
            let reason = "adapters, whose layers cannot start anew or be adapted again: work them into their model first, with nearkin convert";
            return Err(wrong(folder, reason));
        }
        let transformer = of_transformer(base)?;
        if CrossEncoder::is_in(&transformer) {
            return Err(wrong(folder, OF_CROSS_ENCODERS));
        }
        let own = folder.join(MODULES).exists();
        let modules = if own { folder } else { base };
        let changed = [adapters.folder(), &transformer];
        let encoder = Self::of_modules(modules, Some(changed), reading)?;
        let first = encoder.modules().first();
        if let Some((Module::Transformer(t), parameters)) =
            first.map(|m| (&m.module, &m.parameters))
        {
            adapters.work_in(parameters, t.architecture().prefixes())?;
        }
        Ok(encoder)
    }

    /// The modules that a folder names; `changed` are the folders of adapters and of the Transformer that they change.
    fn of_modules(folder: &Path, changed: Option<[&Path; 2]>, reading: &Reading) -> Result<Self> {
        let settings = Settings::read(folder)?;
        let entries = entries(folder)?;
        let own = folder.join(entries.first().map_or("", |entry| &entry.path));
        let [beside, first] = changed.unwrap_or([&own, &own]);
        let places = [beside, &*own, folder, first];
        let tokenizer = places.into_iter().find(|place| holds_tokenizer(place));
        let mut tokenizer = Tokenizer::read(tokenizer.unwrap_or(folder))?;
        // A tokenizer beside adapters comes with its own limit.
        let limits = if holds_tokenizer(beside) {
            [beside, beside]
        } else {
            [&*own, first]
        };
        let mut modules = Vec::new();
        for entry in &entries {
            let path = folder.join(&entry.path);
            let path = if entry.idx == 0 { first } else { &path };
            let placed = module(folder, entry, (path, reading))?;
            let replaced = reading.pooling.is_some() && matches!(placed.module, Module::Pooling(_));
            if !replaced {
                modules.push(placed);
            }
            if let (0, Some(pooling)) = (entry.idx, &reading.pooling) {
                modules.push(Placed {
                    module: Module::Pooling(pooling.clone()),
                    path: "1_Pooling".into(),
                    parameters: Parameters::default(),
                });
            }
        }
        match modules.first().map(|placed| &placed.module) {
            Some(Module::Transformer(t)) => {
                limit(&limits, &mut tokenizer, t.architecture())?;
            }
            Some(Module::Words(_)) => {
                let most = object(&first.join(WORDS))?;
                let most = most.get("max_seq_length").and_then(Value::as_u64);
                tokenizer.set_limit(most.map_or(MOST_WORDS, |most| most as usize))?;
            }
            _ => {}
        }
        Self::new(tokenizer, modules, settings)
    }

    /// The mean of word vectors, from a text file of them.
    fn of_words(path: &Path, reading: &Reading) -> Result<Self> {
        let scope = Scope::new(reading.seed, DType::F32, &Device::Cpu);
        let (words, file) = WordEmbeddings::read_text(path, &scope)?;
        let pooling = reading
            .pooling
            .clone()
            .unwrap_or_else(|| Pooling::mean(words.dim()));
        let placed = |module, path: &str, parameters| Placed {
            module,
            path: path.into(),
            parameters,
        };
        let modules = vec![
            placed(Module::Words(words), "", scope.parameters()),
            placed(Module::Pooling(pooling), "1_Pooling", Parameters::default()),
        ];
        Self::new(
            Tokenizer::of_words(path, file)?,
            modules,
            Settings::default(),
        )
    }

    /// Writes the encoder into an existing folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let mut entries = Vec::new();
        for (idx, placed) in self.modules().iter().enumerate() {
            let class = placed.module.class();
            let path = match idx {
                0 => String::new(),
                idx => format!("{idx}_{class}"),
            };
            fs_err::create_dir_all(folder.join(&path))?;
            save_module(placed, self.tokenizer.limit(), &folder.join(&path))?;
            entries.push(Entry {
                idx,
                name: idx.to_string(),
                path,
                class: format!("sentence_transformers.models.{class}"),
            });
        }
        self.tokenizer.save(folder)?;
        if let Some(Module::Transformer(_)) = self.modules().first().map(|placed| &placed.module) {
            let limits = json!({
                "max_seq_length": self.tokenizer.limit(), "do_lower_case": self.tokenizer.lowercase()
            });
            write_json(&folder.join(LIMIT_FILES[0]), &limits)?;
        }
        write_json(&folder.join(settings::FILE), &self.settings.config())?;
        write_json(&folder.join(MODULES), &entries)
    }
}

fn holds_tokenizer(folder: &Path) -> bool {
    let files = [
        "tokenizer.json",
        "vocab.txt",
        "vocab.json",
        "whitespacetokenizer_config.json",
    ];
    files.iter().any(|name| folder.join(name).exists())
}

/// The modules that a folder names; a Transformer with mean pooling where it names none.
fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let path = folder.join(MODULES);
    if path.exists() {
        let text = fs_err::read_to_string(&path)?;
        let mut entries: Vec<Entry> = serde_json::from_str(&text).map_err(|e| wrong(&path, &e))?;
        entries.sort_by_key(|entry| entry.idx);
        for entry in &mut entries {
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !Path::new(&entry.path).components().all(inside) {
                return Err(wrong(
                    &path,
                    &format!("\"{}\" leads out of the folder", entry.path),
                ));
            }
            if entry.path == "." {
                entry.path.clear();
            }
        }
        return Ok(entries);
    }
    if !folder.join(CONFIG).exists() {
        let reason = format!("no sentence encoder, there is neither {MODULES} nor {CONFIG} in it");
        return Err(wrong(folder, &reason));
    }
    let entry = |idx, path: &str, class: &str| Entry {
        idx,
        name: String::new(),
        path: path.into(),
        class: format!("sentence_transformers.models.{class}"),
    };
    if is_static(folder)? {
        let mut entries = vec![entry(0, "", "StaticEmbedding")];
        // model2vec says it in the settings, where sentence-transformers has a module.
        if object(&folder.join(CONFIG))?.get("normalize") == Some(&Value::Bool(true)) {
            entries.push(entry(1, "1_Normalize", "Normalize"));
        }
        return Ok(entries);
    }
    Ok(vec![
        entry(0, "", "Transformer"),
        entry(1, "1_Pooling", "Pooling"),
    ])
}

/// The folder of the Transformer that a folder's modules begin with.
pub(super) fn of_transformer(folder: &Path) -> Result<PathBuf> {
    let entries = entries(folder)?;
    let first = entries.first();
    let first = first.ok_or_else(|| wrong(&folder.join(MODULES), "it names no module"))?;
    match class(folder, &first.class)? {
        "Transformer" => Ok(folder.join(&first.path)),
        other => {
            let reason = format!("it begins with the module \"{other}\", expected a Transformer");
            Err(wrong(folder, &reason))
        }
    }
}

/// The adapters that lie where a folder's Transformer would.
fn adapters(folder: &Path) -> Result<Option<Adapters>> {
    if !folder.join(MODULES).exists() {
        return Adapters::read(folder);
    }
    let entries = entries(folder)?;
    let first = entries.first().map_or("", |entry| &entry.path);
    Adapters::read(&folder.join(first))
}

/// Refuses a cross-encoder's folder with adapters in it, which would be passed over.
pub(super) fn refuse_adapters(folder: &Path) -> Result<()> {
    match Adapters::read(folder)? {
        Some(_) => Err(wrong(folder, OF_CROSS_ENCODERS)),
        None => Ok(()),
    }
}

/// Whether a folder names modules after its first one, such as a pooling.
pub(super) fn has_more_than_a_transformer(folder: &Path) -> bool {
    folder.join(MODULES).exists() && entries(folder).is_ok_and(|entries| entries.len() > 1)
}

/// Whether a folder is of model2vec.
fn is_static(folder: &Path) -> Result<bool> {
    let config = object(&folder.join(CONFIG))?;
    Ok(config.get("model_type").and_then(Value::as_str) == Some("model2vec"))
}

/// A module of a folder, whose files lie at a path.
fn module(folder: &Path, entry: &Entry, (path, reading): (&Path, &Reading)) -> Result<Placed> {
    let class = class(folder, &entry.class)?;
    let open = |first: bool| -> Result<Scope> {
        let file = WEIGHT_FILES
            .map(|name| path.join(name))
            .into_iter()
            .find(|file| file.exists());
        let stored = Stored::open(&file.unwrap_or_else(|| path.join(WEIGHTS)))?;
        let scope = Scope::stored(stored.fresh(reading.fresh.clone()), reading.seed);
        let scope = scope.freezing(&reading.freeze);
        Ok(scope.labeled(if first { "" } else { &entry.path }))
    };
    let config = path.join(CONFIG);
    let (module, scope) = match class {
        "Transformer" => transformer(path, reading)?,
        "StaticEmbedding" => {
            let scope = open(true)?;
            (Module::Static(StaticEmbedding::new(&scope)?), Some(scope))
        }
        "WordEmbeddings" => {
            let settings = object(&path.join(WORDS))?;
            let learned = settings.get("update_embeddings").and_then(Value::as_bool) == Some(true);
            let scope = open(true)?;
            (
                Module::Words(WordEmbeddings::new(&scope, learned)?),
                Some(scope),
            )
        }
        "Pooling" if !config.exists() && !folder.join(MODULES).exists() => {
            let width = Architecture::read(&folder.join(CONFIG))?.width;
            (Module::Pooling(Pooling::mean(width)), None)
        }
        "Pooling" => {
            let pooling = Pooling::parse(&object(&config)?);
            (
                Module::Pooling(pooling.map_err(|e| wrong(&config, &e))?),
                None,
            )
        }
        "Dense" => {
            let settings = object(&config)?;
            check_names(&settings, &config)?;
            let settings = serde_json::from_value(Value::Object(settings));
            let scope = open(false)?;
            let dense = Dense::new(&scope, settings.map_err(|e| wrong(&config, &e))?)?;
            (Module::Dense(dense), Some(scope))
        }
        "LayerNorm" => {
            let width = object(&config)?.get("dimension").and_then(Value::as_u64);
            let width = width.ok_or_else(|| wrong(&config, "dimension is missing"))? as usize;
            let scope = open(false)?;
            let norm = LayerNorm::new(&scope.child("norm"), width, 1e-5)?;
            (Module::LayerNorm(norm, width), Some(scope))
        }
        "Normalize" => {
            if config.exists() {
                check_names(&object(&config)?, &config)?;
            }
            (Module::Normalize, None)
        }
        "Dropout" => {
            let rate = config.exists().then(|| object(&config)).transpose()?;
            let rate = rate.and_then(|config| config.get("dropout")?.as_f64());
            (Module::Dropout(rate.unwrap_or(0.2) as f32), None)
        }
        other => {
            let known = "Transformer, Pooling, Dense, Normalize, LayerNorm, Dropout, StaticEmbedding, WordEmbeddings";
            let reason = format!("the module \"{other}\" is not known, expected one of {known}");
            return Err(wrong(&folder.join(MODULES), &reason));
        }
    };
    Ok(Placed {
        module,
        path: entry.path.clone(),
        parameters: scope.map(|scope| scope.parameters()).unwrap_or_default(),
    })
}

fn transformer(path: &Path, reading: &Reading) -> Result<(Module, Option<Scope>)> {
    let architecture = Architecture::read(&path.join(CONFIG))?;
    let scope = scope(path, &architecture, reading)?;
    let width = architecture.width;
    let transformer = Transformer::new(&scope, architecture)?;
    carry_pooler(&scope, width)?;
    let config = object(&path.join(CONFIG))?;
    Ok((
        Module::Transformer(Box::new(transformer.described(config).from(path))),
        Some(scope),
    ))
}

/// Keeps the pooler of BERT: of no use to token vectors, but those who will read the folder miss it.
fn carry_pooler(scope: &Scope, width: usize) -> Result<()> {
    let unused = scope
        .clone()
        .freezing(&[String::new()])
        .child("pooler.dense");
    for (name, shape) in [("weight", &[width, width][..]), ("bias", &[width])] {
        if unused.has(name) {
            let kind = (Kind::Frozen, Storage::Plain);
            unused.parameter(name, shape, Init::Constant(0.0), kind)?;
        }
    }
    Ok(())
}

/// The stored weights of a Transformer, with what stands beside it.
pub(super) fn scope(path: &Path, architecture: &Architecture, reading: &Reading) -> Result<Scope> {
    let file = WEIGHT_FILES
        .map(|name| path.join(name))
        .into_iter()
        .find(|file| file.exists());
    let stored = Stored::open(&file.unwrap_or_else(|| path.join(WEIGHTS)))?;
    let stored = stored.behind(architecture.prefixes(), "embeddings.word_embeddings.weight");
    let scope = Scope::stored(stored.fresh(reading.fresh.clone()), reading.seed);
    Ok(match &reading.lora {
        Some(lora) => scope.adapted(lora),
        None => scope.freezing(&reading.freeze),
    })
}

/// The class at the end of a dotted name of sentence-transformers; anything else is code of the folder's own.
fn class<'a>(folder: &Path, name: &'a str) -> Result<&'a str> {
    let Some(rest) = name.strip_prefix("sentence_transformers.") else {
        let reason = format!("the module \"{name}\" is no module of sentence-transformers");
        return Err(wrong(&folder.join(MODULES), &reason));
    };
    Ok(rest.rsplit('.').next().unwrap_or(rest))
}

/// Sets the most tokens of a text: the setting of the first folder that has one, else the tokenizer's, else all that the
/// Transformer has positions for.
pub(super) fn limit(
    folders: &[&Path],
    tokenizer: &mut Tokenizer,
    architecture: &Architecture,
) -> Result<()> {
    let files = folders
        .iter()
        .flat_map(|folder| LIMIT_FILES.map(|name| folder.join(name)));
    let file = files.into_iter().find(|file| file.exists());
    let config = file
        .map(|file| object(&file))
        .transpose()?
        .unwrap_or_default();
    let own = config.get("max_seq_length").and_then(Value::as_u64);
    let limit = own.map(|limit| limit as usize).or(tokenizer.own_limit());
    tokenizer.set_lowercase(config.get("do_lower_case").and_then(Value::as_bool) == Some(true));
    tokenizer.set_limit(limit.unwrap_or(usize::MAX).min(architecture.longest()))
}

/// A module here goes from a sentence's vector to a sentence's vector.
fn check_names(settings: &Map<String, Value>, path: &Path) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        match settings.get(key) {
            None | Some(Value::Null) => {}
            Some(name) if name == "sentence_embedding" => {}
            Some(name) => {
                let reason = format!("{key} is {name}, expected \"sentence_embedding\"");
                return Err(wrong(path, &reason));
            }
        }
    }
    Ok(())
}

fn save_module(placed: &Placed, limit: usize, folder: &Path) -> Result<()> {
    let config = match &placed.module {
        Module::Transformer(t) => Some(Value::Object(written_config(t))),
        Module::Pooling(pooling) => Some(pooling.config()),
        Module::Dense(dense) => Some(json!(dense.config())),
        Module::LayerNorm(_, width) => Some(json!({ "dimension": width })),
        Module::Dropout(rate) => Some(json!({ "dropout": rate })),
        Module::Static(_) => None,
        Module::Words(words) => {
            let settings = json!({
                "tokenizer_class": "sentence_transformers.models.tokenizer.WhitespaceTokenizer",
                "update_embeddings": words.learned(), "max_seq_length": limit.min(MOST_WORDS),
            });
            write_json(&folder.join(WORDS), &settings)?;
            None
        }
        // Git keeps no empty folders.
        Module::Normalize => Some(json!({})),
    };
    if let Some(config) = config {
        write_json(&folder.join(CONFIG), &config)?;
    }
    let weights = folder.join(WEIGHTS);
    if let Module::Transformer(transformer) = &placed.module
        && let Some(lora) = transformer.lora()
    {
        weights::write(&lora.merged(&placed.parameters)?, &weights)?;
        // In a folder of its own: beside merged weights it would be worked in twice.
        let adapter = folder.join(ADAPTER);
        fs_err::create_dir_all(&adapter)?;
        lora.save(&placed.parameters, transformer.origin(), &adapter)?;
    } else if placed.parameters.iter().next().is_some() {
        weights::save(&placed.parameters, &weights)?;
    }
    Ok(())
}

/// The `config.json` of a Transformer whose weights are written as F32, whatever they were.
pub(super) fn written_config(transformer: &Transformer) -> Map<String, Value> {
    let mut config = transformer.config().clone();
    for key in ["torch_dtype", "dtype"] {
        if let Some(dtype) = config.get_mut(key) {
            *dtype = "float32".into();
        }
    }
    config
}

pub(super) fn object(path: &Path) -> Result<Map<String, Value>> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|e| wrong(path, &e))
}

pub(super) fn wrong(path: &Path, reason: &(impl ToString + ?Sized)) -> Error {
    Error::File {
        path: PathBuf::from(path),
        reason: reason.to_string(),
    }
}
