//! What a threshold on a distance can tell: same or different.

use super::EvaluateError;

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
