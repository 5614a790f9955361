//! A coordinator as a whole, without peers.

use std::path::Path;

use tidemill_net::{endpoint::Bind, ticket::Pass};
use tidemill_types::{Address, ByteSize};

use super::Coordinator;
use crate::{Config, Keep, Pace, Trust};

fn config(directory: &Path) -> Config {
    Config {
        directory: directory.to_owned(),
        node_key: [1; 32],
        result_key: [2; 32],
        operator: Address([4; 20]),
        pass: Pass::from_bytes([3; 16]),
        bind: Bind::Loopback { port: 0 },
        advertise: Vec::new(),
        disk: ByteSize::mib(64),
        pace: Pace::default(),
        keep: Keep::default(),
        trust: Trust::default(),
        money: None,
        executor: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_stops_and_starts_again_in_its_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for _ in 0..2 {
        let coordinator = Coordinator::start(config(directory.path())).await.expect("it starts");
        assert_eq!(coordinator.ticket().node(), coordinator.node());
        coordinator.stop().await;
    }
}
