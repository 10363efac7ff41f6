//! What a threshold on a distance can tell: same or different.

use super::EvaluateError;
use serde::Serialize;

/// Pairs that are accepted as the threshold on their distance rises: the curve behind ROC and DET.
///
/// A pair is accepted where `distance ≤ threshold`, so that pairs of equal distance are accepted together.
///
/// ```
/// use nearkin::evaluate::Roc;
/// let roc = Roc::new(&[0.1, 0.3, 0.2, 0.9], &[true, true, false, false])?;
/// assert_eq!(roc.auc(), 0.75);
/// assert_eq!(roc.accepted_at(0.0).rate, 0.5);
/// # Ok::<(), nearkin::evaluate::EvaluateError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    /// One for each distinct distance, rising.
    points: Vec<Point>,
    same: f64,
    different: f64,
}

/// What a threshold accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The largest distance that is accepted.
    pub threshold: f32,
    /// Pairs of the same that are accepted.
    pub same: f64,
    /// Pairs of different ones that are accepted.
    pub different: f64,
}

/// A rate and the threshold that gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// The rate, from 0 to 1.
    pub rate: f64,
    /// The threshold; −∞ where nothing can be accepted.
    pub threshold: f64,
}

/// What a threshold accepts, as shares: a point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// FAR: the share of different pairs that is accepted.
    pub far: f64,
    /// TAR: the share of pairs of the same that is accepted.
    pub tar: f64,
    /// The largest distance that is accepted; none where nothing is.
    pub threshold: Option<f64>,
}

impl Roc {
    /// The curve of pairs with their distances.
    ///
    /// # Errors
    /// The counts differ, a distance is not finite, or all pairs are of one kind.
    pub fn new(distances: &[f32], same: &[bool]) -> Result<Self, EvaluateError> {
        let order = order(distances, same)?;
        Ok(Self::weighted(&order, distances, same, |_| 1.0))
    }

    /// The same with a weight for each pair, such as how often a resample draws it; `order` is by distance.
    pub(super) fn weighted(
        order: &[usize],
        distances: &[f32],
        same: &[bool],
        weight: impl Fn(usize) -> f64,
    ) -> Self {
        let mut points: Vec<Point> = Vec::new();
        let (mut accepted, mut mistaken) = (0.0, 0.0);
        for &pair in order {
            let count = if same[pair] {
                &mut accepted
            } else {
                &mut mistaken
            };
            *count += weight(pair);
            let point = Point {
                threshold: distances[pair],
                same: accepted,
                different: mistaken,
            };
            match points
                .last_mut()
                .filter(|last| last.threshold == point.threshold)
            {
                Some(last) => *last = point,
                None => points.push(point),
            }
        }
        Self {
            points,
            same: accepted,
            different: mistaken,
        }
    }

    /// The points of the curve, one for each distinct distance, rising.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Points of the curve, from where nothing is accepted to where everything is: all of them where they are at most `most`
    /// (3 or more), otherwise so many, spread evenly along TAR and the logarithm of FAR. Each is exact, none lies between two.
    pub fn thinned(&self, most: usize) -> Vec<Rates> {
        let parts = most.max(3) - 2;
        let ends = self.points.split_last();
        let (last, inner) = ends.map_or((None, &[][..]), |(last, inner)| (Some(last), inner));
        let part = |point: &Point| {
            let far = point.different.ln_1p() / self.different.ln_1p();
            ((far.midpoint(point.same / self.same) * parts as f64) as usize).min(parts - 1)
        };
        // Each part of the way has the last of its points with the FAR of the first: what can be had at that FAR.
        let mut kept: Vec<&Point> = Vec::new();
        for point in inner {
            match kept.last_mut() {
                Some(last) if inner.len() > parts && part(last) == part(point) => {
                    if last.different == point.different {
                        *last = point;
                    }
                }
                _ => kept.push(point),
            }
        }
        let rates = |point: &Point| Rates {
            far: point.different / self.different,
            tar: point.same / self.same,
            threshold: Some(f64::from(point.threshold)),
        };
        let nothing = Rates {
            far: 0.0,
            tar: 0.0,
            threshold: None,
        };
        let some = kept.into_iter().chain(last).map(rates);
        std::iter::once(nothing).chain(some).collect()
    }

