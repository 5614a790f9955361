//! The network as this machine sees it: ports, addresses, a blob sent to itself, and the coordinator that is configured.

use std::{
    ffi::OsStr,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use tidemill_api::{Check, Grade};
use tidemill_net::{
    addresses::{Choice, Scope, Why},
    blobs::{BLOBS_ALPN, BlobOptions, Blobs, Keeps, Pin},
    endpoint::{Bind, Node, NodeOptions},
    ticket::Pass,
    wire::Money,
};
use tidemill_scratch::Scratch;
use tidemill_types::ByteSize;
use tokio::time::timeout;

use super::{Findings, home::broken};
use crate::{network, requester::Requester, summary::plural};

/// A datagram to this machine itself takes no longer, however busy it is.
const LOOPBACK: Duration = Duration::from_secs(2);

/// How long the system may take to say which addresses it has.
const ADDRESSES: Duration = Duration::from_secs(3);

/// How long a blob of a megabyte may take from this machine to itself.
const BLOB: Duration = Duration::from_secs(20);

/// How long a coordinator may take to answer.
const COORDINATOR: Duration = Duration::from_secs(20);

/// The blob that is sent: longer than what travels inside of messages.
const BLOB_BYTES: usize = 1 << 20;

/// Looks at what needs nobody else.
pub async fn look(findings: &mut Findings) {
    findings.add(ports());
    findings.add(match addresses().await {
        Ok(choice) => reached(&choice, Path::new("/sys/class/net")),
        Err(error) => broken("addresses", &error),
    });
    let begun = Instant::now();
    findings.add(match timeout(BLOB, blob()).await {
        Ok(Ok(())) => {
            let took = begun.elapsed().as_millis();
            let found =
                format!("{} went out, came back and has its hash, in {took} ms", ByteSize(BLOB_BYTES as u64));
            Check::new("blobs", Grade::Good, found)
        }
        Ok(Err(error)) => broken("blobs", &error),
        Err(_) => Check::new("blobs", Grade::Fault, format!("a blob did not arrive within {BLOB:?}"))
            .mend("let UDP pass between addresses of this machine itself: look at its firewall"),
    });
}

/// Whether UDP goes from this machine to itself, over IPv4 and IPv6.
fn ports() -> Check {
    let echo = |ip: std::net::IpAddr| -> io::Result<()> {
        let (one, other) = (UdpSocket::bind((ip, 0))?, UdpSocket::bind((ip, 0))?);
        other.set_read_timeout(Some(LOOPBACK))?;
        one.send_to(b"tidemill", other.local_addr()?)?;
        let mut bytes = [0; 16];
        let (len, from) = other.recv_from(&mut bytes)?;
        if from != one.local_addr()? || &bytes[..len] != b"tidemill" {
            return Err(io::Error::other("another datagram came"));
        }
        Ok(())
    };
    match (echo(Ipv4Addr::LOCALHOST.into()), echo(Ipv6Addr::LOCALHOST.into())) {
        (Ok(()), Ok(())) => Check::new("ports", Grade::Good, "UDP works over IPv4 and IPv6"),
        (Ok(()), Err(_)) => Check::new("ports", Grade::Note, "UDP works over IPv4; there is no IPv6"),
        (Err(error), _) => {
            Check::new("ports", Grade::Fault, format!("UDP from this machine to itself fails: {error}")).mend(
                "let UDP pass on the loopback interface: look at the firewall, or at the container's network",
            )
        }
    }
}

/// Where a coordinator of this machine would be reached.
async fn addresses() -> anyhow::Result<Choice> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system has no randomness to give")?;
    let options = NodeOptions { bind: Bind::Everywhere { port: 0 }, ..NodeOptions::default() };
    let node = Node::bind(&secret, options).await?;
    let choice = node.addresses(&[], ADDRESSES).await;
    node.close().await;
    Ok(choice)
}

/// What others can do with these addresses.
fn reached(choice: &Choice, interfaces: &Path) -> Check {
    let of = |scope| -> Vec<String> {
        let chosen = choice.chosen.iter().map(SocketAddr::ip).filter(|ip| Scope::of(*ip) == scope);
        chosen.map(|ip| ip.to_string()).collect()
    };
    let (global, private) = (of(Scope::Global), of(Scope::Private));
    let bridges = bridges(interfaces);
    let bridges = match bridges.len() {
        0 => String::new(),
        _ => format!("; bridges of containers come last ({})", bridges.join(", ")),
    };
    let crowded = choice.left_out.iter().filter(|one| one.why == Why::NoRoom).count();
    let crowded = match crowded {
        0 => String::new(),
        count => format!("; not in a ticket for want of room: {count}"),
    };
    let more = bridges + &crowded;
    if !global.is_empty() {
        return Check::new(
            "addresses",
            Grade::Good,
            format!("reached from the internet at {}{more}", global.join(", ")),
        );
    }
    if private.is_empty() {
        let found = "this machine is on no network: only its own programs reach it";
        return Check::new("addresses", Grade::Note, found)
            .mend("connect it; one machine alone needs no network");
    }
    let found =
        format!("reached in its own networks at {}, and not from the internet{more}", private.join(", "));
    Check::new("addresses", Grade::Note, found).mend(
        "nothing for a provider or a requester, which dial out; a coordinator for the internet needs a UDP port that its \
         router passes on, and `--advertise` with the public address",
    )
}

