//! What a loss remembers of earlier batches.

use crate::error::Error;

/// The newest embeddings of earlier batches with their labels, held fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    size: usize,
    dim: usize,
    vectors: Vec<f32>,
    labels: Vec<u32>,
}

impl Queue {
    pub(super) fn new(size: usize, dim: usize) -> Self {
        Self {
            size,
            dim,
            vectors: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// The embeddings, oldest first, row-major.
    #[must_use]
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Their labels.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Puts back what a checkpoint kept.
    ///
    /// # Errors
    /// The embeddings are not a row of the queue's width for each label, or more than it holds.
    pub fn restore(&mut self, vectors: Vec<f32>, labels: Vec<u32>) -> Result<(), Error> {
        if vectors.len() != labels.len() * self.dim || labels.len() > self.size {
            return Err(Error::Labels {
                rows: vectors.len() / self.dim.max(1),
                labels: labels.len(),
            });
        }
        (self.vectors, self.labels) = (vectors, labels);
        Ok(())
    }

    /// Appends a batch; what no longer fits leaves at the front. The batch is then at the end.
    pub(super) fn push(&mut self, vectors: &[f32], labels: &[u32]) -> Result<(), Error> {
        if labels.len() > self.size {
            return Err(Error::Memory {
                size: self.size,
                rows: labels.len(),
            });
        }
        let surplus = (self.labels.len() + labels.len()).saturating_sub(self.size);
        self.vectors.drain(..surplus * self.dim);
        self.labels.drain(..surplus);
        self.vectors.extend_from_slice(vectors);
        self.labels.extend_from_slice(labels);
        Ok(())
    }
}
