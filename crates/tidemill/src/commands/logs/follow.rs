//! Following a task: provisional pieces while it runs, and the accepted result at the end.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
};

use anyhow::Context;
use tidemill_api::FollowLine;
use tidemill_net::{
    client::CallError,
    wire::{Reply, Request, TaskNews},
};
use tidemill_types::{Archive, BlobId, JobId, TaskId, TaskNumber};

use super::provisional::{Heard, Provisional};
use crate::{
    exit::{Code, Exit, WithCode},
    output::Piece,
    requester::{PATIENCE, Requester, off_the_protocol, refused},
    summary::not_done,
};

/// Standard output of a result up to this length is in its JSON line.
const MOST_TEXT_BYTES: u64 = 1 << 20;

/// Follows a task until it has a verdict, and prints what there is to see. A connection that is lost is made again.
///
/// # Errors
/// With a code when the coordinator is gone for good or refuses, or the job ends without a result of the task.
pub async fn follow(
    requester: &mut Requester,
    job: JobId,
    task: TaskNumber,
    json: bool,
) -> anyhow::Result<()> {
    let mut provisional = Provisional::default();
    'connected: loop {
        if let Some(mut replies) = requester.follow(Request::Follow(TaskId { job, task })).await {
            loop {
                match replies.next().await {
                    Ok(Reply::Followed(TaskNews::Over)) => break 'connected,
                    Ok(Reply::Followed(news)) => show(&mut provisional, news, json)?,
                    Ok(_) => return Err(off_the_protocol()),
                    Err(CallError::Refused(refusal)) => return Err(refused(&refusal)),
                    Err(CallError::Lost) => break,
                }
            }
        }
        provisional.lost();
        match json {
            true => print(&FollowLine::Lost)?,
            false => note(
                &mut provisional,
                "the connection to the coordinator was lost; the task goes on; trying to reach it again",
            ),
        }
        requester.reconnect(PATIENCE).await?;
    }
    if !json {
        eprint!("{}", provisional.end_line());
    }
    let shown = requester.task_output(job, task, |id, piece| show_result(id, piece, json)).await?;
    if shown.is_some() {
        return Ok(());
    }
    let report = requester.job(job).await?;
    let unfinished =
        || Exit::new(Code::Failed, "the job has ended, and no result of the task has been accepted");
    Err(not_done(&report).unwrap_or_else(unfinished).into())
}

/// Shows what is told of the task while it runs.
fn show(provisional: &mut Provisional, news: TaskNews, json: bool) -> anyhow::Result<()> {
    match provisional.hear(news) {
        Heard::Nothing => {}
        Heard::Waiting if json => print(&FollowLine::Waiting)?,
        Heard::Waiting => note(provisional, "no attempt is under way"),
        Heard::Attempt { attempt, node, lease } if json => {
            print(&FollowLine::Attempt { attempt, node: node.to_string(), lease: lease.0 })?;
        }
        Heard::Attempt { attempt, node, .. } => {
            let words = match attempt {
                1 => format!("provisional, from provider {}:", node.short()),
                _ => format!(
                    "another attempt, from its beginning; provisional, from provider {}:",
                    node.short()
                ),
            };
            note(provisional, &words);
        }
        Heard::Text { attempt, number, offset, dropped, text } if json => {
            let dropped_bytes = dropped;
            print(&FollowLine::Chunk { provisional: true, attempt, number, offset, dropped_bytes, text })?;
        }
        Heard::Text { dropped, text, .. } => {
            if dropped > 0 {
                note(provisional, &format!("{dropped} bytes were dropped on the way"));
            }
            eprint!("{}", provisional.marked(&text));
        }
    }
    Ok(())
}

/// Shows what the accepted result has as standard output.
fn show_result(id: BlobId, piece: &Piece<'_>, json: bool) -> anyhow::Result<()> {
    if !json {
        let mut stdout = io::stdout().lock();
        if copy_stdout(piece, &mut stdout, |_| true)?.is_none() {
            eprintln!("note: the task wrote nothing to standard output; its output is in files");
        }
        return stdout.flush().code(Code::Host);
    }
    let mut bytes = Vec::new();
    let stdout_bytes = copy_stdout(piece, &mut bytes, |len| len <= MOST_TEXT_BYTES)?;
    let is_here = stdout_bytes == Some(bytes.len() as u64);
    let text = is_here.then(|| String::from_utf8_lossy(&bytes).into_owned());
    print(&FollowLine::Result { provisional: false, output: id.to_string(), stdout_bytes, text })
}

/// Copies what a task wrote to standard output out of its output's archive, if its length is `wanted`. Gives the length;
/// nothing where it wrote nothing.
fn copy_stdout(
    piece: &Piece<'_>,
    to: &mut impl Write,
    wanted: impl FnOnce(u64) -> bool,
) -> anyhow::Result<Option<u64>> {
    match piece {
        Piece::Bytes(bytes) => copy_from(Cursor::new(*bytes), bytes.len() as u64, to, wanted),
        Piece::Blob(lent) => copy_from(lent.open().code(Code::Host)?, lent.len(), to, wanted),
        Piece::File(path) => {
            let file = File::open(path).code(Code::Host)?;
            let len = file.metadata().code(Code::Host)?.len();
            copy_from(file, len, to, wanted)
        }
    }
}

fn copy_from(
    mut archive: impl Read + Seek,
    len: u64,
    to: &mut impl Write,
    wanted: impl FnOnce(u64) -> bool,
) -> anyhow::Result<Option<u64>> {
    let index = Archive::read_index(&mut archive, len).context("an output is no archive").code(Code::Host)?;
    let Some((entry, offset)) = index.files().find(|(entry, _)| entry.path.as_str() == "stdout") else {
        return Ok(None);
    };
    if wanted(entry.len) {
        archive.seek(SeekFrom::Start(offset)).code(Code::Host)?;
        io::copy(&mut archive.take(entry.len), to).context("cannot print an output").code(Code::Host)?;
    }
    Ok(Some(entry.len))
}

fn print(line: &FollowLine) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

/// A line of our own, between those of the task.
fn note(provisional: &mut Provisional, words: &str) {
    eprintln!("{}{words}", provisional.end_line());
}

#[cfg(test)]
mod tests {
    use tidemill_types::{ArchiveBuilder, GuestPath};

    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = ArchiveBuilder::default();
        for (name, content) in files {
            builder.add(GuestPath::new(*name).expect("a path"), content.len() as u64);
        }
        let (mut archive, order) = builder.finish().expect("the files do not clash");
        for entry in order {
            let of = files.iter().find(|(name, _)| entry.path.as_str() == *name);
            archive.extend_from_slice(of.expect("it is one of them").1.as_bytes());
        }
        archive
    }

    #[test]
    fn standard_output_is_taken_out_of_an_archive() {
        let copy = |files: &[(&str, &str)], most: u64| {
            let (archive, mut to) = (archive(files), Vec::new());
            let len = copy_stdout(&Piece::Bytes(&archive), &mut to, |len| len <= most);
            (len.expect("it is an archive"), String::from_utf8(to).expect("it is text"))
        };
        let files = [("a", "first"), ("stdout", "what it wrote"), ("z", "last")];
        assert_eq!(copy(&files, 100), (Some(13), "what it wrote".to_owned()));
        assert_eq!(copy(&files, 12), (Some(13), String::new()));
        assert_eq!(copy(&files[..1], 100), (None, String::new()));
        assert!(copy_stdout(&Piece::Bytes(b"no archive"), &mut Vec::new(), |_| true).is_err());
    }
}
