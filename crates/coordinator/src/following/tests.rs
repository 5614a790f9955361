use tidemill_net::wire::Chunk;
use tidemill_types::{Address, Principal};

use super::*;
use crate::outbox::{Outgoings, outbox};

const PROVIDER: SessionId = SessionId(1);
const NODE: NodeId = NodeId([1; 32]);

/// Outboxes of a provider and of two followers, and what is put into them.
struct Scene {
    following: Following,
    outboxes: Outboxes,
    provider: Outgoings,
    followers: [Outgoings; 2],
}

fn caller(session: u64) -> Caller {
    let (node, signer) = (NodeId([9; 32]), Address::default());
    Caller {
        session: SessionId(session),
        node,
        principal: Principal::Node(node),
        signer,
        call: 10 * session,
        is_operator: false,
    }
}

fn scene() -> Scene {
    let outboxes = Outboxes::default();
    let open = |session: u64| {
        let (sender, receiver) = outbox(NodeId([session as u8; 32]));
        outboxes.open(SessionId(session), sender);
        receiver
    };
    let (provider, followers) = (open(1), [open(2), open(3)]);
    Scene { following: Following::after(0), outboxes, provider, followers }
}

impl Scene {
    fn begin(&self, lease: u64, callers: &[u64]) {
        let callers = callers.iter().copied().map(caller).collect();
        self.following.begin(&self.outboxes, (PROVIDER, NODE), LeaseId(lease), callers);
    }

    fn end(&self, lease: u64, callers: &[u64]) {
        let callers: Vec<Caller> = callers.iter().copied().map(caller).collect();
        self.following.end(&self.outboxes, LeaseId(lease), &callers);
    }

    fn relay(&self, chunks: Vec<FollowedChunk>) -> Result<(), String> {
        self.following.relay(&self.outboxes, PROVIDER, chunks)
    }

    /// What the provider has been told since the last time; nothing where that is nothing.
    async fn told_provider(&mut self) -> Vec<ToProvider> {
        let told = |outgoing| match outgoing {
            Outgoing::ToProvider(message) => message,
            other => panic!("{other:?} is not for a provider"),
        };
        drain(&self.outboxes, PROVIDER, &mut self.provider).await.into_iter().map(told).collect()
    }

    /// What a follower has been told since the last time.
    async fn told(&mut self, session: u64) -> Vec<TaskNews> {
        let told = |outgoing| match outgoing {
            Outgoing::Answer(answer) => {
                assert_eq!(answer.id, 10 * session);
                match answer.reply {
                    Ok(Reply::Followed(news)) => news,
                    other => panic!("{other:?} is no news of a task"),
                }
            }
            other => panic!("{other:?} is not for a requester"),
        };
        let follower = &mut self.followers[session as usize - 2];
        drain(&self.outboxes, SessionId(session), follower).await.into_iter().map(told).collect()
    }
}

/// What waits in an outbox. A mark is put behind it, so that there is something to wait for.
async fn drain(outboxes: &Outboxes, session: SessionId, outgoings: &mut Outgoings) -> Vec<Outgoing> {
    outboxes.get(session).expect("it is open").put(Outgoing::End);
    let mut drained = Vec::new();
    loop {
        drained.extend(outgoings.take(1024).await);
        if matches!(drained.last(), Some(Outgoing::End)) {
            drained.pop();
            return drained;
        }
    }
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("it is not zero")
}

fn chunk(number: u64, offset: u64) -> Chunk {
    Chunk { number, offset, bytes: b"some".to_vec() }
}

fn piece(follow: u64, chunk: Chunk) -> FollowedChunk {
    FollowedChunk { follow: number(follow), chunk }
}

fn attempt(lease: u64) -> TaskNews {
    TaskNews::Attempt { lease: LeaseId(lease), node: NODE }
}

#[tokio::test]
async fn a_provider_is_told_of_the_first_follower_and_of_the_end_of_the_last() {
    let mut scene = scene();
    scene.begin(7, &[2]);
    let follow = ToProvider::Follow { lease: LeaseId(7), follow: number(1) };
    assert_eq!(scene.told_provider().await, [follow]);
    scene.relay(vec![piece(1, chunk(0, 0))]).expect("it is in order");
    scene.begin(7, &[3]);
    scene.relay(vec![piece(1, chunk(1, 4))]).expect("it is in order");
    scene.end(7, &[2]);
    assert!(scene.told_provider().await.is_empty());
    scene.relay(vec![piece(1, chunk(2, 8))]).expect("it is in order");
    scene.end(7, &[3]);
    assert_eq!(scene.told_provider().await, [ToProvider::Unfollow { lease: LeaseId(7) }]);
    scene.relay(vec![piece(1, chunk(3, 12))]).expect("it was on its way");

    let news = |chunks: &[Chunk]| chunks.iter().cloned().map(TaskNews::Chunk).collect::<Vec<_>>();
    assert_eq!(scene.told(2).await, [vec![attempt(7)], news(&[chunk(0, 0), chunk(1, 4)])].concat());
    assert_eq!(scene.told(3).await, [vec![attempt(7)], news(&[chunk(1, 4), chunk(2, 8)])].concat());
    let state = scene.following.lock();
    assert!(state.follows.is_empty() && state.by_lease.is_empty());
}

