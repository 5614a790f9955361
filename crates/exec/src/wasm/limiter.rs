//! Holds a task's memories and tables to their limits, and remembers the most memory it had.

use tidemill_types::{ByteSize, Failure, Limits};
use wasmtime::ResourceLimiter;

use crate::wasi::link::Ended;

/// The limiter of one task. Growing past a limit ends the task with the limit's own failure: a program
/// that were only told that it got nothing would most often end in a puzzling trap.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: ByteSize,
    tables: u32,
    peak: u64,
    /// Elements of all tables so far.
    elements: u64,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory: limits.memory, tables: limits.table_elements, peak: 0, elements: 0 }
    }

    pub(crate) fn peak(&self) -> ByteSize {
        ByteSize(self.peak)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let desired = desired as u64;
        if maximum.is_some_and(|maximum| desired > maximum as u64) {
            // The module's own declared maximum: by WebAssembly's rules the program is told.
            return Ok(false);
        }
        if desired > self.memory.0 {
            let failure = Failure::Memory { wanted: ByteSize(desired), limit: self.memory };
            return Err(Ended::Stopped(failure).into());
        }
        self.peak = self.peak.max(desired);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        host_trouble("memory", &error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A table without a maximum of its own is given the pool's.
        let declared = maximum.filter(|maximum| *maximum < Limits::MOST.table_elements as usize);
        if declared.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = self.elements + desired.saturating_sub(current) as u64;
        if wanted > u64::from(self.tables) {
            let failure = Failure::Table { wanted, limit: self.tables };
            return Err(Ended::Stopped(failure).into());
        }
        self.elements = wanted;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        host_trouble("table elements", &error)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}

/// Tells apart why growing failed after all. Past a type's own maximum the program is told, by
/// WebAssembly's rules; wasmtime reports that and the host's lack of memory through one call, and only
/// its words differ (`tests/it/limits.rs` pins them).
fn host_trouble(what: &str, error: &wasmtime::Error) -> wasmtime::Result<()> {
    let words = format!("{error:#}");
    let own_maximum = ["type's limits", "overflow calculating", "maximum size exceeded", "Table maximum"];
    if own_maximum.iter().any(|phrase| words.contains(phrase)) {
        return Ok(());
    }
    let reason = format!("there was no more room for {what}: {words}");
    Err(Ended::Stopped(Failure::Host { reason }).into())
}
