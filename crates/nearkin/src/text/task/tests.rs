use super::*;
use crate::search::Similarity;
use crate::text::head::Head;
use crate::text::train::tiny::Tiny;
use nearkin_encoder::text::{Options, SentenceEncoder};
use nearkin_losses::loss::SoftmaxClassification;

fn table(text: &str) -> (tempfile::TempDir, TextTable) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tsv");
    fs_err::write(&path, text).unwrap();
    (folder, TextTable::new(path))
}

const STS: &str = "year\tscore\tsentence1\tsentence2\n\
    1\t5\ta b c\ta b c\n1\t3\ta b c\ta b d\n1\t0\ta b c\tx y z\n\
    2\t4\tm n\tm n\n2\t1\tm n\tm o\n2\t2\tm n\tp q\n";

#[test]
fn subsets_are_told_apart_by_their_column() {
    let (_folder, table) = table(STS);
    let mut task = Task::guess(table, Protocol::Sts).unwrap();
    let value = |task: &Task| match task.measure(Judge::TfIdf, &mut |_, _| {}).unwrap().scores {
        Scores::Correlations(found) => found.spearman.unwrap().value,
        other => panic!("{other:?}"),
    };
    task.aggregation = (Aggregation::Mean, Some("year".into()));
    assert!((value(&task) - 0.75).abs() < 1e-12, "{}", value(&task));
    task.aggregation.1 = None;
    let error = task.measure(Judge::TfIdf, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("tells them apart"), "{error}");
}

#[test]
fn a_damaged_row_does_not_shift_the_column_beside_it() {
    let (_folder, mut table) = table(&STS.replace("1\t0\t", "9\tbad\t"));
    table.damaged = nearkin_losses::range::Fraction::literal(0.5);
    let mut task = Task::guess(table, Protocol::Sts).unwrap();
    task.aggregation = (Aggregation::Mean, Some("year".into()));
    let measured = task.measure(Judge::TfIdf, &mut |_, _| {}).unwrap();
    assert_eq!((measured.rows, measured.damaged), (5, 1));
    let read = task.table.read(&task.rows).unwrap();
    assert_eq!(
        task.column(&read, "year").unwrap(),
        ["1", "1", "2", "2", "2"]
    );
}

#[test]
fn pairs_are_tested_by_thresholds_of_other_topics() {
    let mut text = "topic\tlabel\tsentence1\tsentence2\n".to_owned();
    for topic in ["s", "t"] {
        for i in 0..6 {
            let second = if i % 2 == 0 {
                format!("w{i} z")
            } else {
                "other words".into()
            };
            let label = ["1", "0"][i % 2];
            text += &[
                topic,
                "\t",
                label,
                "\tw",
                &i.to_string(),
                " z\t",
                &second,
                "\n",
            ]
            .concat();
        }
    }
    let (_folder, table) = table(&text);
    let mut task = Task::guess(table, Protocol::Pairs).unwrap();
    task.folds = Folds::Topics("topic".into());
    let Scores::HeldOut(found) = task.measure(Judge::TfIdf, &mut |_, _| {}).unwrap().scores else {
        panic!()
    };
    assert_eq!(
        (found.pairs, found.accuracy.value, found.f1.value),
        (12, 1.0, 1.0)
    );
}

#[test]
fn what_does_not_fit_is_said() {
    let (_folder, three) = table("label\tsentence1\tsentence2\nx\ta\tb\ny\ta\tb\nz\ta\tb\n");
    let task = Task::guess(three.clone(), Protocol::Pairs).unwrap();
    let error = task
        .measure(Judge::TfIdf, &mut |_, _| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("found 3 (x, y, z)"), "{error}");
    let error = Task::guess(three.clone(), Protocol::Triplets)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it has label, sentence1, sentence2"),
        "{error}"
    );
    let task = Task::guess(three, Protocol::Ir).unwrap();
    let error = task
        .measure(Judge::TfIdf, &mut |_, _| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("found 3") || error.contains("no vectors"),
        "{error}"
    );
}

