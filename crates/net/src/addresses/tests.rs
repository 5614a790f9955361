use super::*;

const EVERYWHERE: &str = "0.0.0.0:4433";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn all(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| at(text)).collect()
}

fn interface(name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
    Interface { name: name.to_owned(), is_default: false, is_inner: false, addresses }
}

fn loopback() -> Interface {
    interface("lo", &["127.0.0.1", "::1"])
}

fn left_out(choice: &Choice, why: Why) -> Vec<SocketAddr> {
    choice.left_out.iter().filter(|one| one.why == why).map(|one| one.address).collect()
}

/// The machine of the report: twenty addresses of one interface, and the one that a provider can reach of another.
#[test]
fn each_interface_has_its_first_address_before_any_has_its_second() {
    let many: Vec<String> = (1..=20).map(|number| format!("10.50.{number}.1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let interfaces = [loopback(), interface("eth0", &many), interface("eth1", &["192.168.77.1"])];
    let choice = choose(&[], &all(&[EVERYWHERE]), &interfaces);
    assert_eq!(choice.chosen.len(), MAX_ADDRESSES);
    assert!(choice.chosen.contains(&at("192.168.77.1:4433")), "{choice:?}");
    let expected =
        ["10.50.16.1:4433", "10.50.17.1:4433", "10.50.18.1:4433", "10.50.19.1:4433", "10.50.20.1:4433"];
    assert_eq!(left_out(&choice, Why::NoRoom), all(&expected));
    assert_eq!(left_out(&choice, Why::Loopback), all(&["127.0.0.1:4433"]));
}

#[test]
fn far_addresses_come_first_and_bridges_of_this_host_last() {
    let docker = Interface { is_inner: true, ..interface("docker0", &["172.17.0.1"]) };
    let interfaces = [
        docker,
        interface("eth0", &["192.168.1.5", "203.0.113.9"]),
        Interface { is_default: true, ..interface("eth1", &["10.0.0.5", "2001:db8::5", "fe80::5"]) },
        interface("eth2", &["169.254.7.7", "fd00::5"]),
        loopback(),
    ];
    let choice = choose(&[], &all(&[EVERYWHERE, "[::]:4434"]), &interfaces);
    let expected = [
        "[2001:db8::5]:4434",
        "203.0.113.9:4433",
        "10.0.0.5:4433",
        "192.168.1.5:4433",
        "[fd00::5]:4434",
        "169.254.7.7:4433",
        "172.17.0.1:4433",
        "127.0.0.1:4433",
    ];
    assert_eq!(choice.chosen, all(&expected));
    assert_eq!(left_out(&choice, Why::LinkLocal), all(&["[fe80::5]:4434"]));
    assert_eq!(left_out(&choice, Why::Loopback), all(&["[::1]:4434"]));
    assert!(left_out(&choice, Why::NoRoom).is_empty(), "{choice:?}");
}

#[test]
fn many_bridges_do_not_push_out_the_way_to_others() {
    let name = |number: u8| (format!("br-{number:02}"), format!("172.20.{number}.1"));
    let bridges = (1..=30)
        .map(name)
        .map(|(name, address)| Interface { is_inner: true, ..interface(&name, &[address.as_str()]) });
    let outside = interface("wlan0", &["192.168.1.5", "192.168.1.6"]);
    // A host whose bridge is also its way out, as with virtual machines.
    let bridged = Interface { is_inner: true, is_default: true, ..interface("zbr", &["10.9.0.1"]) };
    let interfaces: Vec<Interface> = bridges.chain([outside, bridged]).collect();
    let choice = choose(&[], &all(&[EVERYWHERE]), &interfaces);
    assert_eq!(choice.chosen[..3], all(&["10.9.0.1:4433", "192.168.1.5:4433", "192.168.1.6:4433"]));
    assert_eq!(choice.chosen.len(), MAX_ADDRESSES);
    assert_eq!(left_out(&choice, Why::NoRoom).len(), 30 - (MAX_ADDRESSES - 3));
}

#[test]
fn what_is_advertised_comes_first_and_has_the_port_that_is_listened_on() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let advertised = [
        Advertised { ip: ip("198.51.100.7"), port: Some(40_000) },
        Advertised { ip: ip("2001:db8::7"), port: None },
        Advertised { ip: ip("192.168.1.5"), port: None },
    ];
    let interfaces = [interface("eth0", &["192.168.1.5", "192.168.1.6"])];
    let choice = choose(&advertised, &all(&[EVERYWHERE]), &interfaces);
    let expected = [
        "198.51.100.7:40000",
        "[2001:db8::7]:4433",
        "192.168.1.5:4433",
        "192.168.1.6:4433",
        "127.0.0.1:4433",
    ];
    assert_eq!(choice.chosen, all(&expected));
    assert!(choice.left_out.is_empty(), "{choice:?}");

    let choice = choose(&advertised[..1], &all(&["127.0.0.1:4433"]), &interfaces);
    assert_eq!(choice.chosen, all(&["198.51.100.7:40000", "127.0.0.1:4433"]));

    let crowd: Vec<Advertised> =
        (1..=17).map(|port| Advertised { ip: ip("198.51.100.7"), port: Some(port) }).collect();
    let choice = choose(&crowd, &all(&[EVERYWHERE]), &interfaces);
    assert_eq!(choice.chosen.len(), MAX_ADDRESSES);
    let expected = ["198.51.100.7:17", "192.168.1.5:4433", "192.168.1.6:4433"];
    assert_eq!(left_out(&choice, Why::NoRoom), all(&expected));
}

#[test]
fn loopback_is_for_this_host() {
    let choice = choose(&[], &all(&[EVERYWHERE]), &[loopback()]);
    assert_eq!((choice.chosen, choice.left_out), (all(&["127.0.0.1:4433"]), Vec::new()));
    let choice = choose(&[], &all(&["[::]:4433"]), &[]);
    assert_eq!((choice.chosen, choice.left_out), (all(&["[::1]:4433"]), Vec::new()));
    let choice = choose(&[], &[], &[loopback()]);
    assert_eq!(choice, Choice::default(), "a node that is closed");
    let choice = choose(&[], &all(&["192.168.1.5:9"]), &[loopback(), interface("eth0", &["10.0.0.1"])]);
    assert_eq!(choice.chosen, all(&["192.168.1.5:9"]), "what it was told to listen on");
}

#[test]
fn scopes_are_those_of_the_registries() {
    let scope = |text: &str| Scope::of(text.parse().expect("an address"));
    for (text, expected) in [
        ("8.8.8.8", Scope::Global),
        ("100.64.0.1", Scope::Private),
        ("100.128.0.1", Scope::Global),
        ("172.31.0.1", Scope::Private),
        ("169.254.0.1", Scope::Link),
        ("127.9.9.9", Scope::Host),
        ("2600::1", Scope::Global),
        ("fd12::1", Scope::Private),
        ("fe80::1", Scope::Link),
        ("::1", Scope::Host),
        ("::ffff:10.0.0.1", Scope::Private),
    ] {
        assert_eq!(scope(text), expected, "{text}");
    }
}