#[tokio::test]
async fn a_lease_that_is_followed_again_has_another_number() {
    let mut scene = scene();
    scene.begin(7, &[2]);
    scene.relay(vec![piece(1, chunk(5, 100))]).expect("it is in order");
    scene.end(7, &[2]);
    scene.begin(7, &[2]);
    scene.relay(vec![piece(1, chunk(6, 104)), piece(2, chunk(0, 0))]).expect("one is late");
    let seen = [attempt(7), TaskNews::Chunk(chunk(5, 100)), attempt(7), TaskNews::Chunk(chunk(0, 0))];
    assert_eq!(scene.told(2).await, seen);
}

#[tokio::test]
async fn what_nobody_asked_for_means_nothing_and_what_goes_back_is_a_breach() {
    let mut scene = scene();
    scene.begin(7, &[2]);
    assert_eq!(scene.told(2).await, [attempt(7)]);
    scene.relay(vec![piece(2, chunk(0, 0)), piece(u64::MAX, chunk(0, 0))]).expect("nobody follows them");
    let other = SessionId(4);
    let forged = scene.following.relay(&scene.outboxes, other, vec![piece(1, chunk(0, 0))]);
    forged.expect("it is not that session's, and means nothing");
    assert!(scene.told(2).await.is_empty());

    scene.relay(vec![piece(1, chunk(4, 40))]).expect("some were dropped before it");
    for (number, offset) in [(4, 44), (5, 43), (0, 0)] {
        let reason = scene.relay(vec![piece(1, chunk(number, offset))]).expect_err("it goes back");
        assert!(reason.contains("lease 7"), "{reason}");
    }
    let end = Chunk { number: u64::MAX, offset: u64::MAX, bytes: b"some".to_vec() };
    scene.relay(vec![piece(1, end.clone())]).expect("numbers are what they are");
    assert_eq!(scene.told(2).await, [TaskNews::Chunk(chunk(4, 40)), TaskNews::Chunk(end)]);
}

/// The reader catches up later: it is told of the end, and its session goes on.
#[tokio::test]
async fn a_follower_that_does_not_read_loses_pieces_and_not_its_session() {
    let mut scene = scene();
    scene.begin(7, &[2]);
    for number in 0..5_000 {
        let long = Chunk { number, offset: number << 14, bytes: vec![0; 1 << 14] };
        scene.relay(vec![piece(1, long)]).expect("it is in order");
    }
    scene.end(7, &[2]);
    scene.begin(8, &[2]);
    let told = scene.told(2).await;
    assert!(told.len() < 100, "{} pieces waited", told.len());
    assert_eq!((&told[0], &told[told.len() - 1]), (&attempt(7), &attempt(8)));
    let outbox = scene.outboxes.get(SessionId(2)).expect("its session goes on");
    let given_up = tokio::time::timeout(Duration::ZERO, outbox.given_up()).await;
    assert!(given_up.is_err(), "the session is to end");
    // Answers find their place.
    outbox.put(answer(&caller(2), TaskNews::Over));
    assert_eq!(scene.told(2).await, [TaskNews::Over]);
}

#[test]
fn a_provider_that_keeps_to_its_rate_is_never_waited_for() {
    let begun = Instant::now();
    let mut allowance = Allowance::new(begun);
    let message: Vec<FollowedChunk> =
        (0..4).map(|number| piece(1, Chunk { number, offset: number, bytes: vec![0; 16 << 10] })).collect();
    for tenths in 0..1_000 {
        let now = begun + Duration::from_millis(100 * tenths);
        assert_eq!(allowance.take(&message, now), Duration::ZERO);
    }
}

#[test]
fn a_provider_that_sends_more_is_read_at_its_rate() {
    let begun = Instant::now();
    let mut allowance = Allowance::new(begun);
    let message = vec![piece(1, Chunk { number: 0, offset: 0, bytes: vec![0; 64 << 10] })];
    let (mut now, mut messages) = (begun, 0u64);
    while now < begun + Duration::from_secs(60) {
        now += allowance.take(&message, now);
        messages += 1;
    }
    let sent = messages * (64 << 10);
    let most = BURST_BYTES + 60 * BYTES_PER_S;
    assert!(sent.abs_diff(most) <= 1 << 18, "{sent} and not {most}");
    // Empty messages count too.
    let (mut now, mut messages) = (begun, 0u64);
    let mut allowance = Allowance::new(begun);
    while now < begun + Duration::from_secs(1) {
        now += allowance.take(&[], now);
        messages += 1;
    }
    assert!(messages <= (BURST_BYTES + BYTES_PER_S) / LEAST_BYTES + 16, "{messages} messages");
}
