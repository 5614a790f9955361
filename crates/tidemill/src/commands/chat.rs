//! `tidemill chat`: a conversation with a model, in the terminal.

use std::{
    io::{BufRead, IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tidemill_types::{Amount, is_steering, lines};
use tokio::sync::mpsc;

use crate::{
    api_client::{ApiAccess, ApiClient},
    exit::{Code, Exit, WithCode},
    interrupt::Signals,
    runtime,
};

/// Chat with a model of a network: its answer appears as it is written, and then what it cost and how it was checked.
///
/// A line is a message. `/exit` ends the conversation, `/reset` begins it anew, and Ctrl-C ends an answer.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The model, as `tidemill models list` shows it [default: the only one]
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    api: ApiAccess,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Ask this alone, and end
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// The most tokens of an answer
    #[arg(long, value_name = "COUNT")]
    max_tokens: Option<u32>,
    /// How freely it answers, from 0 to 2
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,
    /// The same seed and messages give the same answers
    #[arg(long)]
    seed: Option<i64>,
    /// Print answers alone, without what they cost
    #[arg(long)]
    quiet: bool,
}

const HELP: &str = "Examples:
  tidemill chat smollm2
  tidemill chat smollm2 --system \"Answer in one sentence.\"
  tidemill chat smollm2 --prompt \"Why is the sky blue?\" --seed 7 --quiet
  echo \"Why is the sky blue?\" | tidemill chat smollm2

Exit codes:
  0    the conversation is over
  2    wrong usage, no such model, no money
  4    the API cannot be asked, or the network cannot answer
  130  Ctrl-C ended it";

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = args.api.client()?;
    runtime::block_on(async {
        let mut signals = Signals::listen()?;
        let model = match &args.model {
            Some(model) => model.clone(),
            None => only_model(&client).await?,
        };
        let mut talk = Talk { client, model, args, messages: Vec::new() };
        talk.begin();
        if let Some(prompt) = &args.prompt {
            let answered = talk.say(prompt, &mut signals).await?;
            return match answered {
                true => Ok(()),
                false => Err(Exit::new(Code::Interrupted, "stopped").into()),
            };
        }
        let is_terminal = std::io::stdin().is_terminal();
        if is_terminal {
            eprintln!("{} at {}; /exit ends it", talk.model, talk.client.base());
        }
        let mut lines = read_lines();
        loop {
            if is_terminal {
                prompt();
            }
            let line = tokio::select! {
                line = lines.recv() => line,
                () = signals.next() => return Err(Exit::new(Code::Interrupted, "stopped").into()),
            };
            let Some(line) = line else { return Ok(()) };
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => return Ok(()),
                "/reset" => talk.begin(),
                command if command.starts_with('/') => {
                    eprintln!("{command:?} is not known: /exit ends the conversation, /reset begins it anew");
                }
                text => match talk.say(text, &mut signals).await {
                    Ok(_) => {}
                    // A person can go on.
                    Err(error) if is_terminal => eprintln!("{}", lines_of(&error)),
                    Err(error) => return Err(error),
                },
            }
        }
    })
}

fn lines_of(error: &anyhow::Error) -> String {
    lines(&crate::exit::causes(error))
}

fn prompt() {
    let mut out = std::io::stderr();
    let _ = write!(out, "> ");
    let _ = out.flush();
}

/// The lines of standard input. They are read by a thread of their own, which ends with the process.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn only_model(client: &ApiClient) -> anyhow::Result<String> {
    let list = client.get("/models").await?;
    let names: Vec<&str> =
        list["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str()).collect();
    match names[..] {
        [name] => Ok(name.to_owned()),
        [] => Err(Exit::new(Code::Usage, "the network serves no model")
            .hint("`tidemill models add NAME FILE` adds one to a network of this home")
            .into()),
        _ => {
            Err(Exit::new(Code::Usage, format!("which model? There are {}", lines(&names.join(", ")))).into())
        }
    }
}

/// A conversation.
struct Talk<'a> {
    client: ApiClient,
    model: String,
    args: &'a Args,
    messages: Vec<Message>,
}

/// What was said, and by whom.
#[derive(Clone, Serialize)]
struct Message {
    role: &'static str,
    content: String,
}

