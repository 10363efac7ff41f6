//! HTML in which what comes from outside is text, never markup.

use serde::Serialize;
use std::fmt::{Display, Write};

/// A piece of a page. Names, labels and texts go in by [`text`](Self::text) alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Adds markup that this program wrote.
    pub fn raw(&mut self, markup: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{markup}");
        self
    }

    /// Adds text, escaped for content and for quoted attributes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\0' => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
        self
    }

    /// Adds a name of foreign origin, cut where it is long, whose direction of writing does not reach beyond it.
    pub fn name(&mut self, name: &str) -> &mut Self {
        let cut = short(name, LONGEST_NAME);
        self.raw("<bdi>").text(&cut).raw("</bdi>")
    }

    /// Adds another piece.
    pub fn add(&mut self, other: &Self) -> &mut Self {
        self.raw(&other.0)
    }

    /// The markup.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters of a name, or of a text, that are shown.
const LONGEST_NAME: usize = 140;

/// A text with at most so many characters, the last an ellipsis where there were more.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Data for the page's script, in a form that cannot end the element around it.
pub fn json(id: &str, value: &impl Serialize) -> Result<Html, serde_json::Error> {
    let text = serde_json::to_string(value)?.replace('<', "\\u003c");
    let mut html = Html::default();
    html.raw(format_args!(
        "<script type=\"application/json\" id=\"{id}\">{text}</script>"
    ));
    Ok(html)
}

/// A table that scrolls in its own box. The first column is of names, the others are of numbers unless they are `words`.
pub struct Table {
    html: Html,
    words: &'static [usize],
}

impl Table {
    /// A table with its heads; `sortable` lets the page's script sort it.
    pub fn new(label: &str, heads: &[&str], words: &'static [usize], sortable: bool) -> Self {
        let mut html = Html::default();
        html.raw("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"")
            .text(label);
        let class = if sortable { " class=\"sortable\"" } else { "" };
        html.raw(format_args!("\"><table{class}><thead><tr>"));
        for (column, head) in heads.iter().enumerate() {
            let class = class_of(column, words);
            html.raw(format_args!("<th scope=\"col\"{class}>"))
                .text(head)
                .raw("</th>");
        }
        html.raw("</tr></thead><tbody>");
        Self { html, words }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[Html]) {
        self.html.raw("<tr>");
        for (column, cell) in cells.iter().enumerate() {
            let class = class_of(column, self.words);
            let tag = if column == 0 {
                "th scope=\"row\""
            } else {
                "td"
            };
            self.html.raw(format_args!("<{tag}{class}>")).add(cell);
            self.html.raw(if column == 0 { "</th>" } else { "</td>" });
        }
        self.html.raw("</tr>");
    }

    /// The finished table.
    pub fn finish(mut self) -> Html {
        self.html.raw("</tbody></table></div>");
        self.html
    }
}

fn class_of(column: usize, words: &[usize]) -> &'static str {
    if column == 0 || words.contains(&column) {
        ""
    } else {
        " class=\"number\""
    }
}

/// A cell of text.
pub fn cell(text: &str) -> Html {
    let mut html = Html::default();
    html.text(text);
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_neither_an_element_nor_an_attribute() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>'&\0").raw("\">");
        assert_eq!(
            html.as_str(),
            "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\u{fffd}\">"
        );
    }

    #[test]
    fn data_for_the_script_cannot_end_its_element() {
        let html = json("map", &["</script><script>alert(1)</script>", "<!--"]).unwrap();
        let inside = html
            .as_str()
            .strip_prefix("<script type=\"application/json\" id=\"map\">")
            .and_then(|rest| rest.strip_suffix("</script>"))
            .unwrap();
        assert!(!inside.contains('<'), "{inside}");
        let back: Vec<String> = serde_json::from_str(inside).unwrap();
        assert_eq!(back[1], "<!--");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöüß", 3), "äö…");
    }

    #[test]
    fn cells_of_a_table_are_text() {
        let mut table = Table::new("<b>", &["<i>", "n", "w"], &[2], true);
        table.row(&[cell("<script>"), cell("1"), cell("&")]);
        let html = table.finish();
        let html = html.as_str();
        assert!(!html.contains("<script>") && !html.contains("<b>") && !html.contains("<i>"));
        assert!(
            html.contains("<td class=\"number\">1</td><td>&amp;</td>"),
            "{html}"
        );
    }
}
