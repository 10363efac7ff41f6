//! The rows of tests/golden/cluster.py, and how it writes clusters.

/// `groups() + shift`: 60 points around (0, 0), (3, 0) and (0, 4), the more scattered the later.
pub fn groups(shift: f64) -> Vec<f32> {
    let number = |at: usize| {
        let jitter = (at * at * 7919 % 1009) as f64 / 504.0 - 1.0;
        let (group, axis) = (at / 2 % 3, at % 2);
        let center = [[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]][group][axis];
        (center + [0.5, 1.5, 2.5][group] * jitter + shift) as f32
    };
    (0..120).map(number).collect()
}

/// A letter for each item, "-" for noise.
pub fn letters(clusters: impl IntoIterator<Item = Option<u32>>) -> String {
    let found = super::dendrogram::in_order_of_items(
        clusters
            .into_iter()
            .map(|cluster| cluster.map(|c| c as usize)),
    );
    let letter = |cluster: Option<u32>| cluster.map_or('-', |c| char::from(b'a' + c as u8));
    found.into_iter().map(letter).collect()
}
