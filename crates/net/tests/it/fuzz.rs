//! Whatever arrives is taken or refused, and nothing else. `TIDEMILL_FUZZ_CASES` says how often is tried.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::Config};
use tidemill_net::{
    frame::{self, Decoder, FrameError},
    opening::{Answer, MAX_REASON_BYTES, Opening, common_version},
    ticket::{Pass, Ticket},
};
use tidemill_types::NodeId;

const LIMIT: usize = 300;

fn config() -> Config {
    let cases = std::env::var("TIDEMILL_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: cases.unwrap_or(256), failure_persistence: None, ..Config::default() }
}

/// Changes to make to valid bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), 1..=255u8).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let len = bytes.len().max(1);
        match mutation {
            Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            _ if bytes.is_empty() => {}
            Mutation::Flip(at, bits) => bytes[at.index(len)] ^= bits,
            Mutation::Remove(at) => {
                bytes.remove(at.index(len));
            }
            Mutation::Cut(at) => bytes.truncate(at.index(len)),
        }
    }
}

/// The frames in a stream that arrives in pieces of these lengths, and how it ended.
fn frames(stream: &[u8], pieces: &[usize]) -> (Vec<Bytes>, Option<FrameError>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut found = Vec::new();
    let mut rest = stream;
    let mut lengths = pieces.iter().copied().cycle();
    loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        if rest.is_empty() {
            return (found, decoder.finish().err());
        }
        let (piece, after) = rest.split_at(lengths.next().unwrap_or(1).clamp(1, rest.len()));
        decoder.push(piece);
        rest = after;
    }
}

fn stream_of(bodies: &[Vec<u8>]) -> Vec<u8> {
    let frame = |body: &Vec<u8>| [&(body.len() as u32).to_le_bytes()[..], body].concat();
    bodies.iter().flat_map(frame).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_do_not_depend_on_how_they_arrive(
        bodies in vec(vec(any::<u8>(), 0..LIMIT), 0..8),
        pieces in vec(1..400usize, 1..8),
    ) {
        let (found, error) = frames(&stream_of(&bodies), &pieces);
        prop_assert!(error.is_none());
        prop_assert_eq!(found, bodies);
    }

    #[test]
    fn broken_streams_end_the_same_way_however_they_arrive(
        bodies in vec(vec(any::<u8>(), 0..60), 1..6),
        mutations in vec(mutation(), 1..6),
        pieces in vec(1..100usize, 1..8),
    ) {
        let mut stream = stream_of(&bodies);
        mutate(&mut stream, &mutations);
        let (found, error) = frames(&stream, &pieces);
        let (whole, other) = frames(&stream, &[usize::MAX]);
        prop_assert_eq!(&found, &whole);
        prop_assert_eq!(error.map(|error| error.to_string()), other.map(|error| error.to_string()));
        for frame in found {
            let _ = frame::decode::<(String, Vec<u64>, Option<[u8; 16]>)>(&frame);
        }
    }

    #[test]
    fn first_frames_are_taken_or_refused(
        versions in any::<(u32, u32)>(),
        body in vec(any::<u8>(), 0..100),
        reason in ".{0,2000}",
        mutations in vec(mutation(), 0..4),
    ) {
        let opening = Opening { versions: (versions.0.min(versions.1), versions.0.max(versions.1)), body: body.clone().into() };
        prop_assert_eq!(Opening::decode(&opening.encode().into()), Ok(opening.clone()));
        let welcome = Answer::Welcome { version: versions.0, body: body.into() };
        prop_assert_eq!(Answer::decode(&welcome.encode().into()), Ok(welcome.clone()));
        let not_now = Answer::NotNow { reason: reason.clone() };
        let taken = Answer::Taken { reason: reason.clone() };
        let refused = Answer::Refused { reason };
        for bytes in [opening.encode(), welcome.encode(), refused.encode(), not_now.encode(), taken.encode()] {
            let mut bytes = bytes;
            mutate(&mut bytes, &mutations);
            let bytes = Bytes::from(bytes);
            // What is taken is what its bytes say.
            if let Ok(taken) = Opening::decode(&bytes) {
                prop_assert_eq!(taken.encode(), bytes.to_vec());
                prop_assert!(taken.versions.0 <= taken.versions.1);
            }
            match Answer::decode(&bytes) {
                Ok(Answer::Refused { reason } | Answer::NotNow { reason } | Answer::Taken { reason }) => prop_assert!(reason.len() <= MAX_REASON_BYTES),
                Ok(taken) => prop_assert_eq!(taken.encode(), bytes.to_vec()),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn a_version_in_common_is_one_that_both_speak(a in any::<(u8, u8)>(), b in any::<(u8, u8)>()) {
        let range = |(x, y): (u8, u8)| (u32::from(x.min(y)), u32::from(x.max(y)));
        let (a, b) = (range(a), range(b));
        let last = (0..=255).rev().find(|v| (a.0..=a.1).contains(v) && (b.0..=b.1).contains(v));
        prop_assert_eq!(common_version(a, b), last);
    }

    #[test]
    fn tickets_survive_their_text_and_changed_ones_do_not(
        node in any::<[u8; 32]>(),
        pass in any::<[u8; 16]>(),
        addresses in vec(any::<std::net::SocketAddrV4>().prop_map(Into::into), 1..=16),
        mutations in vec(mutation(), 1..4),
    ) {
        let ticket = Ticket::new(NodeId(node), addresses, Pass::from_bytes(pass)).expect("1 to 16 addresses");
        let text = ticket.to_string();
        prop_assert_eq!(text.parse(), Ok(ticket.clone()));
        let mut bytes = text.clone().into_bytes();
        mutate(&mut bytes, &mutations);
        let changed = String::from_utf8_lossy(&bytes);
        match changed.parse::<Ticket>() {
            // Case and blanks around it do not count, and mutations may undo each other.
            Ok(taken) => prop_assert_eq!(taken, ticket),
            Err(_) => prop_assert_ne!(changed.as_ref(), text.as_str()),
        }
    }

    #[test]
    fn texts_are_tickets_or_refused(text in "(tidemill[0-9])?[a-zA-Z2-7 ]{0,200}") {
        let _ = text.parse::<Ticket>();
    }
}
