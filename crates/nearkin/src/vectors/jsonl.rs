//! `.jsonl`: one JSON object a line, `{"id": …, "label": …, "embedding": […]}`; ids and labels are texts or whole numbers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::rows::{Name, Names, Row, Rows, blocks};
use super::staged::Staged;
use super::{Vectors, VectorsError};

#[derive(Serialize)]
struct LineOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    embedding: Row<'a>,
}

#[derive(Deserialize)]
struct LineIn {
    id: Option<Name>,
    label: Option<Name>,
    embedding: Vec<f32>,
}

pub(super) fn write(path: &Path, source: &mut dyn Rows) -> Result<(), VectorsError> {
    Staged::write(path, |file| {
        let dim = source.shape().1;
        for rows in blocks(source.shape()) {
            let ids = source.names(Names::Id, rows.clone())?;
            let labels = source.names(Names::Label, rows.clone())?;
            let numbers = source.numbers(rows.clone())?;
            for row in 0..rows.len() {
                let line = LineOut {
                    id: ids.get(row).map(String::as_str),
                    label: labels.get(row).map(String::as_str),
                    embedding: numbers.row(row, dim),
                };
                serde_json::to_writer(&mut *file, &line).map_err(std::io::Error::from)?;
                file.write_all(b"\n")?;
            }
        }
        Ok(())
    })?
    .commit()
}

pub(super) fn read(path: &Path) -> Result<Vectors, VectorsError> {
    let mut lines = BufReader::new(fs_err::File::open(path)?).lines();
    let mut vectors = Vectors::new(0, 0, Vec::new());
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    let mut number = 0;
    while let Some(line) = lines.next().transpose()? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| VectorsError::Line {
            path: path.to_owned(),
            line: number,
            reason,
        };
        let line: LineIn = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        if vectors.rows == 0 {
            vectors.dim = line.embedding.len();
        }
        if line.embedding.len() != vectors.dim {
            return Err(wrong(format!(
                "expected {} numbers as in the first line, found {}",
                vectors.dim,
                line.embedding.len()
            )));
        }
        for (what, text, texts) in [
            ("id", line.id, &mut ids),
            ("label", line.label, &mut labels),
        ] {
            // All lines or none: a name that is missing here and there cannot be told from a mistake.
            if (texts.len() == vectors.rows) != (text.is_some() || vectors.rows == 0) {
                let found = if text.is_some() { "has" } else { "lacks" };
                return Err(wrong(format!(
                    "this line {found} {what:?}, unlike the ones before"
                )));
            }
            texts.extend(text.map(String::from));
        }
        vectors.rows += 1;
        vectors.data.extend(line.embedding);
    }
    vectors.ids = (!ids.is_empty()).then_some(ids);
    vectors.labels = (!labels.is_empty()).then_some(labels);
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let good = "{\"id\":\"a\",\"embedding\":[1,2]}";
        for (second, words) in [
            (
                "{\"id\":\"b\",\"embedding\":[1]}",
                "expected 2 numbers as in the first line, found 1",
            ),
            ("{\"embedding\":[1,2]}", "lacks \"id\""),
            (
                "{\"id\":\"b\",\"label\":\"x\",\"embedding\":[1,2]}",
                "has \"label\"",
            ),
            ("{\"id\":\"b\"}", "missing field `embedding`"),
            (
                "{\"id\":\"b\",\"embedding\":[1,null]}",
                "invalid type: null",
            ),
            ("not json", "expected"),
        ] {
            fs_err::write(&path, format!("{good}\n\n{second}\n")).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(
                message.contains("v.jsonl:3: ") && message.contains(words),
                "{message}"
            );
        }
        fs_err::write(&path, "\n").unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
    }
}
