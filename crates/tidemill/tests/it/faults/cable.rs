//! The cable between a provider and its coordinator, which a test can pull.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tidemill_net::ticket::Ticket;

use crate::support::Place;

/// Passes datagrams on, or drops them.
pub struct Cable(Arc<Ends>);

struct Ends {
    /// Where the provider sends to, and gets its answers from.
    front: UdpSocket,
    /// Its like towards the coordinator.
    back: UdpSocket,
    provider: Mutex<Option<SocketAddr>>,
    is_pulled: AtomicBool,
    is_gone: AtomicBool,
    passed: AtomicU64,
}

/// How soon a thread notices that its cable is gone.
const GLANCE: Duration = Duration::from_millis(100);

/// No datagram is longer.
const LONGEST: usize = 65_536;

impl Cable {
    /// A cable to the coordinator of the ticket in `ticket`; a ticket that leads through it is in `cable`.
    pub fn lay(place: &Place) -> Self {
        let text = fs::read_to_string(place.path("ticket")).expect("a ticket");
        let ticket: Ticket = text.parse().expect("a ticket");
        let [front, back] = [(); 2].map(|()| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_read_timeout(Some(GLANCE)).expect("a socket");
            socket
        });
        let to = *ticket.addresses().first().expect("an address");
        back.connect(to).expect("an address of this machine");
        let address = front.local_addr().expect("it is bound");
        let through = Ticket::new(ticket.node(), vec![address], ticket.pass().clone()).expect("an address");
        place.write("cable", through.to_string());
        let ends = Ends {
            front,
            back,
            provider: Mutex::default(),
            is_pulled: AtomicBool::default(),
            is_gone: AtomicBool::default(),
            passed: AtomicU64::default(),
        };
        let ends = Arc::new(ends);
        let (there, back) = (ends.clone(), ends.clone());
        thread::spawn(move || there.carry_there());
        thread::spawn(move || back.carry_back());
        Self(ends)
    }

    /// From now on nothing arrives.
    pub fn pull(&self) {
        self.0.is_pulled.store(true, Ordering::Relaxed);
    }

    /// It is as it was.
    pub fn plug_in(&self) {
        self.0.is_pulled.store(false, Ordering::Relaxed);
    }

    /// How many datagrams arrived.
    pub fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::Relaxed)
    }
}

impl Ends {
    fn carry_there(&self) {
        let mut datagram = vec![0; LONGEST];
        while !self.is_gone.load(Ordering::Relaxed) {
            let Ok((len, from)) = self.front.recv_from(&mut datagram) else { continue };
            *self.provider.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            if self.lets_pass() {
                // A coordinator that is not there is none of the cable's business.
                let _ = self.back.send(&datagram[..len]);
            }
        }
    }

    fn carry_back(&self) {
        let mut datagram = vec![0; LONGEST];
        while !self.is_gone.load(Ordering::Relaxed) {
            let Ok(len) = self.back.recv(&mut datagram) else { continue };
            let provider = *self.provider.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(provider) = provider.filter(|_| self.lets_pass()) {
                let _ = self.front.send_to(&datagram[..len], provider);
            }
        }
    }

    fn lets_pass(&self) -> bool {
        let passes = !self.is_pulled.load(Ordering::Relaxed);
        self.passed.fetch_add(u64::from(passes), Ordering::Relaxed);
        passes
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Relaxed);
    }
}
