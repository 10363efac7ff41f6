//! Models by their name on the model hub, `owner/name`: taken from the cache folder, fetched into it where they are not there.
//!
//! The cache is the one that other programs of the hub share. `HF_HUB_CACHE` or `HF_HOME` moves it, `HF_ENDPOINT` names
//! another hub, and `HF_HUB_OFFLINE` forbids to ask it. A model in the cache is used without a look at the hub.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo};

/// How long the hub may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Files that only other programs read.
const FOREIGN: [&str; 9] = [
    "onnx", "h5", "msgpack", "ot", "gguf", "tflite", "mlmodel", "xml", "png",
];
/// Files that hold weights, the preferred one first.
const WEIGHTS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
];
/// Fetched last: a folder with one of them has all files.
const LAST: [&str; 3] = ["config.json", "modules.json", "adapter_config.json"];

/// Why there is no folder for a model.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name is not `owner/name`.
    #[error("\"{name}\" is no folder, and no name on the hub, which would be owner/name")]
    Name {
        /// What was given.
        name: String,
    },
    /// The model is not in the cache, and the hub did not answer.
    #[error(
        "\"{id}\" is no folder, not in the cache {cache}, and the hub could not be reached: {reason}"
    )]
    Unreachable {
        /// The model.
        id: String,
        /// The cache folder.
        cache: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The hub answered, but a file did not come.
    #[error("\"{id}\": {file} could not be fetched from the hub into {cache}: {reason}")]
    File {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// The cache folder.
        cache: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// Whether a text could be a model's name on the hub rather than a folder.
///
/// ```
/// use nearkin::hub::is_name;
/// assert!(is_name("sentence-transformers/all-MiniLM-L6-v2"));
/// assert!(!is_name("runs/recipe/model") && !is_name("./model") && !is_name("model"));
/// ```
pub fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(good)
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
}

/// The folder of a model: the one at this path, else that of this name in the cache, where it is fetched if need be.
///
/// ```no_run
/// use nearkin::hub::folder;
/// let folder = folder("sentence-transformers/all-MiniLM-L6-v2".as_ref())?;
/// let encoder = nearkin::text::encoder::SentenceEncoder::load(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// There is no such folder, and no such model in the cache or on the hub.
pub fn folder(model: &Path) -> Result<PathBuf, HubError> {
    if model.exists() {
        return Ok(model.to_owned());
    }
    let name = model.to_string_lossy();
    if !is_name(&name) {
        let name = name.into_owned();
        return Err(HubError::Name { name });
    }
    let cache = std::env::var_os("HF_HUB_CACHE").filter(|path| !path.is_empty());
    let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|set| !set.is_empty() && set != "0");
    Hub {
        cache: cache.map_or_else(Cache::from_env, |path| Cache::new(path.into())),
        endpoint: None,
        offline,
    }
    .folder(&name)
}

/// A cache and the hub behind it.
struct Hub {
    cache: Cache,
    /// Another hub than the usual one.
    endpoint: Option<String>,
    offline: bool,
}

impl Hub {
    fn folder(&self, id: &str) -> Result<PathBuf, HubError> {
        if let Some(folder) = self.cached(id) {
            return Ok(folder);
        }
        if self.offline {
            return Err(self.unreachable(id, "HF_HUB_OFFLINE is set"));
        }
        let (files, repository) = self.list(id)?;
        for file in files {
            let fetched = repository.get(&file);
            fetched.map_err(|error| HubError::File {
                id: id.into(),
                file,
                cache: self.cache.path().clone(),
                reason: error.to_string(),
            })?;
        }
        self.cached(id).ok_or_else(|| {
            self.unreachable(id, "it has no weights with settings that could be read")
        })
    }

    /// The folder in the cache, where it has settings and weights.
    fn cached(&self, id: &str) -> Option<PathBuf> {
        let cached = self.cache.repo(Repo::model(id.into()));
        let settings = LAST.iter().find_map(|file| cached.get(file))?;
        let folder = settings.parent()?.to_owned();
        WEIGHTS
            .iter()
            .any(|file| folder.join(file).exists())
            .then_some(folder)
    }

