//! A first recipe for a data set: looks at the data and explains what it chose.

use crate::data::Parquet;
use crate::data::layout::recognized;
use crate::data::{
    Bundled, BundledName, Dataset, Features, Folder, IMAGE_EXTENSIONS, Manifest, Part, Source,
    Summary, Zip, summary,
};
use crate::error::{Error, Result};
use nearkin_encoder::image::{Color, Look, look};
use std::collections::HashSet;
use std::path::Path;

/// Images looked at for size and color.
const SAMPLES: usize = 32;
/// The fewest classes of which a tenth says something.
const VALIDATED: usize = 20;

/// The reader for a path: that of a published data set whose layout its files show, a folder of class folders, a zip of them, a table of images or of
/// features, a `.npy` matrix, or the name of a bundled set.
///
/// # Errors
/// Nothing is there, or its kind is unknown.
pub fn source_of(path: &Path) -> Result<Source> {
    let name = path.to_string_lossy();
    let bundled = [
        ("glyphs", BundledName::Glyphs),
        ("digits", BundledName::Digits),
    ];
    if let Some((_, name)) = bundled
        .into_iter()
        .find(|(known, _)| *known == name && !path.exists())
    {
        return Ok(Source::Bundled(Bundled { name }));
    }
    let plain = name
        .strip_suffix(".gz")
        .unwrap_or(&name)
        .to_ascii_lowercase();
    let ends = |ending: &str| plain.ends_with(ending);
    if path.is_dir() || path.exists() && ends(".zip") {
        // What cannot be read as a tree is said by its own reader.
        if let Ok(Some(source)) = recognized(path) {
            return Ok(source);
        }
    }
    if path.is_dir() {
        Ok(Source::Folder(Folder {
            path: path.into(),
            depth: None,
        }))
    } else if !path.exists() {
        Err(no_data(
            path,
            "no such file or folder; expected class folders, a .zip, .csv, .tsv, .parquet or .npy, or the name of a bundled set (glyphs, digits)",
        ))
    } else if ends(".zip") {
        Ok(Source::Zip(Zip {
            path: path.into(),
            depth: None,
        }))
    } else if ends(".csv") || ends(".tsv") {
        Ok(Manifest::guess(path)
            .map_or_else(|| Source::Features(Features::new(path)), Source::Manifest))
    } else if ends(".parquet") {
        // A file that cannot be read has no columns at all.
        Parquet::columns(path)?;
        let unknown = "no columns called as those of images and classes are (path, image.bytes; label, class); name them in [data.source.manifest]";
        let manifest = Manifest::guess(path).map(Source::Manifest);
        manifest.ok_or_else(|| no_data(path, unknown))
    } else if ends(".npy") {
        Ok(Source::Features(Features::new(path)))
    } else {
        Err(no_data(
            path,
            "unknown kind of data; expected a folder of class folders, a .zip of them, a .csv, .tsv, .parquet or .npy",
        ))
    }
}

/// Opens whatever [`source_of`] knows, a single image as a set of one item, or rows of `dim` features
/// that have no labels, for a model that reads those.
///
/// # Errors
/// As [`source_of`], or the data cannot be read.
pub fn open_any(path: &Path, dim: Option<usize>) -> Result<Dataset> {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    if path.is_file() && ending.is_some_and(|e| IMAGE_EXTENSIONS.contains(&e.as_str())) {
        return Ok(Dataset::of_image(path)?);
    }
    let source = source_of(path)?;
    if let (Source::Features(features), Some(_)) = (&source, dim)
        && let Ok(dataset) = features.open_unlabeled()
        && dataset.is_features() == dim
    {
        return Ok(dataset);
    }
    Ok(Dataset::open(&source)?)
}

fn no_data(path: &Path, reason: &str) -> Error {
    Error::Run {
        path: path.into(),
        reason: reason.to_owned(),
    }
}

/// Writes a commented recipe that fits the data at `path`.
///
/// # Errors
/// The data cannot be read, or none of the sampled images can be decoded.
pub fn recipe_for(path: &Path) -> Result<String> {
    let source = source_of(path)?;
    let dataset = Dataset::open(&source)?;
    let facts = summary(&dataset);
    let (network, input) = match facts.features {
        Some(_) => ("[network.mlp]\nhidden = [256]\n".to_owned(), String::new()),
        None => images(&dataset)?,
    };
    let source = toml::to_string(&Wrapped { source }).map_err(|e| no_data(path, &e.to_string()))?;
    let source = source.replace("[source.", "[data.source.");
    let (split, train_classes) = match &dataset.given_split {
        Some(parts) => given(&dataset, parts),
        None => split(&facts),
    };
    let validates = match &dataset.given_split {
        Some(parts) => parts.contains(&Part::Validation),
        None => facts.classes >= VALIDATED,
    };
    let select = if validates {
        ""
    } else {
        "select = \"last\"     # nothing validates, and what tests is not to choose\n"
    };
    // A name with a line break must not end the comment.
    let heading = facts.to_string().replace(['\n', '\r'], " ");
    // Classes of one item are as many among those that train as among all.
    let with_pairs = facts.classes.saturating_sub(facts.singletons);
    let (classes, per_class) = batch(&facts, train_classes * with_pairs / facts.classes.max(1));
    Ok(format!(
        "# {heading}\n# Written by `nearkin init`; `nearkin recipe show` writes every default out.\n\nseed = 0\n\n\
         {source}\n{split}\n\
         # P classes × K items a batch: pairs of one class need K of 2 or more.\n\
         [sampler.pk]\nclasses = {classes}\nper_class = {per_class}\n\n\
         {input}{network}\n\
         [head]\ndim = 128          # numbers an embedding\nnormalize = true   # unit length: dot product = cosine\n\n\
         # `nearkin list losses` shows the others.\n[loss.multi_similarity]\n\n\
         [optimizer.adamw]\nrate = 1e-3\n\n\
         [schedule]\nwarmup = 50\ndecay = \"cosine\"\n\n\
         [train]\nsteps = 1000\nevaluate_every = 200\n{select}"
    ))
}

