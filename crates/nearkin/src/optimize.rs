//! The optimizer at work: parameters, gradients, state.

use crate::error::Result;
use crate::train::Course;
use nearkin_encoder::Tensor;
use nearkin_encoder::host::{Host, with_mut};
use nearkin_encoder::op::{State, update};
use nearkin_encoder::parameters::{Kind, Parameter, Parameters};
use nearkin_encoder::weights::Tensors;

/// Gradients by parameter, in the order of the learned parameters.
pub type Gradients = Vec<Tensor>;

/// An optimizer with what it remembers of every learned parameter.
pub struct Optimize {
    states: Vec<State>,
}

/// A gradient that is not finite.
#[derive(Debug)]
pub struct NotFinite {
    /// The parameter's name.
    pub name: String,
    /// The number found.
    pub value: f32,
}

impl Optimize {
    /// State zero.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(course: Course<'_>, parameters: &Parameters) -> Result<Self> {
        let rule = course.optimizer.rule(1, 0.0, false);
        let states = parameters.learned().map(|p| State::new(&rule, &p.var));
        Ok(Self {
            states: states.collect::<std::result::Result<_, _>>()?,
        })
    }

    /// Moves every learned parameter; `step` counts from 0.
    ///
    /// # Errors
    /// A gradient's shape is not its parameter's.
    pub fn step(
        &mut self,
        course: Course<'_>,
        step: u64,
        parameters: &Parameters,
        gradients: &Gradients,
    ) -> Result<()> {
        let rate = course.rate(step);
        for ((parameter, state), gradient) in
            parameters.learned().zip(&mut self.states).zip(gradients)
        {
            let rate = rate * course.train.rate_factor(&parameter.name);
            if rate == 0.0 {
                continue;
            }
            let rule = course
                .optimizer
                .rule(step + 1, rate, parameter.kind == Kind::Weight);
            update(&parameter.var, gradient, &rule, state)?;
        }
        Ok(())
    }

    /// The state as named tensors, for a checkpoint.
    pub fn tensors(&self, course: Course<'_>, parameters: &Parameters) -> Tensors {
        let names = course.optimizer.rule(1, 0.0, false).slots();
        let named = |(parameter, state): (&Parameter, &State)| -> Vec<(String, Tensor)> {
            let slots = names.iter().zip(&state.slots);
            slots
                .map(|(slot, values)| (format!("{}/{slot}", parameter.name), values.clone()))
                .collect()
        };
        parameters
            .learned()
            .zip(&self.states)
            .flat_map(named)
            .collect()
    }

    /// Takes the state from a checkpoint's tensors.
    ///
    /// # Errors
    /// Names the first tensor that is missing or of another shape.
    pub fn restore(
        &mut self,
        course: Course<'_>,
        parameters: &Parameters,
        tensors: &Tensors,
    ) -> std::result::Result<(), String> {
        let names = course.optimizer.rule(1, 0.0, false).slots();
        for (parameter, state) in parameters.learned().zip(&mut self.states) {
            for (slot, name) in state.slots.iter_mut().zip(names) {
                let name = format!("{}/{name}", parameter.name);
                let stored = tensors
                    .get(&name)
                    .ok_or_else(|| format!("tensor \"{name}\" is missing"))?;
                if stored.dims() != slot.dims() {
                    return Err(format!(
                        "tensor \"{name}\" has shape {:?}, expected {:?}",
                        stored.dims(),
                        slot.dims()
                    ));
                }
                *slot = stored.clone();
            }
        }
        Ok(())
    }
}

/// The Euclidean norm of all gradients together, or the first number that is not finite.
///
/// # Errors
/// A gradient is not in host memory.
pub fn norm(
    parameters: &Parameters,
    gradients: &Gradients,
) -> Result<std::result::Result<f32, NotFinite>> {
    let mut squared = 0.0;
    for gradient in gradients {
        squared += nearkin_kernels::squared_norm(&Host::new(gradient)?);
    }
    if squared.is_finite() {
        return Ok(Ok(squared.sqrt() as f32));
    }
    for (parameter, gradient) in parameters.learned().zip(gradients) {
        let numbers = Host::new(gradient)?;
        if let Some(at) = nearkin_kernels::first_non_finite(&numbers) {
            return Ok(Err(NotFinite {
                name: parameter.name.clone(),
                value: numbers[at],
            }));
        }
    }
    // Finite numbers whose squares overflow: the norm itself is what is not finite.
    Ok(Err(NotFinite {
        name: "norm".into(),
        value: f32::INFINITY,
    }))
}

/// Multiplies all gradients by a factor, in place.
///
/// # Errors
/// A gradient is not in host memory.
pub fn scale(gradients: &Gradients, factor: f32) -> Result<()> {
    for gradient in gradients {
        with_mut(gradient, |g| nearkin_kernels::scale(g, factor))?;
    }
    Ok(())
}

/// Moves running averages towards the parameters; running statistics are copied.
///
/// # Errors
/// The two belong to different networks.
pub fn average(averages: &Parameters, parameters: &Parameters, decay: f32) -> Result<()> {
    for (average, parameter) in averages.iter().zip(parameters) {
        let decay = if parameter.kind == Kind::Buffer {
            0.0
        } else {
            decay
        };
        nearkin_encoder::op::ema(&average.var, &parameter.var.as_detached_tensor(), decay)?;
    }
    Ok(())
}

/// Adds `source` into `sum`, number by number, in place.
///
/// # Errors
/// A gradient is not in host memory.
pub fn accumulate(sum: &Gradients, source: &Gradients) -> Result<()> {
    for (sum, source) in sum.iter().zip(source) {
        let source = Host::new(source)?;
        with_mut(sum, |sum| nearkin_kernels::add(&source, sum))?;
    }
    Ok(())
}
