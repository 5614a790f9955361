//! Which task of a job a person means.

use std::{convert::Infallible, str::FromStr};

use tidemill_net::wire::JobReport;
use tidemill_types::{GuestPath, TaskNumber, one_line};

use super::Requester;
use crate::exit::{Code, Exit};

/// So many tasks of one label are told apart by their numbers; more are not looked for.
const MOST_NAMED: usize = 8;

/// A task, as people name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskName {
    /// By its number, also as it stands in an output's paths: `12`, `tasks/12`.
    Number(TaskNumber),
    /// As `tidemill status JOB --tasks` calls it, or as it stands in an output's paths: `reduce`, `sample.fa`, `value 7`,
    /// `tasks/sample.fa`.
    Label(String),
}

impl FromStr for TaskName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let number = text.strip_prefix("tasks/").unwrap_or(text).trim_end_matches('/');
        Ok(match number.parse() {
            Ok(number) => Self::Number(TaskNumber(number)),
            Err(_) => Self::Label(text.to_owned()),
        })
    }
}

impl Requester {
    /// The number of the task that a person means.
    ///
    /// # Errors
    /// With [`Code::Usage`] when no task of the job has this label, or several have; as [`Self::call`].
    pub async fn find_task(&mut self, report: &JobReport, task: &TaskName) -> anyhow::Result<TaskNumber> {
        let label = match task {
            TaskName::Number(number) => return Ok(*number),
            TaskName::Label(label) => label,
        };
        if let Some(reduce) = last_reduce(report, label) {
            return Ok(reduce);
        }
        let mut found = Vec::new();
        self.tasks(report, |task| {
            let is_named =
                task.label == *label || task.file.as_ref().is_some_and(|file| is_directory(label, file));
            if is_named && found.len() <= MOST_NAMED {
                found.push(task.task);
            }
            Ok(())
        })
        .await?;
        only(label, &found).map_err(Into::into)
    }
}

/// Whether a text is the directory of a file's output.
fn is_directory(text: &str, file: &GuestPath) -> bool {
    text.strip_prefix("tasks/").is_some_and(|path| path.trim_end_matches('/') == file.as_str())
}

/// The task that makes a job's output out of all others, under the names that people have for it.
fn last_reduce(report: &JobReport, label: &str) -> Option<TaskNumber> {
    let is_named = matches!(label, "reduce" | "last reduce") && report.tasks > report.map_tasks;
    is_named.then(|| TaskNumber(report.tasks - 1))
}

/// The only task that was found by a label.
fn only(label: &str, found: &[TaskNumber]) -> Result<TaskNumber, Exit> {
    let label = one_line(label, 80);
    match found {
        [task] => Ok(*task),
        [] => Err(Exit::new(Code::Usage, format!("the job has no task {label:?}"))
            .hint("give a task's number, like 12, or its name; `tidemill status JOB --tasks` lists both")),
        several => {
            let numbers: Vec<_> = several.iter().take(MOST_NAMED).map(ToString::to_string).collect();
            let more = if several.len() > MOST_NAMED { " and more" } else { "" };
            let message = format!("several tasks are called {label:?}: {}{more}", numbers.join(", "));
            Err(Exit::new(Code::Usage, message).hint("give the number of one"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TaskName {
        text.parse().unwrap_or_else(|never| match never {})
    }

    #[test]
    fn a_task_has_a_number_or_a_label() {
        for text in ["12", "tasks/12", "tasks/12/", "tasks/000012"] {
            assert_eq!(name(text), TaskName::Number(TaskNumber(12)), "{text}");
        }
        for text in ["reduce", "sample.fa", "value 7", "-1", "", "tasks/a"] {
            assert_eq!(name(text), TaskName::Label(text.to_owned()));
        }
    }

    #[test]
    fn a_file_is_meant_by_the_directory_of_its_output() {
        let file = GuestPath::new("liver/reads.fq").expect("a path");
        for (text, is_its) in [
            ("tasks/liver/reads.fq", true),
            ("tasks/liver/reads.fq/", true),
            ("tasks/reads.fq", false),
            ("tasks/", false),
        ] {
            assert_eq!(is_directory(text, &file), is_its, "{text}");
        }
    }

    #[test]
    fn a_label_means_one_task() {
        let task = TaskNumber;
        let said = |found: &[TaskNumber]| only("a.fa", found).map_err(|error| error.to_string());
        assert_eq!(said(&[task(3)]), Ok(task(3)));
        assert_eq!(said(&[]), Err("the job has no task \"a.fa\"".to_owned()));
        let several = Err("several tasks are called \"a.fa\": 3, 7".to_owned());
        assert_eq!(said(&[task(3), task(7)]), several);
        let many: Vec<_> = (0..9).map(task).collect();
        assert!(said(&many).is_err_and(|message| message.ends_with("6, 7 and more")));
    }
}
