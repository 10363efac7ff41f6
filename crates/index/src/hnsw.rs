//! A graph in layers.

use crate::scratch::Scratch;
use crate::unit_rows::UnitRows;
use crate::{Index, IndexError, Neighbor};
use nearkin_kernels::{Mat, any_dot_reaches, dot_rows};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Queries of one piece of work.
const QUERIES: usize = 16;

/// The parameters of a graph, by the paper's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// M: links that a new element gets in each layer; it keeps at most as many, and twice as many in layer 0.
    pub m: usize,
    /// efConstruction: candidates among which these are chosen.
    pub ef_construction: usize,
    /// ef: candidates of a search, and k where that is more.
    pub ef: usize,
    /// Decides layers and the order in which elements come.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            m: 16,
            ef_construction: 200,
            ef: 64,
            seed: 0,
        }
    }
}

/// A hierarchical navigable small world: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
/// hierarchical navigable small world graphs" (2016), algorithms 1, 2, 4 and 5 in its letters.
///
/// Neighbors are chosen by the heuristic of algorithm 4, with keepPrunedConnections and without extendCandidates;
/// `M_max` = M, `M_max0` = 2 M, `m_L` = 1 / ln M. The distance is the negative cosine.
///
/// Where we differ: the elements come in an order drawn from the seed, so that data sorted by class do not grow class by
/// class, and those of high layers first, so that a layer is the elements up to a number. Dropping links can cut an element
/// off; those that no path from the enter point leads to in layer 0 get a link from the nearest that has one, beyond
/// `M_max0` if need be, and a search of layer 0 starts at the enter point too. So with `ef ≥ N` the search is exact.
///
/// One thread builds the graph, so that it is a function of vectors and parameters. Its size is that of the vectors and
/// some 8 M bytes a vector for links.
#[derive(Clone, Debug)]
pub struct Hnsw {
    /// In the order in which they came; the first is the enter point.
    rows: UnitRows,
    /// Which vectors these are.
    ids: Vec<u32>,
    /// The neighbors of each element in each layer.
    layers: Vec<Vec<Vec<u32>>>,
    parameters: Parameters,
}

impl Hnsw {
    /// Indexes `[N, D]` vectors.
    ///
    /// # Errors
    /// A number is not finite, the vectors have none, M is below 2, or another parameter is 0.
    pub fn new(rows: Mat, parameters: Parameters) -> Result<Self, IndexError> {
        IndexError::at_least(2, "M", parameters.m)?;
        IndexError::at_least(1, "ef_construction", parameters.ef_construction)?;
        IndexError::at_least(1, "ef", parameters.ef)?;
        let mut rows = UnitRows::new(rows)?;
        let (ids, levels) = order(rows.count, &parameters);
        rows.data = ids
            .iter()
            .flat_map(|&id| rows.row(id as usize))
            .copied()
            .collect();
        let layers = (0..=levels.first().copied().unwrap_or(0))
            .map(|layer| vec![Vec::new(); levels.iter().filter(|&&l| l >= layer).count()]);
        let mut graph = Self {
            layers: layers.collect(),
            rows,
            ids,
            parameters,
        };
        let mut scratch = Scratch::new(graph.rows.count);
        for (q, &l) in levels.iter().enumerate().skip(1) {
            graph.insert(q as u32, l, &mut scratch);
        }
        graph.reach_all(&mut scratch);
        graph
            .layers
            .iter_mut()
            .flatten()
            .for_each(Vec::shrink_to_fit);
        Ok(graph)
    }

    /// INSERT, algorithm 1.
    fn insert(&mut self, q: u32, l: usize, scratch: &mut Scratch) {
        let Parameters {
            m, ef_construction, ..
        } = self.parameters;
        let mut ep = self.descend(self.row(q), l, scratch);
        for lc in (0..=l).rev() {
            let w = self.search_layer(self.row(q), &ep, (ef_construction, lc), scratch);
            let neighbors = self.select_neighbors(&w, m);
            for &e in &neighbors {
                self.connect(e, q, lc);
            }
            self.layers[lc][q as usize] = neighbors;
            ep = w;
        }
    }

