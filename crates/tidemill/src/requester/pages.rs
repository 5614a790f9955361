//! Outputs of a job, asked for a page at a time: the next page is on its way while one is looked at.

use std::collections::VecDeque;

use tidemill_net::{
    client::{CallError, Replies},
    wire::{MAX_ANSWER_OUTPUT_BYTES, MAX_PAGE, OutputPiece, Reply, Request},
};
use tidemill_types::{JobId, TaskNumber};

use super::{PATIENCE, Requester, off_the_protocol, refused};

/// Pages that are on their way at a time.
const IN_FLIGHT: usize = 2;

/// The outputs that are still to come, in the order of their tasks.
pub(super) struct Pages {
    job: JobId,
    pages: VecDeque<Page>,
}

/// Outputs that one answer holds.
struct Page {
    from: u64,
    count: u32,
    /// Once it was asked for.
    answer: Option<Replies>,
}

impl Pages {
    /// The pages of these outputs, from a task on, whose lengths are said to be these.
    pub(super) fn plan(job: JobId, first: TaskNumber, lens: &[u64]) -> Self {
        let mut pages: VecDeque<Page> = VecDeque::new();
        let mut bytes = 0;
        for (from, len) in (first.0..).zip(lens) {
            let more = OutputPiece::bytes_in_answer(*len);
            match pages.back_mut() {
                Some(page) if page.count < MAX_PAGE && bytes + more <= MAX_ANSWER_OUTPUT_BYTES => {
                    page.count += 1;
                    bytes += more;
                }
                _ => {
                    pages.push_back(Page { from, count: 1, answer: None });
                    bytes = more;
                }
            }
        }
        Self { job, pages }
    }

    /// Whether all of them have come.
    pub(super) fn is_done(&self) -> bool {
        self.pages.is_empty()
    }

    /// The next outputs, at least one; none when all have come, or when the coordinator has no more.
    ///
    /// # Errors
    /// As [`Requester::call`].
    pub(super) async fn next(&mut self, requester: &mut Requester) -> anyhow::Result<Vec<OutputPiece>> {
        loop {
            self.ask(requester).await;
            let Some(page) = self.pages.front_mut() else { return Ok(Vec::new()) };
            let answer = match &mut page.answer {
                Some(replies) => replies.next().await,
                None => Err(CallError::Lost),
            };
            match answer {
                Ok(Reply::Outputs(pieces)) => {
                    let expected = (page.from..).take(page.count as usize);
                    let right = pieces.iter().zip(expected).filter(|(piece, task)| piece.task.0 == *task);
                    if right.count() != pieces.len() {
                        return Err(off_the_protocol());
                    }
                    let found = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
                    if found == 0 {
                        // What comes after what is missing is of no use.
                        self.pages.clear();
                    } else if found == page.count {
                        self.pages.pop_front();
                    } else {
                        // The answer held fewer than it was said to hold.
                        *page = Page {
                            from: page.from + u64::from(found),
                            count: page.count - found,
                            answer: None,
                        };
                    }
                    // While this one is looked at.
                    self.ask(requester).await;
                    return Ok(pieces);
                }
                Ok(_) => return Err(off_the_protocol()),
                Err(CallError::Refused(refusal)) => return Err(refused(&refusal)),
                Err(CallError::Lost) => {
                    self.pages.iter_mut().for_each(|page| page.answer = None);
                    requester.reconnect(PATIENCE).await?;
                }
            }
        }
    }

    /// Asks for the next pages. One that could not be asked for is found to be lost when it is waited for.
    async fn ask(&mut self, requester: &Requester) {
        for page in self.pages.iter_mut().take(IN_FLIGHT).filter(|page| page.answer.is_none()) {
            let request = Request::Outputs { job: self.job, from: TaskNumber(page.from), limit: page.count };
            page.answer = requester.follow(request).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::MAX_INLINE_PIECE_BYTES;

    use super::*;

    fn planned(first: u64, lens: &[u64]) -> Vec<(u64, u32)> {
        let pages = Pages::plan(JobId([1; 16]), TaskNumber(first), lens);
        pages.pages.iter().map(|page| (page.from, page.count)).collect()
    }

    #[test]
    fn a_page_has_what_an_answer_holds() {
        assert!(planned(0, &[]).is_empty());
        assert_eq!(planned(7, &[5]), [(7, 1)]);
        assert_eq!(planned(0, &[40; 2500]), [(0, 1000), (1000, 1000), (2000, 500)]);
        // Eleven and not twelve: each has a few bytes beside its own.
        assert_eq!(planned(3, &[MAX_INLINE_PIECE_BYTES; 25]), [(3, 11), (14, 11), (25, 3)]);
        assert_eq!(planned(0, &[u64::MAX; 1500]), [(0, 1000), (1000, 500)], "blobs are only named");
    }
}
