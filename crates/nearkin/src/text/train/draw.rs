//! Which items make up the batch of each number.
//!
//! The batches of an epoch are a function of the seed and the epoch: a run that resumes draws what the uninterrupted run
//! drew.

use crate::error::Result;
use crate::sampler;
use crate::text::recipe::Mix;
use nearkin_encoder::parameters::named_rng;
use rand::seq::SliceRandom;
use std::collections::{HashSet, VecDeque};

/// Batches whose items are drawn together before they are sorted by length: enough for even lengths, few enough for other
/// company in each epoch.
const SORTED: usize = 64;

/// Draws the batches of a run.
#[derive(Clone)]
pub(super) struct Draw {
    sets: Vec<Items>,
    mix: Mix,
    seed: u64,
    current: Option<Epoch>,
}

/// A data set to draw from.
#[derive(Clone)]
pub(super) enum Items {
    /// All items, each once an epoch.
    Each(Each),
    /// P classes × K items.
    Classes(sampler::Draw),
}

/// What decides batches of all items.
#[derive(Clone)]
pub(super) struct Each {
    /// Keys the random draws.
    pub name: String,
    pub count: usize,
    pub limit: Limit,
    /// Numbers of the texts of each item, where none may be twice in a batch.
    pub texts: Option<Vec<Vec<u32>>>,
}

/// How much a batch holds.
#[derive(Clone)]
pub(super) enum Limit {
    /// So many items.
    Items(usize),
    /// So many tokens; the tokens of each item.
    Tokens(usize, Vec<u32>),
}

#[derive(Clone)]
struct Epoch {
    number: u64,
    /// The number of its first batch.
    first: u64,
    /// Data set and items of each.
    batches: Vec<(usize, Vec<usize>)>,
}

impl Draw {
    /// Draws from data sets that take turns.
    pub fn new(sets: Vec<Items>, mix: Mix, seed: u64) -> Self {
        Self {
            sets,
            mix,
            seed,
            current: None,
        }
    }

    /// How many batches each data set has in the first epoch.
    pub fn batches_of_sets(&mut self) -> Vec<usize> {
        let seed = self.seed;
        let sets = self.sets.iter_mut();
        sets.map(|items| items.epoch(seed, 0).len()).collect()
    }

    /// How many batches make so many epochs.
    pub fn batches(&mut self, epochs: u32) -> u64 {
        (0..u64::from(epochs))
            .map(|epoch| self.epoch(epoch).len() as u64)
            .sum()
    }

    /// Data set and items of batch `number`; there is one, as long as an epoch has batches.
    pub fn batch(&mut self, number: u64) -> (usize, Vec<usize>) {
        let mut epoch = match self.current.take() {
            Some(epoch) if epoch.first <= number => epoch,
            _ => Epoch {
                number: 0,
                first: 0,
                batches: self.epoch(0),
            },
        };
        while epoch.first + epoch.batches.len() as u64 <= number {
            let next = epoch.number + 1;
            epoch = Epoch {
                number: next,
                first: epoch.first + epoch.batches.len() as u64,
                batches: self.epoch(next),
            };
        }
        let batch = epoch.batches[(number - epoch.first) as usize].clone();
        self.current = Some(epoch);
        batch
    }

    fn epoch(&mut self, number: u64) -> Vec<(usize, Vec<usize>)> {
        let seed = self.seed;
        let sets = self.sets.iter_mut();
        let mut of_sets: Vec<VecDeque<Vec<usize>>> =
            sets.map(|items| items.epoch(seed, number).into()).collect();
        let counts = of_sets.iter().map(VecDeque::len);
        let turns: Vec<usize> = match self.mix {
            Mix::RoundRobin => {
                let rounds = counts.min().unwrap_or(0);
                (0..rounds).flat_map(|_| 0..of_sets.len()).collect()
            }
            Mix::Proportional => {
                let of_set = |(set, count)| std::iter::repeat_n(set, count);
                let mut turns: Vec<usize> = counts.enumerate().flat_map(of_set).collect();
                turns.shuffle(&mut named_rng(seed, &format!("turns/{number}")));
                turns
            }
        };
        let next = |set: usize| of_sets[set].pop_front().map(|items| (set, items));
        turns.into_iter().filter_map(next).collect()
    }
}