#[derive(serde::Serialize)]
struct Wrapped {
    source: Source,
}

/// The split that the table gives, and the number of classes that it trains.
fn given(dataset: &Dataset, parts: &[Part]) -> (String, usize) {
    let train = dataset.labels.iter().zip(parts);
    let train = train.filter(|(_, part)| **part == Part::Train);
    let classes: HashSet<&u32> = train.map(|(label, _)| label).collect();
    let text = "# The data say which items train, validate and test.\n[data]\nsplit = \"given\"\n";
    (text.to_owned(), classes.len())
}

/// The split and the number of classes that it leaves for training.
fn split(facts: &Summary) -> (String, usize) {
    if facts.classes >= VALIDATED {
        let text = "# Whole classes are held out: the model is measured on classes that it never saw.\n\
                    [data.split.class_disjoint]\ntest = 0.3\nvalidation = 0.1\n";
        (text.to_owned(), facts.classes * 6 / 10)
    } else if facts.classes >= 10 {
        // A tenth would be a single class, on which every answer is right.
        let text = "# Whole classes are held out: the model is measured on classes that it never saw.\n\
                    [data.split.class_disjoint]\ntest = 0.3\nvalidation = 0.0\n";
        (text.to_owned(), facts.classes * 7 / 10)
    } else {
        let text = "# Fewer than ten classes: items are held out, not classes. The result says nothing of new classes.\n\
                    [data.split.item_level]\n";
        (format!("{text}test = {}\n", held_out(facts)), facts.classes)
    }
}

/// The share of each class's items that test: of few items half, so that two are there to find each other.
fn held_out(facts: &Summary) -> f64 {
    if facts.median < 7 { 0.5 } else { 0.3 }
}

/// P and K of a batch of about 128.
fn batch(facts: &Summary, train_classes: usize) -> (usize, usize) {
    let classes = train_classes.clamp(2, 32);
    let items = match facts.classes {
        0..10 => (facts.median as f64 * (1.0 - held_out(facts))) as usize,
        _ => facts.median,
    };
    let per_class = (128 / classes).clamp(2, items.max(2)).min(16);
    (classes, per_class)
}

/// The network and input tables for images, from a sample of them.
fn images(dataset: &Dataset) -> Result<(String, String)> {
    let every = dataset.len().div_ceil(SAMPLES).max(1);
    let mut looks: Vec<Look> = Vec::new();
    let mut last = None;
    for item in (0..dataset.len()).step_by(every) {
        match look(&dataset.read(item)?, &dataset.names[item]) {
            Ok(seen) => looks.push(seen),
            Err(error) => last = Some(error),
        }
    }
    if looks.is_empty() {
        return Err(last.map_or_else(
            || no_data(Path::new(&dataset.name), "no images"),
            Error::from,
        ));
    }
    let gray = looks.iter().all(|l| l.color == Color::Gray);
    let mut shorter: Vec<usize> = looks.iter().map(|l| l.width.min(l.height)).collect();
    shorter.sort_unstable();
    let median = shorter[shorter.len() / 2];
    let same_shape = looks
        .windows(2)
        .all(|w| w[0].width * w[1].height == w[1].width * w[0].height);
    // Drawings and characters carry little detail; photographs are worth more pixels and a deeper network.
    let size = if gray {
        median.clamp(16, 32) / 4 * 4
    } else {
        median.clamp(32, 64) / 8 * 8
    };
    let (color, normalization) = if gray {
        ("gray", "centered")
    } else {
        ("rgb", "centered")
    };
    let fit = if same_shape { "stretch" } else { "crop" };
    let input = format!(
        "# Images are {median} pixels on their shorter side (median of {}).\n\
         [input]\nheight = {size}\nwidth = {size}\ncolor = \"{color}\"\nfit = \"{fit}\"\nnormalization = \"{normalization}\"\n\n\
         [augment]\nflip = {}       # mirror images of a class must be of that class\ncrop = 0.8         # at least this share of each side\nshift = 0.05       # of each side\n\n",
        looks.len(),
        !gray
    );
    let network = if gray {
        "[network.convnet]\nwidths = [64, 64, 64, 64]\n".to_owned()
    } else {
        "[network.resnet]\nblocks = [2, 2, 2, 2]   # ResNet-18\nwidth = 32              # 64 is the paper's, four times the work\nstem = \"small\"\n".to_owned()
    };
    Ok((network, input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_parquet_file_is_not_called_one_without_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.parquet");
        fs_err::write(&path, "PAR1 garbage").unwrap();
        let error = source_of(&path).unwrap_err().to_string();
        assert!(
            error.contains("bad.parquet:1:") && !error.contains("columns"),
            "{error}"
        );
    }
}
