//! One sidecar: a connection and a stream per name, as an Envoy with Istio's configuration has them.

use super::{
    check::{Checks, Held},
    fleet::Shared,
    tally::{Answered, Content, StreamId},
};
use finial::testing::{
    grpc::CallError,
    sds::{Answer, SdsClient},
};
use futures_util::future::join_all;
use prost::Message;
use std::{
    hash::{DefaultHasher, Hasher},
    io::ErrorKind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::UnixStream, sync::OwnedSemaphorePermit};

/// What `EAGAIN` costs a client that does not give up.
const RETRY: Duration = Duration::from_millis(10);

/// Runs sidecar `number` until its streams end.
pub(super) async fn run(shared: &Shared, number: usize) {
    let turn = shared.turn().await;
    let client = match connect(shared, number).await {
        Ok(client) => client.with_first_message(shared.plan.first_message),
        Err(error) => return shared.tally.broken(format!("connect: {error}")),
    };
    let (held, turn) = (Mutex::new(Held::default()), turn.map(Arc::new));
    let names = shared.plan.names.of(number);
    let streams = names.iter().enumerate().map(|(slot, name)| {
        let stream = Subscription { shared, id: StreamId { sidecar: number, slot }, name };
        stream.run(&client, &held, turn.clone())
    });
    let streams: Vec<_> = streams.collect();
    drop(turn);
    join_all(streams).await;
}

async fn connect(shared: &Shared, number: usize) -> Result<SdsClient, CallError> {
    if let Some(made) = shared.made(number) {
        return SdsClient::over(UnixStream::from_std(made)?).await;
    }
    loop {
        match SdsClient::connect(&shared.plan.socket).await {
            Err(CallError::Connect(error)) if error.kind() == ErrorKind::WouldBlock => {
                shared.tally.refused();
                tokio::time::sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

struct Subscription<'a> {
    shared: &'a Shared,
    id: StreamId,
    name: &'a str,
}

impl Subscription<'_> {
    async fn run(
        self,
        client: &SdsClient,
        held: &Mutex<Held>,
        turn: Option<Arc<OwnedSemaphorePermit>>,
    ) {
        let mut turn = turn;
        if let Err(error) = self.follow(client, held, &mut turn).await {
            self.shared.tally.broken(format!("{}: {error}", self.name));
        }
    }

    async fn follow(
        &self,
        client: &SdsClient,
        held: &Mutex<Held>,
        turn: &mut Option<Arc<OwnedSemaphorePermit>>,
    ) -> Result<(), CallError> {
        let mut stream = client.stream(&[self.name]).await?;
        let mut last = Last::default();
        loop {
            let answer = stream.wait().await?;
            stream.ack(&answer)?;
            self.judge(&answer, &mut last, held);
            *turn = None;
            last.nonce = answer.nonce;
        }
    }

    fn judge(&self, answer: &Answer, last: &mut Last, held: &Mutex<Held>) {
        let tally = &self.shared.tally;
        let secret = match Checks::form(self.name, &last.nonce, answer) {
            Ok(secret) => secret,
            Err(reason) => return tally.wrong(reason),
        };
        let encoded = secret.encode_to_vec();
        let mut hasher = DefaultHasher::new();
        hasher.write(&encoded);
        let content = match last.content.replace(hasher.finish()) {
            Some(before) if before == hasher.finish() => Content::Repeated,
            _ => Content::New,
        };
        tally.answered(self.id, &Answered { bytes: encoded.len(), content });
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        match self.shared.checks.content(self.name, secret, &mut held) {
            Ok(verified) => (0..verified).for_each(|_| tally.verified()),
            Err(reason) => tally.wrong(reason),
        }
    }
}

/// What the stream was last given.
#[derive(Default)]
struct Last {
    nonce: String,
    content: Option<u64>,
}
