//! `tidemill bench infer`: how fast this machine runs a language model.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use tidemill_infer::{
    Batch, Bounds, Claim, Engine, Event, FileSource, Gguf, InstructionSet, Model, PAGE, Request, Sampling,
    Tokenizer, tiny,
};

use super::median;
use crate::{
    exit::{Code, Exit},
    home,
};

/// Measure how fast this machine runs a language model.
///
/// A request of 233 tokens is answered with 128, then checked as providers check each other, and sixteen requests of 16
/// tokens are answered together; again and again with other tokens, until the time is over. Prints medians. Nothing of a
/// prompt is kept from before, and the most likely token is taken each time.
#[derive(clap::Args)]
pub struct Args {
    /// The model, a GGUF file [default: SmolLM2-135M, as `cargo xtask models` fetches it]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Instruction set: plain, avx2, avx512-vnni, neon [default: the fastest that is there]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seconds: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Tokens of a prompt and of its answer. docs/bench/infer-rivals.py has the same.
const PROMPT: usize = 233;
const ANSWER: usize = 128;

/// Requests that are answered together, tokens of each prompt, which are to take no time worth speaking of, and of each
/// answer.
const TOGETHER: usize = 16;
const SHORT_PROMPT: usize = 16;
const TOGETHER_ANSWER: usize = 64;

/// Fewer rounds have no median.
const FEWEST_ROUNDS: usize = 3;

/// What `--json` prints.
#[derive(Serialize)]
struct Results {
    /// The name that the file gives.
    model: String,
    prompt_tok_s: f64,
    decode_tok_s: f64,
    batch16_tok_s: f64,
    /// The time of a check over that of the request.
    check_ratio: f64,
    /// From the request to the first token of its answer.
    ttft_ms: f64,
    isa: String,
    threads: usize,
}

/// What one round took.
struct Round {
    first: Duration,
    rest: Duration,
    check: Duration,
    together_tok_s: f64,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let isa = instruction_set(args.isa.as_deref())?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    let path = match &args.model {
        Some(path) => path.clone(),
        None => home::cache_directory()?.join("models/smollm2/model.gguf"),
    };
    let (name, model, tokenizer) = load(&path)?;
    let mut bench = Bench::new(&model, &tokenizer, || Engine::new(isa, threads))?;
    let begun = Instant::now();
    let mut rounds = Vec::new();
    while rounds.len() < FEWEST_ROUNDS || begun.elapsed().as_secs() < u64::from(args.seconds) {
        rounds.push(bench.round(rounds.len())?);
    }
    let middle = |pick: &dyn Fn(&Round) -> f64| round(median(&rounds.iter().map(pick).collect::<Vec<_>>()));
    let results = Results {
        model: name,
        prompt_tok_s: middle(&|round| PROMPT as f64 / round.first.as_secs_f64()),
        decode_tok_s: middle(&|round| (ANSWER - 1) as f64 / round.rest.as_secs_f64()),
        batch16_tok_s: middle(&|round| round.together_tok_s),
        check_ratio: middle(&|round| round.check.as_secs_f64() / (round.first + round.rest).as_secs_f64()),
        ttft_ms: middle(&|round| round.first.as_secs_f64() * 1e3),
        isa: isa.to_string(),
        threads,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print(&results, rounds.len());
    }
    Ok(())
}

fn instruction_set(name: Option<&str>) -> anyhow::Result<InstructionSet> {
    let isa = match name {
        None => InstructionSet::best(),
        Some(name) => InstructionSet::by_name(name).ok_or_else(|| {
            let there: Vec<String> = InstructionSet::available().iter().map(ToString::to_string).collect();
            let message =
                format!("this processor has no instruction set {name:?}; it has {}", there.join(", "));
            Exit::new(Code::Usage, message)
        })?,
    };
    if !tiny::has_right_bits(isa) {
        let message = format!("{isa} has wrong bits on this processor: nobody else would get its answers");
        return Err(Exit::new(Code::Host, message).into());
    }
    Ok(isa)
}

/// A model's name and what is needed to run it.
fn load(path: &Path) -> anyhow::Result<(String, Model, Tokenizer)> {
    let file = File::open(path).map_err(|error| {
        Exit::new(Code::Usage, format!("cannot open the model {}: {error}", path.display()))
            .hint("`cargo xtask models` fetches one, and `--model FILE` names another")
    })?;
    let of_model = || format!("cannot use the model {}", path.display());
    let source = FileSource::new(file).with_context(of_model)?;
    let gguf = Gguf::read(&source).with_context(of_model)?;
    let name = gguf.metadata().text("general.name").with_context(of_model)?;
    let name = name.map_or_else(|| path.display().to_string(), str::to_owned);
    let model = Model::load(&source, &gguf).with_context(of_model)?;
    let tokenizer = Tokenizer::read(gguf.metadata()).with_context(of_model)?;
    Ok((name, model, tokenizer))
}

/// Those who take part: each has its threads and what it keeps of prompts, so that a check finds nothing of its request.
struct Bench<'a> {
    vocabulary: usize,
    answering: Batch<'a>,
    checking: Batch<'a>,
    together: Batch<'a>,
}

