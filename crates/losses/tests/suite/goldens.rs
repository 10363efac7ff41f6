//! Values that other systems give for one batch, in `f64`:
//!
//! ```python
//! import numpy as np, torch
//! i, j = np.mgrid[0:8, 0:4]
//! E = torch.tensor(np.sin(1.3 * i + 0.7 * j + 0.1 * i * j))
//! labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
//! # pytorch-metric-learning 2.9: pytorch_metric_learning.losses.X(...)(E, labels)
//! # sentence-transformers 6.2: the loss's own method on (labels, E)
//! ```

use crate::{Batch, Numbers, assert_close, golden_proxies};
use nearkin_losses::loss::Columns;
use nearkin_losses::{ChaCha8Rng, Exact, Objective, SeedableRng, Tuples};

const ALL: &str = "[miner.all]";
const L2: &str = "[distance.l2]\n[miner.all]";
const RAW_L2: &str = "[distance.l2]\nnormalize = false";

#[test]
fn losses_have_the_golden_values() {
    let semi_hard = format!("[reducer.mean]\n{RAW_L2}\n[miner.semi_hard]\nfallback = 'farthest'");
    for (source, recipe, rest, expected) in [
        (
            "PML TripletMargin(.05)",
            "triplet_margin]\nmargin = 0.05",
            L2,
            0.454_328_711_7,
        ),
        (
            "PML TripletMargin(.2, swap)",
            "triplet_margin]\nswap = true",
            L2,
            0.588_533_946_7,
        ),
        (
            "PML TripletMargin(.2, smooth)",
            "triplet_margin]\nsmooth = true",
            L2,
            0.812_041_655_1,
        ),
        (
            "PML TripletMargin(.2, cosine)",
            "triplet_margin]\n[distance.cosine]",
            ALL,
            0.598_823_167_7,
        ),
        // Of a first batch: PML goes on from there.
        (
            "PML DynamicSoftMargin",
            "dynamic_soft_margin]",
            "",
            0.124_318_667_1,
        ),
        // PML's 4.1952194116 normalizes anchors and positives, but not the negatives; of normalized embeddings it is this.
        ("PML Angular(40)", "angular]", ALL, 3.198_400_636_5),
        (
            "PML ThresholdConsistentMargin",
            "threshold_consistent_margin]",
            ALL,
            1.152_313_171_1,
        ),
        (
            "PML Contrastive",
            "contrastive]\nsquared = false",
            L2,
            1.715_236_892_1,
        ),
        (
            "PML Contrastive(1, 0, cosine)",
            "contrastive]\nsquared = false\n[distance.cosine]",
            ALL,
            1.520_312_248_9,
        ),
        (
            "PML MultiSimilarity",
            "multi_similarity]",
            ALL,
            0.933_321_674_4,
        ),
        ("PML Circle(.4, 80)", "circle]", ALL, 103.642_528_026_7),
        (
            "PML NPairs",
            "n_pair]\nnorm_penalty = 0",
            "[distance.dot]\nnormalize = true",
            1.448_260_479_7,
        ),
        (
            "ST BatchAllTriplet",
            &format!("triplet_margin]\nmargin = 5\n{RAW_L2}"),
            ALL,
            4.966_252_439_0,
        ),
        (
            "ST BatchHardTriplet",
            &format!("triplet_margin]\nmargin = 5\n{RAW_L2}"),
            "[miner.batch_hard]",
            6.051_420_905_9,
        ),
        (
            "ST BatchHardSoftMargin",
            &format!("triplet_margin]\nmargin = 0\nsmooth = true\n{RAW_L2}"),
            "[miner.batch_hard]",
            1.353_246_880_5,
        ),
        (
            "ST BatchSemiHard",
            "triplet_margin]\nmargin = 5",
            &semi_hard,
            4.616_911_782_6,
        ),
    ] {
        assert_golden(source, &format!("[loss.{recipe}\n{rest}"), expected);
    }
}

#[test]
fn losses_of_ranks_and_spreads_have_the_golden_values() {
    for (source, recipe, rest, expected) in [
        ("PML FastAP(10)", "fast_ap]", "", 0.770_991_122_2),
        // PML's 0.3474262542 takes these four classes of two for two of four; it is right only for as many classes as items
        // of each. These follow from the definition, with and without the query, in PyTorch.
        ("SmoothAP(.01)", "smooth_ap]", "", 0.278_293_116_8),
        (
            "SmoothAP(.01), no query",
            "smooth_ap]
query = false",
            "",
            0.713_340_628_7,
        ),
        ("PML PNP(O)", "pnp]", "", 1.296_627_084_4),
        ("PML PNP(Iu)", "pnp]\nvariant = 'iu'", "", 2.325_261_352_6),
        ("PML PNP(Ib)", "pnp]\nvariant = 'ib'", "", 0.423_054_928_3),
        ("PML PNP(Ds)", "pnp]\nvariant = 'ds'", "", 0.632_006_604_9),
        ("PML PNP(Dq)", "pnp]\nvariant = 'dq'", "", 0.356_670_334_6),
        // PML's 0.7511666871 has 1e-5 for each item of the batch in the sums of the weights.
        (
            "RankedList(margin 1, Tn 1)",
            "ranked_list]\nmargin = 1\nalpha = 1.5\nnegative_temperature = 1",
            "",
            0.751_208_517_3,
        ),
        (
            "PML Histogram(25)",
            "histogram]\nbins = 25",
            "",
            0.438_419_532_9,
        ),
        (
            "PML IntraPairVariance",
            "intra_pair_variance]",
            "",
            0.210_969_407_6,
        ),
        // PML's 0.4251300154 counts each positive pair once for each of its six triplets.
        (
            "Margin(.2, 1.2)",
            "margin]\nlearn = false",
            "",
            0.442_672_403_3,
        ),
        (
            "PML SNRContrastive",
            "snr_contrastive]",
            "",
            3.418_679_443_9,
        ),
    ] {
        assert_golden(source, &format!("[loss.{recipe}\n{rest}"), expected);
    }
}

