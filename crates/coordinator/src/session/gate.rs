//! How many connections there may be: of all, of one address, and in handshakes, which anybody can begin.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections at a time; more are turned away.
const MOST: usize = 4096;

/// Of these, those that are not through their handshake: few enough that its cost is bounded.
const MOST_IN_HANDSHAKE: usize = 512;

/// While so many are, each has to show that it hears what is sent to its address, so that nobody holds places in the name of
/// addresses that are not its own.
const BUSY: usize = 64;

/// Connections of one address, which may be that of a house with many machines, two for each.
const MOST_OF_ADDRESS: usize = 512;

/// Of these, those in handshakes.
const MOST_OF_ADDRESS_IN_HANDSHAKE: usize = 64;

/// The places for connections.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    all: usize,
    in_handshake: usize,
    of_address: HashMap<IpAddr, OfAddress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfAddress {
    all: usize,
    in_handshake: usize,
}

/// What becomes of one that comes.
#[derive(Debug)]
pub enum Entrance {
    /// It may begin its handshake.
    Open(Place),
    /// It has to show first that it hears what is sent to its address.
    AskAgain,
    /// There are too many.
    Closed,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    in_handshake: bool,
}

impl Gate {
    /// Somebody comes from an address, where that is known. `is_heard`: whether it has shown that it is there.
    pub fn come(self: &Arc<Self>, address: Option<IpAddr>, is_heard: bool) -> Entrance {
        let address = address.and_then(of_one_hand);
        let mut places = self.lock();
        if places.all >= MOST || places.in_handshake >= MOST_IN_HANDSHAKE {
            return Entrance::Closed;
        }
        if address.is_some() && !is_heard && places.in_handshake >= BUSY {
            return Entrance::AskAgain;
        }
        if let Some(address) = address {
            let of_it = places.of_address.entry(address).or_default();
            if of_it.all >= MOST_OF_ADDRESS || of_it.in_handshake >= MOST_OF_ADDRESS_IN_HANDSHAKE {
                return Entrance::Closed;
            }
            of_it.all += 1;
            of_it.in_handshake += 1;
        }
        places.all += 1;
        places.in_handshake += 1;
        Entrance::Open(Place { gate: self.clone(), address, in_handshake: true })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It is through its handshake.
    pub fn is_through(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            let mut places = self.gate.lock();
            places.in_handshake -= 1;
            if let Some(of_it) = self.address.and_then(|address| places.of_address.get_mut(&address)) {
                of_it.in_handshake -= 1;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_through();
        let mut places = self.gate.lock();
        places.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(of_it) = places.of_address.get_mut(&address) {
            of_it.all -= 1;
            if of_it.all == 0 {
                places.of_address.remove(&address);
            }
        }
    }
}

/// The part of an address that is in one hand: 64 bits of one of version 6. None of this machine's own, behind which is
/// whoever runs the coordinator.
fn of_one_hand(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        own if own.is_loopback() => None,
        IpAddr::V6(v6) => Some(IpAddr::V6((v6.to_bits() >> 64 << 64).into())),
        v4 => Some(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(entrance: Entrance) -> Place {
        match entrance {
            Entrance::Open(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let gate = Arc::new(Gate::default());
        let mut places = Vec::new();
        // All in the same network of version 6, whoever they say that they are.
        for number in 0..MOST_OF_ADDRESS {
            let mut place = open(gate.come(address(&format!("2001:db8::{number:x}")), true));
            place.is_through();
            places.push(place);
        }
        assert!(matches!(gate.come(address("2001:db8::9:9"), true), Entrance::Closed));
        let mut other = open(gate.come(address("192.0.2.1"), true));
        other.is_through();
        places.pop();
        open(gate.come(address("2001:db8::9:9"), true));
    }

    #[test]
    fn handshakes_that_nobody_ends_are_few_and_of_who_is_there() {
        let gate = Arc::new(Gate::default());
        let from = |number: usize| address(&format!("192.0.{}.{}", number / 250, number % 250 + 1));
        let mut places: Vec<Place> = (0..BUSY).map(|number| open(gate.come(from(number), false))).collect();
        assert!(matches!(gate.come(from(BUSY), false), Entrance::AskAgain));
        places.extend((BUSY..MOST_IN_HANDSHAKE).map(|number| open(gate.come(from(number), true))));
        assert!(matches!(gate.come(from(MOST_IN_HANDSHAKE), true), Entrance::Closed));
        places.pop();
        let of_one: Vec<Entrance> = (0..2).map(|_| gate.come(address("198.51.100.7"), true)).collect();
        assert!(matches!(of_one[..], [Entrance::Open(_), Entrance::Closed]));
        drop((places, of_one));
        assert!(gate.lock().of_address.is_empty() && gate.lock().all == 0);
    }

    #[test]
    fn this_machine_is_bounded_by_all_places_alone() {
        let gate = Arc::new(Gate::default());
        let places: Vec<Place> = (0..2 * MOST_OF_ADDRESS)
            .map(|_| {
                let mut place = open(gate.come(address("127.0.0.1"), false));
                place.is_through();
                place
            })
            .collect();
        assert!(matches!(gate.come(address("::1"), false), Entrance::Open(_)), "after {}", places.len());
    }
}
