//! What is wrong with a plan, in words for the person who wrote it.

use super::task::Filled;
use crate::{
    kernel::{Access, Kernel},
    mistake::Mistake,
    plan::{
        MOST_DISPATCHES, MOST_GROUPS, MOST_NAMED, MOST_STORAGE, MOST_STORAGE_BUFFERS, MOST_UNIFORM,
        MOST_UNIFORM_BUFFERS, Pass, Plan,
    },
};

fn wrong<T>(message: String) -> Result<T, Mistake> {
    Err(Mistake::Plan(message))
}

/// Checks what a plan says by itself.
pub(super) fn names(plan: &Plan) -> Result<(), Mistake> {
    let passes: usize = plan.steps.iter().map(|step| step.passes.len()).sum();
    for (what, found) in [("buffers", plan.buffers.len()), ("steps", plan.steps.len()), ("passes", passes)] {
        if found == 0 || found > MOST_NAMED {
            return wrong(format!("the plan has {found} {what}; from 1 to {MOST_NAMED} are allowed"));
        }
    }
    if plan.buffers.values().all(|buffer| buffer.output.is_none()) {
        return wrong("no buffer has an output, so the program would give nothing".into());
    }
    let swapped = plan.steps.iter().flat_map(|step| &step.swap).flat_map(|(one, other)| [one, other]);
    for name in swapped {
        if !plan.buffers.contains_key(name) {
            return wrong(format!("a step swaps the buffer {name:?}, which the plan does not have"));
        }
    }
    Ok(())
}

/// The workgroups of a pass.
pub(super) fn groups(entry: &str, groups: [u64; 3]) -> Result<[u32; 3], Mistake> {
    if groups.iter().any(|groups| !(1..=MOST_GROUPS).contains(groups)) {
        let [x, y, z] = groups;
        return wrong(format!(
            "a pass of {entry:?} has {x} x {y} x {z} workgroups; each number must be from 1 to {MOST_GROUPS}"
        ));
    }
    Ok(groups.map(|groups| groups as u32))
}

/// Checks what a plan says once the arguments of a task are in it.
pub(super) fn filled(names: &[String], filled: &Filled) -> Result<(), Mistake> {
    let mut outputs: Vec<&str> = Vec::new();
    for (name, buffer) in names.iter().zip(&filled.buffers) {
        if let Some(bytes) = buffer.length() {
            length(name, bytes)?;
        }
        if let Some(output) = &buffer.output {
            if outputs.contains(&output.as_str()) {
                return wrong(format!("two buffers give the file {output:?}"));
            }
            outputs.push(output);
        }
    }
    let dispatches = filled.steps.iter().map(|(repeat, passes)| repeat.saturating_mul(passes.len() as u64));
    let dispatches = dispatches.fold(0, u64::saturating_add);
    if dispatches == 0 || dispatches > MOST_DISPATCHES {
        return wrong(format!(
            "the plan has {dispatches} dispatches; from 1 to {MOST_DISPATCHES} are allowed"
        ));
    }
    Ok(())
}

/// Checks the length of a buffer.
pub(super) fn length(name: &str, bytes: u64) -> Result<(), Mistake> {
    if bytes == 0 || !bytes.is_multiple_of(4) || bytes > MOST_STORAGE {
        return wrong(format!(
            "the buffer {name:?} has {bytes} bytes; it needs a multiple of 4, from 4 to {MOST_STORAGE}"
        ));
    }
    Ok(())
}

/// The buffer for each slot of a kernel, by its place in the plan.
pub(super) fn bind(
    plan: &Plan,
    names: &[String],
    pass: &Pass,
    kernel: &Kernel,
) -> Result<Vec<usize>, Mistake> {
    let (entry, slots) = (&pass.entry, kernel.slots());
    let unknown = pass.bind.keys().find(|name| !slots.iter().any(|slot| slot.name == **name));
    if let Some(name) = unknown {
        let used: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        return wrong(format!("a pass binds {name:?}, but {entry:?} uses only {}", used.join(", ")));
    }
    let mut bound = Vec::new();
    for slot in slots {
        let buffer = pass.bind.get(&slot.name).unwrap_or(&slot.name);
        if !plan.buffers.contains_key(buffer) {
            return wrong(format!(
                "{entry:?} uses the variable {:?}, and the plan has no buffer {buffer:?}",
                slot.name
            ));
        }
        bound.extend(names.iter().position(|name| name == buffer));
    }
    for (number, (slot, at)) in slots.iter().zip(&bound).enumerate() {
        let mut others = slots.iter().zip(&bound).enumerate().filter(|(other, _)| *other != number);
        if slot.access == Access::Write
            && let Some((_, (other, _))) = others.find(|(_, (_, other))| *other == at)
        {
            return wrong(format!(
                "{entry:?} writes {:?}, and {:?} is the same buffer {:?}",
                slot.name, other.name, names[*at]
            ));
        }
    }
    let uniforms = slots.iter().filter(|slot| slot.access == Access::Uniform).count();
    let storage = slots.len() - uniforms;
    if storage > MOST_STORAGE_BUFFERS || uniforms > MOST_UNIFORM_BUFFERS {
        return wrong(format!(
            "{entry:?} uses {storage} storage buffers and {uniforms} uniform ones; {MOST_STORAGE_BUFFERS} and \
             {MOST_UNIFORM_BUFFERS} are allowed"
        ));
    }
    Ok(bound)
}

/// Checks the lengths of a kernel's buffers, as far as they are known.
pub(super) fn fits(
    kernel: &Kernel,
    bound: &[usize],
    names: &[String],
    lengths: &[Option<u64>],
) -> Result<(), Mistake> {
    for (slot, at) in kernel.slots().iter().zip(bound) {
        let (Some(bytes), name, least) = (lengths[*at], &names[*at], slot.least) else { continue };
        if bytes < least {
            return wrong(format!(
                "the buffer {name:?} has {bytes} bytes; the variable {:?} needs {least} at least",
                slot.name
            ));
        }
        if slot.access == Access::Uniform && bytes > MOST_UNIFORM {
            return wrong(format!(
                "the buffer {name:?} has {bytes} bytes; a uniform buffer has {MOST_UNIFORM} at most"
            ));
        }
    }
    Ok(())
}

/// Checks that two buffers that change places have one length, as far as it is known.
pub(super) fn swaps(
    names: &[String],
    lengths: &[Option<u64>],
    one: usize,
    other: usize,
) -> Result<(), Mistake> {
    match (lengths[one], lengths[other]) {
        (Some(of_one), Some(of_other)) if of_one != of_other => wrong(format!(
            "the buffers {:?} and {:?} change places, but have {of_one} and {of_other} bytes",
            names[one], names[other]
        )),
        _ => Ok(()),
    }
}