    /// Adds a link from e to q, and shrinks the connections of e where there are too many.
    fn connect(&mut self, e: u32, q: u32, lc: usize) {
        let m_max = if lc == 0 {
            2 * self.parameters.m
        } else {
            self.parameters.m
        };
        let mut connections = std::mem::take(&mut self.layers[lc][e as usize]);
        connections.push(q);
        if connections.len() > m_max {
            let mut scores = vec![0.0; connections.len()];
            dot_rows(self.row(e), &self.rows.data, &connections, &mut scores);
            let scored = connections.iter().zip(scores);
            let mut keys: Vec<u64> = scored
                .map(|(&index, score)| Neighbor { index, score }.key())
                .collect();
            keys.sort_unstable();
            connections = self.select_neighbors(&keys, m_max);
        }
        self.layers[lc][e as usize] = connections;
    }

    /// The first loops of algorithms 1 and 5: the element nearest to q in the layers above `l`, from the enter point on.
    fn descend(&self, q: &[f32], l: usize, scratch: &mut Scratch) -> Vec<u64> {
        let mut ep = vec![self.enter_point(q)];
        for lc in (l + 1..self.layers.len()).rev() {
            ep = self.search_layer(q, &ep, (1, lc), scratch);
        }
        ep
    }

    /// SEARCH-LAYER, algorithm 2: the `ef` elements of layer `lc` nearest to q that a search from `ep` comes to, the nearest
    /// first. Elements are keys, [`Neighbor::key`]; the smaller, the nearer.
    fn search_layer(
        &self,
        q: &[f32],
        ep: &[u64],
        (ef, lc): (usize, usize),
        scratch: &mut Scratch,
    ) -> Vec<u64> {
        scratch.begin();
        let (mut c, mut w) = (
            BinaryHeap::new(),
            BinaryHeap::with_capacity(ef.min(self.len()) + 1),
        );
        for &e in ep {
            scratch.visit(Neighbor::of_key(e).index);
            c.push(Reverse(e));
            w.push(e);
        }
        while w.len() > ef {
            w.pop();
        }
        while let Some(Reverse(nearest)) = c.pop() {
            if w.peek().is_none_or(|&furthest| nearest > furthest) {
                break;
            }
            let links = &self.layers[lc][Neighbor::of_key(nearest).index as usize];
            let mut fresh = std::mem::take(&mut scratch.fresh);
            fresh.clear();
            fresh.extend(links.iter().filter(|&&e| scratch.visit(e)));
            scratch.scores.resize(fresh.len(), 0.0);
            dot_rows(q, &self.rows.data, &fresh, &mut scratch.scores);
            for (&index, &score) in fresh.iter().zip(&scratch.scores) {
                let e = Neighbor { index, score }.key();
                if w.len() < ef || w.peek().is_some_and(|&furthest| e < furthest) {
                    c.push(Reverse(e));
                    w.push(e);
                    if w.len() > ef {
                        w.pop();
                    }
                }
            }
            scratch.fresh = fresh;
        }
        w.into_sorted_vec()
    }

    /// SELECT-NEIGHBORS-HEURISTIC, algorithm 4: up to `m` of the candidates w of an element, the nearest first, each nearer to
    /// it than to those chosen before; places that are left go to the nearest of the others.
    fn select_neighbors(&self, w: &[u64], m: usize) -> Vec<u32> {
        let (mut r, mut discarded) = (Vec::with_capacity(m + 1), Vec::new());
        for e in w.iter().map(|&key| Neighbor::of_key(key)) {
            if r.len() == m {
                break;
            }
            if any_dot_reaches(self.row(e.index), &self.rows.data, &r, e.score) {
                discarded.push(e.index);
            } else {
                r.push(e.index);
            }
        }
        discarded.truncate(m - r.len());
        r.extend(discarded);
        r
    }

