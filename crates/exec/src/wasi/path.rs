//! The calls on paths: opening, making, linking, renaming, removing.

use tidemill_types::GuestPath;

use super::{
    Call, Descriptor, Fault, Guest, Target,
    abi::{Errno, FileType, Rights, SYMLINK_FOLLOW, fdflags, oflags},
    memory::Memory,
    meter,
    tree::{Body, NodeId},
    walk::{Found, walk},
};

/// A path as a guest passes it: the directory it starts from, and where its text lies.
#[derive(Clone, Copy)]
pub(super) struct PathArg {
    pub(super) fd: u32,
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The arguments of `path_open` besides the path.
#[derive(Clone, Copy)]
pub(super) struct OpenArgs {
    pub(super) lookup: u32,
    pub(super) oflags: u32,
    pub(super) base: u64,
    pub(super) inheriting: u64,
    pub(super) fdflags: u32,
}

impl Guest {
    pub(super) fn path_create_directory(&mut self, memory: &Memory, path: PathArg) -> Call {
        let found = self.find(memory, path, false)?;
        if found.node.is_some() {
            return Err(Errno::Exist.into());
        }
        self.create(&found, Body::directory()).map(|_| ())
    }

    pub(super) fn path_filestat_get(
        &mut self,
        memory: &mut Memory,
        path: PathArg,
        lookup: u32,
        out: u32,
    ) -> Call {
        let node = self.find_existing(memory, path, lookup & SYMLINK_FOLLOW != 0)?;
        Ok(memory.write(out, &self.tree.stat(node).to_bytes())?)
    }

    pub(super) fn path_filestat_set_times(
        &mut self,
        memory: &Memory,
        path: PathArg,
        lookup: u32,
        times: (u64, u64),
        flags: u32,
    ) -> Call {
        let node = self.find_existing(memory, path, lookup & SYMLINK_FOLLOW != 0)?;
        self.set_times(node, times.0, times.1, flags)
    }

    pub(super) fn path_link(&mut self, memory: &Memory, old: PathArg, lookup: u32, new: PathArg) -> Call {
        if lookup & SYMLINK_FOLLOW != 0 {
            // A hard link to what a symbolic link leads to: offered by few systems, needed by none.
            return Err(Errno::Inval.into());
        }
        let from = self.find(memory, old, false)?;
        let node = from.node.ok_or(Errno::Noent)?;
        if from.must_be_directory && !self.tree.is_directory(node) {
            return Err(Errno::Notdir.into());
        }
        let to = self.find(memory, new, false)?;
        if to.node.is_some() {
            return Err(Errno::Exist.into());
        }
        if to.must_be_directory {
            return Err(Errno::Noent.into());
        }
        check_name(&to.name)?;
        self.meter.charge(meter::NODE)?;
        let now = self.now();
        self.tree.link(node, to.parent, &to.name, now)
    }

    pub(super) fn path_open(&mut self, memory: &mut Memory, path: PathArg, args: OpenArgs, out: u32) -> Call {
        let asked = |flag| args.oflags & flag != 0;
        let flags = u16::try_from(args.fdflags).ok().filter(|flags| flags & !fdflags::ALL == 0);
        let flags = flags.ok_or(Errno::Inval)?;
        let Descriptor { base: here, inheriting, .. } = *self.descriptor(path.fd)?;
        let base = Rights(args.base).intersect(inheriting);
        if asked(oflags::CREAT) && asked(oflags::DIRECTORY) {
            return Err(Errno::Inval.into());
        }
        let follow = args.lookup & SYMLINK_FOLLOW != 0 && !(asked(oflags::CREAT) && asked(oflags::EXCL));
        let found = self.find(memory, path, follow)?;
        let node = match found.node {
            Some(_) if asked(oflags::CREAT) && asked(oflags::EXCL) => return Err(Errno::Exist.into()),
            Some(node) => node,
            None if asked(oflags::CREAT) && found.must_be_directory => return Err(Errno::Isdir.into()),
            None if asked(oflags::CREAT) => self.create(&found, Body::File(Vec::new()))?,
            None => return Err(Errno::Noent.into()),
        };
        let kind = self.tree.file_type(node);
        let base = match kind {
            FileType::SymbolicLink => return Err(Errno::Loop.into()),
            FileType::Directory => {
                if asked(oflags::CREAT) || asked(oflags::TRUNC) || Rights(args.base).contains(Rights::WRITE) {
                    return Err(Errno::Isdir.into());
                }
                base.intersect(Rights::DIRECTORY)
            }
            _ if found.must_be_directory || asked(oflags::DIRECTORY) => return Err(Errno::Notdir.into()),
            _ => base.intersect(Rights::FILE),
        };
        if self.tree.is_read_only(node) && kind == FileType::RegularFile {
            // Programs ask for writing by habit of their libraries (`O_RDWR`); say so at once rather than
            // when they write.
            if base.contains(Rights::WRITE) || asked(oflags::TRUNC) {
                return Err(Errno::Rofs.into());
            }
        }
        if asked(oflags::TRUNC) {
            if !here.contains(Rights::PATH_FILESTAT_SET_SIZE) {
                return Err(Errno::Notcapable.into());
            }
            let now = self.now();
            self.tree.resize(node, 0, now)?;
        }
        let inheriting = Rights(args.inheriting).intersect(inheriting);
        let opened = Descriptor { flags, ..Descriptor::new(Target::Node(node), base, inheriting) };
        let fd = self.open(opened)?;
        Ok(memory.write_u32(out, fd)?)
    }

