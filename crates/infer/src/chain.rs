//! An answer as it comes, and checking one that somebody else claims.
//!
//! Who answers commits to the bits of the last hidden state at each token, 32 tokens at a time, each link hashing the one
//! before. Two who disagree find the first link that differs, and a third computes those 32 tokens.

use thiserror::Error;

use crate::forward::{Engine, Feed, ForwardError, Output};
use crate::grammar::{Grammar, GrammarError, Shape};
use crate::kv::Sequence;
use crate::model::Model;
use crate::sample::{Counts, Likelihood, Sampling};
use crate::text::TextStream;
use crate::tokens::Tokenizer;

/// Tokens of a link.
const LINK: usize = 32;

/// Tokens that a check reads at once: their logits take some dozen megabytes.
pub(crate) const PIECE: usize = 256;

/// A hash chain over hidden states.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    links: Vec<[u8; 32]>,
    hasher: blake3::Hasher,
    count: usize,
}

impl Chain {
    /// Adds the state that a token was drawn from.
    pub fn add(&mut self, hidden: &[f32]) {
        let bytes: Vec<u8> = hidden.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.hasher.update(&bytes);
        self.count += 1;
        if self.count.is_multiple_of(LINK) {
            self.close();
        }
    }

    /// The links, the last of which may be of fewer tokens.
    pub fn finish(mut self) -> Vec<[u8; 32]> {
        if !self.count.is_multiple_of(LINK) {
            self.close();
        }
        self.links
    }

    fn close(&mut self) {
        let link = *self.hasher.finalize().as_bytes();
        self.links.push(link);
        self.hasher = blake3::Hasher::new();
        self.hasher.update(&link);
    }
}

/// What is asked of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What is continued; at least one token.
    pub prompt: Vec<u32>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The answer has at most so many tokens.
    pub most_tokens: usize,
    /// The answer ends before the first of these texts.
    pub stops: Vec<String>,
    /// The answer goes on beyond the tokens that end one.
    pub ignores_end: bool,
    /// What the answer has to be; such an answer ends where it is whole.
    pub shape: Option<Shape>,
    /// How likely each token was is asked for, and of so many others as well.
    pub likelihoods: Option<usize>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// By a token that ends answers, or a stop string.
    Stop,
    /// It has as many tokens as were asked for, or the model's context is full.
    Length,
    /// The model computed numbers that are not finite.
    NotFinite,
    /// The answer's shape became too complex, or no token of the vocabulary may follow.
    Stuck,
}

/// Why an answer cannot be checked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CheckError {
    /// The request does not fit the model.
    #[error("the request does not fit the model")]
    Forward(#[from] ForwardError),
    /// The answer's shape cannot be used.
    #[error("the answer's shape cannot be used")]
    Grammar(#[from] GrammarError),
}

/// What somebody says is a request's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// All tokens, that which ended the answer too.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// The chain over the hidden states.
    pub chain: Vec<[u8; 32]>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The answer is right to the bit.
    Right,
    /// A token is another than the request draws.
    Token {
        /// Its place in the answer.
        at: usize,
    },
    /// The answer ends elsewhere, or for another reason.
    Finish {
        /// Tokens after which the request's answer was compared last.
        at: usize,
    },
    /// A link of the chain is wrong, or there are more or fewer.
    Chain {
        /// The first one.
        link: usize,
    },
}

/// An answer as far as it has come.
#[derive(Debug)]
pub(crate) struct Answer {
    request: Request,
    counts: Counts,
    stream: TextStream,
    grammar: Option<Box<Grammar>>,
    chain: Chain,
    tokens: Vec<u32>,
}

/// What a token added to an answer.
#[derive(Debug)]
pub(crate) struct Step {
    pub token: Option<u32>,
    pub likelihood: Option<Likelihood>,
    pub text: String,
    pub finish: Option<Finish>,
}

impl Answer {
    pub fn new(request: Request, tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let grammar = match &request.shape {
            Some(shape) => Some(Box::new(tokenizer.grammars()?.begin(shape)?)),
            None => None,
        };
        let counts = Counts::new(&request.prompt);
        let stream = TextStream::new(&request.stops);
        Ok(Self { request, counts, stream, grammar, chain: Chain::default(), tokens: Vec::new() })
    }

    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub fn finish(self) -> (Vec<u32>, Vec<[u8; 32]>) {
        (self.tokens, self.chain.finish())
    }

