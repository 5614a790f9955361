//! `tidemill run`: a job from its file to its output.

mod here;
mod network;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use tidemill_api as api;
use tidemill_job::{JobFile, Plan};
use tidemill_types::{ByteSize, EscrowId, Reliance, Tokens, Usage, lines};
use tidemill_web::told;

use crate::{
    embedded::usual_providers,
    exit::{self, Code, Exit, WithCode},
    jobfile, json,
    money::{PayArgs, shown},
    network::Join,
    outdir::OutDir,
    summary::{FileList, plural, task_failure},
};

/// Run a job file and put its output into a directory.
///
/// The tasks run in a network: that of `--join` or `tidemill join`, or otherwise one of this machine's own that
/// lasts as long as the command, a coordinator and three providers. With `--here` they run without any network.
/// The output is the same, byte for byte.
///
/// Work is paid for in TIDE: the command says what it would cost, locks at most that in an escrow, and in the end every
/// provider is paid and the rest comes back. A network of this machine's own keeps its ledger in this home; `--free`
/// does without money.
///
/// A run that is killed takes its job up again when it is started anew. Ctrl-C cancels the job; with `--here`,
/// what is finished is kept for the next run.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// The job file; docs/job-file.md says what it may hold
    #[arg(value_name = "JOB.TOML")]
    job: PathBuf,
    #[command(flatten)]
    join: Join,
    /// Run without a network, in worker processes of this command
    #[arg(long, conflicts_with = "join")]
    here: bool,
    /// Start a network of this machine's own with so many providers, whatever network is configured [default: 3, with
    /// --strangers 7]
    #[arg(long, value_name = "N", conflicts_with_all = ["here", "join"], value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: Option<u16>,
    /// Where the output goes [default: out/<job name>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// With --here: tasks at a time [default: one for each core, as far as memory goes]
    #[arg(long, short = 'j', value_name = "N", requires = "here", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Write what tasks log to standard error into files in this directory
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Check the job file and its inputs, say what would run, and stop; with `--join` also who would take it there, at what
    /// price, and why not the others
    #[arg(long)]
    dry_run: bool,
    /// Start a network of this machine's own without money, whatever network is configured: nobody is paid
    #[arg(long, conflicts_with_all = ["here", "account", "ledger"])]
    free: bool,
    /// Start a network of this machine's own, and check its results as if its providers were strangers' machines: at the
    /// default assurance six of them must agree at first
    #[arg(long, conflicts_with = "here")]
    strangers: bool,
    /// Run it although those who are there cannot come to a verdict on any result: others may join
    #[arg(long, conflicts_with = "here")]
    anyway: bool,
    /// Pay with an escrow that is open already, and leave it open
    #[arg(long, value_name = "ESCROW", conflicts_with_all = ["here", "free"])]
    escrow: Option<EscrowId>,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object to standard output instead of text (none when the usage or job file is wrong)
    #[arg(long)]
    json: bool,
}