impl Items {
    fn epoch(&mut self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        match self {
            Self::Each(each) => each.epoch(seed, epoch),
            Self::Classes(draw) => {
                let count = draw.batches_per_epoch();
                let numbers = epoch * count..(epoch + 1) * count;
                numbers.map(|number| draw.batch(number)).collect()
            }
        }
    }

    /// P classes × K items of labeled texts.
    ///
    /// # Errors
    /// There are too few classes or items.
    pub fn classes(pk: sampler::Pk, labels: &[u32], seed: u64) -> Result<Self> {
        let items: Vec<usize> = (0..labels.len()).collect();
        let sampler = sampler::Sampler::Pk(pk);
        let draw = sampler::Draw::new(&sampler, sampler::Pool::new(&items, labels), seed);
        let draw = draw.map_err(|error| {
            let expected = "as many classes and items as the labeled texts have";
            super::setting("batches.pk", expected, error.to_string())
        })?;
        Ok(Self::Classes(draw))
    }
}

impl Each {
    fn epoch(&self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = named_rng(seed, &format!("batches/{}/{epoch}", self.name));
        let mut order: Vec<usize> = (0..self.count).collect();
        order.shuffle(&mut rng);
        let Limit::Tokens(most, lengths) = &self.limit else {
            return self.fill(order);
        };
        let all: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let usual = (*most as u64 * self.count as u64 / all.max(1)) as usize;
        let blocks = self.count.div_ceil(SORTED * usual.max(1)).max(1);
        let size = self.count.div_ceil(blocks).max(1);
        for (number, block) in order.chunks_mut(size).enumerate() {
            block.sort_by_key(|&item| lengths[item]);
            // Up and down by turns, so that a batch on the border of two is even too.
            if number % 2 == 1 {
                block.reverse();
            }
        }
        let mut batches = self.fill(order);
        batches.shuffle(&mut rng);
        batches
    }

    /// Cuts an order into batches; an item with a text that the batch has waits for a later one.
    fn fill(&self, order: Vec<usize>) -> Vec<Vec<usize>> {
        let mut order = order.into_iter();
        let mut waiting: Vec<usize> = Vec::new();
        let mut batches = Vec::new();
        loop {
            let mut batch = Filling::default();
            let mut left = Vec::new();
            let mut earlier = std::mem::take(&mut waiting).into_iter();
            while !batch.full {
                let Some(item) = earlier.next().or_else(|| order.next()) else {
                    break;
                };
                if !batch.take(self, item) {
                    left.push(item);
                }
            }
            left.extend(earlier);
            waiting = left;
            if batch.items.is_empty() {
                break;
            }
            batches.push(batch.items);
        }
        if self.texts.is_some() {
            // An item alone has no negatives.
            batches.retain(|batch| batch.len() > 1);
        }
        batches
    }
}

/// A batch that is being filled.
#[derive(Default)]
struct Filling {
    items: Vec<usize>,
    tokens: usize,
    texts: HashSet<u32>,
    full: bool,
}

