//! The requester's side of a network: a session with its coordinator, and the blobs that go both ways.

mod outputs;
mod pages;
mod sealing;
mod store;
mod submission;
mod task;

use std::{path::PathBuf, pin::pin, time::Duration};

use tidemill_net::{
    blobs::{BLOBS_ALPN, Blobs, Pin},
    client::{CallError, Client, Replies},
    endpoint::{Bind, Connection, Node, NodeOptions},
    opening::OpeningError,
    recall::recalled,
    session::SessionError,
    ticket::Ticket,
    wire::{JobReport, MAX_PAGE, ProviderReport, Refusal, Reply, Request},
};
use tidemill_types::{BlobId, JobId, NodeId, ResultKey, lines};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::store::OwnBlobs;
pub use self::{
    sealing::Sealed,
    submission::{Standing, Submission, draw},
    task::TaskName,
};
use crate::{
    exit::{Code, Exit, WithCode, causes},
    home::{Identity, data_directory, identity},
};

/// A coordinator that was lost is looked for again for so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The first pause between two attempts to reach it, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Blobs that the coordinator may fetch at a time.
const BLOB_STREAMS: usize = 16;

/// How long the farewell to a coordinator may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Nobody wonders yet what a command waits for.
const SILENCE: Duration = Duration::from_secs(2);

/// A session with the coordinator of a network.
pub struct Requester {
    node: Node,
    key: ResultKey,
    ticket: Ticket,
    client: Client,
    /// Below which this process's blobs are.
    folder: PathBuf,
    /// The connection for blobs, once one was needed.
    blobs_link: Option<Connection>,
    own: Option<OwnBlobs>,
}

impl Requester {
    /// Joins a network as a requester, as this home.
    ///
    /// # Errors
    /// With [`Code::Usage`] when the coordinator does not let it in, with [`Code::Host`] when it cannot be reached.
    pub async fn connect(ticket: Ticket) -> anyhow::Result<Self> {
        let folder = data_directory().code(Code::Host)?.join("requester");
        Self::connect_as(identity().code(Code::Host)?, folder, ticket).await
    }

