//! Which token comes next: a pure function of logits, request, seed and position.
//!
//! Chance enters as Gumbel noise. Each token's logit gets noise that depends on the seed, the position and the token
//! alone, and the largest sum wins: that draws from the same distribution as softmax does, and a checker who has the
//! logits of all positions from one forward can draw every token again.

use std::collections::HashMap;

use crate::math::exp;

/// What a request says of how its tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most likely token.
    pub temperature: f32,
    /// Only so many of the most likely tokens; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this share; 1 for all.
    pub top_p: f32,
    /// Only tokens with at least this share of the most likely one's probability.
    pub min_p: f32,
    /// Subtracted from the logit of each token that the answer has.
    pub presence_penalty: f32,
    /// Subtracted for each time that the answer has the token.
    pub frequency_penalty: f32,
    /// Divides positive logits, and multiplies negative ones, of tokens that prompt or answer have; 1 for none.
    pub repetition_penalty: f32,
    /// Added to tokens' logits.
    pub logit_bias: Vec<(u32, f32)>,
    /// What noise depends on.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// Counts of the tokens so far, for penalties.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    prompt: HashMap<u32, u32>,
    answer: HashMap<u32, u32>,
}

impl Counts {
    /// Those of a prompt.
    pub fn new(prompt: &[u32]) -> Self {
        let mut counts = Self::default();
        prompt.iter().for_each(|&token| *counts.prompt.entry(token).or_default() += 1);
        counts
    }

    /// Counts a token of the answer.
    pub fn add(&mut self, token: u32) {
        *self.answer.entry(token).or_default() += 1;
    }
}

impl Sampling {
    /// The token that follows, at a position counted from the beginning of the prompt. `allowed` says which tokens may
    /// follow at all, as a grammar has it. `None` where no token may.
    pub fn next(
        &self,
        logits: &[f32],
        counts: &Counts,
        position: usize,
        allowed: Option<&dyn Fn(u32) -> bool>,
    ) -> Option<u32> {
        let mut tokens: Vec<(f32, u32)> = logits.iter().copied().zip(0..).collect();
        self.adjust(&mut tokens, counts);
        if let Some(allowed) = allowed {
            tokens.retain(|&(_, token)| allowed(token));
        }
        let most = *tokens.iter().reduce(|best, token| if is_before(token, best) { token } else { best })?;
        if self.temperature <= 0.0 {
            return Some(most.1);
        }
        tokens.iter_mut().for_each(|(logit, _)| *logit = (*logit - most.0) / self.temperature);
        self.narrow(&mut tokens);
        self.draw(&tokens, most.1, position)
    }

    fn adjust(&self, tokens: &mut [(f32, u32)], counts: &Counts) {
        let mut change = |token: u32, change: &dyn Fn(f32) -> f32| {
            if let Some((logit, _)) = tokens.get_mut(token as usize) {
                *logit = change(*logit);
            }
        };
        if self.repetition_penalty != 1.0 {
            let answer = counts.answer.keys().filter(|token| !counts.prompt.contains_key(token));
            for &token in counts.prompt.keys().chain(answer) {
                change(token, &|x| {
                    if x > 0.0 { x / self.repetition_penalty } else { x * self.repetition_penalty }
                });
            }
        }
        for (&token, &count) in &counts.answer {
            change(token, &|x| x - self.presence_penalty - self.frequency_penalty * count as f32);
        }
        for &(token, bias) in &self.logit_bias {
            change(token, &|x| x + bias);
        }
    }

    /// Leaves the tokens that top-k, top-p and min-p leave; logits are those less the largest.
    fn narrow(&self, tokens: &mut Vec<(f32, u32)>) {
        if self.min_p > 0.0 {
            tokens.retain(|&(logit, _)| exp(logit) >= self.min_p);
        }
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if self.top_k > 0 && self.top_k < tokens.len() {
            tokens.select_nth_unstable_by(self.top_k, order);
            tokens.truncate(self.top_k);
        }
        if self.top_p < 1.0 {
            tokens.sort_unstable_by(order);
            let total: f32 = tokens.iter().map(|&(logit, _)| exp(logit)).sum();
            let mut sum = 0.0;
            let kept = tokens.iter().take_while(|&&(logit, _)| {
                let before = sum;
                sum += exp(logit);
                before < self.top_p * total
            });
            let kept = kept.count().max(1);
            tokens.truncate(kept);
        }
    }

    fn draw(&self, tokens: &[(f32, u32)], most: u32, position: usize) -> Option<u32> {
        // The most likely token first: most others need no logarithm then.
        let first = tokens.iter().find(|&&(_, token)| token == most);
        let mut best: Option<(f64, u32)> = None;
        for &(logit, token) in first.into_iter().chain(tokens) {
            let uniform = uniform(self.seed, position, token);
            if let Some((largest, _)) = best {
                // Noise of more than `gap` needs a uniform above exp(-exp(-gap)), which is above 1 - exp(-gap).
                let gap = (largest - f64::from(logit)) as f32;
                if gap > 0.0 && 1.0 - uniform > f64::from(exp(-gap)) * 1.001 {
                    continue;
                }
            }
            let sum = f64::from(logit) - libm::log(-libm::log(uniform));
            if best.is_none_or(|(largest, at)| sum > largest || sum == largest && token < at) {
                best = Some((sum, token));
            }
        }
        best.map(|(_, token)| token)
    }
}

