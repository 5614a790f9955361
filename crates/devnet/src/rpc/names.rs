//! Names by which pages and programs come: origins of web pages, host names of this machine.

use std::fmt;
use std::str::FromStr;

/// Where web pages come from: `scheme://host:port` as browsers send it, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// A text that no browser sends as an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no origin: one is SCHEME://HOST[:PORT], like http://localhost:3000, or * for any")]
pub struct OriginError {
    text: String,
}

/// A name that requests may call this machine by, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// A text that no request has as the name of its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no host name: give it alone, without scheme, port and path, like host.docker.internal")]
pub struct HostNameError {
    text: String,
}

/// The ports that browsers leave out of an origin.
const DEFAULT_PORTS: [(&str, &str); 2] = [("http", ":80"), ("https", ":443")];

impl Origin {
    /// Whether pages of an origin, in lower case, are meant.
    pub(super) fn covers(&self, origin: &str) -> bool {
        self.0 == "*" || self.0 == origin
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError { text: text.to_owned() };
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let default = DEFAULT_PORTS.iter().find(|(of, _)| *of == scheme).map_or("", |(_, port)| *port);
        let rest = rest.strip_suffix(default).unwrap_or(rest);
        if !is_scheme || !is_authority(rest) {
            return Err(wrong());
        }
        Ok(Self(format!("{scheme}://{rest}")))
    }
}

impl HostName {
    /// Whether this is the name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(HostNameError { text: text.to_owned() }) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a `Host` or of an authority, without its port.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an address of IPv6 are within brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn is_authority(text: &str) -> bool {
    let name = without_port(text);
    let port = text[name.len()..].strip_prefix(':');
    is_name(name) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// A name, an address, or an address of IPv6 in brackets.
fn is_name(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').map(str::parse::<std::net::Ipv6Addr>);
        return matches!(address, Some(Ok(_)));
    }
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (text, expected) in [
            ("http://localhost:3000", "http://localhost:3000"),
            ("HTTPS://App.Example/", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80/", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("http://[::1]:5173", "http://[::1]:5173"),
        ] {
            let origin: Origin = text.parse().expect(text);
            assert!(origin.covers(expected), "{text}");
            assert!(!origin.covers("https://other.example"));
        }
        assert!("*".parse::<Origin>().expect("any").covers("https://other.example"));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for text in [
            "app.example",
            "https://app.example/path",
            "",
            "https://",
            "https://a b",
            "https://a:x",
            "https://a:99999",
            "://a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        for text in ["", "http://a", "a:80", "a/b", "[::1", "a b"] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        for text in ["host.docker.internal", "ledger_1", "10.0.0.7", "[::2]"] {
            assert!(text.parse::<HostName>().is_ok_and(|name| name.is(&text.to_ascii_uppercase())), "{text}");
        }
    }
}
