//! Where a node listens and where others reach it: the options of all commands that start one.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

use tidemill_net::{addresses::Advertised, endpoint::Bind, ticket::MAX_ADDRESSES};

use crate::exit::{Code, Exit};

/// Where a node listens.
#[derive(clap::Args, Clone, Default)]
pub struct Listen {
    /// Listen on this address alone [default: all addresses of this machine]
    #[arg(long, value_name = "ADDR[:PORT]", conflicts_with = "loopback")]
    bind: Option<Address>,
    /// The UDP port; 0 takes any that is free, as is the default, but a coordinator keeps the one it had
    #[arg(long)]
    port: Option<u16>,
    /// Listen on 127.0.0.1 alone: for a network within this machine
    #[arg(long)]
    loopback: bool,
}

/// Where a coordinator listens, and where others reach it.
#[derive(clap::Args, Clone, Default)]
pub struct Reach {
    #[command(flatten)]
    listen: Listen,
    /// Put this address first into the ticket, as behind a NAT that passes it on to this machine; without a port, the one that
    /// is listened on. May be given several times
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = advertised)]
    advertise: Vec<Advertised>,
}

/// An address with or without a port.
#[derive(Clone, Copy)]
struct Address {
    ip: IpAddr,
    port: Option<u16>,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { ip: address.ip(), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let ip = match bare {
            Some(bare) => bare.parse().map(IpAddr::V6),
            None => text.parse(),
        };
        let ip =
            ip.map_err(|_| "not an address: 192.168.1.7, 192.168.1.7:4433 or [2001:db8::1]:4433 is one")?;
        Ok(Self { ip, port: None })
    }
}

/// An address to advertise. Others have to be able to dial it.
fn advertised(text: &str) -> Result<Advertised, String> {
    let Address { ip, port } = text.parse::<Address>().map_err(|_| {
        "a ticket holds addresses and no names: look the name up, and say an address like 203.0.113.7, \
         203.0.113.7:4433 or [2001:db8::1]:4433"
            .to_owned()
    })?;
    let ip = ip.to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    let is_link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if ip.is_unspecified() {
        return Err(format!("{ip} stands for all addresses of a machine: say the one that others dial"));
    }
    if ip.is_multicast() || is_broadcast {
        return Err(format!("{ip} is the address of many machines"));
    }
    if is_link_local {
        return Err(format!("{ip} is known on one link alone, and a ticket does not say on which"));
    }
    if port == Some(0) {
        return Err("nobody can dial port 0: leave it out, or say the port that others dial".to_owned());
    }
    Ok(Advertised { ip, port })
}

impl Reach {
    /// Within this machine.
    pub fn loopback() -> Self {
        Self { listen: Listen { loopback: true, ..Listen::default() }, ..Self::default() }
    }

    /// Where to listen. `kept` is the port of the last start.
    ///
    /// # Errors
    /// With [`Code::Usage`] when two ports are named.
    pub fn listen(&self, kept: Option<u16>) -> anyhow::Result<Bind> {
        Ok(match self.listen.choose(kept)? {
            Bind::Everywhere { port: 0 } => Bind::Everywhere { port: on_both().unwrap_or(0) },
            chosen => chosen,
        })
    }

    /// Where others reach it as well.
    pub fn advertised(&self) -> &[Advertised] {
        &self.advertise
    }

    /// Refuses what no ticket holds, before anything is made.
    ///
    /// # Errors
    /// With [`Code::Usage`]
    pub fn check(&self) -> anyhow::Result<()> {
        let count = self.advertise.len();
        if count > MAX_ADDRESSES {
            let message = format!("--advertise names {count} addresses, and a ticket holds {MAX_ADDRESSES}");
            return Err(Exit::new(Code::Usage, message).hint("name those that others dial").into());
        }
        Ok(())
    }
}

impl Listen {
    /// Where to listen. `kept` is the port of the last start.
    ///
    /// # Errors
    /// With [`Code::Usage`] when two ports are named.
    pub fn choose(&self, kept: Option<u16>) -> anyhow::Result<Bind> {
        let port = match (self.port, self.bind.and_then(|address| address.port)) {
            (Some(one), Some(other)) if one != other => {
                let message = format!("--bind names port {other}, and --port {one}");
                return Err(Exit::new(Code::Usage, message).hint("name the port once").into());
            }
            (one, other) => one.or(other),
        };
        let port = port.unwrap_or_else(|| self.free(kept));
        Ok(match self.bind {
            Some(address) => Bind::At(SocketAddr::new(address.ip, port)),
            None if self.loopback => Bind::Loopback { port },
            None => Bind::Everywhere { port },
        })
    }