    /// The area under the curve of true over false accepts: the chance that a pair of the same is nearer than one of
    /// different ones, ties counting one half.
    pub fn auc(&self) -> f64 {
        let mut before = (0.0, 0.0);
        let mut area = 0.0;
        for point in &self.points {
            let (same, different) = (point.same, point.different);
            area += (different - before.1) * f64::midpoint(same, before.0);
            before = (same, different);
        }
        area / (self.same * self.different)
    }

    /// The rate at which false accepts and false rejects are equally frequent, on the line between the two thresholds around it.
    pub fn equal_error(&self) -> At {
        let mut before = (
            0.0,
            1.0,
            f64::from(self.points.first().map_or(0.0, |p| p.threshold)),
        );
        for point in &self.points {
            let accepts = point.different / self.different;
            let rejects = 1.0 - point.same / self.same;
            let threshold = f64::from(point.threshold);
            if accepts >= rejects {
                let (from, to) = (before.1 - before.0, accepts - rejects);
                let share = if from + to > 0.0 {
                    from / (from + to)
                } else {
                    0.0
                };
                return At {
                    rate: before.0 + share * (accepts - before.0),
                    threshold: before.2 + share * (threshold - before.2),
                };
            }
            before = (accepts, rejects, threshold);
        }
        At {
            rate: before.0,
            threshold: before.2,
        }
    }

    /// The largest share of the same that is accepted (TAR) by a threshold which accepts at most `far` of the different ones.
    pub fn accepted_at(&self, far: f64) -> At {
        let allowed = far * self.different;
        let within = self
            .points
            .partition_point(|point| point.different <= allowed);
        match within.checked_sub(1).map(|last| self.points[last]) {
            None => At {
                rate: 0.0,
                threshold: f64::NEG_INFINITY,
            },
            Some(point) => At {
                rate: point.same / self.same,
                threshold: f64::from(point.threshold),
            },
        }
    }

    /// The share of different pairs that a threshold accepts (FAR), and of the same (TAR).
    pub fn rates(&self, threshold: f64) -> (f64, f64) {
        let within = self
            .points
            .partition_point(|point| f64::from(point.threshold) <= threshold);
        let point = within.checked_sub(1).map(|last| self.points[last]);
        point.map_or((0.0, 0.0), |point| {
            (point.different / self.different, point.same / self.same)
        })
    }
}

