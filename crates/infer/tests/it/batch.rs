//! Requests that are answered together, and answers that are checked.

use std::collections::HashMap;

use serde_json::json;
use tidemill_infer::grammar::{Calls, Tool};
use tidemill_infer::{
    Batch, Bounds, Claim, Engine, Event, Finding, Finish, Gguf, InstructionSet, JoinError, Model, Request,
    Sampling, Shape, Tokenizer, Usage, check, tiny,
};

const BOUNDS: Bounds = Bounds { tokens_per_step: 24, pages: 64 };

fn load() -> (Model, Tokenizer) {
    let bytes = tiny::model("qwen3", 20);
    let gguf = Gguf::read(&bytes).unwrap();
    (Model::load(&bytes, &gguf).unwrap(), Tokenizer::read(gguf.metadata()).unwrap())
}

fn engine(threads: usize) -> Engine {
    Engine::new(InstructionSet::best(), threads)
}

fn request(tokenizer: &Tokenizer, prompt: &str, seed: u64, most_tokens: usize) -> Request {
    let sampling =
        Sampling { seed, temperature: 0.8, top_p: 0.95, frequency_penalty: 0.1, ..Sampling::default() };
    Request { prompt: tokenizer.encode(prompt), sampling, most_tokens, ..Request::default() }
}

fn requests(tokenizer: &Tokenizer) -> Vec<Request> {
    let long = "the thing and the other thing, and so on; ".repeat(3);
    vec![
        request(tokenizer, "the", 1, 40),
        request(tokenizer, &long, 2, 10),
        request(tokenizer, &format!("{long}!"), 3, 33),
        request(tokenizer, "and", 4, 1),
        Request { ignores_end: true, ..request(tokenizer, "the other", 5, 64) },
    ]
}

/// Answers, in order of the requests, with their texts.
fn answers(batch: &mut Batch<'_>, requests: &[Request]) -> Vec<(String, Claim, Usage)> {
    let ids: Vec<_> = requests.iter().map(|request| batch.join(request.clone()).unwrap()).collect();
    let mut texts: HashMap<_, String> = HashMap::new();
    let mut ends = HashMap::new();
    while !batch.is_empty() {
        for event in batch.step().unwrap() {
            match event {
                Event::Token { request, text, .. } => texts.entry(request).or_default().push_str(&text),
                Event::End { request, claim, usage } => {
                    ends.insert(request, (claim, usage));
                }
            }
        }
    }
    ids.iter()
        .map(|id| {
            let (claim, usage) = ends.remove(id).unwrap();
            (texts.remove(id).unwrap_or_default(), claim, usage)
        })
        .collect()
}

#[test]
fn an_answer_does_not_depend_on_those_beside_it() {
    let (model, tokenizer) = load();
    let requests = requests(&tokenizer);
    let together = answers(&mut Batch::new(&model, &tokenizer, engine(2), BOUNDS), &requests);
    for (request, (text, claim, usage)) in requests.iter().zip(&together) {
        let bounds = Bounds { tokens_per_step: 512, ..BOUNDS };
        let mut alone = Batch::new(&model, &tokenizer, engine(1), bounds);
        let alone = &answers(&mut alone, std::slice::from_ref(request))[0];
        assert_eq!((&alone.0, &alone.1), (text, claim));
        assert_eq!(usage.answer, claim.tokens.len());
        assert_eq!(usage.prompt, request.prompt.len());
    }
}

#[test]
fn kept_prefixes_are_used_and_change_nothing() {
    let (model, tokenizer) = load();
    let requests = requests(&tokenizer);
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let first = answers(&mut batch, &requests);
    let again = answers(&mut batch, &requests);
    for ((request, first), again) in requests.iter().zip(&first).zip(&again) {
        assert_eq!(first.1, again.1);
        assert_eq!(again.2.cached, (request.prompt.len() - 1) / 16 * 16);
    }
    assert!(again[1].2.cached >= 48);
    assert_eq!(first[1].2.cached, 0);
}

