//! A request as a job of one task.

use std::sync::Arc;

use serde_json::{Value, json};
use tidemill_coordinator::{LocalError, LocalSession, Visitor};
use tidemill_infer::api::{Outline, OutlineForm};
use tidemill_job::{JobName, JobSpec, MODEL_ROOM, SingleTask};
use tidemill_net::wire::{Chunk, JobPay, JobPhase, JobReport, Refusal, Reply, Request, SpecBody, TaskNews};
use tidemill_types::{
    BlobRef, ByteSize, GuestPath, JobId, Limits, Millis, ProgramKind, Receipt, Reliance, Stage, TaskId,
    TaskNumber, lines,
};

use super::answered::{self, Answered};
use crate::{error::HttpError, guard::Guest, models::Model, router::App};

/// The name of such jobs, by which they are known after a start: jobs with this name are removed then.
pub(crate) const JOB_NAME: &str = "tidemill-api-answer";

/// How long an answer may take.
const DEADLINE: Millis = Millis(600_000);

/// How often another machine is tried where one fails.
const RETRIES: u32 = 3;

/// Tokens that a chat template may add to messages.
const TEMPLATE_TOKENS: u64 = 4_096;

/// Tokens that a text may have beside its own, where vectors are made.
const FRAME_TOKENS: u64 = 16;

/// Choices of a request that have room to be computed together; more wait for them.
const CHOICES_TOGETHER: u64 = 4;

/// The least room for texts.
const LEAST_ROOM: u64 = 16 << 20;

/// The longest answer.
const MOST_ANSWER_BYTES: u64 = 128 << 20;

/// The longest line of a piece.
const MOST_PIECE_BYTES: usize = 1 << 20;

/// What is asked of a model.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The route.
    pub url: String,
    /// The request, without what only says how its answer is to be sent.
    pub body: Value,
    /// What it says. One that streams hears of what the task writes.
    pub outline: Outline,
    /// The model.
    pub model: Model,
    /// The blob that it is.
    pub program: BlobRef,
    /// What the answer gives as the time of its making, in seconds since 1970.
    pub created_s: u64,
}

/// What is heard of it.
#[derive(Debug)]
pub enum News {
    /// An attempt begins. What an earlier one has written is void.
    Attempt,
    /// Some of what the attempt has written is missing.
    Missing,
    /// The attempt has written these texts, each of a choice.
    Written(Vec<(usize, String)>),
    /// The job is over.
    Ended(Box<JobReport>),
}

/// A request that is being answered. Dropped before its answer is there, its job is cancelled.
pub struct Running {
    app: Arc<App>,
    session: Option<LocalSession>,
    visitor: Visitor,
    job: JobId,
    submit: u64,
    follow: Option<u64>,
    /// Where the next piece of what the attempt writes should begin.
    offset: u64,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    is_over: bool,
}

