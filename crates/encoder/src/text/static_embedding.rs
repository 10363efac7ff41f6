//! Static embeddings: a vector for each token of the vocabulary, and their mean for a text.

use super::packed::Packed;
use super::pass::Pass;
use crate::error::{Error, Result};
use crate::op::{self, TokenPooling};
use crate::parameters::Scope;
use candle_core::Tensor;

/// A table of token vectors.
///
/// ```text
/// y = 1/n Σ_t table[id_t]        zero for a text without tokens
/// ```
#[derive(Clone, Debug)]
pub struct StaticEmbedding {
    table: Tensor,
}

impl StaticEmbedding {
    /// Takes the table of stored weights: `embedding.weight` of sentence-transformers, or `embeddings` of model2vec with its
    /// optional `mapping` from tokens to rows and `weights` of tokens.
    ///
    /// ```text
    /// table[t] = embeddings[mapping[t]] · weights[t]
    /// ```
    ///
    /// # Errors
    /// The weights hold neither, or the parts do not fit.
    pub fn new(scope: &Scope) -> Result<Self> {
        let Some(stored) = scope.weights() else {
            return Err(Error::Setting {
                key: "static_embedding".into(),
                expected: "stored weights".into(),
                found: "none".into(),
            });
        };
        let name = ["embedding.weight", "embeddings"]
            .into_iter()
            .find(|name| scope.has(name));
        let (shape, mut numbers) = stored.tensor(name.unwrap_or("embedding.weight"))?;
        let &[mut rows, cols] = &shape[..] else {
            return Err(Error::TensorShape {
                path: stored.path().into(),
                tensor: name.unwrap_or_default().into(),
                expected: vec![0, 0],
                found: shape,
            });
        };
        let damaged = |reason: String| Error::File {
            path: stored.path().into(),
            reason,
        };
        if scope.has("mapping") {
            let (_, mapping) = stored.tensor("mapping")?;
            let mut mapped = Vec::with_capacity(mapping.len() * cols);
            for row in mapping.iter().map(|&row| row as usize) {
                let found = numbers.get(row * cols..(row + 1) * cols);
                let reason = || format!("tensor \"mapping\" names row {row} of {rows}");
                mapped.extend_from_slice(found.ok_or_else(|| damaged(reason()))?);
            }
            (rows, numbers) = (mapping.len(), mapped);
        }
        if scope.has("weights") {
            let (shape, weights) = stored.tensor("weights")?;
            if weights.len() != rows {
                let reason = format!("tensor \"weights\" has shape {shape:?}, expected [{rows}]");
                return Err(damaged(reason));
            }
            for (row, weight) in numbers.chunks_exact_mut(cols.max(1)).zip(weights) {
                for x in row {
                    *x *= weight;
                }
            }
        }
        if let Some(at) = nearkin_kernels::first_non_finite(&numbers) {
            return Err(damaged(format!(
                "the table holds {} at place {at}",
                numbers[at]
            )));
        }
        Ok(Self {
            table: scope.given("embedding.weight", numbers, &[rows, cols])?,
        })
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.table.dims()[0]
    }

    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.table.dims()[1]
    }

    /// `[sentences, dim]`
    ///
    /// # Errors
    /// A token is not in the table.
    pub fn forward(&self, batch: &Packed, pass: Pass) -> Result<Tensor> {
        let tokens = op::gather(&pass.mode.parameter(&self.table), &batch.ids)?;
        Ok(op::token_pool(
            &tokens,
            TokenPooling::Mean,
            &batch.offsets,
            0,
        )?)
    }
}
