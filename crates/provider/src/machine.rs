//! What this machine has for programs: memory, processors, disk.
//!
//! A container, a batch system or systemd gives a process less than the machine has, by control groups. Their limits
//! stand in files of the group that the process is in and of all groups above it, and the least of them counts. There
//! are two versions of control groups, and a machine may have both.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use tidemill_types::ByteSize;

/// The room that is free for this user on the disk of a folder.
///
/// # Errors
/// When the folder is not there or its file system does not say.
pub fn disk_free(folder: &Path) -> io::Result<ByteSize> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(ByteSize(found.f_bavail.saturating_mul(found.f_frsize)))
}

/// The memory that programs can have now: what the system could free, or what is left to this process's control groups
/// where that is less. `None` where the system does not say.
pub fn memory_available() -> Option<ByteSize> {
    System::this().memory_available().map(ByteSize)
}

/// How many processors' time the control groups of this process allow it, if they limit that. It need not be whole.
pub fn processor_quota() -> Option<f64> {
    System::this().processor_quota()
}

/// A system's files; those of tests are below a directory.
struct System {
    root: PathBuf,
}

/// A kind of limit, by the names that both versions of control groups have for it.
struct Controller {
    /// The name of the hierarchy of version 1.
    name: &'static str,
}

const MEMORY: Controller = Controller { name: "memory" };
const CPU: Controller = Controller { name: "cpu" };

/// Version 1 writes a number near the largest one where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