#[test]
fn right_answers_pass_the_check_and_wrong_ones_are_named() {
    let (model, tokenizer) = load();
    let mut engine_of_checker = engine(2);
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let requests = requests(&tokenizer);
    let answers = answers(&mut batch, &requests);
    let mut find = |request: &Request, claim: &Claim| {
        check(&mut engine_of_checker, &model, &tokenizer, request, claim).unwrap()
    };
    for (request, (_, claim, _)) in requests.iter().zip(&answers) {
        assert_eq!(find(request, claim), Finding::Right);
    }
    let (request, claim) = (&requests[4], &answers[4].1);
    assert_eq!((claim.tokens.len(), claim.chain.len(), claim.finish), (64, 2, Finish::Length));
    let wrong = |change: &dyn Fn(&mut Claim)| {
        let mut claim = claim.clone();
        change(&mut claim);
        claim
    };
    assert_eq!(find(request, &wrong(&|claim| claim.tokens[9] ^= 1)), Finding::Token { at: 9 });
    assert_eq!(find(request, &wrong(&|claim| claim.tokens[63] = 9_999)), Finding::Token { at: 63 });
    assert_eq!(find(request, &wrong(&|claim| claim.tokens.truncate(63))), Finding::Finish { at: 63 });
    assert_eq!(find(request, &wrong(&|claim| claim.tokens.push(1))), Finding::Finish { at: 64 });
    assert_eq!(find(request, &wrong(&|claim| claim.tokens.clear())), Finding::Finish { at: 0 });
    assert_eq!(find(request, &wrong(&|claim| claim.finish = Finish::Stop)), Finding::Finish { at: 64 });
    assert_eq!(find(request, &wrong(&|claim| claim.chain[1][0] ^= 1)), Finding::Chain { link: 1 });
    assert_eq!(find(request, &wrong(&|claim| claim.chain.truncate(1))), Finding::Chain { link: 1 });
    assert_eq!(find(request, &wrong(&|claim| claim.chain.push([0; 32]))), Finding::Chain { link: 2 });
    // Another model's answer, and one to another prompt or by another seed.
    let other = Request { sampling: Sampling { seed: 6, ..request.sampling.clone() }, ..request.clone() };
    assert_ne!(find(&other, claim), Finding::Right);
    assert_ne!(
        find(&Request { prompt: tokenizer.encode("the othe"), ..request.clone() }, claim),
        Finding::Right
    );
}

/// Answers to requests that come with drafts, and the number of steps.
fn drafted(batch: &mut Batch<'_>, requests: &[Request], drafts: &[Vec<u32>]) -> (Vec<Claim>, usize) {
    let join =
        |(request, draft): (&Request, &Vec<u32>)| batch.join_with_draft(request.clone(), draft).unwrap();
    let ids: Vec<_> = requests.iter().zip(drafts).map(join).collect();
    let (mut ends, mut steps, mut drawn) = (HashMap::new(), 0, HashMap::<_, Vec<u32>>::new());
    while !batch.is_empty() {
        steps += 1;
        for event in batch.step().unwrap() {
            match event {
                Event::Token { request, token, .. } => drawn.entry(request).or_default().push(token),
                Event::End { request, claim, usage } => {
                    assert_eq!(drawn.remove(&request).unwrap_or_default(), claim.tokens);
                    assert_eq!(usage.answer, claim.tokens.len());
                    ends.insert(request, claim);
                }
            }
        }
    }
    (ids.iter().map(|id| ends.remove(id).unwrap()).collect(), steps)
}

#[test]
fn a_draft_saves_steps_and_changes_no_bit() {
    let (model, tokenizer) = load();
    let requests = requests(&tokenizer);
    let bounds = Bounds { tokens_per_step: 512, ..BOUNDS };
    let batch = || Batch::new(&model, &tokenizer, engine(1), bounds);
    let none = vec![Vec::new(); requests.len()];
    let (expected, steps) = drafted(&mut batch(), &requests, &none);
    assert!(steps >= 64);
    let right: Vec<Vec<u32>> = expected.iter().map(|claim| claim.tokens.clone()).collect();
    let (again, steps) = drafted(&mut batch(), &requests, &right);
    assert_eq!((again, steps), (expected.clone(), 1));

    let changed = |change: &dyn Fn(&mut Vec<u32>)| {
        let mut drafts = right.clone();
        drafts.iter_mut().for_each(change);
        drafts
    };
    let wrong = [
        // A wrong token in the middle, from which the answer is drawn as if there were no draft.
        (changed(&|draft| draft.iter_mut().skip(20).take(1).for_each(|token| *token ^= 1)), 45),
        (changed(&|draft| draft.insert(0, 7)), 64),
        (changed(&|draft| draft.truncate(30)), 34),
        // More than the answer has, and what the vocabulary does not.
        (changed(&|draft| draft.extend([3; 9_000])), 1),
        (changed(&|draft| draft.iter_mut().skip(40).for_each(|token| *token = u32::MAX)), 24),
        (vec![right[4].clone(); 5], 40),
    ];
    for (number, (drafts, most_steps)) in wrong.iter().enumerate() {
        let (claims, steps) = drafted(&mut batch(), &requests, drafts);
        assert_eq!(claims, expected, "draft {number}");
        assert!(steps <= *most_steps, "draft {number} took {steps} steps");
    }
}

