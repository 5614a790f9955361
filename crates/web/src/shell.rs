//! What all pages have in common: the head, the icons, the way from page to page.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tidemill_coordinator::Visitor;

use crate::words::short;

/// The icons of the states, of which each page uses some.
const SPRITE: &str = include_str!("../assets/sprite.svg");

/// The wheel over one wave.
const MARK: &str = include_str!("../assets/wheel.svg");

/// Which page it is, as the way from page to page has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Network,
    Jobs,
    Submit,
    Earnings,
    /// None of them.
    Nowhere,
}

const PLACES: [(Place, &str, &str); 4] = [
    (Place::Network, "Network", "/network"),
    (Place::Jobs, "Jobs", "/jobs"),
    (Place::Submit, "Submit", "/submit"),
    (Place::Earnings, "Earnings", "/earnings"),
];

/// A page.
pub struct Page<'a> {
    /// What its window is called.
    pub title: &'a str,
    /// Where it is.
    pub place: Place,
    /// Where its updates come from, if it has any.
    pub live: Option<String>,
}

impl Page<'_> {
    /// The whole document around what is on it.
    pub fn document(&self, visitor: Option<Visitor>, content: &Markup) -> Markup {
        let who = visitor.map(|visitor| visitor.principal.to_string());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Tidemill" }
                    link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/assets/style.css";
                    script src="/assets/live.js" defer {}
                    @if self.place == Place::Submit { script src="/assets/submit.js" defer {} }
                }
                body data-live=[self.live.as_deref()] {
                    a.skip href="#main" { "Skip to content" }
                    (PreEscaped(SPRITE))
                    header.bar {
                        div {
                            a.brand href="/network" { (PreEscaped(MARK)) "Tidemill" }
                            nav.nav aria-label="Pages" {
                                @for (place, name, path) in PLACES {
                                    a href=(path) aria-current=[(place == self.place).then_some("page")] { (name) }
                                }
                            }
                            div.who {
                                @if self.live.is_some() {
                                    noscript { span { "reload for news" } }
                                    span.live #live role="status" hidden { "live" }
                                }
                                @if let Some(who) = &who { span.broad { (short(who)) } }
                            }
                        }
                    }
                    main.page #main { (content) }
                    footer.foot {
                        span { "Tidemill " (env!("CARGO_PKG_VERSION")) }
                        a href="/openapi.json" { "API" }
                        span { "Times are UTC" }
                    }
                }
            }
        }
    }
}

/// A page that says why there is nothing on it.
pub fn failure(title: &str, found: &str, way_out: &str) -> Markup {
    html! {
        section.card {
            div.empty {
                h1 { (title) }
                p { (found) }
                p { (way_out) }
                a.btn href="/network" { "Network" }
            }
        }
    }
}

/// What would be here, and one action.
pub fn empty(head: &str, words: &str, action: Option<&str>) -> Markup {
    html! {
        div.empty {
            h3 { (head) }
            p { (words) }
            @if let Some(action) = action { code.cmd tabindex="0" { (action) } }
        }
    }
}