/// Examples and exit codes, for `--help`.
fn after_help() -> String {
    format!(
        "Examples:
  tidemill run examples/render/job.toml                  a network of this machine's own
  tidemill run job.toml --join ticket.txt --out result   the network of that ticket
  tidemill run job.toml --here -j 4 --logs logs          no network, four tasks at a time
  tidemill run job.toml --free                           a network of this machine's own, without money
  tidemill run job.toml --strangers                      seven providers that check each other

{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (file, plan) = jobfile::read(&args.job)?;
    if args.here { here::run(args, file, plan, begun) } else { network::run(args, file, plan, begun) }
}

impl Args {
    /// Whether the job runs in a network that this command starts, whatever network is configured.
    ///
    /// # Errors
    /// With [`Code::Usage`] where a network is named as well.
    fn wants_own_network(&self) -> anyhow::Result<bool> {
        let flags = [("--free", self.free), ("--strangers", self.strangers)];
        let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) else {
            return Ok(self.providers.is_some());
        };
        if self.join.join.is_some() {
            let message =
                format!("`{flag}` is for a network of this machine's own, and `--join` names another");
            return Err(Exit::new(Code::Usage, message)
                .hint("leave one of the two out: whether work is paid for, and how it is checked, that network decides")
                .into());
        }
        Ok(true)
    }

    /// How many providers a network of this command's own has.
    fn own_providers(&self) -> u16 {
        self.providers.unwrap_or_else(|| usual_providers(self.strangers))
    }

    /// What a network of this command's own pays with; nothing where it is free.
    fn money(&self) -> Option<&PayArgs> {
        (!self.free).then_some(&self.pay)
    }

    fn claim_out(&self, file: &JobFile) -> anyhow::Result<OutDir> {
        let out = self.out.clone().unwrap_or_else(|| Path::new("out").join(file.name.as_str()));
        OutDir::claim(&out)
    }

    fn logs_directory(&self) -> anyhow::Result<Option<PathBuf>> {
        let logs = self.logs.as_ref().map(std::path::absolute).transpose().code(Code::Usage)?;
        if let Some(logs) = &logs {
            fs::create_dir_all(logs)
                .with_context(|| format!("cannot make {}", logs.display()))
                .code(Code::Host)?;
        }
        Ok(logs)
    }
}

/// Says what would run.
fn describe(file: &JobFile, plan: &Plan, slots: Option<usize>, network: Option<api::Prospects>, json: bool) {
    let first = plan.map_task(0);
    let total = plan.task_count();
    if json {
        json::print(&told::dry_run(file, plan, slots.map(|slots| slots as u64), network));
        return;
    }
    let at_a_time = slots.map_or_else(String::new, |slots| format!(", {slots} at a time"));
    println!(
        "{}: {} and {}{at_a_time}",
        file.name,
        plural(plan.map_count(), "map task"),
        plural(total - plan.map_count(), "reduce task")
    );
    println!("  input: {}", ByteSize(plan.total_input_bytes()));
    let program = plan.map_program().display();
    let task = format!("  first task ({}): {program} {}", first.label, first.args.join(" "));
    println!("{}", lines(&task));
    if slots.is_some() {
        println!("  results: not checked, since they are this machine's own; [policy] is for networks");
        return;
    }
    match file.reliance {
        Reliance::Trusted | Reliance::Unverified => println!("  results: {}", file.reliance),
        _ => println!("  results: {}, outputs being the same {}", file.reliance, file.compare),
    }
    for operator in &file.trusted {
        println!("  trusted: {operator}");
    }
    if let Some(price) = file.max_price {
        println!("  price: at most {price}");
    }
    if !file.outside_gain.is_zero() {
        println!("  worth of a wrong result to somebody outside: {}", file.outside_gain);
    }
    if let Some(network) = &network {
        print_prospects(network);
    }
}

/// Says what would come of a job in the network that was asked.
fn print_prospects(network: &api::Prospects) {
    println!("in the network of {} now:", network.coordinator);
    let of = |takes| network.providers.iter().filter(move |one| one.takes == takes);
    let take = |number: u64| if number == 1 { "takes" } else { "take" };
    println!(
        "  {} {} tasks now, {} more once a slot is free, {} none",
        plural(network.now, "provider"),
        take(network.now),
        network.later,
        network.never
    );
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    of(api::Takes::Never)
        .filter_map(|one| one.why.as_deref())
        .for_each(|why| *reasons.entry(why).or_default() += 1);
    for (why, number) in reasons {
        println!("    {} {}", plural(number, "provider"), lines(why));
    }
    if let Some(quote) = &network.quote {
        let likely =
            quote.likely_wei.map_or_else(String::new, |likely| format!(", likely {}", shown(likely)));
        println!("  price: at most {}{likely}; one task at most {}", quote.locked_wei, shown(quote.each_wei));
    } else {
        println!("  price: free");
    }
    if let Some(likely) = network.likely_s {
        println!("  time: likely {likely:.1} s on all that could run it");
    }
    network.notes.iter().for_each(|note| println!("  {}", lines(note)));
    if let Some(why) = &network.undecidable {
        println!("  {}: {}", lines(why), tidemill_web::reliance::WAYS);
    }
}

fn tasks_in_words(map: u64, reduces: u64) -> String {
    match reduces {
        0 => plural(map, "task"),
        _ => format!("{} and {}", plural(map, "task"), plural(reduces, "reduce task")),
    }
}

fn print_usage(usage: &Usage, busy: Duration) {
    println!(
        "  used {} in {:.1} s of running; read {}; at most {} of memory a task",
        work_in_words(usage),
        busy.as_secs_f64(),
        usage.read,
        usage.memory
    );
}

/// Fuel, tokens, or both where a reduce takes a model's answers.
fn work_in_words(usage: &Usage) -> String {
    let Tokens { input, cached, output } = usage.tokens;
    if usage.tokens == Tokens::default() {
        return format!("{} fuel", usage.fuel);
    }
    let cached = if cached == 0 { String::new() } else { format!(" ({cached} cached)") };
    let tokens = format!("{input} tokens of prompts{cached} and {output} of answers");
    if usage.fuel.0 == 0 { tokens } else { format!("{tokens}, and {} fuel", usage.fuel) }
}

fn print_written(output: &api::Output) {
    println!("  wrote {}", FileList::of(output));
    if output.files.is_empty() {
        println!("  warning: no task wrote anything to /out or to standard output");
    }
}
