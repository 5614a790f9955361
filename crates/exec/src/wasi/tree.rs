//! The file tree of a task, in memory: directories, files, links, and inputs that stay on the host.
//!
//! All that a guest can observe is determined by what it did: entries are sorted by name, inode numbers
//! count up from 1, times come from the caller's virtual clock. What is writable is held to a quota of
//! nodes and bytes; passing it ends the task ([`Fault::Stop`]), so that no program mistakes a full quota
//! for success.

use std::collections::BTreeMap;

use tidemill_types::{ByteSize, Failure, GuestPath, Limits};

use super::{
    Fault,
    abi::{Errno, FileStat, FileType, Times},
};

/// A node's place in the tree's table. Slots are reused; [`Node::inode`] is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NodeId(usize);

/// The root directory.
pub(crate) const ROOT: NodeId = NodeId(0);

/// What a node is.
#[derive(Debug)]
pub(crate) enum Body {
    Directory {
        entries: BTreeMap<String, NodeId>,
        parent: NodeId,
    },
    File(Vec<u8>),
    /// An input by its number in the task's list of inputs, with its length.
    Input {
        index: usize,
        len: u64,
    },
    Link(String),
}

impl Body {
    /// An empty directory. Its parent is set when it gets its name.
    pub(crate) fn directory() -> Self {
        Self::Directory { entries: BTreeMap::new(), parent: ROOT }
    }
}

#[derive(Debug)]
struct Node {
    inode: u64,
    body: Body,
    /// Directory entries that lead here.
    links: u64,
    /// Open file descriptors; a node lives until both this and `links` are 0.
    open: u64,
    times: Times,
    /// Part of the read-only tree: `/` itself and all below `/in`.
    read_only: bool,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    next_inode: u64,
    bytes: u64,
    bytes_limit: ByteSize,
    count: u32,
    count_limit: u32,
}

/// The most hard links to one file.
const MAX_LINKS: u64 = 32_000;

type Result<T> = std::result::Result<T, Fault>;

impl Tree {
    /// A tree with nothing but its root directory.
    pub(crate) fn new(limits: &Limits, now: u64) -> Self {
        let mut tree = Self {
            nodes: Vec::with_capacity(8),
            free: Vec::new(),
            next_inode: 1,
            bytes: 0,
            bytes_limit: limits.output,
            count: 0,
            count_limit: limits.files,
        };
        tree.insert(Body::directory(), now);
        tree.node_mut(ROOT).links = 1;
        tree
    }

    /// Makes a directory that no quota counts, as the host lays out a task's tree.
    pub(crate) fn lay_directory(&mut self, parent: NodeId, name: &str, now: u64) -> NodeId {
        let made = self.insert(Body::directory(), now);
        self.attach(parent, name, made);
        made
    }

    /// Puts an input at a path below `directory`. `Err` when something else is there already.
    pub(crate) fn lay_input(
        &mut self,
        directory: NodeId,
        path: &GuestPath,
        index: usize,
        len: u64,
        now: u64,
    ) -> Result<()> {
        let mut components: Vec<&str> = path.components().collect();
        let Some(name) = components.pop() else { return Err(Errno::Inval.into()) };
        let mut parent = directory;
        for component in components {
            parent = match self.lookup(parent, component) {
                Ok(found) => found,
                Err(Errno::Noent) => self.lay_directory(parent, component, now),
                Err(errno) => return Err(errno.into()),
            };
        }
        match self.lookup(parent, name) {
            Err(Errno::Noent) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Err(Errno::Exist.into()),
        }
        let node = self.insert(Body::Input { index, len }, now);
        self.attach(parent, name, node);
        Ok(())
    }

    /// Marks a directory and all below it as read-only.
    pub(crate) fn protect(&mut self, directory: NodeId) {
        let mut stack = vec![directory];
        while let Some(at) = stack.pop() {
            self.node_mut(at).read_only = true;
            if let Body::Directory { entries, .. } = self.body(at) {
                stack.extend(entries.values().copied());
            }
        }
    }

