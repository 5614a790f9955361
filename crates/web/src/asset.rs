//! What pages are drawn with, all of it in the binary.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("../assets/live.js")),
    ("submit.js", "text/javascript; charset=utf-8", include_str!("../assets/submit.js")),
    ("mark.svg", "image/svg+xml", include_str!("../assets/mark.svg")),
];

/// `GET /assets/{name}`. Browsers ask again each time, since a new version has the same names.
pub async fn get(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(one, _, _)| *one == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")], *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