impl Filling {
    /// Takes an item unless the batch has no room for it or one of its texts.
    fn take(&mut self, from: &Each, item: usize) -> bool {
        let texts = from.texts.as_ref().map(|texts| &texts[item]);
        if texts.is_some_and(|texts| texts.iter().any(|text| self.texts.contains(text))) {
            return false;
        }
        match &from.limit {
            Limit::Items(most) => self.full = self.items.len() + 1 >= *most,
            Limit::Tokens(most, lengths) => {
                let tokens = self.tokens + lengths[item] as usize;
                self.full = tokens >= *most;
                if tokens > *most && !self.items.is_empty() {
                    return false;
                }
                self.tokens = tokens;
            }
        }
        self.items.push(item);
        self.texts.extend(texts.into_iter().flatten());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(name: &str, count: usize, limit: Limit) -> Each {
        Each {
            name: name.to_owned(),
            count,
            limit,
            texts: None,
        }
    }

    fn draw(sets: Vec<Each>, mix: Mix) -> Draw {
        Draw::new(sets.into_iter().map(Items::Each).collect(), mix, 3)
    }

    #[test]
    fn every_item_is_drawn_once_an_epoch_and_any_batch_can_be_drawn_first() {
        let mut one = draw(vec![each("a", 50, Limit::Items(8))], Mix::Proportional);
        let batches: Vec<_> = (0..21).map(|number| one.batch(number)).collect();
        for epoch in batches.chunks(7) {
            let mut items: Vec<usize> = epoch.iter().flat_map(|(_, items)| items.clone()).collect();
            assert_eq!(epoch[6].1.len(), 2);
            items.sort_unstable();
            assert_eq!(items, (0..50).collect::<Vec<_>>());
        }
        assert_ne!(batches[..7], batches[7..14]);
        let mut other = draw(vec![each("a", 50, Limit::Items(8))], Mix::Proportional);
        for number in [20, 3, 9, 0] {
            assert_eq!(other.batch(number), batches[number as usize]);
        }
        assert_eq!(one.batches(3), 21);
    }

    #[test]
    fn a_budget_of_tokens_puts_items_of_like_length_together() {
        let lengths: Vec<u32> = (0..400).map(|i| 3 + i * 37 % 60).collect();
        let limit = Limit::Tokens(128, lengths.clone());
        let mut one = draw(vec![each("a", 400, limit)], Mix::Proportional);
        let count = one.batches(1);
        let mut seen = vec![0; 400];
        let mut spread = 0;
        for number in 0..count {
            let (_, items) = one.batch(number);
            let of = items.iter().map(|&item| lengths[item]);
            assert!(of.clone().sum::<u32>() <= 128 && !items.is_empty());
            spread = spread.max(of.clone().max().unwrap() - of.min().unwrap());
            for item in items {
                seen[item] += 1;
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
        assert!(spread <= 16, "lengths in a batch differ by {spread}");
        // No fuller than it needs to be: about the tokens over the budget.
        assert!(
            count < 2 * lengths.iter().sum::<u32>() as u64 / 128,
            "{count}"
        );
    }

    #[test]
    fn an_item_longer_than_the_budget_is_alone() {
        let limit = Limit::Tokens(10, vec![4, 30, 4, 4]);
        let mut one = draw(vec![each("a", 4, limit)], Mix::Proportional);
        let batches: Vec<_> = (0..one.batches(1)).map(|n| one.batch(n).1).collect();
        assert!(batches.contains(&vec![1]), "{batches:?}");
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 4);
    }

    #[test]
    fn no_text_is_twice_in_a_batch() {
        // Anchors 0 to 9 thrice each, each with a positive of its own.
        let texts: Vec<Vec<u32>> = (0..30).map(|i| vec![i % 10, 100 + i]).collect();
        let mut items = each("a", 30, Limit::Items(8));
        items.texts = Some(texts.clone());
        let mut one = draw(vec![items], Mix::Proportional);
        let mut drawn = 0;
        for number in 0..one.batches(1) {
            let (_, items) = one.batch(number);
            let anchors: HashSet<u32> = items.iter().map(|&item| texts[item][0]).collect();
            assert_eq!(anchors.len(), items.len());
            assert!(items.len() > 1);
            drawn += items.len();
        }
        assert!(drawn >= 27, "{drawn} of 30 items");
    }

    #[test]
    fn data_sets_take_turns_by_size_or_one_after_another() {
        let sets = || {
            vec![
                each("a", 40, Limit::Items(4)),
                each("b", 12, Limit::Items(4)),
            ]
        };
        let mut proportional = draw(sets(), Mix::Proportional);
        assert_eq!(proportional.batches(1), 13);
        let turns: Vec<usize> = (0..13).map(|n| proportional.batch(n).0).collect();
        assert_eq!(turns.iter().filter(|&&set| set == 1).count(), 3);
        assert_ne!(turns, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let mut robin = draw(sets(), Mix::RoundRobin);
        assert_eq!(robin.batches(1), 6);
        let turns: Vec<usize> = (0..8).map(|n| robin.batch(n).0).collect();
        assert_eq!(turns, [0, 1, 0, 1, 0, 1, 0, 1]);
    }
}