#[test]
fn losses_that_pick_out_of_many_negatives_have_the_golden_values() {
    for (source, recipe, rest, expected) in [
        ("PML NTXent(.07)", "nt_xent]", ALL, 11.090_350_665_8),
        ("PML SupCon(.1)", "sup_con]", ALL, 7.802_158_232_9),
        ("PML TupletMargin", "tuplet_margin]", ALL, 43.227_747_975_6),
        (
            "PML GeneralizedLifted",
            "generalized_lifted_structure]",
            ALL,
            2.879_591_345_7,
        ),
        ("PML NCA(1)", "nca]", ALL, 2.307_248_205_5),
        (
            "PML LiftedStructure",
            "lifted_structure]",
            ALL,
            6.394_983_099_4,
        ),
    ] {
        assert_golden(source, &format!("[loss.{recipe}\n{rest}"), expected);
    }
}

/// Checks the value of an objective for the golden batch, with the golden proxies and otherwise parameters of zero.
pub fn assert_golden(source: &str, recipe: &str, expected: f64) {
    let objective: Objective = toml::from_str(recipe).unwrap();
    let (batch, exact) = Batch::golden();
    let mut criterion = batch.criterion(&objective).unwrap();
    let mut numbers = Numbers {
        embeddings: exact,
        parameters: Vec::new(),
    };
    for learned in criterion.parameters().iter().skip(1) {
        numbers.parameters.push(vec![0.0; learned.values.len()]);
    }
    let proxies = match objective.loss.definition().columns() {
        Columns::Items => None,
        Columns::Proxies { per_class } => Some([4, per_class]),
        Columns::ItemsAndProxies { proxies } => Some([proxies, 1]),
    };
    if let Some(sizes) = proxies {
        let proxies = golden_proxies(sizes);
        let rounded = proxies.iter().map(|&w| w as f32).collect();
        criterion.parameters_mut()[0].values = rounded;
        numbers.parameters.insert(0, proxies);
    }
    let outcome = batch.run(&mut criterion).unwrap();
    assert_close(f64::from(outcome.value), expected, 1e-5, &source);
    let value = batch.reference(&objective, &numbers, &batch.tuples(&objective));
    assert_close(value, expected, 1e-6, &source);
}

fn mined(recipe: &str) -> (Tuples, Objective) {
    let objective: Objective = toml::from_str(&format!("[loss.triplet_margin]\n{recipe}")).unwrap();
    let batch = Batch::golden().0;
    (
        objective
            .mine(
                batch.mat(),
                &batch.labels,
                &mut ChaCha8Rng::seed_from_u64(0),
            )
            .unwrap(),
        objective,
    )
}

#[test]
fn batch_hard_mines_the_golden_indices() {
    let (tuples, _) = mined("[distance.l2]\n[miner.batch_hard]");
    let (positives, negatives) = ([1, 0, 3, 2, 5, 4, 7, 6], [4, 5, 6, 7, 0, 1, 2, 3]);
    let expected = (0..8)
        .map(|a| [a as u32, positives[a], negatives[a]])
        .collect();
    assert_eq!(tuples, Tuples::Triplets(expected));
}

#[test]
fn multi_similarity_mines_the_golden_number_of_pairs() {
    let (tuples, objective) = mined("[distance.cosine]\n[miner.multi_similarity]");
    let (batch, exact) = Batch::golden();
    let distance = objective.distance().unwrap();
    let pairs = Exact::new(&exact, 4, &batch.labels, distance.get()).pairs(&tuples);
    let positives = pairs
        .iter()
        .filter(|&&(i, j)| batch.labels[i] == batch.labels[j])
        .count();
    assert_eq!((positives, pairs.len() - positives), (8, 23));
}

#[test]
fn triplet_margin_mines_the_golden_number_of_triplets() {
    for (kind, expected) in [("all", 25), ("hard", 21), ("semi_hard", 4), ("easy", 23)] {
        let (_, objective) = mined(&format!(
            "[distance.l2]\n[miner.triplet_margin]\nkind = '{kind}'"
        ));
        assert_eq!(
            Batch::golden().0.evaluate(&objective).unwrap().tuples,
            expected,
            "{kind}"
        );
    }
}
