//! Which of a machine's addresses a ticket holds: there is room for [`MAX_ADDRESSES`], and whoever has the ticket may be
//! anywhere.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::ticket::MAX_ADDRESSES;

/// How far an address reaches, the farthest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// The internet.
    Global,
    /// A network of its owner's, or that behind a provider's translation of addresses.
    Private,
    /// One link.
    Link,
    /// This host alone.
    Host,
}

/// A network interface that is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether the default route goes by it.
    pub is_default: bool,
    /// Whether nothing but this host and what runs in it is behind it, like a bridge of containers.
    pub is_inner: bool,
    /// Its addresses, the lasting ones first.
    pub addresses: Vec<IpAddr>,
}

/// An address that others reach a node by, whatever the machine knows of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertised {
    /// The address.
    pub ip: IpAddr,
    /// The UDP port; without one, that on which the node listens.
    pub port: Option<u16>,
}

/// The addresses of a ticket, and those that are not in it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Choice {
    /// In the ticket, the best first: at most [`MAX_ADDRESSES`].
    pub chosen: Vec<SocketAddr>,
    /// Not in the ticket.
    pub left_out: Vec<LeftOut>,
}

/// An address on which the node listens and which is not in its ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub why: Why,
}

/// Why an address is not in a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The ticket is full.
    NoRoom,
    /// It reaches this host alone.
    Loopback,
    /// Another machine would have to know by which of its interfaces to dial it.
    LinkLocal,
}

/// An address that could be in a ticket.
struct Candidate<'a> {
    address: SocketAddr,
    interface: &'a Interface,
    /// How many addresses of this interface, scope and family come before it.
    earlier: usize,
}

impl Scope {
    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                // RFC 6598: between a provider of access and its customers.
                let is_shared = a == 100 && (64..128).contains(&b);
                if v4.is_loopback() || v4.is_unspecified() {
                    Self::Host
                } else if v4.is_link_local() {
                    Self::Link
                } else if v4.is_private() || is_shared {
                    Self::Private
                } else {
                    Self::Global
                }
            }
            IpAddr::V6(v6) => {
                if v6.is_loopback() || v6.is_unspecified() {
                    Self::Host
                } else if v6.is_unicast_link_local() {
                    Self::Link
                } else if v6.is_unique_local() {
                    Self::Private
                } else {
                    Self::Global
                }
            }
        }
    }
}

impl Candidate<'_> {
    fn scope(&self) -> Scope {
        Scope::of(self.address.ip())
    }

    /// Behind a bridge of this host is nobody who joins, unless the bridge is also the way out.
    fn is_inner(&self) -> bool {
        self.interface.is_inner && !self.interface.is_default
    }

    /// Who comes into the ticket when there is not room for all, the lowest first. One address for each interface and
    /// scope comes before the second of any: they lead to different networks, and the others of one interface mostly to
    /// the same.
    fn need(&self) -> (bool, bool, usize, Scope, Reverse<bool>) {
        let scope = self.scope();
        (self.is_inner(), scope == Scope::Link, self.earlier, scope, Reverse(self.interface.is_default))
    }

    /// In which order the ticket has them, the lowest first.
    fn rank(&self) -> (bool, Scope, Reverse<bool>, bool) {
        (self.is_inner(), self.scope(), Reverse(self.interface.is_default), self.address.is_ipv6())
    }
}

/// Chooses the addresses of a ticket: those that are advertised, then those of the sockets that are `bound`. A socket on
/// all addresses has those of all interfaces of its family, and 127.0.0.1 or `::1` after them where there is room.
pub fn choose(advertised: &[Advertised], bound: &[SocketAddr], interfaces: &[Interface]) -> Choice {
    let mut choice = Choice::default();
    for Advertised { ip, port } in advertised {
        let Some(port) = port.or_else(|| port_for(*ip, bound)) else { continue };
        choice.add(SocketAddr::new(*ip, port));
    }
    let (everywhere, named): (Vec<SocketAddr>, Vec<SocketAddr>) =
        bound.iter().copied().partition(|address| address.ip().is_unspecified());
    for address in named {
        choice.add(address);
    }
    let mut candidates = candidates(&everywhere, interfaces, &mut choice);
    // Both sorts keep the order of what is equal.
    candidates.sort_by_key(Candidate::need);
    let taken = |candidate: &Candidate<'_>| choice.chosen.contains(&candidate.address);
    candidates.retain(|candidate| !taken(candidate));
    let room = MAX_ADDRESSES.saturating_sub(choice.chosen.len()).min(candidates.len());
    let rest = candidates.split_off(room);
    candidates.sort_by_key(Candidate::rank);
    choice.chosen.extend(candidates.iter().map(|candidate| candidate.address));
    choice.left_out.extend(rest.iter().map(|one| LeftOut { address: one.address, why: Why::NoRoom }));
    // A provider on this host is dialed so, whatever becomes of the host's networks.
    if choice.chosen.len() < MAX_ADDRESSES
        && let Some(socket) = everywhere.iter().min_by_key(|address| address.is_ipv6())
    {
        let loopback = match socket.is_ipv4() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let loopback = SocketAddr::new(loopback, socket.port());
        choice.left_out.retain(|left_out| left_out.address != loopback);
        choice.add(loopback);
    }
    choice
}

impl Choice {
    /// Adds an address that was asked for by name.
    fn add(&mut self, address: SocketAddr) {
        if self.chosen.contains(&address) {
            return;
        }
        match self.chosen.len() < MAX_ADDRESSES {
            true => self.chosen.push(address),
            false => self.left_out.push(LeftOut { address, why: Why::NoRoom }),
        }
    }
}

/// The addresses of all interfaces at the ports of these sockets. What is of no use to others is left out at once.
fn candidates<'a>(
    sockets: &[SocketAddr],
    interfaces: &'a [Interface],
    choice: &mut Choice,
) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for interface in interfaces {
        let mut seen: HashMap<(Scope, bool), usize> = HashMap::new();
        for ip in &interface.addresses {
            let Some(socket) = sockets.iter().find(|socket| socket.is_ipv4() == ip.is_ipv4()) else {
                continue;
            };
            let address = SocketAddr::new(*ip, socket.port());
            let scope = Scope::of(*ip);
            let why = match scope {
                Scope::Host => Some(Why::Loopback),
                Scope::Link if ip.is_ipv6() => Some(Why::LinkLocal),
                _ => None,
            };
            if let Some(why) = why {
                choice.left_out.push(LeftOut { address, why });
                continue;
            }
            let earlier = seen.entry((scope, ip.is_ipv6())).or_insert(0);
            found.push(Candidate { address, interface, earlier: *earlier });
            *earlier += 1;
        }
    }
    found
}

/// The port of the socket that hears an address: that of its family, if there is one.
fn port_for(ip: IpAddr, bound: &[SocketAddr]) -> Option<u16> {
    bound.iter().min_by_key(|socket| socket.is_ipv4() != ip.is_ipv4()).map(SocketAddr::port)
}

#[cfg(test)]
mod tests;
