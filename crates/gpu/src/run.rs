//! What a dispatch is given and what it comes to, on whatever it runs.

use crate::wrap::{SLOTS, WORDS, word};

/// The most that an invocation may be given. GPUs stop what runs for seconds, and one invocation cannot be cut in two.
pub const MOST_LIMIT: u32 = 1 << 30;

/// One dispatch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// How many workgroups, in each dimension.
    pub groups: [u32; 3],
    /// What each of an invocation's two counters may reach, at most [`MOST_LIMIT`].
    pub limit: u32,
    /// What all invocations together may use.
    pub budget: u64,
}

/// The words of each buffer that a kernel uses, in the order of its slots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Buffers(pub Vec<Vec<u32>>);

/// What a dispatch came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// The fuel that was used. It is the same everywhere if fuel did not run out.
    pub fuel: u64,
    /// Whether an invocation passed its limit, or all together the budget.
    pub out_of_fuel: bool,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// The meter's buffer before a run, or before a slice of one that begins at this workgroup.
pub(crate) fn meter_words(limit: u32, first: [u32; 3], groups: [u32; 3]) -> Vec<u32> {
    let mut words = vec![0; WORDS];
    words[word::LIMIT] = limit.min(MOST_LIMIT);
    words[word::FIRST..word::FIRST + 3].copy_from_slice(&first);
    words[word::GROUPS..word::GROUPS + 3].copy_from_slice(&groups);
    words
}

/// What the meter's buffer says after a run.
pub(crate) fn settled(words: &[u32], budget: u64) -> Ran {
    let slots = words[word::SLOTS..].chunks_exact(2).take(SLOTS as usize);
    let fuel = slots.map(|slot| u64::from(slot[1]) << 32 | u64::from(slot[0])).fold(0, u64::saturating_add);
    Ran { fuel, out_of_fuel: words[word::OUT] != 0 || fuel > budget, stopped: false }
}
