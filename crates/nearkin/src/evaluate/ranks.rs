//! At which ranks a query finds what it looks for.

/// What a gallery item is to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To be found.
    Relevant,
    /// In the way.
    Other,
    /// Not in the list.
    Dropped,
}

/// The ranks, from 1 and rising, of the relevant items among those that are not dropped: by similarity, ties to the smaller
/// index. The list itself is not sorted: `O(N log R)` of N items and R relevant ones.
pub(super) fn ranks(scores: &[f32], kind: impl Fn(usize) -> Kind) -> Vec<usize> {
    let relevant = (0..scores.len()).filter(|&item| kind(item) == Kind::Relevant);
    let mut relevant: Vec<usize> = relevant.collect();
    relevant.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let mut ahead = vec![0; relevant.len()];
    for item in (0..scores.len()).filter(|&item| kind(item) == Kind::Other) {
        let is_better = |&found: &usize| is_ahead(scores, found, item);
        if let Some(ahead) = ahead.get_mut(relevant.partition_point(is_better)) {
            *ahead += 1;
        }
    }
    let mut others = 0;
    let rank = |(place, ahead): (usize, usize)| {
        others += ahead;
        place + 1 + others
    };
    ahead.into_iter().enumerate().map(rank).collect()
}

/// Whether item `a` stands before item `b`.
pub(super) fn is_ahead(scores: &[f32], a: usize, b: usize) -> bool {
    scores[a] > scores[b] || (scores[a] == scores[b] && a < b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearkin_encoder::parameters::named_rng;
    use rand::RngExt;

    #[test]
    fn ranks_are_those_of_a_full_sort_with_ties() {
        let mut rng = named_rng(1, "ranks");
        for _ in 0..200 {
            let count = rng.random_range(1..40);
            let scores: Vec<f32> = (0..count).map(|_| rng.random_range(0..9) as f32).collect();
            let kinds: Vec<Kind> = (0..count)
                .map(|_| {
                    [Kind::Relevant, Kind::Other, Kind::Other, Kind::Dropped]
                        [rng.random_range(0..4)]
                })
                .collect();
            let mut list: Vec<usize> = (0..count).filter(|&i| kinds[i] != Kind::Dropped).collect();
            list.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap().then(a.cmp(&b)));
            let places = (0..list.len()).filter(|&place| kinds[list[place]] == Kind::Relevant);
            let expected: Vec<usize> = places.map(|place| place + 1).collect();
            assert_eq!(ranks(&scores, |item| kinds[item]), expected);
        }
    }
}
