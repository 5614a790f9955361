//! Tickets as people pass them on.

use tidemill_net::ticket::{MAX_ADDRESSES, Pass, Ticket, TicketError};
use tidemill_types::NodeId;

fn ticket() -> Ticket {
    let addresses = vec!["192.0.2.1:4433".parse().expect("v4"), "[2001:db8::1]:4433".parse().expect("v6")];
    Ticket::new(NodeId([9; 32]), addresses, Pass::from_bytes([3; 16])).expect("two addresses")
}

#[test]
fn a_ticket_survives_its_text() {
    let text = ticket().to_string();
    assert!(text.starts_with("tidemill1"), "{text}");
    assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{text}");
    assert_eq!(text.parse(), Ok(ticket()));
    assert_eq!(format!("  {}\n", text.to_uppercase()).parse(), Ok(ticket()));
}

#[test]
fn a_mistake_in_it_is_named() {
    let text = ticket().to_string();
    let parse = |text: &str| text.parse::<Ticket>().expect_err("no ticket");
    assert_eq!(parse(""), TicketError::NotATicket);
    assert_eq!(parse("job.toml"), TicketError::NotATicket);
    assert_eq!(parse("tidemill"), TicketError::NotATicket);
    assert_eq!(parse(&text.replacen('1', "2", 1)), TicketError::Newer);
    assert_eq!(parse("tidemill1"), TicketError::Damaged);
    assert_eq!(parse(&text[..text.len() - 1]), TicketError::Damaged);
    assert_eq!(parse(&format!("{text}a")), TicketError::Damaged);
    assert_eq!(parse(&"tidemill1".repeat(1000)), TicketError::NotATicket);
    for at in "tidemill1".len()..text.len() {
        let typo = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
        let mut mistyped = text.clone();
        mistyped.replace_range(at..=at, typo);
        assert_eq!(parse(&mistyped), TicketError::Damaged, "{mistyped}");
    }
}

#[test]
fn it_has_a_bounded_number_of_addresses() {
    let at = "192.0.2.1:1".parse().expect("an address");
    let of = |count| Ticket::new(NodeId([9; 32]), vec![at; count], Pass::from_bytes([3; 16]));
    assert_eq!(of(0), Err(TicketError::Addresses(0)));
    assert_eq!(of(MAX_ADDRESSES + 1), Err(TicketError::Addresses(17)));
    let most = of(MAX_ADDRESSES).expect("16 addresses");
    assert_eq!(most.to_string().parse(), Ok(most));
}

#[test]
fn the_pass_is_told_apart_and_never_logged() {
    let ticket = ticket();
    assert!(ticket.matches(&[3; 16]));
    assert!(!ticket.matches(&[4; 16]));
    assert!(!format!("{ticket:?} {:?}", ticket.pass()).contains("3, 3"), "{ticket:?}");
}
