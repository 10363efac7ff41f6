//! What batches of every sampler hold, over many steps.

use std::collections::BTreeMap;

use super::*;

/// Items with gaps in their numbers, so that places and items cannot be mixed up, in classes of these sizes.
fn data(sizes: &[usize]) -> (Vec<usize>, Vec<u32>) {
    let labels: Vec<u32> = sizes
        .iter()
        .enumerate()
        .flat_map(|(class, &size)| vec![class as u32; size])
        .collect();
    ((0..labels.len()).map(|at| 3 * at + 5).collect(), labels)
}

fn pk(classes: usize, per_class: usize) -> Sampler {
    Sampler::Pk(Pk { classes, per_class })
}

fn draw(sampler: &Sampler, sizes: &[usize], seed: u64) -> Result<Draw, SamplerError> {
    let (items, labels) = data(sizes);
    Draw::new(sampler, Pool::new(&items, &labels), seed)
}

const UNEVEN: [usize; 7] = [20, 3, 7, 1, 2, 4, 9];

#[test]
fn a_batch_depends_on_the_step_and_not_on_what_was_drawn_before() {
    let samplers = [
        "[pk]\nclasses = 3\nper_class = 4",
        "[shuffled]\nbatch = 10",
        "[n_pair]\npairs = 5",
        "[groups]\ngroups = 2\nclasses = 3\nper_class = 2",
        "[identities]\nexemplars = 12\nper_identity = 5\nnegatives = 3",
        "[quadruplets]\nquadruplets = 4",
    ];
    for sampler in samplers.map(|text| toml::from_str::<Sampler>(text).unwrap()) {
        let mut through = draw(&sampler, &UNEVEN, 11).unwrap();
        let batches: Vec<_> = (0..60).map(|step| through.batch(step)).collect();
        for step in [57, 3, 59, 0, 30] {
            assert_eq!(
                draw(&sampler, &UNEVEN, 11).unwrap().batch(step),
                batches[step as usize]
            );
            assert_eq!(through.batch(step), batches[step as usize]);
        }
        assert_ne!(draw(&sampler, &UNEVEN, 12).unwrap().batch(0), batches[0]);
        let epoch = through.batches_per_epoch() as usize;
        assert_ne!(batches[..epoch], batches[epoch..2 * epoch]);
    }
}

#[test]
fn every_batch_has_p_classes_and_k_items_of_each_that_differ_where_the_class_is_large_enough() {
    for (sampler, sizes) in [
        (pk(3, 4), &UNEVEN[..]),
        (pk(5, 2), &[2, 3, 4, 5, 6]),
        (pk(4, 3), &[5; 9]),
    ] {
        let Sampler::Pk(Pk {
            classes: p,
            per_class: k,
        }) = sampler
        else {
            unreachable!()
        };
        let (_, labels) = data(sizes);
        let mut draw = draw(&sampler, sizes, 1).unwrap();
        for step in 0..200 {
            let batch = draw.batch(step);
            assert_eq!(batch.len(), draw.batch_size());
            let mut of_class = BTreeMap::<u32, Vec<usize>>::new();
            for item in batch {
                of_class
                    .entry(labels[(item - 5) / 3])
                    .or_default()
                    .push(item);
            }
            assert_eq!(of_class.len(), p);
            for (class, mut items) in of_class {
                assert_eq!(items.len(), k);
                items.sort_unstable();
                items.dedup();
                assert_eq!(
                    items.len(),
                    k.min(sizes[class as usize]),
                    "class {class} at step {step}"
                );
            }
        }
    }
}

#[test]
fn every_class_comes_once_before_any_comes_twice_within_an_epoch() {
    for (sampler, sizes) in [
        (pk(3, 4), &UNEVEN[..]),
        (pk(4, 3), &[5; 9]),
        (pk(2, 2), &[2; 7]),
    ] {
        let Sampler::Pk(Pk { per_class: k, .. }) = sampler else {
            unreachable!()
        };
        let (_, labels) = data(sizes);
        let usable = sizes.iter().filter(|&&size| size > 1).count();
        let mut draw = draw(&sampler, sizes, 2).unwrap();
        let epoch = draw.batches_per_epoch();
        for first in [0, epoch, 2 * epoch] {
            let drawn: Vec<u32> = (first..first + epoch)
                .flat_map(|step| {
                    draw.batch(step)
                        .into_iter()
                        .step_by(k)
                        .map(|item| labels[(item - 5) / 3])
                        .collect::<Vec<_>>()
                })
                .collect();
            assert!(drawn.len() >= usable);
            for pass in drawn.chunks(usable) {
                let mut classes = pass.to_vec();
                classes.sort_unstable();
                classes.dedup();
                assert_eq!(classes.len(), pass.len());
            }
        }
    }
}