impl System {
    fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = path.as_ref();
        fs::read_to_string(self.root.join(path.strip_prefix("/").unwrap_or(path))).ok()
    }

    fn memory_available(&self) -> Option<u64> {
        let system = parse_available(&self.read("/proc/meminfo")?)?;
        let groups = self.groups(&MEMORY).into_iter().filter_map(|group| self.memory_left(&group));
        Some(groups.fold(system, u64::min))
    }

    /// What a group may still use, without the file cache that the kernel would drop first.
    fn memory_left(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| self.read(group.join(name))?.trim().parse::<u64>().ok();
        let cached = |name: &str| {
            let stat = self.read(group.join("memory.stat"))?;
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            line.trim().parse::<u64>().ok()
        };
        let (limit, used, cache) = match number("memory.max") {
            Some(limit) => (limit, number("memory.current")?, cached("inactive_file")),
            None => {
                let limit = number("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT)?;
                (limit, number("memory.usage_in_bytes")?, cached("total_inactive_file"))
            }
        };
        Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
    }

    fn processor_quota(&self) -> Option<f64> {
        self.groups(&CPU).into_iter().filter_map(|group| self.quota(&group)).reduce(f64::min)
    }

    /// Processor time over the period that it is for.
    fn quota(&self, group: &Path) -> Option<f64> {
        let (quota, period) = match self.read(group.join("cpu.max")) {
            Some(both) => {
                let (quota, period) = both.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
            None => (self.read(group.join("cpu.cfs_quota_us"))?, self.read(group.join("cpu.cfs_period_us"))?),
        };
        // `max` and -1 are no limit.
        let quota = quota.trim().parse::<u32>().ok()?;
        let period = period.trim().parse::<u32>().ok().filter(|period| *period > 0)?;
        Some(f64::from(quota) / f64::from(period))
    }

    /// The directories of this process's group and of those above it, in each hierarchy that may have the limit.
    fn groups(&self, controller: &Controller) -> Vec<PathBuf> {
        let (Some(groups), Some(mounts)) =
            (self.read("/proc/self/cgroup"), self.read("/proc/self/mountinfo"))
        else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for line in groups.lines() {
            // `4:memory:/a/b`, or of version 2 `0::/a/b`.
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
            let is_second = controllers.is_empty();
            if !is_second && !controllers.split(',').any(|name| name == controller.name) {
                continue;
            }
            let mount = mounts.lines().filter_map(Mount::parse).find(|mount| {
                if is_second { mount.kind == "cgroup2" } else { mount.is_first_of(controller.name) }
            });
            let Some(mount) = mount else { continue };
            // In a container the mount may show a part of the hierarchy, with the container's group as its root.
            let below = Path::new(group).strip_prefix(mount.root).unwrap_or(Path::new(""));
            let is_within = below.components().all(|part| matches!(part, Component::Normal(_)));
            let below = if is_within { below } else { Path::new("") };
            found.extend(below.ancestors().map(|below| Path::new(mount.place).join(below)));
        }
        found
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// Which directory of the mounted file system is shown.
    root: &'a str,
    /// Where.
    place: &'a str,
    kind: &'a str,
    /// The options of the file system: of control groups of version 1, their controllers.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        let (root, place) = (mount.next()?, mount.next()?);
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some(Self { root, place, kind, options })
    }

    fn is_first_of(&self, controller: &str) -> bool {
        self.kind == "cgroup" && self.options.split(',').any(|option| option == controller)
    }
}

fn parse_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn system(files: &[(&str, &str)]) -> (TempDir, System) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let meminfo = ("proc/meminfo", "MemTotal: 24 kB\nMemAvailable:   20971520 kB\n");
        for (name, text) in [meminfo].iter().chain(files) {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let root = directory.path().to_owned();
        (directory, System { root })
    }

    const SECOND: &str = "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn what_the_system_says_of_memory_is_read() {
        let text = "MemTotal:       24689764 kB\nMemAvailable:   23068672 kB\nBuffers: 4 kB\n";
        assert_eq!(parse_available(text), Some(22 << 30));
        assert_eq!(parse_available("MemFree: 7 kB\n"), None);
        assert!(disk_free(Path::new("/")).is_ok());
        assert!(disk_free(Path::new("/no such folder")).is_err());
    }

    #[test]
    fn without_groups_the_machine_counts() {
        let (_directory, system) = system(&[]);
        assert_eq!(system.memory_available(), Some(20 * GIB));
        assert_eq!(system.processor_quota(), None);
        assert!(memory_available().is_some_and(|memory| memory.0 > 0), "of this machine");
    }

    #[test]
    fn the_least_of_nested_groups_counts() {
        let slice = "sys/fs/cgroup/user.slice";
        let (_directory, system) = system(&[
            ("proc/self/cgroup", "0::/user.slice/app.scope\n"),
            ("proc/self/mountinfo", SECOND),
            (&format!("{slice}/memory.max"), "2147483648\n"),
            (&format!("{slice}/memory.current"), "1073741824\n"),
            (&format!("{slice}/memory.stat"), "anon 1\ninactive_file 536870912\nactive_file 5\n"),
            (&format!("{slice}/app.scope/memory.max"), "max\n"),
            (&format!("{slice}/app.scope/memory.current"), "1\n"),
            (&format!("{slice}/cpu.max"), "max 100000\n"),
            (&format!("{slice}/app.scope/cpu.max"), "50000 100000\n"),
        ]);
        assert_eq!(system.memory_available(), Some(GIB + GIB / 2));
        assert_eq!(system.processor_quota(), Some(0.5));
    }

    #[test]
    fn groups_of_the_first_version_count_too() {
        let mounts = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let memory = "sys/fs/cgroup/memory";
        let cpu = "sys/fs/cgroup/cpu,cpuacct";
        let (_directory, system) = system(&[
            ("proc/self/cgroup", "4:memory:/docker/ab\n1:cpu,cpuacct:/batch\n0::/\n"),
            ("proc/self/mountinfo", mounts),
            (&format!("{memory}/memory.limit_in_bytes"), "1073741824\n"),
            (&format!("{memory}/memory.usage_in_bytes"), "1048576\n"),
            (&format!("{memory}/memory.stat"), "total_inactive_file 0\n"),
            (&format!("{cpu}/cpu.cfs_quota_us"), "-1\n"),
            (&format!("{cpu}/cpu.cfs_period_us"), "100000\n"),
            (&format!("{cpu}/batch/cpu.cfs_quota_us"), "150000\n"),
            (&format!("{cpu}/batch/cpu.cfs_period_us"), "100000\n"),
        ]);
        assert_eq!(system.memory_available(), Some(GIB - (1 << 20)));
        assert_eq!(system.processor_quota(), Some(1.5));
    }

    #[test]
    fn no_limit_of_the_first_version_is_none() {
        let (_directory, system) = system(&[
            ("proc/self/cgroup", "4:memory:/../outside\n"),
            ("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
        ]);
        assert_eq!(system.memory_available(), Some(20 * GIB));
    }
}
