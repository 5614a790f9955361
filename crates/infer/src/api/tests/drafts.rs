//! Answers that are computed again from what somebody says their tokens are.

use std::cell::Cell;

use super::*;

/// Lines of all sorts: several choices, a schema, a wrong one, one that ends at once.
fn input() -> String {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "gate", "schema": {"type": "object",
        "properties": {"up": {"type": "boolean"}}, "required": ["up"], "additionalProperties": false}}});
    [
        line("a", CHAT, &chat(json!({"max_tokens": 40, "n": 3}))),
        line("b", CHAT, &chat(json!({"max_tokens": 100, "response_format": schema}))),
        line("c", CHAT, &chat(json!({"max_tokens": 0}))),
        line(
            "d",
            COMPLETION,
            &json!({"model": "tiny", "prompt": ["the", "and"], "max_tokens": 30, "logprobs": 2}),
        ),
        line(
            "e",
            COMPLETION,
            &json!({"model": "tiny", "prompt": "the", "max_tokens": 3, "logit_bias": {"2": 100}}),
        ),
    ]
    .join("\n")
}

/// The lines of an output, and the number of steps.
fn again(decoder: &Decoder, drafts: &Drafts) -> (Vec<Answered>, u32) {
    let steps = Cell::new(0);
    let stop = || {
        steps.set(steps.get() + 1);
        false
    };
    let engine = Engine::new(InstructionSet::best(), 1);
    let bounds = Bounds { tokens_per_step: 512, ..BOUNDS };
    let answered = answer_lines_again(&decoder.served(), engine, bounds, SETTING, &input(), drafts, &stop);
    (answered.expect("nobody stops it"), steps.get())
}

#[test]
fn right_drafts_give_the_same_answers_sooner() {
    let decoder = Decoder::new();
    let (answered, steps) = again(&decoder, &Drafts::default());
    let drafts = Drafts::read(&Drafts::of(&answered).to_lines());
    assert_eq!(drafts, Drafts::of(&answered));
    let (checked, with_drafts) = again(&decoder, &drafts);
    // How much of a prompt was cached depends on what is computed when.
    for (checked, answered) in checked.iter().zip(&answered) {
        assert_eq!((&checked.line, &checked.claims), (&answered.line, &answered.claims));
        assert_eq!(checked.usage.answer, answered.usage.answer);
    }
    assert!(steps > 40 && with_drafts <= 12, "{with_drafts} of {steps} steps");
}

#[test]
fn no_draft_changes_an_answer() {
    let decoder = Decoder::new();
    let (answered, _) = again(&decoder, &Drafts::default());
    let lines = Drafts::of(&answered).to_lines();
    for wrong in [
        lines.replace('1', "2"),
        lines.replace(",", ",4,"),
        lines.lines().rev().collect::<Vec<_>>().join("\n"),
        "[[4294967295]]\n[[\n{}\n[[-1]]\n[[1,\"x\"]]".to_owned(),
        "no JSON".to_owned(),
        String::new(),
    ] {
        let (checked, _) = again(&decoder, &Drafts::read(&wrong));
        for (checked, answered) in checked.iter().zip(&answered) {
            assert_eq!((&checked.line, &checked.claims), (&answered.line, &answered.claims), "{wrong}");
        }
    }
}

/// Who has only been told the tokens cannot say what was computed on the way to them.
#[test]
fn a_draft_has_tokens_alone() {
    let decoder = Decoder::new();
    let (answered, _) = again(&decoder, &Drafts::default());
    let drafts = Drafts::of(&answered).to_lines();
    let lines: Vec<Vec<Vec<u32>>> = drafts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let claimed = answered.iter().map(|answered| answered.claims.iter().map(|claim| claim.tokens.clone()));
    assert_eq!(lines, claimed.map(Iterator::collect::<Vec<_>>).collect::<Vec<_>>());
    assert_eq!((lines.len(), lines[0].len(), lines[2].len()), (5, 3, 0));
}
