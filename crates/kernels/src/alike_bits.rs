//! How many bits are equal.

use crate::dispatch::dispatch;

/// yᵢ = the number of bits that `x` and row i of `rows` have in common, 64 words less their Hamming distance. It is exact up to
/// 2²⁴ bits.
///
/// # Shapes
/// - `x`: `[words]`, `rows`: `[n, words]`, `y`: `[n]`
///
/// # Panics
/// When `rows` does not fit.
///
/// ```
/// let mut y = [0.0; 2];
/// nearkin_kernels::alike_bits(&[0b101, 0], &[0b110, 0, 0b101, u64::MAX], &mut y);
/// assert_eq!(y, [126.0, 64.0]);
/// ```
pub fn alike_bits(x: &[u64], rows: &[u64], y: &mut [f32]) {
    let (n, words) = (y.len(), x.len());
    assert_eq!(rows.len(), n * words, "rows is not [{n}, {words}]");
    count(x, rows, y);
}

dispatch! {
    fn count(x: &[u64], rows: &[u64], y: &mut [f32]) = count_body;
}

#[inline(always)]
fn count_body<const FMA: bool>(x: &[u64], rows: &[u64], y: &mut [f32]) {
    // Short rows by loops that are unrolled.
    match x.len() {
        1 => fixed::<1>(x, rows, y),
        2 => fixed::<2>(x, rows, y),
        4 => fixed::<4>(x, rows, y),
        _ => of_any_length(x, rows, y),
    }
}

#[inline(always)]
fn fixed<const WORDS: usize>(x: &[u64], rows: &[u64], y: &mut [f32]) {
    for (row, y) in rows.as_chunks::<WORDS>().0.iter().zip(y) {
        let mut bits = 0;
        for w in 0..WORDS {
            bits += (x[w] ^ row[w]).count_zeros();
        }
        *y = bits as f32;
    }
}

#[inline(always)]
fn of_any_length(x: &[u64], rows: &[u64], y: &mut [f32]) {
    for (i, y) in y.iter_mut().enumerate() {
        let row = &rows[i * x.len()..][..x.len()];
        let mut bits = 0;
        for (a, b) in x.iter().zip(row) {
            bits += (a ^ b).count_zeros();
        }
        *y = bits as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[test]
    fn equal_bits_are_counted_one_by_one() {
        for words in [0, 1, 2, 3, 4, 8, 13, 40] {
            for n in [0, 1, 5, 67] {
                let numbers = random(2 * (n + 1) * words, 3);
                let word = |pair: &[f32]| {
                    u64::from(pair[0].to_bits()).rotate_left(29) ^ u64::from(pair[1].to_bits())
                };
                let all: Vec<u64> = numbers.chunks(2).map(word).collect();
                let (x, rows) = all.split_at(words);
                let mut y = vec![-1.0; n];
                alike_bits(x, rows, &mut y);
                for (i, &y) in y.iter().enumerate() {
                    let bit = |of: &[u64], b: usize| of[b / 64] >> (b % 64) & 1;
                    let row = &rows[i * words..(i + 1) * words];
                    let alike = (0..64 * words).filter(|&b| bit(x, b) == bit(row, b));
                    assert_eq!(y, alike.count() as f32, "{words} words, row {i}");
                }
            }
        }
    }
}
