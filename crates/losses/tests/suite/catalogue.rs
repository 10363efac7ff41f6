//! The catalogue says about each member what a reader and the command line need.

use nearkin_losses::catalogue::{self, Entry};
use nearkin_losses::distance::Distance;
use nearkin_losses::logits::LogitLoss;
use nearkin_losses::loss::Loss;
use nearkin_losses::miner::Miner;
use nearkin_losses::pair_metric::PairLoss;
use nearkin_losses::reducer::Reducer;
use nearkin_losses::regularizer::Regularizer;
use nearkin_losses::{Objective, loss};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn assert_complete(entry: &Entry) {
    let Entry {
        name,
        summary,
        formula,
        reference,
        text,
        ..
    } = entry;
    assert!(
        summary.ends_with('.') && !summary.contains('\n'),
        "{name}: {summary}"
    );
    assert!(!formula.is_empty() && !reference.is_empty(), "{name}");
    assert!(
        text.contains("# Example\n```\n"),
        "{name} has no example that runs"
    );
    for parameter in &entry.parameters {
        assert!(
            parameter.doc.ends_with('.'),
            "{name}.{}: {}",
            parameter.name,
            parameter.doc
        );
        assert!(!parameter.default.is_empty(), "{name}.{}", parameter.name);
    }
}

/// The key of the catalogue is the key of the recipe, and each parameter and default is the one the recipe has.
fn assert_matches_the_recipe<T: Serialize + DeserializeOwned + PartialEq>(
    members: &[T],
    entries: &[Entry],
) {
    assert_eq!(members.len(), entries.len());
    for member in members {
        let value = serde_json::to_value(member).unwrap();
        let (name, table) = value.as_object().unwrap().iter().next().unwrap();
        let entry = entries.iter().find(|entry| entry.name == name);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not listed"));
        assert_complete(entry);
        let table = table.as_object().unwrap();
        assert_eq!(table.len(), entry.parameters.len());
        for parameter in &entry.parameters {
            // An objective inside is named by its loss.
            if ["of", "terms"].contains(&parameter.name) {
                let name = parameter.default.trim_matches(['[', ']']);
                let name = name.rsplit(' ').next().unwrap();
                assert!(table[parameter.name].to_string().contains(name));
                continue;
            }
            let value = table[parameter.name].to_string();
            let (value, default) = (value.trim_matches('"'), parameter.default.as_str());
            // The same number may be written with an exponent or without.
            let numbers = [value, default].map(|text| text.parse::<f64>().ok());
            let same = value == default || numbers[0].is_some() && numbers[0] == numbers[1];
            assert!(same, "{}: {value}, not {default}", entry.name);
        }
        let bare = format!("{{\"{}\": {{}}}}", entry.name);
        assert!(
            serde_json::from_str::<T>(&bare).unwrap() == *member,
            "{bare} is not the default"
        );
    }
}

#[test]
fn entries_are_complete_and_match_the_recipe() {
    assert_matches_the_recipe(&Loss::defaults(), catalogue::losses());
    assert_matches_the_recipe(&LogitLoss::defaults(), catalogue::logit_losses());
    assert_matches_the_recipe(&PairLoss::defaults(), catalogue::pair_losses());
    assert_matches_the_recipe(&Miner::defaults(), catalogue::miners());
    assert_matches_the_recipe(&Distance::defaults(), catalogue::distances());
    assert_matches_the_recipe(&Reducer::defaults(), catalogue::reducers());
    assert_matches_the_recipe(&Regularizer::defaults(), catalogue::regularizers());
}

#[test]
fn the_page_shows_every_entry_with_its_parameters() {
    let page = catalogue::markdown();
    for (table, entries) in [
        ("loss", catalogue::losses()),
        ("loss", catalogue::logit_losses()),
        ("loss", catalogue::pair_losses()),
        ("miner", catalogue::miners()),
        ("distance", catalogue::distances()),
        ("reducer", catalogue::reducers()),
        ("regularizers.penalty", catalogue::regularizers()),
    ] {
        for entry in entries {
            assert!(page.contains(&format!("### `[{table}.{}]`", entry.name)));
            assert!(page.contains(&entry.formula));
            for parameter in &entry.parameters {
                assert!(page.contains(&format!(
                    "| `{}` | `{}` |",
                    parameter.name, parameter.default
                )));
            }
        }
    }
    assert!(
        !page.contains("Ok::<"),
        "hidden lines of examples stay hidden"
    );
    assert!(
        !page.contains("[`Tuples`]"),
        "rustdoc links are links only in rustdoc"
    );
}

#[test]
fn a_resolved_objective_survives_a_recipe_unchanged() {
    for loss in crate::losses() {
        let objective = Objective::from(loss).resolved();
        let text = toml::to_string(&objective).unwrap();
        assert_eq!(
            toml::from_str::<Objective>(&text).unwrap(),
            objective,
            "{text}"
        );
    }
    let text = toml::to_string(&Objective::from(loss::TripletMargin::default())).unwrap();
    assert!(text.contains("margin = 0.2\n"), "{text}");
}
