//! Hinges over all triplets and all quadruplets of a batch at once.
//!
//! A quadruplet joins a positive pair with a negative pair that does not touch its class: of all negative pairs, those
//! nearer than the margin asks for are a prefix when sorted by distance, less the same of those that touch the class.

use super::Matrix;
use super::ladder::{Hinges, Ladder, Met};
use crate::pairs::Pairs;
use rayon::prelude::*;

/// Pairs of a batch of one kind: how many, and their distances added up.
#[derive(Clone, Copy, Default)]
pub(super) struct Kind {
    pub pairs: usize,
    pub sum: f64,
}

impl Kind {
    pub fn of(d: impl Iterator<Item = f64>) -> Self {
        d.fold(Self::default(), |kind, d| Self {
            pairs: kind.pairs + 1,
            sum: kind.sum + d,
        })
    }

    /// How many, or one where there are none.
    pub fn count(self) -> f64 {
        self.pairs.max(1) as f64
    }
}

/// Margins, and how their gradient changes the slopes of the terms.
pub(super) struct Rules {
    pub margins: [f64; 2],
    /// Slopes of a term in its positive and in its negative.
    pub slopes: [[f64; 2]; 2],
    /// Slopes of the margins in every positive and in every negative.
    pub everywhere: [[f64; 2]; 2],
}

/// A row and a column.
type Pair = (usize, usize);

/// The hinges of one anchor: for each of its positives those of either kind.
pub(super) type Anchor = Vec<(usize, [Met; 2])>;

/// Ladders of all pairs of one kind, and of those that touch each class.
struct Crowd {
    all: Ladder,
    of_class: Vec<Ladder>,
}

impl Crowd {
    /// Of pairs, each with the one or two classes that it touches.
    fn new<T: Copy + Send>(
        classes: usize,
        pairs: impl Iterator<Item = (T, [usize; 2])>,
        ladder: impl Fn(Vec<T>) -> Ladder + Send + Sync,
    ) -> Self {
        let mut all = Vec::new();
        let mut of_class = vec![Vec::new(); classes];
        for (pair, [first, second]) in pairs {
            all.push(pair);
            of_class[first].push(pair);
            if second != first {
                of_class[second].push(pair);
            }
        }
        Self {
            all: ladder(all),
            of_class: of_class.into_par_iter().map(&ladder).collect(),
        }
    }
}

/// The pairs of a batch with what decides their terms.
pub(super) struct Hinged<'a> {
    pairs: Pairs<'a>,
    rules: Rules,
    hinges: [Hinges; 2],
}

impl<'a> Hinged<'a> {
    /// The pairs of a batch, with rules that follow from its positives and its negatives.
    pub fn new(matrix: &Matrix<'a>, rules: impl FnOnce([Kind; 2]) -> Rules) -> Self {
        let pairs = matrix.pairs;
        let at = |(i, j): Pair| f64::from(pairs.at(i, j));
        let kinds = [
            Kind::of(positives(&pairs).map(at)),
            Kind::of(negatives(&pairs).map(at)),
        ];
        let rules = rules(kinds);
        let hinges = rules.margins.map(|margin| Hinges {
            margin,
            keep: matrix.reducer.keep(),
        });
        Self {
            pairs,
            rules,
            hinges,
        }
    }

    fn classes(&self) -> usize {
        self.pairs.classes().iter().count()
    }

    /// The class of an item; all items have one, being columns too.
    fn class(&self, i: usize) -> usize {
        self.pairs.class_of(i).unwrap_or_default()
    }

    /// The hinges of each positive of each anchor.
    pub fn anchors(&self) -> Vec<Anchor> {
        let Self { pairs, hinges, .. } = self;
        let entry = |(l, k): Pair| (pairs.at(l, k), [l, k].map(|i| self.class(i)));
        let negatives = negatives(pairs).map(entry);
        let crowd = Crowd::new(self.classes(), negatives, Ladder::of);
        let anchor = |a: usize| {
            let of_anchor = pairs
                .negatives(a)
                .flatten()
                .map(|n| pairs.at(a, n))
                .collect();
            let of_anchor = Ladder::of(of_anchor);
            let met = |p: usize| {
                let d = pairs.at(a, p);
                let touching = hinges[1].of_positive(d, &crowd.of_class[self.class(a)]);
                let weak = hinges[1].of_positive(d, &crowd.all).without(touching);
                (p, [hinges[0].of_positive(d, &of_anchor), weak])
            };
            pairs.positives(a).map(met).collect()
        };
        (0..pairs.rows()).into_par_iter().map(anchor).collect()
    }

    /// Writes `G`, given what the terms of either kind of each anchor are multiplied by.
    pub fn slopes(&self, anchors: &[Anchor], weights: &[Vec<f64>; 2], g: &mut [f32]) {
        let Self {
            pairs,
            hinges,
            rules,
        } = self;
        let mut everywhere = [0.0; 2];
        for (kind, slopes) in rules.everywhere.iter().enumerate() {
            for (anchor, weight) in anchors.iter().zip(&weights[kind]) {
                let pulling: usize = anchor.iter().map(|(_, met)| met[kind].pulling).sum();
                (0..2).for_each(|k| everywhere[k] += weight * pulling as f64 * slopes[k]);
            }
        }
        let entry = |(i, j): Pair| ((pairs.at(i, j), weights[1][i]), [self.class(i); 2]);
        let positives = positives(pairs).map(entry);
        let pullers = Crowd::new(self.classes(), positives, Ladder::new);
        pairs.each_anchor(g, |a, g| {
            for &(p, met) in &anchors[a] {
                let pull = |kind: usize| {
                    weights[kind][a] * met[kind].pulling as f64 * rules.slopes[kind][0]
                };
                g[p] = (pull(0) + pull(1) + everywhere[0]) as f32;
            }
            let of_anchor = |p: usize| (pairs.at(a, p), weights[0][a]);
            let of_anchor = Ladder::new(pairs.positives(a).map(of_anchor).collect());
            for k in pairs.negatives(a).flatten() {
                let d = pairs.at(a, k);
                let of_class = |i: usize| &pullers.of_class[self.class(i)];
                let [all, first, second] = [&pullers.all, of_class(a), of_class(k)]
                    .map(|ladder| hinges[1].of_negative(d, ladder));
                let strong = hinges[0].of_negative(d, &of_anchor);
                let push =
                    strong * rules.slopes[0][1] + (all - first - second) * rules.slopes[1][1];
                g[k] = (push + everywhere[1]) as f32;
            }
        });
    }
}

fn positives<'a>(pairs: &'a Pairs<'a>) -> impl Iterator<Item = Pair> {
    (0..pairs.rows()).flat_map(move |i| pairs.positives(i).map(move |j| (i, j)))
}

fn negatives<'a>(pairs: &'a Pairs<'a>) -> impl Iterator<Item = Pair> {
    (0..pairs.rows()).flat_map(move |l| pairs.negatives(l).flatten().map(move |k| (l, k)))
}
