//! Two nodes of one chain, which must answer the same: a node alone can invent balances, receipts and events.
//!
//! Questions about the newest block are asked about a block that both have, so that a node a block ahead contradicts
//! nobody. A transaction goes to both, and one that takes it is enough. What only guides (fees, estimates of gas, what waits
//! for its block) is asked of the first node alone: its answers cost at most what the sender's ceilings allow.

use std::{task, time::Duration};

use alloy::{
    rpc::json_rpc::{Request, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest},
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use serde_json::{Value, json};
use tower::Service;

use super::bounded::Bounded;

/// One of the two.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What people call it.
    pub(super) name: String,
    pub(super) transport: Bounded,
}

/// The two nodes.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) first: Node,
    pub(super) second: Node,
}

/// The two nodes contradict each other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{first} and {second} contradict each other about {method}: {said} and {says}")]
pub struct Disagreement {
    /// The first node.
    pub first: String,
    /// The second node.
    pub second: String,
    /// What was asked.
    pub method: String,
    /// What the first one said, shortened.
    pub said: String,
    /// What the second one said, shortened.
    pub says: String,
}

/// How a question is put to two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// To the first alone.
    First,
    /// To both; the answer is the lesser number.
    Lesser,
    /// To both; one that takes it is enough.
    Either,
    /// To both; what one of them does not know yet is not known.
    Known,
    /// To both, which must say the same. With the place of the block among the parameters, if there is one.
    Same(Option<usize>),
}

/// So many blocks one node may be behind the other. More, and it is stuck, or the other one invents blocks.
const MOST_BEHIND: u64 = 64;

/// A block may be replaced between two questions: so often they are put before it counts as a contradiction.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

impl Pair {
    async fn ask_packet(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        match packet {
            RequestPacket::Single(request) => Ok(ResponsePacket::Single(self.ask(&request).await?)),
            RequestPacket::Batch(requests) => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in &requests {
                    answers.push(self.ask(request).await?);
                }
                Ok(ResponsePacket::Batch(answers))
            }
        }
    }

    async fn ask(&self, request: &SerializedRequest) -> Result<Response, TransportError> {
        match how(request.method(), &parameters(request)?) {
            How::First => self.first.ask(request).await,
            How::Lesser => {
                let head = self.common_head().await?;
                answer(request, &json!(format!("{head:#x}")))
            }
            How::Either => {
                let (first, second) = tokio::join!(self.first.ask(request), self.second.ask(request));
                let takes = |answer: &Result<Response, _>| answer.as_ref().is_ok_and(Response::is_success);
                if takes(&second) && !takes(&first) { second } else { first }
            }
            How::Known => self.same(request, None, true).await,
            How::Same(place) => self.same(request, place, false).await,
        }
    }

    /// Both nodes' answer. `place`: where the parameters name a block. `may_lack`: whether one of them may not know it yet.
    async fn same(
        &self,
        request: &SerializedRequest,
        place: Option<usize>,
        may_lack: bool,
    ) -> Result<Response, TransportError> {
        let mut tried = 1;
        loop {
            let asked = match place {
                Some(place) => self.at_a_common_block(request, place).await?,
                None => request.clone(),
            };
            let (first, second) = tokio::join!(self.first.ask(&asked), self.second.ask(&asked));
            let (first, second) = (first?, second?);
            let (said, says) = match (&first.payload, &second.payload) {
                (ResponsePayload::Success(said), ResponsePayload::Success(says)) => {
                    let parse = |text: &str| serde_json::from_str::<Value>(text);
                    let said = parse(said.get()).map_err(|e| TransportError::deser_err(e, said.get()))?;
                    let says = parse(says.get()).map_err(|e| TransportError::deser_err(e, says.get()))?;
                    if may_lack && (said.is_null() || says.is_null()) {
                        return answer(request, &Value::Null);
                    }
                    if essence(request.method(), &said) == essence(request.method(), &says) {
                        return Ok(first);
                    }
                    (said.to_string(), says.to_string())
                }
                // A contract that refuses at one node and does not at the other is a contradiction; a node that is
                // too busy to say is none.
                (ResponsePayload::Failure(error), ResponsePayload::Success(says)) => {
                    match error.as_revert_data() {
                        Some(data) => (format!("a refusal with {data}"), says.get().to_owned()),
                        None => return Ok(first),
                    }
                }
                (ResponsePayload::Success(said), ResponsePayload::Failure(error)) => {
                    match error.as_revert_data() {
                        Some(data) => (said.get().to_owned(), format!("a refusal with {data}")),
                        None => return Ok(second),
                    }
                }
                (ResponsePayload::Failure(_), ResponsePayload::Failure(_)) => return Ok(first),
            };
            if tried == TRIES {
                return Err(self.disagree(request.method(), &said, &says));
            }
            tried += 1;
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    /// The same question with the newest block that both have in the place of the newest.
    async fn at_a_common_block(
        &self,
        request: &SerializedRequest,
        place: usize,
    ) -> Result<SerializedRequest, TransportError> {
        let mut parameters = parameters(request)?;
        if parameters.get(place).is_some_and(|block| block != "latest") {
            return Ok(request.clone());
        }
        let head = json!(format!("{:#x}", self.common_head().await?));
        match parameters.get_mut(place) {
            Some(block) => *block = head,
            None => parameters.push(head),
        }
        Request::new(request.method_clone(), request.id().clone(), parameters)
            .serialize()
            .map_err(TransportError::ser_err)
    }

    /// The number of the newest block that both have.
    async fn common_head(&self) -> Result<u64, TransportError> {
        let (first, second) = tokio::join!(self.first.head(), self.second.head());
        let (first, second) = (first?, second?);
        if first.abs_diff(second) > MOST_BEHIND {
            let block = |number| format!("the newest block is {number}");
            return Err(self.disagree("eth_blockNumber", &block(first), &block(second)));
        }
        Ok(first.min(second))
    }

    fn disagree(&self, method: &str, said: &str, says: &str) -> TransportError {
        let shortened = |text: &str| tidemill_types::one_line(text, 80);
        TransportErrorKind::non_retryable(Disagreement {
            first: self.first.name.clone(),
            second: self.second.name.clone(),
            method: method.to_owned(),
            said: shortened(said),
            says: shortened(says),
        })
    }
}

impl Node {
    async fn ask(&self, request: &SerializedRequest) -> Result<Response, TransportError> {
        let packet = self.transport.clone().ask(RequestPacket::Single(request.clone())).await?;
        match packet {
            ResponsePacket::Single(response) => Ok(response),
            ResponsePacket::Batch(_) => Err(TransportErrorKind::non_retryable_str("it answers with a list")),
        }
    }

    async fn head(&self) -> Result<u64, TransportError> {
        let request = Request::new("eth_blockNumber", 0_u64.into(), json!([]));
        let response = self.ask(&request.serialize().map_err(TransportError::ser_err)?).await?;
        match response.payload {
            ResponsePayload::Success(text) => {
                let number: Option<u64> = serde_json::from_str::<String>(text.get())
                    .ok()
                    .and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
                number.ok_or_else(|| {
                    let words = format!("{} names no newest block", self.name);
                    TransportErrorKind::non_retryable_str(&words)
                })
            }
            ResponsePayload::Failure(error) => Err(TransportError::ErrorResp(error)),
        }
    }
}

impl Service<RequestPacket> for Pair {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Self::Error>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().ask_packet(request))
    }
}

