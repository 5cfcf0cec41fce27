use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const GREETING: &[u8] = b"how do you do";

fn opening() -> (Opening<DuplexStream>, FirstTurn, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1_024 * 1_024);
    let first_turn = FirstTurn::default();
    let opening = Opening::new(ours, Bytes::from_static(GREETING), first_turn.clone());
    (opening, first_turn, theirs)
}

/// Everything that has arrived.
async fn arrived(theirs: &mut DuplexStream) -> Vec<u8> {
    let mut seen = vec![0; 1_024 * 1_024];
    let reading = theirs.read(&mut seen);
    let length = futures_util::FutureExt::now_or_never(reading).map_or(0, Result::unwrap);
    seen.truncate(length);
    seen
}

#[tokio::test]
async fn the_greeting_is_swallowed_once_and_then_everything_passes() {
    let (mut opening, first_turn, mut theirs) = opening();
    let (head, tail) = GREETING.split_at(5);
    opening.write_all(head).await.unwrap();
    opening.write_all(&[tail, b"after"].concat()).await.unwrap();
    opening.write_all(GREETING).await.unwrap();
    assert!(first_turn.end());
    opening.flush().await.unwrap();
    assert_eq!(arrived(&mut theirs).await, [b"after", GREETING].concat());
}

#[tokio::test]
async fn another_greeting_than_the_recorded_one_breaks_the_connection() {
    let (mut opening, _, _theirs) = opening();
    let error = opening.write_all(b"how are you").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn what_the_first_turn_writes_leaves_at_its_end_and_later_words_at_once() {
    let (mut opening, first_turn, mut theirs) = opening();
    opening.write_all(GREETING).await.unwrap();
    assert!(!first_turn.end(), "nothing was written yet");
    opening.write_all(b"one,").await.unwrap();
    opening.flush().await.unwrap();
    opening.write_all(b"two").await.unwrap();
    opening.flush().await.unwrap();
    assert_eq!(arrived(&mut theirs).await, b"");
    assert!(first_turn.end());
    opening.flush().await.unwrap();
    assert_eq!(arrived(&mut theirs).await, b"one,two");
    opening.write_all(b"three").await.unwrap();
    assert_eq!(arrived(&mut theirs).await, b"three");
    assert!(!first_turn.end(), "there is one first turn");
}

#[tokio::test]
async fn a_long_first_turn_is_not_held_back() {
    let (mut opening, _, mut theirs) = opening();
    opening.write_all(GREETING).await.unwrap();
    let long = vec![7; 3 * GATHERED_BYTES];
    opening.write_all(&long).await.unwrap();
    let arrived = arrived(&mut theirs).await;
    assert!(arrived.len() >= long.len() - GATHERED_BYTES && long.starts_with(&arrived));
}

#[tokio::test]
async fn what_is_there_at_once_is_read_at_once_and_handed_on_in_order() {
    let (mut opening, _, mut theirs) = opening();
    let sent: Vec<u8> = (0..3 * AHEAD_BYTES).map(|n| n.to_le_bytes()[0]).collect();
    theirs.write_all(&sent).await.unwrap();
    let mut read = vec![0; 24];
    opening.read_exact(&mut read).await.unwrap();
    drop(theirs);
    opening.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, sent);
}
