//! Adapters in a folder, worked into the model that they change, as PEFT and sentence-transformers write them.

use super::folder::{self, wrong};
use crate::error::Result;
use crate::host;
use crate::lora::{CONFIG, PREFIX, WEIGHTS};
use crate::parameters::{Parameter, Parameters};
use crate::stored::Stored;
use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What PEFT called the file of weights before it wrote safetensors.
const OLD_WEIGHTS: &str = "adapter_model.bin";

/// Low-rank adapters in a folder, `W + s · B A` with `s` = α/r, or α/√r where they are stabilized.
pub(super) struct Adapters {
    folder: PathBuf,
    config: Config,
}

/// What of PEFT's settings changes the numbers.
#[derive(Deserialize)]
struct Config {
    base_model_name_or_path: Option<String>,
    #[serde(default = "eight")]
    lora_alpha: f64,
    #[serde(default)]
    alpha_pattern: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    use_rslora: Option<bool>,
}

/// PEFT's own α.
fn eight() -> f64 {
    8.0
}

/// Settings that let adapters do something else than add `s · B A` to the weights of their model.
const OTHERS: [&str; 9] = [
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];
/// Ways to begin adapters that leave the weights of their model as they are.
const BEGINNINGS: [&str; 3] = ["eva", "gaussian", "orthogonal"];

/// The file of adapters and the names in it that no layer has asked for yet.
struct Names<'a> {
    file: &'a Stored,
    prefixes: &'a [&'a str],
    unasked: BTreeSet<&'a str>,
}

impl Adapters {
    /// The adapters of a folder, if there are any.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(CONFIG);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs_err::read_to_string(&path)?;
        let settings: Map<String, Value> =
            serde_json::from_str(&text).map_err(|e| wrong(&path, &e))?;
        check(&settings).map_err(|reason| wrong(&path, &reason))?;
        let config = serde_json::from_value(Value::Object(settings));
        let config = config.map_err(|e| wrong(&path, &e))?;
        Ok(Some(Self {
            folder: folder.into(),
            config,
        }))
    }

    /// The folder that they lie in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether their model lies in the same folder: as for transformers it then counts, whatever else they name.
    pub fn are_with_their_model(&self) -> bool {
        self.folder.join(folder::CONFIG).exists()
    }

    /// What they call the model that they change: a folder or a name on the hub.
    pub fn base(&self) -> Result<&str> {
        let base = self.config.base_model_name_or_path.as_deref();
        let missing = "base_model_name_or_path is missing: the model that the adapters change";
        base.filter(|base| !base.is_empty())
            .ok_or_else(|| wrong(&self.folder.join(CONFIG), missing))
    }

    /// Works them into the weights of their model, whose layers may stand behind one of these prefixes.
    pub fn work_in(&self, parameters: &Parameters, prefixes: &[&str]) -> Result<()> {
        let path = [WEIGHTS, OLD_WEIGHTS].map(|name| self.folder.join(name));
        let path = path.iter().find(|path| path.exists()).unwrap_or(&path[0]);
        let file = Stored::open(path)?;
        let mut names = Names {
            file: &file,
            prefixes,
            unasked: file.names().collect(),
        };
        if names.unasked.is_empty() {
            return Err(wrong(path, "it holds no adapters"));
        }
        for parameter in parameters {
            self.change(parameter, &mut names)?;
        }
        // A base may lack BERT's pooler, which no token's vector comes from.
        names.unasked.retain(|name| !name.contains(".pooler."));
        match names.unasked.first() {
            None => Ok(()),
            Some(name) => {
                let base = self.config.base_model_name_or_path.as_deref();
                let base = base.unwrap_or("the model");
                let reason = format!("tensor \"{name}\" is no adapter of a linear layer of {base}");
                Err(wrong(path, &reason))
            }
        }
    }

    /// Adds the changes of the parts of one parameter.
    fn change(&self, parameter: &Parameter, names: &mut Names) -> Result<()> {
        let &[rows, columns] = parameter.var.dims() else {
            return Ok(());
        };
        let rows = rows / parameter.stored.len();
        let weight = parameter.var.as_detached_tensor();
        let (mut parts, mut changed) = (Vec::new(), false);
        for (number, name) in parameter.stored.iter().enumerate() {
            let part = weight.narrow(0, number * rows, rows)?;
            parts.push(match self.of_layer(name, [rows, columns], names)? {
                Some(change) => {
                    changed = true;
                    (part + change)?
                }
                None => part,
            });
        }
        if changed {
            parameter.var.set(&Tensor::cat(&parts, 0)?)?;
        }
        Ok(())
    }

    /// `s · B A` of the layer with this weight, where it has adapters.
    fn of_layer(
        &self,
        weight: &str,
        [rows, columns]: [usize; 2],
        names: &mut Names,
    ) -> Result<Option<Tensor>> {
        let Some(layer) = weight.strip_suffix(".weight") else {
            return Ok(None);
        };
        let prefixed = |prefix: &&str| format!("{PREFIX}{prefix}{layer}");
        let layer = names.prefixes.iter().map(prefixed);
        let mut layer = layer.filter(|layer| names.file.has(&format!("{layer}.lora_A.weight")));
        let Some(layer) = layer.next() else {
            return Ok(None);
        };
        let (down, up) = (
            format!("{layer}.lora_A.weight"),
            format!("{layer}.lora_B.weight"),
        );
        let (shape, a) = matrix(names.file, &down)?;
        let rank = shape.first().copied().unwrap_or_default().max(1);
        let (other, b) = matrix(names.file, &up)?;
        for (name, found, expected) in [(&down, shape, [rank, columns]), (&up, other, [rows, rank])]
        {
            if found != expected {
                let reason = format!("tensor \"{name}\" is {found:?}, expected {expected:?}");
                return Err(wrong(names.file.path(), &reason));
            }
        }
        names.unasked.remove(&*down);
        names.unasked.remove(&*up);
        let layer = layer.strip_prefix(PREFIX).unwrap_or(&layer);
        Ok(Some((b.matmul(&a)? * self.scale(layer, rank as f64)?)?))
    }

    fn scale(&self, layer: &str, rank: f64) -> Result<f64> {
        let patterns = self.config.alpha_pattern.iter().flatten();
        let mut matching = patterns.filter(|(pattern, _)| is_of(layer, pattern));
        let own = matching.next();
        if let (Some((one, _)), Some((other, _))) = (own, matching.next()) {
            let reason = format!("alpha_pattern \"{one}\" and \"{other}\" are both of {layer}");
            return Err(wrong(&self.folder.join(CONFIG), &reason));
        }
        let alpha = own.map_or(self.config.lora_alpha, |(_, alpha)| *alpha);
        let by = if self.config.use_rslora == Some(true) {
            rank.sqrt()
        } else {
            rank
        };
        Ok(alpha / by)
    }
}

