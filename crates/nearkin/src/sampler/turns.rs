//! Things that come in turn.

/// The thing of every slot of an epoch of `batches × per_batch` slots: pass after pass, each with all `count` things in the
/// order that `order` gives it.
///
/// Where a batch straddles two passes, the things that it already has are moved behind those it still needs, so that a
/// batch holds each at most once; `per_batch` must not be above `count`.
pub(super) fn turns(
    count: usize,
    per_batch: usize,
    batches: usize,
    order: impl Fn(u64) -> Vec<u32>,
) -> Vec<u32> {
    let len = batches * per_batch;
    let mut slots: Vec<u32> = Vec::with_capacity(len.next_multiple_of(count));
    for pass in 0..len.div_ceil(count) as u64 {
        let order = order(pass);
        let begun = slots.len() % per_batch;
        let taken: Vec<u32> = slots[slots.len() - begun..].to_vec();
        let needed = if begun == 0 { 0 } else { per_batch - begun };
        let first: Vec<u32> = order
            .iter()
            .copied()
            .filter(|class| !taken.contains(class))
            .take(needed)
            .collect();
        slots.extend(&first);
        slots.extend(order.iter().filter(|class| !first.contains(class)));
    }
    slots.truncate(len);
    slots
}
