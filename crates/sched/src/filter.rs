//! What must hold before a provider is considered for a task at all, and what it may have to wait for.

use std::fmt;

use tidemill_types::{Address, Amount, ByteSize, FloatClass, ProgramKind, RateCard};

use crate::{Class, Micros, provider::Site};

/// Why a provider cannot have a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// It has no session.
    Absent,
    /// It takes no leases now.
    NoCredits,
    /// It does not run this kind of program.
    Kind(ProgramKind),
    /// It does not run this float class.
    Floats(FloatClass),
    /// Its version of execution is another.
    ExecVersion {
        /// The coordinator's.
        needs: u32,
        /// The provider's.
        offers: u32,
    },
    /// A task needs more memory than it offers.
    Memory {
        /// For a task.
        needs: ByteSize,
        /// All of the provider's.
        offers: ByteSize,
    },
    /// What a task reads needs more room than it offers.
    Disk {
        /// For a task.
        needs: ByteSize,
        /// All of the provider's.
        offers: ByteSize,
    },
    /// It asks more than the job pays.
    Price(Dearer),
    /// It offers no slots.
    NoSlots,
    /// Only operators that are trusted may have it, and this is none.
    Untrusted,
    /// Tasks of the job failed there several times in a row, and it is not known by whose doing.
    Failing,
    /// The task failed at this operator before, or an attempt of it runs there.
    Excluded(Address),
}

/// What keeps a task from a provider for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// It holds as many leases as it may.
    Credits {
        /// Leases that it holds.
        held: u32,
    },
    /// Its slots are taken for longer than is looked ahead.
    Queue {
        /// Slots in use.
        busy: u32,
        /// When one gets free, from now.
        starts_in: Micros,
    },
    /// Its slots are taken by tasks of which none of the kind has ended yet.
    Unknown {
        /// Slots in use.
        busy: u32,
    },
    /// It failed several times in a row, and is left alone for this long.
    Paused(Micros),
    /// What is left of the budget does not pay for another lease.
    Budget,
    /// Something is missing that all tasks of the job need.
    Held,
    /// The job has as many leases as it may.
    JobLimit(u32),
    /// Others are predicted to have done all that is left before it would have done one.
    Outpaced {
        /// When it would be done, from now.
        here: Micros,
        /// When the others would be, from now.
        others: Micros,
    },
    /// An attempt of the task runs already.
    Leased,
}

/// A rate that is higher than what is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dearer {
    /// Of what, in words.
    pub of: &'static str,
    /// The provider's rate.
    pub asks: Amount,
    /// The job's.
    pub pays: Amount,
}

impl Dearer {
    /// The first rate that is too high.
    pub fn of(asked: &RateCard, ceiling: &RateCard) -> Option<Self> {
        let rates = asked.named().into_iter().zip(ceiling.named());
        let mut dearer = rates.filter(|((_, asks), (_, pays))| asks > pays);
        dearer.next().map(|((of, asks), (_, pays))| Self { of, asks, pays })
    }
}

/// What does not depend on the moment.
pub(crate) fn unfit(site: Site<'_>, class: &Class) -> Option<Unfit> {
    let Site { provider, engine, .. } = site;
    let needs = &class.needs;
    let offer = engine.offer.as_ref().zip(provider.claims.as_ref()).filter(|_| provider.present);
    let Some((offer, claims)) = offer else { return Some(Unfit::Absent) };
    if offer.kind != needs.kind {
        Some(Unfit::Kind(needs.kind))
    } else if !offer.floats.contains(&needs.floats) {
        Some(Unfit::Floats(needs.floats))
    } else if !offer.is_current() {
        Some(Unfit::ExecVersion { needs: needs.kind.version(), offers: offer.exec_version })
    } else if offer.memory < needs.memory {
        Some(Unfit::Memory { needs: needs.memory, offers: offer.memory })
    } else if claims.disk.0 < class.bytes() {
        Some(Unfit::Disk { needs: ByteSize(class.bytes()), offers: claims.disk })
    } else if let Some(dearer) = class.ceiling.and_then(|ceiling| Dearer::of(&offer.rates, &ceiling)) {
        Some(Unfit::Price(dearer))
    } else if offer.slots == 0 {
        Some(Unfit::NoSlots)
    } else if class.only.as_ref().is_some_and(|only| !only.contains(&provider.operator)) {
        Some(Unfit::Untrusted)
    } else if class.avoid.contains(&site.at.node) {
        Some(Unfit::Failing)
    } else if engine.credits == 0 {
        Some(Unfit::NoCredits)
    } else {
        None
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("has no session"),
            Self::NoCredits => {
                f.write_str("takes no leases now: it drains, has no room, or failed too often")
            }
            Self::Kind(kind) => write!(f, "does not run {} programs", lower(kind)),
            Self::Floats(floats) => write!(f, "does not run floats = \"{}\"", lower(floats)),
            Self::ExecVersion { needs, offers } => {
                write!(f, "has execution version {offers}, where {needs} is needed")
            }
            Self::Memory { needs, offers } => {
                write!(f, "offers {offers} of memory, where a task needs {needs}")
            }
            Self::Disk { needs, offers } => {
                write!(f, "offers {offers} of disk, where what a task reads takes {needs}")
            }
            Self::Price(Dearer { of, asks, pays }) => {
                write!(f, "asks {asks} {of}, where the job pays {pays}")
            }
            Self::NoSlots => f.write_str("offers no slots"),
            Self::Untrusted => f.write_str("is no machine that is trusted, and the task is for those alone"),
            Self::Failing => {
                f.write_str("failed at tasks of this job several times in a row: it is left alone")
            }
            Self::Excluded(operator) => {
                write!(f, "is excluded: operator {operator} has or had an attempt of the task")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credits { held } => write!(f, "holds {}, as many as it may", Count(*held, "lease")),
            Self::Queue { busy, starts_in } => {
                write!(f, "{} busy, too long to queue: {starts_in}", Count(*busy, "slot"))
            }
            Self::Unknown { busy } => write!(f, "{} busy with tasks of unknown length", Count(*busy, "slot")),
            Self::Paused(length) => write!(f, "failed several times in a row, left alone for {length}"),
            Self::Budget => f.write_str("the job's budget does not hold another lease: it waits for money"),
            Self::Held => f.write_str("the job waits for an input that was damaged at the coordinator"),
            Self::JobLimit(most) => write!(f, "the job has {}, as many as it may", Count(*most, "lease")),
            Self::Outpaced { here, others } => {
                write!(f, "would be done in {here}, others have done all that is left in {others}")
            }
            Self::Leased => f.write_str("an attempt of the task runs already"),
        }
    }
}

/// So many of something, in words.
pub(crate) struct Count(pub u32, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// The name of a variant without fields, as job files write it.
fn lower(variant: &impl fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}
