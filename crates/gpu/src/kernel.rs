//! One entry point, made ready to run anywhere: normalised, analysed, metered.

use naga::{
    AddressSpace, Function, Handle, Module, ResourceBinding, StorageAccess, TypeInner, valid::ModuleInfo,
};
use serde::{Deserialize, Serialize};

use crate::{
    canonical::{self, Canonical},
    closeness::{self, Closeness},
    layout::{self, Words},
    meter,
    mistake::{Mistake, Refusal},
    normal,
    rebuild::{Builder, rebuild},
    rules,
    source::{self, Source},
    uniform,
    wrap::{self, Prelude},
};

/// How floats are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Floats {
    /// As the device does. Results are compared within a tolerance, among devices of one class.
    #[default]
    Native,
    /// With the same bits on every device: each operation is fenced from the next, what devices round differently is
    /// computed from integers, subnormal numbers and signs of zero are lost.
    Canonical,
}

/// How a program uses a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A uniform buffer.
    Uniform,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    Write,
}

/// A buffer that a kernel uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Its bind group.
    pub group: u32,
    /// Its binding in the group.
    pub binding: u32,
    /// The variable's name.
    pub name: String,
    /// How it is used.
    pub access: Access,
    /// How many bytes it has at least.
    pub least: u64,
    /// For an array without a length: the bytes of an element. A buffer that ends within one wastes the rest.
    pub stride: Option<u64>,
}

/// What a kernel's results and fuel depend on, besides its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// It computes with floats.
    pub floats: bool,
    /// How far right results may be apart if they are native.
    pub closeness: Closeness,
    /// How long its loops run depends on floats, so with native ones its fuel is equal within a class only.
    pub fuel_meets_floats: bool,
    /// Its outputs may depend on the order in which invocations meet at atomics: no second run need give the same.
    pub output_meets_order: bool,
    /// It has barriers.
    pub barriers: bool,
}

/// An entry point that is ready to run.
#[derive(Clone, Debug)]
pub struct Kernel {
    name: String,
    module: Module,
    info: ModuleInfo,
    slots: Vec<Slot>,
    lanes: [u32; 3],
    traits: Traits,
    /// None if it is not metered.
    metered: Option<meter::Metered>,
    code: u64,
}

impl Kernel {
    /// Prepares an entry point with values for its overrides.
    ///
    /// # Errors
    /// A [`Mistake`] that is the same on every machine.
    pub fn new(
        source: &Source,
        entry: &str,
        overrides: &[(String, f64)],
        floats: Floats,
    ) -> Result<Self, Mistake> {
        source::deep(|| Self::prepare(source, entry, overrides, floats))
    }

    /// The same entry point as its author wrote it, with nothing put in: to compare with, and to measure against. Nothing
    /// bounds it, so it is for programs that are known to end.
    ///
    /// # Errors
    /// As [`Kernel::new`], but for what only metering refuses.
    pub fn unmetered(source: &Source, entry: &str, overrides: &[(String, f64)]) -> Result<Self, Mistake> {
        source::deep(|| {
            let module = source.entry_point(entry, overrides)?;
            rules::check(&module, source.text())?;
            let info = source::validate(&module, source.text())?;
            let code = layout::check(&module, &Words::of(&module, &info))?;
            let (slots, lanes) = (slots(&module), module.entry_points[0].workgroup_size);
            let closeness = closeness::of(&module, &info);
            let floats = closeness != Closeness::Equal;
            let traits = Traits { floats, closeness, ..Traits::default() };
            Ok(Self { name: entry.into(), module, info, slots, lanes, traits, metered: None, code })
        })
    }

    fn prepare(
        source: &Source,
        entry: &str,
        overrides: &[(String, f64)],
        floats: Floats,
    ) -> Result<Self, Mistake> {
        let text = source.text();
        let module = source.entry_point(entry, overrides)?;
        rules::check(&module, text)?;
        let info = source::validate(&module, text)?;
        layout::check(&module, &Words::of(&module, &info))?;
        let slots = slots(&module);
        let closeness = closeness::of(&module, &info);
        let (module, info) = match floats {
            Floats::Native => (module, info),
            Floats::Canonical => canonical::prepared(module, text)?,
        };
        let (mut module, prelude) = normalise(&module, &info, floats, text)?;
        let info = source::validate(&module, text)?;
        // Once more: what was put in the place of operations is code too.
        let words = Words::of(&module, &info);
        let code = layout::check(&module, &words)?;
        let uniformity = uniform::analyse(&module, &info);
        if let Some((what, span)) = uniformity.divergent.first() {
            return Err(Mistake::refused_at(Refusal::Divergent { what }, *span, text));
        }
        if uniformity.fuel_meets_order {
            return Err(Mistake::refused(Refusal::Unrepeatable));
        }
        let lanes = module.entry_points[0].workgroup_size;
        let metered = meter::meter(&mut module, &words, &uniformity, prelude.counters)?;
        wrap::wrap(&mut module, prelude, metered.flat);
        // What canonical floats brought and nothing uses.
        naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        let info = source::validate(&module, text)?;
        let traits = Traits {
            floats: closeness != Closeness::Equal,
            closeness,
            fuel_meets_floats: uniformity.fuel_meets_floats,
            output_meets_order: uniformity.output_meets_order,
            barriers: uniformity.barriers,
        };
        Ok(Self { name: entry.into(), module, info, slots, lanes, traits, metered: Some(metered), code })
    }

