//! The machine itself: room, memory, limits, its clock, its graphics.

mod graphics;

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Resource, getrlimit};
use tidemill_api::{Check, Grade};
use tidemill_provider::{disk_free, memory_available, processor_quota};
use tidemill_scratch::Scratch;
use tidemill_types::ByteSize;

use super::{Findings, home::broken};
use crate::{commands::cores, home::check_address_space};

/// Less room than this is soon full: a task may write 256 MiB by default, and a program has its compiled code.
const LITTLE_DISK: ByteSize = ByteSize(2 << 30);

/// What one task may use by default.
const TASK_MEMORY: ByteSize = ByteSize(512 << 20);

/// Descriptors that a coordinator of a few hundred peers, or a provider of many slots, needs.
const FEW_DESCRIPTORS: u64 = 1024;

/// A blob of this size is a file of its own; a limit below it fails.
const LONG_FILE: ByteSize = ByteSize(1 << 30);

/// The start of 2026, when there was no Tidemill yet: a clock before that is wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Looks at the machine. `home` is where this user's files go.
pub fn look(findings: &mut Findings, home: Option<&Path>) {
    if let Some(home) = home {
        findings.add(disk(home));
    }
    findings.add(memory(memory_available()));
    findings.add(match check_address_space() {
        Ok(()) => Check::new("address space", Grade::Good, "a task finds as much as it takes (`ulimit -v`)"),
        Err(error) => broken("address space", &error),
    });
    findings.add(file_size(getrlimit(Resource::Fsize).current));
    findings.add(descriptors(getrlimit(Resource::Nofile).current));
    findings.add(processor(cores(), processor_quota()));
    findings.add(graphics::look(Path::new("/")));
    findings.add(clock(SystemTime::now(), synchronised()));
}

/// Room where the home is, and whether it can be written to and made durable.
fn disk(home: &Path) -> Check {
    let written = || -> io::Result<()> {
        std::fs::create_dir_all(home)?;
        let scratch = Scratch::within(home)?;
        let file = std::fs::File::create(scratch.path().join("doctor"))?;
        io::Write::write_all(&mut &file, b"a blob")?;
        tidemill_disk::sync_all(&file)
    };
    if let Err(error) = written() {
        let found = format!("{} cannot be written to: {error}", home.display());
        return Check::new("disk", Grade::Fault, found)
            .mend("make room, mount it for writing, or set TIDEMILL_HOME to another disk");
    }
    match disk_free(home) {
        Ok(free) if free < LITTLE_DISK => {
            let found = format!("{free} are free where {} is", home.display());
            Check::new("disk", Grade::Warning, found)
                .mend(format!("make {LITTLE_DISK} free, or set TIDEMILL_HOME to a disk that has more"))
        }
        Ok(free) => Check::new("disk", Grade::Good, format!("{free} are free where {} is", home.display())),
        Err(error) => {
            Check::new("disk", Grade::Warning, format!("the system does not say how much is free: {error}"))
        }
    }
}

/// What is available in this process's control groups.
fn memory(available: Option<ByteSize>) -> Check {
    match available {
        None => Check::new("memory", Grade::Warning, "the system does not say how much is available")
            .mend("say how much tasks may have: `tidemill provide --memory 4GiB`"),
        Some(available) if available < TASK_MEMORY => {
            let found = format!("{available} are available, and a task may use {TASK_MEMORY} by default");
            Check::new("memory", Grade::Warning, found).mend(
                "end other programs, or raise the limit of the container or control group (`memory.max`)",
            )
        }
        Some(available) => {
            let found = format!("{available} are available here, control groups included");
            Check::new("memory", Grade::Good, found)
        }
    }
}

/// The limit on the size of a file.
fn file_size(limit: Option<u64>) -> Check {
    match limit.map(ByteSize) {
        None => Check::new("file size", Grade::Good, "files may be of any size (`ulimit -f`)"),
        Some(limit) => {
            let grade = if limit < LONG_FILE { Grade::Warning } else { Grade::Note };
            Check::new("file size", grade, format!("files end at {limit} (`ulimit -f`)"))
                .mend("raise the limit before large inputs and outputs: `ulimit -f unlimited`")
        }
    }
}

