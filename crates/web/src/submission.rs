//! Jobs that visitors bring: a job file and the files that it names, by themselves or by the hashes of blobs that were
//! brought before. What becomes of them is what a requester's own command does, but that no path leads out of what was
//! brought.

use std::{fs, path::Path, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode},
};
use tidemill_api as api;
use tidemill_coordinator::{Bringer, LocalError, LocalSession, Visitor};
use tidemill_exec::check_module;
use tidemill_job::{ExpandErrors, JobFile, JobSpec, Mistakes, Plan, SealError, Wanted, expand_within, seal};
use tidemill_net::{
    blobs::{BlobError, hash_content},
    wire::{JobPay, NetworkTerms, Refusal, Reply, Request, SpecBody},
};
use tidemill_types::{
    Amount, BlobId, BlobRef, ByteSize, Content, JobId, MAX_PROGRAM_BYTES, Principal, ProgramKind, Reliance,
    Segment, Stage, causes,
};

use crate::{
    desk::{self, Desk},
    problem::Problem,
    prospects::{Network, prospects},
    staging::Staged,
    told,
    upload::{
        Inflow, Speed,
        form::{Form, Part},
    },
};

/// The longest job file.
pub const MOST_TEXT: usize = 1 << 20;

/// What describes a job by hashes may be so long.
const MOST_JSON: u64 = 4 << 20;

/// What compressed inputs of one job may unpack to.
const MOST_UNPACKED: u64 = 1 << 30;

/// The part of a form that is the job file.
pub const JOB_FILE: &str = "job.toml";

/// The part that is a file under its own name, as browsers send those that a person has chosen.
pub const FILES: &str = "files";

/// The part whose lines are `HASH PATH`: files that were brought before.
pub const BLOBS: &str = "blobs";

/// The longest name that a visitor gives a submission to have it done once.
const MOST_KEY: usize = 255;

/// A job file with its files, as a visitor has brought them.
pub struct Brought {
    /// The job file.
    pub text: String,
    /// The files beside it.
    pub staged: Staged,
    /// Other parts of the form, of those that were asked for.
    pub fields: Vec<(String, String)>,
}

/// What a job and its files have come to.
struct Sealed {
    file: JobFile,
    plan: Plan,
    spec: JobSpec,
}

impl Brought {
    /// Reads a form. `known` are the names of further fields that it may have.
    pub async fn from_form(
        desk: &Desk,
        visitor: Visitor,
        headers: &HeaderMap,
        body: Body,
        known: &[&str],
    ) -> Result<Self, Problem> {
        let most = desk.room.most_each().saturating_add(MOST_JSON);
        let mut form = Form::new(headers, Inflow::new(body, most, Speed::default())?)?;
        let mut staged = Staged::new(&desk.folder, desk.room.part(visitor.principal))?;
        let (mut text, mut fields) = (None, Vec::new());
        while let Some(Part { name, file_name }) = form.part().await? {
            match (name.as_str(), file_name) {
                (JOB_FILE, _) if text.is_some() => return Err(wrong("there are two job files")),
                (JOB_FILE, _) => text = Some(form.text("the job file", MOST_TEXT).await?),
                (BLOBS, None) => {
                    let lines = form.text("the list of blobs", MOST_TEXT).await?;
                    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
                        let Some((hash, path)) = line.trim().split_once(' ') else {
                            return Err(wrong("a line of `blobs` is a hash, a space and a path"));
                        };
                        blob(desk, visitor, &mut staged, path, hash).await?;
                    }
                }
                (name, None) if known.contains(&name) => {
                    let value = form.text(name, 1024).await?;
                    fields.push((name.to_owned(), value));
                }
                // A field for files of which none was chosen.
                (FILES, Some(path)) if path.is_empty() => {}
                (FILES, Some(path)) => write(&mut staged, &path, &mut form).await?,
                (path, _) => write(&mut staged, path, &mut form).await?,
            }
        }
        let text = text.ok_or_else(|| wrong("there is no part `job.toml`: it is the job file"))?;
        Ok(Self { text, staged, fields })
    }

    /// Reads a description in JSON, whose files were brought before.
    pub async fn from_json(desk: &Desk, visitor: Visitor, body: Body) -> Result<Self, Problem> {
        let bytes = Inflow::new(body, MOST_JSON, Speed::default())?.all().await?;
        let described: api::JobByHashes =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("the body: {error}")))?;
        let mut staged = Staged::new(&desk.folder, desk.room.part(visitor.principal))?;
        for (path, hash) in &described.files {
            blob(desk, visitor, &mut staged, path, hash).await?;
        }
        if described.job.len() > MOST_TEXT {
            let most = ByteSize(MOST_TEXT as u64);
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the job file has more than {most}"),
            ));
        }
        Ok(Self { text: described.job, staged, fields: Vec::new() })
    }

    /// Keeps what was brought for a later request, and gives the lines that name it there.
    pub async fn keep(&mut self, desk: &Desk, visitor: Visitor) -> Result<Vec<(BlobRef, String)>, Problem> {
        let files: Vec<_> = self.staged.files().map(|(path, blob)| (path.clone(), blob)).collect();
        let mut kept = Vec::with_capacity(files.len());
        for (path, blob) in files {
            let blob = match blob {
                Some(blob) => blob,
                None => {
                    let place = self.staged.directory().join(path.as_str());
                    let content = place.clone();
                    let hashed = tokio::task::spawn_blocking(move || {
                        let len = fs::metadata(&content)?.len();
                        hash_content(&Content::file(content, len)).map_err(std::io::Error::other)
                    });
                    let hashed = hashed.await.map_err(|_| over())?;
                    let blob = hashed.map_err(|error| crate::staging::disk(&error))?;
                    let room = self.staged.give(blob.len);
                    desk.depot.keep(&desk.sessions, visitor.principal, (blob, &place), room).await?;
                    blob
                }
            };
            kept.push((blob, path.to_string()));
        }
        kept.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(kept)
    }
}

