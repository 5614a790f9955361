//! One step of a model over some tokens of some sequences.
//!
//! All tokens go through a layer together, whatever sequences they belong to, so weights are read once for all. No
//! token's numbers depend on which others are there: reading a prompt at once, in pieces, or beside others gives the
//! same bits as reading it alone, token by token.

mod encode;
mod layer;

use std::sync::Mutex;

use thiserror::Error;

use crate::activations::Activations;
use crate::kernels::InstructionSet;
use crate::kv::Sequence;
use crate::model::Model;
use crate::packing::ROWS;
use crate::rope::Angles;
use crate::team::Team;

pub use encode::{EncodeError, Vectors};

/// The version of the engine. Whatever changes a bit of an answer, or the form of what a task leaves behind, raises it.
pub const VERSION: u32 = 1;

/// Tokens that a sequence is to read in a step.
#[derive(Debug)]
pub struct Feed<'a> {
    /// What was read before, and where the new positions go.
    pub sequence: &'a mut Sequence,
    /// What is read now.
    pub tokens: &'a [u32],
    /// The first of these tokens after which logits are asked for: 0 for all, their number for none.
    pub logits_from: usize,
}

/// Why a step was not made. Nothing has changed then.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ForwardError {
    /// There is no such token.
    #[error("token {token} is not in the vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// The model was not trained for so many positions.
    #[error("{tokens} tokens exceed the model's context of {context}")]
    Context {
        /// Positions of the sequence with the new tokens.
        tokens: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// A sequence is of a model of other dimensions.
    #[error("the sequence belongs to another model")]
    Sequence,
}

/// A token's numbers are infinite or none at all, because the model's weights are too large.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the model computes numbers that are not finite")]
pub struct NotFinite;

/// What a step computed, for the tokens that were asked for, in order of feeds and tokens.
#[derive(Debug)]
pub struct Output {
    width: usize,
    vocabulary: usize,
    hidden: Vec<f32>,
    logits: Vec<f32>,
}

impl Output {
    /// Tokens that were asked for.
    pub fn len(&self) -> usize {
        self.hidden.len() / self.width
    }

    /// True where none was asked for.
    pub fn is_empty(&self) -> bool {
        self.hidden.is_empty()
    }

    /// The last hidden state after a token, after the last norm.
    pub fn hidden(&self, number: usize) -> &[f32] {
        &self.hidden[number * self.width..][..self.width]
    }

    /// How likely each token is next, as logarithms up to a constant.
    ///
    /// # Errors
    ///
    /// A number is not finite.
    pub fn logits(&self, number: usize) -> Result<&[f32], NotFinite> {
        let logits = &self.logits[number * self.vocabulary..][..self.vocabulary];
        // An infinity or a not-a-number makes the sum of products with zero one.
        let finite = |numbers: &[f32]| numbers.iter().map(|x| x * 0.0).sum::<f32>() == 0.0;
        if finite(logits) && finite(self.hidden(number)) { Ok(logits) } else { Err(NotFinite) }
    }
}

/// Threads, and the memory that a step needs.
#[derive(Debug)]
pub struct Engine {
    isa: InstructionSet,
    team: Team,
    buffers: Buffers,
    scratch: Vec<Mutex<Scratch>>,
}

/// Numbers of all tokens. "By tiles" means 16 numbers of the first token, of the second, and so on; then the next 16 of
/// each: the form in which threads write outputs side by side.
#[derive(Debug, Default)]
struct Buffers {
    /// The tokens' states, by tiles.
    states: Vec<f32>,
    /// Queries, keys and values, by tiles.
    projected: Vec<f32>,
    /// Within a feed-forward layer, by tiles; or what is normed before it is added to the states.
    inner: Vec<f32>,
    /// What matrices take.
    narrow: Activations,
    attended: Activations,
    wide: Activations,
}

/// What one thread needs.
#[derive(Debug, Default)]
struct Scratch {
    floats: Vec<f32>,
    scores: Vec<f32>,
}

/// One token of a step.
#[derive(Clone, Copy, Debug)]
struct Token {
    feed: usize,
    id: u32,
    position: usize,
}

impl Engine {
    /// With so many threads.
    pub fn new(isa: InstructionSet, threads: usize) -> Self {
        let team = Team::new(threads);
        let scratch = (0..team.size()).map(|_| Mutex::default()).collect();
        Self { isa, team, buffers: Buffers::default(), scratch }
    }

    /// What the kernels run on.
    pub fn instruction_set(&self) -> InstructionSet {
        self.isa
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.team.size()
    }

