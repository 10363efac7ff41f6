//! `nearkin evaluate --degrade`

use super::asked::Asked;
use super::evaluate::Data;
use super::retrieval::{measure, single_class};
use super::subject::{Subject, left_out};
use super::verification;
use crate::arguments::{Evaluate, Protocol};
use crate::failure::Failure;
use crate::progress::activity;
use crate::{output, table};
use nearkin::evaluate::{Evaluation, Verification};
use nearkin::feed::Feed;
use nearkin::image::Degradation;
use serde::Serialize;
use serde_json::{Map, Value};

/// Measures a model on images as they are, and after each loss.
pub fn run(
    arguments: &Evaluate,
    subject: &Subject,
    data: &Data,
    json: bool,
) -> Result<(), Failure> {
    if data.feed.dataset().is_features().is_some() {
        return Err(Failure::usage(
            "--degrade is for images, these are features",
        ));
    }
    let mut table = Table {
        losses: (arguments.items.degrade.iter())
            .flat_map(|losses| losses.0.iter().copied())
            .collect(),
        data,
        json,
        facts: Map::new(),
        remarks: Vec::new(),
    };
    if arguments.protocol == Some(Protocol::Verification) {
        let asked = Asked::read(arguments, data)?;
        let options = verification::options(arguments);
        let paired = |feed: &Feed| asked.paired(&subject.embed(feed, &asked.items)?);
        let whole = paired(&data.feed)?;
        (table.facts, table.remarks) = (asked.facts(&whole), asked.remarks(&whole));
        let first = asked.measure(&whole, &options)?;
        let one = |feed: &Feed| asked.measure(&paired(feed)?, &options);
        return table.of(first, one, |rows: &[(&str, &Verification)]| {
            verification::show(rows, verification::UNIT_VECTORS)
        });
    }
    let one = |feed: &Feed| {
        let embedded = subject.embed(feed, &data.indices)?;
        let bar = activity("measuring");
        let found = measure(&embedded, &arguments.retrieval);
        bar.finish_and_clear();
        found
    };
    let first = one(&data.feed)?;
    table
        .remarks
        .extend(single_class(&first).map(str::to_owned));
    table.of(first, one, |rows: &[(&str, &Evaluation)]| {
        output::line(table::evaluations(rows))?;
        let convention = rows.first().map_or("", |(_, e)| &e.retrieval.convention);
        output::line(format_args!(
            "half the 95% bootstrap interval;\n{convention}"
        ))
    })
}

/// A row for the images as they are, and one for each loss.
struct Table<'a> {
    losses: Vec<Degradation>,
    data: &'a Data,
    json: bool,
    /// More for machines.
    facts: Map<String, Value>,
    /// More for people, a line each.
    remarks: Vec<String>,
}

impl Table<'_> {
    fn of<T: Serialize>(
        self,
        first: T,
        measure: impl Fn(&Feed) -> Result<T, Failure>,
        show: impl Fn(&[(&str, &T)]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Data { feed, what, .. } = self.data;
        let mut rows = vec![("as they are".to_owned(), first)];
        for &loss in &self.losses {
            rows.push((loss.to_string(), measure(&feed.degraded(loss))?));
        }
        let damaged = feed.damaged();
        if self.json {
            let row = |(images, found): &(String, T)| {
                Ok(serde_json::json!({ "images": images, "model": serde_json::to_value(found)? }))
            };
            let rows: Vec<_> = rows.iter().map(row).collect::<Result<_, Failure>>()?;
            let mut value = self.facts;
            value.insert("data".into(), serde_json::json!(what));
            value.insert("rows".into(), serde_json::json!(rows));
            value.insert("damaged".into(), serde_json::json!(damaged));
            return output::json(&value);
        }
        output::line(format_args!(
            "{what}, images that lost something before they are made to fit, in percent:"
        ))?;
        let rows: Vec<(&str, &T)> = rows
            .iter()
            .map(|(images, t)| (images.as_str(), t))
            .collect();
        show(&rows)?;
        self.remarks.iter().try_for_each(output::line)?;
        left_out(&damaged).map_or(Ok(()), output::line)
    }
}
