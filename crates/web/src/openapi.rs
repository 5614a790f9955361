//! The OpenAPI document of what this crate answers, made from the types that it answers with.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use tidemill_api as api;

/// Gives the schema of a type, and keeps those of its parts in the generator.
type Of = fn(&mut SchemaGenerator) -> Schema;

/// What a route answers when all is well.
enum Answers {
    /// A type in JSON.
    Json(Of),
    /// A type in JSON, of something that was made.
    Made(Of),
    /// A type in JSON of something that was made, or another of what would be.
    MadeOr(Of, Of),
    /// Nothing.
    Nothing,
    /// Server-sent events: `job` with a type in JSON, and `over`.
    Events,
    /// Bytes.
    Bytes,
    /// Bytes, of which a range may be asked for.
    Ranges,
}

/// What a route takes.
enum Takes {
    /// Nothing.
    Nothing,
    /// A job with its files as a form, or a type in JSON.
    Job(Of),
    /// Bytes.
    Bytes,
}

/// A route.
struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str, &'static str)],
    takes: Takes,
    answers: Answers,
}

const fn get(path: &'static str, summary: &'static str, answers: Answers) -> Route {
    Route { method: "get", path, summary, query: &[], takes: Takes::Nothing, answers }
}

const ROUTES: &[Route] = &[
    Route {
        query: &[
            ("after", "string", "the id of a job: those that come after it in the list"),
            ("limit", "integer", "at most so many, from 1 to 1000; 50 without it"),
            ("phase", "string", "those in this phase alone, in the words of the type `JobPhase`"),
        ],
        ..get(
            "/v1/jobs",
            "The jobs that the key may see, the newest first",
            Answers::Json(of::<api::JobPage>),
        )
    },
    Route {
        method: "post",
        takes: Takes::Job(of::<api::JobByHashes>),
        query: &[("dry_run", "boolean", "whether to say what would come of it, and submit nothing")],
        ..get(
            "/v1/jobs",
            "Submit a job; with the header `Idempotency-Key` it is done once, however often it is asked for",
            Answers::MadeOr(of::<api::Submitted>, of::<api::DryRun>),
        )
    },
    Route {
        method: "post",
        takes: Takes::Bytes,
        ..get("/v1/blobs", "Bring bytes for jobs to come", Answers::Made(of::<api::KeptBlob>))
    },
    Route {
        method: "put",
        takes: Takes::Bytes,
        ..get(
            "/v1/blobs/{hash}",
            "Bring bytes that have this hash, or none",
            Answers::Made(of::<api::KeptBlob>),
        )
    },
    get("/v1/blobs/{hash}", "Bytes that the key has brought, as long as they are kept", Answers::Ranges),
    get("/v1/jobs/{job}", "A job", Answers::Json(of::<api::Job>)),
    Route {
        method: "delete",
        ..get("/v1/jobs/{job}", "Remove a job that has ended, with all that is kept of it", Answers::Nothing)
    },
    Route {
        method: "post",
        ..get(
            "/v1/jobs/{job}/cancel",
            "End a job; done again it changes nothing",
            Answers::Json(of::<api::Job>),
        )
    },
    Route {
        query: &[
            ("from", "integer", "the first task; 0 without it"),
            ("limit", "integer", "at most so many, from 1 to 1000; 50 without it"),
        ],
        ..get("/v1/jobs/{job}/tasks", "Tasks of a job, by their numbers", Answers::Json(of::<api::TaskPage>))
    },
    get(
        "/v1/jobs/{job}/tasks/{task}/log",
        "What a task wrote to standard error, or the end of it",
        Answers::Bytes,
    ),
    Route {
        query: &[("task", "integer", "which task; the job as a whole without it")],
        ..get(
            "/v1/jobs/{job}/explanation",
            "Why a job's tasks, or one of them, are where they are",
            Answers::Json(of::<api::Explanation>),
        )
    },
    get("/v1/jobs/{job}/events", "A job whenever it changes, up to its end", Answers::Events),
    Route {
        query: &[("from", "integer", "the first task, where there is no reduce; 0 without it")],
        ..get(
            "/v1/jobs/{job}/output",
            "The files of the output of a job that has ended",
            Answers::Json(of::<api::OutputListing>),
        )
    },
    get(
        "/v1/jobs/{job}/output/{task}/{path}",
        "A file of the output of a task that is done",
        Answers::Ranges,
    ),
    get("/v1/providers", "Who lends what", Answers::Json(of::<api::ProviderList>)),
    get(
        "/v1/reputation/{operator}",
        "What is known of an operator's results",
        Answers::Json(of::<api::Reputation>),
    ),
    get(
        "/v1/escrows/{escrow}",
        "An escrow of the key's, and what became of it",
        Answers::Json(of::<api::Payment>),
    ),
    Route {
        method: "post",
        ..get(
            "/v1/escrows/{escrow}/end",
            "Settle an escrow once no job uses it, instead of at its deadline",
            Answers::Json(of::<api::Payment>),
        )
    },
];

