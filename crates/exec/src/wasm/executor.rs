//! The wasm executor in the calling process.

use std::time::Instant;

use tidemill_types::{Failure, FloatClass, ProgramKind};

use super::{
    compile::Compiler,
    engine::{Backend, CodeClass, MANY_INSTANCES, hardware_class},
    run::{Code, Job, Loaded, Runtime},
};
use crate::{
    cancel::Cancel,
    control::Control,
    executor::{Capabilities, Executor, Prepared, Program, Report, Task},
    wasi::{Layout, input::Given, written::Showing},
};

/// Compiles and runs in the calling process. Compiling is not limited here, so this is for programs that
/// one trusts to compile: tests, measurements, one's own.
pub struct WasmExecutor {
    backend: Backend,
    layout: Layout,
    compiler: Compiler,
    runtime: Runtime,
}

impl WasmExecutor {
    /// An executor on the given backend, whose tasks see their files as `layout` says.
    pub fn new(backend: Backend, layout: Layout) -> Self {
        Self { backend, layout, compiler: Compiler::default(), runtime: Runtime::new(MANY_INSTANCES) }
    }

    fn load(
        &self,
        program: &Program,
        class: CodeClass,
        stack: tidemill_types::ByteSize,
    ) -> Result<(Loaded, bool), Failure> {
        let code = self.compiler.code_id(class, &program.id)?;
        if let Some(loaded) = self.runtime.loaded(code, stack) {
            return Ok((loaded, true));
        }
        let bytes = self.compiler.compile(class, &program.read()?)?;
        // SAFETY: the bytes come straight from the compiler of this process.
        let loaded = unsafe { self.runtime.load(code, class, stack, Code::Bytes(&bytes)) }?;
        Ok((loaded, false))
    }
}

impl Executor for WasmExecutor {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    /// Compiling in the calling process cannot be cancelled.
    fn prepare(&self, task: &Task, _cancel: &Cancel) -> Result<Prepared, Failure> {
        let begun = Instant::now();
        let class = CodeClass { floats: task.spec.floats, backend: self.backend };
        let (_, cached) = self.load(&task.program, class, task.spec.limits.stack)?;
        Ok(Prepared { cached, took: begun.elapsed() })
    }

    fn run(&self, task: &Task, control: &Control) -> Report {
        let class = CodeClass { floats: task.spec.floats, backend: self.backend };
        let (loaded, _) = match self.load(&task.program, class, task.spec.limits.stack) {
            Ok(loaded) => loaded,
            Err(failure) => return Report::not_run(failure),
        };
        let job = Job {
            spec: task.spec.clone(),
            given: Given::here(task.contents.clone()),
            layout: self.layout.clone(),
            cancel: control.cancel.clone(),
            onlooker: Box::new(Showing::new(control.chunks.clone())),
        };
        self.runtime.run(&loaded, class, job).into_report()
    }
}

/// What the wasm executors can run on this host.
pub(crate) fn capabilities() -> Capabilities {
    let hardware_class = hardware_class().map(str::to_owned);
    let mut floats = vec![FloatClass::Canonical];
    if hardware_class.is_some() {
        floats.insert(0, FloatClass::Native);
    }
    Capabilities { kind: ProgramKind::Wasm, floats, hardware_class }
}
