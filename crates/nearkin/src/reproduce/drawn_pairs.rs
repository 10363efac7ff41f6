//! Pairs for verification where no list names them, drawn as those of Labeled Faces in the Wild were.

use crate::data::ItemPair;
use crate::embed::Embedded;
use crate::evaluate::EvaluateError;
use nearkin_encoder::parameters::named_rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Folds, each of people of its own.
const FOLDS: usize = 10;
/// Pairs of each kind in a fold.
const PAIRS: usize = 300;

/// Ten folds of 300 pairs of a person and 300 of two, drawn with replacement; no person is in two folds. The same items
/// have the same pairs.
///
/// # Errors
/// Fewer than twenty people have two images.
pub fn drawn_pairs(embedded: &Embedded) -> Result<Vec<ItemPair>, EvaluateError> {
    let mut images = BTreeMap::<u32, Vec<usize>>::new();
    for (&item, &label) in embedded.items.iter().zip(&embedded.labels) {
        images.entry(label).or_default().push(item);
    }
    let mut rng = named_rng(0, "drawn-pairs");
    let (mut several, mut single): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
        images.into_values().partition(|images| images.len() > 1);
    let (needed, found) = (2 * FOLDS, several.len());
    if found < needed {
        return Err(EvaluateError::TooFewClasses { needed, found });
    }
    several.shuffle(&mut rng);
    single.shuffle(&mut rng);
    let mut pairs = Vec::with_capacity(2 * FOLDS * PAIRS);
    for fold in 0..FOLDS {
        let dealt = |all: &[Vec<usize>]| -> Vec<Vec<usize>> {
            all.iter().skip(fold).step_by(FOLDS).cloned().collect()
        };
        let several = dealt(&several);
        let all = [several.clone(), dealt(&single)].concat();
        for _ in 0..PAIRS {
            let of_one = several
                .choose(&mut rng)
                .and_then(|images| two(images, &mut rng));
            let of_two = two(&all, &mut rng)
                .and_then(|[one, other]| Some([*one.choose(&mut rng)?, *other.choose(&mut rng)?]));
            for (found, same) in [(of_one.map(|two| two.map(|&i| i)), true), (of_two, false)] {
                let line = pairs.len() + 1;
                pairs.extend(found.map(|[first, second]| ItemPair {
                    first,
                    second,
                    same,
                    fold: Some(fold),
                    line,
                }));
            }
        }
    }
    Ok(pairs)
}

/// Two different ones of some.
fn two<'a, T>(of: &'a [T], rng: &mut ChaCha8Rng) -> Option<[&'a T; 2]> {
    let mut drawn = of.sample(rng, 2);
    Some([drawn.next()?, drawn.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn people(images: impl IntoIterator<Item = usize>) -> Embedded {
        let labels = (0..).zip(images);
        let labels: Vec<u32> = labels
            .flat_map(|(p, n)| std::iter::repeat_n(p, n))
            .collect();
        Embedded {
            items: (100..100 + labels.len()).collect(),
            numbers: vec![0.0; labels.len()],
            labels,
            dim: 1,
        }
    }

    #[test]
    fn folds_have_pairs_of_both_kinds_and_people_of_their_own() {
        let set = people((0..37).map(|person| if person % 5 < 3 { 2 + person % 3 } else { 1 }));
        let pairs = drawn_pairs(&set).unwrap();
        assert_eq!(pairs.len(), 2 * FOLDS * PAIRS);
        let label = |item: usize| set.labels[item - 100];
        let mut fold_of = HashMap::new();
        for pair in &pairs {
            assert_ne!(pair.first, pair.second);
            assert_eq!(pair.same, label(pair.first) == label(pair.second));
            for item in [pair.first, pair.second] {
                assert_eq!(*fold_of.entry(label(item)).or_insert(pair.fold), pair.fold);
            }
        }
        assert_eq!(fold_of.len(), 37);
        for fold in 0..FOLDS {
            let same = pairs.iter().filter(|p| p.same && p.fold == Some(fold));
            assert_eq!(same.count(), PAIRS);
        }
        assert_eq!(drawn_pairs(&set).unwrap(), pairs);
    }

    #[test]
    fn too_few_people_are_an_error() {
        for images in [vec![2; 19], [vec![2; 19], vec![1; 30]].concat()] {
            let error = drawn_pairs(&people(images)).unwrap_err();
            assert!(matches!(
                error,
                EvaluateError::TooFewClasses {
                    needed: 20,
                    found: 19
                }
            ));
        }
    }
}
