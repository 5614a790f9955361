//! Temporary directories that no process leaves behind, not even one that is killed.
//!
//! A directory goes when it is dropped. A process that is killed drops nothing, so each directory holds a file whose
//! lock the system releases with the process: whoever makes a directory first removes those beside it whose file
//! nobody locks. A lock, unlike the number of a process, is also seen from another container. Directories with other
//! names, and those of other users, are never touched.

mod directory;

pub use self::directory::Scratch;
