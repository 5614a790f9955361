//! How code is made and where it runs: everything of wasmtime's configuration that a result may depend
//! on is fixed here, never inferred from the host.

use tidemill_types::{ByteSize, FloatClass, Limits};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig};

/// What turns a module into something that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Backend {
    /// Cranelift, with fuel: what tasks run on.
    Sandbox,
    /// Pulley, wasmtime's interpreter, with fuel: a second opinion on determinism.
    Pulley,
    /// Cranelift as wasmtime comes, without fuel or pinned features: a yardstick for measurements. It
    /// neither ends endless loops nor gives comparable results.
    Plain,
}

/// Processor features of the native float class on x86-64: those of the level x86-64-v3 that Cranelift
/// knows, found in all such processors since 2013 to 2015.
#[cfg(target_arch = "x86_64")]
const X86_64_V3: [&str; 11] = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

/// The hardware class whose results this host's native float class may be compared with, or `None`
/// where the host lacks what the class needs.
pub fn hardware_class() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let found = has!("sse3")
            && has!("ssse3")
            && has!("sse4.1")
            && has!("sse4.2")
            && has!("popcnt")
            && has!("avx")
            && has!("avx2")
            && has!("fma")
            && has!("bmi1")
            && has!("bmi2")
            && has!("lzcnt");
        found.then_some(tidemill_types::ProgramKind::Wasm.hardware_classes()[0])
    }
    #[cfg(target_arch = "aarch64")]
    {
        Some(tidemill_types::ProgramKind::Wasm.hardware_classes()[1])
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        None
    }
}

/// How code is made: part of the name under which it is cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct CodeClass {
    pub(crate) floats: FloatClass,
    pub(crate) backend: Backend,
}

/// Instances that can exist at a time in a process that runs tasks in threads.
pub(crate) const MANY_INSTANCES: u32 = 32;
/// Linear memory and stack kept from one task to the next: larger remains go back to the system.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Tables of one module.
pub(super) const MAX_TABLES: u32 = 16;
/// An instance's own state; globals and function references count.
const MAX_INSTANCE_BYTES: usize = 16 << 20;
/// Room on a task's stack for the host calls it makes.
const HOST_STACK_BYTES: usize = 512 << 10;

/// What compiled code depends on.
fn code_config(class: CodeClass) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_tail_call(true)
        .wasm_simd(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_extended_const(true)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .concurrency_support(false)
        .memory_init_cow(true);
    match class.backend {
        Backend::Plain => return Ok(config),
        Backend::Sandbox => pin_target(&mut config, class.floats)?,
        Backend::Pulley => {
            config.target("pulley64")?;
        }
    }
    config.consume_fuel(true);
    config.operator_cost(operator_cost());
    config.cranelift_nan_canonicalization(class.floats == FloatClass::Canonical);
    Ok(config)
}

/// Pins the native class to its features. The canonical class gives the same results whatever features
/// are used, so it takes what the host has.
fn pin_target(config: &mut Config, floats: FloatClass) -> wasmtime::Result<()> {
    if floats == FloatClass::Canonical {
        return Ok(());
    }
    if hardware_class().is_none() {
        wasmtime::bail!("this processor lacks what the native float class needs");
    }
    let system = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-gnu" };
    config.target(&format!("{}-{system}", std::env::consts::ARCH))?;
    #[cfg(target_arch = "x86_64")]
    for feature in X86_64_V3 {
        // SAFETY: these flags only name features that `hardware_class` has found on this host.
        unsafe { config.cranelift_flag_enable(feature) };
    }
    Ok(())
}

/// One unit for each operator, but for those that call into the host's runtime: growing memories and
/// tables costs system calls. Bulk operators pay by the byte or element besides.
fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.MemoryGrow = u8::MAX;
    cost.TableGrow = u8::MAX;
    for bulk in [
        &mut cost.MemoryCopy,
        &mut cost.MemoryFill,
        &mut cost.MemoryInit,
        &mut cost.TableCopy,
        &mut cost.TableFill,
        &mut cost.TableInit,
    ] {
        *bulk = 20;
    }
    cost.variable.memory_grow_per_page = u8::MAX;
    cost
}

/// An engine that only compiles.
pub(crate) fn compiling(class: CodeClass) -> wasmtime::Result<Engine> {
    Engine::new(&code_config(class)?)
}

/// An engine that runs code, on stacks of `stack` bytes, from a pool of so many instances. Each takes more than 4 GiB of
/// address space, which costs nothing but where that is limited.
pub(crate) fn running(class: CodeClass, stack: ByteSize, instances: u32) -> wasmtime::Result<Engine> {
    let mut config = code_config(class)?;
    let stack = usize::try_from(stack.0).unwrap_or(usize::MAX);
    config.max_wasm_stack(stack);
    config.async_stack_size(stack.saturating_add(HOST_STACK_BYTES));
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances * MAX_TABLES)
        .total_stacks(instances)
        .max_memories_per_module(1)
        .max_tables_per_module(MAX_TABLES)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .table_elements(Limits::MOST.table_elements as usize)
        .max_memory_size(4 << 30)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}
