//! A session from its first frame: who dials says what it comes for, who was dialed takes it in or says why not,
//! and both prove that their two keys belong together.

use std::time::Duration;

use tidemill_types::{
    Chain, KeyBinding, NodeId, ResultKey, SignatureError, binding_message, verify_result_side,
};

use crate::{
    endpoint::{ConnectError, Connection, Node, RecvStream, SendStream, finish, peer, verify},
    frame::{FrameReader, FrameWriter},
    opening::{self, MAX_OPENING_BYTES, OPENING_PATIENCE, OpeningError},
    ticket::Ticket,
    wire::{Bounded, Hello, MAX_FRAME_BYTES, OutOfBounds, Role, SESSION_ALPN, SESSION_VERSIONS, Welcome},
};

/// What this build calls itself in a session.
pub const SOFTWARE: &str = concat!("tidemill ", env!("CARGO_PKG_VERSION"));

/// How long a refusal may take to reach a dialer.
const FAREWELL: Duration = Duration::from_secs(2);

/// The two halves of a session's stream.
#[derive(Debug)]
pub struct Session {
    /// The connection that it is on.
    pub connection: Connection,
    /// Who is at the other end.
    pub peer: NodeId,
    /// What it says.
    pub reader: FrameReader<RecvStream>,
    /// What is said to it.
    pub writer: FrameWriter<SendStream>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no stream on it.
    #[error("the connection ended before the session began")]
    Stream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The first frames did not come about.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// What the other side says breaks a bound.
    #[error("the other side's first words break the protocol")]
    Words(#[from] OutOfBounds),
    /// The other side's node key and result key do not vouch for each other.
    #[error("the keys of node {} do not vouch for each other", .node.short())]
    Keys {
        /// Who.
        node: NodeId,
        /// What is wrong with the result key's half; nothing: it is the node key's half.
        source: Option<SignatureError>,
    },
}

impl SessionError {
    /// Whether the same attempt may succeed later, without anything changed on this side.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(error) => error.may_pass(),
            Self::Opening(error) => error.may_pass(),
            Self::Stream(_) => true,
            Self::Words(_) | Self::Keys { .. } => false,
        }
    }
}

/// The statement of a node's two keys that they belong together.
pub fn bind_keys(node: &Node, key: &ResultKey, chain: &Chain) -> KeyBinding {
    let address = key.address();
    KeyBinding {
        address,
        by_result_key: key.sign_binding(chain, node.id()),
        by_node_key: node.sign(&binding_message(address)),
    }
}

/// Checks that a node's two keys vouch for each other.
///
/// # Errors
/// [`SessionError::Keys`]
pub fn check_keys(node: NodeId, chain: &Chain, binding: &KeyBinding) -> Result<(), SessionError> {
    verify_result_side(chain, node, binding)
        .map_err(|source| SessionError::Keys { node, source: Some(source) })?;
    if verify(node, &binding_message(binding.address), &binding.by_node_key) {
        Ok(())
    } else {
        Err(SessionError::Keys { node, source: None })
    }
}

impl Session {
    /// Dials a coordinator and comes to it in a role.
    ///
    /// # Errors
    /// [`SessionError`]
    pub async fn dial(
        node: &Node,
        key: &ResultKey,
        ticket: &Ticket,
        role: Role,
    ) -> Result<(Self, Welcome), SessionError> {
        let chain = Chain::default();
        let connection = node.connect(ticket, SESSION_ALPN).await?;
        let (send, receive) =
            connection.open_bi().await.map_err(|error| SessionError::Stream(error.into()))?;
        let mut session = Self {
            peer: peer(&connection),
            connection,
            reader: FrameReader::new(receive, MAX_OPENING_BYTES),
            writer: FrameWriter::new(send, MAX_FRAME_BYTES),
        };
        let hello = Hello {
            pass: *ticket.pass().as_bytes(),
            software: SOFTWARE.to_owned(),
            binding: bind_keys(node, key, &chain),
            role,
        };
        let (_, welcome): (u32, Welcome) = opening::open(
            &mut session.reader,
            &mut session.writer,
            SESSION_VERSIONS,
            &hello,
            OPENING_PATIENCE,
        )
        .await?;
        session.reader.set_limit(MAX_FRAME_BYTES);
        welcome.check()?;
        check_keys(session.peer, &chain, &welcome.binding)?;
        Ok((session, welcome))
    }

    /// Hears what a dialer comes for. [`opening::welcome`] or [`opening::refuse`] must follow; the version chosen
    /// goes into the welcome.
    ///
    /// # Errors
    /// [`SessionError`]; the dialer has been told so.
    pub async fn hear(connection: Connection) -> Result<(Self, u32, Hello), SessionError> {
        let accepted = tokio::time::timeout(OPENING_PATIENCE, connection.accept_bi()).await;
        let (send, receive) = accepted
            .map_err(|_| SessionError::Opening(OpeningError::Silent(OPENING_PATIENCE)))?
            .map_err(|error| SessionError::Stream(error.into()))?;
        let mut session = Self {
            peer: peer(&connection),
            connection,
            reader: FrameReader::new(receive, MAX_OPENING_BYTES),
            writer: FrameWriter::new(send, MAX_FRAME_BYTES),
        };
        match session.hear_hello().await {
            Ok((version, hello)) => {
                session.reader.set_limit(MAX_FRAME_BYTES);
                Ok((session, version, hello))
            }
            Err(error) => {
                // A connection that is dropped takes with it what has not arrived, the reason among it.
                finish(&mut session.writer.into_inner(), FAREWELL).await;
                Err(error)
            }
        }
    }

    async fn hear_hello(&mut self) -> Result<(u32, Hello), SessionError> {
        let (reader, writer) = (&mut self.reader, &mut self.writer);
        let (version, hello): (u32, Hello) =
            opening::hear(reader, writer, SESSION_VERSIONS, OPENING_PATIENCE).await?;
        let checked = hello
            .check()
            .map_err(SessionError::from)
            .and_then(|()| check_keys(self.peer, &Chain::default(), &hello.binding));
        if let Err(error) = checked {
            let _ = opening::refuse(&mut self.writer, &error.to_string()).await;
            return Err(error);
        }
        Ok((version, hello))
    }
}
