//! Who is let in, and what the others are told.

use std::{net::IpAddr, time::Duration};

use tidemill_net::{
    endpoint::{Connection, SendStream, remote_address},
    frame::FrameWriter,
    opening, probe,
    session::Session,
    wire::{Hello, Role, ToProvider},
};
use tidemill_types::{Address, Engine, FloatClass, NodeId, Offer};

use super::seats::Seat;
use crate::{event::SessionId, outbox::Outgoing, passes::LetIn, shared::Shared};

/// A process that does not say within so long that it lives is taken for dead. Well below what a dialer waits for its
/// welcome, and long for a machine whose cores are all busy. Nobody waits for it who only comes back.
const PROBE: Duration = Duration::from_secs(2);

/// Sessions of one node at a time, of as many processes of its home.
const MOST_SESSIONS_OF_NODE: usize = 64;

/// A dialer that is let in.
pub struct Admitted<'a> {
    /// The account that it works for.
    pub operator: Address,
    /// Its pass.
    _let_in: LetIn<'a>,
    /// A provider's seat.
    _seat: Option<Seated<'a>>,
}

/// A dialer that is not.
pub enum TurnedAway {
    /// As it is, it never will be.
    Refused(String),
    /// Not now.
    NotNow(String),
    /// Another process of its node is here.
    Copy(String),
}

/// A provider's seat, for as long as its session lasts.
struct Seated<'a> {
    shared: &'a Shared,
    node: NodeId,
    session: SessionId,
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.shared.seats.leave(self.node, self.session);
    }
}

impl TurnedAway {
    /// Why, for a person.
    pub fn reason(&self) -> &str {
        let (Self::Refused(reason) | Self::NotNow(reason) | Self::Copy(reason)) = self;
        reason
    }

    /// Tells the dialer.
    pub async fn tell(&self, writer: &mut FrameWriter<SendStream>) {
        // Whoever has hung up meanwhile needs no reason.
        let _ = match self {
            Self::Refused(reason) => opening::refuse(writer, reason).await,
            Self::NotNow(reason) => opening::put_off(writer, reason).await,
            Self::Copy(reason) => opening::refuse_copy(writer, reason).await,
        };
    }
}

/// Lets a dialer in as the session with this number, or says why not.
pub async fn admit<'a>(
    shared: &'a Shared,
    session: &Session,
    hello: &Hello,
    id: SessionId,
) -> Result<Admitted<'a>, TurnedAway> {
    let node = session.peer;
    let let_in = shared.passes.admit(&hello.pass, &hello.role, (node, id)).map_err(TurnedAway::Refused)?;
    if let Role::Provider { offer, .. } = &hello.role {
        check_offer(offer).map_err(TurnedAway::Refused)?;
    }
    if let Some(left) = shared.peers.banned(node) {
        let reason = format!("it broke the protocol; it may come back in {} s", left.as_secs() + 1);
        return Err(TurnedAway::NotNow(reason));
    }
    if shared.peers.sessions_of(node) >= MOST_SESSIONS_OF_NODE {
        let reason = format!("{MOST_SESSIONS_OF_NODE} sessions of its node are open: end one of them first");
        return Err(TurnedAway::NotNow(reason));
    }
    let signer = hello.binding.address;
    let Role::Provider { incarnation, .. } = &hello.role else {
        return Ok(Admitted { operator: signer, _let_in: let_in, _seat: None });
    };
    // The ledger is not asked for strangers.
    let operator = operator(shared, signer).await?;
    let seat = Seat { session: id, incarnation: *incarnation, connection: session.connection.clone() };
    seated(shared, node, seat).await?;
    Ok(Admitted { operator, _let_in: let_in, _seat: Some(Seated { shared, node, session: id }) })
}

/// Gives a provider's seat to a process, unless another one has it that lives: both are told then.
async fn seated(shared: &Shared, node: NodeId, seat: Seat<Connection>) -> Result<(), TurnedAway> {
    let Err(holder) = shared.seats.take(node, seat.clone(), None) else { return Ok(()) };
    if probe::lives(&holder.connection, PROBE).await {
        return Err(is_a_copy(shared, node, &holder, &seat));
    }
    // Whoever took it meanwhile is looked at when this one dials again.
    let taken = shared.seats.take(node, seat, Some(holder.session));
    taken.map_err(|_| TurnedAway::NotNow("another process with this provider's key came first".to_owned()))
}

