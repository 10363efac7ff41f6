//! Hinges over all triplets and all quadruplets of a batch at once.
//!
//! A quadruplet joins a positive pair with a negative pair that does not touch its class: of all negative pairs, those
//! nearer than the margin asks for are those below a threshold, less the same of those that touch the class. Positive pairs
//! are few, so their thresholds are sorted, and negative pairs only counted at their places among them.

use super::Matrix;
use super::ladder::{Hinges, Ladder, Met, Steps, Tally, count};
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

/// The hinges of one anchor: for each of its positives those of either kind.
pub(super) type Anchor = Vec<(usize, [Met; 2])>;

/// Rows whose negatives are counted together: fixed, so that sums have the same bits on any number of threads.
const ROWS: usize = 64;

/// Thresholds of a class up to which comparing with each beats looking up a cell.
const FEW: usize = 16;

/// The thresholds of all positive pairs, and of those of each class.
struct Crowd {
    all: Steps,
    of_class: Vec<Steps>,
    /// Where the places of each class begin, those of all coming first.
    first: Vec<usize>,
    places: usize,
    /// The class of each item; all items have one, being columns too.
    class: Vec<usize>,
    /// Thresholds of the classes of the columns, one of each class after another, if these are few.
    of_columns: Vec<f32>,
}

impl Crowd {
    fn new(of_class: Vec<Vec<f32>>, class: Vec<usize>) -> Self {
        let all = Steps::new(of_class.concat());
        let of_class: Vec<_> = of_class.into_par_iter().map(Steps::new).collect();
        let mut places = all.places();
        let mut first = Vec::with_capacity(of_class.len());
        for steps in &of_class {
            first.push(places);
            places += steps.places();
        }
        let thresholds = of_class.iter().map(|steps| steps.thresholds().len());
        let most = thresholds.max().unwrap_or_default();
        let mut of_columns = Vec::new();
        for k in 0..if most <= FEW { most } else { 0 } {
            let threshold = |&class: &usize| {
                let thresholds = of_class[class].thresholds();
                thresholds.get(k).copied().unwrap_or(f32::NAN)
            };
            of_columns.extend(class.iter().map(threshold));
        }
        Self {
            all,
            of_class,
            first,
            places,
            class,
            of_columns,
        }
    }

    /// The places of the distances of a row, from column `start` on, among the thresholds of the classes of their columns.
    fn find_of_columns(&self, d: &[f32], start: usize, places: &mut [u32]) {
        let (cols, d, places) = (d.len(), &d[start..], &mut places[start..]);
        if self.of_columns.is_empty() {
            for ((place, &d), &class) in places.iter_mut().zip(d).zip(&self.class[start..]) {
                *place = self.of_class[class].find_one(d) as u32;
            }
            return;
        }
        places.fill(0);
        for thresholds in self.of_columns.chunks_exact(cols) {
            for ((place, &d), &t) in places.iter_mut().zip(d).zip(&thresholds[start..]) {
                *place += u32::from(t <= d);
            }
        }
    }

    /// A table of the places of all and of each class from those that it is made of.
    fn table<T: Send>(&self, of: impl Fn(Option<usize>, &Steps) -> Vec<T> + Sync) -> Vec<T> {
        let mut table = of(None, &self.all);
        let of_class = self.of_class.par_iter().enumerate();
        let of_class: Vec<_> = of_class.map(|(c, steps)| of(Some(c), steps)).collect();
        table.extend(of_class.into_iter().flatten());
        table
    }

    /// How often a negative pair is visited as [`each_negative`](Self::each_negative) of either row.
    fn visits(pairs: &Pairs<'_>) -> f64 {
        if pairs.space().symmetric { 1.0 } else { 2.0 }
    }

