use super::*;

/// One query, one positive of score 0.8, negatives of scores 0.9, 0.79, 0.7, 0.6, 0.3, −0.2.
fn candidates() -> Candidates {
    let scores = [0.3, 0.9, 0.7, -0.2, 0.79, 0.6];
    Candidates {
        documents: vec![
            scores
                .into_iter()
                .enumerate()
                .map(|(i, s)| (i as u32, s))
                .collect(),
        ],
        positives: vec![vec![0.95, 0.8]],
    }
}

fn select(miner: &HardNegatives) -> (Vec<f32>, Mined) {
    let mined = miner.select(&candidates()).unwrap();
    (mined.negatives[0].iter().map(|n| n.1).collect(), mined)
}

fn miner() -> HardNegatives {
    HardNegatives {
        range_max: Some(6),
        ..HardNegatives::default()
    }
}

#[test]
fn each_filter_does_what_it_says() {
    assert_eq!(select(&miner()).0, [0.9, 0.79, 0.7]);
    assert_eq!(
        select(&HardNegatives {
            range_min: 2,
            ..miner()
        })
        .0,
        [0.7, 0.6, 0.3]
    );
    assert_eq!(
        select(&HardNegatives {
            range_min: 1,
            range_max: Some(4),
            ..miner()
        })
        .0,
        [0.79, 0.7, 0.6]
    );
    let (scores, mined) = select(&HardNegatives {
        max_score: Some(Finite::literal(0.79)),
        ..miner()
    });
    assert_eq!((scores, mined.above_max_score), (vec![0.79, 0.7, 0.6], 1));
    let (scores, mined) = select(&HardNegatives {
        min_score: Some(Finite::literal(0.75)),
        ..miner()
    });
    assert_eq!(
        (scores, mined.below_min_score, mined.short),
        (vec![0.9, 0.79], 4, 1)
    );
    let (scores, mined) = select(&HardNegatives {
        absolute_margin: Some(NonNegative::literal(0.15)),
        ..miner()
    });
    assert_eq!(
        (scores, mined.within_absolute_margin),
        (vec![0.6, 0.3, -0.2], 3)
    );
    let (scores, mined) = select(&HardNegatives {
        relative_margin: Some(NonNegative::literal(0.05)),
        ..miner()
    });
    assert_eq!(
        (scores, mined.within_relative_margin),
        (vec![0.7, 0.6, 0.3], 2)
    );
}

