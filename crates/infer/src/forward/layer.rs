//! One layer: attention, then a feed-forward part, each added to the tokens' states.

use std::sync::PoisonError;

use super::{Buffers, Engine, Feed, Token, gather};
use crate::activations::Activations;
use crate::format::Format;
use crate::kernels::InstructionSet;
use crate::model::Model;
use crate::packing::ROWS;
use crate::rope::Angles;
use crate::team::Team;
use crate::tensors::Linear;

/// Fewer numbers than this are written to the cache by one thread: waking others costs more.
const WORTH_SHARING: usize = 4_096;

impl Engine {
    pub(super) fn layer(
        &mut self,
        model: &Model,
        number: usize,
        tokens: &[Token],
        angles: &Angles,
        feeds: &mut [Feed<'_>],
    ) {
        let layer = &model.layers[number];
        let formats = [&layer.query, &layer.key, &layer.value].map(|linear| linear.matrix.format());
        self.norm(model, &layer.attention_norm, &formats, tokens.len());
        self.project(model, number, tokens.len());
        self.remember(model, number, tokens, angles, feeds);
        self.attend(model, number, tokens, angles, feeds);
        let Self { isa, team, scratch, buffers: Buffers { states, attended, inner, .. } } = self;
        let output = &layer.attention_output;
        let post_norm = layer.attention_post_norm.as_deref();
        match post_norm {
            None => add_product(*isa, team, scratch, output, attended, tokens.len(), states),
            Some(weights) => {
                product(*isa, team, output, attended, tokens.len(), inner);
                add_normed(*isa, weights, model.config.epsilon, tokens.len(), inner, states);
            }
        }
        self.feed_forward(model, number, tokens.len());
    }

    /// Norms all states and makes them ready for matrices of these formats.
    fn norm(&mut self, model: &Model, weights: &[f32], formats: &[Format], count: usize) {
        let isa = self.isa;
        let Buffers { states, narrow, .. } = &mut self.buffers;
        narrow.reset(count, model.config.width, formats);
        self.team.share(&mut narrow.rows(), 1, |_, first, rows| {
            for (token, row) in rows.iter_mut().enumerate() {
                gather(states, first + token, count, row.floats);
                isa.rms_norm(row.floats, weights, model.config.epsilon);
                isa.quantise(row);
            }
        });
    }

    /// Queries, keys and values of all tokens.
    fn project(&mut self, model: &Model, number: usize, count: usize) {
        let layer = &model.layers[number];
        let isa = self.isa;
        let Buffers { narrow, projected, .. } = &mut self.buffers;
        let (queries, keys) = (layer.query.matrix.tiles(), layer.key.matrix.tiles());
        let unit = count * ROWS;
        projected.resize((queries + 2 * keys) * unit, 0.0);
        self.team.share(projected, unit, |_, first, part| {
            for (tile, out) in part.chunks_exact_mut(unit).enumerate() {
                let tile = first + tile;
                let (linear, tile) = match tile {
                    _ if tile < queries => (&layer.query, tile),
                    _ if tile < queries + keys => (&layer.key, tile - queries),
                    _ => (&layer.value, tile - queries - keys),
                };
                linear_tile(isa, linear, tile, narrow, out);
            }
        });
    }

    /// Writes the new positions' keys and values into the sequences.
    fn remember(
        &mut self,
        model: &Model,
        number: usize,
        tokens: &[Token],
        angles: &Angles,
        feeds: &mut [Feed<'_>],
    ) {
        let (config, layer, isa) = (&model.config, &model.layers[number], self.isa);
        let projected = &self.buffers.projected;
        let (count, head_len) = (tokens.len(), config.head_len);
        let tiles = |head: usize| &projected[head * head_len * count..];
        let mut writers = Vec::new();
        let mut first = 0;
        for feed in feeds.iter_mut() {
            let range = first..first + feed.tokens.len();
            first = range.end;
            writers.extend(feed.sequence.writers(number).into_iter().map(|writer| (range.clone(), writer)));
        }
        let write = |_: usize, _: usize, part: &mut [(std::ops::Range<usize>, crate::kv::Writer<'_>)]| {
            let (mut key, mut value) = (vec![0.0; head_len], vec![0.0; head_len]);
            for (range, writer) in part {
                for token in range.clone() {
                    gather(tiles(config.heads + writer.head), token, count, &mut key);
                    gather(tiles(config.heads + config.kv_heads + writer.head), token, count, &mut value);
                    if let Some(weights) = &layer.key_norm {
                        isa.rms_norm(&mut key, weights, config.epsilon);
                    }
                    let (cosines, sines) = angles.of(token);
                    isa.turn(config.pairs, &mut key, cosines, sines);
                    writer.write(tokens[token].position, &key, &value);
                }
            }
        };
        if count * config.kv_heads * head_len < WORTH_SHARING {
            write(0, 0, &mut writers);
        } else {
            self.team.share(&mut writers, 1, write);
        }
    }

    /// What each token's heads find in its sequence.
    fn attend(
        &mut self,
        model: &Model,
        number: usize,
        tokens: &[Token],
        angles: &Angles,
        feeds: &[Feed<'_>],
    ) {
        let (config, layer, isa) = (&model.config, &model.layers[number], self.isa);
        let Buffers { projected, attended, .. } = &mut self.buffers;
        let (count, head_len) = (tokens.len(), config.head_len);
        let group = config.heads / config.kv_heads;
        let window =
            config.window.filter(|_| config.is_local(number)).map_or(usize::MAX, |window| window.len);
        attended.reset(count, config.heads * head_len, &[layer.attention_output.matrix.format()]);
        let unit = group * head_len;
        let scratch = &self.scratch;
        self.team.share(attended.floats_mut(), unit, |thread, first, part| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let scratch = &mut *scratch;
            for (at, out) in part.chunks_exact_mut(unit).enumerate() {
                let (token, kv_head) = ((first + at) / config.kv_heads, (first + at) % config.kv_heads);
                let (cosines, sines) = angles.of(token);
                scratch.floats.resize(unit, 0.0);
                for (head, query) in scratch.floats.chunks_exact_mut(head_len).enumerate() {
                    gather(&projected[(kv_head * group + head) * head_len * count..], token, count, query);
                    if let Some(weights) = &layer.query_norm {
                        isa.rms_norm(query, weights, config.epsilon);
                    }
                    isa.turn(config.pairs, query, cosines, sines);
                    query.iter_mut().for_each(|x| *x *= config.query_scale);
                }
                let Token { feed, position, .. } = tokens[token];
                let range = ((position + 1).saturating_sub(window), position + 1);
                let pages = feeds[feed].sequence.reader(number, kv_head);
                isa.attend(&scratch.floats, head_len, &pages, range, &mut scratch.scores, out);
            }
        });
        self.team
            .share(&mut attended.rows(), 1, |_, _, rows| rows.iter_mut().for_each(|row| isa.quantise(row)));
    }

    fn feed_forward(&mut self, model: &Model, number: usize, count: usize) {
        let (layer, isa) = (&model.layers[number], self.isa);
        let formats = [layer.gate.matrix.format(), layer.up.matrix.format()];
        self.norm(model, &layer.feed_forward_norm, &formats, count);
        let Self { team, scratch, buffers, .. } = self;
        let Buffers { states, inner, narrow, wide, .. } = buffers;
        let unit = count * ROWS;
        inner.resize(layer.gate.matrix.tiles() * unit, 0.0);
        team.share(inner, unit, |thread, first, part| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let up = &mut scratch.floats;
            up.resize(unit, 0.0);
            for (tile, out) in part.chunks_exact_mut(unit).enumerate() {
                linear_tile(isa, &layer.gate, first + tile, narrow, out);
                linear_tile(isa, &layer.up, first + tile, narrow, up);
                isa.gate(model.config.gate, out, up);
            }
        });
        wide.reset(count, model.config.feed_forward, &[layer.down.matrix.format()]);
        team.share(&mut wide.rows(), 1, |_, first, rows| {
            for (token, row) in rows.iter_mut().enumerate() {
                gather(inner, first + token, count, row.floats);
                isa.quantise(row);
            }
        });
        match &layer.feed_forward_post_norm {
            None => add_product(isa, team, scratch, &layer.down, wide, count, states),
            Some(weights) => {
                product(isa, team, &layer.down, wide, count, inner);
                add_normed(isa, weights, model.config.epsilon, count, inner, states);
            }
        }
    }
}

/// A tile of a matrix's outputs, with the bias.
pub(super) fn linear_tile(
    isa: InstructionSet,
    linear: &Linear,
    tile: usize,
    x: &Activations,
    out: &mut [f32],
) {
    isa.multiply(&linear.matrix, tile, x, out);
    if let Some(bias) = &linear.bias {
        let bias = &bias[tile * ROWS..];
        for out in out.chunks_exact_mut(ROWS) {
            out.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    }
}

/// A matrix's outputs, by tiles.
pub(super) fn product(
    isa: InstructionSet,
    team: &mut Team,
    linear: &Linear,
    x: &Activations,
    count: usize,
    out: &mut Vec<f32>,
) {
    let unit = count * ROWS;
    out.resize(linear.matrix.tiles() * unit, 0.0);
    team.share(out, unit, |_, first, part| {
        for (tile, out) in part.chunks_exact_mut(unit).enumerate() {
            linear_tile(isa, linear, first + tile, x, out);
        }
    });
}

/// Adds a matrix's outputs to the states.
fn add_product(
    isa: InstructionSet,
    team: &mut Team,
    scratch: &[std::sync::Mutex<super::Scratch>],
    linear: &Linear,
    x: &Activations,
    count: usize,
    states: &mut [f32],
) {
    let unit = count * ROWS;
    team.share(states, unit, |thread, first, part| {
        let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let product = &mut scratch.floats;
        product.resize(unit, 0.0);
        for (tile, states) in part.chunks_exact_mut(unit).enumerate() {
            linear_tile(isa, linear, first + tile, x, product);
            states.iter_mut().zip(&*product).for_each(|(state, x)| *state += x);
        }
    });
}

/// Norms each token's row and adds it to its state. One thread does it: only Gemma has it, and it is a small part.
fn add_normed(
    isa: InstructionSet,
    weights: &[f32],
    epsilon: f32,
    count: usize,
    rows: &[f32],
    states: &mut [f32],
) {
    let mut row = vec![0.0; weights.len()];
    for token in 0..count {
        gather(rows, token, count, &mut row);
        isa.rms_norm(&mut row, weights, epsilon);
        for (from, to) in row.chunks_exact(ROWS).zip(states.chunks_exact_mut(count * ROWS)) {
            to[token * ROWS..][..ROWS].iter_mut().zip(from).for_each(|(state, x)| *state += x);
        }
    }
}