fn wrong(found: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, found)
}

fn over() -> Problem {
    LocalError::Over.into()
}

async fn write(staged: &mut Staged, path: &str, form: &mut Form) -> Result<(), Problem> {
    let mut file = staged.create(path)?;
    while let Some(chunk) = form.chunk().await? {
        file.write(&chunk).await?;
    }
    file.finish().await.map(|_| ())
}

/// Puts a blob that the visitor has brought before in its place.
async fn blob(
    desk: &Desk,
    visitor: Visitor,
    staged: &mut Staged,
    path: &str,
    hash: &str,
) -> Result<(), Problem> {
    let id: BlobId = hash.parse().map_err(|error| wrong(&format!("the file {path:?}: {error}")))?;
    let Some(blob) = desk.depot.get(visitor.principal, id) else {
        let found = format!("you have not brought the blob {id}, or not used it for long: bring it again");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, found));
    };
    let lent = desk.sessions.lend(id).await.map_err(LocalError::Blob)?;
    // Short, or from one file of this disk to another.
    staged.copy(path, blob, &lent)
}

/// What pays for a job that is to be submitted: nothing in a network that is free. `purse` is what the visitor has. It is
/// asked before anything is read.
pub fn pay(desk: &Desk, purse: Option<JobPay>) -> Result<Option<JobPay>, Problem> {
    if desk.is_free() {
        return Ok(None);
    }
    let unpaid = || {
        let found = "work is paid for here, and what asks has no money: submit the job with `tidemill submit JOB.TOML`, which \
                     opens an escrow, or show a key of `tidemill api-key new --budget \"5 TIDE\"`. A dry run needs no money";
        Problem::new(StatusCode::PAYMENT_REQUIRED, found)
    };
    purse.map(Some).ok_or_else(unpaid)
}

/// Submits a job, which `pay` pays for. With a `key` it is the same job however often it is asked for.
pub async fn submit(
    desk: Arc<Desk>,
    visitor: Visitor,
    brought: Brought,
    key: Option<String>,
    pay: Option<JobPay>,
) -> Result<api::Submitted, Problem> {
    // It goes on when the visitor leaves: what it has begun comes to an end that leaves nothing behind.
    let submitting = tokio::spawn(async move {
        let id = match &key {
            Some(key) => job_of(visitor.principal, key),
            None => draw()?,
        };
        let mut session = desk.open(visitor);
        let sealed = seal_all(&desk, brought, Some(session.bringer()?)).await?;
        // The job file may bound its price further.
        let bound = |pay: JobPay| JobPay { max_price: least(pay.max_price, sealed.file.max_price), ..pay };
        let pay = pay.map(bound);
        hand_in(&mut session, id, &sealed.spec, pay).await.map_err(|error| match error {
            LocalError::Refused(Refusal::IdTaken) if key.is_some() => {
                let found = "this Idempotency-Key was used for another job, or for one that was removed";
                Problem::new(StatusCode::CONFLICT, found)
            }
            error => error.into(),
        })?;
        Ok(api::Submitted {
            job_id: id.to_string(),
            job: sealed.file.name.to_string(),
            tasks: sealed.plan.task_count(),
            map_tasks: sealed.plan.map_count(),
            escrow: pay.map(|pay| pay.escrow.to_string()),
        })
    });
    submitting.await.map_err(|_| over())?
}

