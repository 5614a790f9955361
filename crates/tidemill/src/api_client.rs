//! Asking an HTTP API as a client does: of this home's own network, or of another's with a key.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use reqwest::{Client, Response, Url, redirect};
use serde::Serialize;
use serde_json::Value;
use tidemill_types::lines;

use crate::{
    commands::read_file,
    exit::{Code, Exit, WithCode},
    serving,
};

/// The environment variables that name an API and a key where no option does.
const ADDRESS_VARIABLE: &str = "TIDEMILL_API";
const KEY_VARIABLE: &str = "TIDEMILL_API_KEY";

/// For how long what passes is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an API may take to be reached, and to begin an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest file with a key.
const MOST_KEY_FILE_BYTES: u64 = 4 << 10;

/// The longest answer that is read at once.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// Which API a command asks.
#[derive(clap::Args)]
pub struct ApiAccess {
    /// The API's address, as `up` and `serve --api` print it [default: $TIDEMILL_API, else that of the network which runs in
    /// this home]
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// A file that holds the API key [default: $TIDEMILL_API_KEY; on the machine of a free network none is needed]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// An API that can be asked.
pub struct ApiClient {
    client: Client,
    base: String,
    key: Option<String>,
}

impl ApiAccess {
    /// The API that is meant.
    ///
    /// # Errors
    /// With [`Code::Usage`] when none is known.
    pub fn client(&self) -> anyhow::Result<ApiClient> {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let base = match self.api.clone().or_else(|| variable(ADDRESS_VARIABLE)) {
            Some(base) => base,
            None => serving::known_url()?.ok_or_else(|| {
                Exit::new(Code::Usage, "no API is given, and none runs in this home")
                    .hint("start `tidemill up`, or give the address of one with `--api URL`")
            })?,
        };
        let base = base.trim_end_matches('/').to_owned();
        let url: Url = base
            .parse()
            .with_context(|| format!("{base:?} is no address of an API: http://127.0.0.1:8400/v1 is one"))
            .code(Code::Usage)?;
        let key = match &self.key_file {
            Some(file) => {
                let bytes = read_file(file, MOST_KEY_FILE_BYTES).code(Code::Usage)?;
                Some(String::from_utf8_lossy(&bytes).trim().to_owned())
            }
            None => variable(KEY_VARIABLE),
        };
        // The HTTP library comes without cryptography of its own. Whoever was first counts: an error says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(redirect::Policy::none());
        let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().code(Code::Host)?;
        Ok(ApiClient { client, base, key })
    }
}

impl ApiClient {
    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What a route answers.
    ///
    /// # Errors
    /// With what the API says is wrong.
    pub async fn get(&self, route: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}{route}", self.base));
        let answer = self.send(request).await?.map_err(|refused| refused.exit)?;
        let bytes = read(answer).await?;
        serde_json::from_slice(&bytes).context("the API's answer is not JSON").code(Code::Host)
    }

    /// An answer that comes in pieces. What passes is waited for: a model that is being read, providers that are busy.
    ///
    /// # Errors
    /// With what the API says is wrong.
    pub async fn post(&self, route: &str, body: &impl Serialize) -> anyhow::Result<Response> {
        let text = serde_json::to_string(body)?;
        let until = Instant::now() + PATIENCE;
        let mut is_first = true;
        loop {
            let request = self.client.post(format!("{}{route}", self.base));
            let request = request.header("content-type", "application/json").body(text.clone());
            let Refused { exit, passes_in } = match self.send(request).await? {
                Ok(response) => return Ok(response),
                Err(refused) => refused,
            };
            let Some(time) = passes_in.filter(|time| Instant::now() + *time < until) else {
                return Err(exit.into());
            };
            if std::mem::take(&mut is_first) {
                eprintln!("waiting: {exit}");
            }
            tokio::time::sleep(time).await;
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Result<Response, Refused>> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            let error = anyhow::Error::from(error.without_url());
            Exit::new(
                Code::Host,
                format!("the API at {} cannot be asked: {}", self.base, crate::exit::causes(&error)),
            )
            .hint("does `tidemill up` or `serve --api` run there?")
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(response));
        }
        let after = response.headers().get("retry-after").and_then(|after| after.to_str().ok());
        let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let passes_in = after.filter(|_| status.as_u16() == 503);
        let body = read(response).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = match said["error"]["message"].as_str() {
            Some(message) => lines(message),
            None => format!("the API answers with status {status}"),
        };
        let exit = match status.as_u16() {
            401 => Exit::new(Code::Usage, message)
                .hint("put an API key into TIDEMILL_API_KEY, or into a file for `--key-file`"),
            402 => {
                Exit::new(Code::Usage, message).hint("`tidemill api-key new --budget` makes a key with money")
            }
            400..500 => Exit::new(Code::Usage, message),
            _ => Exit::new(Code::Host, message),
        };
        Ok(Err(Refused { exit, passes_in }))
    }
}

/// Why the API does not do what it was asked for.
struct Refused {
    exit: Exit,
    /// When to ask again, where that helps.
    passes_in: Option<Duration>,
}

/// All of an answer.
async fn read(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.context("the API's answer broke off").code(Code::Host)? {
        if bytes.len() + piece.len() > MOST_ANSWER_BYTES {
            return Err(Exit::new(Code::Host, "the API's answer is too long").into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