/// tests/golden/text.py, function `hard_negatives`: rows `(i² · 13 mod 101) / 50 − 1` of four numbers.
#[test]
fn negatives_are_those_of_sentence_transformers() {
    let data: Vec<f32> = (0..104)
        .map(|i| (i * i * 13 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let (queries, corpus) = (Mat::new(&data[..24], 6, 4), Mat::new(&data[24..], 20, 4));
    let positives = [vec![3, 8], vec![1], vec![9], vec![12], vec![7], vec![15]];
    let found = |miner: &HardNegatives| -> Vec<Vec<u32>> {
        let candidates = miner.candidates(queries, corpus, &positives).unwrap();
        let mined = miner.select(&candidates).unwrap().negatives;
        mined
            .iter()
            .map(|negatives| negatives.iter().map(|n| n.0).collect())
            .collect()
    };
    let plain = HardNegatives::default();
    assert_eq!(
        found(&plain),
        [
            [19, 7, 18],
            [7, 19, 18],
            [11, 15, 10],
            [4, 16, 0],
            [1, 2, 3],
            [5, 12, 7]
        ]
    );
    let later = HardNegatives {
        range_min: 2,
        ..plain.clone()
    };
    assert_eq!(
        found(&later),
        [
            [18, 5, 13],
            [18, 5, 8],
            [10, 6, 8],
            [0, 14, 9],
            [3, 8, 6],
            [7, 13, 8]
        ]
    );
    let relative = HardNegatives {
        relative_margin: Some(NonNegative::literal(0.1)),
        ..plain.clone()
    };
    let expected: [&[u32]; 6] = [
        &[1, 9, 4],
        &[4, 16, 14],
        &[8, 12, 3],
        &[8],
        &[],
        &[13, 8, 0],
    ];
    assert_eq!(found(&relative), expected);
    let several = HardNegatives {
        absolute_margin: Some(NonNegative::literal(0.2)),
        max_score: Some(Finite::literal(0.6)),
        min_score: Some(Finite::literal(-0.3)),
        ..plain.clone()
    };
    let expected: [&[u32]; 6] = [&[], &[], &[1, 7, 5], &[], &[], &[8, 0, 18]];
    assert_eq!(found(&several), expected);
    let ranks = HardNegatives {
        range_min: 1,
        range_max: Some(6),
        relative_margin: Some(NonNegative::literal(0.3)),
        ..plain
    };
    let expected: [&[u32]; 6] = [&[], &[], &[], &[], &[], &[8, 0, 18]];
    assert_eq!(found(&ranks), expected);
}

#[test]
fn the_margin_of_a_negative_score_points_down() {
    let mut candidates = candidates();
    candidates.positives = vec![vec![-0.1]];
    let miner = HardNegatives {
        relative_margin: Some(NonNegative::literal(0.5)),
        ..miner()
    };
    assert_eq!(miner.select(&candidates).unwrap().negatives[0], [(3, -0.2)]);
}

#[test]
fn random_negatives_are_candidates_in_order_and_the_seed_decides() {
    let random = |seed| {
        let miner = HardNegatives {
            sampling: Sampling::Random,
            range_min: 1,
            seed,
            ..miner()
        };
        select(&miner).0
    };
    assert_eq!(random(1), random(1));
    assert!((0..20).any(|seed| random(seed) != random(1)));
    for seed in 0..20 {
        let drawn = random(seed);
        assert!(drawn.len() == 3 && drawn.windows(2).all(|w| w[0] > w[1]) && !drawn.contains(&0.9));
    }
}

#[test]
fn positives_are_never_negatives_and_texts_that_repeat_are_one() {
    let texts = |list: &[&str]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    let pool = Pool::new(
        &texts(&["q", "r", "q", "q"]),
        &texts(&["a", "b", "c", "a"]),
        &texts(&["d", "a", "d"]),
    )
    .unwrap();
    assert_eq!(
        (&pool.queries, &pool.corpus),
        (&texts(&["q", "r"]), &texts(&["d", "a", "b", "c"]))
    );
    assert_eq!(pool.positives, [vec![1, 3], vec![2]]);
    let queries = [1.0, 0.0, 0.0, 1.0];
    let corpus = [0.6, 0.8, 0.8, 0.6, 0.0, 1.0, 1.0, 0.0];
    let miner = HardNegatives {
        negatives: NonZeroUsize::new(2).unwrap(),
        ..HardNegatives::default()
    };
    let candidates = miner
        .candidates(
            Mat::new(&queries, 2, 2),
            Mat::new(&corpus, 4, 2),
            &pool.positives,
        )
        .unwrap();
    assert_eq!(candidates.positives, [vec![0.8, 1.0], vec![1.0]]);
    let mined = miner.select(&candidates).unwrap();
    assert_eq!(
        mined.negatives,
        [vec![(0, 0.6), (2, 0.0)], vec![(0, 0.8), (1, 0.6)]]
    );
    let triplets: Vec<String> = mined.triplets(&pool).map(|t| t.concat()).collect();
    assert_eq!(triplets, ["qad", "qab", "qcd", "qcb", "rbd", "rba"]);
    let tuples: Vec<String> = mined.tuples(&pool, 2).map(|t| t.concat()).collect();
    assert_eq!(tuples, ["qadb", "qcdb", "rbda"]);
    assert_eq!(mined.tuples(&pool, 3).count(), 0);
    let pairs: Vec<_> = mined.labeled_pairs(&pool).collect();
    assert_eq!(
        pairs[..3],
        [("q", "a", true), ("q", "c", true), ("q", "d", false)]
    );
    assert_eq!(pairs.len(), 7);
}

#[test]
fn ranks_that_leave_nothing_and_positives_beyond_the_corpus_are_refused() {
    let error = HardNegatives {
        range_min: 4,
        ..miner()
    }
    .select(&candidates())
    .unwrap_err()
    .to_string();
    assert!(error.contains("ranks 4 to 6 leave fewer"), "{error}");
    let one = [1.0];
    let mat = Mat::new(&one, 1, 1);
    let error = |positives: Vec<u32>| {
        miner()
            .candidates(mat, mat, &[positives])
            .unwrap_err()
            .to_string()
    };
    assert!(error(vec![1]).contains("positive 1 of query 0"));
    assert!(error(vec![]).contains("positives of a query"));
    assert!(toml::from_str::<HardNegatives>("relative_margin = -0.1").is_err());
    let mined: HardNegatives =
        toml::from_str("negatives = 5\nrelative_margin = 0.05\nsampling = 'random'").unwrap();
    assert_eq!(mined.negatives.get(), 5);
}
