//! A module and its plan: checked as far as can be before anything runs, then run on a device or on the CPU.

mod check;
mod task;

use std::collections::BTreeMap;

use crate::{
    kernel::{Floats, Kernel, Traits},
    mistake::Mistake,
    plan::{Pass, Plan},
    source::Source,
};
pub use task::{Allowance, End, Files, Outcome, Task};

/// What a program's bytes begin with.
const MARK: &str = "tidemill-wgsl 1 ";

/// A program that is ready for tasks.
#[derive(Clone, Debug)]
pub struct Program {
    plan: Plan,
    /// Each entry point with each set of overrides, once.
    kernels: Vec<Kernel>,
    /// The names of the plan's buffers, in their order.
    names: Vec<String>,
    /// For each step of the plan: what its passes run, and which buffers change places.
    steps: Vec<Bound>,
}

/// A step with places for names.
#[derive(Clone, Debug)]
struct Bound {
    passes: Vec<BoundPass>,
    swap: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct BoundPass {
    kernel: usize,
    /// The buffer for each slot of the kernel.
    buffers: Vec<usize>,
}

impl Program {
    /// Checks a plan against its module, and prepares each entry point that it runs.
    ///
    /// # Errors
    /// A [`Mistake`] that is the same on every machine.
    pub fn new(source: &Source, plan: Plan, floats: Floats) -> Result<Self, Mistake> {
        check::names(&plan)?;
        let names: Vec<String> = plan.buffers.keys().cloned().collect();
        let mut kernels = Kernels { source, floats, known: Vec::new() };
        let mut steps = Vec::new();
        for step in &plan.steps {
            let mut passes = Vec::new();
            for pass in &step.passes {
                let (number, kernel) = kernels.of(pass)?;
                let buffers = check::bind(&plan, &names, pass, kernel)?;
                passes.push(BoundPass { kernel: number, buffers });
            }
            let place = |name: &String| names.iter().position(|known| known == name);
            let swap =
                step.swap.iter().filter_map(|(one, other)| Some((place(one)?, place(other)?))).collect();
            steps.push(Bound { passes, swap });
        }
        let kernels = kernels.known.into_iter().map(|known| known.kernel).collect();
        let program = Self { plan, kernels, names, steps };
        if !program.plan.uses_arguments() {
            program.filled(&[])?;
        }
        Ok(program)
    }

    /// Reads a program that [`encode`] wrote.
    ///
    /// # Errors
    /// As [`Program::new`], and for what is no program.
    pub fn decode(bytes: &[u8], floats: Floats) -> Result<Self, Mistake> {
        let wrong =
            |what: &str| Mistake::Plan(format!("the program is not a plan with a WGSL module: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let rest = text.strip_prefix(MARK).ok_or_else(|| wrong("it begins with something else"))?;
        let (plan, module) = rest.split_once('\n').ok_or_else(|| wrong("it ends within its plan"))?;
        let plan = serde_json::from_str(plan).map_err(|error| wrong(&error.to_string()))?;
        Self::new(&Source::parse(module)?, plan, floats)
    }

    /// Its entry points, each with the overrides that it is run with.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// What it does.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What its results depend on: what those of any of its kernels depend on.
    pub fn traits(&self) -> Traits {
        self.kernels.iter().map(Kernel::traits).fold(Traits::default(), |one, other| Traits {
            floats: one.floats || other.floats,
            closeness: one.closeness.max(other.closeness),
            fuel_meets_floats: one.fuel_meets_floats || other.fuel_meets_floats,
            output_meets_order: one.output_meets_order || other.output_meets_order,
            barriers: one.barriers || other.barriers,
        })
    }
}

/// A program as bytes: what its hash names. The module begins on a line of its own, so that the lines of mistakes are those
/// of its text.
pub fn encode(plan: &Plan, module: &str) -> Vec<u8> {
    let plan = serde_json::to_string(plan).expect("a plan is plain data");
    format!("{MARK}{plan}\n{module}").into_bytes()
}

/// The kernels that are prepared so far.
struct Kernels<'a> {
    source: &'a Source,
    floats: Floats,
    known: Vec<Known>,
}

struct Known {
    entry: String,
    overrides: BTreeMap<String, f64>,
    kernel: Kernel,
}

impl Kernels<'_> {
    /// The kernel that a pass runs, and its number.
    fn of(&mut self, pass: &Pass) -> Result<(usize, &Kernel), Mistake> {
        let is = |known: &Known| known.entry == pass.entry && known.overrides == pass.overrides;
        let number = match self.known.iter().position(is) {
            Some(number) => number,
            None => {
                let overrides: Vec<(String, f64)> =
                    pass.overrides.iter().map(|(name, value)| (name.clone(), *value)).collect();
                let kernel = Kernel::new(self.source, &pass.entry, &overrides, self.floats)?;
                let (entry, overrides) = (pass.entry.clone(), pass.overrides.clone());
                self.known.push(Known { entry, overrides, kernel });
                self.known.len() - 1
            }
        };
        Ok((number, &self.known[number].kernel))
    }
}
