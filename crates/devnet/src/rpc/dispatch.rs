//! From a client's message to what goes back, whatever it came by.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::server::{ConnectionId, Extensions, MethodCallback, MethodResponse, Methods};
use jsonrpsee::types::error::{reject_too_big_batch_request, reject_too_big_batch_response};
use jsonrpsee::types::{ErrorCode, ErrorObject, Id, Params};
use serde_json::value::RawValue;

use super::context::Context;
use super::envelope::{Invalid, Message, NO_ID, Request, failed, readdressed, succeeded};
use super::error::invalid;
use super::serve::ServeOptions;
use super::subscribe::{Follower, Subscriptions};

/// The methods, and the bounds of what they may be asked at once.
#[derive(Clone, Debug)]
pub(super) struct Dispatcher {
    methods: Methods,
    context: Arc<Context>,
}

/// What comes of one message.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// None if nothing in the message wants an answer.
    pub text: Option<String>,
    /// Subscriptions, to be begun once the text is on its way.
    pub begun: Vec<Follower>,
}

impl Reply {
    fn of(text: String) -> Reply {
        Reply { text: Some(text), begun: Vec::new() }
    }
}

impl Dispatcher {
    pub(super) fn new(module: RpcModule<Context>, context: Arc<Context>) -> Dispatcher {
        Dispatcher { methods: module.into(), context }
    }

    pub(super) fn options(&self) -> &ServeOptions {
        &self.context.options
    }

    /// Carries out a message. `connection` holds the subscriptions of the connection that it came by, if that is one
    /// by which news can be sent.
    pub(super) async fn carry_out(&self, message: &[u8], connection: Option<&Subscriptions>) -> Reply {
        match Message::read(message) {
            Ok(Message::Single(raw)) => self.single(raw, connection).await,
            Ok(Message::Batch(entries)) => self.batch(&entries, connection).await,
            Err(code) => Reply::of(failed(NO_ID, code)),
        }
    }

    async fn batch(&self, entries: &[&RawValue], connection: Option<&Subscriptions>) -> Reply {
        if entries.is_empty() {
            return Reply::of(failed(NO_ID, ErrorCode::InvalidRequest));
        }
        let most = self.options().max_batch as usize;
        if entries.len() > most {
            return Reply::of(failed(NO_ID, reject_too_big_batch_request(most)));
        }
        let most = self.options().max_response_bytes as usize;
        let (mut answers, mut begun) = (String::new(), Vec::new());
        for raw in entries {
            let reply = self.single(raw, connection).await;
            begun.extend(reply.begun);
            let Some(text) = reply.text else { continue };
            // A comma or bracket before it, and the bracket at the end.
            if answers.len() + text.len() + 2 > most {
                return Reply::of(failed(NO_ID, reject_too_big_batch_response(most)));
            }
            answers.push(if answers.is_empty() { '[' } else { ',' });
            answers.push_str(&text);
        }
        Reply { text: (!answers.is_empty()).then(|| answers + "]"), begun }
    }

    async fn single(&self, raw: &RawValue, connection: Option<&Subscriptions>) -> Reply {
        let Request { id, method, params } = match Request::read(raw) {
            Ok(request) => request,
            Err(Invalid { id }) => return Reply::of(failed(id, ErrorCode::InvalidRequest)),
        };
        match (id, method.as_str()) {
            (Some(id), "eth_subscribe" | "eth_unsubscribe") => {
                self.subscription(id, &method, Params::new(params), connection)
            }
            // Nobody would learn the name of such a subscription.
            (None, "eth_subscribe") => Reply::default(),
            (None, "eth_unsubscribe") => {
                self.subscription(NO_ID, &method, Params::new(params), connection);
                Reply::default()
            }
            (Some(id), _) => Reply::of(readdressed(id, self.call(&method, params).await.as_json().get())),
            (None, _) => {
                self.call(&method, params).await;
                Reply::default()
            }
        }
    }

    fn subscription(
        &self,
        id: &str,
        method: &str,
        params: Params<'_>,
        connection: Option<&Subscriptions>,
    ) -> Reply {
        let Some(connection) = connection else {
            let message = "notifications not supported over HTTP: subscribe over WebSocket";
            let code = ErrorCode::MethodNotFound.code();
            return Reply::of(failed(id, ErrorObject::borrowed(code, message, None)));
        };
        if method == "eth_unsubscribe" {
            return Reply::of(match params.one::<String>() {
                Ok(subscription) => succeeded(id, &connection.end(&subscription)),
                Err(error) => failed(id, error),
            });
        }
        match connection.prepare(&params, &self.context) {
            Ok(follower) => Reply { text: Some(succeeded(id, &follower.id())), begun: vec![follower] },
            Err(error) => Reply::of(failed(id, error)),
        }
    }

    /// Calls a method; its answer is under no id.
    async fn call(&self, method: &str, params: Option<&str>) -> MethodResponse {
        if params.is_some_and(|params| !params.starts_with(['[', '{'])) {
            return MethodResponse::error(Id::Null, invalid("params are neither an array nor an object"));
        }
        let params = Params::new(params);
        let most = self.options().max_response_bytes as usize;
        match self.methods.method(method) {
            Some(MethodCallback::Sync(callback)) => callback(Id::Null, params, most, Extensions::new()),
            Some(MethodCallback::Async(callback)) => {
                let (params, extensions) = (params.into_owned(), Extensions::new());
                callback(Id::Null, params, ConnectionId(0), most, extensions).await
            }
            // Subscriptions are not the module's business.
            Some(MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_)) | None => {
                MethodResponse::error(Id::Null, ErrorCode::MethodNotFound)
            }
        }
    }
}
