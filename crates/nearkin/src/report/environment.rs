//! Where a report was made, of what, and how it is made again.

use super::html::{Html, Table, cell};
use std::path::Path;

/// What runs here, with the command that was given.
pub fn html(command: &str, recipe: Option<&str>, run: Option<&Path>) -> Html {
    let mut table = Table::new("Environment", &["", "value"], &[1], false);
    let system = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    let instructions = format!("{:?}", nearkin_kernels::cpu()).to_lowercase();
    let threads = nearkin_kernels::threads().to_string();
    let rows = [
        ("nearkin", env!("CARGO_PKG_VERSION")),
        ("system", &system),
        ("instructions", &instructions),
        ("threads", &threads),
    ];
    for (name, value) in rows {
        table.row(&[cell(name), cell(value)]);
    }
    let mut html = table.finish();
    html.raw("<p>The command that wrote this page:</p>")
        .add(&code(command));
    if let (Some(recipe), Some(run)) = (recipe, run) {
        let again = format!(
            "nearkin train {}",
            quoted(&run.join("model/recipe.toml").to_string_lossy())
        );
        html.raw("<p>The command that trains the model again:</p>")
            .add(&code(&again));
        html.raw("<details><summary>The recipe, every default written out</summary>")
            .add(&code(recipe));
        html.raw("</details>");
    }
    html
}

fn code(text: &str) -> Html {
    let mut html = Html::default();
    html.raw("<pre tabindex=\"0\"><code>")
        .text(text)
        .raw("</code></pre>");
    html
}

/// Words of a command as a shell takes them.
pub fn command<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["nearkin", "report", "my run", "it's", "-o", "a.html", ""];
        assert_eq!(
            command(words.into_iter()),
            "nearkin report 'my run' 'it'\\''s' -o a.html ''"
        );
    }

    #[test]
    fn commands_and_recipes_are_text() {
        let page = html(
            "nearkin report '<script>'",
            Some("<script>"),
            Some(Path::new("<script>")),
        );
        assert!(!page.as_str().contains("<script>"));
        assert!(
            page.as_str()
                .contains("nearkin report &#39;&lt;script&gt;&#39;")
        );
        assert!(
            page.as_str()
                .contains("nearkin train &#39;&lt;script&gt;/model/recipe.toml&#39;")
        );
    }
}
