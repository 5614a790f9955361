//! How much a task costs beside running it.

use std::{sync::Arc, time::Instant};

use tidemill_exec::OutputBody;
use tidemill_net::wire::ToProvider;
use tidemill_types::{ArchiveBuilder, BlobId};

use crate::support::{Coordinator, Made, NOOP, done, lease, lend_on};

/// The processor time of this process, in microseconds.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    ticks * 10_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release -p tidemill-provider -- --ignored --nocapture costs"]
async fn what_a_task_costs_beside_running_it() {
    const TASKS: u64 = 50_000;
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let (head, _) = ArchiveBuilder::default().finish().expect("no files");
    let id = BlobId::of(&head);
    let executor = Arc::new(Made(move || done(id, head.len() as u64, OutputBody::Bytes(head.clone()))));
    let _lender = lend_on(executor, coordinator.ticket().await, 2, |_| {}).await;
    let mut joined = coordinator.join().await;
    let (begun, cpu) = (Instant::now(), cpu_us());
    let (mut leased, mut done, mut batches) = (0, 0, 0);
    while done < TASKS {
        while leased < TASKS && leased - done < 500 {
            joined.lease((leased..leased + 10).map(|id| lease(id, program, &[])).collect()).await;
            leased += 10;
        }
        let batch = joined.batch_unchecked().await;
        batches += 1;
        done += batch.results.len() as u64;
        joined.say(ToProvider::Settled { sequence: batch.sequence }).await;
    }
    let (took, cpu) = (begun.elapsed(), cpu_us() - cpu);
    println!(
        "{TASKS} tasks in {took:?}, {batches} batches: {} tasks a second, {:.1} us of processor time each, provider \
         and double together",
        (TASKS as f64 / took.as_secs_f64()) as u64,
        cpu as f64 / TASKS as f64
    );
}
