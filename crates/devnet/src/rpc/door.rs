//! Who may come in from a browser.
//!
//! A page of any web site can make its visitor's browser send requests to the visitor's own machine. Two things
//! give it away: a `Host` that is not this machine's name (its site's name was made to resolve to loopback), and
//! an `Origin` that nobody allowed. Both are refused before anything is read. Programs send no `Origin`, and
//! extensions (wallets) have one of their own kind.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::StatusCode;
use jsonrpsee::server::{HttpRequest, HttpResponse};
use tower::{Layer, Service};

use super::front::plain;
use super::names::{HostName, Origin, without_port};

/// What is let in.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// The pages that may call.
    origins: Arc<[Origin]>,
    /// The names that `Host` may have; none if any may.
    hosts: Option<Arc<[HostName]>>,
}

impl Door {
    pub(super) fn new(origins: &[Origin], hosts: Option<Vec<HostName>>) -> Door {
        Door { origins: origins.into(), hosts: hosts.map(Arc::from) }
    }

    fn lets_in_host(&self, host: Option<&str>) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let Some(host) = host else { return false };
        let name = without_port(host);
        hosts.iter().any(|allowed| allowed.is(name))
    }

    fn lets_in_origin(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin.map(str::to_ascii_lowercase) else { return true };
        let extension = ["chrome-extension://", "moz-extension://", "safari-web-extension://"];
        self.is_allowed(&origin) || extension.iter().any(|scheme| origin.starts_with(scheme))
    }

    fn is_allowed(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.covers(origin))
    }
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { door: self.clone(), inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Guarded<S> {
    door: Door,
    inner: S,
}

impl<S, B> Service<HttpRequest<B>> for Guarded<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has the host in the request's target.
        let host = header("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        if !self.door.lets_in_host(host) {
            let name = without_port(host.unwrap_or_default()).escape_default();
            let text = format!(
                "\"{name}\" is no name of this node, which listens on loopback alone: call it by localhost or \
                 127.0.0.1, or start it with `--allow-host {name}`"
            );
            return refuse(&text);
        }
        // An origin that cannot be read is not one that was allowed.
        let has_origin = request.headers().contains_key("origin");
        let origin = header("origin").or(has_origin.then_some("unreadable")).map(str::to_string);
        if !self.door.lets_in_origin(origin.as_deref()) {
            return refuse(
                "pages of this origin may not call this node: start it with `--allow-origin` and the origin",
            );
        }
        if request.method().as_str() == "OPTIONS" {
            let wants_private = header("access-control-request-private-network") == Some("true");
            let is_named =
                origin.as_deref().is_some_and(|origin| self.door.is_allowed(&origin.to_ascii_lowercase()));
            let mut response = plain(StatusCode::NO_CONTENT, "");
            allow(&mut response, origin.as_deref());
            if wants_private
                && is_named
                && let Ok(value) = "true".parse()
            {
                response.headers_mut().insert("access-control-allow-private-network", value);
            }
            return Box::pin(std::future::ready(Ok(response)));
        }
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            allow(&mut response, origin.as_deref());
            Ok(response)
        })
    }
}

type Refused<E> = Pin<Box<dyn Future<Output = Result<HttpResponse, E>> + Send>>;

fn refuse<E: Send + 'static>(text: &str) -> Refused<E> {
    Box::pin(std::future::ready(Ok(plain(StatusCode::FORBIDDEN, text))))
}

/// Tells the browser that the page may read the answer.
fn allow(response: &mut HttpResponse, origin: Option<&str>) {
    let Some(origin) = origin.and_then(|origin| origin.parse().ok()) else { return };
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value| headers.insert(name, value);
    set("access-control-allow-origin", origin);
    for (name, value) in [
        ("access-control-allow-methods", "POST, OPTIONS"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "600"),
        ("vary", "origin"),
    ] {
        if let Ok(value) = value.parse() {
            set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Door;

    #[test]
    fn only_names_of_this_machine() {
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(|name| name.parse().unwrap());
        let door = Door::new(&[], Some(hosts.to_vec()));
        for host in ["localhost", "LOCALHOST:8545", "127.0.0.1:1", "[::1]", "[::1]:8545"] {
            assert!(door.lets_in_host(Some(host)), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "", "[::2]:1"] {
            assert!(!door.lets_in_host(Some(host)), "{host}");
        }
        assert!(!door.lets_in_host(None));
    }

    #[test]
    fn only_pages_that_were_allowed() {
        let door = Door::new(&["http://localhost:3000/".parse().unwrap()], None);
        for origin in ["http://localhost:3000", "HTTP://LOCALHOST:3000", "chrome-extension://abc"] {
            assert!(door.lets_in_origin(Some(origin)), "{origin}");
        }
        for origin in ["http://localhost:3001", "https://localhost:3000", "null", "", "https://evil.example"]
        {
            assert!(!door.lets_in_origin(Some(origin)), "{origin}");
        }
        assert!(door.lets_in_origin(None));
    }
}
