//! The page around the parts of a report: one file that needs no other.

use super::html::Html;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A part of a report.
pub struct Section {
    /// Its address on the page.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it holds.
    pub body: Html,
}

impl Section {
    /// A part of a report.
    pub fn new(id: &'static str, title: &'static str, body: Html) -> Self {
        Self { id, title, body }
    }
}

/// Whether a page asks its server for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It is a file: it may load nothing at all.
    Still,
    /// It is served while the run goes on, and may ask the server that it came from.
    Live,
}

/// The page with a heading, a line below it, and its parts in their order.
pub fn page(title: &str, lead: &str, sections: &[Section], liveness: Liveness) -> String {
    let (mut heading, mut below, mut contents, mut body) = <(Html, Html, Html, Html)>::default();
    heading.text(title);
    below.text(lead);
    for Section {
        id,
        title,
        body: part,
    } in sections
    {
        contents.raw(format_args!("<li><a href=\"#{id}\">{title}</a></li>"));
        body.raw(format_args!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>"
        ));
        body.add(part).raw("</section>");
    }
    let (connect, live) = match liveness {
        Liveness::Still => ("'none'", "no"),
        Liveness::Live => ("'self'", "yes"),
    };
    fill(&[
        ("title", heading.as_str()),
        ("lead", below.as_str()),
        ("contents", contents.as_str()),
        ("body", body.as_str()),
        ("connect", connect),
        ("live", live),
        ("style", STYLE),
        ("script", SCRIPT),
    ])
}

/// The template with its places filled. What is filled in is not looked at again, so that no name can be a place.
fn fill(parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        page.push_str(before);
        let part = parts.iter().find(|(of, _)| *of == name);
        page.push_str(part.map_or("", |(_, text)| text));
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_template_is_filled_once() {
        let mut body = Html::default();
        body.text("{{style}} <script>");
        let page = page(
            "{{body}}<script>",
            "lead",
            &[Section::new("a", "A part", body)],
            Liveness::Still,
        );
        assert_eq!(page.matches("{{style}}").count(), 1, "that of the text");
        assert_eq!(page.matches("{{body}}").count(), 2, "title and heading");
        assert!(page.contains("<a href=\"#a\">A part</a>") && page.contains("connect-src 'none'"));
        assert_eq!(page.matches("<script").count(), 1);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for text in [TEMPLATE, STYLE, SCRIPT] {
            for loaded in ["http:", "https:", "@import", "url(", "src="] {
                let namespace = "http://www.w3.org/2000/svg";
                assert!(!text.replace(namespace, "").contains(loaded), "{loaded}");
            }
        }
        assert!(page("", "", &[], Liveness::Live).contains("connect-src 'self'"));
    }
}
