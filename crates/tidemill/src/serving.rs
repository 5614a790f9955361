//! HTTP beside a coordinator in this process: where it listens, who may ask, and where other commands and people find it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::Context;
use axum::{
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tidemill_coordinator::{Coordinator, Visitor};
use tidemill_http::{App, Bounds, Config, Guest, Keys, Models, Scope, ServeError, Server, router};
use tidemill_net::endpoint::node_id;
use tidemill_types::Principal;
use tidemill_web::{Desk, Entry, Purse, pages};

use crate::{
    commands::{earnings::earned, models::ensure},
    exit::{Code, Exit, WithCode},
    home::{data_directory, identity},
    hosting::Hosted,
    node_state,
};

/// Where the API of `tidemill up` is, if nobody else has this port.
const USUAL_PORT: u16 = 8400;

/// Where HTTP is served.
#[derive(clap::Args, Clone, Default)]
pub struct HttpArgs {
    /// Serve pages for a browser and models over HTTP at this address, with OpenAI's API; `off` serves none. Off loopback it needs `--behind-proxy`
    #[arg(long, value_name = "ADDR:PORT|off")]
    api: Option<Place>,
    /// A proxy that does TLS passes requests on to `--api`: it may listen off loopback, and every request needs an API key
    #[arg(long, requires = "api")]
    behind_proxy: bool,
    /// Serve this model: one that `tidemill models add` has added, or `cargo xtask models` has fetched. May be given several
    /// times
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
}

/// Where a person wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Nowhere,
    At(SocketAddr),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Nowhere),
            text => {
                let address = text.parse();
                address
                    .map(Self::At)
                    .map_err(|_| "not an address with a port: 127.0.0.1:8400 is one; `off` is none")
            }
        }
    }
}

/// HTTP that is served.
pub struct Serving {
    server: Server,
    /// The path that leads into the pages.
    entry: String,
    _note: Option<Note>,
}

impl HttpArgs {
    /// Sees to it that the models are known that a person wants served.
    ///
    /// # Errors
    /// With [`Code::Usage`] where there is no such model.
    pub fn know_models(&self) -> anyhow::Result<()> {
        self.model.iter().try_for_each(|name| ensure(name))
    }

    /// Serves HTTP beside a coordinator, if it is wanted. `is_usual`: on this machine alone, where nobody says anything else.
    ///
    /// # Errors
    /// With a code when the address cannot be listened on.
    pub async fn start(&self, coordinator: &Coordinator, is_usual: bool) -> anyhow::Result<Option<Serving>> {
        let wanted = match self.api {
            Some(Place::Nowhere) => return Ok(None),
            Some(Place::At(address)) => Some(address),
            None if is_usual => None,
            None => return Ok(None),
        };
        let home = data_directory().code(Code::Host)?;
        let sessions = coordinator.local();
        let identity = identity()?;
        let (node, signer) = (node_id(&identity.node), identity.result.address());
        let is_operator = signer == sessions.operator();
        let visitor = Visitor { principal: Principal::Node(node), node, signer, is_operator };
        // Where work is paid for, whoever asks has to bring money, and so a key.
        let owner = sessions.is_free().then_some(visitor);
        let entry = match (owner, self.behind_proxy) {
            (Some(visitor), false) => Entry::ThisMachine(visitor),
            _ => Entry::Token { visitor, token: page_token(&home)? },
        };
        let bounds = Bounds::default();
        let path = entry.path();
        let desk = Desk::new(sessions.clone(), home.join("uploads"));
        let pages = pages(desk.clone(), entry, Arc::new(|| earned().map_err(|error| format!("{error:#}"))));
        let config = Config {
            sessions,
            keys: keys_folder(&home),
            models: models_folder(&home),
            owner,
            is_behind_proxy: self.behind_proxy,
            bounds,
        };
        let v1 = tidemill_web::v1(desk).layer(middleware::from_fn(visit));
        let routes = router(App::new(config), v1).merge(pages).layer(middleware::from_fn(tidemill_web::lost));
        let start = |address| Server::start(address, self.behind_proxy, bounds, routes.clone());
        let server = match wanted {
            Some(address) => start(address).await,
            None => match start((Ipv4Addr::LOCALHOST, USUAL_PORT).into()).await {
                Err(ServeError::Listen { .. }) => start((Ipv4Addr::LOCALHOST, 0).into()).await,
                started => started,
            },
        };
        let server = server.map_err(|error| match error {
            ServeError::NoTls(_) => Exit::new(Code::Usage, error.to_string()).hint(
                "listen on 127.0.0.1 and let a proxy that does TLS pass requests on, or say `--behind-proxy` if one does",
            ),
            ServeError::Listen { .. } => Exit::new(Code::Host, crate::exit::causes(&error.into()))
                .hint("is the address one of this machine, and the port free? Port 0 takes any that is"),
        })?;
        let note = Note::write(&home, &base_url(server.address()));
        if let Err(error) = &note {
            tracing::warn!(%error, "other commands of this home will not find the API by themselves");
        }
        Ok(Some(Serving { server, entry: path, _note: note.ok() }))
    }
}

