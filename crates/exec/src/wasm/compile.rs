//! From a module to machine code.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Mutex,
};

use tidemill_types::{BlobId, Failure, MAX_PROGRAM_BYTES, ProgramKind};
use wasmtime::{Engine, Module};

use super::{
    check::check_module,
    engine::{CodeClass, compiling},
};

/// Compiles modules. Give it nothing untrusted but in a process under limits: how long compiling takes
/// and how much memory it needs is up to the module.
#[derive(Default)]
pub(crate) struct Compiler {
    engines: Mutex<HashMap<CodeClass, Engine>>,
}

impl Compiler {
    /// Compiles a module to code that [`super::run::Runtime`] loads.
    ///
    /// # Errors
    /// The [`Failure`] that every attempt at this program would end with.
    pub(crate) fn compile(&self, class: CodeClass, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        if bytes.len() as u64 > MAX_PROGRAM_BYTES {
            let reason = format!("it has {} bytes; at most {MAX_PROGRAM_BYTES} are allowed", bytes.len());
            return Err(Failure::ModuleTooLarge { reason });
        }
        check_module(bytes)?;
        let engine = self.engine(class)?;
        // Validity is the same everywhere; what the code generator cannot do may be this machine's alone.
        Module::validate(&engine, bytes)
            .map_err(|error| Failure::InvalidModule { reason: format!("{error:#}") })?;
        engine.precompile_module(bytes).map_err(|error| Failure::Compile { reason: format!("{error:#}") })
    }

    /// The name of a program's code: equal names mean interchangeable code. It covers the program, the
    /// version of execution, and all of the engine's settings and wasmtime's version.
    ///
    /// # Errors
    /// [`Failure::Host`] where this host cannot make code of the class.
    pub(crate) fn code_id(&self, class: CodeClass, program: &BlobId) -> Result<BlobId, Failure> {
        let engine = self.engine(class)?;
        let mut settings = Blake3Hasher(blake3::Hasher::new_derive_key("tidemill 2026 compiled code"));
        settings.0.update(program.as_bytes());
        settings.0.update(&ProgramKind::Wasm.version().to_le_bytes());
        class.hash(&mut settings);
        engine.precompile_compatibility_hash().hash(&mut settings);
        Ok(BlobId::from_hash(settings.0.finalize()))
    }

    fn engine(&self, class: CodeClass) -> Result<Engine, Failure> {
        let mut engines = self.engines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(engine) = engines.get(&class) {
            return Ok(engine.clone());
        }
        let engine = compiling(class).map_err(|error| Failure::Host {
            reason: format!("this host cannot compile for the float class `{}`: {error:#}", class.floats),
        })?;
        engines.insert(class, engine.clone());
        Ok(engine)
    }
}

/// Lets what implements `Hash` be hashed by BLAKE3 in full width.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}