#[test]
fn every_item_is_drawn_in_turn_and_a_single_item_never() {
    let (items, labels) = data(&UNEVEN);
    let mut draw = draw(&pk(3, 4), &UNEVEN, 3).unwrap();
    assert_eq!(draw.left_out(), 1);
    // The largest class needs 20 / 4 draws; two whole passes make an epoch of 4 batches.
    assert_eq!(draw.batches_per_epoch(), 4);
    let mut count = BTreeMap::<usize, usize>::new();
    for step in 0..3 * draw.batches_per_epoch() {
        for item in draw.batch(step) {
            *count.entry(item).or_default() += 1;
        }
    }
    for (item, label) in items.iter().zip(labels) {
        assert_eq!(
            count.contains_key(item),
            UNEVEN[label as usize] > 1,
            "item {item} of class {label}"
        );
    }
}

#[test]
fn a_shuffled_epoch_holds_every_item_once_before_it_is_filled_up() {
    let (items, _) = data(&UNEVEN);
    let mut draw = draw(
        &toml::from_str("[shuffled]\nbatch = 8").unwrap(),
        &UNEVEN,
        4,
    )
    .unwrap();
    assert_eq!(draw.batches_per_epoch(), 6); // 46 items
    let mut drawn: Vec<usize> = (6..12).flat_map(|step| draw.batch(step)).collect();
    assert_eq!(drawn.len(), 48);
    drawn.truncate(items.len());
    drawn.sort_unstable();
    assert_eq!(drawn, items);
}

