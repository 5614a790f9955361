//! Arguments, environment, clock, randomness, waiting, ending; and sockets, of which there are none.

use tidemill_types::{Failure, Seed, TrapKind};

use super::{
    Call, Fault, Guest, Target,
    abi::{CLOCK_ABSTIME, EVENT_BYTES, Errno, SUBSCRIPTION_BYTES, clock, eventtype},
    memory::Memory,
};

/// A clock that is the same on every machine: it begins at a fixed moment, and advances by a nanosecond
/// for each unit of fuel burnt and by the time slept. So programs that measure themselves see time pass,
/// loops that wait for a time end, and sleeping takes no real time.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    slept: u64,
}

/// When every task begins: 2026-01-01T00:00:00Z, in nanoseconds since 1970.
const EPOCH: u64 = 1_767_225_600_000_000_000;

impl Clock {
    pub(crate) fn monotonic(&self, fuel_used: u64) -> u64 {
        self.slept.saturating_add(fuel_used)
    }

    pub(crate) fn realtime(&self, fuel_used: u64) -> u64 {
        EPOCH.saturating_add(self.monotonic(fuel_used))
    }
}

/// Events that one call may wait for: more than there can be descriptors, and a bound on what the host
/// keeps for the call.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// The task's random stream: BLAKE3 keyed by the task's seed, in its extendable-output mode.
pub(crate) struct Random(Box<blake3::OutputReader>);

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(Box::new(blake3::Hasher::new_keyed(&seed.0).finalize_xof()))
    }
}

/// One subscription of `poll_oneoff`.
struct Subscription {
    userdata: u64,
    kind: u8,
    event: Event,
}

/// What a subscription waits for.
enum Event {
    /// The monotonic time at which it comes.
    At(u64),
    /// It is there: bytes that can be moved.
    Ready(u64),
    /// It can never come.
    Wrong(Errno),
}

impl Guest {
    pub(super) fn args_get(&mut self, memory: &mut Memory, pointers: u32, buffer: u32) -> Call {
        let spec = self.spec.clone();
        self.write_strings(memory, &spec.args, pointers, buffer)
    }

    pub(super) fn args_sizes_get(&mut self, memory: &mut Memory, count: u32, bytes: u32) -> Call {
        write_sizes(memory, &self.spec.args, count, bytes)
    }

    pub(super) fn environ_get(&mut self, memory: &mut Memory, pointers: u32, buffer: u32) -> Call {
        let strings = std::mem::take(&mut self.environment);
        let result = self.write_strings(memory, &strings, pointers, buffer);
        self.environment = strings;
        result
    }

    pub(super) fn environ_sizes_get(&mut self, memory: &mut Memory, count: u32, bytes: u32) -> Call {
        write_sizes(memory, &self.environment, count, bytes)
    }

    fn write_strings(
        &mut self,
        memory: &mut Memory,
        strings: &[String],
        mut pointer: u32,
        mut buffer: u32,
    ) -> Call {
        for string in strings {
            self.meter.charge(string.len() as u64)?;
            memory.write_u32(pointer, buffer)?;
            memory.write(buffer, string.as_bytes())?;
            let end = u32::try_from(string.len()).ok().and_then(|len| buffer.checked_add(len));
            let end = end.ok_or(Errno::Fault)?;
            memory.write(end, &[0])?;
            buffer = end.checked_add(1).ok_or(Errno::Fault)?;
            pointer = pointer.checked_add(4).ok_or(Errno::Fault)?;
        }
        Ok(())
    }

    pub(super) fn clock_res_get(&mut self, memory: &mut Memory, id: u32, out: u32) -> Call {
        if id > clock::THREAD_CPUTIME {
            return Err(Errno::Inval.into());
        }
        Ok(memory.write_u64(out, 1)?)
    }

    pub(super) fn clock_time_get(&mut self, memory: &mut Memory, id: u32, out: u32) -> Call {
        let used = self.meter.used();
        let time = match id {
            clock::REALTIME => self.clock.realtime(used),
            clock::MONOTONIC => self.clock.monotonic(used),
            clock::PROCESS_CPUTIME | clock::THREAD_CPUTIME => used,
            _ => return Err(Errno::Inval.into()),
        };
        Ok(memory.write_u64(out, time)?)
    }

    pub(super) fn random_get(&mut self, memory: &mut Memory, buffer: u32, len: u32) -> Call {
        self.meter.charge(u64::from(len))?;
        self.random.0.fill(memory.slice_mut(buffer, len)?);
        Ok(())
    }