    /// Calls `f` on each negative of a row, with its three places: among all, in the class of the row and in its own. Where
    /// pairs have one distance, only on those after the row: the others had their turn.
    fn each_negative(
        &self,
        (a, pairs): (usize, &Pairs<'_>),
        mut f: impl FnMut(usize, f32, [usize; 3]),
    ) {
        let (d, class) = (pairs.row(a), self.class[a]);
        let first = self.first[class];
        let start = if pairs.space().symmetric { a + 1 } else { 0 };
        let mut places = vec![0; 3 * d.len()];
        let (in_all, rest) = places.split_at_mut(d.len());
        let (in_own, in_other) = rest.split_at_mut(d.len());
        self.all.find(&d[start..], &mut in_all[start..]);
        self.of_class[class].find(&d[start..], &mut in_own[start..]);
        self.find_of_columns(d, start, in_other);
        for range in pairs.negatives(a) {
            let range = range.start.max(start)..range.end.max(start);
            let places = in_all[range.clone()].iter().zip(&in_own[range.clone()]);
            let places = places.zip(&in_other[range.clone()]);
            let columns = range.clone().zip(&self.class[range.clone()]);
            for (((k, &other), d), ((all, own), of_other)) in
                columns.zip(&d[range.clone()]).zip(places)
            {
                let of_other = self.first[other] + *of_other as usize;
                f(k, *d, [*all as usize, first + *own as usize, of_other]);
            }
        }
    }

    /// The tallies of all negative pairs.
    fn tallies(&self, pairs: &Pairs<'_>) -> Vec<Tally> {
        let rows = pairs.rows();
        // So that the tallies of all chunks take no more memory than the pair matrix.
        let chunk = ROWS.max((4 * self.places).div_ceil(rows.max(1)));
        let weight = 2.0 / Self::visits(pairs);
        let chunks: Vec<_> = (0..rows.div_ceil(chunk)).collect();
        let of_chunk = |c: usize| {
            let mut tallies = vec![[0.0; 2]; self.places];
            for a in c * chunk..rows.min((c + 1) * chunk) {
                self.each_negative((a, pairs), |_, d, places| {
                    for place in places {
                        let tally = &mut tallies[place];
                        tally[0] += weight;
                        tally[1] += weight * f64::from(d);
                    }
                });
            }
            tallies
        };
        let of_chunks: Vec<_> = chunks.into_par_iter().map(of_chunk).collect();
        let mut chunks = of_chunks.into_iter();
        let mut sums = chunks.next().unwrap_or_default();
        for chunk in chunks {
            for (sum, tally) in sums.iter_mut().zip(chunk) {
                *sum = [sum[0] + tally[0], sum[1] + tally[1]];
            }
        }
        sums
    }

    fn ladders(&self, tallies: &[Tally]) -> (Ladder<'_>, Vec<Ladder<'_>>) {
        let part = |first: usize, steps: &Steps| first..first + steps.places();
        let all = Ladder::new(&self.all, &tallies[part(0, &self.all)]);
        let of_class = self.of_class.iter().zip(&self.first);
        let of_class =
            of_class.map(|(steps, &first)| Ladder::new(steps, &tallies[part(first, steps)]));
        (all, of_class.collect())
    }
}

/// The pairs of a batch with what decides their terms.
pub(super) struct Hinged<'a> {
    pairs: Pairs<'a>,
    rules: Rules,
    hinges: [Hinges; 2],
    crowd: Crowd,
}

impl<'a> Hinged<'a> {
    /// The pairs of a batch, with rules that follow from its positives and its negatives.
    pub fn new(matrix: &Matrix<'a>, rules: impl FnOnce(&dyn Fn() -> [Kind; 2]) -> Rules) -> Self {
        let pairs = matrix.pairs;
        let rules = rules(&|| kinds(&pairs));
        let hinges = rules.margins.map(|margin| Hinges {
            margin,
            keep: matrix.reducer.keep(),
        });
        let class = (0..pairs.rows()).map(|i| pairs.class_of(i).unwrap_or_default());
        let class: Vec<_> = class.collect();
        let mut thresholds = vec![Vec::new(); pairs.classes().iter().count()];
        for (i, &class) in class.iter().enumerate() {
            let of_pair = |j: usize| hinges[1].thresholds(pairs.at(i, j));
            thresholds[class].extend(pairs.positives(i).flat_map(of_pair));
        }
        Self {
            pairs,
            rules,
            hinges,
            crowd: Crowd::new(thresholds, class),
        }
    }

    /// The thresholds of an anchor's own triplets.
    fn strong(&self, a: usize) -> Steps {
        let of_pair = |p: usize| self.hinges[0].thresholds(self.pairs.at(a, p));
        Steps::new(self.pairs.positives(a).flat_map(of_pair).collect())
    }