    /// The kept port if it is free, else 0.
    fn free(&self, kept: Option<u16>) -> u16 {
        let Some(port) = kept else { return 0 };
        let (ip, is_free_on_ipv6) = match self.bind {
            Some(address) => (address.ip, true),
            None if self.loopback => (IpAddr::from(Ipv4Addr::LOCALHOST), true),
            None => (IpAddr::from(Ipv4Addr::UNSPECIFIED), is_free_on_ipv6(port)),
        };
        if UdpSocket::bind((ip, port)).is_ok() && is_free_on_ipv6 {
            return port;
        }
        eprintln!(
            "warning: port {port} of the last start is not free; whoever joined then needs the new ticket"
        );
        0
    }
}

/// A port that is free for IPv4 and for IPv6, so that a ticket with addresses of both holds after a restart.
fn on_both() -> Option<u16> {
    /// Ports that the system is asked for: one that IPv6 alone has taken is rare.
    const ATTEMPTS: usize = 8;
    let drawn = || Some(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?.local_addr().ok()?.port());
    (0..ATTEMPTS).filter_map(|_| drawn()).find(|port| is_free_on_ipv6(*port))
}

/// Whether nobody has the port on IPv6, as where there is no IPv6.
fn is_free_on_ipv6(port: u16) -> bool {
    let bound = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_at_most_once() {
        let listen = |bind: &str, port| Listen { bind: bind.parse().ok(), port, loopback: false };
        let at = |text: &str| Bind::At(text.parse().expect("an address"));
        assert_eq!(listen("10.0.0.1:7", None).choose(Some(9)).expect("one port"), at("10.0.0.1:7"));
        assert_eq!(listen("10.0.0.1", Some(8)).choose(Some(9)).expect("one port"), at("10.0.0.1:8"));
        assert_eq!(listen("10.0.0.1:7", Some(7)).choose(None).expect("one port"), at("10.0.0.1:7"));
        assert_eq!(listen("", None).choose(None).expect("no port"), Bind::Everywhere { port: 0 });
        assert!(listen("10.0.0.1:7", Some(8)).choose(None).is_err());
        assert!("host.example".parse::<Address>().is_err());
        assert_eq!(listen("[::1]", Some(9)).choose(None).expect("one port"), at("[::1]:9"));
        assert!("[127.0.0.1]".parse::<Address>().is_err(), "brackets are for IPv6");
    }

    #[test]
    fn what_is_advertised_is_what_others_can_dial() {
        let of = |ip: &str, port| Ok(Advertised { ip: ip.parse().expect("an address"), port });
        assert_eq!(advertised("203.0.113.7"), of("203.0.113.7", None));
        assert_eq!(advertised("203.0.113.7:40000"), of("203.0.113.7", Some(40_000)));
        assert_eq!(advertised("2001:db8::7"), of("2001:db8::7", None));
        assert_eq!(advertised("[2001:db8::7]"), of("2001:db8::7", None));
        assert_eq!(advertised("[2001:db8::7]:40000"), of("2001:db8::7", Some(40_000)));
        for name in [
            "host.example",
            "host.example:4433",
            "localhost",
            "",
            "1.2.3",
            "203.0.113.7:",
            "203.0.113.7:99999",
        ] {
            let refused = advertised(name).expect_err(name);
            assert!(
                refused.contains("no names") && refused.contains("203.0.113.7:4433"),
                "{name}: {refused}"
            );
        }
        for (text, words) in [
            ("0.0.0.0", "stands for all"),
            ("[::]:4433", "stands for all"),
            ("224.0.0.1", "many machines"),
            ("255.255.255.255:1", "many machines"),
            ("fe80::1", "one link"),
            ("203.0.113.7:0", "port 0"),
        ] {
            let refused = advertised(text).expect_err(text);
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }

    #[test]
    fn a_coordinator_on_all_addresses_has_one_port_for_both_families() {
        let Ok(Bind::Everywhere { port }) = Reach::default().listen(None) else { panic!("not everywhere") };
        assert_ne!(port, 0);
        assert!(is_free_on_ipv6(port));
        assert_eq!(Reach::default().listen(Some(port)).ok(), Some(Bind::Everywhere { port }));
        let Ok(taken) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) else { return };
        let port = taken.local_addr().expect("an address").port();
        assert!(!is_free_on_ipv6(port));
    }

    #[test]
    fn the_port_of_the_last_start_is_taken_again_if_it_is_free() {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let reach = Reach::loopback();
        assert_eq!(reach.listen(Some(port)).expect("a choice"), Bind::Loopback { port: 0 });
        drop(taken);
        assert_eq!(reach.listen(Some(port)).expect("a choice"), Bind::Loopback { port });
    }
}
