//! How a job ended: the reason, then what to do.

use maud::{Markup, html};
use tidemill_net::wire::{JobPhase, JobReport};
use tidemill_types::one_line;

use crate::words::{State, count, icon, moment, pill, plural};

/// The state of a whole job.
pub fn phase_pill(phase: &JobPhase) -> Markup {
    let (state, word) = state(phase);
    pill(state, word)
}

fn state(phase: &JobPhase) -> (State, &'static str) {
    match phase {
        JobPhase::Running => (State::Run, "Running"),
        JobPhase::Done => (State::Done, "Done"),
        JobPhase::Failed { .. } => (State::Bad, "Failed"),
        JobPhase::Cancelled => (State::Away, "Cancelled"),
        JobPhase::Deadline => (State::Bad, "Deadline passed"),
        JobPhase::EscrowEnded => (State::Bad, "Escrow ended"),
        JobPhase::Undecided { .. } => (State::Unsure, "Undecided"),
    }
}

/// Why a job ended, and the ways on.
#[derive(PartialEq, Eq, Debug)]
pub struct Ending {
    state: State,
    head: String,
    why: String,
    /// What to do, and the command or the lines of the job file that do it.
    ways: Vec<(&'static str, String)>,
}

/// Why a job ended; nothing while it runs.
pub fn ending(job: &JobReport) -> Option<Ending> {
    let (state, _) = state(&job.phase);
    let short = job.job.short();
    let kept = match job.done {
        0 => "No task was accepted.".to_owned(),
        done => format!("{} of {} were accepted.", count(done), plural(job.tasks, "task")),
    };
    let undecided = || {
        vec![
            (
                "Let a machine that you trust decide, in the job file:",
                "[policy]\ntrusted = [\"OPERATOR\"]".to_owned(),
            ),
            ("Or see who said what:", format!("tidemill explain {short} TASK")),
        ]
    };
    let (head, why, ways) = match &job.phase {
        JobPhase::Running => return None,
        JobPhase::Done => (
            format!("Done: {}", plural(job.tasks, "task")),
            "Every task has an accepted result.".to_owned(),
            vec![("Put its output into a directory:", format!("tidemill fetch {short}"))],
        ),
        JobPhase::Failed { task, label, failure, attempts } => (
            format!("Failed: {}", one_line(label, 80)),
            format!(
                "{}, in {}. {} {kept}",
                one_line(&failure.to_string(), 400),
                plural(u64::from(*attempts), "attempt"),
                one_line(&sentence(failure.hint()), 400),
            ),
            vec![("See what the program wrote:", format!("tidemill logs {short} {task}"))],
        ),
        JobPhase::Cancelled => (
            "Cancelled".to_owned(),
            format!("Its requester ended it. {kept}"),
            vec![(
                "Submit it again; what was accepted is not computed again where it is still kept:",
                "tidemill submit JOB.TOML".to_owned(),
            )],
        ),
        JobPhase::Deadline => (
            "The deadline passed".to_owned(),
            format!("{kept} The others were not in time."),
            vec![("Give it longer, in the job file:", "[policy]\ndeadline = \"6h\"".to_owned())],
        ),
        JobPhase::EscrowEnded => (
            "Its escrow ended".to_owned(),
            format!("The escrow that paid for it ended first. {kept} What was done is paid."),
            vec![("Submit it again, out of a new escrow:", "tidemill submit JOB.TOML".to_owned())],
        ),
        JobPhase::Undecided { tasks, label, .. } => (
            format!("Undecided: {} of {}", count(*tasks), plural(job.tasks, "task")),
            format!(
                "No answer to {} has enough votes for what the job asks ({}), and nobody is left to ask. {kept}",
                one_line(label, 80),
                job.reliability.asked
            ),
            undecided(),
        ),
    };
    Some(Ending { state, head, why, ways })
}

/// The same with a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str().trim_end_matches('.')),
        None => String::new(),
    }
}

impl Ending {
    /// As it is shown.
    pub fn card(&self, ended_ms: Option<u64>) -> Markup {
        html! {
            section.card.ends aria-label="How it ended" {
                div.in {
                    div.end class=(self.state.class()) {
                        (icon(self.state))
                        div {
                            h3 { (self.head) @if let Some(ended) = ended_ms { span { (moment(ended)) } } }
                            p { (self.why) }
                        }
                        ul {
                            @for (words, command) in &self.ways {
                                li { span { (words) } code.cmd tabindex="0" { (command) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::{Failure, TaskNumber};

    use super::*;
    use crate::job::tests::report;

    #[test]
    fn every_end_has_a_reason_and_a_way_on() {
        let phases = [
            JobPhase::Done,
            JobPhase::Failed {
                task: TaskNumber(3),
                label: "tasks/3".to_owned(),
                failure: Failure::Cancelled,
                attempts: 2,
            },
            JobPhase::Cancelled,
            JobPhase::Deadline,
            JobPhase::EscrowEnded,
            JobPhase::Undecided { tasks: 3, first: TaskNumber(1), label: "tasks/1".to_owned() },
        ];
        for phase in phases {
            let ending = ending(&report(phase.clone())).expect("it has ended");
            assert!(!ending.why.is_empty() && !ending.ways.is_empty(), "{phase:?}");
            assert!(ending.card(Some(0)).into_string().contains("1 January 1970"));
        }
        assert_eq!(ending(&report(JobPhase::Running)), None);
        assert_eq!(sentence("raise the limit"), "Raise the limit.");
    }
}