/// A request for an answer, as OpenAI's API has it.
#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Talk<'_> {
    fn begin(&mut self) {
        let system = self.args.system.iter();
        self.messages = system.map(|text| Message { role: "system", content: text.clone() }).collect();
    }

    /// Says something, and prints the answer as it comes. False when the person stopped it.
    async fn say(&mut self, text: &str, signals: &mut Signals) -> anyhow::Result<bool> {
        let mut messages = self.messages.clone();
        messages.push(Message { role: "user", content: text.to_owned() });
        let begun = Instant::now();
        let mut answer = Answer::default();
        let answering = async {
            let body = Asked {
                model: &self.model,
                messages: &messages,
                stream: true,
                stream_options: StreamOptions { include_usage: true },
                max_completion_tokens: self.args.max_tokens,
                temperature: self.args.temperature,
                seed: self.args.seed,
            };
            let mut response = self.client.post("/chat/completions", &body).await?;
            answer.receipt = response
                .headers()
                .get("x-tidemill-receipt")
                .and_then(|header| header.to_str().ok())
                .and_then(|header| header.split(';').next())
                .map(str::to_owned);
            let mut pending = Vec::new();
            while let Some(piece) = response.chunk().await.context("the answer broke off").code(Code::Host)? {
                pending.extend_from_slice(&piece);
                while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    answer.line(&String::from_utf8_lossy(&line))?;
                }
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = answering => Some(ended),
            () = signals.next() => None,
        };
        println!();
        match ended {
            // The connection is gone, and with it the work.
            None => return Ok(false),
            Some(ended) => ended?,
        }
        if !answer.is_whole {
            return Err(Exit::new(Code::Host, "the answer broke off").into());
        }
        if !self.args.quiet {
            eprintln!("{}", self.summary(&answer, begun.elapsed()).await);
        }
        messages.push(Message { role: "assistant", content: answer.text });
        self.messages = messages;
        Ok(true)
    }

    /// What an answer cost, and how it was checked.
    async fn summary(&self, answer: &Answer, took: Duration) -> String {
        let mut parts = vec![format!("{:.1} s", took.as_secs_f64())];
        if let Some(usage) = &answer.usage {
            let count = |key: &str| usage[key].as_u64().unwrap_or(0);
            parts.insert(0, format!("{} + {} tokens", count("prompt_tokens"), count("completion_tokens")));
        }
        if let Some(id) = &answer.receipt
            && let Ok(receipt) = self.client.get(&format!("/receipts/{id}")).await
        {
            let wei = receipt["price_wei"].as_str().and_then(|wei| wei.parse().ok()).unwrap_or(0);
            parts.push(if wei == 0 { "free".to_owned() } else { Amount::from_wei(wei).to_string() });
            let accepted = &receipt["accepted"];
            parts.push(match accepted["basis"].as_str() {
                Some("agreed") => {
                    format!("{} of {} results agree", accepted["agreeing"], accepted["results"])
                }
                Some("trusted") => "from a trusted machine".to_owned(),
                Some("unchecked") => "not checked this time: its provider's record suffices".to_owned(),
                _ => "not verified".to_owned(),
            });
            parts.push(format!("receipt {id}"));
        }
        lines(&format!("[{}]", parts.join(", ")))
    }
}

/// An answer, as far as it has come.
#[derive(Default)]
struct Answer {
    text: String,
    usage: Option<Value>,
    receipt: Option<String>,
    is_whole: bool,
}

impl Answer {
    /// Takes a line of the stream, and prints what it adds.
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(data) = line.trim_end().strip_prefix("data: ") else { return Ok(()) };
        if data == "[DONE]" {
            self.is_whole = true;
            return Ok(());
        }
        let chunk: Value = serde_json::from_str(data).context("the stream is not JSON").code(Code::Host)?;
        if let Some(message) = chunk["error"]["message"].as_str() {
            return Err(Exit::new(Code::Host, lines(message)).into());
        }
        if !chunk["usage"].is_null() {
            self.usage = Some(chunk["usage"].clone());
        }
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
            self.text.push_str(text);
            // A model's words must not steer the terminal; ends of lines and tabs are among them.
            let shown: String =
                text.chars().filter(|c| *c == '\n' || *c == '\t' || !is_steering(*c)).collect();
            let mut out = std::io::stdout();
            out.write_all(shown.as_bytes()).and_then(|()| out.flush()).code(Code::Host)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_put_together_of_its_lines() {
        let mut answer = Answer::default();
        for line in [
            ": ping",
            "",
            r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}"#,
            r#"data: {"choices":[{"delta":{"content":"Hel"}}],"usage":null}"#,
            r#"data: {"choices":[{"delta":{"content":"lo"}}]}"#,
            r#"data: {"choices":[],"usage":{"completion_tokens":2}}"#,
        ] {
            answer.line(line).expect("it is a line of a stream");
        }
        assert_eq!((answer.text.as_str(), answer.is_whole), ("Hello", false));
        assert_eq!(answer.usage.as_ref().map(|usage| usage["completion_tokens"].clone()), Some(2.into()));
        answer.line("data: [DONE]").expect("it is the end");
        assert!(answer.is_whole);
        let error =
            answer.line(r#"data: {"error":{"message":"the provider is gone"}}"#).expect_err("it is told");
        assert_eq!(error.to_string(), "the provider is gone");
    }
}
