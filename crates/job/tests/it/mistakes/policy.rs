//! What a job asks of its results.

use super::said_after;

#[test]
fn a_policy_is_checked_and_what_is_not_honoured_is_refused() {
    let right = "[policy]\nmax_price = \"1.5 TIDE\"\nassurance = \"none\"\nregions = [\"eu\"]";
    assert_eq!(said_after(right), ["7:1: `regions` is not supported yet; remove it to run the job"]);
    let wrong = "[policy]\nmax_price = \"1.5\"\nassurance = \"some\"\nquorum = 0\nregions = [\"EU\", 1]";
    assert_eq!(
        said_after(wrong),
        [
            r#"5:13: "1.5" is not an amount of TIDE; expected an amount like "1.5 TIDE""#,
            r#"6:13: `assurance` is "some"; expected "none", "trusted", or a whole number n from 2 to 1000000000: wrong at most once in n results"#,
            "7:1: `quorum` without `replicate`; expected `replicate` beside it: how many results are asked for at most",
            "7:10: `quorum` is 0; expected a whole number from 2 to 100",
            r#"8:12: "EU" is not a region; expected a list of names of lower-case letters, digits and hyphens, like ["eu"]"#,
            r#"8:18: `regions[1]` is a whole number; expected a list of names of lower-case letters, digits and hyphens, like ["eu"]"#
        ]
    );
}

#[test]
fn a_job_is_relied_on_in_one_way() {
    let assurance = r#"expected "none", "trusted", or a whole number n from 2 to 1000000000: wrong at most once in n results"#;
    let whole = |from: u32, to: u32| format!("expected a whole number from {from} to {to}");
    for (policy, expected) in [
        ("assurance = 1", vec![format!("5:13: `assurance` is 1; {assurance}")]),
        ("assurance = 1_000_000_001", vec![format!("5:13: `assurance` is 1000000001; {assurance}")]),
        (
            "assurance = 99999999999999999999",
            vec![format!("5:13: `assurance` is 99999999999999999999; {assurance}")],
        ),
        ("assurance = -2", vec![format!("5:13: `assurance` is -2; {assurance}")]),
        ("assurance = 1e3", vec![format!("5:13: `assurance` is a number with a point; {assurance}")]),
        ("assurance = \"1000\"", vec![format!("5:13: `assurance` is \"1000\"; {assurance}")]),
        ("assurance = \"Trusted\"", vec![format!("5:13: `assurance` is \"Trusted\"; {assurance}")]),
        ("replicate = 1", vec![format!("5:13: `replicate` is 1; {}", whole(2, 100))]),
        ("replicate = 101", vec![format!("5:13: `replicate` is 101; {}", whole(2, 100))]),
        ("replicate = 3\nquorum = 1", vec![format!("6:10: `quorum` is 1; {}", whole(2, 3))]),
        ("quorum = 4\nreplicate = 3", vec![format!("5:10: `quorum` is 4; {}", whole(2, 3))]),
        (
            "replicate = 0\nquorum = 101",
            vec![
                format!("5:13: `replicate` is 0; {}", whole(2, 100)),
                format!("6:10: `quorum` is 101; {}", whole(2, 100)),
            ],
        ),
        (
            "assurance = 100\nreplicate = 3",
            vec!["6:1: `replicate` beside `assurance` in [policy]; say one of them".to_owned()],
        ),
        (
            "replicate = 1\nassurance = \"some\"",
            vec![
                format!("5:13: `replicate` is 1; {}", whole(2, 100)),
                "6:1: `assurance` beside `replicate` in [policy]; say one of them".to_owned(),
                format!("6:13: `assurance` is \"some\"; {assurance}"),
            ],
        ),
    ] {
        assert_eq!(said_after(&format!("[policy]\n{policy}")), expected);
    }
}