/// With a small bound on the tokens of a step, drafts are read in pieces, beside prompts and answers.
#[test]
fn drafts_are_read_in_pieces() {
    let (model, tokenizer) = load();
    let requests = requests(&tokenizer);
    let mut batch = Batch::new(&model, &tokenizer, engine(2), BOUNDS);
    let (expected, steps) = drafted(&mut batch, &requests, &vec![Vec::new(); requests.len()]);
    let drafts: Vec<Vec<u32>> = expected.iter().map(|claim| claim.tokens.clone()).collect();
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let (claims, with_drafts) = drafted(&mut batch, &requests, &drafts);
    assert_eq!(claims, expected);
    assert!(with_drafts < steps / 2, "{with_drafts} of {steps} steps");
    // Once more, with pages that were kept, and half of the requests without a draft.
    let some: Vec<_> =
        drafts.iter().enumerate().map(|(i, draft)| if i % 2 == 0 { draft.clone() } else { vec![] }).collect();
    assert_eq!(drafted(&mut batch, &requests, &some).0, expected);
}

#[test]
fn a_draft_that_breaks_a_shape_is_left() {
    let (model, tokenizer) = load();
    let shape = Shape::Schema(json!({"type": "object", "properties": {"up": {"type": "boolean"}},
        "required": ["up"], "additionalProperties": false}));
    let requests = [shaped(&tokenizer, 3, shape)];
    let mut batch = Batch::new(&model, &tokenizer, engine(1), Bounds { pages: 200, ..BOUNDS });
    let (expected, _) = drafted(&mut batch, &requests, &[vec![]]);
    let draft = expected[0].tokens.clone();
    let (claims, steps) = drafted(&mut batch, &requests, std::slice::from_ref(&draft));
    assert_eq!(claims, expected);
    assert_eq!(steps, 1, "{} tokens", draft.len());
    let mut wrong = draft;
    wrong[1] = 300;
    assert_eq!(drafted(&mut batch, &requests, &[wrong]).0, expected);
}

#[test]
fn stop_strings_and_end_tokens_end_an_answer() {
    let (model, tokenizer) = load();
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let free = request(&tokenizer, "the", 1, 40);
    let (text, claim, _) = answers(&mut batch, std::slice::from_ref(&free)).remove(0);
    let middle: String = text.chars().skip(4).take(2).collect();
    assert_eq!(middle.chars().count(), 2, "{text:?}");
    let stopped = Request { stops: vec![middle.clone()], ..free.clone() };
    let (short, end, _) = answers(&mut batch, std::slice::from_ref(&stopped)).remove(0);
    assert_eq!(end.finish, Finish::Stop);
    assert_eq!(short, text[..text.find(&middle).unwrap()]);
    assert_eq!(end.tokens, claim.tokens[..end.tokens.len()]);
    assert_eq!(check(&mut engine(1), &model, &tokenizer, &stopped, &end).unwrap(), Finding::Right);
    // The token that ends answers, made certain.
    let sampling = Sampling { logit_bias: vec![(2, 1_000.0)], ..free.sampling.clone() };
    let ended = Request { sampling, ..free };
    let (text, claim, usage) = answers(&mut batch, std::slice::from_ref(&ended)).remove(0);
    assert_eq!((text.as_str(), claim.tokens.as_slice(), claim.finish), ("", &[2][..], Finish::Stop));
    assert_eq!(usage.answer, 1);
    let (_, claim, _) =
        answers(&mut batch, &[Request { ignores_end: true, most_tokens: 3, ..ended }]).remove(0);
    assert_eq!((claim.tokens.as_slice(), claim.finish), (&[2, 2, 2][..], Finish::Length));
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let (model, tokenizer) = load();
    let mut batch = Batch::new(&model, &tokenizer, engine(1), Bounds { pages: 6, ..BOUNDS });
    let of = |prompt: Vec<u32>, most_tokens: usize| Request { prompt, most_tokens, ..Request::default() };
    assert_eq!(batch.join(of(vec![], 1)), Err(JoinError::Empty));
    assert_eq!(batch.join(of(vec![512], 1)), Err(JoinError::Token { token: 512 }));
    assert_eq!(batch.join(of(vec![1; 512], 1)), Err(JoinError::TooLong { tokens: 512, context: 512 }));
    assert_eq!(batch.join(of(vec![1], 100)), Err(JoinError::TooLarge { pages: 7 }));
    let first = batch.join(of(vec![1; 20], 60)).unwrap();
    assert_eq!(batch.join(of(vec![1], 20)), Err(JoinError::Full));
    batch.step().unwrap();
    batch.leave(first);
    assert!(batch.is_empty());
    assert_eq!(batch.step().unwrap(), []);
    assert!(batch.join(of(vec![1], 20)).is_ok());
}

