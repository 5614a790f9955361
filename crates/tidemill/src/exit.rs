//! Exit codes, and how an error reaches the person.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use tidemill_types::{Failure, lines};

/// What scripts can tell apart. `tidemill run --help` lists the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// The job or task itself failed.
    Failed = 1,
    /// Wrong usage, or a mistake in a job file or an input.
    Usage = 2,
    /// The deadline passed.
    Deadline = 3,
    /// This machine or the network could not do its part: disk, memory, permissions, a coordinator that is gone.
    Host = 4,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl Code {
    /// The code of a task's failure.
    pub fn of(failure: &Failure) -> Self {
        match failure {
            _ if failure.is_of_the_host() => Self::Host,
            // What a look at the program's file shows is wrong with what was given, and not how the program fared.
            Failure::Input { .. }
            | Failure::NotWasm { .. }
            | Failure::InvalidModule { .. }
            | Failure::ImportNotOffered { .. }
            | Failure::NotCommand { .. }
            | Failure::ModuleTooLarge { .. } => Self::Usage,
            Failure::Cancelled => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

/// The codes, for `--help`.
pub const HELP: &str = "Exit codes:
  0    done
  1    the program or the job failed, or it is not certain which results are right
  2    wrong usage, or a mistake in the job file, its programs or its inputs
  3    the deadline passed
  4    this machine or the network could not do its part (disk, memory, a coordinator that is gone)
  130  stopped by Ctrl-C";

/// An error that ends the program with a code of its own, and a hint where there is one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    code: Code,
    message: String,
    hint: Option<String>,
}

impl Exit {
    /// An error with a code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the person can do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Says what the person can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Gives an error of any kind a code.
pub trait WithCode<T> {
    /// The same result, whose error ends the program with `code`.
    fn code(self, code: Code) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithCode<T> for Result<T, E> {
    fn code(self, code: Code) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            if error.downcast_ref::<Exit>().is_some() {
                return error;
            }
            Exit::new(code, causes(&error)).into()
        })
    }
}

/// An error's message and those of its causes.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The code that an error ends the program with.
pub fn code_of(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Exit>().map_or(Code::Host, Exit::code)
}

/// What the system says when a file would become longer than allowed.
const FILE_TOO_LARGE: &str = "File too large";

/// And what is to be done about that.
const LIMIT_HINT: &str = "raise the limit on the size of files (`ulimit -f unlimited`), then run it again";

/// Prints an error with its causes and its hint to standard error, and gives its code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let exit = error.downcast_ref::<Exit>();
    let text = causes(error);
    eprintln!("error: {}", lines(&text));
    let hint = exit.and_then(|exit| exit.hint.as_deref());
    if let Some(hint) = hint.or_else(|| text.contains(FILE_TOO_LARGE).then_some(LIMIT_HINT)) {
        eprintln!("hint: {}", lines(hint));
    }
    ExitCode::from(code_of(error) as u8)
}

/// Writes a line to standard error, as far as that takes it.
pub fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// Makes writing beyond the limit on the size of files (`ulimit -f`) an error, which says so, in this process and in
/// its workers. Without this the system would end them without a word.
pub fn get_errors_for_long_files() {
    // SAFETY: no handler is installed, so none can run at a bad moment; the arguments are a signal and an action that
    // exist.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Has this process end with [`Code::Host`] when standard output takes no more, as the right side of a pipe that has
/// seen enough does: printing would panic otherwise.
pub fn end_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        let Some(why) = words.strip_prefix("failed printing to stdout: ") else { return usual(panic) };
        if !why.contains("Broken pipe") {
            eprintln!("error: cannot write to standard output: {why}");
        }
        std::process::exit(i32::from(Code::Host as u8));
    }));
}
