//! What benchmarks time: each loss of the catalogue as its paper has it, and some with another miner or distance.

use nearkin_kernels::{Beta, Mat, MatMut, gemm};
use nearkin_losses::loss::{Form, Loss, Needs, Shape};
use nearkin_losses::{
    Aligned, Batch, ChaCha8Rng, Criterion, Objective, Outcome, SeedableRng, Targets,
};
use rand::RngExt;

/// Names and recipes of what is timed beside the defaults, most of them as pytorch-metric-learning has the loss.
const VARIANTS: [(&str, &str); 13] = [
    (
        "contrastive/l2",
        "loss.contrastive = { squared = false }\ndistance.l2 = {}",
    ),
    // The default would not hold the larger batches.
    (
        "cross_batch_memory",
        "loss.cross_batch_memory = { size = 16384 }",
    ),
    (
        "triplet_margin/all",
        "loss.triplet_margin = {}\nminer.all = {}",
    ),
    (
        "triplet_margin/all/l2",
        "loss.triplet_margin = {}\ndistance.l2 = {}\nminer.all = {}",
    ),
    (
        "triplet_margin/all/smooth",
        "loss.triplet_margin = { smooth = true }\nminer.all = {}",
    ),
    (
        "triplet_margin/all/swap",
        "loss.triplet_margin = { swap = true }\nminer.all = {}",
    ),
    (
        "triplet_margin/batch_hard",
        "loss.triplet_margin = {}\ndistance.l2 = {}\nminer.batch_hard = {}",
    ),
    (
        "triplet_margin/semi_hard",
        "loss.triplet_margin = {}\ndistance.l2 = {}\nminer.semi_hard = {}",
    ),
    (
        "triplet_margin/semi_hard_band",
        "loss.triplet_margin = {}\ndistance.l2 = {}\nminer.triplet_margin = { kind = \"semi_hard\" }",
    ),
    (
        "multi_similarity/all",
        "loss.multi_similarity = {}\nminer.all = {}",
    ),
    ("arcface/sampled", "loss.arcface = { sample = 0.1 }"),
    ("nca/dot", "loss.nca = {}\ndistance.dot = {}"),
    (
        "contrastive/lp",
        "loss.contrastive = {}\ndistance.lp = { p = 1 }",
    ),
];

/// A loss with its parts, under the name that peers know it by.
#[derive(Clone, Debug)]
pub struct Work {
    pub name: String,
    pub objective: Objective,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Everything that is timed.
pub fn works() -> Vec<Work> {
    let varied = |name: &str| VARIANTS.iter().any(|(variant, _)| *variant == name);
    let defaults = Loss::defaults()
        .into_iter()
        .filter(|loss| !varied(loss.name()))
        .map(|loss| Work {
            name: loss.name().to_owned(),
            objective: loss.into(),
        });
    let variants = VARIANTS.map(|(name, recipe)| Work {
        name: name.to_owned(),
        objective: toml::from_str(recipe).expect("the recipes above are sound"),
    });
    defaults.chain(variants).collect()
}

/// Sizes of a batch: rows, their width, rows of a class that lie together, classes of the training data.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub rows: usize,
    pub dim: usize,
    pub of_a_class: usize,
    pub classes: usize,
}

/// A work set up: its learned parameters, a batch and all that a loss could ask to know of it.
pub struct Bench {
    criterion: Criterion,
    rows: usize,
    dim: usize,
    views: Option<(usize, Needs)>,
    embeddings: Vec<f32>,
    labels: Vec<u32>,
    scores: Vec<f32>,
    teacher: Vec<f32>,
    rng: ChaCha8Rng,
}

impl Bench {
    /// Random embeddings; a loss over views gets as many items as the rows hold.
    pub fn new(work: &Work, size: Size) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let views = views(&work.objective);
        let rows = views.map_or(size.rows, |(views, _)| size.rows / views * views);
        let mut draw = |len: usize| -> Vec<f32> {
            (0..len).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
        };
        let shape = Shape {
            dim: size.dim,
            classes: size.classes,
        };
        Self {
            criterion: Criterion::new(work.objective.clone(), shape, 0).expect("the parts fit"),
            rows,
            dim: size.dim,
            views,
            embeddings: draw(rows * size.dim),
            labels: (0..rows)
                .map(|i| (i / size.of_a_class % size.classes) as u32)
                .collect(),
            scores: draw(rows * 2),
            teacher: draw(rows * size.dim),
            rng,
        }
    }

    /// Value and gradients once.
    pub fn run(&mut self) -> Outcome {
        let targets = match self.views {
            None => Targets::Labels(&self.labels),
            Some((views, needs)) => {
                let items = self.rows / views;
                Targets::Aligned(Aligned {
                    views,
                    labels: needs.classes.then(|| &self.labels[..items]),
                    scores: (needs.scores > 0).then(|| &self.scores[..items * needs.scores]),
                    teacher: needs
                        .teacher
                        .then(|| Mat::new(&self.teacher, self.rows, self.dim)),
                })
            }
        };
        let batch = Batch {
            embeddings: Mat::new(&self.embeddings, self.rows, self.dim),
            targets,
        };
        self.criterion
            .value_and_grad(batch, &mut self.rng)
            .expect("the batch is sound")
    }
}

/// The fewest views that the loss, or one that it wraps, takes, and what it then needs; `None` if labels are enough.
fn views(objective: &Objective) -> Option<(usize, Needs)> {
    match objective.loss.form() {
        Form::Views(loss) => {
            let fewest = loss.views().0.max(2);
            Some((fewest, loss.needs(fewest)))
        }
        Form::Wrapper(wrapper) if wrapper.twins().is_some() => Some((2, Needs::default())),
        Form::Wrapper(wrapper) => {
            let parts = wrapper.parts(1);
            parts.iter().find_map(|part| views(part.objective))
        }
        Form::Rows(_) | Form::Matrix(_) => None,
    }
}

/// The two matrix products that no loss over pairs can avoid: S from E, and ∂L/∂E from ∂L/∂S.
pub struct Products {
    embeddings: Vec<f32>,
    s: Vec<f32>,
    gradient: Vec<f32>,
    size: Size,
}

impl Products {
    pub fn new(size: Size) -> Self {
        let len = size.rows * size.dim;
        Self {
            embeddings: (0..len)
                .map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5)
                .collect(),
            s: vec![0.0; size.rows * size.rows],
            gradient: vec![0.0; len],
            size,
        }
    }

    pub fn run(&mut self) {
        let Size { rows, dim, .. } = self.size;
        let e = Mat::new(&self.embeddings, rows, dim);
        gemm(
            MatMut::new(&mut self.s, rows, rows),
            Beta::Overwrite,
            1.0,
            e,
            e.t(),
        );
        let s = Mat::new(&self.s, rows, rows);
        gemm(
            MatMut::new(&mut self.gradient, rows, dim),
            Beta::Overwrite,
            1.0,
            s,
            e,
        );
    }
}