#[test]
fn answers_are_ranked_by_the_similarity_that_the_model_is_meant_for() {
    let tiny = Tiny::new();
    let mut encoder = SentenceEncoder::load(&tiny.path("encoder")).unwrap();
    let rows = toml::from_str("[pairs]\nfirst = 'a'\nsecond = 'b'").unwrap();
    let task = Task::new(TextTable::new(tiny.path("table.tsv")), Protocol::Ir, rows);
    let read = task.table.read(&task.rows).unwrap();
    let pool = Pool::new(&read.texts[0], &read.texts[1], &read.texts[1]).unwrap();
    let options = Options::default();
    for (name, similarity) in [
        (None, Similarity::Cosine),
        (Some("cosine"), Similarity::Cosine),
        (Some("dot"), Similarity::Dot),
        (Some("euclidean"), Similarity::Euclidean),
    ] {
        encoder.settings.similarity = name.map(str::to_owned);
        let judge = Judge::Encoder(&encoder, &options);
        let embed = |texts: &[String]| judge.embed(&[texts], &mut |_, _| {}).unwrap();
        let (queries, corpus) = (embed(&pool.queries), embed(&pool.corpus));
        let options = information_retrieval::Options {
            similarity,
            ..information_retrieval::Options::default()
        };
        let (queries, corpus) = (queries.mat(0), corpus.mat(0));
        let expected = information_retrieval::information_retrieval(
            queries,
            corpus,
            &pool.positives,
            &options,
        );
        let found = task.measure(judge, &mut |_, _| {}).unwrap().scores;
        assert_eq!(found, Scores::Retrieval(expected.unwrap()), "{name:?}");
    }
    encoder.settings.similarity = Some("manhattan".into());
    let judge = Judge::Encoder(&encoder, &options);
    let error = task.measure(judge, &mut |_, _| {}).unwrap_err().to_string();
    assert!(
        error.contains("\"manhattan\"; search knows cosine, dot, euclidean"),
        "{error}"
    );
}

/// Takes pairs for unlike whose vectors differ at all.
fn head(dim: usize) -> Head {
    Head {
        concatenation: SoftmaxClassification {
            embeddings: false,
            ..SoftmaxClassification::default()
        },
        classes: vec!["unlike".into(), "same".into()],
        weight: [vec![1.0; dim], vec![0.0; dim]].concat(),
        bias: Some(vec![-1e-3, 0.0]),
    }
}

#[test]
fn a_head_is_measured_on_the_classes_of_its_names() {
    let tiny = Tiny::new();
    let encoder = SentenceEncoder::load(&tiny.path("encoder")).unwrap();
    let (head, options) = (head(encoder.dim()), Options::default());
    // The last pair is labeled wrongly.
    let text = "label\tpremise\thypothesis\nsame\ta cat\ta cat\nunlike\ta cat\tthe dog runs\n\
        same\told\told\nsame\told\tthe red house\n";
    let measure = |text: &str, judge: Judge| {
        let (_folder, table) = table(text);
        let task = Task::guess(table, Protocol::Classification).unwrap();
        task.measure(judge, &mut |_, _| {})
    };
    let found = measure(text, Judge::Head(&encoder, &options, &head)).unwrap();
    let Scores::Classes(found) = found.scores else {
        panic!("{found:?}")
    };
    assert_eq!((found.items, found.accuracy.value), (4, 0.75));
    // F1 is 2/3 of "unlike" and 4/5 of "same".
    assert!((found.macro_f1.value - 11.0 / 15.0).abs() < 1e-12);
    assert!(found.accuracy.low < 0.75 && 0.75 < found.accuracy.high);

    let other = text.replace("unlike", "different");
    let error = measure(&other, Judge::Head(&encoder, &options, &head));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("tells the classes unlike, same apart"),
        "{error}"
    );
    let error = measure(text, Judge::Encoder(&encoder, &options));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("neither a head nor"), "{error}");
}
