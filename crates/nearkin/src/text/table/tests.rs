use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use flate2::{Compression, write::GzEncoder};

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> TextTable {
        let path = self.0.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        TextTable::new(path)
    }

    fn gzip(&self, name: &str, bytes: &[u8]) -> TextTable {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        self.write(name, &gzip.finish().unwrap())
    }

    /// Columns `a`, `b` (text, `b` with nulls) and `s` (double).
    fn parquet(&self, rows: &[(&str, Option<&str>, f64)]) -> TextTable {
        self.parquet_in(rows, Codec::UNCOMPRESSED)
    }

    fn parquet_in(&self, rows: &[(&str, Option<&str>, f64)], codec: Codec) -> TextTable {
        let table = self.write("t.parquet", b"");
        let schema = "message t { REQUIRED BYTE_ARRAY a (UTF8); OPTIONAL BYTE_ARRAY b (UTF8); REQUIRED DOUBLE s; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = fs_err::File::create(&table.path).unwrap();
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut writer = SerializedFileWriter::new(file, schema, properties.into()).unwrap();
        for part in rows.chunks(2) {
            let mut group = writer.next_row_group().unwrap();
            let a: Vec<ByteArray> = part.iter().map(|row| ByteArray::from(row.0)).collect();
            let b: Vec<ByteArray> = part
                .iter()
                .filter_map(|row| row.1)
                .map(ByteArray::from)
                .collect();
            let levels: Vec<i16> = part.iter().map(|row| i16::from(row.1.is_some())).collect();
            let s: Vec<f64> = part.iter().map(|row| row.2).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<ByteArrayType>()
                .write_batch(&a, None, None)
                .unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<ByteArrayType>()
                .write_batch(&b, Some(&levels), None)
                .unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<DoubleType>()
                .write_batch(&s, None, None)
                .unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        table
    }
}

fn rows(toml: &str) -> Rows {
    toml::from_str(toml).unwrap()
}

fn scored() -> Rows {
    rows("[scored]\nfirst = 'a'\nsecond = 'b'\nscore = 's'")
}

fn texts(column: &str) -> Rows {
    Rows::Texts(Texts {
        text: column.to_owned(),
    })
}

#[test]
fn every_format_gives_the_same_rows() {
    let files = Files::new();
    let tsv = "s\ta\tb\n5\tOne \"two\".\tThree, four.\n2.5\tü\t\n";
    let csv = "s,b,a\n5,\"Three, four.\",\"One \"\"two\"\".\"\r\n2.5,,ü\r\n";
    let jsonl = "{\"s\":5,\"a\":\"One \\\"two\\\".\",\"b\":\"Three, four.\"}\n\n{\"b\":\"\",\"s\":2.5,\"a\":\"ü\"}";
    for table in [
        files.write("t.tsv", tsv.as_bytes()),
        files.gzip("t.TSV.gz", tsv.as_bytes()),
        files.write(
            "crlf.tsv",
            ("\u{feff}".to_owned() + &tsv.replace('\n', "\r\n")).as_bytes(),
        ),
        files.write("t.csv", csv.as_bytes()),
        files.gzip("t.csv.gz", csv.as_bytes()),
        files.write("t.jsonl", jsonl.as_bytes()),
        files.gzip("t.jsonl.gz", jsonl.as_bytes()),
        files.parquet(&[
            ("One \"two\".", Some("Three, four."), 5.0),
            ("ü", Some(""), 2.5),
        ]),
    ] {
        let read = table.read(&scored()).unwrap();
        assert_eq!(
            read.texts,
            [["One \"two\".", "ü"], ["Three, four.", ""]],
            "{table:?}"
        );
        assert_eq!(read.target, Target::Scores(vec![1.0, 0.5]), "{table:?}");
    }
}

#[test]
fn parquet_is_read_however_it_is_compressed() {
    let files = Files::new();
    let codecs = [
        Codec::SNAPPY,
        Codec::GZIP(GzipLevel::default()),
        Codec::LZ4_RAW,
        Codec::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let table = files.parquet_in(&[("One.", Some("Two."), 5.0)], codec);
        assert_eq!(
            table.read(&scored()).unwrap().texts,
            [["One."], ["Two."]],
            "{codec}"
        );
    }
}

