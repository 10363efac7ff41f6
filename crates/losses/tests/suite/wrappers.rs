//! Losses made of others equal what their parts give by hand.

use crate::{Batch, assert_all_close, assert_close};
use nearkin_losses::loss::Shape;
use nearkin_losses::{
    self as losses_crate, ChaCha8Rng, Criterion, Error, Mat, Objective, Outcome, References,
    SeedableRng, Targets,
};

fn parse(recipe: &str) -> Objective {
    toml::from_str(recipe).unwrap_or_else(|error| panic!("{error}: {recipe}"))
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn criterion(objective: &Objective, dim: usize) -> Criterion {
    Criterion::new(objective.clone(), Shape { dim, classes: 8 }, 1).unwrap()
}

/// Sums values and gradients, each gradient on the leading components.
fn assert_is_sum(actual: &Outcome, parts: &[(f64, usize, Outcome)], dim: usize) {
    let mut value = 0.0;
    let mut gradient = vec![0.0; actual.gradient.len()];
    for (weight, width, part) in parts {
        value += weight * f64::from(part.value);
        for (sum, part) in gradient
            .chunks_exact_mut(dim)
            .zip(part.gradient.chunks_exact(*width))
        {
            sum.iter_mut()
                .zip(part)
                .for_each(|(s, &g)| *s += weight * f64::from(g));
        }
    }
    assert_close(f64::from(actual.value), value, 1e-6, &"value");
    assert_all_close(&actual.gradient, &gradient, 1e-6, &"gradient");
}

#[test]
fn matryoshka_is_the_weighted_sum_over_prefixes() {
    let labels = [4, 1, 0, 1, 7, 0, 0, 4];
    let batch = Batch::random(1, 8, &labels);
    let prefix = |width: usize| Batch {
        embeddings: batch
            .embeddings
            .chunks(8)
            .flat_map(|row| row[..width].to_vec())
            .collect(),
        cols: width,
        labels: labels.to_vec(),
    };
    for inner in ["triplet_margin", "multi_similarity", "n_pair"] {
        let of = format!("[loss.matryoshka.of.loss.{inner}]");
        let plain = parse(&format!("[loss.{inner}]"));
        for (table, widths, weights) in [
            ("", &[8, 4, 2, 1][..], &[1.0; 4][..]),
            ("dims = [8, 3]\nweights = [0.5, 2]", &[8, 3], &[0.5, 2.0]),
            ("dims = [3, 8]\nweights = [3]", &[3, 8], &[3.0, 1.0]),
        ] {
            let whole = parse(&format!("[loss.matryoshka]\n{table}\n{of}"));
            let parts: Vec<_> = widths
                .iter()
                .zip(weights)
                .map(|(&width, &weight)| (weight, width, prefix(width).evaluate(&plain).unwrap()))
                .collect();
            assert_is_sum(&batch.evaluate(&whole).unwrap(), &parts, 8);
        }
    }
}

#[test]
fn a_weighted_sum_is_what_it_says_and_parts_keep_their_own_distance_and_miner() {
    let batch = Batch::uneven(3);
    let whole = parse(
        "[[loss.weighted_sum.terms]]\nweight = 0.25\n\
         [loss.weighted_sum.terms.objective.loss.contrastive]\n\
         [loss.weighted_sum.terms.objective.distance.cosine]\n\
         [[loss.weighted_sum.terms]]\nweight = 3\n\
         [loss.weighted_sum.terms.objective.loss.triplet_margin]\n\
         [loss.weighted_sum.terms.objective.miner.batch_hard]\n",
    );
    let parts = [
        (0.25, "[loss.contrastive]\n[distance.cosine]"),
        (3.0, "[loss.triplet_margin]\n[miner.batch_hard]"),
    ];
    let parts = parts.map(|(weight, recipe)| (weight, 3, batch.evaluate(&parse(recipe)).unwrap()));
    assert_is_sum(&batch.evaluate(&whole).unwrap(), &parts, 3);
}

fn step(criterion: &mut Criterion, batch: &Batch) -> Outcome {
    batch.run(criterion).unwrap()
}

/// What the objective inside makes of a batch against these references, the batch at their end.
fn against(objective: &Objective, batch: &Batch, seen: &[&Batch], capacity: usize) -> Outcome {
    let mut vectors = Vec::new();
    let mut labels = Vec::new();
    for batch in seen.iter().chain(&[batch]) {
        vectors.extend_from_slice(&batch.embeddings);
        labels.extend_from_slice(&batch.labels);
    }
    let surplus = labels.len().saturating_sub(capacity);
    vectors.drain(..surplus * batch.cols);
    labels.drain(..surplus);
    let own = Some(labels.len() - batch.labels.len());
    let references = References {
        embeddings: Mat::new(&vectors, labels.len(), batch.cols),
        labels: &labels,
        own,
        learn: false,
    };
    let rows = losses_crate::Batch {
        embeddings: batch.mat(),
        targets: Targets::Labels(&batch.labels),
    };
    criterion(objective, batch.cols)
        .against(rows, references, &mut rng())
        .unwrap()
}

#[test]
fn a_memory_compares_a_batch_with_the_newest_of_the_earlier_ones() {
    let batches = [1, 2, 3, 4].map(Batch::uneven);
    for inner in ["contrastive", "triplet_margin", "multi_similarity"] {
        let plain = parse(&format!("[loss.{inner}]"));
        let whole = parse(&format!(
            "[loss.cross_batch_memory]\nsize = 30\n[loss.cross_batch_memory.of.loss.{inner}]"
        ));
        let mut memory = criterion(&whole, 3);
        for k in 0..batches.len() {
            let seen: Vec<_> = batches[..k].iter().collect();
            let expected = against(&plain, &batches[k], &seen, 30);
            assert_eq!(step(&mut memory, &batches[k]), expected, "{inner} {k}");
            assert_eq!(memory.queues()[0].labels().len(), (12 * (k + 1)).min(30));
        }
        // A criterion that takes the memory over goes on with the same bits.
        let mut other = criterion(&whole, 3);
        let queue = &memory.queues()[0];
        let (vectors, labels) = (queue.vectors().to_vec(), queue.labels().to_vec());
        other.queues_mut()[0].restore(vectors, labels).unwrap();
        assert_eq!(
            step(&mut other, &batches[1]),
            step(&mut memory, &batches[1])
        );
    }
}

#[test]
fn a_memory_smaller_than_a_batch_is_refused() {
    let whole = parse("[loss.cross_batch_memory]\nsize = 11");
    let error = Batch::uneven(1).run(&mut criterion(&whole, 3));
    let (size, rows) = (11, 12);
    assert_eq!(error, Err(Error::Memory { size, rows }));
}

#[test]
fn what_has_no_effect_is_refused_inside_a_wrapper_too() {
    let inside = "[loss.matryoshka.of.loss.n_pair]\n[loss.matryoshka.of.miner.batch_hard]";
    let loss = "n_pair";
    let miner = "batch_hard";
    assert_eq!(parse(inside).check(), Err(Error::Miner { loss, miner }));
    for loss in ["n_pair", "multiple_negatives_ranking", "cross_batch_memory"] {
        let inside = parse(&format!("[loss.cross_batch_memory.of.loss.{loss}]"));
        assert_eq!(inside.check(), Err(Error::References { loss }));
    }
    let outside = parse("[loss.matryoshka]\n[distance.cosine]");
    let loss = "matryoshka";
    assert_eq!(outside.check(), Err(Error::NoDistance { loss }));
    let zero = toml::from_str::<Objective>("[loss.matryoshka]\ndims = [0]");
    assert!(zero.is_err());
}

/// Two views of four items, the batch of the golden values.
fn twins(recipe: &str) -> (Criterion, Outcome) {
    let batch = Batch::golden().0;
    let mut criterion = criterion(&parse(recipe), batch.cols);
    let rows = losses_crate::Batch {
        embeddings: batch.mat(),
        targets: Targets::Aligned(losses_crate::Aligned::pairs()),
    };
    let outcome = criterion.value_and_grad(rows, &mut rng()).unwrap();
    (criterion, outcome)
}

/// Those of tests/golden/views.py.
#[test]
fn self_supervised_losses_have_the_golden_values() {
    for (options, of, expected) in [
        ("", "nt_xent", 0.022_937_298_7),
        ("symmetric = false", "nt_xent", 0.025_242_909_1),
        ("symmetric = false", "multi_similarity", 0.269_507_154_5),
    ] {
        let table = format!("[loss.self_supervised]\n{options}\n");
        let of =
            format!("[loss.self_supervised.of.loss.{of}]\n[loss.self_supervised.of.miner.all]");
        let (_, outcome) = twins(&(table + &of));
        assert_close(f64::from(outcome.value), expected, 1e-5, &of);
    }
}

#[test]
fn self_supervised_losses_are_those_over_labels_of_items() {
    let golden = Batch::golden().0;
    let labels = vec![0, 1, 2, 3, 0, 1, 2, 3];
    let batch = Batch { labels, ..golden };
    for inner in [
        "contrastive",
        "triplet_margin",
        "n_pair",
        "lifted_structure",
    ] {
        let of = format!("loss.{inner}]");
        let (_, actual) = twins(&format!("[loss.self_supervised.of.{of}"));
        assert_eq!(actual, batch.evaluate(&parse(&format!("[{of}"))).unwrap());
    }
    let narrow = "[loss.self_supervised]\nsymmetric = false\n[loss.self_supervised.of.loss.matryoshka]\n\
        dims = [4, 2]\n[loss.self_supervised.of.loss.matryoshka.of.loss.contrastive]";
    let (_, outcome) = twins(narrow);
    let part = |width: usize| {
        let rows = |rows: std::ops::Range<usize>| -> Vec<f32> {
            let rows = batch.embeddings[rows.start * 4..rows.end * 4].chunks(4);
            rows.flat_map(|row| row[..width].to_vec()).collect()
        };
        let (first, second) = (rows(0..4), rows(4..8));
        let embeddings = Mat::new(&second, 4, width);
        let references = References {
            embeddings,
            labels: &batch.labels[4..],
            own: None,
            learn: true,
        };
        let rows = losses_crate::Batch {
            embeddings: Mat::new(&first, 4, width),
            targets: Targets::Labels(&batch.labels[..4]),
        };
        let plain = parse("[loss.contrastive]");
        let outcome = criterion(&plain, width)
            .against(rows, references, &mut rng())
            .unwrap();
        let gradient = [outcome.gradient.clone(), outcome.references.clone()].concat();
        (
            1.0,
            width,
            Outcome {
                gradient,
                ..outcome
            },
        )
    };
    assert_is_sum(&outcome, &[part(4), part(2)], 4);
}

#[test]
fn what_cannot_be_self_supervised_is_refused() {
    let of = |rest: &str| parse(&format!("[loss.self_supervised{rest}"));
    for loss in [
        "arcface",
        "cross_batch_memory",
        "multiple_negatives_ranking",
        "self_supervised",
    ] {
        let inside = of(&format!(".of.loss.{loss}]"));
        assert_eq!(inside.check(), Err(Error::SelfSupervised { loss }));
    }
    let boundaries = of(".of.loss.margin]\nper_class = true");
    assert_eq!(
        boundaries.check(),
        Err(Error::SelfSupervised { loss: "margin" })
    );
    let against = of("]\nsymmetric = false\n[loss.self_supervised.of.loss.n_pair]");
    assert_eq!(against.check(), Err(Error::References { loss: "n_pair" }));
    let labels = Batch::uneven(1).evaluate(&of("]"));
    let loss = "self_supervised";
    assert_eq!(labels, Err(Error::NotAligned { loss }));
    assert_eq!(of("]").unlabeled_loss(), Some(loss));
}

#[test]
fn a_width_beyond_the_embeddings_is_refused_before_any_batch() {
    let inner = parse(
        "[loss.weighted_sum]\n[[loss.weighted_sum.terms]]\n\
        [loss.weighted_sum.terms.objective.loss.matryoshka]\ndims = [8, 20]",
    );
    let (width, dim) = (20, 8);
    let shape = Shape { dim, classes: 2 };
    let refused = Criterion::new(inner.clone(), shape, 0).unwrap_err();
    assert_eq!(refused, Error::Wider { width, dim });
    assert_eq!(inner.check_width(20), Ok(()));
    // Inside of a prefix the prefix counts.
    let nested =
        parse("[loss.matryoshka]\ndims = [4]\n[loss.matryoshka.of.loss.matryoshka]\ndims = [8]");
    let (width, dim) = (8, 4);
    assert_eq!(nested.check_width(8), Err(Error::Wider { width, dim }));
}

#[test]
fn a_sum_takes_what_each_of_its_terms_takes() {
    use nearkin_losses::loss::Target::{Labels, Pairs, Scores, Teacher, Triplets};
    let sum = |losses: &[&str]| {
        let term = |loss: &&str| {
            let terms = "loss.weighted_sum.terms";
            format!("[[{terms}]]\n[{terms}.objective.loss.{loss}]\n")
        };
        let recipe: String = losses.iter().map(term).collect();
        parse(&recipe).loss.definition().targets()
    };
    assert_eq!(
        sum(&["contrastive", "triplet_margin"]),
        [Labels, Pairs, Triplets]
    );
    assert_eq!(
        sum(&["contrastive", "multiple_negatives_ranking"]),
        [Pairs, Triplets]
    );
    assert_eq!(
        sum(&["vicreg", "multiple_negatives_ranking", "contrastive"]),
        [Pairs]
    );
    assert_eq!(sum(&["cosent", "mse_distill"]), [Scores, Teacher]);
}

#[test]
fn what_a_wrapper_holds_is_spelled_out_too() {
    let inside = "[loss.matryoshka.of.loss.weighted_sum]\n[[loss.matryoshka.of.loss.weighted_sum.terms]]\n\
        [loss.matryoshka.of.loss.weighted_sum.terms.objective.loss.triplet_margin]";
    let text = toml::to_string(&parse(inside).resolved()).unwrap();
    let table = "loss.matryoshka.of.loss.weighted_sum.terms.objective";
    for part in [
        "distance.squared_l2",
        "miner.semi_hard",
        "reducer.mean_nonzero",
    ] {
        assert!(text.contains(&format!("[{table}.{part}]")), "{text}");
    }
}
