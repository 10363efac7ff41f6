//! The k best of a stream of scores.

/// An item of a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Which item.
    pub index: u32,
    /// How good it is; larger is better.
    pub score: f32,
}

impl Neighbor {
    /// Larger score first, then smaller index.
    fn is_better_than(self, other: Self) -> bool {
        self.score > other.score || (self.score == other.score && self.index < other.index)
    }
}

/// Offers one block of scores, those of items `first_index..`, to the best `k` so far in `heap`.
///
/// Start with an empty heap, offer each block once in any order, and call [`finish`]. The result is exact: larger
/// scores are better, equal scores go to the smaller index, and items whose score is NaN are left out.
///
/// ```
/// use nearkin_kernels::{finish, top_k};
/// let mut heap = Vec::new();
/// top_k(&[0.1, 0.9, 0.5], 0, 2, &mut heap);
/// top_k(&[0.7, 0.9], 3, 2, &mut heap);
/// finish(&mut heap);
/// assert_eq!(heap.iter().map(|n| n.index).collect::<Vec<_>>(), [1, 4]);
/// ```
pub fn top_k(scores: &[f32], first_index: u32, k: usize, heap: &mut Vec<Neighbor>) {
    const BLOCK: usize = 32;
    if k == 0 {
        return;
    }
    let mut index = first_index;
    for block in scores.chunks(BLOCK) {
        // Most blocks hold nothing good enough, which a loop without exits finds out in a few instructions.
        let bar = if heap.len() < k {
            f32::NEG_INFINITY
        } else {
            heap[0].score
        };
        if block.iter().filter(|&&score| score >= bar).count() > 0 {
            for (i, &score) in block.iter().enumerate() {
                offer(
                    Neighbor {
                        index: index + i as u32,
                        score,
                    },
                    k,
                    heap,
                );
            }
        }
        index += block.len() as u32;
    }
}

/// Sorts the heap of [`top_k`], best first; equal scores by index.
pub fn finish(heap: &mut [Neighbor]) {
    heap.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
}

/// `heap` is a binary heap with the worst of the k best at its root.
fn offer(item: Neighbor, k: usize, heap: &mut Vec<Neighbor>) {
    if item.score.is_nan() {
        return;
    }
    // -0.0 and 0.0 are equal scores; one form keeps the final order by index.
    let item = Neighbor {
        score: item.score + 0.0,
        ..item
    };
    if heap.len() < k {
        heap.push(item);
        sift_up(heap);
    } else if item.is_better_than(heap[0]) {
        heap[0] = item;
        sift_down(heap);
    }
}

fn sift_up(heap: &mut [Neighbor]) {
    let mut child = heap.len() - 1;
    while child > 0 {
        let parent = (child - 1) / 2;
        if !heap[parent].is_better_than(heap[child]) {
            return;
        }
        heap.swap(parent, child);
        child = parent;
    }
}

fn sift_down(heap: &mut [Neighbor]) {
    let mut parent = 0;
    loop {
        let mut worst = parent;
        for child in [2 * parent + 1, 2 * parent + 2] {
            if child < heap.len() && heap[worst].is_better_than(heap[child]) {
                worst = child;
            }
        }
        if worst == parent {
            return;
        }
        heap.swap(parent, worst);
        parent = worst;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn reference(scores: &[f32], k: usize) -> Vec<Neighbor> {
        let mut all: Vec<_> = (0u32..)
            .zip(scores)
            .map(|(index, &score)| Neighbor { index, score })
            .collect();
        all.retain(|n| !n.score.is_nan());
        all.sort_by(|a, b| {
            b.score
                .partial_cmp(&a.score)
                .unwrap()
                .then(a.index.cmp(&b.index))
        });
        all.truncate(k);
        all
    }

    #[test]
    fn blocks_in_any_order_give_the_sorted_prefix() {
        for n in [0, 1, 31, 200, 1003] {
            // Few distinct values, so that ties decide.
            let scores: Vec<f32> = random(n, 1)
                .iter()
                .map(|x| (x * 20.0).round() / 4.0)
                .collect();
            for k in [0, 1, 7, 100, 2000] {
                for block in [1, 17, 64] {
                    let mut heap = Vec::new();
                    for (i, scores) in scores.chunks(block).enumerate().rev() {
                        top_k(scores, (i * block) as u32, k, &mut heap);
                    }
                    finish(&mut heap);
                    assert_eq!(heap, reference(&scores, k), "n {n}, k {k}, block {block}");
                }
            }
        }
    }

    #[test]
    fn nan_is_left_out_and_infinities_are_ranked() {
        let scores = [f32::NAN, f32::NEG_INFINITY, 1.0, f32::INFINITY, f32::NAN];
        let mut heap = Vec::new();
        top_k(&scores, 0, 4, &mut heap);
        finish(&mut heap);
        assert_eq!(heap.iter().map(|n| n.index).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
