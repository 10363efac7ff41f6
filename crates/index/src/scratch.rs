//! What searches of a graph use again.

/// Memory of a search.
pub(crate) struct Scratch {
    /// v: when an element was visited last, as the number of that search.
    visited: Vec<u32>,
    search: u32,
    /// Elements that are to be compared next.
    pub fresh: Vec<u32>,
    /// What comes of that.
    pub scores: Vec<f32>,
}

impl Scratch {
    /// For graphs of so many elements.
    pub fn new(count: usize) -> Self {
        Self {
            visited: vec![0; count],
            search: 0,
            fresh: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Begins a search: nothing is visited.
    pub fn begin(&mut self) {
        if self.search == u32::MAX {
            self.visited.fill(0);
            self.search = 0;
        }
        self.search += 1;
    }

    /// Whether an element is visited for the first time.
    pub fn visit(&mut self, element: u32) -> bool {
        let last = &mut self.visited[element as usize];
        std::mem::replace(last, self.search) != self.search
    }
}
