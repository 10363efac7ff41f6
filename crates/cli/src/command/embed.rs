//! `nearkin embed`

use crate::arguments::Embed;
use crate::failure::Failure;
use crate::output;
use crate::progress::items;
use nearkin::Model;
use nearkin::feed::Feed;
use nearkin::vectors::{self, Vectors};
use std::path::Path;
use std::sync::Arc;

/// Writes a file of vectors.
pub fn run(arguments: &Embed, json: bool) -> Result<(), Failure> {
    let model = Model::load(&arguments.model)?;
    vectors::check_extension(&arguments.output)?;
    // Before the work, not after it.
    let folder = arguments.output.parent().unwrap_or(Path::new(""));
    if !Path::new(".").join(folder).is_dir() {
        return Err(Failure::usage(format!(
            "{}: no such folder to write into",
            folder.display()
        )));
    }
    let vectors = vectors_of(&model, &arguments.input)?;
    vectors::write(&arguments.output, &vectors)?;
    let (rows, dim) = (vectors.rows, vectors.dim);
    if json {
        output::line(serde_json::json!({ "rows": rows, "dim": dim, "file": arguments.output }))?;
    } else {
        output::note(format_args!(
            "wrote {rows} vectors of {dim} numbers to {}",
            arguments.output.display()
        ));
    }
    Ok(())
}

/// Embeds everything at a path.
pub fn vectors_of(model: &Model, path: &Path) -> Result<Vectors, Failure> {
    let dataset = Arc::new(nearkin::init::open_any(path)?);
    let feed = Feed::new(dataset, model.config.input.clone(), 0.0)?;
    let indices: Vec<usize> = (0..feed.dataset().len()).collect();
    let bar = items(indices.len(), "embedding");
    let embedded = nearkin::embed::embed(model, &feed, &indices, &mut |done| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let dataset = feed.dataset();
    let labels = embedded
        .labels
        .iter()
        .map(|&label| dataset.classes[label as usize].clone());
    Ok(Vectors {
        rows: embedded.items.len(),
        dim: embedded.dim,
        ids: Some(
            embedded
                .items
                .iter()
                .map(|&item| dataset.names[item].clone())
                .collect(),
        ),
        labels: Some(labels.collect()),
        data: embedded.numbers,
    })
}
