//! Programs of strangers on this machine: what confines them, and whether a task and a model give the right bytes.

use std::time::Instant;

use tidemill_api::{Check, Grade};
use tidemill_exec::{Confinement, Executor, Lack, Measure, WorkerPool};
use tidemill_infer::{InstructionSet, tiny::has_right_bits};
use tidemill_provider::{MeasureError, measure};
use tidemill_scratch::Scratch;
use tidemill_types::{FloatClass, Fuel};

use super::{Findings, home::broken};
use crate::home::worker_pool;

/// Looks at what runs tasks.
pub fn look(findings: &mut Findings) {
    let scratch = match Scratch::temporary() {
        Ok(scratch) => scratch,
        Err(error) => {
            let found = format!("no directory for temporary files: {error}");
            let check = Check::new("temporary", Grade::Fault, found);
            return findings.add(check.mend("set TMPDIR to a directory of yours that has room"));
        }
    };
    match worker_pool(1, scratch.path()) {
        Ok(pool) => {
            findings.add(floats(&pool));
            match pool.confinement() {
                Ok(confinement) => findings.add(confined(&confinement)),
                Err(error) => findings.add(
                    Check::new("confinement", Grade::Fault, format!("no worker process starts: {error}"))
                        .mend("raise the limits on processes and address space (`ulimit -u`, `ulimit -v`)"),
                ),
            }
            findings.add(program(&pool));
        }
        Err(error) => findings.add(broken("confinement", &error)),
    }
    findings.add(model(&InstructionSet::available(), has_right_bits));
}

/// Which classes of floats this processor has.
fn floats(pool: &WorkerPool) -> Check {
    let capabilities = pool.capabilities();
    match capabilities.hardware_class {
        Some(class) if capabilities.floats.contains(&FloatClass::Native) => Check::new(
            "floats",
            Grade::Good,
            format!("native floats of the class {class}, and canonical ones"),
        ),
        _ => {
            let found =
                "this processor has canonical floats alone; tasks with native ones go to other machines";
            Check::new("floats", Grade::Note, found)
        }
    }
}

/// What the system holds workers to.
fn confined(confinement: &Confinement) -> Check {
    let holds: Vec<_> = confinement.holds().iter().map(ToString::to_string).collect();
    if confinement.lacks().is_empty() {
        return Check::new("confinement", Grade::Good, format!("workers have {}", holds.join(", ")));
    }
    let lacks: Vec<_> =
        confinement.lacks().iter().map(|lack| format!("{} ({})", lack.measure, lack.reason)).collect();
    // The other measures still hold a program that leaves WebAssembly.
    let check = Check::new("confinement", Grade::Warning, format!("workers lack {}", lacks.join(", ")));
    match confinement.lacks().iter().find_map(remedy) {
        Some(remedy) => check.mend(remedy),
        None => check,
    }
}

/// What gives a machine a measure that it lacks.
fn remedy(lack: &Lack) -> Option<String> {
    let words = match lack.measure {
        Measure::User | Measure::EmptyRoot | Measure::Network | Measure::Processes | Measure::Ipc => {
            "let users make namespaces: `sysctl -w kernel.unprivileged_userns_clone=1`, on Ubuntu \
             `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, in Docker \
             `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
        }
        Measure::Landlock => {
            "use a kernel from 5.13 on with Landlock switched on: `landlock` in /sys/kernel/security/lsm, else `lsm=` \
             on the kernel's command line"
        }
        Measure::SystemCalls => "use a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)",
        Measure::Privileges | Measure::Memory | Measure::Counts => return None,
    };
    Some(words.to_owned())
}

/// A real task whose answer is known, in a worker, as every task is run.
fn program(pool: &WorkerPool) -> Check {
    match measure(pool, 1) {
        Ok(capacity) => {
            let rate = Fuel(capacity.single_fuel_per_s);
            let found = format!("a task gave the right bytes; one core burns {rate} fuel a second");
            Check::new("program", Grade::Good, found)
        }
        Err(error @ MeasureError::Wrong { .. }) => {
            Check::new("program", Grade::Fault, error.to_string()).mend(
                "test the memory (memtest86+) and undo overclocking: a provider whose results are wrong loses its bond",
            )
        }
        Err(error) => {
            let check = Check::new("program", Grade::Fault, tidemill_types::causes(&error));
            match error {
                MeasureError::Failed(failure) => check.mend(failure.hint()),
                _ => check,
            }
        }
    }
}

/// A real model of a megabyte on each instruction set that this processor has.
fn model(available: &[InstructionSet], is_right: impl Fn(InstructionSet) -> bool) -> Check {
    let begun = Instant::now();
    let (right, wrong): (Vec<_>, Vec<_>) = available.iter().copied().partition(|isa| is_right(*isa));
    let names = |all: &[InstructionSet]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if wrong.is_empty() {
        let took = begun.elapsed().as_millis();
        let found = format!("a small model gave the right bits with {}, in {took} ms", names(&right));
        return Check::new("model", Grade::Good, found);
    }
    Check::new("model", Grade::Fault, format!("a small model gave wrong bits with {}", names(&wrong)))
        .mend("test the memory (memtest86+) and undo overclocking; if it stays, report it with this processor's name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_with_wrong_bits_is_a_fault_that_names_the_kernels() {
        let plain = [InstructionSet::PLAIN];
        assert_eq!(model(&plain, |_| true).grade, Grade::Good);
        let wrong = model(&plain, |_| false);
        assert_eq!(wrong.grade, Grade::Fault);
        assert!(wrong.found.ends_with("plain"), "{}", wrong.found);
    }

    #[test]
    fn every_measure_of_the_kernel_has_a_remedy() {
        let lack = |measure| Lack { measure, reason: "no".to_owned() };
        for measure in [Measure::User, Measure::Network, Measure::Landlock, Measure::SystemCalls] {
            assert!(remedy(&lack(measure)).is_some(), "{measure}");
        }
    }
}