    /// Links the elements that no path of layer 0 leads to from the enter point.
    fn reach_all(&mut self, scratch: &mut Scratch) {
        let mut reached = vec![false; self.rows.count];
        for x in 0..self.rows.count as u32 {
            if !reached[x as usize] {
                if x > 0 {
                    let q = self.row(x);
                    // From the enter point the search comes to elements alone that are reached.
                    let w = [self.enter_point(q)];
                    let w = self.search_layer(q, &w, (self.parameters.ef_construction, 0), scratch);
                    let nearest = Neighbor::of_key(w[0]).index;
                    self.layers[0][nearest as usize].push(x);
                }
                self.spread(x, &mut reached);
            }
        }
    }

    /// Marks what paths of layer 0 lead to from an element.
    fn spread(&self, from: u32, reached: &mut [bool]) {
        let mut open = vec![from];
        while let Some(element) = open.pop() {
            if !std::mem::replace(&mut reached[element as usize], true) {
                open.extend(&self.layers[0][element as usize]);
            }
        }
    }

    fn row(&self, element: u32) -> &[f32] {
        self.rows.row(element as usize)
    }

    fn enter_point(&self, q: &[f32]) -> u64 {
        let mut score = [0.0];
        dot_rows(q, &self.rows.data, &[0], &mut score);
        Neighbor {
            index: 0,
            score: score[0],
        }
        .key()
    }

    /// K-NN-SEARCH, algorithm 5.
    fn nearest(&self, q: &[f32], k: usize, scratch: &mut Scratch) -> Vec<Neighbor> {
        let mut ep = self.descend(q, 0, scratch);
        let enter_point = self.enter_point(q);
        if !ep.contains(&enter_point) {
            ep.push(enter_point);
        }
        let w = self.search_layer(q, &ep, (self.parameters.ef.max(k), 0), scratch);
        let found = w.into_iter().map(|key| {
            let Neighbor { index, score } = Neighbor::of_key(key);
            Neighbor {
                index: self.ids[index as usize],
                score,
            }
        });
        let mut found: Vec<Neighbor> = found.collect();
        found.sort_unstable_by_key(|neighbor| neighbor.key());
        found.truncate(k);
        found
    }
}

/// The order in which elements come, and the layer up to which each is there, the highest first.
fn order(count: usize, parameters: &Parameters) -> (Vec<u32>, Vec<usize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(parameters.seed);
    let m_l = 1.0 / (parameters.m as f64).ln();
    let mut ids: Vec<u32> = (0..count as u32).collect();
    ids.shuffle(&mut rng);
    // ⌊−ln(unif(0..1)) · m_L⌋; one less the draw is never 0.
    let level = |id| ((-(1.0 - rng.random::<f64>()).ln() * m_l) as usize, id);
    let mut drawn: Vec<(usize, u32)> = ids.into_iter().map(level).collect();
    drawn.sort_by_key(|&(level, _)| Reverse(level));
    drawn.into_iter().map(|(level, id)| (id, level)).unzip()
}

impl Index for Hnsw {
    fn len(&self) -> usize {
        self.rows.count
    }

    fn dim(&self) -> usize {
        self.rows.dim
    }

    fn bytes(&self) -> usize {
        let lists = self.layers.iter().flatten();
        let links = lists.map(|list| size_of::<Vec<u32>>() + list.capacity() * size_of::<u32>());
        self.rows.bytes() + size_of_val(&*self.ids) + links.sum::<usize>()
    }

    fn search(&self, queries: Mat, k: usize) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let queries = UnitRows::of_queries(queries, self.rows.dim)?;
        if self.is_empty() || k == 0 {
            return Ok(vec![Vec::new(); queries.count]);
        }
        let blocks: Vec<usize> = (0..queries.count).step_by(QUERIES).collect();
        let lists = blocks.into_par_iter().map_init(
            || Scratch::new(self.len()),
            |scratch, first| {
                let block = first..queries.count.min(first + QUERIES);
                let each = block.map(|query| self.nearest(queries.row(query), k, scratch));
                each.collect::<Vec<_>>()
            },
        );
        Ok(lists.collect::<Vec<_>>().into_iter().flatten().collect())
    }

    fn set_effort(&mut self, effort: usize) {
        self.parameters.ef = effort.max(1);
    }
}
