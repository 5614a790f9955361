//! Who may see the pages: on a network without money whoever sits at this machine, else whoever has opened the address
//! that the coordinator printed, which holds a token.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use tidemill_coordinator::Visitor;

use crate::{problem::Problem, routes::sorry};

/// How long a browser keeps the token, in seconds: the coordinator draws a new one at each start.
const LASTS_S: u32 = 30 * 24 * 60 * 60;

/// The name of the cookie.
const COOKIE: &str = "tidemill_page";

/// Who may see the pages, and in whose name.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// Whoever asks by a name of this machine: for servers on loopback alone.
    ThisMachine(Visitor),
    /// Whoever has the token, a word of letters and digits that nobody guesses.
    Token {
        /// In whose name they ask.
        visitor: Visitor,
        /// The token.
        token: String,
    },
}

impl Entry {
    /// The path that leads in, to be printed behind the address.
    pub fn path(&self) -> String {
        match self {
            Self::ThisMachine(_) => "/".to_owned(),
            Self::Token { token, .. } => format!("/?token={token}"),
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ThisMachine(_) => "ThisMachine",
            Self::Token { .. } => "Token",
        })
    }
}

/// Lets a request in, in its visitor's name.
pub async fn enter(State(entry): State<Arc<Entry>>, mut request: Request, next: Next) -> Response {
    let visitor = match &*entry {
        Entry::ThisMachine(visitor) if is_of_this_machine(request.headers()) => *visitor,
        Entry::ThisMachine(_) => {
            let found = "the page was asked for by a name that is not this machine's";
            return sorry(None, &Problem::new(StatusCode::MISDIRECTED_REQUEST, found));
        }
        Entry::Token { visitor, token } => {
            let shown = query(request.uri(), "token");
            if request.method() == Method::GET && shown.is_some_and(|shown| is_same(shown, token)) {
                return kept(request.uri(), token);
            }
            let kept = cookie(request.headers(), COOKIE);
            if !kept.is_some_and(|kept| is_same(kept, token)) {
                let found = "this page is for whoever started the coordinator, which printed its whole address with a token";
                return sorry(None, &Problem::new(StatusCode::UNAUTHORIZED, found));
            }
            *visitor
        }
    };
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Has the browser keep the token, and takes it out of the address.
fn kept(uri: &Uri, token: &str) -> Response {
    let path = if uri.path().starts_with("//") { "/" } else { uri.path() };
    let mut response = Redirect::to(path).into_response();
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={LASTS_S}; HttpOnly; SameSite=Strict");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether two words are the same, in a time that does not say where they differ.
fn is_same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && differ == 0
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether the name that a page is asked for by can only be this machine's: a name of somebody else's may lead here too,
/// and its pages would be of the same origin.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_lead_in() {
        let of = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            is_of_this_machine(&headers)
        };
        for own in ["localhost", "127.0.0.1:8080", "[::1]:9"] {
            assert!(of(own), "{own}");
        }
        for other in ["example.org", "127.0.0.1.nip.io:80", "localhost.example.org", "10.0.0.1"] {
            assert!(!of(other), "{other}");
        }
    }

    #[test]
    fn tokens_are_found_where_they_are_shown() {
        let uri: Uri = "/jobs?state=done&token=abc".parse().expect("a path");
        assert_eq!(query(&uri, "token"), Some("abc"));
        assert_eq!(query(&uri, "tok"), None);
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; tidemill_page=abc"));
        assert_eq!(cookie(&headers, COOKIE), Some("abc"));
        assert!(is_same("abc", "abc") && !is_same("abc", "abd") && !is_same("abc", "ab"));
        let response = kept(&"//evil.example/?token=abc".parse().expect("a path"), "abc");
        assert_eq!(response.headers()["location"], "/", "it leads nowhere else");
    }
}