    /// Waits for the first of several events. What can be read or written is always ready; otherwise the
    /// clock jumps to the earliest time waited for.
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut Memory,
        list: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> Call {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        let table = count.checked_mul(SUBSCRIPTION_BYTES).ok_or(Errno::Fault)?;
        memory.slice(list, table)?;
        memory.slice(events, count.checked_mul(EVENT_BYTES).ok_or(Errno::Fault)?)?;
        self.meter.charge(u64::from(count) * u64::from(SUBSCRIPTION_BYTES + EVENT_BYTES))?;
        let subscriptions = (0..count)
            .map(|i| self.read_subscription(memory, list + i * SUBSCRIPTION_BYTES))
            .collect::<Call<Vec<_>>>()?;
        let some_ready = subscriptions.iter().any(|s| !matches!(s.event, Event::At(_)));
        let times = subscriptions.iter().filter_map(|s| match s.event {
            Event::At(time) => Some(time),
            _ => None,
        });
        if !some_ready && let Some(first) = times.min() {
            let now = self.clock.monotonic(self.meter.used());
            self.clock.slept = self.clock.slept.saturating_add(first.saturating_sub(now));
        }
        let now = self.clock.monotonic(self.meter.used());
        let mut written = 0;
        for subscription in subscriptions {
            let (errno, bytes) = match subscription.event {
                Event::At(time) if time > now => continue,
                Event::At(_) => (0, 0),
                Event::Ready(bytes) => (0, bytes),
                Event::Wrong(errno) => (errno as u16, 0),
            };
            let mut event = [0; EVENT_BYTES as usize];
            event[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
            event[8..10].copy_from_slice(&errno.to_le_bytes());
            event[10] = subscription.kind;
            event[16..24].copy_from_slice(&bytes.to_le_bytes());
            memory.write(events + written * EVENT_BYTES, &event)?;
            written += 1;
        }
        Ok(memory.write_u32(out, written)?)
    }

    fn read_subscription(&self, memory: &Memory, at: u32) -> Call<Subscription> {
        let userdata = memory.read_u64(at)?;
        let kind = memory.read_u8(at + 8)?;
        let event = match kind {
            eventtype::CLOCK => {
                let id = memory.read_u32(at + 16)?;
                let timeout = memory.read_u64(at + 24)?;
                let absolute = memory.read_u16(at + 40)? & CLOCK_ABSTIME != 0;
                let now = self.clock.monotonic(self.meter.used());
                match (id, absolute) {
                    (clock::REALTIME | clock::MONOTONIC, false) => Event::At(now.saturating_add(timeout)),
                    (clock::MONOTONIC, true) => Event::At(timeout),
                    (clock::REALTIME, true) => Event::At(timeout.saturating_sub(EPOCH)),
                    _ => Event::Wrong(Errno::Notsup),
                }
            }
            eventtype::FD_READ | eventtype::FD_WRITE => {
                let fd = memory.read_u32(at + 16)?;
                match self.descriptor(fd) {
                    Err(_) => Event::Wrong(Errno::Badf),
                    Ok(descriptor) => match descriptor.target {
                        Target::Node(node) if kind == eventtype::FD_READ => {
                            Event::Ready(self.tree.size(node).saturating_sub(descriptor.offset))
                        }
                        _ => Event::Ready(0),
                    },
                }
            }
            _ => return Err(Errno::Inval.into()),
        };
        Ok(Subscription { userdata, kind, event })
    }

    pub(super) fn proc_raise(&mut self, signal: u32) -> Call {
        Err(Fault::Stop(Failure::Trap {
            kind: TrapKind::Unreachable,
            detail: format!("the program raised signal {signal}"),
            backtrace: Vec::new(),
            stderr: self.log_tail(),
        }))
    }

    /// Any call on a socket: no descriptor is one.
    pub(super) fn sock_call(&mut self, fd: u32) -> Call {
        self.descriptor(fd)?;
        Err(Errno::Notsock.into())
    }
}

fn write_sizes(memory: &mut Memory, strings: &[String], count: u32, bytes: u32) -> Call {
    let total: usize = strings.iter().map(|string| string.len() + 1).sum();
    memory.write_u32(count, u32::try_from(strings.len()).map_err(|_| Errno::Inval)?)?;
    Ok(memory.write_u32(bytes, u32::try_from(total).map_err(|_| Errno::Inval)?)?)
}
