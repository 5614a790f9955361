//! Waiting for the disk, and counting how often this process did.
//!
//! What a node has acknowledged is durable, and each wait for the disk takes a fraction of a millisecond to several, so
//! their number says most about how fast a node can be. All waits of the workspace's crates are made here, those of redb
//! by [`DatabaseFile`]. The counters are the process's own: each role of a network that is measured is a process.
//!
//! Not counted are files that another library syncs by itself, of which there are none today, and the plain copies that
//! `tidemill bench` measures beside ours.

mod database;
mod sync;

pub use self::{
    database::DatabaseFile,
    sync::{Syncs, sync_all, sync_data, sync_dir, sync_tree, syncs},
};
