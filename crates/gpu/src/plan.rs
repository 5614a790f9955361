//! What a program of several dispatches does with which memory, before anything is compiled.
//!
//! A plan is the same for all tasks of a job. Where tasks differ, its texts hold `$1`, `$2` and so on, which stand for the
//! arguments of a task; `$$` stands for a dollar sign.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mistake::Mistake;

/// WebGPU's default for the workgroups of a dispatch, in each dimension.
pub const MOST_GROUPS: u64 = 65_535;

/// WebGPU's default for a storage buffer, in bytes.
pub const MOST_STORAGE: u64 = 128 << 20;

/// WebGPU's default for a uniform buffer, in bytes.
pub const MOST_UNIFORM: u64 = 64 << 10;

/// How many storage buffers a dispatch may use: WebGPU's default, less the meter's.
pub const MOST_STORAGE_BUFFERS: usize = 7;

/// WebGPU's default for the uniform buffers that a dispatch may use.
pub const MOST_UNIFORM_BUFFERS: usize = 12;

/// How many dispatches a program may have, repeated ones counted: each takes a device tens of microseconds.
pub const MOST_DISPATCHES: u64 = 1 << 20;

/// How many buffers, and how many passes, a plan may name.
pub const MOST_NAMED: usize = 256;

/// What a program does: buffers, and steps that run one after another.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The memory of the program, each by its name.
    #[serde(rename = "buffer")]
    pub buffers: BTreeMap<String, Buffer>,
    /// What is done, in order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// A piece of memory that lives as long as the task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Buffer {
    /// What it holds at the start.
    pub start: Start,
    /// The file that gets what it holds at the end.
    pub output: Option<String>,
}

/// What a buffer holds at the start.
#[derive(Clone, PartialEq, Debug)]
pub enum Start {
    /// A file of the task, whose length is a multiple of 4 bytes.
    Input(String),
    /// Numbers with their types as in WGSL, such as `3u -4i 0.5f`, 4 bytes each.
    Values(String),
    /// Zeros, of so many bytes: a multiple of 4.
    Bytes(Count),
}

/// A number, or a text that is one once a task's arguments are put into it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// The number.
    Is(u64),
    /// The text.
    Says(String),
}

/// A buffer as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

/// Dispatches that run one after another, as often as is said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How often.
    #[serde(default = "one")]
    pub repeat: Count,
    /// What is run.
    #[serde(rename = "pass")]
    pub passes: Vec<Pass>,
    /// Pairs of buffers of one size that change places after each time, so that the next reads what this one wrote.
    #[serde(default)]
    pub swap: Vec<(String, String)>,
}

/// One dispatch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// The entry point.
    pub entry: String,
    /// How many workgroups, in each dimension.
    pub groups: [Count; 3],
    /// Values of overrides, by name or number.
    #[serde(default)]
    pub overrides: BTreeMap<String, f64>,
    /// Which buffer a variable of the module stands for. One that is not named here stands for the buffer of its own name.
    #[serde(default)]
    pub bind: BTreeMap<String, String>,
}

fn one() -> Count {
    Count::Is(1)
}

impl TryFrom<Written> for Buffer {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { input, values, bytes, output } = written;
        let starts = [input.map(Start::Input), values.map(Start::Values), bytes.map(Start::Bytes)];
        let mut starts = starts.into_iter().flatten();
        match (starts.next(), starts.next()) {
            (Some(start), None) => Ok(Self { start, output }),
            _ => Err("a buffer has one of `input`, `values` and `bytes`"),
        }
    }
}

impl From<Buffer> for Written {
    fn from(buffer: Buffer) -> Self {
        let mut written = Self { input: None, values: None, bytes: None, output: buffer.output };
        match buffer.start {
            Start::Input(input) => written.input = Some(input),
            Start::Values(values) => written.values = Some(values),
            Start::Bytes(bytes) => written.bytes = Some(bytes),
        }
        written
    }
}

impl Plan {
    /// Whether tasks can differ by their arguments.
    pub fn uses_arguments(&self) -> bool {
        let texts = self.buffers.values().flat_map(|buffer| {
            let start = match &buffer.start {
                Start::Input(text) | Start::Values(text) => Some(text),
                Start::Bytes(count) => count.text(),
            };
            start.into_iter().chain(&buffer.output)
        });
        let counts = self.steps.iter().flat_map(|step| {
            let groups = step.passes.iter().flat_map(|pass| &pass.groups);
            groups.chain([&step.repeat]).filter_map(Count::text)
        });
        texts.chain(counts).any(|text| text.replace("$$", "").contains('$'))
    }
}