impl<'a> Bench<'a> {
    fn new(model: &'a Model, tokenizer: &'a Tokenizer, engine: impl Fn() -> Engine) -> anyhow::Result<Self> {
        let config = model.config();
        if config.context < PROMPT + ANSWER {
            let (context, needed) = (config.context, PROMPT + ANSWER);
            anyhow::bail!("the model's context is {context} tokens, and the measurement takes {needed}");
        }
        let pages = |requests: usize| Bounds {
            tokens_per_step: 512,
            pages: requests * (PROMPT + ANSWER).div_ceil(PAGE),
        };
        let batch = |requests| Batch::new(model, tokenizer, engine(), pages(requests));
        let (answering, checking) = (batch(1), batch(1));
        Ok(Self { vocabulary: config.vocabulary, answering, checking, together: batch(TOGETHER) })
    }

    fn round(&mut self, number: usize) -> anyhow::Result<Round> {
        let request = self.request(number, PROMPT, ANSWER);
        let begun = Instant::now();
        self.answering.join(request.clone())?;
        while self.answering.step()?.is_empty() {}
        let first = begun.elapsed();
        let claim = finish(&mut self.answering)?;
        let rest = begun.elapsed() - first;

        let begun = Instant::now();
        self.checking.join_with_draft(request, &claim.tokens)?;
        let checked = finish(&mut self.checking)?;
        let check = begun.elapsed();
        anyhow::ensure!(checked == claim, "the check found another answer: please report this as a bug");
        Ok(Round { first, rest, check, together_tok_s: self.together(number)? })
    }

    /// Tokens a second of sixteen answers, once all of them have begun.
    fn together(&mut self, number: usize) -> anyhow::Result<f64> {
        for at in 0..TOGETHER {
            self.together.join(self.request(number * TOGETHER + at, SHORT_PROMPT, TOGETHER_ANSWER))?;
        }
        let mut begun_answers = 0;
        while begun_answers < TOGETHER {
            begun_answers += self.together.step()?.len();
        }
        let begun = Instant::now();
        let mut tokens = 0;
        while !self.together.is_empty() {
            let events = self.together.step()?;
            tokens += events.iter().filter(|event| matches!(event, Event::Token { .. })).count();
        }
        Ok(tokens as f64 / begun.elapsed().as_secs_f64())
    }

    /// Tokens that no earlier round had. They mean nothing, and take as long as any.
    fn request(&self, number: usize, prompt: usize, most_tokens: usize) -> Request {
        let token = |at: usize| ((1_000 + number * 7_919 + at * 37 % 5_000) % self.vocabulary) as u32;
        Request {
            prompt: (0..prompt).map(token).collect(),
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            most_tokens,
            ignores_end: true,
            ..Request::default()
        }
    }
}

/// Steps until an answer is whole.
fn finish(batch: &mut Batch<'_>) -> anyhow::Result<Claim> {
    loop {
        for event in batch.step()? {
            if let Event::End { claim, .. } = event {
                return Ok(claim);
            }
        }
        anyhow::ensure!(!batch.is_empty(), "the answer has no end");
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn print(results: &Results, rounds: usize) {
    println!("{}, {}, {} threads, {rounds} rounds", results.model, results.isa, results.threads);
    println!("prompt of {PROMPT} tokens    {:>9.1} tokens/s", results.prompt_tok_s);
    println!("answer of {ANSWER} tokens    {:>9.1} tokens/s", results.decode_tok_s);
    println!("{TOGETHER} answers together      {:>9.1} tokens/s", results.batch16_tok_s);
    println!("first token             {:>9.1} ms", results.ttft_ms);
    println!("check over request      {:>9.2}", results.check_ratio);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_measured() {
        let bytes = tiny::model("qwen3", 3);
        let gguf = Gguf::read(&bytes).expect("a model");
        let model = Model::load(&bytes, &gguf).expect("a model");
        let tokenizer = Tokenizer::read(gguf.metadata()).expect("a vocabulary");
        let engine = || Engine::new(InstructionSet::best(), 1);
        let mut bench = Bench::new(&model, &tokenizer, engine).expect("a context that is long enough");
        for number in 0..2 {
            let round = bench.round(number).expect("a round");
            assert!(round.first > Duration::ZERO && round.rest > Duration::ZERO);
            assert!(round.check > Duration::ZERO && round.together_tok_s > 0.0);
        }
        assert_ne!(bench.request(0, 16, 1).prompt, bench.request(1, 16, 1).prompt);
    }

    #[test]
    fn a_wrong_instruction_set_is_named() {
        let error = instruction_set(Some("mmx")).expect_err("nobody has it").to_string();
        assert!(error.starts_with("this processor has no instruction set \"mmx\"; it has plain"), "{error}");
        assert_eq!(instruction_set(None).expect("the best").to_string(), InstructionSet::best().to_string());
    }
}