/// What would come of a job.
pub async fn dry_run(desk: Arc<Desk>, visitor: Visitor, brought: Brought) -> Result<api::DryRun, Problem> {
    let Sealed { file, plan, spec } = seal_all(&desk, brought, None).await?;
    let mut session = desk.open(visitor);
    let stages = [Stage::Map, Stage::Reduce].into_iter();
    let stages = stages.filter_map(|stage| Some((spec.needs(stage)?, spec.program(stage)?.id))).collect();
    let terms: NetworkTerms = match session.ask(Request::Terms { stages }).await? {
        Reply::Terms(terms) => terms,
        _ => return Err(LocalError::OffProtocol.into()),
    };
    let providers = desk::providers(&mut session).await?;
    let trusted = match spec.reliance() {
        Reliance::Trusted => {
            let records = desk::records(&mut session, &providers).await?;
            records
                .into_iter()
                .filter(|(_, record)| record.is_trusted)
                .map(|(operator, _)| operator)
                .collect()
        }
        _ => std::collections::BTreeSet::new(),
    };
    let coordinator = desk.sessions.node();
    let network = Network { coordinator, terms: &terms, providers: &providers, trusted: &trusted };
    let prospects = prospects(&spec, network, file.max_price)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    Ok(told::dry_run(&file, &plan, None, Some(prospects)))
}

/// The job that a visitor means by a key.
fn job_of(principal: Principal, key: &str) -> JobId {
    let mut hasher = blake3::Hasher::new_derive_key("tidemill job of a principal's idempotency key");
    hasher.update(principal.to_string().as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    JobId(id)
}

fn draw() -> Result<JobId, Problem> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(JobId(id))
}

/// The header that says that a request is to be done once.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default().trim();
    if !(1..=MOST_KEY).contains(&key.len()) {
        return Err(wrong("the header Idempotency-Key must hold 1 to 255 visible characters"));
    }
    Ok(Some(key.to_owned()))
}

/// The lesser of two bounds, either of which may not be there.
fn least(one: Option<Amount>, other: Option<Amount>) -> Option<Amount> {
    one.into_iter().chain(other).min()
}

async fn hand_in(
    session: &mut LocalSession,
    job: JobId,
    spec: &JobSpec,
    pay: Option<JobPay>,
) -> Result<(), LocalError> {
    let encoded = spec.encode();
    let spec = match SpecBody::fits_inline(&encoded) {
        true => SpecBody::Inline(encoded),
        false => SpecBody::Blob(session.bring(encoded).await?),
    };
    session.send(Request::Submit { job, spec, follow: false, pay }).await?;
    loop {
        match session.next().await?.reply? {
            Reply::Submitted => return Ok(()),
            Reply::Fetching { .. } => {}
            _ => return Err(LocalError::OffProtocol),
        }
    }
}

/// Parses, expands and seals on a thread of its own; few at a time, since inputs are read and cut. `bringer` takes the
/// blobs in, where the job is to run.
async fn seal_all(desk: &Desk, brought: Brought, bringer: Option<Bringer>) -> Result<Sealed, Problem> {
    let place = desk.sealing.clone().acquire_owned().await.map_err(|_| over())?;
    let sealing = tokio::task::spawn_blocking(move || {
        let sealed = sealed(&brought, bringer.as_ref());
        drop((brought, place));
        sealed
    });
    sealing.await.map_err(|_| over())?
}

fn sealed(brought: &Brought, bringer: Option<&Bringer>) -> Result<Sealed, Problem> {
    let file = JobFile::parse(&brought.text).map_err(|mistakes| of_mistakes(&mistakes))?;
    let directory = brought.staged.directory();
    let plan = expand_within(&file, &directory, MOST_UNPACKED)
        .map_err(|errors| of_expansion(&errors, &directory))?;
    check_programs(&file, &plan, &directory)?;
    let mut hash = |content: &Content, wanted: Wanted| {
        let (Some(bringer), Wanted::Blob) = (bringer, wanted) else { return hash_content(content) };
        match known(&brought.staged, content) {
            Some(blob) => bringer.hold(blob.id).map(|()| blob),
            None => bringer.bring(content),
        }
    };
    let spec = seal(&plan, &file, &mut hash).map_err(of_sealing)?;
    Ok(Sealed { file, plan, spec })
}

/// The blob that a file was made from that is a content.
fn known(staged: &Staged, content: &Content) -> Option<BlobRef> {
    match content.segments.as_slice() {
        [Segment::File { path, offset: 0, len }] => staged.blob_at(path).filter(|blob| blob.len == *len),
        _ => None,
    }
}

