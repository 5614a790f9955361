//! WGSL programs on GPUs: checked before they run, metered while they run, and the same wherever they run.
//!
//! A [`Kernel`] is one entry point of a module. It is normalised, so that integers are the same on every device; analysed,
//! so that a barrier stands only where all invocations come; and metered: each of its loops counts fuel and ends when
//! there is none left, so that every program ends, and takes the same fuel wherever it runs again. naga's lowering of WGSL
//! decides the totals, so its version is part of them.

mod canonical;
mod capacity;
mod closeness;
mod device;
mod executor;
mod kernel;
mod layout;
mod measure;
mod meter;
mod mistake;
mod nesting;
mod normal;
mod plan;
mod price;
mod probe;
mod program;
mod rebuild;
mod reference;
mod rules;
mod run;
mod source;
mod uniform;
mod walk;
mod wrap;

pub use capacity::{Capacity, Challenge};
pub use closeness::Closeness;
pub use device::{Adapter, Device, DeviceError, Memory, Pipeline, adapters};
pub use executor::{GpuExecutor, OpenError, REFERENCE_CLASS, Trust};
pub use kernel::{Access, Floats, Kernel, Slot, Traits};
pub use layout::{MOST_CODE, MOST_COPY, MOST_LANES, MOST_NESTING, MOST_SHARED, MOST_VARIABLES};
pub use measure::{Figure, Form, measure};
pub use mistake::{Mistake, Place, Refusal};
pub use plan::{
    Buffer, Count, MOST_DISPATCHES, MOST_GROUPS, MOST_NAMED, MOST_STORAGE, MOST_STORAGE_BUFFERS,
    MOST_UNIFORM, MOST_UNIFORM_BUFFERS, Pass, Plan, Start, Step,
};
pub use probe::{Check, probe};
pub use program::{Allowance, End, Files, Outcome, Program, Task, encode};
pub use reference::Reference;
pub use run::{Buffers, MOST_LIMIT, Ran, Run};
pub use source::{MOST_TEXT, Source};
pub use wrap::GROUP;
