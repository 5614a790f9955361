//! What holds for every answer: browsers load nothing from elsewhere, and no other site acts in a visitor's name.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{problem::Problem, routes::sorry};

/// Nothing but what this origin serves; no script or style inside of pages; no page inside of another.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Refuses what another site sends, and sets the headers. A file of a job may set a stricter policy of its own.
pub async fn guard(request: Request, next: Next) -> Response {
    let is_foreign = !request.method().is_safe() && is_foreign(request.headers());
    let mut response = match is_foreign {
        true => Problem::new(StatusCode::FORBIDDEN, "another site sent this request").into_response(),
        false => next.run(request).await,
    };
    dress(&mut response);
    response
}

/// Sets the headers of every page, where nothing stricter is set.
fn dress(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(*name) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
    }
}

/// Answers an address that nothing is at with a page, where a browser asks: for around all routes, also those that are not
/// of this crate.
pub async fn lost(request: Request, next: Next) -> Response {
    let is_route = request.extensions().get::<MatchedPath>().is_some();
    let is_of_program = request.uri().path().starts_with("/v1/");
    if is_route || is_of_program || !request.method().is_safe() || !wants_page(request.headers()) {
        return next.run(request).await;
    }
    let path = tidemill_types::one_line(request.uri().path(), 200);
    let problem = Problem::new(StatusCode::NOT_FOUND, format!("there is no page {path}"));
    let mut response = sorry(None, &problem);
    dress(&mut response);
    response
}

/// Whether whoever asks reads pages: programs ask for anything, or for JSON.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim_start().starts_with("text/html"))
}

/// Whether a browser says that another site sent a request. Programs say nothing of that, and show a key instead.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => {
            let from = origin.split_once("://").map_or("", |(_, from)| from);
            from.parse::<Authority>().ok() != host.parse::<Authority>().ok() || from.is_empty()
        }
        (Some(_), None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn other_sites_are_told_from_this_one() {
        assert!(!is_foreign(&headers(&[("host", "127.0.0.1:1")])), "a program");
        assert!(!is_foreign(&headers(&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")])));
        assert!(!is_foreign(&headers(&[("host", "a"), ("sec-fetch-site", "same-origin")])));
        for foreign in [
            [("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:2")],
            [("host", "127.0.0.1:1"), ("origin", "null")],
            [("host", "127.0.0.1:1"), ("sec-fetch-site", "cross-site")],
            [("host", "127.0.0.1:1"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(is_foreign(&headers(&foreign)), "{foreign:?}");
        }
    }
}