impl Serving {
    /// What clients take for OpenAI's address.
    pub fn url(&self) -> String {
        base_url(self.server.address())
    }

    /// Where its pages are, with what lets a browser in.
    pub fn page(&self) -> String {
        format!("http://{}{}", self.server.address(), self.entry)
    }

    async fn stop(self) {
        self.server.stop().await;
    }
}

/// Hands on in whose name a key asks, if it is good for what is asked for.
async fn visit(mut request: Request, next: Next) -> Response {
    let Some(guest) = request.extensions().get::<Guest>() else { return next.run(request).await };
    let scope = if request.method().is_safe() { Scope::Read } else { Scope::Jobs };
    if let Err(error) = guest.may(scope) {
        return error.into_response();
    }
    let (visitor, pay) = (guest.visitor, guest.key.as_ref().and_then(|(_, key)| key.paid_by()));
    request.extensions_mut().insert(visitor);
    if let Some(pay) = pay {
        request.extensions_mut().insert(Purse(pay));
    }
    next.run(request).await
}

/// The line about the pages, which comes first.
pub fn page_in_words(page: Option<&String>) -> String {
    page.map_or_else(String::new, |page| format!("open in a browser: {page}\n"))
}

/// The word that lets a browser into the pages of this home, which is drawn once.
fn page_token(home: &Path) -> anyhow::Result<String> {
    let file = home.join("page-token");
    let is_token = |text: &String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(kept) = fs::read_to_string(&file).ok().map(|text| text.trim().to_owned()).filter(is_token) {
        return Ok(kept);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).code(Code::Host)?;
    let token = format!("{:032x}", u128::from_be_bytes(bytes));
    node_state::replace(&file, format!("{token}\n").as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
        .code(Code::Host)?;
    Ok(token)
}

fn base_url(address: SocketAddr) -> String {
    format!("http://{address}/v1")
}

/// Something that is hosted with HTTP beside it.
pub struct WithHttp<H> {
    /// What it stands beside.
    pub hosted: H,
    /// HTTP, where it is served.
    pub serving: Option<Serving>,
}

impl<H: Hosted> Hosted for WithHttp<H> {
    async fn failed(&self) -> String {
        self.hosted.failed().await
    }

    async fn unneeded(&self) {
        self.hosted.unneeded().await;
    }

    async fn stop(self) {
        // Who asks ends before who is asked.
        if let Some(serving) = self.serving {
            serving.stop().await;
        }
        self.hosted.stop().await;
    }
}

/// The API keys of a home: those of every network that is served from it.
///
/// # Errors
/// When the environment names no place for them.
pub fn keys() -> anyhow::Result<Keys> {
    Ok(Keys::in_folder(keys_folder(&data_directory().code(Code::Host)?)))
}

/// The models of a home.
///
/// # Errors
/// When the environment names no place for them.
pub fn models() -> anyhow::Result<Models> {
    Ok(Models::in_folder(models_folder(&data_directory().code(Code::Host)?)))
}

fn keys_folder(home: &Path) -> PathBuf {
    home.join("api-keys")
}

fn models_folder(home: &Path) -> PathBuf {
    home.join("models")
}

/// Where the API of this home is, for its other commands.
///
/// # Errors
/// With [`Code::Host`] when the environment names no home.
pub fn known_url() -> anyhow::Result<Option<String>> {
    let file = data_directory().code(Code::Host)?.join(NOTE);
    Ok(fs::read_to_string(file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// The file of a home that says where its API is.
const NOTE: &str = "api-address";

/// The same file, for as long as the API is there.
struct Note {
    path: PathBuf,
    url: String,
}

impl Note {
    fn write(home: &Path, url: &str) -> std::io::Result<Self> {
        let path = home.join(NOTE);
        fs::write(&path, format!("{url}\n"))?;
        Ok(Self { path, url: url.to_owned() })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // Another network of this home may have written its own since.
        if fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.url) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
