//! The network interfaces of this machine, as the system knows them.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use netwatch::interfaces::{IpNet, State};
use tokio::time::timeout;

use crate::addresses::Interface;

/// Where Linux describes interfaces.
const INTERFACES: &str = "/sys/class/net";

/// The interfaces that are up, by name. None where the system does not say in time.
pub(crate) async fn read(patience: Duration) -> Vec<Interface> {
    let Ok(state) = timeout(patience, State::new()).await else { return Vec::new() };
    let default = state.default_route_interface.as_deref();
    let up = state.interfaces.values().filter(|interface| interface.is_up());
    let mut found: Vec<Interface> = up
        .map(|interface| Interface {
            name: interface.name().to_owned(),
            is_default: default == Some(interface.name()),
            is_inner: is_inner_bridge(Path::new(INTERFACES), interface.name()),
            addresses: usable(interface.addrs()),
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The addresses that may be dialed, those that last before those that are drawn anew every day.
fn usable(addresses: impl Iterator<Item = IpNet>) -> Vec<IpAddr> {
    let is_ready = |address: &IpNet| match address {
        IpNet::V4(_) => true,
        IpNet::V6 { flags, .. } => !flags.tentative && !flags.duplicated,
    };
    let passes = |address: &IpNet| match address {
        IpNet::V4(_) => false,
        IpNet::V6 { flags, .. } => flags.temporary || flags.deprecated,
    };
    let mut ready: Vec<IpNet> = addresses.filter(is_ready).collect();
    ready.sort_by_key(passes);
    ready.iter().map(IpNet::addr).collect()
}

/// Whether an interface is a bridge that leads to nothing outside of this host: one of containers or virtual machines.
fn is_inner_bridge(interfaces: &Path, name: &str) -> bool {
    let Ok(ports) = fs::read_dir(interfaces.join(name).join("brif")) else { return false };
    !ports.flatten().any(|port| leads_out(&interfaces.join(port.file_name())))
}

/// Whether a port of a bridge is a device, or rests on another interface, as a bond or a VLAN does.
fn leads_out(port: &Path) -> bool {
    let rests = |entries: fs::ReadDir| {
        entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"lower_"))
    };
    port.join("device").exists() || fs::read_dir(port).is_ok_and(rests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_inner_unless_a_port_of_it_leads_out() {
        let place = tempfile::tempdir().expect("a folder");
        let make = |path: &str| fs::create_dir_all(place.path().join(path)).expect("a folder");
        make("eth0/device");
        make("bond0/lower_eth0");
        make("veth1/upper_docker0");
        make("docker0/brif/veth1");
        make("virbr0/brif");
        make("br0/brif/veth1");
        make("br0/brif/eth0");
        make("br1/brif/bond0");
        let inner = ["docker0", "virbr0"];
        for name in ["eth0", "bond0", "veth1", "docker0", "virbr0", "br0", "br1", "gone"] {
            assert_eq!(is_inner_bridge(place.path(), name), inner.contains(&name), "{name}");
        }
    }
}
