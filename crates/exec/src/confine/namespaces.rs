//! Namespaces of the worker's own, as far as the kernel gives them to someone who is not root.

use rustix::{
    io,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    process::{chdir, chroot, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{Confinement, Measure};

/// Moves this process into new namespaces, one by one, so that one which is refused costs none of the others.
/// The user namespace comes first, since it is what lets anyone have the others. Its process namespace is that of the
/// children of this process.
pub(super) fn leave(confinement: &mut Confinement) {
    confinement.note(Measure::User, unshare(UnshareFlags::NEWUSER));
    confinement.note(Measure::EmptyRoot, unshare(UnshareFlags::NEWNS).and_then(|()| empty_root()));
    confinement.note(Measure::Network, unshare(UnshareFlags::NEWNET));
    confinement.note(Measure::Ipc, unshare(UnshareFlags::NEWIPC));
    confinement.note(Measure::Processes, unshare(UnshareFlags::NEWPID));
    // The machine's name and its control groups are no secret worth a line.
    let _ = unshare(UnshareFlags::NEWUTS);
    let _ = unshare(UnshareFlags::NEWCGROUP);
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptors stay shared: `FILES` is never among the flags.
    unsafe { unshare_unsafe(flags) }
}

/// Makes an empty directory that cannot be written to the root of all, and lets go of the machine's.
fn empty_root() -> io::Result<()> {
    /// Any directory that is there does: what is mounted on it hides it, and is then all that there is.
    const PLACES: [&str; 3] = ["/proc", "/tmp", "/usr"];
    // Nothing that is mounted here shall appear in the namespace that this one was copied from.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut mounted = Err(io::Errno::NOENT);
    for place in PLACES {
        mounted = mount("tmpfs", place, "tmpfs", flags, c"size=4k,nr_inodes=2,mode=555").map(|()| place);
        if mounted.is_ok() {
            break;
        }
    }
    chdir(mounted?)?;
    // The old root is put on top of the new one, and taken off. Where a system runs from its first root, which cannot be
    // moved, it is left where nothing leads to: there is no descriptor of a directory, and no call that opens one.
    if pivot_root(".", ".").is_ok() {
        unmount(".", UnmountFlags::DETACH)?;
    } else {
        chroot(".")?;
    }
    chdir("/")
}
