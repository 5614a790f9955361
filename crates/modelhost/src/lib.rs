//! Models in a confined worker process: the executor of programs of the kind `infer`.
//!
//! [`ModelHost`] is what tasks are given to. It keeps one worker process, which holds the models and answers the requests
//! of all tasks that run in one batch for each model ([`host`] is that process from inside). The worker knows no path and
//! no key: it asks for a model by its hash, and is handed a descriptor of the file, once the file was hashed. It is
//! confined as workers of WebAssembly are. Models stay in memory, and go in the order in which they were last used when
//! another needs the room; a task whose model or texts do not fit beside what runs waits.
//!
//! A worker that dies or hangs fails the attempts that it had, and another one takes its place.

mod executor;
mod live;
mod program;
mod protocol;
mod worker;

pub use executor::{ANSWERS, ModelHost, ModelHostConfig};
pub use worker::host;

#[cfg(test)]
mod tests {
    use tidemill_types::ProgramKind;

    #[test]
    fn the_kind_has_the_version_of_the_engine() {
        assert_eq!(ProgramKind::Infer.version(), tidemill_infer::VERSION);
    }
}
