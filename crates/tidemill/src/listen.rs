//! Where a node listens: the options of all commands that start one.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use tidemill_net::endpoint::Bind;

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
        let ip = text
            .parse()
            .map_err(|_| "not an address: 192.168.1.7, 192.168.1.7:4433 or [2001:db8::1]:4433 is one")?;
        Ok(Self { ip, port: None })
    }
}

impl Listen {
    /// Within this machine.
    pub fn loopback() -> Self {
        Self { loopback: true, ..Self::default() }
    }

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
        let ip = match self.bind {
            Some(address) => address.ip,
            None if self.loopback => IpAddr::from([127, 0, 0, 1]),
            None => IpAddr::from([0, 0, 0, 0]),
        };
        if std::net::UdpSocket::bind((ip, port)).is_ok() {
            return port;
        }
        eprintln!(
            "warning: port {port} of the last start is not free; whoever joined then needs the new ticket"
        );
        0
    }
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
    }

    #[test]
    fn the_port_of_the_last_start_is_taken_again_if_it_is_free() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("an address").port();
        assert_eq!(Listen::loopback().choose(Some(port)).expect("a choice"), Bind::Loopback { port: 0 });
        drop(taken);
        assert_eq!(Listen::loopback().choose(Some(port)).expect("a choice"), Bind::Loopback { port });
    }
}