/// What each parameter of a path is.
const PATH: &[(&str, &str)] = &[
    ("job", "the id of a job"),
    ("task", "the number of a task"),
    ("path", "where a file is in the output; its slashes stay as they are"),
    ("hash", "the BLAKE3 hash of a blob, in 64 hexadecimal digits"),
    ("operator", "an operator's account"),
    ("escrow", "the name of an escrow"),
];

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = of::<api::Problem>(&mut generator).to_value();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator, &problem);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A coordinator over HTTP. The routes of OpenAI's API beside these are described in docs/api.md.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": Value::Object(generator.take_definitions(true)),
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "description": "A key of `tidemill api-key new`. On a network without money none is needed on the machine of its coordinator.",
            }},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator, problem: &Value) -> Value {
    let path = PATH.iter().filter(|(name, _)| route.path.contains(&format!("{{{name}}}")));
    let path = path.map(|(name, what)| {
        json!({"name": name, "in": "path", "required": true, "description": what, "schema": {"type": "string"}})
    });
    let once = matches!(route.takes, Takes::Job(_)).then(|| {
        json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "1 to 255 characters: the same job, however often it is asked for",
            "schema": {"type": "string", "maxLength": 255},
        })
    });
    let query = route.query.iter().map(|(name, kind, what)| {
        json!({"name": name, "in": "query", "required": false, "description": what, "schema": {"type": kind}})
    });
    let parameters: Vec<Value> = path.chain(query).chain(once).collect();
    let bytes = json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}});
    let mut responses = match &route.answers {
        Answers::Json(of) => {
            let schema = of(generator).to_value();
            json!({"200": {"description": route.summary, "content": {"application/json": {"schema": schema}}}})
        }
        Answers::Made(of) => {
            let schema = of(generator).to_value();
            json!({"201": {"description": route.summary, "content": {"application/json": {"schema": schema}}}})
        }
        Answers::MadeOr(of, or) => {
            let (made, would) = (of(generator).to_value(), or(generator).to_value());
            json!({
                "200": {"description": "What would come of it", "content": {"application/json": {"schema": would}}},
                "201": {"description": "It is submitted", "content": {"application/json": {"schema": made}}},
            })
        }
        Answers::Nothing => json!({"204": {"description": "It is done."}}),
        Answers::Events => {
            let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
            json!({"200": {"description": "Events `job`, each with a `Job`, and an event `over`.", "content": content}})
        }
        Answers::Bytes => json!({"200": {"description": route.summary, "content": bytes}}),
        Answers::Ranges => json!({
            "200": {"description": "The whole file, by its kind", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
            "206": {"description": "The range that the header `Range` asks for", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        }),
    };
    if let Some(responses) = responses.as_object_mut() {
        let content = json!({"application/problem+json": {"schema": problem}});
        let wrong = json!({"description": "What is wrong, as RFC 9457 has it", "content": content});
        responses.insert("4XX".to_owned(), wrong.clone());
        responses.insert("5XX".to_owned(), wrong);
    }
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let (Some(body), Some(operation)) = (body(route, generator), operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// What a route takes, as the document has it.
fn body(route: &Route, generator: &mut SchemaGenerator) -> Option<Value> {
    let binary = json!({"type": "string", "format": "binary"});
    let content = match &route.takes {
        Takes::Nothing => return None,
        Takes::Bytes => json!({"application/octet-stream": {"schema": binary}}),
        Takes::Job(of) => {
            let form = json!({
                "type": "object",
                "description": "The job file, and each file that it names under its path. A part `files` has its path as its \
                                file name; each line of a part `blobs` is the hash of a blob that was brought before, a \
                                space and a path.",
                "properties": {
                    "job.toml": {"type": "string"},
                    "files": {"type": "array", "items": binary},
                    "blobs": {"type": "string"},
                },
                "required": ["job.toml"],
                "additionalProperties": binary,
            });
            let schema = of(generator).to_value();
            json!({"multipart/form-data": {"schema": form}, "application/json": {"schema": schema}})
        }
    };
    Some(json!({"required": true, "content": content}))
}

/// `get_jobs_tasks` of `GET /v1/jobs/{job}/tasks`.
fn name(route: &Route) -> String {
    let words = route.path.split('/').filter(|word| !word.is_empty() && *word != "v1");
    let words: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
    format!("{}_{}", route.method, words.join("_"))
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

#[cfg(test)]
pub mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// Where the document is committed, from this crate.
    const COMMITTED: &str = "../../docs/openapi.json";

    /// Says that the document is to be written, not compared.
    const WRITE: &str = "TIDEMILL_WRITE_SCHEMA";

    /// The method and path of each route, with something in the place of its parameters.
    pub fn examples() -> Vec<(String, String)> {
        let filled = |route: &Route| {
            let path = route.path.replace("{job}", &"7".repeat(32)).replace("{task}", "0");
            let path = path.replace("{hash}", &"a".repeat(64));
            let path =
                path.replace("{path}", "a/b.txt").replace("{operator}", &format!("0x{}", "1".repeat(40)));
            path.replace("{escrow}", &format!("0x{}", "1".repeat(64)))
        };
        ROUTES.iter().map(|route| (route.method.to_uppercase(), filled(route))).collect()
    }

    #[test]
    fn the_committed_document_is_that_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        let made = document();
        if env::var_os(WRITE).is_some() {
            let text = serde_json::to_string_pretty(&made).expect("it is plain data") + "\n";
            fs::write(&path, text).expect("the document is written");
        }
        let committed: Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
        assert!(
            committed == made,
            "docs/openapi.json is not that of the types: write it with `{WRITE}=1 cargo test --release -p tidemill-web`, \
             and look at what changes for clients"
        );
    }

    #[test]
    fn every_reference_and_every_parameter_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|field| references(field, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let made = document();
        let mut found = Vec::new();
        references(&made, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("it is within the document");
            assert!(made.pointer(pointer).is_some(), "{reference}");
        }
        for route in ROUTES {
            let named = PATH.iter().filter(|(name, _)| route.path.contains(&format!("{{{name}}}"))).count();
            assert_eq!(route.path.matches('{').count(), named, "{}", route.path);
        }
        let names: std::collections::BTreeSet<String> = ROUTES.iter().map(name).collect();
        assert_eq!(names.len(), ROUTES.len(), "each has a name of its own");
    }
}