    /// The hinges of each positive of each anchor.
    pub fn anchors(&self) -> Vec<Anchor> {
        let Self { pairs, hinges, .. } = self;
        let tallies = self.crowd.tallies(pairs);
        let (all, of_class) = self.crowd.ladders(&tallies);
        let anchor = |a: usize| {
            let steps = self.strong(a);
            let mut tallies = vec![[0.0; 2]; steps.places()];
            let mut places = vec![0; pairs.cols()];
            for range in pairs.negatives(a) {
                let d = &pairs.row(a)[range.clone()];
                steps.find(d, &mut places[range.clone()]);
                count(&mut tallies, d, &places[range]);
            }
            let strong = Ladder::new(&steps, &tallies);
            let met = |p: usize| {
                let d = pairs.at(a, p);
                let touching = hinges[1].of_positive(d, &of_class[self.crowd.class[a]]);
                let weak = hinges[1].of_positive(d, &all).without(touching);
                (p, [hinges[0].of_positive(d, &strong), weak])
            };
            pairs.positives(a).map(met).collect()
        };
        (0..pairs.rows()).into_par_iter().map(anchor).collect()
    }

    /// What negative pairs at each place are pushed by.
    fn pushes(&self, weights: &[f64]) -> Vec<f64> {
        let Self { pairs, hinges, .. } = self;
        let slope = self.rules.slopes[1][1];
        let of_row = |i: usize| {
            let of_pair = move |p: usize| hinges[1].pushes(pairs.at(i, p), slope * weights[i]);
            pairs.positives(i).flat_map(of_pair)
        };
        let mut members = vec![Vec::new(); self.crowd.of_class.len()];
        for (i, &class) in self.crowd.class.iter().enumerate() {
            members[class].push(i);
        }
        self.crowd.table(|class, steps| match class {
            None => steps.above((0..pairs.rows()).flat_map(of_row)),
            Some(class) => steps.above(members[class].iter().copied().flat_map(of_row)),
        })
    }

    /// Writes `G`, given what the terms of either kind of each anchor are multiplied by.
    pub fn slopes(&self, anchors: &[Anchor], weights: &[Vec<f64>; 2], g: &mut [f32]) {
        let Self {
            pairs,
            hinges,
            rules,
            ..
        } = self;
        let mut everywhere = [0.0; 2];
        for (kind, slopes) in rules.everywhere.iter().enumerate() {
            for (anchor, weight) in anchors.iter().zip(&weights[kind]) {
                let pulling: usize = anchor.iter().map(|(_, met)| met[kind].pulling).sum();
                (0..2).for_each(|k| everywhere[k] += weight * pulling as f64 * slopes[k]);
            }
        }
        let weak = self.pushes(&weights[1]);
        let weak_weight = 2.0 / Crowd::visits(pairs);
        pairs.each_anchor(g, |a, g| {
            for &(p, met) in &anchors[a] {
                let pull = |kind: usize| {
                    weights[kind][a] * met[kind].pulling as f64 * rules.slopes[kind][0]
                };
                g[p] = (pull(0) + pull(1) + everywhere[0]) as f32;
            }
            let steps = self.strong(a);
            let weight = weights[0][a] * rules.slopes[0][1];
            let of_pair = |p: usize| hinges[0].pushes(pairs.at(a, p), weight);
            let strong = steps.above(pairs.positives(a).flat_map(of_pair));
            let mut places = vec![0; pairs.cols()];
            steps.find(pairs.row(a), &mut places);
            for range in pairs.negatives(a) {
                for (g, &place) in g[range.clone()].iter_mut().zip(&places[range]) {
                    *g = (strong[place as usize] + everywhere[1]) as f32;
                }
            }
            self.crowd
                .each_negative((a, pairs), |k, _, [all, own, other]| {
                    g[k] += (weak_weight * (weak[all] - weak[own] - weak[other])) as f32;
                });
        });
    }
}

/// The positives and the negatives of a batch.
fn kinds(pairs: &Pairs<'_>) -> [Kind; 2] {
    let of_row = |a: usize| {
        let d = pairs.row(a);
        let positives = pairs.positives(a).map(|p| f64::from(d[p]));
        let negatives = pairs.negatives(a).flatten().map(|n| f64::from(d[n]));
        [Kind::of(positives), Kind::of(negatives)]
    };
    let rows: Vec<_> = (0..pairs.rows()).into_par_iter().map(of_row).collect();
    [0, 1].map(|kind| Kind {
        pairs: rows.iter().map(|row| row[kind].pairs).sum(),
        sum: rows.iter().map(|row| row[kind].sum).sum(),
    })
}