/// The problem of a job file that has mistakes.
pub fn of_mistakes(mistakes: &Mistakes) -> Problem {
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mistake = |mistake: &tidemill_job::Mistake| api::JobFileMistake {
        line: number(mistake.line),
        column: number(mistake.column),
        found: mistake.found.clone(),
        allowed: mistake.allowed.clone(),
    };
    let list: Vec<_> = mistakes.iter().map(mistake).collect();
    let detail = match list.len() + mistakes.omitted() {
        1 => "there is 1 mistake in the job file".to_owned(),
        count => format!("there are {count} mistakes in the job file"),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_mistakes(list)
}

/// Files as their bringer knows them: nothing of where they are here.
fn without(directory: &Path, text: &str) -> String {
    let directory = directory.display();
    text.replace(&format!("{directory}/"), "").replace(&directory.to_string(), "what was brought")
}

fn of_expansion(errors: &ExpandErrors, directory: &Path) -> Problem {
    if errors.are_of_this_machine() {
        let found = "this machine has no room for what the files unpack to";
        return Problem::new(StatusCode::INSUFFICIENT_STORAGE, found);
    }
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, without(directory, &errors.to_string()))
}

fn of_sealing(error: SealError<BlobError>) -> Problem {
    match error {
        SealError::Content(error @ BlobError::OverBudget(_)) => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, causes(&error))
        }
        SealError::Content(error) => LocalError::Blob(error).into(),
        other => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, causes(&other)),
    }
}

/// Looks at programs from outside, before anybody is given them.
fn check_programs(file: &JobFile, plan: &Plan, directory: &Path) -> Result<(), Problem> {
    let reduce = plan.reduce().map(|reduce| reduce.program());
    // What is wrong with a model, a worker says.
    let map = (file.program.kind == ProgramKind::Wasm).then(|| plan.map_program());
    let mut programs: Vec<&Path> = [map, reduce, plan.comparer()].into_iter().flatten().collect();
    programs.sort();
    programs.dedup();
    for path in programs {
        let wrong = |found: String| {
            let name = path.strip_prefix(directory).unwrap_or(path).display();
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{name}: {found}"))
        };
        if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_PROGRAM_BYTES) {
            return Err(wrong(format!("it has more than {}", ByteSize(MAX_PROGRAM_BYTES))));
        }
        let bytes = fs::read(path).map_err(|error| crate::staging::disk(&error))?;
        check_module(&bytes).map_err(|failure| wrong(format!("{failure}; {}", failure.hint())))?;
    }
    Ok(())
}

/// The paths and patterns that a job file names, each once.
pub fn named(file: &JobFile) -> Vec<String> {
    use tidemill_job::{CompareBy, Tasks};

    let of = |path: &Path| path.to_string_lossy().into_owned();
    // A model may be known by its name.
    let mut all: Vec<String> = file.program.source.file().map(of).into_iter().collect();
    all.extend(file.inputs.iter().map(|input| of(&input.file)));
    match &file.tasks {
        Tasks::Files(patterns) => all.extend(patterns.iter().cloned()),
        Tasks::Split(split) => all.extend(split.input.iter().cloned()),
        Tasks::One | Tasks::Range(_) | Tasks::Matrix(_) => {}
    }
    if let Some(reduce) = &file.reduce {
        all.extend(reduce.program.source.file().map(of));
        all.extend(reduce.inputs.iter().map(|input| of(&input.file)));
    }
    if let CompareBy::Program(path) = &file.compare {
        all.push(of(path));
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|path| seen.insert(path.clone()));
    all
}

#[cfg(test)]
mod tests {
    use tidemill_types::NodeId;

    use super::*;

    #[test]
    fn a_key_is_one_job_of_its_bringer() {
        let [one, two] = [1, 2].map(|number| Principal::Node(NodeId([number; 32])));
        assert_eq!(job_of(one, "a"), job_of(one, "a"));
        assert!(job_of(one, "a") != job_of(two, "a") && job_of(one, "a") != job_of(one, "b"));
        let headers = |key: &str| {
            let key = axum::http::HeaderValue::from_str(key).expect("a header");
            HeaderMap::from_iter([(axum::http::HeaderName::from_static("idempotency-key"), key)])
        };
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
        assert_eq!(idempotency_key(&headers("a b")), Ok(Some("a b".to_owned())));
        for bad in ["", " ", &"a".repeat(256)] {
            assert!(idempotency_key(&headers(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_job_file_names_is_told() {
        let text = "name = \"a\"\nprogram.path = \"a.wasm\"\n[tasks]\nfiles = [\"d/*.txt\", \"a.wasm\"]\n[inputs]\n\
                    x = \"data/x\"\n[reduce]\npath = \"b.wasm\"\n[policy]\ncompare = { program = \"c.wasm\" }";
        let file = JobFile::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(named(&file), ["a.wasm", "data/x", "d/*.txt", "b.wasm", "c.wasm"]);
    }
}
