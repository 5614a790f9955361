//! Texts to vectors.
//!
//! All tokens of some texts go through a layer together, and each attends to the tokens of its own text. There are no
//! filler tokens: what a text is computed beside changes no bit of its vector.

use std::sync::PoisonError;

use thiserror::Error;

use super::layer::product;
use super::{Buffers, Engine, NotFinite, gather};
use crate::encoder::{Encoder, EncoderLayer, Norm, Pooling};
use crate::kv::Sequence;
use crate::packing::ROWS;

/// Tokens that are computed together: more take more memory and are hardly faster.
const TOGETHER: usize = 512;

/// Why texts have no vectors.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// A text has no tokens at all.
    #[error("text {text} has no tokens")]
    Empty {
        /// Its number.
        text: usize,
    },
    /// There is no such token.
    #[error("text {text} has token {token}, which is not in the vocabulary of {vocabulary}")]
    Token {
        /// The text's number.
        text: usize,
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// A text is longer than those that the model was trained with.
    #[error("text {text} has {tokens} tokens, which exceed the model's context of {context}")]
    Context {
        /// The text's number.
        text: usize,
        /// Its tokens.
        tokens: usize,
        /// Positions that the model has.
        context: usize,
    },
}

/// Vectors of texts, each of length 1.
#[derive(Debug, Default)]
pub struct Vectors {
    width: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    /// Texts.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.width.max(1)
    }

    /// True where there were no texts.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// A text's vector.
    ///
    /// # Errors
    ///
    /// A number is not finite.
    pub fn vector(&self, text: usize) -> Result<&[f32], NotFinite> {
        let vector = &self.numbers[text * self.width..][..self.width];
        if vector.iter().all(|x| x.is_finite()) { Ok(vector) } else { Err(NotFinite) }
    }
}

/// One token of the texts that are computed together.
#[derive(Clone, Copy)]
struct Token {
    text: usize,
    position: usize,
    id: u32,
}

impl Engine {
    /// Makes a vector of each text's tokens.
    ///
    /// # Errors
    ///
    /// A text does not fit the model; then none was computed.
    pub fn encode(&mut self, encoder: &Encoder, texts: &[&[u32]]) -> Result<Vectors, EncodeError> {
        let config = &encoder.config;
        for (text, tokens) in texts.iter().enumerate() {
            if tokens.is_empty() {
                return Err(EncodeError::Empty { text });
            }
            if let Some(&token) = tokens.iter().find(|&&token| token as usize >= config.vocabulary) {
                return Err(EncodeError::Token { text, token, vocabulary: config.vocabulary });
            }
            if tokens.len() > config.context {
                return Err(EncodeError::Context { text, tokens: tokens.len(), context: config.context });
            }
        }
        let mut vectors = Vectors { width: config.width, numbers: Vec::new() };
        let mut rest = texts;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = rest.iter().take_while(|text| {
                tokens += text.len();
                tokens <= TOGETHER
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            self.encode_together(encoder, now, &mut vectors.numbers);
            rest = later;
        }
        Ok(vectors)
    }

    fn encode_together(&mut self, encoder: &Encoder, texts: &[&[u32]], vectors: &mut Vec<f32>) {
        let tokens: Vec<Token> = (0..)
            .zip(texts)
            .flat_map(|(text, ids)| {
                ids.iter().enumerate().map(move |(position, &id)| Token { text, position, id })
            })
            .collect();
        let config = &encoder.config;
        let mut kept: Vec<Sequence> = texts
            .iter()
            .map(|text| {
                let mut sequence = Sequence::of_one_layer(config.heads, config.head_len);
                sequence.reserve(text.len());
                sequence
            })
            .collect();
        self.embed_texts(encoder, &tokens);
        for layer in &encoder.layers {
            self.project_texts(layer, tokens.len());
            self.remember_texts(encoder, texts, &mut kept);
            self.attend_texts(encoder, layer, &tokens, texts, &kept);
            let Self { isa, team, buffers: Buffers { attended, inner, .. }, .. } = self;
            product(*isa, team, &layer.attention_output, attended, tokens.len(), inner);
            self.add_and_norm(&layer.attention_norm, config.epsilon, tokens.len());
            self.feed_forward_texts(encoder, layer, tokens.len());
            self.add_and_norm(&layer.norm, config.epsilon, tokens.len());
        }
        self.pool(encoder, texts, vectors);
    }

    /// The tokens' states, which this and each part of a layer leave in `narrow`, ready for matrices.
    fn embed_texts(&mut self, encoder: &Encoder, tokens: &[Token]) {
        let (isa, config) = (self.isa, &encoder.config);
        let narrow = &mut self.buffers.narrow;
        let matrices =
            encoder.layers.iter().flat_map(|layer| [&layer.query, &layer.key, &layer.value, &layer.up]);
        let formats: Vec<_> = matrices.map(|linear| linear.matrix.format()).collect();
        narrow.reset(tokens.len(), config.width, &formats);
        self.team.share(&mut narrow.rows(), 1, |_, first, rows| {
            let mut place = vec![0.0; config.width];
            for (row, token) in rows.iter_mut().zip(&tokens[first..]) {
                encoder.embedding.row(token.id as usize, row.floats);
                encoder.positions.row(token.position, &mut place);
                for ((x, kind), place) in row.floats.iter_mut().zip(&encoder.kind).zip(&place) {
                    *x = (*x + kind) + place;
                }
                isa.layer_norm(row.floats, &encoder.norm.weights, &encoder.norm.bias, config.epsilon);
                isa.quantise(row);
            }
        });
    }

    /// Queries, keys and values of all tokens.
    fn project_texts(&mut self, layer: &EncoderLayer, count: usize) {
        let isa = self.isa;
        let Buffers { narrow, projected, .. } = &mut self.buffers;
        let tiles = layer.query.matrix.tiles();
        let linears = [&layer.query, &layer.key, &layer.value];
        let unit = count * ROWS;
        projected.resize(3 * tiles * unit, 0.0);
        self.team.share(projected, unit, |_, first, part| {
            for (tile, out) in part.chunks_exact_mut(unit).enumerate() {
                let tile = first + tile;
                super::layer::linear_tile(isa, linears[tile / tiles], tile % tiles, narrow, out);
            }
        });
    }

    /// Writes keys and values where attention reads them.
    fn remember_texts(&mut self, encoder: &Encoder, texts: &[&[u32]], kept: &mut [Sequence]) {
        let (heads, head_len) = (encoder.config.heads, encoder.config.head_len);
        let count: usize = texts.iter().map(|text| text.len()).sum();
        let projected = &self.buffers.projected;
        let mut writers = Vec::new();
        let mut first = 0;
        for (text, sequence) in texts.iter().zip(kept) {
            let range = first..first + text.len();
            first = range.end;
            writers.extend(sequence.writers(0).into_iter().map(|writer| (range.clone(), writer)));
        }
        self.team.share(&mut writers, 1, |_, _, part| {
            let (mut key, mut value) = (vec![0.0; head_len], vec![0.0; head_len]);
            for (range, writer) in part {
                for (position, token) in range.clone().enumerate() {
                    gather(&projected[(heads + writer.head) * head_len * count..], token, count, &mut key);
                    gather(
                        &projected[(2 * heads + writer.head) * head_len * count..],
                        token,
                        count,
                        &mut value,
                    );
                    writer.write(position, &key, &value);
                }
            }
        });
    }

    /// What each token's heads find in its text.
    fn attend_texts(
        &mut self,
        encoder: &Encoder,
        layer: &EncoderLayer,
        tokens: &[Token],
        texts: &[&[u32]],
        kept: &[Sequence],
    ) {
        let (isa, count) = (self.isa, tokens.len());
        let (heads, head_len) = (encoder.config.heads, encoder.config.head_len);
        let scale = 1.0 / (head_len as f32).sqrt();
        let Buffers { projected, attended, .. } = &mut self.buffers;
        attended.reset(count, heads * head_len, &[layer.attention_output.matrix.format()]);
        let scratch = &self.scratch;
        self.team.share(attended.floats_mut(), head_len, |thread, first, part| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let scratch = &mut *scratch;
            scratch.floats.resize(head_len, 0.0);
            for (at, out) in part.chunks_exact_mut(head_len).enumerate() {
                let (token, head) = ((first + at) / heads, (first + at) % heads);
                let query = &mut scratch.floats;
                gather(&projected[head * head_len * count..], token, count, query);
                query.iter_mut().for_each(|x| *x *= scale);
                let text = tokens[token].text;
                let (pages, range) = (kept[text].reader(0, head), (0, texts[text].len()));
                isa.attend(query, head_len, &pages, range, &mut scratch.scores, out);
            }
        });
        self.team
            .share(&mut attended.rows(), 1, |_, _, rows| rows.iter_mut().for_each(|row| isa.quantise(row)));
    }