    /// The files to fetch.
    ///
    /// A hub behind a wall may leave a question unanswered for long, so it is asked beside the main thread.
    fn list(&self, id: &str) -> Result<(Vec<String>, ApiRepo), HubError> {
        let mut builder = ApiBuilder::from_env().with_cache_dir(self.cache.path().clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.with_progress(true).build();
        let api = api.map_err(|error| self.unreachable(id, &error.to_string()))?;
        let repository = api.repo(Repo::model(id.into()));
        let (send, receive) = mpsc::channel();
        let asked = api.repo(Repo::model(id.into()));
        std::thread::spawn(move || {
            // Nobody listens any more where the answer came too late.
            let _ = send.send(asked.info());
        });
        let answer = receive.recv_timeout(PATIENCE);
        let late = |_| {
            let seconds = PATIENCE.as_secs();
            self.unreachable(id, &format!("no answer within {seconds} s"))
        };
        let answer = answer.map_err(late)?;
        let info = answer.map_err(|error| self.unreachable(id, &error.to_string()))?;
        let names = info.siblings.into_iter().map(|file| file.rfilename);
        Ok((wanted(names.collect()), repository))
    }

    fn unreachable(&self, id: &str, reason: &str) -> HubError {
        HubError::Unreachable {
            id: id.into(),
            cache: self.cache.path().clone(),
            reason: reason.into(),
        }
    }
}

/// The files of a model that are read here: one form of the weights, settings last.
fn wanted(mut files: Vec<String>) -> Vec<String> {
    let safe = files.iter().any(|file| file.ends_with(".safetensors"));
    files.retain(|file| {
        let extension = Path::new(file)
            .extension()
            .unwrap_or_default()
            .to_string_lossy();
        let foreign =
            FOREIGN.contains(&&*extension) || file.starts_with("onnx/") || file.starts_with('.');
        let unsafe_form = safe && (extension == "bin" || extension == "pt" || extension == "pth");
        // A path of a hub must not lead out of the cache.
        let inside = !file.contains("..") && !file.starts_with('/');
        inside && !foreign && !unsafe_form && !file.starts_with("openvino/")
    });
    files.sort_by_key(|file| LAST.contains(&&**file));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(folder: &Path) -> Hub {
        Hub {
            cache: Cache::new(folder.join("hub")),
            // Nothing listens there.
            endpoint: Some("http://127.0.0.1:9".into()),
            offline: false,
        }
    }

    #[test]
    fn a_cached_model_starts_without_a_hub() {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub(folder.path());
        let snapshot = folder.path().join("hub/models--owner--tiny/snapshots/0123");
        fs_err::create_dir_all(&snapshot).unwrap();
        fs_err::create_dir_all(folder.path().join("hub/models--owner--tiny/refs")).unwrap();
        fs_err::write(
            folder.path().join("hub/models--owner--tiny/refs/main"),
            "0123",
        )
        .unwrap();
        fs_err::write(snapshot.join("config.json"), "{}").unwrap();
        assert!(
            hub.folder("owner/tiny").is_err(),
            "without weights it is not whole"
        );
        fs_err::write(snapshot.join("model.safetensors"), "").unwrap();
        assert_eq!(hub.folder("owner/tiny").unwrap(), snapshot);
    }

    #[test]
    fn a_hub_that_cannot_be_reached_is_an_error_with_name_and_cache() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::time::Instant::now();
        let error = hub(folder.path())
            .folder("owner/absent")
            .unwrap_err()
            .to_string();
        assert!(start.elapsed() < PATIENCE * 2);
        let cache = folder.path().join("hub").display().to_string();
        for part in ["\"owner/absent\"", &cache, "could not be reached"] {
            assert!(error.contains(part), "{error}");
        }
        let mut offline = hub(folder.path());
        offline.offline = true;
        let error = offline.folder("owner/absent").unwrap_err().to_string();
        assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
    }

    #[test]
    fn one_form_of_the_weights_is_fetched_and_settings_come_last() {
        let files = [
            "config.json",
            "modules.json",
            ".gitattributes",
            "1_Pooling/config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "tf_model.h5",
            "../evil",
            "vocab.txt",
        ];
        let found = wanted(files.map(str::to_owned).to_vec());
        let expected = [
            "1_Pooling/config.json",
            "model.safetensors",
            "vocab.txt",
            "config.json",
            "modules.json",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn shards_of_pytorch_are_fetched_where_there_are_no_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("hub/models--owner--old/snapshots/0123");
        fs_err::create_dir_all(&snapshot).unwrap();
        let refs = folder.path().join("hub/models--owner--old/refs");
        fs_err::create_dir_all(&refs).unwrap();
        fs_err::write(refs.join("main"), "0123").unwrap();
        let mut files = vec![
            "config.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
        ];
        let found = wanted(files.iter().map(|&file| file.to_owned()).collect());
        files.rotate_left(1);
        assert_eq!(found, files);
        for file in files {
            fs_err::write(snapshot.join(file), "{}").unwrap();
        }
        assert_eq!(hub(folder.path()).folder("owner/old").unwrap(), snapshot);
    }
}
