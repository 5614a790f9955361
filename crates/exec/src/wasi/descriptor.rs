//! The calls on open descriptors: reading, writing, seeking, attributes.

use super::{
    Call, Descriptor, Fault, Guest, MAX_DESCRIPTORS, Target,
    abi::{Errno, FdStat, FileStat, FileType, Rights, Times, fdflags, fstflags},
    memory::{Buffer, Memory},
    tree::Body,
};
use tidemill_types::Failure;

impl Guest {
    pub(super) fn fd_advise(&mut self, fd: u32, advice: u32) -> Call {
        const ADVICES: u32 = 6;
        let node = self.node(fd)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Badf.into());
        }
        if advice < ADVICES { Ok(()) } else { Err(Errno::Inval.into()) }
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Call {
        let node = self.writable_file(fd)?;
        if len == 0 {
            return Err(Errno::Inval.into());
        }
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        let growth = self.tree.growth(node, offset, len);
        self.tree.check_room(growth)?;
        self.meter.charge(growth)?;
        if growth > 0 {
            let now = self.now();
            self.tree.resize(node, end, now)?;
        }
        Ok(())
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Call {
        self.descriptor(fd)?;
        let closed = self.descriptors[fd as usize].take();
        if let Some(descriptor) = closed {
            self.forget_listing(descriptor.listing);
            if let Target::Node(node) = descriptor.target {
                self.tree.closed(node);
            }
        }
        Ok(())
    }

    /// `fd_sync` and `fd_datasync`: what is in memory is as safe as it will be.
    pub(super) fn fd_sync(&mut self, fd: u32) -> Call {
        self.descriptor(fd).map(|_| ())
    }

    pub(super) fn fd_fdstat_get(&mut self, memory: &mut Memory, fd: u32, out: u32) -> Call {
        let descriptor = self.descriptor(fd)?;
        let stat = FdStat {
            file_type: self.file_type(descriptor.target),
            flags: descriptor.flags,
            base: descriptor.base,
            inheriting: descriptor.inheriting,
        };
        Ok(memory.write(out, &stat.to_bytes())?)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Call {
        let flags = u16::try_from(flags).map_err(|_| Errno::Inval)?;
        if flags & !fdflags::ALL != 0 {
            return Err(Errno::Inval.into());
        }
        self.descriptor_mut(fd)?.flags = flags;
        Ok(())
    }

    /// Rights can be given up, never gained.
    pub(super) fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Call {
        let descriptor = self.descriptor_mut(fd)?;
        let (base, inheriting) = (Rights(base), Rights(inheriting));
        if !descriptor.base.contains(base) || !descriptor.inheriting.contains(inheriting) {
            return Err(Errno::Notcapable.into());
        }
        descriptor.base = base;
        descriptor.inheriting = inheriting;
        Ok(())
    }

    pub(super) fn fd_filestat_get(&mut self, memory: &mut Memory, fd: u32, out: u32) -> Call {
        let stat = match self.descriptor(fd)?.target {
            Target::Node(node) => self.tree.stat(node),
            stream => FileStat {
                inode: 0,
                file_type: self.file_type(stream),
                links: 1,
                size: 0,
                times: Times { access: 0, modification: 0, change: 0 },
            },
        };
        Ok(memory.write(out, &stat.to_bytes())?)
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Call {
        let node = self.writable_file(fd)?;
        let growth = self.tree.growth(node, size, 0);
        self.tree.check_room(growth)?;
        self.meter.charge(growth)?;
        let now = self.now();
        self.tree.resize(node, size, now)
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        access: u64,
        modification: u64,
        flags: u32,
    ) -> Call {
        let node = self.node(fd)?;
        self.set_times(node, access, modification, flags)
    }

    pub(super) fn set_times(
        &mut self,
        node: super::tree::NodeId,
        access: u64,
        modification: u64,
        flags: u32,
    ) -> Call {
        use fstflags::{ALL, ATIM, ATIM_NOW, MTIM, MTIM_NOW};
        let both = |a, b| flags & a != 0 && flags & b != 0;
        if flags & !ALL != 0 || both(ATIM, ATIM_NOW) || both(MTIM, MTIM_NOW) {
            return Err(Errno::Inval.into());
        }
        self.tree.check_writable(node)?;
        let now = self.now();
        let pick = |given, set: u32, set_now: u32| match () {
            () if flags & set != 0 => Some(given),
            () if flags & set_now != 0 => Some(now),
            () => None,
        };
        let times = (pick(access, ATIM, ATIM_NOW), pick(modification, MTIM, MTIM_NOW));
        self.tree.set_times(node, times.0, times.1, now);
        Ok(())
    }

    pub(super) fn fd_read(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, out: u32) -> Call {
        let buffers = self.buffers(memory, list, count)?;
        let descriptor = self.permitted(fd, Rights::READ)?;
        let (target, offset) = (descriptor.target, descriptor.offset);
        let read = match target {
            Target::Stdin => 0,
            Target::Stdout | Target::Stderr => return Err(Errno::Badf.into()),
            Target::Node(_) => self.read_at(memory, fd, &buffers, offset)?,
        };
        memory.write_u32(out, read)?;
        self.descriptor_mut(fd)?.offset = offset.saturating_add(u64::from(read));
        Ok(())
    }

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Call {
        let buffers = self.buffers(memory, list, count)?;
        self.permitted(fd, Rights::READ)?;
        let read = self.read_at(memory, fd, &buffers, offset)?;
        Ok(memory.write_u32(out, read)?)
    }

    pub(super) fn fd_write(&mut self, memory: &mut Memory, fd: u32, list: u32, count: u32, out: u32) -> Call {
        let buffers = self.buffers(memory, list, count)?;
        let descriptor = self.permitted(fd, Rights::WRITE)?;
        let target = descriptor.target;
        let offset = self.write_offset(descriptor, descriptor.offset);
        let written = match target {
            Target::Stdin => return Err(Errno::Badf.into()),
            Target::Stdout | Target::Stderr => self.write_stream(memory, target, &buffers)?,
            Target::Node(_) => self.write_at(memory, fd, &buffers, offset)?,
        };
        memory.write_u32(out, written)?;
        self.descriptor_mut(fd)?.offset = offset.saturating_add(u64::from(written));
        Ok(())
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Call {
        let buffers = self.buffers(memory, list, count)?;
        let offset = self.write_offset(self.permitted(fd, Rights::WRITE)?, offset);
        let written = self.write_at(memory, fd, &buffers, offset)?;
        Ok(memory.write_u32(out, written)?)
    }

    pub(super) fn fd_seek(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        offset: i64,
        whence: u32,
        out: u32,
    ) -> Call {
        let node = self.node(fd)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Badf.into());
        }
        let from = match whence {
            0 => 0,
            1 => self.descriptor(fd)?.offset,
            2 => self.tree.size(node),
            _ => return Err(Errno::Inval.into()),
        };
        let to = from.checked_add_signed(offset).filter(|to| i64::try_from(*to).is_ok());
        let to = to.ok_or(Errno::Inval)?;
        memory.write_u64(out, to)?;
        self.descriptor_mut(fd)?.offset = to;
        Ok(())
    }

    pub(super) fn fd_tell(&mut self, memory: &mut Memory, fd: u32, out: u32) -> Call {
        let node = self.node(fd)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Badf.into());
        }
        Ok(memory.write_u64(out, self.descriptor(fd)?.offset)?)
    }

    /// Moves a descriptor to another number, closing what was there.
    pub(super) fn fd_renumber(&mut self, from: u32, to: u32) -> Call {
        self.descriptor(from)?;
        self.descriptor(to)?;
        if from != to {
            self.fd_close(to)?;
            self.descriptors[to as usize] = self.descriptors[from as usize].take();
        }
        Ok(())
    }

    pub(super) fn fd_prestat_get(&mut self, memory: &mut Memory, fd: u32, out: u32) -> Call {
        let name = self.descriptor(fd)?.preopen.as_ref().ok_or(Errno::Badf)?;
        let len = u32::try_from(name.len()).map_err(|_| Errno::Nametoolong)?;
        memory.write_u32(out, 0)?;
        Ok(memory.write_u32(out.wrapping_add(4), len)?)
    }

    pub(super) fn fd_prestat_dir_name(&mut self, memory: &mut Memory, fd: u32, out: u32, len: u32) -> Call {
        let name = self.descriptor(fd)?.preopen.as_ref().ok_or(Errno::Badf)?;
        if (len as usize) < name.len() {
            return Err(Errno::Nametoolong.into());
        }
        Ok(memory.write(out, name.as_bytes())?)
    }

    /// Puts a descriptor into the lowest free number.
    pub(super) fn open(&mut self, descriptor: Descriptor) -> Call<u32> {
        let free = self.descriptors.iter().position(Option::is_none);
        let fd = free.unwrap_or(self.descriptors.len());
        if fd >= MAX_DESCRIPTORS {
            return Err(Errno::Mfile.into());
        }
        if let Target::Node(node) = descriptor.target {
            self.tree.opened(node);
        }
        if fd == self.descriptors.len() {
            self.descriptors.push(None);
        }
        self.descriptors[fd] = Some(descriptor);
        Ok(u32::try_from(fd).expect("descriptors are few"))
    }

    fn buffers(&mut self, memory: &Memory, list: u32, count: u32) -> Call<Vec<Buffer>> {
        self.meter.charge(u64::from(count))?;
        Ok(memory.read_buffers(list, count)?)
    }

    /// The descriptor, if it has this right.
    fn permitted(&self, fd: u32, right: Rights) -> Call<&Descriptor> {
        let descriptor = self.descriptor(fd)?;
        if descriptor.base.contains(right) { Ok(descriptor) } else { Err(Errno::Notcapable.into()) }
    }

    /// Where a write goes that was asked for at `asked`: a file open for appending appends, also when the
    /// write is a positioned one, as in Linux.
    fn write_offset(&self, descriptor: &Descriptor, asked: u64) -> u64 {
        match descriptor.target {
            Target::Node(node) if descriptor.flags & fdflags::APPEND != 0 => self.tree.size(node),
            _ => asked,
        }
    }

    /// A regular file that this descriptor may change.
    fn writable_file(&self, fd: u32) -> Call<super::tree::NodeId> {
        let node = self.node(fd)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Badf.into());
        }
        self.permitted(fd, Rights::WRITE)?;
        self.tree.check_writable(node)?;
        Ok(node)
    }

    fn read_at(&mut self, memory: &mut Memory, fd: u32, buffers: &[Buffer], offset: u64) -> Call<u32> {
        let node = self.node(fd)?;
        if self.tree.file_type(node) != FileType::RegularFile {
            return Err(Errno::Isdir.into());
        }
        let available = self.tree.size(node).saturating_sub(offset);
        let mut done = 0u64;
        for buffer in buffers {
            let len = u64::from(buffer.len).min(available - done).min(u64::from(u32::MAX) - done);
            if len == 0 {
                continue;
            }
            self.meter.charge(len)?;
            let target = memory.slice_mut(buffer.start, u32::try_from(len).map_err(|_| Errno::Inval)?)?;
            let at = offset + done;
            match self.tree.body(node) {
                Body::File(bytes) => {
                    let from = usize::try_from(at).map_err(|_| Errno::Inval)?;
                    target.copy_from_slice(&bytes[from..from + target.len()]);
                }
                Body::Input { index, .. } => {
                    self.inputs.read(*index, at, target).map_err(Fault::Stop)?;
                    self.meter.read += len;
                }
                _ => return Err(Errno::Inval.into()),
            }
            done += len;
        }
        u32::try_from(done).map_err(|_| Errno::Inval.into())
    }

    fn write_at(&mut self, memory: &Memory, fd: u32, buffers: &[Buffer], offset: u64) -> Call<u32> {
        let node = self.node(fd)?;
        if self.tree.is_directory(node) {
            return Err(Errno::Isdir.into());
        }
        let now = self.now();
        let mut done = 0u64;
        for buffer in buffers {
            let len = u64::from(buffer.len).min(u64::from(u32::MAX) - done);
            if len == 0 {
                continue;
            }
            let at = offset.checked_add(done).ok_or(Errno::Fbig)?;
            // What lies between the old end and this write is filled with zeros, and paid for.
            let growth = self.tree.growth(node, at, len);
            self.tree.check_room(growth)?;
            self.meter.charge(len.max(growth))?;
            let data = memory.slice(buffer.start, u32::try_from(len).map_err(|_| Errno::Inval)?)?;
            self.tree.write(node, at, data, now)?;
            done += len;
        }
        u32::try_from(done).map_err(|_| Errno::Inval.into())
    }

    fn write_stream(&mut self, memory: &Memory, target: Target, buffers: &[Buffer]) -> Call<u32> {
        let mut done = 0u32;
        for buffer in buffers {
            let Some(sum) = done.checked_add(buffer.len) else { break };
            self.meter.charge(u64::from(buffer.len))?;
            let data = memory.slice(buffer.start, buffer.len)?;
            if target == Target::Stdout {
                self.tree.reserve_bytes(data.len() as u64)?;
                self.stdout.extend(data);
            } else {
                let limit = self.spec.limits.log;
                let room = limit.0.saturating_sub(self.log.len() as u64);
                if data.len() as u64 > room {
                    let room = usize::try_from(room).unwrap_or(usize::MAX);
                    self.log.extend_from_slice(&data[..room]);
                    return Err(Fault::Stop(Failure::Log { limit }));
                }
                self.log.extend_from_slice(data);
            }
            done = sum;
        }
        Ok(done)
    }
}