    fn feed_forward_texts(&mut self, encoder: &Encoder, layer: &EncoderLayer, count: usize) {
        let (isa, config) = (self.isa, &encoder.config);
        let Self { team, buffers: Buffers { inner, narrow, wide, .. }, .. } = self;
        product(isa, team, &layer.up, narrow, count, inner);
        wide.reset(count, config.feed_forward, &[layer.down.matrix.format()]);
        team.share(&mut wide.rows(), 1, |_, first, rows| {
            for (token, row) in rows.iter_mut().enumerate() {
                gather(inner, first + token, count, row.floats);
                isa.activate(config.activation, row.floats);
                isa.quantise(row);
            }
        });
        product(isa, team, &layer.down, wide, count, inner);
    }

    /// Adds what a part of a layer computed to the states, and norms them.
    fn add_and_norm(&mut self, norm: &Norm, epsilon: f32, count: usize) {
        let isa = self.isa;
        let Buffers { inner, narrow, .. } = &mut self.buffers;
        self.team.share(&mut narrow.rows(), 1, |_, first, rows| {
            let mut added = vec![0.0; norm.weights.len()];
            for (token, row) in rows.iter_mut().enumerate() {
                gather(inner, first + token, count, &mut added);
                row.floats.iter_mut().zip(&added).for_each(|(x, added)| *x += added);
                isa.layer_norm(row.floats, &norm.weights, &norm.bias, epsilon);
                isa.quantise(row);
            }
        });
    }

    /// One vector of each text's states, in one chain over positions.
    fn pool(&self, encoder: &Encoder, texts: &[&[u32]], vectors: &mut Vec<f32>) {
        let width = encoder.config.width;
        let mut states = self.buffers.narrow.floats().chunks_exact(width);
        for text in texts {
            let mut states = states.by_ref().take(text.len());
            let mut vector = states.next().map_or_else(Vec::new, <[f32]>::to_vec);
            // What follows the first is skipped or added, but always taken.
            for state in states {
                if encoder.config.pooling == Pooling::Mean {
                    vector.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
                }
            }
            self.isa.normalise(&mut vector);
            vectors.extend(vector);
        }
    }
}
