//! Jobs of tasks that do nothing, from one session that may have many of them under way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tidemill_job::{JobFile, JobSpec, expand, seal};
use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobOptions, Blobs, FileMode, Keeps, Pin},
    client::{Client, Replies},
    endpoint::{Bind, Node, NodeOptions},
    ticket::Ticket,
    wire::{JobPay, Reply, Request, SpecBody},
};
use tidemill_types::{BlobRef, Content, JobId, Segment};
use tokio::task::JoinSet;

use super::{PATIENCE, ended, lock};
use crate::{
    commands::bench::{bank::Bank, noop::NOOP},
    exit::{Code, WithCode},
    home::Identity,
};

/// Submissions that wait for their end at a time.
const PIPELINED: usize = 512;

/// Who submits the jobs.
pub struct Requester {
    client: Client,
    _node: Node,
    blobs: Blobs,
    directory: PathBuf,
    pay: Option<JobPay>,
}

impl Requester {
    /// Joins a network as somebody. `bank`: where to lock the money for all jobs, in a network that pays.
    pub async fn connect(
        identity: &Identity,
        directory: &Path,
        ticket: &Ticket,
        bank: Option<&Bank>,
    ) -> anyhow::Result<Self> {
        let options = NodeOptions { bind: Bind::Loopback { port: 0 }, ..NodeOptions::default() };
        let node = Node::bind(&identity.node, options).await?;
        let client = Client::connect(&node, &identity.result, ticket).await?;
        let options = BlobOptions { keeps: Keeps::Cache, budget: u64::MAX, stall: PATIENCE };
        let blobs = Blobs::open(&directory.join("requester"), options).await?;
        let connection = node.connect(ticket, BLOBS_ALPN).await?;
        let with = blobs.clone();
        tokio::spawn(async move { with.serve(connection, |_, _| true, 16).await });
        let program = directory.join("noop.wasm");
        fs::write(&program, NOOP).code(Code::Host)?;
        blobs.import_file(&program, FileMode::Copy, &Pin::new("noop")?).await?;
        let pay = match bank {
            Some(bank) => {
                let Reply::Terms(terms) = client.call(Request::Terms { stages: Vec::new() }).await? else {
                    anyhow::bail!("the coordinator does not say how it pays")
                };
                Some(lock(terms, node.id(), bank).await?)
            }
            None => None,
        };
        Ok(Self { client, _node: node, blobs, directory: directory.to_owned(), pay })
    }

    /// Runs a job of so many tasks. Gives the time from its submission to its end.
    pub async fn run(&self, tasks: u32) -> anyhow::Result<Duration> {
        let spec = self.spec(tasks)?;
        let begun = Instant::now();
        ended(self.submit(&spec).await?).await?;
        Ok(begun.elapsed())
    }

    /// Submits jobs of one task each without waiting for one another. Gives the time from the first submission to the
    /// last end.
    pub async fn run_many(&self, count: u32) -> anyhow::Result<Duration> {
        let spec = self.spec(1)?;
        let begun = Instant::now();
        let mut under_way = JoinSet::new();
        for _ in 0..count {
            if under_way.len() >= PIPELINED
                && let Some(one) = under_way.join_next().await
            {
                one??;
            }
            let replies = self.submit(&spec).await?;
            under_way.spawn(ended(replies));
        }
        while let Some(one) = under_way.join_next().await {
            one??;
        }
        Ok(begun.elapsed())
    }

    /// A job of so many tasks, encoded.
    fn spec(&self, tasks: u32) -> anyhow::Result<Vec<u8>> {
        let text = format!(
            "name = \"noop\"\n[program]\npath = \"noop.wasm\"\n[tasks]\nrange = {{ from = 0, to = {tasks} }}\n\
             [limits]\nmemory = \"1 MiB\"\n"
        );
        let file =
            JobFile::parse(&text).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.in_file("job.toml")))?;
        let plan = expand(&file, &self.directory)?;
        let spec: JobSpec = seal(&plan, &file, &mut |content, _| self.blob(content))?;
        Ok(spec.encode())
    }

    fn blob(&self, content: &Content) -> anyhow::Result<BlobRef> {
        let [Segment::File { path, .. }] = content.segments.as_slice() else {
            anyhow::bail!("the job has no input but its program")
        };
        let bytes = fs::read(path)?;
        let blob = BlobRef { id: tidemill_types::BlobId::of(&bytes), len: bytes.len() as u64 };
        anyhow::ensure!(self.blobs.has(blob.id).is_some(), "the program was not imported");
        Ok(blob)
    }

    /// Submits a job. What follows tells of its end.
    async fn submit(&self, encoded: &[u8]) -> anyhow::Result<Replies> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::from)?;
        let spec = SpecBody::Inline(encoded.to_vec());
        Ok(self.client.follow(Request::Submit { job: JobId(id), spec, follow: true, pay: self.pay }).await?)
    }
}