fn how(method: &str, parameters: &[Value]) -> How {
    let place = match method {
        "eth_blockNumber" => return How::Lesser,
        "eth_sendRawTransaction" => return How::Either,
        "eth_getTransactionReceipt" => return How::Known,
        "eth_chainId" | "eth_getLogs" | crate::ADDRESS_BOOK_METHOD => return How::Same(None),
        "eth_getBlockByNumber" => 0,
        "eth_call" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => 1,
        "eth_getStorageAt" => 2,
        _ => return How::First,
    };
    // What waits for its block differs from node to node.
    let is_settled =
        parameters.get(place).is_none_or(|block| block == "latest" || block.as_str().is_some_and(is_number));
    if is_settled { How::Same(Some(place)) } else { How::First }
}

fn is_number(block: &str) -> bool {
    block.starts_with("0x")
}

/// What of an answer must be the same. Nodes add fields of their own to blocks, receipts and events.
fn essence(method: &str, answer: &Value) -> Value {
    let parts = |of: &Value, names: &[&str]| -> Value { names.iter().map(|name| of[name].clone()).collect() };
    match method {
        "eth_getBlockByNumber" => parts(answer, &["hash", "number", "timestamp"]),
        "eth_getTransactionReceipt" => {
            parts(answer, &["blockHash", "blockNumber", "status", "transactionHash"])
        }
        "eth_getLogs" => {
            const NAMES: [&str; 6] =
                ["address", "topics", "data", "blockNumber", "transactionHash", "logIndex"];
            let logs = answer.as_array().map_or(&[][..], Vec::as_slice);
            logs.iter().map(|log| parts(log, &NAMES)).collect()
        }
        _ => match answer {
            Value::String(text) => Value::String(text.to_lowercase()),
            other => other.clone(),
        },
    }
}

fn parameters(request: &SerializedRequest) -> Result<Vec<Value>, TransportError> {
    let text = request.params().map_or("[]", |parameters| parameters.get());
    serde_json::from_str(text).map_err(TransportError::ser_err)
}

fn answer(request: &SerializedRequest, value: &Value) -> Result<Response, TransportError> {
    let payload = serde_json::value::to_raw_value(value).map_err(TransportError::ser_err)?;
    Ok(Response { id: request.id().clone(), payload: ResponsePayload::Success(payload) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_its_block_is_asked_of_one_node() {
        let account = json!("0x1");
        assert_eq!(how("eth_getTransactionCount", &[account.clone(), json!("pending")]), How::First);
        assert_eq!(how("eth_getTransactionCount", &[account.clone(), json!("latest")]), How::Same(Some(1)));
        assert_eq!(how("eth_getBalance", &[account]), How::Same(Some(1)));
        assert_eq!(how("eth_getBlockByNumber", &[json!("0x7"), json!(false)]), How::Same(Some(0)));
        assert_eq!(how("eth_feeHistory", &[]), How::First);
    }

    #[test]
    fn what_nodes_add_of_their_own_contradicts_nobody() {
        let log = |data: &str| json!({"address": "0x1", "topics": [], "data": data, "blockNumber": "0x1"});
        let mut more = log("0x2");
        more["removed"] = json!(false);
        let of = |answer: Value| essence("eth_getLogs", &answer);
        assert_eq!(of(json!([more])), of(json!([log("0x2")])));
        assert_ne!(of(json!([log("0x3")])), of(json!([log("0x2")])));
        assert_ne!(of(json!([])), of(json!([log("0x2")])));
        assert_eq!(essence("eth_call", &json!("0xAB")), essence("eth_call", &json!("0xab")));
    }
}
