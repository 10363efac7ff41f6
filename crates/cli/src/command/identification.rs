//! `nearkin evaluate --protocol identification`

use super::evaluate::Data;
use super::items::{DRAWS, Report, Side, labeled, right, sides, titled};
use super::subject::Subject;
use crate::arguments::Evaluate;
use crate::failure::Failure;
use crate::table::over_draws;
use nearkin::Mat;
use nearkin::data::{Dataset, read_items};
use nearkin::embed::Embedded;
use nearkin::evaluate::{
    Identification, IdentificationDraws, IdentificationOptions, Labeled, identification,
    identification_draws,
};
use std::collections::HashSet;

/// Measures by galleries that are drawn, or by those that lists name.
pub fn run(
    arguments: &Evaluate,
    (subject, data): (&Subject, &Data),
    json: bool,
) -> Result<(), Failure> {
    let options = options(arguments);
    let report = Report { data, json };
    let Some(lists) = Lists::read(arguments, data.feed.dataset())? else {
        let sides = sides(subject, data, false)?;
        return report.of(&sides, |side| drawn(side, &options), show_drawn);
    };
    lists.check_part(data)?;
    let listed = Data {
        feed: data.feed.clone(),
        indices: [&lists.gallery[..], &lists.probes].concat(),
        trained: Vec::new(),
        part: data.part,
        what: data.what.clone(),
    };
    let sides = sides(subject, &listed, false)?;
    let identified = |side: &Side| lists.identified(&side.measured, &options);
    report.of(&sides, identified, show_listed)
}

/// How identification is measured.
pub(super) fn options(arguments: &Evaluate) -> IdentificationOptions {
    IdentificationOptions {
        fars: arguments.verification.far.clone(),
        draws: DRAWS,
        ..IdentificationOptions::default()
    }
}

/// By galleries that are drawn, of one side.
pub(super) fn drawn(
    side: &Side,
    options: &IdentificationOptions,
) -> Result<IdentificationDraws, Failure> {
    let Labeled { vectors, labels } = labeled(&side.measured);
    Ok(identification_draws(vectors, labels, options)?)
}

/// A gallery and its probes, by name.
pub(super) struct Lists {
    gallery: Vec<usize>,
    probes: Vec<usize>,
}

impl Lists {
    /// The lists that were named, if any were.
    pub(super) fn read(arguments: &Evaluate, dataset: &Dataset) -> Result<Option<Self>, Failure> {
        let wanted = &arguments.items;
        let Some(path) = &wanted.gallery_list else {
            return Ok(None);
        };
        let gallery = read_items(path, dataset)?;
        let mut seen: HashSet<usize> = gallery.iter().copied().collect();
        let mut probes = Vec::new();
        for path in &wanted.probe_list {
            for item in read_items(path, dataset)? {
                if !seen.insert(item) {
                    let (name, path) = (&dataset.names[item], path.display());
                    let text =
                        format!("{path}: {name} is in another list already: it would find itself");
                    return Err(Failure::usage(text));
                }
                probes.push(item);
            }
        }
        Ok(Some(Self { gallery, probes }))
    }

    /// Of the recipe's own data what is not held out has been seen: it is no probe, and nobody's enrollment.
    fn check_part(&self, data: &Data) -> Result<(), Failure> {
        let Some(part) = data.part else {
            return Ok(());
        };
        let held: HashSet<usize> = data.indices.iter().copied().collect();
        for (list, items) in [
            ("--gallery-list", &self.gallery),
            ("--probe-list", &self.probes),
        ] {
            if let Some(&item) = items.iter().find(|item| !held.contains(item)) {
                let name = &data.feed.dataset().names[item];
                return Err(Failure::usage(format!(
                    "{list}: {name} is not of the {} part of the model's own recipe: it {}; leave it out, or name other data with --data",
                    part.name, part.others
                )));
            }
        }
        Ok(())
    }

    pub(super) fn identified(
        &self,
        embedded: &Embedded,
        options: &IdentificationOptions,
    ) -> Result<Identification, Failure> {
        let [(known, of_known), (probes, of_probes)] = [&self.gallery, &self.probes].map(|list| {
            let listed: HashSet<usize> = list.iter().copied().collect();
            part(embedded, |item| listed.contains(&item))
        });
        let matrix = |numbers, labels: &[u32]| Mat::new(numbers, labels.len(), embedded.dim);
        Ok(identification(
            (matrix(&known, &of_known), &of_known),
            (matrix(&probes, &of_probes), &of_probes),
            (&options.ks, &options.fars),
        )?)
    }
}

/// The vectors and classes of some items.
fn part(embedded: &Embedded, is: impl Fn(usize) -> bool) -> (Vec<f32>, Vec<u32>) {
    let rows = embedded.numbers.chunks_exact(embedded.dim.max(1));
    let items = embedded.items.iter().zip(&embedded.labels).zip(rows);
    let (mut numbers, mut labels) = (Vec::new(), Vec::new());
    for ((_, label), row) in items.filter(|((item, _), _)| is(**item)) {
        numbers.extend_from_slice(row);
        labels.push(*label);
    }
    (numbers, labels)
}

pub(super) fn show_listed(found: &[(&str, &Identification)]) -> (String, String) {
    let Some((_, last)) = found.last() else {
        return <_>::default();
    };
    let ranks = last.rank.iter().map(|(k, _)| format!("rank-{k}"));
    let rates = last.detected.iter().map(|d| format!("DIR@FAR={}", d.far));
    let mut shown = titled([String::new()].into_iter().chain(ranks).chain(rates));
    for (name, found) in found {
        let ranks = found.rank.iter().map(|(_, share)| share);
        let shares = ranks.chain(found.detected.iter().map(|d| &d.dir));
        let shares = shares.map(|share| format!("{:.1}", 100.0 * share));
        shown.add_row([(*name).to_owned()].into_iter().chain(shares));
    }
    let conventions = format!(
        "cosine similarity; {} identities in the gallery, {} probes of them, {} impostors;\n\
         DIR at the threshold that accepts at most the share FAR of the impostors; a probe at the threshold is rejected",
        last.identities, last.genuine, last.impostors
    );
    (right(shown), conventions)
}

pub(super) fn show_drawn(found: &[(&str, &IdentificationDraws)]) -> (String, String) {
    let Some((_, last)) = found.last() else {
        return <_>::default();
    };
    let ranks = last.rank.iter().map(|(k, _)| format!("rank-{k}"));
    let rates = last
        .detected
        .iter()
        .map(|(far, _)| format!("DIR@FAR={far}"));
    let mut shown = titled([String::new()].into_iter().chain(ranks).chain(rates));
    for (name, found) in found {
        let ranks = found.rank.iter().map(|(_, over)| over);
        let over = ranks.chain(found.detected.iter().map(|(_, over)| over));
        shown.add_row([(*name).to_owned()].into_iter().chain(over.map(over_draws)));
    }
    let [closed, open] = last.identities;
    let conventions = format!(
        "cosine similarity; galleries of one random item an identity, mean ± deviation over {DRAWS} draws;\n\
         closed set: {closed} identities, {} probes; open set: {open} of those with several items enrolled, the others and single\n\
         items are {:.0} impostors; a probe at the threshold is rejected",
        last.genuine, last.impostors
    );
    (right(shown), conventions)
}