#[test]
fn lines_are_numbered_as_an_editor_does() {
    let files = Files::new();
    let lines = |table: TextTable, column: &str| table.read(&texts(column)).unwrap().lines;
    assert_eq!(
        lines(files.write("t.tsv", b"a\tb\n1\t2\n\n3\t4\n"), "a"),
        [2, 4]
    );
    assert_eq!(
        lines(files.write("t.csv", b"a,b\r\n\"1\r\n1\",2\r\n3,4\r\n"), "a"),
        [2, 4]
    );
    assert_eq!(
        lines(files.write("t.jsonl", b"\n{\"a\":1}\n\n{\"a\":2}\n"), "a"),
        [2, 4]
    );
    assert_eq!(
        lines(
            files.parquet(&[("x", None, 0.0), ("y", None, 0.0), ("z", None, 0.0)]),
            "a"
        ),
        [1, 2, 3]
    );
    assert_eq!(
        lines(files.write("t.txt", b"one\n\nthree"), "text"),
        [1, 2, 3]
    );
}

#[test]
fn damaged_rows_are_counted_and_named_and_an_error_unless_allowed() {
    let files = Files::new();
    let mut bytes = b"a\tb\ts\n".to_vec();
    for row in 0..20 {
        bytes.extend(format!("a{row}\tb\t1\n").as_bytes());
    }
    bytes.extend(b"a\tb\nx\ty\tz\t4\na\tb\tfive\na\tb\t7\na\tb\tNaN\n\xff\tb\t1\n");
    for _ in 0..6 {
        bytes.extend(b"short\n");
    }
    let mut table = files.write("t.tsv", &bytes);
    let message = table.read(&scored()).unwrap_err().to_string();
    for words in [
        "t.tsv: 12 damaged rows: line 22: expected 3 fields as in the header, found 2; line 23",
        "line 24: the score \"five\" is not a number",
        "line 25: the score 7 is not from 0 to 5",
        "line 26: the score NaN is not from 0 to 5",
        "line 27: field 1 is not UTF-8",
        "; and 2 more, damaged = 0 allows 0 of 32 rows",
    ] {
        assert!(message.contains(words), "{words}\n{message}");
    }
    table.damaged = Fraction::literal(0.37);
    assert!(table.read(&scored()).is_err());
    table.damaged = Fraction::literal(0.375);
    let read = table.read(&scored()).unwrap();
    assert_eq!(
        (read.lines.len(), read.damage.rows, read.damage.first.len()),
        (20, 12, 10)
    );
}

#[test]
fn nulls_and_lists_are_damage_in_json_and_parquet() {
    let files = Files::new();
    let mut json = files.write(
        "t.jsonl",
        b"{\"a\":\"x\"}\n{\"a\":null}\n{\"b\":1}\n{\"a\":[1]}\n[]\n{\"a\":\"\xff\"}\n{",
    );
    json.damaged = Fraction::literal(1.0);
    let read = json.read(&texts("a")).unwrap();
    assert_eq!(
        (read.texts, read.damage.rows),
        (vec![vec!["x".to_owned()]], 6)
    );
    let reasons = read.damage.to_string();
    for words in [
        "line 2: \"a\": expected text or a number, found null",
        "line 3: no \"a\"",
        "found a list",
    ] {
        assert!(reasons.contains(words), "{reasons}");
    }
    let parquet = files.parquet(&[
        ("x", Some("y"), 1.0),
        ("x", None, 1.0),
        ("z", Some("w"), 1.0),
    ]);
    let message = parquet.read(&scored()).unwrap_err().to_string();
    assert!(message.contains("line 2: \"b\" is null"), "{message}");
}

#[test]
fn labels_follow_the_listed_classes_and_dropped_ones_are_no_damage() {
    let files = Files::new();
    let table = files.write("t.tsv", b"l\ta\tb\nHS\t1\t1\n-\t2\t2\nNS\t3\t3\nSS\t4\t4\n");
    let pairs = rows(
        "[pairs]\nfirst = 'a'\nsecond = 'b'\nlabel = 'l'\nclasses = ['NS', ['SS', 'HS']]\ndrop = ['-']",
    );
    let read = table.read(&pairs).unwrap();
    assert_eq!((read.dropped, read.lines), (1, vec![2, 4, 5]));
    let names = vec!["NS".to_owned(), "SS|HS".to_owned()];
    assert_eq!(
        read.target,
        Target::Classes {
            names,
            of: vec![1, 0, 1]
        }
    );
    let strict =
        rows("[pairs]\nfirst = 'a'\nsecond = 'b'\nlabel = 'l'\nclasses = ['NS', 'SS', 'HS']");
    let message = table.read(&strict).unwrap_err().to_string();
    assert!(
        message.contains("line 3: the label \"-\" is none of NS, SS, HS"),
        "{message}"
    );
    let found = rows("[labeled]\ntext = 'a'\nlabel = 'a'");
    assert!(
        matches!(table.read(&found).unwrap().target, Target::Classes { of, .. } if of == [0, 1, 2, 3])
    );
    let unlabeled = rows("[pairs]\nfirst = 'a'\nsecond = 'b'");
    assert_eq!(table.read(&unlabeled).unwrap().target, Target::Nothing);
}