    /// Reads tokens, and computes what was asked for.
    ///
    /// # Errors
    ///
    /// A token or sequence does not fit the model; then nothing was read.
    pub fn forward(&mut self, model: &Model, feeds: &mut [Feed<'_>]) -> Result<Output, ForwardError> {
        let config = &model.config;
        let mut tokens = Vec::new();
        let mut wanted = Vec::new();
        for (number, feed) in feeds.iter().enumerate() {
            if !feed.sequence.fits(config) {
                return Err(ForwardError::Sequence);
            }
            let total = feed.sequence.len() + feed.tokens.len();
            if total > config.context {
                return Err(ForwardError::Context { tokens: total, context: config.context });
            }
            for (at, &id) in feed.tokens.iter().enumerate() {
                if id as usize >= config.vocabulary {
                    return Err(ForwardError::Token { token: id, vocabulary: config.vocabulary });
                }
                if at >= feed.logits_from {
                    wanted.push(tokens.len());
                }
                tokens.push(Token { feed: number, id, position: feed.sequence.len() + at });
            }
        }
        if tokens.is_empty() {
            return Ok(Output {
                width: config.width,
                vocabulary: config.vocabulary,
                hidden: vec![],
                logits: vec![],
            });
        }
        for feed in feeds.iter_mut() {
            feed.sequence.reserve(feed.tokens.len());
        }
        self.embed(model, &tokens);
        let positions = || tokens.iter().map(|token| token.position);
        let factors = model.rope_factors.as_deref();
        let angles = Angles::new(config, factors, false, positions());
        let local = config.window.map(|_| Angles::new(config, None, true, positions()));
        for number in 0..model.layers.len() {
            let angles = local.as_ref().filter(|_| config.is_local(number)).unwrap_or(&angles);
            self.layer(model, number, &tokens, angles, feeds);
        }
        for feed in feeds.iter_mut() {
            feed.sequence.advance(feed.tokens.len());
        }
        Ok(self.output(model, tokens.len(), &wanted))
    }

    fn embed(&mut self, model: &Model, tokens: &[Token]) {
        let (width, count) = (model.config.width, tokens.len());
        let states = &mut self.buffers.states;
        states.resize(width * count, 0.0);
        let mut row = vec![0.0; width];
        for (number, token) in tokens.iter().enumerate() {
            model.embedding.row(token.id as usize, &mut row);
            row.iter_mut().for_each(|x| *x *= model.config.embedding_scale);
            scatter(&row, number, count, states);
        }
    }

    fn output(&mut self, model: &Model, count: usize, wanted: &[usize]) -> Output {
        let (width, vocabulary) = (model.config.width, model.config.vocabulary);
        let mut output = Output { width, vocabulary, hidden: vec![], logits: vec![] };
        if wanted.is_empty() {
            return output;
        }
        let matrix = model.output.as_ref().unwrap_or(&model.embedding);
        let Buffers { states, narrow, inner, .. } = &mut self.buffers;
        let isa = self.isa;
        narrow.reset(wanted.len(), width, &[matrix.format()]);
        self.team.share(&mut narrow.rows(), 1, |_, first, rows| {
            for (row, &token) in rows.iter_mut().zip(&wanted[first..]) {
                gather(states, token, count, row.floats);
                isa.rms_norm(row.floats, &model.output_norm, model.config.epsilon);
                isa.quantise(row);
            }
        });
        output.hidden.extend_from_slice(narrow.floats());
        let unit = wanted.len() * ROWS;
        inner.resize(matrix.tiles() * unit, 0.0);
        self.team.share(inner, unit, |_, first, part| {
            for (tile, out) in part.chunks_exact_mut(unit).enumerate() {
                isa.multiply(matrix, first + tile, narrow, out);
            }
        });
        output.logits.resize(wanted.len() * vocabulary, 0.0);
        for (number, row) in output.logits.chunks_exact_mut(vocabulary).enumerate() {
            for (to, from) in row.chunks_mut(ROWS).zip(inner.chunks_exact(unit)) {
                to.copy_from_slice(&from[number * ROWS..][..to.len()]);
            }
        }
        output
    }
}

/// Takes a token's row out of numbers by tiles.
fn gather(tiles: &[f32], token: usize, count: usize, row: &mut [f32]) {
    for (to, from) in row.chunks_exact_mut(ROWS).zip(tiles.chunks_exact(count * ROWS)) {
        to.copy_from_slice(&from[token * ROWS..][..ROWS]);
    }
}

/// Puts a token's row into numbers by tiles.
fn scatter(row: &[f32], token: usize, count: usize, tiles: &mut [f32]) {
    for (from, to) in row.chunks_exact(ROWS).zip(tiles.chunks_exact_mut(count * ROWS)) {
        to[token * ROWS..][..ROWS].copy_from_slice(from);
    }
}
