//! Low-rank adapters beside frozen linear layers, in the files of PEFT.

use crate::error::Result;
use crate::layer::Mode;
use crate::op::{self, Activation};
use crate::parameters::{Init, Kind, Parameters, Scope, Storage};
use crate::weights::{self, Tensors};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::num::NonZeroU16;
use std::path::Path;

/// The files of PEFT.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
pub(crate) const CONFIG: &str = "adapter_config.json";
/// What PEFT puts before the names of adapters.
pub(crate) const PREFIX: &str = "base_model.model.";

/// Low-rank adaptation of linear layers.
///
/// ```text
/// y = x Wᵀ + b + α/r · (x Aᵀ) Bᵀ        A [r, in] uniform in ± 1/√in, B [out, r] zero at first
/// ```
///
/// # Reference
/// Hu et al. 2021, *Low-Rank Adaptation of Large Language Models*, equation 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// r, the rank of a change.
    pub rank: NonZeroU16,
    /// α; a change is scaled by α / r.
    pub alpha: f64,
    /// The last parts of the names of the layers that are adapted, as weight files have them (`query`, `dense`); all linear
    /// layers of attention and of the feed-forward parts where empty.
    pub targets: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: NonZeroU16::MIN.saturating_add(7),
            alpha: 16.0,
            targets: Vec::new(),
        }
    }
}

impl Lora {
    fn adapts(&self, layer: &str) -> bool {
        let last = |target: &String| layer == target || layer.ends_with(&format!(".{target}"));
        self.targets.is_empty() || self.targets.iter().any(last)
    }

    fn scale(&self) -> f64 {
        self.alpha / f64::from(self.rank.get())
    }

    /// The weights with their adapters worked in, `W + α/r · B A`, as a weight file has them.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn merged(&self, parameters: &Parameters) -> Result<Tensors> {
        let mut tensors = weights::tensors(parameters)?;
        let adapters: Vec<String> = tensors
            .keys()
            .filter_map(|name| Some(name.strip_suffix(".lora_A.weight")?.to_owned()))
            .collect();
        for layer in adapters {
            let down = tensors.remove(&format!("{layer}.lora_A.weight"));
            let up = tensors.remove(&format!("{layer}.lora_B.weight"));
            let weight = tensors.get_mut(&format!("{layer}.weight"));
            if let (Some(down), Some(up), Some(weight)) = (down, up, weight) {
                *weight = (&*weight + (up.matmul(&down)? * self.scale())?)?;
            }
        }
        Ok(tensors)
    }

    /// Writes the adapters alone into an existing folder, as PEFT reads them; `base` is the model that they belong to.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, parameters: &Parameters, base: &str, folder: &Path) -> Result<()> {
        let tensors = weights::tensors(parameters)?;
        let adapters = tensors
            .into_iter()
            .filter(|(name, _)| name.contains(".lora_"));
        let adapters: Tensors = adapters
            .map(|(name, values)| (format!("{PREFIX}{name}"), values))
            .collect();
        let mut targets: Vec<&str> = adapters.keys().filter_map(|name| target(name)).collect();
        targets.sort_unstable();
        targets.dedup();
        let config = json!({
            "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": base,
            "r": self.rank, "lora_alpha": self.alpha, "lora_dropout": 0.0, "bias": "none",
            "fan_in_fan_out": false, "inference_mode": true, "target_modules": targets,
        });
        weights::write(&adapters, &folder.join(WEIGHTS))?;
        let text = format!("{config:#}\n");
        weights::write_beside(&folder.join(CONFIG), text.as_bytes())
    }
}

/// The last part of the name of the layer that an adapter belongs to.
fn target(name: &str) -> Option<&str> {
    let (layer, _) = name.split_once(".lora_")?;
    layer.rsplit('.').next()
}

/// The adapter of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    down: Tensor,
    up: Tensor,
    scale: f64,
}

impl Adapter {
    /// The adapters of a layer made of blocks of rows, whose weights have these names in files, or of one block; none at all
    /// where none is asked for.
    pub fn of_blocks(
        scope: &Scope,
        [inputs, outputs]: [usize; 2],
        blocks: &[&str],
    ) -> Result<Vec<Option<Self>>> {
        let Some(lora) = scope.lora() else {
            return Ok(Vec::new());
        };
        let places = match blocks {
            [] => vec![scope.clone()],
            names => {
                let place = |name: &&str| scope.child(name.trim_end_matches(".weight"));
                names.iter().map(place).collect()
            }
        };
        let rows = outputs / places.len();
        let adapter = |place: &Scope| {
            let adapted = lora.adapts(place.name());
            adapted.then(|| Self::new(&place.anew(), lora, [inputs, rows]))
        };
        let adapters = places.iter().map(|place| adapter(place).transpose());
        let adapters: Vec<Option<Self>> = adapters.collect::<Result<_>>()?;
        let any = adapters.iter().any(Option::is_some);
        Ok(if any { adapters } else { Vec::new() })
    }

    fn new(scope: &Scope, lora: &Lora, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        let kind = (Kind::Weight, Storage::Plain);
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let zero = Init::Constant(0.0);
        Ok(Self {
            down: scope.parameter(
                "lora_A.weight",
                &[lora.rank.get().into(), inputs],
                init,
                kind,
            )?,
            up: scope.parameter(
                "lora_B.weight",
                &[outputs, lora.rank.get().into()],
                zero,
                kind,
            )?,
            scale: lora.scale(),
        })
    }

    pub fn tensors(&self) -> [&Tensor; 2] {
        [&self.down, &self.up]
    }

    /// The change of the layer's output, `[N, out]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let no_bias = |rows: usize| Tensor::zeros(rows, x.dtype(), x.device());
        let (down, up) = (mode.parameter(&self.down), mode.parameter(&self.up));
        let low = op::linear(x, &down, &no_bias(down.dims()[0])?, Activation::None)?;
        let low = op::scale(&low, self.scale)?;
        Ok(op::linear(
            &low,
            &up,
            &no_bias(up.dims()[0])?,
            Activation::None,
        )?)
    }
}
