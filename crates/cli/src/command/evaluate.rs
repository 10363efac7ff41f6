//! `nearkin evaluate`

use super::subject::{ModelFolder, Subject};
use super::text::{self, is_text_model, resolve};
use super::{compressions, degraded, items, retrieval, vectors, verification};
use crate::arguments::{Evaluate, Protocol, only_for_text};
use crate::failure::Failure;
use nearkin::data::{Dataset, Part, summary};
use nearkin::feed::Feed;
use nearkin::pair_network::PairSetup;
use nearkin::recipe::AnyRecipe;
use nearkin::train::Setup;
use nearkin::{Input, PairModel};
use std::path::Path;

/// Measures a model beside the raw input.
pub fn run(arguments: &Evaluate, json: bool) -> Result<(), Failure> {
    refuse_misplaced(arguments)?;
    if vectors::is_file(&arguments.model) {
        return vectors::run(arguments, json);
    }
    let cameras = arguments.items.cameras.is_some().then_some("--cameras");
    if let Some(option) = arguments.retrieval.of_vectors().or(cameras) {
        return Err(Failure::usage(format!(
            "{option} goes with a file of vectors (.npy, .safetensors, .parquet, .jsonl); {} is a model: write its vectors with nearkin embed",
            arguments.model.display()
        )));
    }
    let model = resolve(&arguments.model)?;
    if is_text_model(&model) || arguments.model == Path::new("tfidf") {
        if arguments.retrieval.compressions {
            return Err(Failure::usage(format!(
                "--compressions is of vectors: write those of the texts with `nearkin embed {} TEXTS -o vectors.npy` and evaluate the file",
                arguments.model.display()
            )));
        }
        return text::evaluate::run(arguments, &model, json);
    }
    let of_texts = arguments.protocol.is_some_and(Protocol::is_of_texts);
    let of_texts = of_texts.then_some("this --protocol");
    text::refuse_option(only_for_text(None, &arguments.vectors).or(of_texts), &model)?;
    if PairModel::is_in(&model) {
        return super::pairs::evaluate(arguments, &model, json);
    }
    let subject = Subject::load(&model, &arguments.tolerance)?;
    let data = Data::of(arguments, &subject.folder, &subject.model.config.input)?;
    if arguments.retrieval.compressions {
        return compressions::of_model(&subject, &data, json);
    }
    if !arguments.items.degrade.is_empty() {
        return degraded::run(arguments, &subject, &data, json);
    }
    match arguments.protocol {
        Some(Protocol::Verification) => verification::run(arguments, &subject, &data, json),
        None | Some(Protocol::Retrieval) => retrieval::run(arguments, (&subject, &data), json),
        Some(protocol) => items::run(arguments, protocol, (&subject, &data), json),
    }
}

/// The part that a data set itself says is to be measured, as Market-1501's folders do, or all of it.
fn tested(dataset: &Dataset) -> (Vec<usize>, &'static str) {
    let of = |wanted: Part| -> Vec<usize> {
        let parts = dataset.given_split.iter().flatten().enumerate();
        let of_part = parts.filter(|(_, part)| **part == wanted);
        of_part.map(|(item, _)| item).collect()
    };
    let named = [
        (of(Part::Test), "the test part"),
        (of(Part::Validation), "the validation part"),
    ];
    let found = named.into_iter().find(|(items, _)| !items.is_empty());
    found.unwrap_or_else(|| ((0..dataset.len()).collect(), "all"))
}

/// What a protocol measures, and what it leaves out in words: what is of no class can be found by none, so only
/// re-identification, which has it in its gallery, and verification, whose pairs are named, keep it.
fn of_protocol(
    indices: Vec<usize>,
    dataset: &Dataset,
    protocol: Option<Protocol>,
) -> (Vec<usize>, String) {
    if matches!(protocol, Some(Protocol::Reid | Protocol::Verification)) {
        return (indices, String::new());
    }
    let all = indices.len();
    let mut kept = indices;
    kept.retain(|&item| !dataset.is_distractor(item));
    let said = match all - kept.len() {
        0 => String::new(),
        1 => ", without 1 distractor".to_owned(),
        count => format!(", without {count} distractors"),
    };
    (kept, said)
}