fn is_a_copy(
    shared: &Shared,
    node: NodeId,
    holder: &Seat<Connection>,
    second: &Seat<Connection>,
) -> TurnedAway {
    let (here, from) = (remote_address(&holder.connection), remote_address(&second.connection));
    tracing::warn!(
        node = %node.short(),
        here = place(here),
        from = place(from),
        "a second process with a provider's key is turned away while the first lives: copied directory?"
    );
    if let Some(outbox) = shared.outboxes.get(holder.session) {
        outbox.put(Outgoing::ToProvider(ToProvider::CopyRefused { from }));
    }
    let at = here.map_or_else(String::new, |here| format!(" from {here}"));
    TurnedAway::Copy(format!("another process with this provider's key is connected{at}: copied directory?"))
}

fn place(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
}

/// The account that a provider with this result key works for: where work is free, the key's own.
async fn operator(shared: &Shared, signer: Address) -> Result<Address, TurnedAway> {
    let Some(teller) = &shared.teller else { return Ok(signer) };
    match teller.operator_of(signer).await {
        Ok(Some(operator)) => Ok(operator),
        Ok(None) => Err(TurnedAway::Refused(format!(
            "its result key {signer} is bound to no provider's account on the ledger: register first, as with \
             `tidemill bond`"
        ))),
        Err(error) => Err(TurnedAway::NotNow(format!("the coordinator cannot look at the ledger: {error}"))),
    }
}

/// Whether an offer fits this network, when its provider comes and whenever it changes. Engines that are old get no work; a
/// provider that has no others is told.
pub fn check_offer(offer: &Offer) -> Result<(), String> {
    for engine in &offer.engines {
        // Whoever makes up a class of its own would have its results compared by its own machines alone.
        let (class, known) = (engine.hardware_class.as_deref(), engine.kind.hardware_classes());
        let is_known =
            class.map_or(!engine.floats.contains(&FloatClass::Native), |class| known.contains(&class));
        if !is_known {
            return Err(format!(
                "it offers native floats of the hardware class {:?}, and this network knows {}",
                tidemill_types::one_line(class.unwrap_or("none"), 40),
                known.join(", ")
            ));
        }
    }
    let Some(first) = offer.engines.first() else {
        return Err("it offers no engine to run programs on".to_owned());
    };
    if !offer.engines.iter().any(Engine::is_current) {
        return Err(format!(
            "it executes tasks by version {} of the rules, this network by version {}: install the same version of \
             Tidemill",
            first.exec_version,
            first.kind.version()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemill_types::{ByteSize, Capacity, ProgramKind, RateCard};

    use super::*;

    fn engine(exec_version: u32, hardware_class: &str) -> Engine {
        Engine {
            kind: ProgramKind::Wasm,
            floats: vec![FloatClass::Native],
            hardware_class: Some(hardware_class.to_owned()),
            exec_version,
            slots: 1,
            memory: ByteSize::mib(1),
            capacity: Capacity::default(),
            rates: RateCard::FREE,
            models: Vec::new(),
        }
    }

    fn refused(engines: Vec<Engine>) -> Option<String> {
        let offer = Offer { name: String::new(), disk: ByteSize(0), down_bytes_per_s: 0, engines };
        check_offer(&offer).err()
    }

    #[test]
    fn one_engine_that_is_up_to_date_is_enough() {
        let version = ProgramKind::Wasm.version();
        let (old, new) = (engine(version + 1, "aarch64"), engine(version, "aarch64"));
        assert_eq!(refused(vec![old.clone(), new.clone()]), None);
        let reason = refused(vec![old.clone()]).expect("it has no other");
        assert!(reason.contains("install the same version"), "{reason}");
        assert!(refused(vec![]).expect("it has none").contains("no engine"));
        let reason = refused(vec![new, engine(version, "my own")]).expect("one is of an unknown class");
        assert!(reason.contains("\"my own\"") && reason.contains("x86-64-v3, aarch64"), "{reason}");
    }
}