impl Count {
    fn text(&self) -> Option<&String> {
        match self {
            Self::Is(_) => None,
            Self::Says(text) => Some(text),
        }
    }

    /// The number, for a task with these arguments.
    pub(crate) fn of(&self, args: &[String]) -> Result<u64, Mistake> {
        match self {
            Self::Is(number) => Ok(*number),
            Self::Says(text) => {
                let filled = fill(text, args)?;
                let number = filled.trim().parse();
                number.map_err(|_| Mistake::Plan(format!("{filled:?} is not a whole number")))
            }
        }
    }
}

impl From<u64> for Count {
    fn from(number: u64) -> Self {
        Self::Is(number)
    }
}

/// The text with a task's arguments in it.
pub(crate) fn fill(text: &str, args: &[String]) -> Result<String, Mistake> {
    let wrong = |message: String| Err(Mistake::Plan(message));
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
            continue;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: Option<usize> = rest[..digits].parse().ok();
        rest = &rest[digits..];
        match number.map(|number| (number, number.checked_sub(1).and_then(|at| args.get(at)))) {
            Some((_, Some(argument))) => filled.push_str(argument),
            Some((number, None)) => {
                return wrong(format!("the plan uses the argument ${number}; the task has {}", args.len()));
            }
            None => return wrong(format!("in {text:?} a number is missing after $; $$ is a dollar sign")),
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The words of numbers with types.
pub(crate) fn values(text: &str) -> Result<Vec<u32>, Mistake> {
    let words = text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            value(word).ok_or_else(|| {
                Mistake::Plan(format!("{word:?} is not a number with a type, such as 3u, -4i, 0x1fu or 0.5f"))
            })
        })
        .collect()
}

fn value(word: &str) -> Option<u32> {
    let (digits, kind) = word.split_at_checked(word.len() - 1)?;
    let hexadecimal = digits.strip_prefix("0x");
    match (kind, hexadecimal) {
        ("u", None) => digits.parse().ok(),
        ("u", Some(digits)) => u32::from_str_radix(digits, 16).ok(),
        ("i", None) => digits.parse().ok().map(i32::cast_unsigned),
        ("f", None) => digits.parse().ok().filter(|value: &f32| value.is_finite()).map(f32::to_bits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn arguments_stand_where_the_plan_says() {
        let args = args(&["7", "b"]);
        assert_eq!(fill("$1u $2/$1$$", &args).as_deref(), Ok("7u b/7$"));
        assert_eq!(Count::Says("$1".into()).of(&args), Ok(7));
        for (text, says) in [
            ("$3", "argument $3; the task has 2"),
            ("$0", "argument $0"),
            ("a $", "missing after $"),
            ("$99999999999999999999", "missing after $"),
        ] {
            let mistake = fill(text, &args).expect_err(text).to_string();
            assert!(mistake.contains(says), "{mistake}");
        }
        assert!(Count::Says("$2".into()).of(&args).is_err());
    }

    #[test]
    fn values_have_types() {
        assert_eq!(values("3u,-1i\n 0x1fu 0.5f").as_deref(), Ok(&[3, u32::MAX, 31, 0x3f00_0000][..]));
        for wrong in ["3", "u", "4294967296u", "-1u", "0x1f", "nanf", "inff", "é", "1.5u"] {
            assert!(values(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plan_that_is_written_is_read_again() {
        let text = r#"{"buffer":{"a":{"bytes":"$1"},"b":{"input":"x","output":"y"},"c":{"values":"1u"}},
            "step":[{"pass":[{"entry":"main","groups":[1,"2",3]}]}]}"#;
        let plan: Plan = serde_json::from_str(text).expect("it is a plan");
        assert!(plan.uses_arguments());
        let again = serde_json::to_string(&plan).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Plan>(&again).expect("it is a plan"), plan);
        let fixed: Plan = serde_json::from_str(&text.replace("$1", "$$")).expect("it is a plan");
        assert!(!fixed.uses_arguments());
        for wrong in [r#"{"bytes":4,"values":"1u"}"#, "{}", r#"{"bytes":4,"outputs":"a"}"#] {
            assert!(serde_json::from_str::<Buffer>(wrong).is_err(), "{wrong}");
        }
    }
}
