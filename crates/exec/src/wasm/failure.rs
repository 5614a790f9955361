//! From wasmtime's errors to ours.

use tidemill_types::{Failure, Limits, TrapKind, one_line};
use wasmtime::{Trap, WasmBacktrace};

use crate::wasi::{Guest, link::Ended};

/// Functions of a backtrace that are kept.
const MAX_FRAMES: usize = 16;
const MAX_NAME_CHARS: usize = 160;

/// How a call into the guest ended when it did not return.
pub(crate) enum End {
    Exited(u32),
    Failed(Failure),
}

pub(crate) fn end_of(error: wasmtime::Error, guest: &Guest, limits: &Limits) -> End {
    let error = match error.downcast::<Ended>() {
        Ok(Ended::Exited(code)) => return End::Exited(code),
        Ok(Ended::Stopped(failure)) => return End::Failed(failure),
        Err(error) => error,
    };
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return End::Failed(Failure::Host { reason: format!("{error:#}") });
    };
    let kind = match trap {
        Trap::StackOverflow => return End::Failed(Failure::Stack { limit: limits.stack }),
        Trap::OutOfFuel => return End::Failed(Failure::Fuel { limit: limits.fuel }),
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapKind::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull | Trap::NullReference => TrapKind::NullFunction,
        Trap::BadSignature => TrapKind::SignatureMismatch,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapKind::DivisionByZero,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        other => return End::Failed(Failure::Host { reason: format!("an unexpected trap: {other}") }),
    };
    End::Failed(Failure::Trap {
        kind,
        detail: String::new(),
        backtrace: backtrace(&error),
        stderr: guest.log_tail(),
    })
}

/// Function names, innermost first; by number where the module has no names.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frames = backtrace.frames();
    let mut names: Vec<String> = frames
        .iter()
        .take(MAX_FRAMES)
        .map(|frame| match frame.func_name() {
            // A name from a module may hold anything, and ends up on people's terminals.
            Some(name) => one_line(name, MAX_NAME_CHARS),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    if frames.len() > MAX_FRAMES {
        names.push(format!("{} more", frames.len() - MAX_FRAMES));
    }
    names
}