/// The limit on open files.
fn descriptors(limit: Option<u64>) -> Check {
    match limit {
        Some(limit) if limit < FEW_DESCRIPTORS => {
            let found = format!("a process may have {limit} files open (`ulimit -n`)");
            Check::new("open files", Grade::Warning, found).mend(format!("ulimit -n {}", 4 * FEW_DESCRIPTORS))
        }
        Some(limit) => {
            let found = format!("a process may have {limit} files open (`ulimit -n`)");
            Check::new("open files", Grade::Good, found)
        }
        None => Check::new("open files", Grade::Good, "a process may have any number of files open"),
    }
}

/// The cores, and what a control group leaves of them.
fn processor(cores: usize, quota: Option<f64>) -> Check {
    match quota {
        #[expect(clippy::cast_precision_loss, reason = "a count of cores")]
        Some(quota) if quota < cores as f64 => {
            let found = format!("{cores} cores, of which a control group gives {quota:.1} at a time");
            Check::new("processor", Grade::Note, found).mend(format!(
                "lend no more slots than that (`tidemill provide --cpus {}`), or raise `cpu.max`",
                whole(quota)
            ))
        }
        _ => Check::new("processor", Grade::Good, format!("{cores} cores")),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
fn whole(quota: f64) -> u32 {
    quota.floor().max(1.0) as u32
}

/// The clock: deadlines, vouchers and permits are in its time.
fn clock(now: SystemTime, is_synchronised: Option<bool>) -> Check {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since < EARLIEST {
        return Check::new("clock", Grade::Fault, "this machine's clock is years behind")
            .mend("set it: `timedatectl set-ntp true`, or `date -s`");
    }
    match is_synchronised {
        Some(true) => Check::new("clock", Grade::Good, "the kernel says that it is synchronised"),
        Some(false) => {
            let found = "the kernel says that nothing synchronises it; deadlines are kept by it";
            Check::new("clock", Grade::Note, found)
                .mend("`timedatectl set-ntp true`, or install chrony; in a container its host does that")
        }
        None => Check::new("clock", Grade::Skipped, "the system does not say whether it is synchronised"),
    }
}

/// Whether something keeps the kernel's clock right.
#[cfg(target_os = "linux")]
fn synchronised() -> Option<bool> {
    // SAFETY: `timex` is plain numbers, of which all zero is valid.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` that lives through the call; `modes` is 0, which only reads.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(answer != libc::TIME_ERROR)
}

#[cfg(not(target_os = "linux"))]
fn synchronised() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_low_say_how_to_raise_them() {
        let mended = |check: Check| (check.grade, check.mend.unwrap_or_default());
        assert_eq!(descriptors(Some(256)).mend.as_deref(), Some("ulimit -n 4096"));
        assert_eq!(descriptors(Some(1024)).grade, Grade::Good);
        let (grade, mend) = mended(file_size(Some(1 << 20)));
        assert!(grade == Grade::Warning && mend.contains("ulimit -f unlimited"), "{mend}");
        assert_eq!(file_size(Some(1 << 40)).grade, Grade::Note);
        assert_eq!(file_size(None).grade, Grade::Good);
        assert_eq!(memory(Some(ByteSize::mib(100))).grade, Grade::Warning);
        assert_eq!(memory(Some(ByteSize::mib(600))).grade, Grade::Good);
    }

    #[test]
    fn a_quota_below_the_cores_is_told_with_the_slots_that_fit() {
        assert_eq!(processor(8, None).grade, Grade::Good);
        assert_eq!(processor(2, Some(4.0)).grade, Grade::Good);
        let check = processor(8, Some(2.5));
        assert_eq!(check.grade, Grade::Note);
        assert!(check.mend.expect("a command").contains("--cpus 2"));
        assert!(processor(8, Some(0.5)).mend.expect("a command").contains("--cpus 1"));
    }

    #[test]
    fn a_clock_that_is_years_behind_is_a_fault() {
        assert_eq!(clock(UNIX_EPOCH, Some(true)).grade, Grade::Fault);
        let today = UNIX_EPOCH + EARLIEST;
        assert_eq!(clock(today, Some(true)).grade, Grade::Good);
        assert_eq!(clock(today, Some(false)).grade, Grade::Note);
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_a_fault() {
        let place = tempfile::tempdir().expect("a directory");
        assert_ne!(disk(place.path()).grade, Grade::Fault);
        assert_eq!(std::fs::read_dir(place.path()).expect("it is there").count(), 0, "nothing stays");
        let file = place.path().join("file");
        std::fs::write(&file, b"").expect("a file");
        assert_eq!(disk(&file).grade, Grade::Fault);
    }
}