#[test]
fn the_filter_keeps_rows_of_the_values_and_the_limit_counts_what_is_kept() {
    let files = Files::new();
    let mut table = files.write(
        "t.tsv",
        b"split\tyear\ta\ntest\t2015\tx\ntrain\t2015\ty\ntest\t2012\tz\ntest\t2016\tw\n",
    );
    table.filter = toml::from_str("split = 'test'\nyear = [2015, 2016]").unwrap();
    assert_eq!(table.read(&texts("a")).unwrap().texts, [["x", "w"]]);
    table.limit = NonZeroUsize::new(1);
    assert_eq!(table.read(&texts("a")).unwrap().texts, [["x"]]);
    table.filter = toml::from_str("split = 'dev'").unwrap();
    let message = table.read(&texts("a")).unwrap_err().to_string();
    assert!(message.contains("t.tsv has no rows to use"), "{message}");
}

#[test]
fn a_column_that_is_not_there_is_named_with_those_that_are() {
    let files = Files::new();
    for table in [
        files.write("t.tsv", b"a\tsentence1\n1\t2\n"),
        files.write("t.csv", b"a,sentence1\n1,2\n"),
        files.write("t.jsonl", b"{\"a\":1,\"sentence1\":2}"),
    ] {
        let message = table.read(&texts("sentence_1")).unwrap_err().to_string();
        assert!(
            message.contains(
                "no column \"sentence_1\" (did you mean \"sentence1\"?); the table has a, sentence1"
            ),
            "{message}"
        );
    }
    let message = files
        .parquet(&[("x", None, 1.0)])
        .read(&texts("text"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("the table has a, b, s"), "{message}");
    assert!(files.write("t.txt", b"x").read(&texts("a")).is_err());
    let message = files
        .write("t.doc", b"x")
        .read(&texts("a"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("tsv, csv, jsonl"), "{message}");
}

#[test]
fn files_cut_short_are_errors_and_never_panics() {
    let files = Files::new();
    let mut text = b"a\tb\n".to_vec();
    for i in 0..3000 {
        writeln!(text, "{i}\t{}", i * 7919 % 1013).unwrap();
    }
    let gzip = files.gzip("t.tsv.gz", &text);
    let parquet = files.parquet(&[("x", Some("y"), 1.0), ("z", None, 2.0)]);
    for (table, step) in [(gzip, 997), (parquet, 1)] {
        let whole = fs_err::read(&table.path).unwrap();
        for len in (1..whole.len()).step_by(step) {
            fs_err::write(&table.path, &whole[..len]).unwrap();
            let message = table.read(&texts("a")).unwrap_err().to_string();
            assert!(message.contains("/t."), "{message}");
        }
    }
    let empty = files.write("t.tsv", b"");
    assert!(
        empty
            .read(&texts("a"))
            .unwrap_err()
            .to_string()
            .contains("not even a header")
    );
}

#[test]
fn a_quotation_that_does_not_end_is_an_error_and_not_a_long_field() {
    let files = Files::new();
    let text = b"label,text\r\n1,ok\r\n2,\"unclosed\r\n3,c\r\n4,d";
    for mut table in [files.write("t.csv", text), files.gzip("t.csv.gz", text)] {
        // Nothing that a share of damaged rows could allow.
        table.damaged = Fraction::literal(1.0);
        let message = table.read(&texts("text")).unwrap_err().to_string();
        let place = format!("{}:3: the quotation", table.path.display());
        assert!(message.starts_with(&place), "{message}");
    }
    let closed = files.write("closed.csv", b"label,text\n1,5\" wide\n2,\"two\nlines\"");
    let read = closed.read(&texts("text")).unwrap();
    assert_eq!(read.texts, [["5\" wide", "two\nlines"]]);
}

#[test]
fn a_recipe_with_an_unknown_key_or_an_empty_range_is_refused() {
    assert!(toml::from_str::<TextTable>("path = 'x.tsv'\nlimits = 3").is_err());
    assert!(toml::from_str::<TextTable>("path = 'x.tsv'\ndamaged = 1.5").is_err());
    assert!(toml::from_str::<Rows>("[texts]\ntext = 'a'\nlabel = 'b'").is_err());
    let table: TextTable =
        toml::from_str("path = 'x.tsv'\nfilter = { year = 2015 }\ndamaged = 0.1").unwrap();
    assert_eq!(
        toml::from_str::<TextTable>(&toml::to_string(&table).unwrap()).unwrap(),
        table
    );
    let files = Files::new();
    let range = rows("[scored]\nfirst = 'a'\nsecond = 'a'\nscore = 'a'\nlow = 5");
    let message = files
        .write("t.tsv", b"a\n5\n")
        .read(&range)
        .unwrap_err()
        .to_string();
    assert!(message.contains("low must be below high"), "{message}");
    let lost = rows("[pairs]\nfirst = 'a'\nsecond = 'a'\nclasses = ['x']");
    let message = files
        .write("t.tsv", b"a\n5\n")
        .read(&lost)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("need the column of the label"),
        "{message}"
    );
    let twice = rows("[labeled]\ntext = 'a'\nlabel = 'a'\nclasses = ['x', ['y', 'x']]");
    let message = files
        .write("t.tsv", b"a\n5\n")
        .read(&twice)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("\"x\" is listed in classes twice"),
        "{message}"
    );
}