impl Running {
    /// Brings the job in. Returns once it is durable.
    ///
    /// # Errors
    /// What the client is told: there is no money, no provider, no room.
    pub async fn submit(app: &Arc<App>, guest: &Guest, asked: Asked) -> Result<Self, HttpError> {
        let pay = pay(app, guest)?;
        let no_randomness = |_| HttpError::server("internal_error", "the system has no randomness to give");
        let job = app.sweep.draw().map_err(no_randomness)?;
        let mut session = app.sessions.open(guest.visitor);
        let line =
            json!({"custom_id": job.to_string(), "method": "POST", "url": asked.url, "body": asked.body});
        let input = session.bring(format!("{line}\n")).await?;
        let spec = spec(&asked, job, input)?;
        has_provider(&mut session, &spec, &asked.outline.model).await?;
        let encoded = spec.encode();
        let mut is_again = false;
        let submit = loop {
            let body = SpecBody::Inline(encoded.clone());
            let call = session.send(Request::Submit { job, spec: body, follow: true, pay }).await?;
            match submitted(&mut session, call).await {
                Ok(()) => break call,
                // What is kept for the key is answers for the most part: the oldest make room.
                Err(LocalError::Refused(Refusal::OverBudget { .. })) if !is_again => {
                    app.sweep.make_room(&app.sessions, guest.visitor).await;
                    is_again = true;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let mut running = Self {
            app: app.clone(),
            session: None,
            visitor: guest.visitor,
            job,
            submit,
            follow: None,
            offset: 0,
            line: Vec::new(),
            is_over: false,
        };
        if asked.outline.streams.is_some() {
            running.follow = Some(session.send(Request::Follow(running.task())).await?);
        }
        running.session = Some(session);
        Ok(running)
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    fn task(&self) -> TaskId {
        TaskId { job: self.job, task: TaskNumber(0) }
    }

    /// Waits for something to happen. A call that is dropped in its middle loses nothing.
    ///
    /// # Errors
    /// When nothing more can be heard of it.
    pub async fn news(&mut self) -> Result<News, HttpError> {
        loop {
            let session = self.session.as_mut().ok_or(LocalError::Over)?;
            let answer = session.next().await?;
            if answer.id == self.submit {
                if let Reply::Ended(report) = answer.reply.map_err(LocalError::from)? {
                    return Ok(News::Ended(Box::new(report)));
                }
            } else if Some(answer.id) == self.follow {
                match answer.reply {
                    Ok(Reply::Followed(TaskNews::Attempt { .. })) => {
                        self.offset = 0;
                        self.line.clear();
                        return Ok(News::Attempt);
                    }
                    Ok(Reply::Followed(TaskNews::Chunk(chunk))) => return Ok(self.written(&chunk)),
                    _ => {}
                }
            }
        }
    }

    /// What a piece of the output says.
    fn written(&mut self, chunk: &Chunk) -> News {
        let is_whole = chunk.offset == self.offset;
        self.offset = chunk.end();
        if !is_whole || self.line.len() + chunk.bytes.len() > MOST_PIECE_BYTES {
            self.line.clear();
            return News::Missing;
        }
        self.line.extend_from_slice(&chunk.bytes);
        let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') else {
            return News::Written(Vec::new());
        };
        let rest = self.line.split_off(end + 1);
        let whole = std::mem::replace(&mut self.line, rest);
        News::Written(whole.split(|byte| *byte == b'\n').filter_map(answered::piece).collect())
    }

    /// The answer of a job that has ended, and its receipt.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn conclude(&mut self, report: &JobReport) -> Result<(Answered, Option<Receipt>), HttpError> {
        self.is_over = true;
        self.app.sweep.later(self.visitor, self.job);
        match &report.phase {
            JobPhase::Done => {}
            phase => return Err(failed(phase)),
        }
        let task = self.task();
        let session = self.session.as_mut().ok_or(LocalError::Over)?;
        let pieces = match session.ask(Request::Output(task)).await? {
            Reply::Outputs(pieces) => pieces,
            _ => return Err(LocalError::OffProtocol.into()),
        };
        let piece = pieces.into_iter().next().ok_or(LocalError::OffProtocol)?;
        let archive = match piece.inline {
            Some(bytes) => bytes,
            None => session.read(piece.output, MOST_ANSWER_BYTES).await?,
        };
        let answered = Answered::read(&archive)?;
        // An answer without a receipt is an answer all the same.
        let receipt = session.receipt(task).await.unwrap_or_default();
        Ok((answered, receipt))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (app, visitor, job) = (self.app.clone(), self.visitor, self.job);
        let session = self.session.take();
        tokio::spawn(async move {
            let mut session = session.unwrap_or_else(|| app.sessions.open(visitor));
            let cancelled = session.ask(Request::Cancel { job }).await;
            tracing::debug!(%job, is_cancelled = cancelled.is_ok(), "a client left before its answer had come");
            app.sweep.later(visitor, job);
        });
    }
}

/// Waits until a job that was submitted is durable.
async fn submitted(session: &mut LocalSession, call: u64) -> Result<(), LocalError> {
    loop {
        let answer = session.next().await?;
        if answer.id == call && matches!(answer.reply?, Reply::Submitted) {
            return Ok(());
        }
    }
}

/// What pays for it.
fn pay(app: &App, guest: &Guest) -> Result<Option<JobPay>, HttpError> {
    if app.sessions.is_free() {
        return Ok(None);
    }
    let pay = guest.key.as_ref().and_then(|(_, key)| key.paid_by());
    let unpaid = || {
        let message = "work is paid for here, and this API key has no money: `tidemill api-key new --budget` makes one \
                       that has";
        HttpError::unpaid(message)
    };
    pay.ok_or_else(unpaid).map(Some)
}

fn spec(asked: &Asked, job: JobId, input: BlobRef) -> Result<JobSpec, HttpError> {
    let kind = asked.model.program;
    let limits = match kind {
        ProgramKind::Wasm => Limits::default(),
        ProgramKind::Infer => limits(&asked.outline, &asked.model, asked.program.len),
    };
    let (_, seed) = job.0.split_last_chunk::<8>().unwrap_or((&[], &[0; 8]));
    let inner = |error: &dyn std::fmt::Display| {
        HttpError::invalid("invalid_request", lines(&format!("the request cannot be made a job: {error}")))
    };
    let single = SingleTask {
        name: JobName::new(JOB_NAME).ok_or_else(|| inner(&"its name"))?,
        kind,
        floats: kind.default_floats(),
        program: asked.program,
        arg0: asked.outline.model.clone(),
        env: vec![("CREATED".to_owned(), asked.created_s.to_string())],
        input: (GuestPath::new("requests.jsonl").map_err(|error| inner(&error))?, input),
        limits,
        deadline: Some(DEADLINE),
        retries: RETRIES,
        seed: u64::from_le_bytes(*seed),
        reliance: Reliance::default(),
    };
    single.spec().map_err(|error| inner(&error))
}

/// What a model may use to answer: no more than the request can come to, since that is what is held back of its money.
/// `model_bytes`: the length of the model's file.
fn limits(outline: &Outline, model: &Model, model_bytes: u64) -> Limits {
    let (choices, bytes) = (outline.choices.max(1) as u64, outline.prompt_bytes as u64);
    let most_tokens = outline.most_tokens.map_or(model.context, |most| (most as u64).min(model.context));
    // No token is shorter than a byte.
    let (input_tokens, output_tokens) = match outline.form {
        OutlineForm::Embedding => (bytes.saturating_add(choices.saturating_mul(FRAME_TOKENS)), 0),
        OutlineForm::Completion { .. } | OutlineForm::Chat { .. } => {
            let prompt = bytes.saturating_add(TEMPLATE_TOKENS).min(model.context);
            (choices.saturating_mul(prompt), choices.saturating_mul(most_tokens))
        }
    };
    let each = bytes.saturating_add(TEMPLATE_TOKENS).saturating_add(most_tokens).min(model.context);
    let texts = each.saturating_mul(model.token_bytes).saturating_mul(choices.min(CHOICES_TOGETHER));
    let room = texts.clamp(LEAST_ROOM, MODEL_ROOM.0);
    let memory = ByteSize(model_bytes.saturating_add(room).div_ceil(1 << 20) << 20);
    Limits { memory, input_tokens: input_tokens.max(1), output_tokens, ..Limits::default() }
}

/// Whether anybody could answer.
async fn has_provider(session: &mut LocalSession, spec: &JobSpec, name: &str) -> Result<(), HttpError> {
    let stages = spec.needs(Stage::Map).zip(spec.program(Stage::Map));
    let stages = stages.into_iter().map(|(needs, program)| (needs, program.id)).collect();
    let Reply::Terms(terms) = session.ask(Request::Terms { stages }).await? else {
        return Err(LocalError::OffProtocol.into());
    };
    if terms.stages.iter().all(|stage| stage.providers > 0) {
        return Ok(());
    }
    let message = format!("no provider is connected that could run the model {name:?}");
    Err(HttpError::unavailable("no_provider", message, std::time::Duration::from_secs(5)))
}

/// What the client of a job that came to nothing is told.
fn failed(phase: &JobPhase) -> HttpError {
    match phase {
        JobPhase::Failed { failure, .. } => HttpError::server("task_failed", lines(&failure.to_string())),
        JobPhase::EscrowEnded => HttpError::unpaid(
            "the money of this API key is used up: `tidemill api-key new --budget` makes another",
        ),
        JobPhase::Deadline => {
            let message = format!("the network gave no answer within {DEADLINE}");
            HttpError::unavailable("timeout", message, std::time::Duration::from_secs(10))
        }
        JobPhase::Undecided { .. } => {
            let message = "providers gave different answers, and nobody is left to say which is right";
            HttpError::unavailable("undecided", message, std::time::Duration::from_secs(10))
        }
        JobPhase::Cancelled => HttpError::server("cancelled", "the job was cancelled"),
        JobPhase::Running | JobPhase::Done => HttpError::server("internal_error", "the job has not ended"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::models::ModelKind;

    fn limits_of(url: &str, body: &Value) -> Limits {
        let model = Model {
            path: PathBuf::from("/models/a.gguf"),
            program: ProgramKind::Infer,
            kind: ModelKind::Text,
            context: 8_192,
            token_bytes: 20_000,
            added_s: 0,
        };
        limits(&Outline::read(url, body).expect("it is right"), &model, 100 << 20)
    }

    #[test]
    fn a_request_may_use_what_it_can_come_to() {
        let body = json!({"model": "a", "prompt": ["four", "five5"], "max_tokens": 10, "n": 2});
        let found = limits_of("/v1/completions", &body);
        assert_eq!((found.input_tokens, found.output_tokens), (4 * (9 + TEMPLATE_TOKENS), 40));
        // Four choices of a few thousand tokens, and the model.
        assert_eq!(found.memory, ByteSize::mib(100 + (4_u64 * 4_115 * 20_000).div_ceil(1 << 20)));
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "Hello"}]});
        let found = limits_of("/v1/chat/completions", &body);
        assert_eq!(found.output_tokens, 8_192, "an answer may fill the context");
        let body = json!({"model": "a", "input": ["four", "five5"]});
        let found = limits_of("/v1/embeddings", &body);
        assert_eq!((found.input_tokens, found.output_tokens), (9 + 2 * FRAME_TOKENS, 0));
        let body = json!({"model": "a", "prompt": "Hello", "max_tokens": 8_000, "n": 100});
        assert_eq!(limits_of("/v1/completions", &body).memory, ByteSize::mib(612));
    }
}
