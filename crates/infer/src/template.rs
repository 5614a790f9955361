//! Chat templates: from messages to a prompt, as a model's file says.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use thiserror::Error as ThisError;

/// Steps of a template: some hundred messages take some thousand.
const FUEL: u64 = 5_000_000;

/// A template that is longer says nothing that a model was trained with.
const LONGEST: usize = 1 << 20;

/// Why a template makes no prompt.
#[derive(Debug, ThisError)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("the model's chat template is wrong: {0}")]
    Syntax(String),
    /// It refuses these messages, or fails on them.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
}

/// The day of a request, which templates may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// From 1 to 12.
    pub month: u8,
    /// From 1 to 31.
    pub day: u8,
}

/// What a template is given beside messages.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// Tools, as OpenAI's API has them; null for none.
    pub tools: &'a serde_json::Value,
    /// The beginning of an answer is to be added.
    pub begins_answer: bool,
    /// The text of the token that begins a text.
    pub begin: &'a str,
    /// The text of the token that ends one.
    pub end: &'a str,
    /// The day of the request: the answer must not depend on the clock of whoever computes it.
    pub date: Date,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate(String);

impl ChatTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// It is not one.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        if source.len() > LONGEST {
            return Err(TemplateError::Syntax(format!("it has more than {LONGEST} bytes")));
        }
        let environment = Environment::new();
        environment.template_from_str(source).map_err(|error| TemplateError::Syntax(words(&error)))?;
        Ok(Self(source.to_owned()))
    }

    /// The prompt of messages, each an object with `role` and `content`.
    ///
    /// # Errors
    ///
    /// The template refuses them.
    pub fn render(
        &self,
        messages: &serde_json::Value,
        setting: &Setting<'_>,
    ) -> Result<String, TemplateError> {
        let mut environment = Environment::new();
        // As in Python's transformers, for which templates are written.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Syntax(words(&error)))?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        let date = setting.date;
        environment.add_function("strftime_now", move |format: String| date.format(&format));
        let context = Context {
            messages,
            tools: setting.tools,
            add_generation_prompt: setting.begins_answer,
            bos_token: setting.begin,
            eos_token: setting.end,
        };
        let template = environment.template_from_str(&self.0);
        let template = template.map_err(|error| TemplateError::Syntax(words(&error)))?;
        template.render(Serde(&context)).map_err(|error| TemplateError::Refused(words(&error)))
    }
}

#[derive(Serialize)]
struct Context<'a> {
    messages: &'a serde_json::Value,
    tools: &'a serde_json::Value,
    add_generation_prompt: bool,
    bos_token: &'a str,
    eos_token: &'a str,
}

fn words(error: &Error) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned)
}

impl Date {
    /// The date of a day, counted from the first of 1970.
    pub fn of_day(day: u64) -> Self {
        // Years that begin in March, in eras of 400 years: Howard Hinnant's `civil_from_days`.
        const DAYS_OF_ERA: u64 = 146_097;
        let day = day.min(10_000_000) + 719_468;
        let (era, of_era) = (day / DAYS_OF_ERA, day % DAYS_OF_ERA);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { year: year as u16, month: month as u8, day: (of_year - (153 * from_march + 2) / 5 + 1) as u8 }
    }

    fn format(self, format: &str) -> Result<String, Error> {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let month = MONTHS[usize::from(self.month.clamp(1, 12)) - 1];
        let mut out = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                out.push(letter);
                continue;
            }
            match letters.next() {
                Some('Y') => out.push_str(&format!("{:04}", self.year)),
                Some('m') => out.push_str(&format!("{:02}", self.month)),
                Some('d') => out.push_str(&format!("{:02}", self.day)),
                Some('b') => out.push_str(&month[..3]),
                Some('B') => out.push_str(month),
                // A request has a day, no hour.
                Some('H' | 'M' | 'S') => out.push_str("00"),
                Some('%') => out.push('%'),
                other => {
                    let message =
                        format!("strftime_now does not know %{}", other.map_or(String::new(), String::from));
                    return Err(Error::new(ErrorKind::InvalidOperation, message));
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str, messages: &serde_json::Value) -> Result<String, String> {
        let setting = Setting {
            tools: &serde_json::Value::Null,
            begins_answer: true,
            begin: "<s>",
            end: "</s>",
            date: Date { year: 2026, month: 3, day: 9 },
        };
        let template = ChatTemplate::new(template).map_err(|error| error.to_string())?;
        template.render(messages, &setting).map_err(|error| error.to_string())
    }

    #[test]
    fn blocks_leave_no_lines() {
        let template = "{{ bos_token }}{% for m in messages %}\n  {% if m.role == 'user' %}\nU: {{ m['content'].strip() }}\n  \
                        {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}\nA:{% endif %}";
        let messages = json!([{"role": "user", "content": " hi "}, {"role": "assistant", "content": "x"}]);
        assert_eq!(render(template, &messages).unwrap(), "<s>U: hi\nA:");
    }

    #[test]
    fn dates_come_from_the_request() {
        assert_eq!(
            render("{{ strftime_now('%d %b %Y, %B %m') }}", &json!([])).unwrap(),
            "09 Mar 2026, March 03"
        );
        assert!(render("{{ strftime_now('%q') }}", &json!([])).unwrap_err().contains("does not know %q"));
    }

    #[test]
    fn days_have_dates() {
        let date = |day| {
            let Date { year, month, day } = Date::of_day(day);
            (year, month, day)
        };
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_787), (2026, 11, 30));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
        assert_eq!(date(u64::MAX).0, 29_349);
    }

    #[test]
    fn templates_refuse_in_their_words() {
        let error = render("{{ raise_exception('roles must alternate') }}", &json!([])).unwrap_err();
        assert_eq!(error, "the model's chat template refuses these messages: roles must alternate");
        assert!(render("{% for %}", &json!([])).unwrap_err().contains("template is wrong"));
    }

    #[test]
    fn endless_templates_end() {
        let template =
            "{% for a in range(10000) %}{% for b in range(10000) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(render(template, &json!([])).is_err());
    }
}