/// Pairs by distance, then by number.
pub(super) fn order(distances: &[f32], same: &[bool]) -> Result<Vec<usize>, EvaluateError> {
    if distances.len() != same.len() {
        return Err(EvaluateError::Labels {
            rows: distances.len(),
            labels: same.len(),
        });
    }
    if let Some(pair) = distances.iter().position(|d| !d.is_finite()) {
        return Err(EvaluateError::NotFinite {
            row: pair,
            column: 0,
            value: distances[pair],
        });
    }
    let positives = same.iter().filter(|same| **same).count();
    if positives == 0 || positives == same.len() {
        return Err(EvaluateError::OneKind {
            pairs: same.len(),
            same: positives,
        });
    }
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances with ties and what they are, from a small generator.
    fn pairs(count: usize) -> (Vec<f32>, Vec<bool>) {
        let mut state = 7u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        let same: Vec<bool> = (0..count)
            .map(|i| i < 2 || (i > 3 && draw() % 3 == 0))
            .collect();
        let distances = same
            .iter()
            .map(|&same| (draw() % 20 + if same { 0 } else { 6 }) as f32 / 10.0);
        (distances.collect(), same)
    }

    #[test]
    fn the_area_is_the_chance_that_the_same_are_nearer() {
        for count in [4, 5, 60, 301] {
            let (distances, same) = pairs(count);
            let (mut wins, mut total) = (0.0, 0.0);
            for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))) {
                if same[i] && !same[j] {
                    total += 1.0;
                    wins += match distances[i].total_cmp(&distances[j]) {
                        std::cmp::Ordering::Less => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Greater => 0.0,
                    };
                }
            }
            let auc = Roc::new(&distances, &same).unwrap().auc();
            assert!((auc - wins / total).abs() < 1e-12, "{auc} {}", wins / total);
        }
    }

    #[test]
    fn accepted_pairs_are_those_of_the_best_threshold_within_the_false_accepts() {
        for count in [4, 60, 301] {
            let (distances, same) = pairs(count);
            let share = |threshold: f32, kind: bool| {
                let of = (0..count).filter(|&i| same[i] == kind);
                let accepted = of.clone().filter(|&i| distances[i] <= threshold).count();
                accepted as f64 / of.count() as f64
            };
            let roc = Roc::new(&distances, &same).unwrap();
            for far in [0.0, 0.01, 0.1, 0.5, 1.0] {
                let fits = distances.iter().filter(|&&t| share(t, false) <= far);
                let best = fits.map(|&t| share(t, true)).fold(0.0, f64::max);
                let found = roc.accepted_at(far);
                assert_eq!(found.rate, best, "{far}");
                let (mistaken, accepted) = roc.rates(found.threshold);
                assert!(mistaken <= far && accepted == best);
            }
        }
    }

    #[test]
    fn a_thinned_curve_has_its_ends_and_points_of_the_whole_one() {
        let roc = Roc::new(&[1.0, 2.0, 2.0, 3.0], &[true, true, false, false]).unwrap();
        let rates = |far, tar, threshold| Rates {
            far,
            tar,
            threshold,
        };
        let whole = [
            rates(0.0, 0.0, None),
            rates(0.0, 0.5, Some(1.0)),
            rates(0.5, 1.0, Some(2.0)),
            rates(1.0, 1.0, Some(3.0)),
        ];
        assert_eq!(roc.thinned(4), whole);
        // Different pairs begin late: the first of ten thousand are told apart, where even steps of FAR would miss them.
        let distances: Vec<f32> = (0..20_000u16).map(f32::from).collect();
        let same: Vec<bool> = (0..20_000).map(|i| i < 8_000 || i % 6 == 0).collect();
        let roc = Roc::new(&distances, &same).unwrap();
        let points = roc.thinned(200);
        assert!((150..=200).contains(&points.len()), "{}", points.len());
        assert_eq!((points[0].far, points[0].tar), (0.0, 0.0));
        assert_eq!(points.last(), Some(&rates(1.0, 1.0, Some(19_999.0))));
        for pair in points.windows(2) {
            let threshold = pair[1].threshold.unwrap();
            assert_eq!(roc.rates(threshold), (pair[1].far, pair[1].tar));
            assert!(pair[0].far <= pair[1].far && pair[0].tar <= pair[1].tar);
            assert!(pair[1].tar - pair[0].tar < 0.02, "{pair:?}");
        }
        // What can be had without a false accept is there.
        let free = points.iter().take_while(|at| at.far == 0.0).last();
        assert_eq!(free.map(|at| at.threshold), Some(Some(7_999.0)));
        let few = points.iter().filter(|at| at.far > 0.0 && at.far < 0.01);
        assert!(few.count() > 20);
    }

    #[test]
    fn the_equal_error_lies_where_the_two_rates_cross() {
        // FMR and FNMR: (0, 1), (0, ½) at 1, (½, ½) at 2.
        let roc = Roc::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, false]).unwrap();
        assert_eq!(
            roc.equal_error(),
            At {
                rate: 0.5,
                threshold: 2.0
            }
        );
        // (0, 0) at 2: nothing is mistaken.
        let roc = Roc::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, false]).unwrap();
        assert_eq!(
            roc.equal_error(),
            At {
                rate: 0.0,
                threshold: 2.0
            }
        );
        // (0, ½) at 1, then (1, 0) at 2: they cross a third of the way.
        let roc = Roc::new(&[1.0, 2.0, 2.0], &[true, true, false]).unwrap();
        let found = roc.equal_error();
        assert!((found.rate - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found.threshold - 4.0 / 3.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn pairs_of_one_kind_and_numbers_that_are_none_are_refused() {
        let error =
            |distances: &[f32], same: &[bool]| Roc::new(distances, same).unwrap_err().to_string();
        assert!(error(&[1.0, 2.0], &[true, true]).contains("2 of them of the same"));
        assert!(error(&[1.0], &[true, true]).contains("1 embeddings but 2"));
        assert!(error(&[1.0, f32::NAN], &[true, false]).contains("row 1"));
    }
}