    pub(super) fn path_readlink(
        &mut self,
        memory: &mut Memory,
        path: PathArg,
        buffer: u32,
        len: u32,
        out: u32,
    ) -> Call {
        let node = self.find_existing(memory, path, false)?;
        let Body::Link(target) = self.tree.body(node) else { return Err(Errno::Inval.into()) };
        let take = target.len().min(len as usize);
        memory.write(buffer, &target.as_bytes()[..take])?;
        Ok(memory.write_u32(out, u32::try_from(take).map_err(|_| Errno::Inval)?)?)
    }

    pub(super) fn path_remove_directory(&mut self, memory: &Memory, path: PathArg) -> Call {
        let found = self.find(memory, path, false)?;
        let node = found.node.ok_or(Errno::Noent)?;
        if !self.tree.is_directory(node) {
            return Err(Errno::Notdir.into());
        }
        self.remove(&found)
    }

    pub(super) fn path_unlink_file(&mut self, memory: &Memory, path: PathArg) -> Call {
        let found = self.find(memory, path, false)?;
        let node = found.node.ok_or(Errno::Noent)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Isdir.into());
        }
        if found.must_be_directory {
            return Err(Errno::Notdir.into());
        }
        self.remove(&found)
    }

    pub(super) fn path_rename(&mut self, memory: &Memory, old: PathArg, new: PathArg) -> Call {
        let from = self.find(memory, old, false)?;
        let node = from.node.ok_or(Errno::Noent)?;
        let to = self.find(memory, new, false)?;
        if from.name.is_empty() || to.name.is_empty() {
            return Err(Errno::Inval.into());
        }
        let is_directory = self.tree.is_directory(node);
        if (from.must_be_directory || to.must_be_directory) && !is_directory {
            return Err(Errno::Notdir.into());
        }
        if let Some(target) = to.node {
            match (is_directory, self.tree.is_directory(target)) {
                (true, false) => return Err(Errno::Notdir.into()),
                (false, true) => return Err(Errno::Isdir.into()),
                _ => {}
            }
        }
        check_name(&to.name)?;
        // A directory must not move into itself, and finding out takes a step for each directory above.
        let steps = if is_directory { self.tree.depth(to.parent) } else { 0 };
        self.meter.charge(meter::NODE + steps * meter::ENTRY)?;
        let now = self.now();
        self.tree.rename((from.parent, &from.name), (to.parent, &to.name), now)
    }

    pub(super) fn path_symlink(&mut self, memory: &Memory, target: (u32, u32), path: PathArg) -> Call {
        let target = self.read_path(memory, target.0, target.1)?;
        if target.is_empty() {
            return Err(Errno::Noent.into());
        }
        if target.starts_with('/') {
            return Err(Errno::Perm.into());
        }
        let found = self.find(memory, path, false)?;
        if found.node.is_some() {
            return Err(Errno::Exist.into());
        }
        if found.must_be_directory {
            return Err(Errno::Noent.into());
        }
        self.create(&found, Body::Link(target)).map(|_| ())
    }

    fn create(&mut self, found: &Found, body: Body) -> Call<NodeId> {
        check_name(&found.name)?;
        self.meter.charge(meter::NODE)?;
        let now = self.now();
        self.tree.create(found.parent, &found.name, body, now)
    }

    fn remove(&mut self, found: &Found) -> Call {
        if found.name.is_empty() {
            return Err(Errno::Inval.into());
        }
        self.meter.charge(meter::NODE)?;
        let now = self.now();
        self.tree.remove(found.parent, &found.name, now)
    }

    /// A path's text. Its length is looked at first: the text is copied.
    fn read_path(&mut self, memory: &Memory, start: u32, len: u32) -> Call<String> {
        if len as usize > GuestPath::MAX_BYTES {
            return Err(Errno::Nametoolong.into());
        }
        self.meter.charge(u64::from(len))?;
        Ok(memory.read_text(start, len)?)
    }

    fn find(&mut self, memory: &Memory, path: PathArg, follow: bool) -> Call<Found> {
        let base = self.directory(path.fd)?;
        let text = self.read_path(memory, path.start, path.len)?;
        let mut steps = 0;
        let found = walk(&self.tree, base, &text, follow, &mut steps);
        self.meter.charge(steps * meter::ENTRY)?;
        Ok(found?)
    }

    fn find_existing(&mut self, memory: &Memory, path: PathArg, follow: bool) -> Call<NodeId> {
        let found = self.find(memory, path, follow)?;
        let node = found.node.ok_or(Errno::Noent)?;
        if found.must_be_directory && !self.tree.is_directory(node) {
            return Err(Fault::Errno(Errno::Notdir));
        }
        Ok(node)
    }
}

/// Names that an archive could not carry are refused when they are made, not at the end.
fn check_name(name: &str) -> Call {
    if !name.chars().all(GuestPath::allows) { Err(Errno::Inval.into()) } else { Ok(()) }
}