    /// The name of the entry point in the text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The buffers that it uses, by group and binding.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// How many invocations a workgroup has, in each dimension.
    pub fn lanes(&self) -> [u32; 3] {
        self.lanes
    }

    /// What its results depend on.
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// What an invocation costs besides the rounds of its loops.
    pub fn flat_fuel(&self) -> u32 {
        self.metered.map_or(0, |metered| metered.flat)
    }

    /// How many loops it has, and how many of them a whole workgroup runs together.
    pub fn loops(&self) -> (usize, usize) {
        self.metered.map_or((0, 0), |metered| (metered.loops, metered.together))
    }

    /// Its code in words, all calls inlined.
    pub fn code(&self) -> u64 {
        self.code
    }

    /// Whether fuel is counted.
    pub fn is_metered(&self) -> bool {
        self.metered.is_some()
    }

    /// The module that a device, or the reference, runs; its entry point is `main`.
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    pub(crate) fn info(&self) -> &ModuleInfo {
        &self.info
    }
}

/// Writes all functions anew without what devices do differently, and adds the variables of the meter.
fn normalise(
    module: &Module,
    info: &ModuleInfo,
    floats: Floats,
    text: &str,
) -> Result<(Module, Prelude), Mistake> {
    let mut out = module.clone();
    let prelude = wrap::prelude(&mut out);
    let canonical = (floats == Floats::Canonical).then(|| Canonical::put(&mut out, prelude.zero));
    let before = out.functions.len() - module.functions.len();
    let handles: Vec<Handle<Function>> = out.functions.iter().map(|(handle, _)| handle).collect();
    let shift = |function: Handle<Function>| handles[function.index() + before];
    let mut refused = None;
    let mut rewrite = |builder: &mut Builder<'_>, handle| {
        let by_floats = canonical.as_ref().map(|canonical| canonical.rewrite(module, builder, handle));
        match by_floats {
            Some(Ok(Some(new))) => return Some(new),
            Some(Err(refusal)) => {
                let span = builder.old.expressions.get_span(handle);
                refused.get_or_insert_with(|| Mistake::refused_at(refusal, span, text));
            }
            Some(Ok(None)) | None => {}
        }
        normal::rewrite(module, builder, handle)
    };
    for ((handle, function), new) in module.functions.iter().zip(&handles[before..]) {
        *out.functions.get_mut(*new) = rebuild(function, &info[handle], &shift, &mut rewrite);
    }
    let entry = &module.entry_points[0].function;
    out.entry_points[0].function = rebuild(entry, info.get_entry_point(0), &shift, &mut rewrite);
    refused.map_or(Ok((out, prelude)), Err)
}

fn slots(module: &Module) -> Vec<Slot> {
    let mut slots: Vec<Slot> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let ResourceBinding { group, binding } = variable.binding?;
            let access = match variable.space {
                AddressSpace::Uniform => Access::Uniform,
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::Write,
                _ => Access::Read,
            };
            let inner = &module.types[variable.ty].inner;
            let stride = stride(module, inner);
            let name = variable.name.clone().unwrap_or_default();
            // As WebGPU counts: an array without a length has one element at least.
            let least = u64::from(inner.size(module.to_ctx()));
            Some(Slot { group, binding, name, access, least, stride })
        })
        .collect();
    slots.sort_by_key(|slot| (slot.group, slot.binding));
    slots
}

fn stride(module: &Module, ty: &TypeInner) -> Option<u64> {
    match ty {
        TypeInner::Array { size: naga::ArraySize::Dynamic, stride, .. } => Some(u64::from(*stride)),
        TypeInner::Struct { members, .. } => {
            members.last().and_then(|member| stride(module, &module.types[member.ty].inner))
        }
        _ => None,
    }
}