    /// Joins a network as somebody, with the blobs below a folder.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_as(identity: Identity, folder: PathBuf, ticket: Ticket) -> anyhow::Result<Self> {
        let here = ticket.addresses().iter().all(|address| address.ip().is_loopback());
        let bind = if here { Bind::Loopback { port: 0 } } else { Bind::Everywhere { port: 0 } };
        let options = NodeOptions { bind, recalled_by: vec![ticket.node()], ..NodeOptions::default() };
        let node = Node::bind(&identity.node, options).await.code(Code::Host)?;
        let connecting = Client::connect(&node, &identity.result, &ticket);
        let client = saying(connecting, &format!("waiting for the coordinator {}", ticket.node())).await;
        let client = client.map_err(|error| no_session(error, &ticket))?;
        Ok(Self { node, key: identity.result, ticket, client, folder, blobs_link: None, own: None })
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node.id()
    }

    /// The coordinator.
    pub fn coordinator(&self) -> NodeId {
        self.client.peer()
    }

    /// Ends the session, and removes what was kept for it alone.
    pub async fn close(self) {
        self.client.close();
        let _ = timeout(FAREWELL, self.node.close()).await;
    }

    /// Asks for something that is answered once, once more when the connection was lost on the way.
    ///
    /// # Errors
    /// With a code for what the coordinator said, or that it is gone.
    pub async fn call(&mut self, request: Request) -> anyhow::Result<Reply> {
        self.answer(request).await?.map_err(|refusal| refused(&refusal))
    }

    /// The same, where the coordinator may say no.
    async fn answer(&mut self, request: Request) -> anyhow::Result<Result<Reply, Refusal>> {
        loop {
            match self.client.call(request.clone()).await {
                Ok(reply) => return Ok(Ok(reply)),
                Err(CallError::Refused(refusal)) => return Ok(Err(refusal)),
                Err(CallError::Lost) => self.reconnect(PATIENCE).await?,
            }
        }
    }

    /// Asks for something that is answered more than once. `None`: the connection is gone.
    pub async fn follow(&self, request: Request) -> Option<Replies> {
        self.client.follow(request).await.ok()
    }

    /// Looks for the coordinator again, for so long.
    ///
    /// # Errors
    /// With [`Code::Host`] when it does not come back, with [`Code::Usage`] when it does not let it in any more.
    pub async fn reconnect(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        let (mut pause, longest) = PAUSES;
        self.blobs_link = None;
        let mut recalls = self.node.recalls(self.ticket.node());
        loop {
            let attempt = Client::connect(&self.node, &self.key, &self.ticket);
            let attempted = tokio::select! {
                attempted = timeout_at(deadline, attempt) => attempted,
                // It has just come back, and what was said to it before went nowhere.
                () = recalled(recalls.as_mut()) => continue,
            };
            match attempted {
                Ok(Ok(client)) => {
                    self.client = client;
                    return Ok(());
                }
                Ok(Err(error)) if !error.may_pass() || Instant::now() + pause >= deadline => {
                    return Err(no_session(error, &self.ticket));
                }
                Ok(Err(_)) => tokio::select! {
                    () = sleep(pause) => {}
                    () = recalled(recalls.as_mut()) => {}
                },
                Err(_) => {
                    let message =
                        format!("the coordinator did not come back within {} s", patience.as_secs());
                    return Err(Exit::new(Code::Host, message).into());
                }
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// How a job stands.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn job(&mut self, job: JobId) -> anyhow::Result<JobReport> {
        match self.call(Request::Job { job }).await? {
            Reply::Job(report) | Reply::Ended(report) => Ok(report),
            _ => Err(off_the_protocol()),
        }
    }

    /// The jobs that this home submitted, the newest first.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn jobs(&mut self) -> anyhow::Result<Vec<JobReport>> {
        self.listed(false).await?.map_err(|refusal| refused(&refusal))
    }

    /// The jobs of all requesters, the newest first: for the home that runs the coordinator.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn all_jobs(&mut self) -> anyhow::Result<Vec<JobReport>> {
        self.listed(true).await?.map_err(|refusal| refused(&refusal))
    }

    /// Jobs, the newest first, up to [`MAX_PAGE`], in as many answers as that takes.
    async fn listed(&mut self, all: bool) -> anyhow::Result<Result<Vec<JobReport>, Refusal>> {
        let mut listed: Vec<JobReport> = Vec::new();
        loop {
            let limit = MAX_PAGE - u32::try_from(listed.len()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
            if limit == 0 {
                return Ok(Ok(listed));
            }
            let after = listed.last().map(JobReport::place);
            match self.answer(Request::Jobs { limit, after, all }).await? {
                Ok(Reply::Jobs(reports)) if reports.is_empty() => return Ok(Ok(listed)),
                Ok(Reply::Jobs(reports)) => listed.extend(reports),
                Ok(_) => return Err(off_the_protocol()),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// The job that a person means: by its id, the beginning of its id, or its name. Where this home submitted none such and
    /// runs the coordinator, that of another requester.
    ///
    /// # Errors
    /// With [`Code::Usage`] when it could be none or several.
    pub async fn find(&mut self, text: &str) -> anyhow::Result<JobReport> {
        if let Ok(job) = text.to_ascii_lowercase().parse::<JobId>() {
            return self.job(job).await;
        }
        let prefix = text.to_ascii_lowercase();
        let means = |report: &JobReport| {
            report.name == text || (!prefix.is_empty() && report.job.to_string().starts_with(&prefix))
        };
        let mut found = self.jobs().await?;
        found.retain(means);
        if found.is_empty() {
            // To anybody else the coordinator does not tell of them.
            found = self.listed(true).await?.unwrap_or_default();
            found.retain(means);
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Exit::new(Code::Usage, format!("there is no job {text:?}"))
                .hint("`tidemill status` lists the jobs that you submitted from here")
                .into()),
            count => {
                let ids: Vec<_> = found.iter().take(8).map(|report| report.job.short()).collect();
                let message = format!("{count} jobs could be {text:?}: {}", ids.join(", "));
                Err(Exit::new(Code::Usage, message).hint("give more of the id").into())
            }
        }
    }

    /// How many tasks the providers that are connected can run at a time.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn slots(&mut self) -> anyhow::Result<u64> {
        let providers = self.providers().await?;
        let connected = providers.iter().filter(|provider| provider.connected);
        Ok(connected.map(|provider| u64::from(provider.offer.slots())).sum())
    }

    /// Who lends what.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn providers(&mut self) -> anyhow::Result<Vec<ProviderReport>> {
        match self.call(Request::Providers).await? {
            Reply::Providers(providers) => Ok(providers),
            _ => Err(off_the_protocol()),
        }
    }

    /// The folder of this process's blobs.
    async fn blobs(&mut self) -> anyhow::Result<(Blobs, Pin)> {
        let own = match self.own.take() {
            Some(own) => own,
            None => OwnBlobs::open(&self.folder).await?,
        };
        let own = self.own.insert(own);
        Ok((own.blobs.clone(), own.pin.clone()))
    }

    /// Lets the coordinator fetch what this process has for it, should it have lost some of that to damage.
    pub async fn lend(&mut self) {
        if self.own.is_some()
            && let Err(error) = self.link().await
        {
            // It shows where something is fetched.
            tracing::debug!(error = causes(&error), "nothing can be lent to the coordinator");
        }
    }

    /// The connection for blobs, over which the coordinator may fetch those of this process.
    async fn link(&mut self) -> anyhow::Result<Connection> {
        if let Some(link) = self.blobs_link.as_ref().filter(|link| link.close_reason().is_none()) {
            return Ok(link.clone());
        }
        let (blobs, _) = self.blobs().await?;
        let link = self.node.connect(&self.ticket, BLOBS_ALPN).await.code(Code::Host)?;
        let coordinator = self.coordinator();
        let served = link.clone();
        tokio::spawn(async move {
            blobs.serve(served, move |node, _: BlobId| node == coordinator, BLOB_STREAMS).await;
        });
        self.blobs_link = Some(link.clone());
        Ok(link)
    }
}

