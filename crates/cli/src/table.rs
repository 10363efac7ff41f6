//! Tables for people.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use nearkin::evaluate::{Estimate, Evaluation, OverDraws};
use nearkin::pair_network::PairReport;
use nearkin::text::train::TextReport;
use nearkin::train::Report;

/// Columns of a terminal that everyone has.
const WIDTH: u16 = 110;

/// An empty table with these column names, whose words stay whole.
pub fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    table.set_header(header);
    for (column, name) in table.column_iter_mut().zip(header) {
        let words = name.split(' ').map(|word| word.chars().count());
        column.set_constraint(at_least(words.max().unwrap_or(0) as u16));
    }
    table
}

/// Columns up to this width hold numbers, which stay on one line with what they are give or take.
const NUMBER: u16 = 14;

/// Right-aligns all columns but the first, and keeps their numbers whole, and the words of the first: a table that has no
/// room for that becomes wider.
pub fn numbers_right(table: &mut Table) {
    let widths = table.column_max_content_widths();
    let names = table.row_iter().filter_map(|row| row.cell_iter().next());
    let words = names.flat_map(|cell| {
        cell.content()
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let longest = words.map(|word| word.chars().count()).max().unwrap_or(0);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(at_least(longest as u16));
    }
    for (column, width) in table.column_iter_mut().zip(widths).skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
        if width <= NUMBER {
            column.set_constraint(at_least(width));
        }
    }
}

/// Room for so many characters between the blanks beside a column.
fn at_least(width: u16) -> ColumnConstraint {
    ColumnConstraint::LowerBoundary(Width::Fixed(width + 2))
}

/// The table of a finished run: raw input, untrained network, trained model.
pub fn report(report: &Report) -> String {
    let rows: Vec<(&str, &Evaluation)> = report
        .rows
        .iter()
        .map(|row| (row.name, &row.evaluation))
        .collect();
    evaluations(&rows)
}

/// The table of a finished network of pairs: raw input, untrained network, trained model.
pub fn pair_report(report: &PairReport) -> String {
    let Some(first) = report.rows.first() else {
        return String::new();
    };
    let ranks = first.found.reid.single_shot.iter();
    let ranks = ranks.map(|(k, _)| format!("rank-{k}"));
    let names = ["mAP", "same", "different"].map(str::to_owned);
    let header: Vec<String> = [String::new()]
        .into_iter()
        .chain(ranks)
        .chain(names)
        .collect();
    let mut table = new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &report.rows {
        let (reid, distances) = (&row.found.reid, &row.found.distances);
        let mut cells = vec![row.name.to_owned()];
        cells.extend(reid.single_shot.iter().map(|(_, over)| over_draws(over)));
        cells.push(percent(&reid.map));
        let means = [distances.intra.mean, distances.inter.mean];
        cells.extend(means.map(|mean| format!("{:.1}", 100.0 * mean)));
        table.add_row(cells);
    }
    numbers_right(&mut table);
    table.to_string()
}

/// The table of a finished run on text: every score before and after.
pub fn text_report(report: &TextReport) -> String {
    let mut table = new(&["", "score", "items", "before", "after"]);
    for row in &report.rows {
        table.add_row([
            row.name.clone(),
            row.metric.to_owned(),
            row.items.to_string(),
            percent(&row.untrained),
            percent(&row.trained),
        ]);
    }
    numbers_right(&mut table);
    table.to_string()
}

/// Some evaluations, one below the other, with 95% intervals.
pub fn evaluations(rows: &[(&str, &Evaluation)]) -> String {
    let Some((_, first)) = rows.first() else {
        return String::new();
    };
    let recalls = first.retrieval.recall().map(|(k, _)| format!("Recall@{k}"));
    let names: Vec<String> = [String::new()]
        .into_iter()
        .chain(recalls)
        .chain(["R-prec".into(), "MAP@R".into(), "NMI".into()])
        .collect();
    let mut table = new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, evaluation) in rows {
        let retrieval = &evaluation.retrieval;
        let mut cells = vec![(*name).to_owned()];
        cells.extend(retrieval.recall().map(|(_, estimate)| percent(&estimate)));
        cells.extend([
            percent(&retrieval.r_precision),
            percent(&retrieval.map_at_r),
        ]);
        cells.push(
            evaluation
                .clustering
                .as_ref()
                .map_or_else(|| "–".into(), |c| format!("{:.1}", c.nmi * 100.0)),
        );
        table.add_row(cells);
    }
    numbers_right(&mut table);
    table.to_string()
}

/// The mean and deviation over draws, as percent.
pub fn over_draws(over: &OverDraws) -> String {
    let mean = 100.0 * over.mean;
    match over.draws {
        0 | 1 => format!("{mean:.1}"),
        _ => format!("{mean:.1} ±{:.1}", 100.0 * over.std),
    }
}

/// A share as percent with half the width of its interval.
pub fn percent(estimate: &Estimate) -> String {
    format!(
        "{:.1} ±{:.1}",
        estimate.value * 100.0,
        (estimate.high - estimate.low) * 50.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_not_cut_inside_a_word() {
        let far = (1..=9).map(|i| format!("VAL@FAR=0.000{i}"));
        let names: Vec<String> = [String::new()].into_iter().chain(far).collect();
        let mut table = new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        table.add_row(names.iter().map(|_| "the model, in bytes, of all pairs"));
        let shown = table.to_string();
        assert!(names.iter().all(|name| shown.contains(name)), "{shown}");
    }

    #[test]
    fn numbers_are_not_parted_from_what_they_are_give_or_take() {
        let names = [
            "",
            "accuracy",
            "VAL@FAR=0.001",
            "AUC",
            "EER",
            "TAR@FAR=0.001",
            "TAR@FAR=0.01",
            "TAR@FAR=0.1",
        ];
        let mut table = new(&names);
        let name = "model to gallery model".to_owned();
        table.add_row([name].into_iter().chain(vec!["100.0 ±12.5".to_owned(); 7]));
        numbers_right(&mut table);
        let shown = table.to_string();
        assert_eq!(shown.matches("100.0 ±12.5").count(), 7, "{shown}");
        assert!(names.iter().all(|name| shown.contains(name)), "{shown}");
    }
}
