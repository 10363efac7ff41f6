//! The tape of host networks: what a forward pass did, and the way back.
//!
//! candle has a tape of its own, which the operations of [`op`](crate::op) also serve, and which other devices use.
//! It adds every gradient to zeros made for it, and holds all activations until the pass is over. This one moves a
//! gradient to where it goes, adds only where paths meet, and frees each activation once its gradient is made.

use crate::host::{Host, is_fused, tensor, with_mut};
use crate::profile::span;
use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor, TensorId};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

thread_local! {
    static ACTIVE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// The operations of one forward pass, in their order.
#[derive(Default)]
pub struct Tape {
    nodes: Vec<Node>,
    /// Results of `nodes`.
    made: HashSet<TensorId>,
}

/// Gradients of the parameters, by the parameter's tensor.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

struct Node {
    name: &'static str,
    inputs: Vec<TensorId>,
    output: TensorId,
    backward: Box<Backward>,
}

/// From the gradient of the output to those of the inputs.
type Backward = dyn FnOnce(&Tensor) -> Result<Vec<Option<Tensor>>>;

/// Runs a forward pass and records it.
///
/// # Errors
/// Those of `forward`.
///
/// ```
/// use nearkin_encoder::{Embedder, Head, InputShape, Mode, Network, network::Mlp, host::tensor, tape};
///
/// let network = Network::Mlp(Mlp { hidden: vec![3] });
/// let embedder = Embedder::new(&network, &Head { dim: 2, ..Head::default() }, InputShape::Features { dim: 4 }, 7)?;
/// let x = tensor(vec![1.0; 4], (1, 4))?;
/// let (embedding, tape) = tape::record(|| embedder.forward(&x, Mode::Train))?;
/// let gradients = tape.backward(&embedding, vec![1.0, -1.0])?;
/// assert!(embedder.parameters().learned().all(|p| gradients.get(&p.var).is_some()));
/// # Ok::<(), nearkin_encoder::Error>(())
/// ```
pub fn record<T, E>(
    forward: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(T, Tape), E> {
    record_knowing(HashSet::new(), forward)
}

/// The same, with results of another pass whose gradients are wanted.
fn record_knowing<T, E>(
    made: HashSet<TensorId>,
    forward: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<(T, Tape), E> {
    /// Puts the tape that was active before back, also when `forward` fails or panics.
    struct Restore(Option<Tape>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(self.0.take());
        }
    }
    let nodes = Vec::new();
    let _outer = Restore(ACTIVE.replace(Some(Tape { nodes, made })));
    let output = forward()?;
    Ok((output, ACTIVE.take().unwrap_or_default()))
}

/// Runs a part of a forward pass that keeps nothing but its inputs: the backward pass runs it again (Chen et al. 2016).
///
/// `forward` must give the same result each time, and use no variable or result of the pass beside `inputs`.
///
/// # Errors
/// Those of `forward`.
pub fn checkpoint(
    inputs: &[Tensor],
    forward: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Result<Tensor> {
    if !is_recording() {
        return forward(inputs);
    }
    let (y, _) = record(|| forward(inputs))?;
    let again = move |inputs: &[Tensor], _: &Tensor, dy: &Tensor| {
        let known = inputs.iter().map(Tensor::id).collect();
        let (y, tape) = record_knowing(known, || forward(inputs))?;
        let mut gradients = tape.backward_from(&y, dy.clone())?;
        Ok(inputs.iter().map(|x| gradients.remove(x)).collect())
    };
    push_all("checkpoint", inputs.to_vec(), y, again)
}

impl Tape {
    /// Gradients of all parameters from the gradient of `output`, row by row.
    ///
    /// # Errors
    /// A result of the pass does not lead to `output`: no gradient is dropped in silence.
    pub fn backward(self, output: &Tensor, gradient: Vec<f32>) -> Result<Gradients> {
        if self.nodes.is_empty() {
            return composed(output, gradient);
        }
        self.backward_from(output, tensor(gradient, output.shape())?)
    }

    fn backward_from(mut self, output: &Tensor, gradient: Tensor) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        gradients.add(output.id(), gradient)?;
        while let Some(node) = self.nodes.pop() {
            let Some(upstream) = gradients.0.remove(&node.output) else {
                candle_core::bail!("{}: its result has no gradient", node.name)
            };
            let downstream = (node.backward)(&upstream)?;
            drop(upstream);
            for (input, gradient) in node.inputs.into_iter().zip(downstream) {
                if let Some(gradient) = gradient {
                    gradients.add(input, gradient)?;
                }
            }
        }
        Ok(gradients)
    }

    fn knows(&self, tensor: &Tensor) -> bool {
        tensor.is_variable() || self.made.contains(&tensor.id())
    }
}

impl Gradients {
    /// The gradient of a parameter.
    pub fn get(&self, parameter: &Tensor) -> Option<&Tensor> {
        self.0.get(&parameter.id())
    }

    /// The gradient of a parameter, taken out.
    pub fn remove(&mut self, parameter: &Tensor) -> Option<Tensor> {
        self.0.remove(&parameter.id())
    }

    fn add(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let Some(sum) = self.0.get(&id) else {
            self.0.insert(id, gradient);
            return Ok(());
        };
        let _span = span("gradient sum");
        let gradient = Host::new(&gradient)?;
        with_mut(sum, |sum| nearkin_kernels::add(&gradient, sum))
    }
}

/// The way back on candle's tape, where the pass was composed of its operations.
fn composed(output: &Tensor, gradient: Vec<f32>) -> Result<Gradients> {
    let upstream = tensor(gradient, output.shape())?
        .to_dtype(output.dtype())?
        .to_device(output.device())?;
    // The gradient of Σ y ∘ u with respect to y is u.
    let store = (output * upstream)?.sum_all()?.backward()?;
    let gradients = store
        .get_ids()
        .filter_map(|id| Some((*id, store.get_id(*id)?.clone())));
    Ok(Gradients(gradients.collect()))
}

/// Whether a backward pass may ask for the gradient of any of these.
pub(crate) fn tracked(inputs: &[&Tensor]) -> bool {
    ACTIVE.with_borrow(|tape| {
        let known = |t: &&Tensor| t.track_op() || tape.as_ref().is_some_and(|tape| tape.knows(t));
        inputs.iter().any(known)
    })
}

/// Applies an operation of one input, on the active tape or on candle's.
pub(crate) fn apply1<C>(a: &Tensor, op: C) -> Result<Tensor>
where
    C: CustomOp1 + Send + Sync + 'static,
{
    if !is_recording() {
        return a.apply_op1(op);
    }
    let (y, inputs) = (a.apply_op1_no_bwd(&op)?, [a.clone()]);
    push(op.name(), inputs, y, move |[a], y, dy| {
        Ok(vec![op.bwd(a, y, dy)?])
    })
}

/// Applies an operation of two inputs, on the active tape or on candle's.
pub(crate) fn apply2<C>(a: &Tensor, b: &Tensor, op: C) -> Result<Tensor>
where
    C: CustomOp2 + Send + Sync + 'static,
{
    if !is_recording() {
        return a.apply_op2(b, op);
    }
    let (y, inputs) = (a.apply_op2_no_bwd(b, &op)?, [a.clone(), b.clone()]);
    push(op.name(), inputs, y, move |[a, b], y, dy| {
        let (da, db) = op.bwd(a, b, y, dy)?;
        Ok(vec![da, db])
    })
}

/// Applies an operation of three inputs, on the active tape or on candle's.
pub(crate) fn apply3<C>(a: &Tensor, b: &Tensor, c: &Tensor, op: C) -> Result<Tensor>
where
    C: CustomOp3 + Send + Sync + 'static,
{
    if !is_recording() {
        return a.apply_op3(b, c, op);
    }
    let y = a.apply_op3_no_bwd(b, c, &op)?;
    let inputs = [a.clone(), b.clone(), c.clone()];
    push(op.name(), inputs, y, move |[a, b, c], y, dy| {
        let (da, db, dc) = op.bwd(a, b, c, y, dy)?;
        Ok(vec![da, db, dc])
    })
}

/// Notes how `y` came from `inputs`; what candle's tape may know of it is left to candle where no tape is active.
pub(crate) fn push<const N: usize>(
    name: &'static str,
    inputs: [Tensor; N],
    y: Tensor,
    backward: impl FnOnce(&[Tensor; N], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
) -> Result<Tensor> {
    push_all(name, inputs.into(), y, move |inputs, y, dy| {
        let Ok(inputs) = inputs.try_into() else {
            candle_core::bail!("{name}: {} inputs, expected {N}", inputs.len())
        };
        backward(inputs, y, dy)
    })
}

/// The same for any number of inputs.
pub(crate) fn push_all(
    name: &'static str,
    inputs: Vec<Tensor>,
    y: Tensor,
    backward: impl FnOnce(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
) -> Result<Tensor> {
    ACTIVE.with_borrow_mut(|active| {
        // Where operations are composed, candle's tape has them all.
        let Some(tape) = active.as_mut().filter(|_| is_fused(&y)) else {
            return Ok(y);
        };
        if inputs.iter().any(|x| x.track_op() && !x.is_variable()) {
            candle_core::bail!(
                "{name}: an input comes from an operation that this tape does not know"
            )
        }
        let y = y.detach();
        if inputs.iter().any(|x| tape.knows(x)) {
            let output = y.clone();
            tape.made.insert(y.id());
            tape.nodes.push(Node {
                name,
                inputs: inputs.iter().map(Tensor::id).collect(),
                output: y.id(),
                backward: Box::new(move |dy| backward(&inputs, &output, dy)),
            });
        }
        Ok(y)
    })
}

fn is_recording() -> bool {
    ACTIVE.with_borrow(Option::is_some)
}