/// The bridges of containers and virtual machines.
fn bridges(interfaces: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(interfaces).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_bridge = |name: &String| {
        ["docker", "br-", "virbr", "podman", "cni"].iter().any(|prefix| name.starts_with(prefix))
    };
    let mut found: Vec<String> = names.filter(is_bridge).collect();
    found.sort();
    found
}

/// Sends a blob from one node of this machine to another, and hashes it there.
async fn blob() -> anyhow::Result<()> {
    let scratch = Scratch::temporary().context("no directory for temporary files")?;
    let folder = async |name: &str| {
        let options = BlobOptions { keeps: Keeps::Durable, budget: 64 << 20, stall: BLOB };
        Blobs::open(&scratch.path().join(name), options).await
    };
    let (here, there) = (folder("here").await?, folder("there").await?);
    let bind = async || {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("the system has no randomness to give")?;
        let options = NodeOptions {
            bind: Bind::Loopback { port: 0 },
            protocols: vec![BLOBS_ALPN.to_vec()],
            ..NodeOptions::default()
        };
        anyhow::Ok(Node::bind(&secret, options).await?)
    };
    let (dialer, dialed) = (bind().await?, bind().await?);
    let ticket = dialed.ticket(Pass::draw()?, ADDRESSES).await?;
    let mut bytes = vec![0; BLOB_BYTES];
    getrandom::fill(&mut bytes).context("the system has no randomness to give")?;
    let pin = Pin::new("doctor")?;
    let sent = there.import_bytes(bytes.clone(), &pin).await?;
    let accept = async {
        let incoming = dialed.accept().await.context("the node ended")?;
        anyhow::Ok(incoming.finish().await?)
    };
    let (out, into) = tokio::join!(dialer.connect(&ticket, BLOBS_ALPN), accept);
    let (out, into) = (out?, into?);
    let serving = there.clone();
    let serving = tokio::spawn(async move { serving.serve(into, |_, _| true, 1).await });
    here.fetch(&out, sent, &pin, |_| {}).await?;
    let got = here.read(sent.id, BLOB_BYTES as u64).await?;
    anyhow::ensure!(got == bytes, "what came back differs from what was sent");
    tokio::join!(dialer.close(), dialed.close());
    serving.await?;
    Ok(())
}

/// Asks the coordinator that is meant who is there. How it pays, if it does.
pub async fn coordinator(findings: &mut Findings, join: Option<&OsStr>) -> Option<Money> {
    let ticket = match network::known(join) {
        Ok(Some(ticket)) => ticket,
        Ok(None) => {
            let found = "no network is configured; `tidemill run` makes one of this machine";
            findings.add(Check::new("coordinator", Grade::Skipped, found));
            return None;
        }
        Err(error) => {
            findings.add(broken("coordinator", &error));
            return None;
        }
    };
    let begun = Instant::now();
    let asked = timeout(COORDINATOR, async {
        let mut requester = Requester::connect(ticket).await?;
        let answered = begun.elapsed();
        let asked = async {
            let providers = requester.providers().await?;
            let terms = requester.terms_of(Vec::new()).await?;
            anyhow::Ok((providers, terms))
        };
        let asked = asked.await;
        requester.close().await;
        asked.map(|(providers, terms)| (answered, providers, terms))
    });
    let (answered, providers, terms) = match asked.await {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => {
            findings.add(broken("coordinator", &error));
            return None;
        }
        Err(_) => {
            let check =
                Check::new("coordinator", Grade::Fault, format!("it did not answer within {COORDINATOR:?}"));
            findings.add(check.mend("see whether it runs, and whether UDP passes to its address and port"));
            return None;
        }
    };
    let connected = providers.iter().filter(|provider| provider.connected).count() as u64;
    let pays = if terms.money.is_some() { "pays for work" } else { "is free" };
    let found = format!(
        "it answers in {} ms, has {} and {pays}",
        answered.as_millis(),
        plural(connected, "connected provider")
    );
    findings.add(match connected {
        0 => Check::new("coordinator", Grade::Warning, found)
            .mend("lend it a machine: `tidemill provide`, with `--join` and the same ticket"),
        _ => Check::new("coordinator", Grade::Good, found),
    });
    terms.money
}

#[cfg(test)]
mod tests {
    use tidemill_net::addresses::LeftOut;

    use super::*;

    fn choice(chosen: &[&str], left_out: &[&str]) -> Choice {
        let address = |text: &&str| text.parse().expect("an address");
        Choice {
            chosen: chosen.iter().map(address).collect(),
            left_out: left_out
                .iter()
                .map(|text| LeftOut { address: address(text), why: Why::NoRoom })
                .collect(),
        }
    }

    #[test]
    fn addresses_say_who_reaches_this_machine() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("docker0")).expect("a directory");
        std::fs::create_dir(place.path().join("eth0")).expect("a directory");
        let check = reached(&choice(&["203.0.113.7:1", "192.168.1.2:1", "127.0.0.1:1"], &[]), place.path());
        assert_eq!(check.grade, Grade::Good);
        assert!(check.found.contains("203.0.113.7") && check.found.contains("docker0"), "{}", check.found);
        let check = reached(&choice(&["192.168.1.2:1"], &["172.17.0.1:1"]), place.path());
        assert_eq!(check.grade, Grade::Note);
        assert!(check.found.contains("want of room: 1") && check.mend.is_some(), "{}", check.found);
        let check = reached(&choice(&["127.0.0.1:1"], &[]), place.path());
        assert!(check.found.contains("on no network"), "{}", check.found);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_blob_makes_the_round_trip() {
        blob().await.expect("loopback is there");
    }
}