#[test]
fn a_batch_larger_than_the_data_is_refused_with_both_numbers() {
    for (sampler, words) in [
        (
            pk(16, 4),
            "16 classes a batch, but only 6 classes have two or more items to train (1 have one)",
        ),
        (pk(6, 8), "a batch of 6 × 8 = 48 is more than the 45 items"),
        (pk(2, usize::MAX), "more than the 45 items"),
        (pk(2, 1), "classes = 2 and per_class = 1"),
        (
            toml::from_str("[shuffled]\nbatch = 47").unwrap(),
            "a batch of 47 is more than the 46 items",
        ),
    ] {
        let message = draw(&sampler, &UNEVEN, 0).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    assert!(draw(&pk(2, 2), &[], 0).is_err());
    assert!(
        toml::from_str::<Sampler>("[shuffled]\nbatch = 0")
            .unwrap_err()
            .to_string()
            .contains("nonzero")
    );
}

/// The classes of a batch.
fn classes_of(batch: &[usize], labels: &[u32]) -> Vec<u32> {
    batch.iter().map(|item| labels[(item - 5) / 3]).collect()
}

/// The distinct numbers of a list.
fn distinct<T: Ord + Copy>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

#[test]
fn an_n_pair_batch_is_anchors_then_their_positives_of_as_many_classes() {
    let (_, labels) = data(&UNEVEN);
    let sampler = toml::from_str("[n_pair]\npairs = 5").unwrap();
    let mut draw = draw(&sampler, &UNEVEN, 1).unwrap();
    assert_eq!((draw.batch_size(), draw.left_out()), (10, 1));
    for step in 0..200 {
        let batch = draw.batch(step);
        let classes = classes_of(&batch, &labels);
        assert_eq!(classes[..5], classes[5..], "step {step}");
        assert_eq!(distinct(&classes).len(), 5);
        assert_eq!(distinct(&batch).len(), 10, "no item is its own positive");
    }
}

#[test]
fn groups_hold_the_same_classes_at_the_same_places_and_other_items() {
    let sizes = [20, 12, 15, 1, 12];
    let (_, labels) = data(&sizes);
    let sampler = toml::from_str("[groups]\ngroups = 4\nclasses = 3\nper_class = 3").unwrap();
    let mut draw = draw(&sampler, &sizes, 1).unwrap();
    for step in 0..200 {
        let batch = draw.batch(step);
        let classes = classes_of(&batch, &labels);
        assert_eq!(distinct(&batch).len(), 36);
        let first: Vec<&[u32]> = classes[..9].chunks(3).collect();
        assert!(first.iter().all(|of| of[0] == of[1] && of[1] == of[2]));
        assert_eq!(distinct(&classes).len(), 3);
        assert!(classes.chunks(9).all(|group| group == &classes[..9]));
    }
}

#[test]
fn identities_have_up_to_so_many_items_and_negatives_are_of_others() {
    let sizes = [50, 3, 1, 7, 1, 12, 1, 5, 2, 9, 1, 1, 1];
    let (items, labels) = data(&sizes);
    let text = "[identities]\nexemplars = 20\nper_identity = 6\nnegatives = 4";
    let mut draw = draw(&toml::from_str(text).unwrap(), &sizes, 1).unwrap();
    // 6 + 3 + 6 + 6 + 5 + 2 + 6 places of identities, 16 a batch.
    assert_eq!((draw.batches_per_epoch(), draw.left_out()), (3, 0));
    let mut seen = std::collections::BTreeSet::new();
    for epoch in 0..60 {
        let mut structured = Vec::new();
        for step in 0..3 {
            let batch = draw.batch(3 * epoch + step);
            assert_eq!((batch.len(), distinct(&batch).len()), (20, 20));
            let classes = classes_of(&batch, &labels);
            let (of_identities, negatives) = classes.split_at(16);
            assert!(negatives.iter().all(|class| !of_identities.contains(class)));
            for class in distinct(of_identities) {
                let count = of_identities.iter().filter(|&&c| c == class).count();
                assert!(count <= 6 && sizes[class as usize] > 1);
            }
            structured.extend_from_slice(&batch[..16]);
            seen.extend(batch);
        }
        // Once through all identities, then on from the beginning.
        assert_eq!(distinct(&structured[..34]).len(), 34);
        assert_eq!(structured[34..], structured[..48 - 34]);
    }
    assert_eq!(
        seen.len(),
        items.len(),
        "every item is drawn, single ones as negatives"
    );
    // All of the large identity come in turn: nine epochs of six.
    let large = |epoch: u64| {
        let drawn =
            (3 * epoch..3 * epoch + 3).flat_map(|step| draw.clone().batch(step)[..16].to_vec());
        drawn.filter(|item| (item - 5) / 3 < 50).collect::<Vec<_>>()
    };
    assert_eq!(
        distinct(&(0..9).flat_map(large).collect::<Vec<_>>()).len(),
        50
    );
}

#[test]
fn negatives_come_from_all_where_every_identity_is_in_the_batch() {
    let (_, labels) = data(&[9, 9]);
    let text = "[identities]\nexemplars = 14\nper_identity = 5\nnegatives = 4";
    let mut draw = draw(&toml::from_str(text).unwrap(), &[9, 9], 1).unwrap();
    for step in 0..50 {
        let batch = draw.batch(step);
        assert_eq!(distinct(&batch).len(), 14);
        assert_eq!(distinct(&classes_of(&batch[..10], &labels)).len(), 2);
    }
}

#[test]
fn a_quadruplet_is_of_three_identities_its_positive_of_another_camera() {
    let sizes = [6, 4, 1, 2, 5];
    let (items, labels) = data(&sizes);
    // Identity 3 was seen by one camera alone.
    let camera = |place: usize| {
        if labels[place] == 3 {
            0
        } else {
            place as u32 % 3
        }
    };
    let cameras: Vec<u32> = (0..items.len()).map(camera).collect();
    let pool = Pool {
        cameras: Some(&cameras),
        ..Pool::new(&items, &labels)
    };
    let sampler = toml::from_str("[quadruplets]\nquadruplets = 6").unwrap();
    let mut draw = Draw::new(&sampler, pool, 3).unwrap();
    assert_eq!((draw.batch_size(), draw.batches_per_epoch()), (24, 1));
    let (mut others, mut anchors) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
    for step in 0..300 {
        let batch = draw.batch(step);
        let s = classes_of(&batch, &labels);
        for m in 0..6 {
            let [i, j, k, l] = [0, 6, 12, 18].map(|role| role + m);
            assert!(s[i] == s[j] && s[i] != s[k] && s[i] != s[l] && s[k] != s[l]);
            let place = |at: usize| (batch[at] - 5) / 3;
            assert_ne!(batch[i], batch[j]);
            assert!(cameras[place(i)] != cameras[place(j)] || s[i] == 3);
            *anchors.entry(s[i]).or_default() += 1;
            for other in [k, l] {
                *others.entry(s[other]).or_default() += 1;
            }
        }
        // All four that have a positive are anchors before one is twice.
        assert_eq!(distinct(&s[..4]), [0, 1, 3, 4]);
    }
    assert!(!anchors.contains_key(&2));
    // Identity 2 is never an anchor, and so a negative more often than the others, which are all alike.
    let share = |identity: u32| others[&identity] as f64 / 3600.0;
    assert!((share(2) - 0.25).abs() < 0.03, "{}", share(2));
    assert!(
        [0, 1, 3, 4]
            .iter()
            .all(|&identity| (share(identity) - 0.1875).abs() < 0.03)
    );
}

/// Five super-classes, one with too few classes, and classes with a single item.
fn hierarchy() -> (Vec<usize>, Vec<u32>, Vec<u32>) {
    let classes = [5, 4, 1, 7, 6];
    let mut labels = Vec::new();
    let (mut supers, mut class) = (Vec::new(), 0);
    for (top, count) in (0..).zip(classes) {
        for at in 0..count {
            let size = if at == 3 { 1 } else { 3 + at };
            labels.extend(vec![class; size]);
            supers.extend(vec![top; size]);
            class += 1;
        }
    }
    (
        (0..labels.len()).map(|at| 3 * at + 5).collect(),
        labels,
        supers,
    )
}

#[test]
fn a_hierarchical_batch_is_of_few_super_classes_with_as_many_classes_each() {
    let (items, labels, supers) = hierarchy();
    let pool = Pool {
        super_classes: Some(&supers),
        ..Pool::new(&items, &labels)
    };
    let sampler =
        toml::from_str("[hierarchical]\nsuper_classes = 2\nclasses = 3\nper_class = 4").unwrap();
    let mut through = Draw::new(&sampler, pool, 3).unwrap();
    // Super-class 2 has one class, and of the others one class each has one item.
    assert_eq!((through.batch_size(), through.left_out()), (24, 5));
    let mut drawn = BTreeMap::<u32, usize>::new();
    for step in 0..400 {
        let batch = through.batch(step);
        assert_eq!(batch, Draw::new(&sampler, pool, 3).unwrap().batch(step));
        let classes = classes_of(&batch, &labels);
        assert_eq!(distinct(&classes).len(), 6);
        for half in batch.chunks(12) {
            let tops: Vec<u32> = half.iter().map(|item| supers[(item - 5) / 3]).collect();
            assert_eq!(distinct(&tops).len(), 1);
            *drawn.entry(tops[0]).or_default() += 1;
        }
        for (items, of) in batch.chunks(4).zip(classes.chunks(4)) {
            assert_eq!(distinct(of).len(), 1);
            let size = labels.iter().filter(|&&label| label == of[0]).count();
            assert_eq!(distinct(items).len(), size.min(4));
        }
    }
    assert_eq!(drawn.keys().copied().collect::<Vec<_>>(), [0, 1, 3, 4]);
    assert!(
        drawn.values().all(|&times| (190..=210).contains(&times)),
        "{drawn:?}"
    );
}

#[test]
fn what_a_sampler_needs_and_does_not_get_is_said() {
    let (items, labels, supers) = hierarchy();
    let known = Pool {
        super_classes: Some(&supers),
        ..Pool::new(&items, &labels)
    };
    let unknown = Pool::new(&items, &labels);
    for (text, pool, words) in [
        (
            "[n_pair]\npairs = 90",
            unknown,
            "sampler.n_pair asks for 90 classes",
        ),
        (
            "[groups]\nper_class = 1",
            unknown,
            "sampler.groups has classes = 8 and per_class = 1",
        ),
        (
            "[groups]\ngroups = 65536\nper_class = 65536",
            unknown,
            "more than the",
        ),
        (
            "[identities]",
            unknown,
            "a batch of 1800, 1600 of them of identities",
        ),
        (
            "[identities]\nexemplars = 4\nnegatives = 3",
            unknown,
            "at least two exemplars beside the negatives",
        ),
        (
            "[identities]\nper_identity = 1",
            unknown,
            "per_identity of 2 or more",
        ),
        ("[hierarchical]", unknown, "no class name has a slash"),
        (
            "[hierarchical]\nclasses = 7\nper_class = 2",
            known,
            "2 super-classes with 7 classes of two items or more, but 0",
        ),
        (
            "[hierarchical]\nclasses = 2\nper_class = 65536",
            known,
            "is more than the",
        ),
        ("[hierarchical]\nper_class = 1", known, "per_class = 1"),
        ("[hard_classes]", unknown, "needs embeddings"),
        ("[offline_triplets]", unknown, "needs embeddings"),
    ] {
        let error = Draw::new(&toml::from_str(text).unwrap(), pool, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let two = Draw::new(
        &toml::from_str("[quadruplets]").unwrap(),
        Pool::new(&[0, 1, 2], &[0, 0, 1]),
        0,
    );
    assert!(two.unwrap_err().to_string().contains("three classes"));
    let long = toml::from_str("[hard_classes]\nclasses = 4\nevery = 65536").unwrap();
    let error = Mine::new(&long, unknown, 65536 * 64, 0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("a smaller `every`"), "{error}");
    assert!(
        Mine::new(&Sampler::default(), unknown, 1, 0)
            .unwrap()
            .is_none()
    );
}

#[test]
fn every_sampler_is_listed_by_the_name_that_a_recipe_has_for_it() {
    for (name, about, sampler) in Sampler::catalogue() {
        let text = toml::to_string(&sampler).unwrap();
        assert!(text.starts_with(&format!("[{name}]")), "{text}");
        assert_eq!(toml::from_str::<Sampler>(&text).unwrap(), sampler);
        assert!(about.ends_with('.'));
        if !["pk", "shuffled"].contains(&name) {
            assert_eq!(
                toml::from_str::<Sampler>(&format!("[{name}]")).unwrap(),
                sampler
            );
        }
    }
}
