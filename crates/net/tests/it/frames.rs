//! Frames on a stream.

use std::time::Duration;

use tidemill_net::frame::{Decoder, FrameError, FrameReader, FrameWriter};
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::timeout,
};

const LIMIT: usize = 1000;

#[tokio::test]
async fn messages_arrive_in_order_and_the_end_is_clean() {
    let (here, there) = duplex(16);
    let write = async move {
        let mut writer = FrameWriter::new(here, LIMIT);
        for number in 0..100u32 {
            writer.push(&(number, "x".repeat(number as usize))).expect("short");
        }
        writer.flush().await.expect("read");
    };
    let read = async move {
        let mut reader = FrameReader::new(there, LIMIT);
        for number in 0..100u32 {
            let (found, text) = reader.next::<(u32, String)>().await.expect("whole").expect("there");
            assert_eq!((found, text.len()), (number, number as usize));
        }
        assert!(reader.next::<(u32, String)>().await.expect("clean").is_none());
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn reads_and_writes_that_are_dropped_lose_nothing() {
    let (here, there) = duplex(3);
    let mut writer = FrameWriter::new(here, LIMIT);
    let mut reader = FrameReader::new(there, LIMIT);
    writer.push("a message of some length").expect("short");
    // Neither is polled to its end: each has the other's next bytes to wait for.
    let mut message = None;
    while message.is_none() {
        let _ = timeout(Duration::ZERO, writer.flush()).await;
        if let Ok(read) = timeout(Duration::ZERO, reader.next::<String>()).await {
            message = read.expect("whole");
        }
    }
    assert_eq!(message.as_deref(), Some("a message of some length"));
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_holds_the_writer() {
    let (here, there) = duplex(64);
    let mut writer = FrameWriter::new(here, LIMIT);
    writer.push_bytes(&[7; 500]).expect("short");
    assert!(timeout(Duration::from_millis(10), writer.flush()).await.is_err(), "nobody reads");
    assert!(writer.waiting() > 0);
    let mut reader = FrameReader::new(there, LIMIT);
    let (flushed, read) = tokio::join!(writer.flush(), reader.next_bytes());
    flushed.expect("read now");
    assert_eq!(read.expect("whole").expect("there").len(), 500);
    assert_eq!(writer.waiting(), 0);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_written() {
    let (here, there) = duplex(4096);
    let mut writer = FrameWriter::new(here, LIMIT);
    let error = writer.push(&vec![1u8; LIMIT]).expect_err("with its length it is longer");
    assert!(matches!(error, FrameError::Oversized { limit: LIMIT, .. }), "{error}");
    writer.send("short").await.expect("still of use");
    let mut reader = FrameReader::new(there, LIMIT);
    assert_eq!(reader.next::<String>().await.expect("whole").as_deref(), Some("short"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    async fn read(bytes: &[u8]) -> FrameError {
        let (mut here, there) = duplex(4096);
        here.write_all(bytes).await.expect("room");
        drop(here);
        FrameReader::new(there, LIMIT).next::<bool>().await.expect_err("wrong")
    }
    assert!(matches!(read(&u32::MAX.to_le_bytes()).await, FrameError::Oversized { limit: LIMIT, .. }));
    assert!(matches!(read(&[1, 0, 0, 0, 9]).await, FrameError::Garbage { .. }));
    assert!(matches!(read(&[2, 0, 0, 0, 1, 1]).await, FrameError::Trailing { extra: 1, .. }));
    assert!(matches!(read(&[2, 0, 0, 0, 1]).await, FrameError::CutOff { have: 5 }));
    assert!(matches!(read(&[2, 0]).await, FrameError::CutOff { have: 2 }));
}

#[test]
fn a_claim_takes_no_memory() {
    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(&u32::MAX.to_le_bytes());
    decoder.push(b"little");
    assert!(decoder.next_frame().expect("allowed").is_none());
    assert!(matches!(decoder.finish(), Err(FrameError::CutOff { have: 10 })));
}