#[test]
fn a_full_context_ends_an_answer() {
    let (model, tokenizer) = load();
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let request = Request { prompt: vec![7; 508], most_tokens: 100, ignores_end: true, ..Request::default() };
    let (_, claim, _) = answers(&mut batch, std::slice::from_ref(&request)).remove(0);
    assert_eq!((claim.tokens.len(), claim.finish), (4, Finish::Length));
    assert_eq!(check(&mut engine(1), &model, &tokenizer, &request, &claim).unwrap(), Finding::Right);
}

fn shaped(tokenizer: &Tokenizer, seed: u64, shape: Shape) -> Request {
    Request { shape: Some(shape), ..request(tokenizer, "the other", seed, 400) }
}

#[test]
fn answers_have_the_shape_that_was_asked_for() {
    let (model, tokenizer) = load();
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "is_open": {"type": "boolean"}, "kind": {"enum": [1, 2]}},
        "required": ["name", "is_open", "kind"],
        "additionalProperties": false,
    });
    let parameters = json!({"type": "object", "properties": {"up": {"type": "boolean"}}, "required": ["up"],
        "additionalProperties": false});
    let tools = vec![Tool { name: "move_gate".into(), parameters }];
    let calls = Shape::Calls(Calls { tools, required: true, parallel: false });
    let requests: Vec<Request> = (0..4)
        .map(|seed| shaped(&tokenizer, seed, Shape::Schema(schema.clone())))
        .chain([shaped(&tokenizer, 9, calls)])
        .collect();
    let mut batch = Batch::new(&model, &tokenizer, engine(2), Bounds { pages: 200, ..BOUNDS });
    let together = answers(&mut batch, &requests);
    let mut checker = engine(1);
    for (request, (text, claim, _)) in requests.iter().zip(&together) {
        assert_eq!(claim.finish, Finish::Stop, "{text}");
        assert_eq!(check(&mut checker, &model, &tokenizer, request, claim).unwrap(), Finding::Right);
        // Free of its shape, the same seed draws other tokens.
        let free = Request { shape: None, ..request.clone() };
        assert!(matches!(
            check(&mut checker, &model, &tokenizer, &free, claim).unwrap(),
            Finding::Token { .. } | Finding::Finish { .. }
        ));
    }
    for (text, ..) in &together[..4] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 3, "{text}");
        assert!(
            value["name"].as_str().unwrap().chars().count() <= 8 && value["is_open"].is_boolean(),
            "{text}"
        );
        assert!(value["kind"] == 1 || value["kind"] == 2, "{text}");
    }
    let call = &together[4].0;
    let call =
        call.strip_prefix("<tool_call>\n").and_then(|call| call.strip_suffix("\n</tool_call>")).unwrap();
    let call: serde_json::Value = serde_json::from_str(call).unwrap();
    assert_eq!(call["name"], "move_gate");
    assert!(call["arguments"]["up"].is_boolean());
}

#[test]
fn a_shape_that_cannot_be_used_is_refused() {
    let (model, tokenizer) = load();
    let mut batch = Batch::new(&model, &tokenizer, engine(1), BOUNDS);
    let wrong = shaped(&tokenizer, 1, Shape::Schema(json!({"type": "tide"})));
    assert!(matches!(batch.join(wrong), Err(JoinError::Grammar(_))));
    assert!(batch.is_empty());
}