#[test]
fn outputs_are_compared_in_one_way() {
    const EXPECTED: &str = "expected \"exact\", or a table with the `program` that compares, or with what `numbers` the \
                            outputs have and by how much they may differ (`absolute`, `relative`)";
    const SHARE: &str = "expected a number from 0 on and below 1, like 1e-6";
    const LARGER: &str = "expected a larger `absolute` or `relative`, or compare = \"exact\"";
    for (compare, expected) in [
        ("\"about\"", vec![format!("5:11: `compare` is \"about\"; {EXPECTED}")]),
        ("1e-6", vec![format!("5:11: `compare` is a number with a point; {EXPECTED}")]),
        (
            "{}",
            vec!["5:11: `numbers` is missing in [policy.compare]; expected what numbers the outputs have, or a `program`"
                .to_owned()],
        ),
        (
            "{ numbers = \"f16\", absolute = -1 }",
            vec![
                "5:23: `numbers` is \"f16\"; allowed: \"u8\", \"f32\", \"f64\", \"text\"".to_owned(),
                "5:41: `absolute` is -1; expected a number from 0 on, like 1e-6".to_owned(),
            ],
        ),
        ("{ numbers = \"f32\", relative = 1 }", vec![format!("5:41: `relative` is 1; {SHARE}")]),
        ("{ numbers = \"f32\", relative = nan }", vec![format!("5:41: `relative` is nan; {SHARE}")]),
        ("{ numbers = \"f32\", relative = \"little\" }", vec![format!("5:41: `relative` is a string; {SHARE}")]),
        (
            "{ numbers = \"f32\", relative = 0 }",
            vec![format!("5:11: [policy.compare] lets floats of 32 bits differ by nothing; {LARGER}")],
        ),
        (
            "{ numbers = \"f64\", relative = 1e-300 }",
            vec![format!("5:11: [policy.compare] lets floats of 64 bits differ by nothing; {LARGER}")],
        ),
        (
            "{ numbers = \"u8\", absolute = 0.5 }",
            vec!["5:11: [policy.compare] lets bytes differ by nothing; expected `absolute` from 1 on, or `relative` from \
                  0.004 on, or compare = \"exact\""
                .to_owned()],
        ),
        (
            "{ numbers = \"u8\", absolute = 255 }",
            vec!["5:11: [policy.compare] lets bytes differ by more than they can; expected an `absolute` below that: every \
                  output would be the same as every other"
                .to_owned()],
        ),
        ("{ numbers = \"u8\", absolut = 1 }", vec![
            "5:29: unknown key `absolut` in [policy.compare]; did you mean `absolute`?".to_owned(),
        ]),
        (
            "{ program = \"c.wasm\", absolute = 1 }",
            vec!["5:33: `absolute` beside `program` in [policy.compare]; say one of them: the program decides alone"
                .to_owned()],
        ),
        ("{ program = 1 }", vec![
            "5:23: `program` is a whole number; expected the path of a file, relative to the job file".to_owned(),
        ]),
        ("{ numbers = \"f32\", absolute = 1, tolerance = 1 }", vec![
            "5:44: unknown key `tolerance` in [policy.compare]; allowed here: numbers, absolute, relative, program".to_owned(),
        ]),
    ] {
        assert_eq!(said_after(&format!("[policy]\ncompare = {compare}")), expected);
    }
}

#[test]
fn operators_are_named_once_by_their_accounts() {
    const EXPECTED: &str =
        "expected a list of operators' accounts, each 0x and 40 hexadecimal digits in quotes";
    let (a, upper) = (format!("0x{}", "ab".repeat(20)), format!("0x{}", "AB".repeat(20)));
    let many: Vec<_> = (0..101).map(|i| format!("\"0x{i:040x}\"")).collect();
    for (list, expected) in [
        ("[]".to_owned(), vec![format!("5:11: `trusted` is empty; {EXPECTED}")]),
        (format!("\"{a}\""), vec![format!("5:11: `trusted` is a string; {EXPECTED}")]),
        (
            format!("[1, \"0xab\", \"{a}\", \"{upper}\"]"),
            vec![
                format!("5:12: `trusted[0]` is a whole number; {EXPECTED}"),
                format!("5:15: \"0xab\" is not an account; {EXPECTED}"),
                "5:69: 0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB is there twice; expected each account once".to_owned(),
            ],
        ),
        (
            "[\"0x52908400098527886E0f7030069857D2E4169EE7\"]".to_owned(),
            vec!["5:12: \"0x52908400098527886E0f7030069857D2E4169EE7\" was mistyped; expected an account as it was told: its \
                  capital letters are a checksum"
                .to_owned()],
        ),
        (
            format!("[{}]", many.join(", ")),
            vec!["5:11: `trusted` has 101 elements; at most 100 are allowed".to_owned()],
        ),
    ] {
        assert_eq!(said_after(&format!("[policy]\ntrusted = {list}")), expected);
    }
}