/// How likely a token was, by the model alone: before temperature, penalties and anything else of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihood {
    /// The logarithm of the token's probability.
    pub of_token: f32,
    /// The most likely tokens with the logarithms of theirs, the most likely first.
    pub top: Vec<(u32, f32)>,
}

impl Likelihood {
    /// That of a token, and the `count` most likely ones, by logits.
    pub fn new(logits: &[f32], token: u32, count: usize) -> Self {
        let most = logits.iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
        let total: f64 = logits.iter().map(|&x| f64::from(exp(x - most))).sum();
        let base = f64::from(most) + libm::log(total);
        let probability = |token: u32| (f64::from(logits[token as usize]) - base) as f32;
        let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
        if count < tokens.len() {
            tokens.select_nth_unstable_by(count, order);
            tokens.truncate(count);
        }
        tokens.sort_unstable_by(order);
        let top = tokens.into_iter().map(|token| (token, probability(token))).collect();
        Self { of_token: probability(token), top }
    }
}

fn is_before(a: &(f32, u32), b: &(f32, u32)) -> bool {
    a.0 > b.0 || a.0 == b.0 && a.1 < b.1
}

/// Between 0 and 1, neither of them, by the finaliser of splitmix64 over seed, position and token in turn.
fn uniform(seed: u64, position: usize, token: u32) -> f64 {
    let bits = [position as u64, token.into()].iter().fold(mix(seed), |state, &part| mix(state ^ mix(part)));
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -4.0];

    fn shares(sampling: &Sampling, counts: &Counts) -> Vec<f64> {
        let mut shares = vec![0.0; LOGITS.len()];
        for position in 0..20_000 {
            shares[sampling.next(&LOGITS, counts, position, None).unwrap() as usize] += 1.0 / 20_000.0;
        }
        shares
    }

    #[test]
    fn draws_have_the_softmax_shares() {
        let total: f64 = LOGITS.iter().map(|&x| f64::from(x).exp()).sum();
        let drawn = shares(&Sampling::default(), &Counts::default());
        for (share, logit) in drawn.iter().zip(LOGITS) {
            assert!((share - f64::from(logit).exp() / total).abs() < 0.012, "{drawn:?}");
        }
    }

    #[test]
    fn the_same_seed_and_position_draw_the_same() {
        let draw = |seed, position| {
            Sampling { seed, ..Sampling::default() }
                .next(&LOGITS, &Counts::default(), position, None)
                .unwrap()
        };
        let sequence = |seed| (0..64).map(|position| draw(seed, position)).collect::<Vec<_>>();
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        // Whoever changes this changes what every seed draws: another version of the engine.
        assert_eq!(sequence(7)[..12], [3, 2, 1, 3, 1, 3, 1, 1, 1, 3, 2, 2]);
    }

    #[test]
    fn without_temperature_the_first_of_the_most_likely_wins() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(greedy.next(&LOGITS, &Counts::default(), 0, None), Some(1));
        assert_eq!(greedy.next(&LOGITS, &Counts::default(), 0, Some(&|token| token > 2)), Some(3));
        assert_eq!(greedy.next(&LOGITS, &Counts::default(), 0, Some(&|_| false)), None);
        assert_eq!(greedy.next(&[], &Counts::default(), 0, None), None);
    }

    #[test]
    fn tokens_are_left_out_by_rank_and_share() {
        let left = |sampling: Sampling| -> Vec<usize> {
            let shares = shares(&sampling, &Counts::default());
            (0..LOGITS.len()).filter(|&token| shares[token] > 0.0).collect()
        };
        let all = Sampling::default;
        assert_eq!(left(Sampling { top_k: 1, ..all() }), [1]);
        assert_eq!(left(Sampling { top_k: 3, ..all() }), [1, 2, 3]);
        assert_eq!(left(Sampling { top_p: 0.5, ..all() }), [1, 3]);
        assert_eq!(left(Sampling { top_p: 0.0, ..all() }), [1]);
        assert_eq!(left(Sampling { min_p: 0.3, ..all() }), [1, 2, 3]);
    }

    #[test]
    fn penalties_and_biases_change_the_most_likely() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        let mut counts = Counts::new(&[3]);
        counts.add(1);
        let next = |sampling: Sampling| sampling.next(&LOGITS, &counts, 0, None);
        assert_eq!(next(Sampling { presence_penalty: 0.5, ..greedy.clone() }), Some(3));
        assert_eq!(next(Sampling { frequency_penalty: 0.5, ..greedy.clone() }), Some(3));
        assert_eq!(next(Sampling { repetition_penalty: 2.0, ..greedy.clone() }), Some(2));
        assert_eq!(next(Sampling { logit_bias: vec![(4, 100.0), (99, 1.0)], ..greedy }), Some(4));
    }

    #[test]
    fn log_probabilities_sum_to_one() {
        let all = Likelihood::new(&LOGITS, 2, 5);
        let total: f32 = all.top.iter().map(|(_, x)| x.exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
        assert_eq!(all.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 2, 0, 4]);
        assert_eq!(all.of_token, all.top[2].1);
        assert_eq!(Likelihood::new(&LOGITS, 4, 2).top, all.top[..2]);
        assert_eq!(Likelihood::new(&LOGITS, 4, 0), Likelihood { of_token: all.top[4].1, top: vec![] });
    }
}
