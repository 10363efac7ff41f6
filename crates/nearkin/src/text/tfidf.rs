//! tf-idf: likeness by the words that two texts share, the baseline that needs no model.
//!
//! ```text
//! idf(t) = ln((1 + N) / (1 + df(t))) + 1          weight(t, d) = tf(t, d) idf(t), divided by the length of d's vector
//! ```
//!
//! tf counts the word in the text, df the texts that have it, N all texts. A word is a run of letters and digits in
//! lower case; one that was not seen in fitting has no weight. scikit-learn's `TfidfVectorizer` has the same weights, but
//! leaves out words of one character.

use std::collections::HashMap;

/// Words and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TfIdf {
    number: HashMap<String, u32>,
    idf: Vec<f64>,
}

/// The weights of a text's words, by ascending number; of length one, or empty.
pub type SparseVector = Vec<(u32, f64)>;

impl TfIdf {
    /// Counts in how many of the texts each word is.
    ///
    /// ```
    /// use nearkin::text::tfidf::TfIdf;
    /// let texts = ["A man plays.", "A dog runs.", "The man plays the flute."];
    /// let tfidf = TfIdf::fit(texts);
    /// let alike = tfidf.cosines(&texts[..1], &texts[2..])[0];
    /// assert!(alike > 0.35 && alike > tfidf.cosines(&texts[..1], &texts[1..2])[0]);
    /// ```
    pub fn fit<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut number = HashMap::<String, u32>::new();
        // How many texts have the word, and the last one that did.
        let mut seen: Vec<(u32, usize)> = Vec::new();
        let mut total = 0;
        for text in texts {
            total += 1;
            for word in words(text.as_ref()) {
                let next = seen.len() as u32;
                let word = *number.entry(word).or_insert(next) as usize;
                if word == seen.len() {
                    seen.push((0, 0));
                }
                let (count, last) = &mut seen[word];
                if *last != total {
                    *count += 1;
                    *last = total;
                }
            }
        }
        let idf = |(count, _): (u32, usize)| ((1 + total) as f64 / f64::from(1 + count)).ln() + 1.0;
        Self {
            number,
            idf: seen.into_iter().map(idf).collect(),
        }
    }

    /// The vector of a text.
    pub fn vector(&self, text: &str) -> SparseVector {
        let mut numbers: Vec<u32> = words(text)
            .filter_map(|word| self.number.get(&word).copied())
            .collect();
        numbers.sort_unstable();
        let weight = |run: &[u32]| (run[0], run.len() as f64 * self.idf[run[0] as usize]);
        let mut vector: SparseVector = numbers.chunk_by(|a, b| a == b).map(weight).collect();
        let length = vector
            .iter()
            .map(|(_, weight)| weight * weight)
            .sum::<f64>()
            .sqrt();
        for (_, weight) in &mut vector {
            *weight /= length;
        }
        vector
    }

    /// The cosine similarity of text i of `first` and text i of `second`, as far as both have texts; 0 where a text has
    /// no known word.
    pub fn cosines<T: AsRef<str>>(&self, first: &[T], second: &[T]) -> Vec<f64> {
        let pairs = first.iter().zip(second);
        let cosine = |(a, b): (&T, &T)| dot(&self.vector(a.as_ref()), &self.vector(b.as_ref()));
        pairs.map(cosine).collect()
    }
}

/// The words of a text: runs of letters and digits in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|c: char| !c.is_alphanumeric());
    runs.filter(|run| !run.is_empty()).map(str::to_lowercase)
}

/// The product of two sparse vectors.
pub fn dot(a: &SparseVector, b: &SparseVector) -> f64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut sum = 0.0;
    while let (Some(&&(i, x)), Some(&&(j, y))) = (a.peek(), b.peek()) {
        if i == j {
            sum += x * y;
        }
        if i <= j {
            a.next();
        }
        if j <= i {
            b.next();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/golden/text.py, function `tfidf`.
    #[test]
    fn cosines_are_scikit_learns() {
        let texts = [
            "A man is playing a flute.",
            "The man plays the flute!",
            "Two dogs run; a cat sleeps.",
            "a a a man",
        ];
        let tfidf = TfIdf::fit(texts);
        let pick = |rows: [usize; 6]| rows.map(|row| texts[row]);
        let cosines = tfidf.cosines(&pick([0, 0, 0, 1, 1, 2]), &pick([1, 2, 3, 2, 3, 3]));
        let expected = [
            0.194_161_946_869,
            0.162_344_511_458,
            0.654_612_491_295,
            0.0,
            0.082_204_062_340,
            0.260_400_984_243,
        ];
        for (found, expected) in cosines.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-11, "{found} {expected}");
        }
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let found: Vec<String> = words("Ärzte: 3rd-rate, don't_x!").collect();
        assert_eq!(found, ["ärzte", "3rd", "rate", "don", "t", "x"]);
    }

    #[test]
    fn texts_without_known_words_are_like_nothing() {
        let tfidf = TfIdf::fit(["a b", "c"]);
        assert_eq!(tfidf.vector("d e"), []);
        assert_eq!(tfidf.cosines(&["", "a b"], &["", "b a"]).len(), 2);
        let cosines = tfidf.cosines(&["", "a b"], &["", "b a"]);
        assert!(cosines[0] == 0.0 && (cosines[1] - 1.0).abs() < 1e-12);
        assert_eq!(TfIdf::fit(Vec::<String>::new()).vector("a"), []);
    }
}