/// Options that mean nothing to the protocol.
fn refuse_misplaced(arguments: &Evaluate) -> Result<(), Failure> {
    let (pairs, protocol) = (&arguments.verification.pairs, arguments.protocol);
    if pairs.is_some() && protocol != Some(Protocol::Verification) {
        return Err(Failure::usage("--pairs goes with --protocol verification"));
    }
    if let Some(text) = arguments.items.misplaced(protocol) {
        return Err(Failure::usage(text));
    }
    if let Some(text) = arguments.text.misplaced(protocol) {
        return Err(Failure::usage(text));
    }
    if let Some(option) = arguments.retrieval.misplaced(protocol) {
        let also = if option == "--at" { " and ir" } else { "" };
        return Err(Failure::usage(format!(
            "{option} goes with --protocol retrieval{also}"
        )));
    }
    Ok(())
}

/// A part of the data of a model's own recipe.
#[derive(Clone, Copy, Debug)]
pub struct OwnPart {
    /// `test`, or `validation` where nothing tests.
    pub name: &'static str,
    /// What the items of the other parts did.
    pub others: &'static str,
}

/// What is measured.
pub struct Data {
    /// The items.
    pub feed: Feed,
    /// Those that are measured.
    pub indices: Vec<usize>,
    /// Those that trained the model, where its recipe says so.
    pub trained: Vec<usize>,
    /// The part that they are, where the data are the recipe's own.
    pub part: Option<OwnPart>,
    /// All of it in words.
    pub what: String,
}

impl Data {
    /// The data that was asked for, or the part that the recipe in the model folder holds out.
    pub fn of(arguments: &Evaluate, folder: &ModelFolder, input: &Input) -> Result<Self, Failure> {
        if let Some(path) = &arguments.data {
            let source = match folder.table(path)? {
                Some(source) => source,
                None => nearkin::init::source_of(path)?,
            };
            let dataset = Dataset::open(&source)?;
            let (indices, part) = tested(&dataset);
            let (indices, without) = of_protocol(indices, &dataset, arguments.protocol);
            let what = format!("{part} of {}{without}", summary(&dataset));
            return Ok(Self {
                feed: folder.feed(dataset, input)?,
                indices,
                trained: Vec::new(),
                part: None,
                what,
            });
        }
        let Some(document) = folder.recipe()? else {
            return Err(Failure::usage(format!(
                "{}: no recipe.toml in it; name the data with --data",
                arguments.model.display()
            )));
        };
        let (feed, parts) = if let AnyRecipe::Pairs(recipe) = document.any_recipe()? {
            let setup = PairSetup::new(*recipe)?;
            (setup.feed, setup.parts)
        } else {
            let setup = Setup::new(document.recipe()?)?;
            (setup.feed, setup.parts)
        };
        let (part, indices) = parts.measured();
        let others = match part {
            "test" if !parts.validation.is_empty() => "trained or validated",
            _ => "trained",
        };
        if indices.is_empty() {
            return Err(Failure::usage(format!(
                "{}: its recipe (data.split) sets nothing apart from what trained; name the data with --data",
                arguments.model.display()
            )));
        }
        let dataset = feed.dataset();
        let indices = match part {
            "test" => [indices, &parts.distractors].concat(),
            _ => indices.to_vec(),
        };
        let (indices, without) = of_protocol(indices, dataset, arguments.protocol);
        Ok(Self {
            what: format!("the {part} part of {}{without}", dataset.name),
            indices,
            trained: parts.train.clone(),
            part: Some(OwnPart { name: part, others }),
            feed,
        })
    }
}
