//! A folder of blobs for this process alone: several may run at once, and each folder is one process's.

use std::{path::Path, time::Duration};

use anyhow::Context;
use tidemill_net::blobs::{BlobOptions, Blobs, Keeps, Pin};
use tidemill_scratch::Scratch;

use crate::{
    exit::{Code, WithCode},
    network::private_directory,
};

/// How long the other side of a transfer may keep still.
const STALL: Duration = Duration::from_secs(30);

/// This process's blobs. Dropped, they are gone.
pub struct OwnBlobs {
    pub blobs: Blobs,
    /// What keeps them.
    pub pin: Pin,
    _folder: Scratch,
}

impl OwnBlobs {
    /// Makes a folder below another one, and removes those of processes that are gone.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it.
    pub async fn open(parent: &Path) -> anyhow::Result<Self> {
        let make = || {
            private_directory(parent)?;
            anyhow::Ok(Scratch::within(parent)?)
        };
        let folder = make().context("cannot make a folder for blobs").code(Code::Host)?;
        // What is here is needed as long as the process lives: nothing may be evicted, so there is no budget. Nor is
        // it needed for any longer, so nothing waits for the disk.
        let options = BlobOptions { keeps: Keeps::Cache, budget: u64::MAX, stall: STALL };
        let blobs = Blobs::open(&folder.path().join("blobs"), options).await.code(Code::Host)?;
        Ok(Self { blobs, pin: Pin::new("requester").code(Code::Host)?, _folder: folder })
    }
}