    /// Draws the next token from what a forward computed.
    pub fn next(&mut self, model: &Model, tokenizer: &Tokenizer, output: &Output, number: usize) -> Step {
        let position = self.request.prompt.len() + self.tokens.len();
        let Ok(logits) = output.logits(number) else { return self.end_without_token(Finish::NotFinite) };
        let mask = match &mut self.grammar {
            None => None,
            Some(grammar) => match grammar.mask() {
                Ok(mask) => Some(mask),
                Err(_) => return self.end_without_token(Finish::Stuck),
            },
        };
        let allows = |token: u32| mask.as_ref().is_none_or(|mask| mask.allows(token));
        let allowed = mask.is_some().then_some(&allows as &dyn Fn(u32) -> bool);
        let Some(token) = self.request.sampling.next(logits, &self.counts, position, allowed) else {
            return self.end_without_token(Finish::Stuck);
        };
        let likelihood = self.request.likelihoods.map(|count| Likelihood::new(logits, token, count));
        self.chain.add(output.hidden(number));
        self.tokens.push(token);
        self.counts.add(token);
        let may_end = self.grammar.is_some() || !self.request.ignores_end;
        let is_end = may_end && tokenizer.ends().contains(&token);
        if let Some(grammar) = self.grammar.as_mut().filter(|_| !is_end) {
            // A grammar that fails here stays stuck, which the next token finds.
            let _ = grammar.take(token);
        }
        let is_whole = self.grammar.as_ref().is_some_and(|grammar| grammar.is_complete());
        let mut text = if is_end { String::new() } else { self.stream.push(tokenizer.bytes(token)) };
        let is_full = self.tokens.len() >= self.request.most_tokens || position + 1 >= model.config().context;
        let finish = match () {
            () if is_end || is_whole || self.stream.is_stopped() => Some(Finish::Stop),
            () if is_full => Some(Finish::Length),
            () => None,
        };
        if finish.is_some() {
            text.push_str(&self.stream.finish());
        }
        Step { token: Some(token), likelihood, text, finish }
    }

    fn end_without_token(&mut self, finish: Finish) -> Step {
        Step { token: None, likelihood: None, text: self.stream.finish(), finish: Some(finish) }
    }
}

/// Checks an answer by reading it: one forward over prompt and answer, from which every token is drawn again.
///
/// # Errors
///
/// The request does not fit the model, or its shape cannot be used.
pub fn check(
    engine: &mut Engine,
    model: &Model,
    tokenizer: &Tokenizer,
    request: &Request,
    claim: &Claim,
) -> Result<Finding, CheckError> {
    let vocabulary = model.config().vocabulary;
    if let Some(at) = claim.tokens.iter().position(|&token| token as usize >= vocabulary) {
        return Ok(Finding::Token { at });
    }
    let first = request.prompt.len().saturating_sub(1);
    let mut tokens = request.prompt.clone();
    tokens.extend(&claim.tokens);
    if !matches!(claim.finish, Finish::NotFinite | Finish::Stuck) {
        // Nothing is drawn after the last token.
        tokens.pop();
    }
    tokens.truncate(model.config().context.max(request.prompt.len()));
    let mut sequence = Sequence::new(model.config());
    let mut answer = Answer::new(request.clone(), tokenizer)?;
    let mut end = None;
    for piece in tokens.chunks(PIECE) {
        let logits_from = first.saturating_sub(sequence.len()).min(piece.len());
        let output =
            engine.forward(model, &mut [Feed { sequence: &mut sequence, tokens: piece, logits_from }])?;
        for number in 0..output.len() {
            let at = answer.tokens().len();
            if end.is_some() {
                return Ok(Finding::Finish { at });
            }
            let step = answer.next(model, tokenizer, &output, number);
            if step.token.is_some() && step.token != claim.tokens.get(at).copied() {
                return Ok(Finding::Token { at });
            }
            end = step.finish;
        }
    }
    let (tokens, chain) = answer.finish();
    if end != Some(claim.finish) || tokens.len() != claim.tokens.len() {
        return Ok(Finding::Finish { at: tokens.len() });
    }
    let links = chain.len().max(claim.chain.len());
    let wrong = (0..links).find(|&link| chain.get(link) != claim.chain.get(link));
    Ok(wrong.map_or(Finding::Right, |link| Finding::Chain { link }))
}
