//! `nearkin evaluate`

use crate::arguments::Evaluate;
use crate::failure::Failure;
use crate::output;
use crate::progress::items;
use crate::table;
use nearkin::embed::{Embedded, embed, pixels};
use nearkin::evaluate::{Evaluation, Options, evaluate};
use nearkin::feed::Feed;
use nearkin::recipe::Document;
use nearkin::train::Setup;
use nearkin::{Mat, Model};
use std::sync::Arc;

/// Measures a model beside the raw input.
pub fn run(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    let model = Model::load(&arguments.model)?;
    let (feed, indices, what) = data(arguments, &model)?;
    let bar = items(indices.len(), "embedding");
    let embedded = embed(&model, &feed, &indices, &mut |done| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let raw = measure(&pixels(&feed, &indices)?)?;
    let trained = measure(&embedded)?;
    if json {
        let value = serde_json::json!({ "data": what, "raw": raw, "model": trained, "damaged": feed.damaged() });
        output::json(&value)?;
        return Ok(());
    }
    output::line(format_args!(
        "{what}, in percent, with half the 95% bootstrap interval:"
    ))?;
    output::line(table::evaluations(&[
        ("raw input", &raw),
        ("model", &trained),
    ]))?;
    output::line(trained.retrieval.convention)?;
    Ok(())
}

fn data(arguments: &Evaluate, model: &Model) -> Result<(Feed, Vec<usize>, String), Failure> {
    if let Some(path) = &arguments.data {
        let dataset = Arc::new(nearkin::data::Dataset::open(&nearkin::init::source_of(
            path,
        )?)?);
        let indices = (0..dataset.len()).collect();
        let what = format!("all of {}", nearkin::data::summary(&dataset));
        return Ok((
            Feed::new(dataset, model.config.input.clone(), 0.0)?,
            indices,
            what,
        ));
    }
    let path = arguments.model.join("recipe.toml");
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{}: not there; name the data with --data",
            path.display()
        )));
    }
    let setup = Setup::new(Document::read(&path)?.recipe()?)?;
    let (part, watched) = setup.watched();
    let (part, indices) = if setup.parts.test.is_empty() {
        (part, watched)
    } else {
        ("test", &setup.parts.test[..])
    };
    let what = format!("the {part} part of {}", setup.feed.dataset().name);
    Ok((setup.feed.clone(), indices.to_vec(), what))
}

fn measure(embedded: &Embedded) -> Result<Evaluation, Failure> {
    let matrix = Mat::new(&embedded.numbers, embedded.items.len(), embedded.dim);
    Ok(evaluate(matrix, &embedded.labels, &Options::default())?)
}
