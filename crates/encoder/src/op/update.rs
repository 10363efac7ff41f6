//! Optimizer steps, in place on the parameters.

use crate::host::{Host, is_fused, with_mut};
use crate::profile::span;
use candle_core::{Result, Tensor, Var};
use nearkin_kernels::{AdaGrad, AdamW, Sgd};

/// One step of an optimizer with its numbers filled in.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Gradient descent with momentum; one slot, the velocity.
    Sgd(Sgd),
    /// Adam with decoupled weight decay; two slots, the moments.
    AdamW(AdamW),
    /// AdaGrad; one slot, the sum of squared gradients.
    AdaGrad(AdaGrad),
}

/// What an optimizer remembers of one parameter: tensors of the parameter's shape.
#[derive(Clone, Debug)]
pub struct State {
    /// The slots, in the order that [`Rule::slots`] names them.
    pub slots: Vec<Tensor>,
}

impl Rule {
    /// The names of the state slots, as checkpoints call them.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd(_) => &["velocity"],
            Self::AdamW(_) => &["first_moment", "second_moment"],
            Self::AdaGrad(_) => &["squared_sum"],
        }
    }
}

impl State {
    /// The state before the first step: zeros.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(rule: &Rule, parameter: &Tensor) -> Result<Self> {
        let zeros = || Tensor::zeros(parameter.shape(), parameter.dtype(), parameter.device());
        Ok(Self {
            slots: rule
                .slots()
                .iter()
                .map(|_| zeros())
                .collect::<Result<_>>()?,
        })
    }
}

/// Moves a parameter by one optimizer step, in place.
///
/// # Shapes
/// - `parameter`, `gradient` and every slot of `state`: equal
///
/// # Errors
/// Shapes differ, or the state was made for another rule.
///
/// # Reference
/// `AdamW`: Loshchilov and Hutter 2019, algorithm 2. `AdaGrad`: Duchi et al. 2011, figure 1.
pub fn update(parameter: &Var, gradient: &Tensor, rule: &Rule, state: &mut State) -> Result<()> {
    if gradient.dims() != parameter.dims() || state.slots.len() != rule.slots().len() {
        candle_core::bail!(
            "update: parameter is {:?} with {} slots, gradient {:?}; expected {} slots and equal shapes",
            parameter.dims(),
            state.slots.len(),
            gradient.dims(),
            rule.slots().len()
        );
    }
    let _span = span("optimizer");
    if is_fused(parameter) {
        fused(parameter, gradient, rule, state)
    } else {
        composed(parameter, gradient, rule, state)
    }
}

fn fused(parameter: &Var, gradient: &Tensor, rule: &Rule, state: &State) -> Result<()> {
    let gradient = gradient.contiguous()?;
    let g = Host::new(&gradient)?;
    let slots = &state.slots;
    with_mut(parameter, |p| match rule {
        Rule::Sgd(sgd) => with_mut(&slots[0], |velocity| sgd.step(p, &g, velocity)),
        Rule::AdaGrad(adagrad) => with_mut(&slots[0], |sum| adagrad.step(p, &g, sum)),
        Rule::AdamW(adam) => with_mut(&slots[0], |m| {
            with_mut(&slots[1], |v| adam.step(p, &g, m, v))
        })?,
    })?
}

fn composed(parameter: &Var, gradient: &Tensor, rule: &Rule, state: &mut State) -> Result<()> {
    let p = parameter.as_detached_tensor();
    let moved = match rule {
        Rule::Sgd(sgd) => {
            let g = (gradient + (&p * f64::from(sgd.weight_decay))?)?;
            let velocity = ((&state.slots[0] * f64::from(sgd.momentum))? + &g)?;
            let direction = if sgd.nesterov {
                (g + (&velocity * f64::from(sgd.momentum))?)?
            } else {
                velocity.clone()
            };
            state.slots[0] = velocity;
            (p - (direction * f64::from(sgd.learning_rate))?)?
        }
        Rule::AdaGrad(adagrad) => {
            let g = (gradient + (&p * f64::from(adagrad.weight_decay))?)?;
            let sum = (&state.slots[0] + g.sqr()?)?;
            let direction = (g / (sum.sqrt()? + f64::from(adagrad.epsilon))?)?;
            state.slots[0] = sum;
            (p - (direction * f64::from(adagrad.learning_rate))?)?
        }
        Rule::AdamW(adam) => composed_adam(&p, gradient, adam, state)?,
    };
    parameter.set(&moved.detach())
}

fn composed_adam(p: &Tensor, g: &Tensor, adam: &AdamW, state: &mut State) -> Result<Tensor> {
    let (beta1, beta2) = (f64::from(adam.beta1), f64::from(adam.beta2));
    let (rate, steps) = (f64::from(adam.learning_rate), adam.step as f64);
    let m = ((&state.slots[0] * beta1)? + (g * (1.0 - beta1))?)?;
    let v = ((&state.slots[1] * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
    let m_hat = (&m / (1.0 - beta1.powf(steps)))?;
    let v_hat = (&v / (1.0 - beta2.powf(steps)))?;
    state.slots = vec![m, v];
    let decayed = (p * (1.0 - rate * f64::from(adam.weight_decay)))?;
    let direction = (m_hat / (v_hat.sqrt()? + f64::from(adam.epsilon))?)?;
    decayed - (direction * rate)?
}

/// Moves a running average of a parameter towards it, in place.
///
/// ```text
/// average ← decay · average + (1 − decay) · parameter
/// ```
///
/// # Errors
/// The shapes differ.
pub fn ema(average: &Var, parameter: &Tensor, decay: f32) -> Result<()> {
    if average.dims() != parameter.dims() {
        candle_core::bail!(
            "ema: average is {:?}, parameter {:?}",
            average.dims(),
            parameter.dims()
        );
    }
    if is_fused(parameter) {
        let parameter = Host::new(parameter)?;
        return with_mut(average, |a| nearkin_kernels::ema(decay, &parameter, a));
    }
    let decay = f64::from(decay);
    average.set(&((average.as_detached_tensor() * decay)? + (parameter.detach() * (1.0 - decay))?)?)
}
