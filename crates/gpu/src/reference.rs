//! A kernel on the CPU: what any provider can check a GPU with.
//!
//! It runs the same metered module, so its fuel is the same. Integers and canonical floats give the same bytes; native
//! floats are close.

mod code;
mod eval;
mod machine;
mod mask;
mod scalar;
mod shape;

use crate::{
    kernel::Kernel,
    run::{Buffers, Ran, Run, meter_words, settled},
    source::deep,
};
use code::Code;
use machine::Machine;

/// A kernel laid out for the CPU.
#[derive(Clone, Debug)]
pub struct Reference<'k> {
    kernel: &'k Kernel,
    codes: Vec<Code>,
}

impl<'k> Reference<'k> {
    /// Lays a kernel out.
    pub fn new(kernel: &'k Kernel) -> Self {
        let (module, info) = (kernel.module(), kernel.info());
        let mut codes: Vec<Code> = module
            .functions
            .iter()
            .map(|(handle, function)| Code::new(module, &info[handle], function))
            .collect();
        codes.push(Code::new(module, info.get_entry_point(0), &module.entry_points[0].function));
        Self { kernel, codes }
    }

    /// Runs a dispatch on these buffers, one for each of the kernel's slots, until `stop` says so. What they hold after a
    /// run that did not come to its end is not defined.
    pub fn run(&self, run: Run, buffers: &mut Buffers, stop: &(dyn Fn() -> bool + Sync)) -> Ran {
        let buffers = &mut buffers.0;
        deep(|| self.dispatch(run, buffers, stop))
    }

    fn dispatch(&self, run: Run, buffers: &mut [Vec<u32>], stop: &dyn Fn() -> bool) -> Ran {
        let module = self.kernel.module();
        let mut meter = None;
        let mut slot_of = Vec::new();
        let all: Vec<Vec<u32>> = module
            .global_variables
            .iter()
            .map(|(handle, variable)| {
                let Some(binding) = variable.binding else { return Vec::new() };
                let slots = self.kernel.slots();
                match slots
                    .iter()
                    .position(|slot| (slot.group, slot.binding) == (binding.group, binding.binding))
                {
                    Some(slot) => {
                        slot_of.push((slot, handle.index()));
                        std::mem::take(&mut buffers[slot])
                    }
                    None => {
                        meter = Some(handle.index());
                        meter_words(run.limit, [0; 3], run.groups)
                    }
                }
            })
            .collect();
        let mut machine = Machine::new(module, &self.codes, all, stop);
        let mut ran = Ran::default();
        'groups: for z in 0..run.groups[2] {
            for y in 0..run.groups[1] {
                for x in 0..run.groups[0] {
                    if stop() {
                        machine.stopped = true;
                    }
                    if machine.stopped {
                        break 'groups;
                    }
                    machine.workgroup([x, y, z], run.groups);
                    ran = meter.map_or(ran, |meter| settled(&machine.buffers[meter], run.budget));
                    if ran.out_of_fuel {
                        break 'groups;
                    }
                }
            }
        }
        ran.stopped = machine.stopped;
        for (slot, global) in slot_of {
            buffers[slot] = std::mem::take(&mut machine.buffers[global]);
        }
        ran
    }
}
