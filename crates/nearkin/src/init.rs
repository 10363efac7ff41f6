//! A first recipe for a data set: looks at the data and explains what it chose.

mod held_out;

use crate::data::layout::recognized;
use crate::data::{
    Bundled, BundledName, Dataset, Features, Folder, IMAGE_EXTENSIONS, Manifest, Parquet, Source,
    Summary, Zip, summary,
};
use crate::error::{Error, Result};
use crate::recipe::Document;
use crate::train::{check_parts, draw};
use held_out::HeldOut;
use nearkin_encoder::image::{Color, Look, look};
use std::path::Path;

const UNKNOWN: &str = "unknown kind of data; expected a folder of class folders, a .zip of them, a .csv, .tsv, .parquet or .npy";
/// Images looked at for size and color.
const SAMPLES: usize = 32;

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
        Err(no_data(path, UNKNOWN))
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
    let source = source_of(path).map_err(|error| match error {
        Error::Run { path, reason } if reason == UNKNOWN => Error::Run {
            path,
            reason: format!("{UNKNOWN}, or an image (.{})", IMAGE_EXTENSIONS.join(", .")),
        },
        error => error,
    })?;
    // A model of features reads rows of them, whatever a column of names beside them is called.
    let features = match &source {
        Source::Features(features) => Some(features.clone()),
        Source::Manifest(table) => Some(Features::new(&table.path)),
        _ => None,
    };
    if let (Some(features), Some(_)) = (features, dim)
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
/// The data cannot be read, none of the sampled images can be decoded, or nothing can be trained: there are no two
/// classes, or no two items of one.
pub fn recipe_for(path: &Path) -> Result<String> {
    let source = source_of(path)?;
    let dataset = Dataset::open(&source)?;
    let facts = summary(&dataset);
    refuse_untrainable(path, &facts)?;
    let (network, input) = match facts.features {
        Some(_) => ("[network.mlp]\nhidden = [256]\n".to_owned(), String::new()),
        None => images(&dataset)?,
    };
    let source = toml::to_string(&Wrapped { source }).map_err(|e| no_data(path, &e.to_string()))?;
    let source = source.replace("[source.", "[data.source.");
    let heading = heading(&dataset, &facts);
    let mut refused = None;
    for held_out in HeldOut::choices(&dataset, &facts) {
        let text = written(&heading, [&source, &input, &network], (&facts, held_out));
        match check(&text, &dataset) {
            Ok(()) => return Ok(text),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let why = refused.map_or_else(String::new, |error| format!(": {error}"));
    Err(no_data(path, &format!("nothing can be trained on it{why}")))
}

/// What the data are, as comments.
fn heading(dataset: &Dataset, facts: &Summary) -> String {
    // A name with a line break must not end the comment.
    let comment = |text: String| format!("# {}\n", text.replace(['\n', '\r'], " "));
    let absent = dataset.absent.first_key_value().map(|(_, first)| {
        comment(format!(
            "{} of them are not there, which stops training unless `data.damaged` allows such a share; the first: {first}",
            dataset.absent.len()
        ))
    });
    comment(facts.to_string()) + &absent.unwrap_or_default()
}

/// The recipe, of its parts.
fn written(
    heading: &str,
    [source, input, network]: [&str; 3],
    (facts, held_out): (&Summary, HeldOut),
) -> String {
    let select = if held_out.validates {
        ""
    } else {
        "select = \"last\"     # nothing validates, and what tests is not to choose\n"
    };
    // Classes of one item are as many among those that train as among all.
    let with_pairs = facts.classes.saturating_sub(facts.singletons);
    let trained = held_out.classes * with_pairs / facts.classes.max(1);
    let (classes, per_class) = batch(trained, held_out.per_class);
    let split = held_out.text;
    format!(
        "{heading}# Written by `nearkin init`; `nearkin recipe show` writes every default out.\n\nseed = 0\n\n\
         {source}\n{split}\n\
         # P classes × K items a batch: pairs of one class need K of 2 or more.\n\
         [sampler.pk]\nclasses = {classes}\nper_class = {per_class}\n\n\
         {input}{network}\n\
         [head]\ndim = 128          # numbers an embedding\nnormalize = true   # unit length: dot product = cosine\n\n\
         # `nearkin list losses` shows the others.\n[loss.multi_similarity]\n\n\
         [optimizer.adamw]\nrate = 1e-3\n\n\
         [schedule]\nwarmup = 50\ndecay = \"cosine\"\n\n\
         [train]\nsteps = 1000\nevaluate_every = 200\n{select}"
    )
}

#[derive(serde::Serialize)]
struct Wrapped {
    source: Source,
}

/// Pairs of one class, and another class beside it, are what any loss learns from.
fn refuse_untrainable(path: &Path, facts: &Summary) -> Result<()> {
    let found = match facts.classes {
        2.. if facts.singletons < facts.classes => return Ok(()),
        2.. => format!("{} classes of a single item each", facts.classes),
        _ => format!("{} items of one class", facts.items),
    };
    let layout = match facts.features {
        Some(_) => "",
        None => ", such as images in a folder for each class (cat/1.png, cat/2.png, dog/1.png)",
    };
    let reason = format!(
        "nothing can be trained on it: expected two classes or more, some with two items or more{layout}; found {found}"
    );
    Err(no_data(path, &reason))
}

/// Whether split and batches of a recipe fit the data.
fn check(text: &str, dataset: &Dataset) -> Result<()> {
    let recipe = Document::parse("the recipe", text)?.recipe()?;
    let parts = recipe.data.parts(dataset, recipe.seed)?;
    check_parts(&parts, dataset)?;
    draw(dataset, &parts.train, (&recipe.sampler, recipe.seed))?;
    Ok(())
}

/// P and K of a batch of about 128, of the classes that train and the items of one.
fn batch(classes: usize, items: usize) -> (usize, usize) {
    let classes = classes.clamp(2, 32);
    let per_class = (128 / classes).clamp(2, items.max(2)).min(16);
    (classes, per_class)
}

/// The network and input tables for images, from a sample of them.
fn images(dataset: &Dataset) -> Result<(String, String)> {
    let every = dataset.len().div_ceil(SAMPLES).max(1);
    let looked = (0..dataset.len()).step_by(every).map(|item| {
        let bytes = dataset.read(item)?;
        Ok(look(&bytes, &dataset.names[item])?)
    });
    let (mut looks, mut failed): (Vec<Look>, Vec<Error>) = (Vec::new(), Vec::new());
    for seen in looked {
        seen.map_or_else(|error| failed.push(error), |seen| looks.push(seen));
    }
    if looks.is_empty() {
        let of = match failed.len() {
            count if count == dataset.len() => format!("its {count} images"),
            count => format!("the {count} images looked at, of {},", dataset.len()),
        };
        return Err(Error::Unreadable {
            data: dataset.name.clone(),
            of,
            first: failed.first().map_or_else(String::new, Error::to_string),
        });
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

    /// A folder with these images, each of a size of its own.
    fn folder_of(files: &[&str]) -> tempfile::TempDir {
        let image = b"P5 8 8 255\n".iter().chain(&[7; 64]).copied();
        let image: Vec<u8> = image.collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|&file| (file, &image[..])).collect();
        crate::data::tests::folder_of(&files)
    }

    fn items(folders: &[&str], items: usize) -> Vec<String> {
        let files = |folder: &&str| {
            let folder = (*folder).to_owned();
            (0..items).map(move |item| format!("{folder}/{item}.pgm"))
        };
        folders.iter().flat_map(files).collect()
    }

    fn recipe_of(files: &[String]) -> Result<String> {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        recipe_for(folder_of(&files).path())
    }

    #[test]
    fn folders_of_parts_are_honored_and_seen_classes_are_said() {
        let seen = items(&["train/a", "train/b", "test/a", "test/b"], 4);
        let text = recipe_of(&seen).unwrap();
        assert!(text.contains("split = \"given\""), "{text}");
        assert!(
            text.contains("2 of the 2 classes that are measured also train"),
            "{text}"
        );
        assert!(text.contains("\nclasses = 2\n"), "{text}");
        let unseen = items(&["train/a", "train/b", "test/c", "test/d"], 4);
        let text = recipe_of(&unseen).unwrap();
        assert!(
            text.contains("split = \"given\"") && !text.contains("also train"),
            "{text}"
        );
    }

    #[test]
    fn a_given_split_that_leaves_nothing_to_a_part_is_not_taken() {
        for part in ["images_background", "images_evaluation"] {
            let classes: Vec<String> = (10..22)
                .map(|class| format!("{part}/Greek/character{class}"))
                .collect();
            let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
            let text = recipe_of(&items(&classes, 4)).unwrap();
            assert!(
                text.contains("class_disjoint") && text.contains("# Not the split"),
                "{text}"
            );
        }
    }

    #[test]
    fn few_classes_too_small_to_lend_items_are_held_out_whole() {
        for (count, per_class, split) in [
            (4, 3, "class_disjoint"),
            (9, 3, "class_disjoint"),
            (9, 4, "item_level"),
        ] {
            let classes: Vec<String> = (0..count).map(|class| format!("c{class}")).collect();
            let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
            let text = recipe_of(&items(&classes, per_class)).unwrap();
            assert!(text.contains(split), "{text}");
        }
    }

    #[test]
    fn folders_of_parts_that_give_no_split_are_said() {
        let mut files = items(&["train/a", "train/b", "test/c", "test/d"], 4);
        assert!(!recipe_of(&files).unwrap().contains("they give no split"));
        files.extend(items(&["others"], 3));
        let text = recipe_of(&files).unwrap();
        assert!(
            text.contains(
                "they give no split, and are in the names of classes, such as \"test/c\""
            ),
            "{text}"
        );
    }

    #[test]
    fn where_nothing_can_be_trained_no_recipe_is_written() {
        let single: Vec<String> = (0..12).map(|class| format!("c{class}/1.pgm")).collect();
        let flat: Vec<String> = (0..9).map(|item| format!("{item}.pgm")).collect();
        let sparse = [items(&["a"], 2), single.clone()].concat();
        for (files, words) in [
            (&flat, "found 9 items of one class"),
            (&items(&["a"], 8), "found 8 items of one class"),
            (&single, "found 12 classes of a single item each"),
            (&sparse, "nothing can be trained on it: "),
        ] {
            let error = recipe_of(files).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn where_no_image_can_be_read_their_number_and_the_first_are_said() {
        let folder = folder_of(&["a/1.pgm", "a/2.pgm", "b/1.pgm"]);
        for file in ["a/1.pgm", "a/2.pgm", "b/1.pgm"] {
            fs_err::write(folder.path().join(file), "nothing").unwrap();
        }
        let error = recipe_for(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("none of its 3 images can be read; the first: a/1.pgm"),
            "{error}"
        );
    }

    #[test]
    fn an_image_of_an_unknown_format_is_told_the_known_ones() {
        let folder = folder_of(&["a.gif"]);
        let error = open_any(&folder.path().join("a.gif"), None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("or an image (.png, .jpg"), "{error}");
    }

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