/// Whether adapters of these settings are such as are read here.
fn check(settings: &Map<String, Value>) -> std::result::Result<(), String> {
    let of = |key: &str| settings.get(key).unwrap_or(&Value::Null);
    if of("peft_type") != "LORA" {
        return Err(format!(
            "peft_type is {}, expected \"LORA\"",
            of("peft_type")
        ));
    }
    let unused = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(of) => of.is_empty(),
        _ => false,
    };
    if let Some(key) = OTHERS.into_iter().find(|key| !unused(of(key))) {
        let found = of(key);
        return Err(format!("{key} is {found}, of which nothing is known here"));
    }
    if !unused(of("revision")) && of("revision") != "main" {
        let found = of("revision");
        return Err(format!(
            "revision is {found}: only the newest of a model is known here"
        ));
    }
    let patterns = of("alpha_pattern").as_object();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    let odd = patterns.and_then(|patterns| patterns.keys().find(|key| !key.chars().all(plain)));
    if let Some(odd) = odd {
        return Err(format!(
            "alpha_pattern \"{odd}\": expected the end of a layer's name"
        ));
    }
    match of("init_lora_weights") {
        Value::String(way) if !BEGINNINGS.contains(&&**way) => Err(format!(
            "init_lora_weights is \"{way}\", which changes the model's own weights, expected true, false or one of {}",
            BEGINNINGS.join(", ")
        )),
        _ => Ok(()),
    }
}

/// Whether a layer's name ends with a pattern, in which a dot stands for any character, as in a regular expression.
fn is_of(layer: &str, pattern: &str) -> bool {
    let (layer, pattern) = (layer.as_bytes(), pattern.as_bytes());
    let Some(start) = layer.len().checked_sub(pattern.len()) else {
        return false;
    };
    let whole = start == 0 || layer[start - 1] == b'.';
    let mut both = layer[start..].iter().zip(pattern);
    whole && both.all(|(found, of)| *of == b'.' || found == of)
}

/// Shape and numbers of a tensor without NaN.
fn matrix(file: &Stored, name: &str) -> Result<(Vec<usize>, Tensor)> {
    let (shape, numbers) = file.tensor(name)?;
    if let Some(at) = nearkin_kernels::first_non_finite(&numbers) {
        let reason = format!("tensor \"{name}\" holds {} at place {at}", numbers[at]);
        return Err(wrong(file.path(), &reason));
    }
    let values = host::tensor(numbers, &shape[..])?;
    Ok((shape, values))
}
