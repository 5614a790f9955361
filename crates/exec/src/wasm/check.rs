//! Refuses a module that cannot run, before it is compiled: cheap, and with words that say what to do.

use tidemill_types::{Failure, Limits, one_line};
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef};

use super::engine::MAX_TABLES;

use crate::wasi::link::{MODULE, OFFERED};

/// Imports named in one failure.
const MAX_NAMED: usize = 8;

/// Checks the outside of a module: that it is one, what it imports, and that it is a command. Whether its
/// code is valid is left to the compiler.
///
/// # Errors
/// The [`Failure`] that every attempt at this program would end with.
pub fn check_module(bytes: &[u8]) -> Result<(), Failure> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Failure::NotWasm { found: describe(bytes) });
    }
    let invalid = |error: wasmparser::BinaryReaderError| Failure::InvalidModule { reason: error.to_string() };
    let (mut missing, mut more) = (Vec::new(), 0);
    let (mut start, mut memory) = (false, false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                let reason = "it is a component; build for wasm32-wasip1, not wasm32-wasip2".to_owned();
                return Err(Failure::NotCommand { reason });
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    let offered = import.module == MODULE
                        && OFFERED.contains(&import.name)
                        && matches!(import.ty, TypeRef::Func(_));
                    if !offered && missing.len() < MAX_NAMED {
                        missing.push(name_import(import.module, import.name, &import.ty));
                    } else if !offered {
                        more += 1;
                    }
                }
            }
            Payload::TableSection(section) => {
                if section.count() > MAX_TABLES {
                    let reason = format!("it has {} tables; {MAX_TABLES} are allowed", section.count());
                    return Err(Failure::ModuleTooLarge { reason });
                }
                for table in section {
                    let elements = table.map_err(invalid)?.ty.initial;
                    if elements > u64::from(Limits::MOST.table_elements) {
                        let reason = format!("it begins with a table of {elements} elements");
                        return Err(Failure::ModuleTooLarge { reason });
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    start |= export.name == "_start" && export.kind == ExternalKind::Func;
                    memory |= export.name == "memory" && export.kind == ExternalKind::Memory;
                }
            }
            _ => {}
        }
    }
    if !missing.is_empty() {
        if more > 0 {
            missing.push(format!("{more} more"));
        }
        return Err(Failure::ImportNotOffered { imports: missing });
    }
    for (there, what) in [(start, "function `_start`"), (memory, "memory `memory`")] {
        if !there {
            return Err(Failure::NotCommand { reason: format!("it exports no {what}") });
        }
    }
    Ok(())
}

fn name_import(module: &str, name: &str, ty: &TypeRef) -> String {
    let kind = match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "",
        TypeRef::Table(_) => " (a table)",
        TypeRef::Memory(_) => " (a memory)",
        TypeRef::Global(_) => " (a global)",
        TypeRef::Tag(_) => " (a tag)",
    };
    const NAME_CHARS: usize = 64;
    format!("{}.{}{kind}", one_line(module, NAME_CHARS), one_line(name, NAME_CHARS))
}

fn describe(bytes: &[u8]) -> String {
    match bytes {
        [] => "it is empty".to_owned(),
        [0x7f, b'E', b'L', b'F', ..] => "it is a native ELF program".to_owned(),
        [b'M', b'Z', ..] => "it is a Windows program".to_owned(),
        [b'#', b'!', ..] => "it is a script".to_owned(),
        [0x1f, 0x8b, ..] => "it is compressed with gzip".to_owned(),
        [b'B', b'C', 0xc0, 0xde, ..] => "it is LLVM bitcode".to_owned(),
        _ if bytes.trim_ascii_start().starts_with(b"(module") => {
            "it is WebAssembly text; assemble it with wat2wasm".to_owned()
        }
        _ => {
            let head: Vec<_> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("it begins with the bytes {}", head.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), Failure> {
        check_module(&wat::parse_str(text).expect("the test's text is well formed"))
    }

    #[test]
    fn a_command_passes() {
        let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (memory (export "memory") 1) (func (export "_start")))"#;
        assert_eq!(verdict(text), Ok(()));
    }

    #[test]
    fn every_import_that_is_not_offered_is_named() {
        let text = r#"(module (import "env" "emscripten_sleep" (func)) (import "wasi_unstable" "fd_write" (func))
            (import "env" "memory" (memory 1)) (func (export "_start")))"#;
        let Err(failure) = verdict(text) else { panic!("it must be refused") };
        assert_eq!(
            failure.to_string(),
            "the program needs env.emscripten_sleep, wasi_unstable.fd_write, env.memory (a memory), which the \
             sandbox does not offer"
        );
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert!(matches!(verdict("(module)"), Err(Failure::NotCommand { .. })));
        assert!(matches!(verdict(r#"(module (func (export "_start")))"#), Err(Failure::NotCommand { .. })));
        assert!(matches!(verdict("(component)"), Err(Failure::NotCommand { .. })));
    }

    #[test]
    fn other_files_are_recognised() {
        for (bytes, words) in [
            (&b""[..], "empty"),
            (b"\x7fELF\x02", "ELF"),
            (b"#!/bin/sh", "script"),
            (b" (module)", "text"),
            (b"\x89PNG", "89 50 4e 47"),
        ] {
            let Err(failure) = check_module(bytes) else { panic!("it must be refused") };
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