/// The error of a call that the coordinator did not do.
pub fn refused(refusal: &Refusal) -> anyhow::Error {
    let message = lines(&refusal.to_string());
    let exit = match refusal {
        Refusal::NoSuchJob => Exit::new(Code::Usage, message)
            .hint("`tidemill status` lists the jobs that you submitted from here; each home has its own"),
        Refusal::NoSuchTask => Exit::new(Code::Usage, message)
            .hint("`tidemill status JOB --tasks` lists a job's tasks by number"),
        Refusal::NotEnded => Exit::new(Code::Usage, message)
            .hint("wait for it with `tidemill status JOB --watch`, or cancel it"),
        Refusal::IdTaken => Exit::new(Code::Host, message).hint("run the command again"),
        Refusal::BadJob { .. } => Exit::new(Code::Usage, message),
        Refusal::Fetch { .. } => {
            Exit::new(Code::Host, message).hint("do not change input files meanwhile; try again")
        }
        Refusal::TooLong { .. } => Exit::new(Code::Usage, message),
        Refusal::Unpaid { .. } | Refusal::OverBudget { .. } => Exit::new(Code::Usage, message),
        Refusal::NotSeen { .. } => Exit::new(Code::Host, message)
            .hint("run it again: the escrow is open and is used then; `tidemill escrow list` shows it"),
        Refusal::NoSuchEscrow => Exit::new(Code::Usage, message).hint(
            "`tidemill escrow list` lists your escrows; each is known to the coordinator that it is for",
        ),
        Refusal::NotOperator => Exit::new(Code::Usage, message)
            .hint("`tidemill status` without `--all` lists the jobs that you submitted from here"),
        Refusal::Busy { .. } => Exit::new(Code::Host, message)
            .hint("try again later; `tidemill remove JOB` makes room where disk is short"),
    };
    exit.into()
}

/// The error of an answer to another question.
pub fn off_the_protocol() -> anyhow::Error {
    Exit::new(Code::Host, "the coordinator gave an answer to something else: it breaks the protocol").into()
}

fn no_session(error: SessionError, ticket: &Ticket) -> anyhow::Error {
    let refused = matches!(&error, SessionError::Opening(OpeningError::Refused { .. }));
    let may_pass = error.may_pass();
    let message =
        format!("the network of {} cannot be joined: {}", ticket.node().short(), causes(&error.into()));
    let exit = if refused {
        Exit::new(Code::Usage, message)
    } else if may_pass {
        Exit::new(Code::Host, message)
            .hint("is `tidemill serve` (or `up`) running there, and does a firewall let UDP to it through?")
    } else {
        Exit::new(Code::Usage, message)
            .hint("is this the ticket of a Tidemill network? `tidemill serve` prints it")
    };
    exit.into()
}

/// Waits for what is quick as a rule, and says what it waits for when it is not.
async fn saying<T>(work: impl Future<Output = T>, words: &str) -> T {
    let mut work = pin!(work);
    match timeout(SILENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            eprintln!("{words}");
            work.await
        }
    }
}