#[test]
fn the_columns_of_a_table_are_named_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, expected) in [
        ("t.tsv", "a\tb c\n1\t2\n", vec!["a", "b c"]),
        ("t.csv", "a,\"b,c\"\n1,2\n", vec!["a", "b,c"]),
        ("t.jsonl", "{\"b\": 1, \"a\": [2]}\n", vec!["a", "b"]),
        ("t.txt", "a line\n", vec!["text"]),
    ] {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        let mut columns = TextTable::new(path).columns().unwrap();
        columns.sort();
        assert_eq!(columns, expected, "{name}");
    }
    let error = TextTable::new(folder.path().join("t.odd"))
        .columns()
        .unwrap_err();
    assert!(error.to_string().contains("t.odd"), "{error}");
}

/// The data sets of the project, where `NEARKIN_DATA` says they are.
#[test]
fn the_data_sets_have_as_many_rows_as_their_descriptions_say() {
    let Some(data) = std::env::var_os("NEARKIN_DATA").map(PathBuf::from) else {
        eprintln!("skipped: NEARKIN_DATA is not set");
        return;
    };
    let pairs = |label: &str, first: &str, second: &str| {
        rows(&format!(
            "[pairs]\nfirst = '{first}'\nsecond = '{second}'\nlabel = '{label}'"
        ))
    };
    for (path, rows, count) in [
        (
            "nli/train.tsv.gz",
            pairs("label", "premise", "hypothesis"),
            83_059,
        ),
        (
            "quora-pairs/train.tsv",
            pairs("is_duplicate", "question1", "question2"),
            10_000,
        ),
        (
            "ukp-argument-aspect/pairs.tsv",
            pairs("label", "sentence1", "sentence2"),
            3595,
        ),
        (
            "sts-benchmark/test.tsv",
            rows("[scored]\nfirst = 'sentence1'\nsecond = 'sentence2'\nscore = 'score'"),
            1379,
        ),
        (
            "sick/train.tsv",
            rows(
                "[scored]\nfirst = 'sentence1'\nsecond = 'sentence2'\nscore = 'relatedness'\nlow = 1",
            ),
            4500,
        ),
        (
            "wikipedia-sections/test.tsv.gz",
            rows("[triplets]\nanchor = 'anchor'\npositive = 'positive'\nnegative = 'negative'"),
            830,
        ),
        (
            "senteval-classification/TREC.train.tsv.gz",
            rows("[labeled]\ntext = 'sentence'\nlabel = 'label'"),
            5452,
        ),
    ] {
        let read = TextTable::new(data.join(path)).read(&rows).unwrap();
        assert_eq!(read.lines.len(), count, "{path}");
    }
}