    /// Marks one directory, not what is below it, as read-only.
    pub(crate) fn protect_entries(&mut self, directory: NodeId) {
        self.node_mut(directory).read_only = true;
    }

    pub(crate) fn body(&self, id: NodeId) -> &Body {
        &self.node(id).body
    }

    /// The entry `name` of a directory. `.` and `..` are not entries here; see [`super::walk`].
    pub(crate) fn lookup(&self, directory: NodeId, name: &str) -> std::result::Result<NodeId, Errno> {
        self.entries(directory)?.get(name).copied().ok_or(Errno::Noent)
    }

    pub(crate) fn entries(&self, id: NodeId) -> std::result::Result<&BTreeMap<String, NodeId>, Errno> {
        match self.body(id) {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(Errno::Notdir),
        }
    }

    /// The directory that holds this directory; the root's is the root.
    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        match self.body(id) {
            Body::Directory { parent, .. } => *parent,
            _ => ROOT,
        }
    }

    pub(crate) fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.body(id), Body::Directory { .. })
    }

    pub(crate) fn file_type(&self, id: NodeId) -> FileType {
        match self.body(id) {
            Body::Directory { .. } => FileType::Directory,
            Body::File(_) | Body::Input { .. } => FileType::RegularFile,
            Body::Link(_) => FileType::SymbolicLink,
        }
    }

    pub(crate) fn size(&self, id: NodeId) -> u64 {
        match self.body(id) {
            Body::Directory { .. } => 0,
            Body::File(bytes) => bytes.len() as u64,
            Body::Input { len, .. } => *len,
            Body::Link(target) => target.len() as u64,
        }
    }

    pub(crate) fn stat(&self, id: NodeId) -> FileStat {
        let node = self.node(id);
        FileStat {
            inode: node.inode,
            file_type: self.file_type(id),
            links: node.links,
            size: self.size(id),
            times: node.times,
        }
    }

    pub(crate) fn inode(&self, id: NodeId) -> u64 {
        self.node(id).inode
    }

    pub(crate) fn is_read_only(&self, id: NodeId) -> bool {
        self.node(id).read_only
    }

    /// Refuses with `EROFS` where nothing may be changed.
    pub(crate) fn check_writable(&self, id: NodeId) -> std::result::Result<(), Errno> {
        if self.node(id).read_only { Err(Errno::Rofs) } else { Ok(()) }
    }

    pub(crate) fn set_times(&mut self, id: NodeId, access: Option<u64>, modification: Option<u64>, now: u64) {
        let times = &mut self.node_mut(id).times;
        times.access = access.unwrap_or(times.access);
        times.modification = modification.unwrap_or(times.modification);
        times.change = now;
    }

    /// Adds a node under a new name. The caller has checked that the name is free.
    pub(crate) fn create(&mut self, directory: NodeId, name: &str, body: Body, now: u64) -> Result<NodeId> {
        self.check_writable(directory)?;
        self.entries(directory)?;
        if self.node(directory).links == 0 {
            // The directory was removed while a descriptor kept it open.
            return Err(Errno::Noent.into());
        }
        if self.count >= self.count_limit {
            return Err(Fault::Stop(Failure::Files { limit: self.count_limit }));
        }
        let text = match &body {
            Body::Link(target) => target.len(),
            _ => 0,
        };
        self.reserve_bytes((text + name.len()) as u64)?;
        let id = self.insert(body, now);
        self.count += 1;
        self.attach(directory, name, id);
        self.touch(directory, now);
        Ok(id)
    }

    /// Gives a file another name.
    pub(crate) fn link(&mut self, node: NodeId, directory: NodeId, name: &str, now: u64) -> Result<()> {
        self.check_writable(directory)?;
        self.check_writable(node)?;
        if self.is_directory(node) {
            return Err(Errno::Perm.into());
        }
        if self.node(directory).links == 0 {
            return Err(Errno::Noent.into());
        }
        if self.node(node).links >= MAX_LINKS {
            return Err(Errno::Mlink.into());
        }
        if self.count >= self.count_limit {
            return Err(Fault::Stop(Failure::Files { limit: self.count_limit }));
        }
        self.reserve_bytes(name.len() as u64)?;
        self.count += 1;
        self.attach(directory, name, node);
        self.touch(directory, now);
        self.node_mut(node).times.change = now;
        Ok(())
    }

    /// Takes an entry out of its directory; the node goes when nothing holds it any more.
    pub(crate) fn remove(&mut self, directory: NodeId, name: &str, now: u64) -> Result<()> {
        self.check_writable(directory)?;
        let id = self.lookup(directory, name)?;
        if self.entries(id).is_ok_and(|entries| !entries.is_empty()) {
            return Err(Errno::Notempty.into());
        }
        self.detach(directory, name, id);
        self.count -= 1;
        self.bytes -= name.len() as u64;
        self.touch(directory, now);
        self.node_mut(id).times.change = now;
        self.release(id);
        Ok(())
    }

    /// Moves an entry, over an entry of the new name if there is one. The caller has checked the kinds.
    pub(crate) fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str), now: u64) -> Result<()> {
        self.check_writable(from.0)?;
        self.check_writable(to.0)?;
        let id = self.lookup(from.0, from.1)?;
        if self.node(to.0).links == 0 {
            return Err(Errno::Noent.into());
        }
        if self.is_directory(id) && self.is_within(to.0, id) {
            return Err(Errno::Inval.into());
        }
        if let Ok(target) = self.lookup(to.0, to.1) {
            if target == id {
                return Ok(());
            }
            self.remove(to.0, to.1, now)?;
        }
        self.bytes -= from.1.len() as u64;
        self.reserve_bytes(to.1.len() as u64)?;
        self.detach(from.0, from.1, id);
        self.attach(to.0, to.1, id);
        self.touch(from.0, now);
        self.touch(to.0, now);
        self.node_mut(id).times.change = now;
        Ok(())
    }

    /// Sets a file's length, with zeros where it grows.
    pub(crate) fn resize(&mut self, id: NodeId, len: u64, now: u64) -> Result<()> {
        self.check_writable(id)?;
        let old = match self.body(id) {
            Body::File(bytes) => bytes.len() as u64,
            Body::Directory { .. } => return Err(Errno::Isdir.into()),
            _ => return Err(Errno::Inval.into()),
        };
        if len > old {
            self.reserve_bytes(len - old)?;
        }
        let target = usize::try_from(len).map_err(|_| Errno::Fbig)?;
        let node = self.node_mut(id);
        if let Body::File(bytes) = &mut node.body {
            bytes.resize(target, 0);
            if len < old / 2 {
                bytes.shrink_to_fit();
            }
        }
        node.times.modification = now;
        node.times.change = now;
        if len < old {
            self.bytes -= old - len;
        }
        Ok(())
    }

    /// Writes at an offset, with zeros in between where the file was shorter.
    pub(crate) fn write(&mut self, id: NodeId, offset: u64, data: &[u8], now: u64) -> Result<()> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::Fbig)?;
        if end > self.size(id) {
            self.resize(id, end, now)?;
        }
        self.check_writable(id)?;
        let node = self.node_mut(id);
        let Body::File(bytes) = &mut node.body else { return Err(Errno::Inval.into()) };
        let start = usize::try_from(offset).map_err(|_| Errno::Fbig)?;
        bytes[start..start + data.len()].copy_from_slice(data);
        node.times.modification = now;
        node.times.change = now;
        Ok(())
    }

    /// Moves a file's bytes out; the file is empty then.
    pub(crate) fn take_file(&mut self, id: NodeId) -> Vec<u8> {
        let Body::File(bytes) = &mut self.node_mut(id).body else { return Vec::new() };
        let bytes = std::mem::take(bytes);
        self.bytes -= bytes.len() as u64;
        bytes
    }

    /// How many bytes a write of `len` at `offset` would add to the file.
    pub(crate) fn growth(&self, id: NodeId, offset: u64, len: u64) -> u64 {
        offset.saturating_add(len).saturating_sub(self.size(id))
    }

    /// One more open descriptor.
    pub(crate) fn opened(&mut self, id: NodeId) {
        self.node_mut(id).open += 1;
    }

    /// One open descriptor less.
    pub(crate) fn closed(&mut self, id: NodeId) {
        self.node_mut(id).open -= 1;
        self.release(id);
    }

    /// Directories from `id` up to the root.
    pub(crate) fn depth(&self, id: NodeId) -> u64 {
        let (mut at, mut depth) = (id, 0);
        while at != ROOT {
            at = self.parent(at);
            depth += 1;
        }
        depth
    }

    /// Whether `id` is `ancestor` or lies below it.
    fn is_within(&self, id: NodeId, ancestor: NodeId) -> bool {
        let mut at = id;
        while at != ancestor {
            if at == ROOT {
                return false;
            }
            at = self.parent(at);
        }
        true
    }

    /// Takes bytes out of the quota, or ends the task.
    pub(crate) fn reserve_bytes(&mut self, more: u64) -> Result<()> {
        self.bytes = self.with_bytes(more)?;
        Ok(())
    }

    /// Ends the task if the quota has no room for so many more bytes. Asked before fuel is taken for
    /// them, so that a task that asks for too much room is not told that it ran out of fuel.
    pub(crate) fn check_room(&self, more: u64) -> Result<()> {
        self.with_bytes(more).map(|_| ())
    }

    fn with_bytes(&self, more: u64) -> Result<u64> {
        let bytes = self.bytes.saturating_add(more);
        let limit = self.bytes_limit;
        if bytes > limit.0 { Err(Fault::Stop(Failure::Output { limit })) } else { Ok(bytes) }
    }

    fn insert(&mut self, body: Body, now: u64) -> NodeId {
        let times = Times { access: now, modification: now, change: now };
        let node = Node { inode: self.next_inode, body, links: 0, open: 0, times, read_only: false };
        self.next_inode += 1;
        match self.free.pop() {
            Some(slot) => {
                self.nodes[slot] = Some(node);
                NodeId(slot)
            }
            None => {
                self.nodes.push(Some(node));
                NodeId(self.nodes.len() - 1)
            }
        }
    }

    fn attach(&mut self, directory: NodeId, name: &str, id: NodeId) {
        if let Body::Directory { entries, .. } = &mut self.node_mut(directory).body {
            entries.insert(name.to_owned(), id);
        }
        if let Body::Directory { parent, .. } = &mut self.node_mut(id).body {
            *parent = directory;
        }
        self.node_mut(id).links += 1;
    }

    fn detach(&mut self, directory: NodeId, name: &str, id: NodeId) {
        if let Body::Directory { entries, .. } = &mut self.node_mut(directory).body {
            entries.remove(name);
        }
        let node = self.node_mut(id);
        node.links -= 1;
        if let Body::Directory { parent, .. } = &mut node.body {
            // The old parent may go before this directory's last descriptor does; the root never goes.
            *parent = ROOT;
        }
    }

    fn touch(&mut self, directory: NodeId, now: u64) {
        let times = &mut self.node_mut(directory).times;
        times.modification = now;
        times.change = now;
    }

    /// Frees a node that no entry and no descriptor holds.
    fn release(&mut self, id: NodeId) {
        let node = self.node(id);
        if node.links > 0 || node.open > 0 {
            return;
        }
        self.bytes -= match &node.body {
            Body::File(bytes) => bytes.len() as u64,
            Body::Link(target) => target.len() as u64,
            _ => 0,
        };
        self.nodes[id.0] = None;
        self.free.push(id.0);
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.0]
            .as_ref()
            .expect("a NodeId is only held while an entry or a descriptor holds the node")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0]
            .as_mut()
            .expect("a NodeId is only held while an entry or a descriptor holds the node")
    }
}
