use super::*;
use crate::testing::kubelet::{Front, Reply, TestKubelet, pod};
use futures_util::future;

const INTERVAL: Duration = Duration::from_secs(60);

async fn listing() -> (TestKubelet, Listing) {
    let kubelet = TestKubelet::start(Front::Clear).await;
    let listing = Listing::new(kubelet.clear(), INTERVAL);
    (kubelet, listing)
}

#[tokio::test]
async fn a_storm_of_callers_is_one_question() {
    let (kubelet, listing) = listing().await;
    let callers = (0..1_000).map(|_| listing.newer_than(None, Instant::now()));
    let answers = future::join_all(callers).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(kubelet.requests(), 1);
}

#[tokio::test]
async fn who_waits_for_a_container_is_given_a_newer_list_each_time_and_hinders_nobody() {
    let (kubelet, listing) = listing().await;
    let first = listing.newer_than(None, Instant::now()).await.unwrap();
    kubelet.reply(Reply::Pods(vec![pod("u1", "till", "c1")]));
    let second = listing.newer_than(Some(first.asked_at), first.asked_at).await.unwrap();
    assert!(second.list.pod("u1").is_some() && second.asked_at > first.asked_at);
    kubelet.reply(Reply::Silence);
    let waiting = listing.newer_than(Some(second.asked_at), second.asked_at);
    let meanwhile = async {
        kubelet.asked(3).await;
        listing.newer_than(None, Instant::now()).await.unwrap()
    };
    let answered = tokio::select! {
        _ = waiting => unreachable!("the kubelet is silent"),
        answered = meanwhile => answered,
    };
    assert_eq!(answered.asked_at, second.asked_at);
}

#[tokio::test]
async fn a_failure_is_one_for_all_who_waited_for_it_and_no_longer() {
    let (kubelet, listing) = listing().await;
    kubelet.reply(Reply::Status(500, "no"));
    let answers =
        future::join_all((0..100).map(|_| listing.newer_than(None, Instant::now()))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(kubelet.requests(), 1);
    kubelet.reply(Reply::Pods(Vec::new()));
    assert!(listing.newer_than(None, Instant::now()).await.is_ok());
}

#[tokio::test]
async fn the_last_list_stands_in_for_a_kubelet_that_fails() {
    let (kubelet, listing) = listing().await;
    kubelet.reply(Reply::Pods(vec![pod("u1", "till", "c1")]));
    let listed = listing.newer_than(None, Instant::now()).await.unwrap();
    kubelet.reply(Reply::Status(500, "no"));
    let Unlisted { last, .. } =
        listing.newer_than(Some(listed.asked_at), listed.asked_at).await.unwrap_err();
    assert!(last.unwrap().pod("u1").is_some());
    let Unlisted { last, .. } = self::listing().await.1.unlisted_after_failure().await;
    assert!(last.is_none());
}

/// How long the next question is put off, in milliseconds, when somebody has waited for so long.
async fn gap(waited: Duration, took: Duration) -> u128 {
    let since = Instant::now();
    tokio::time::advance(waited).await;
    let asked_at = Instant::now();
    let turn = Turn { asked_at: Some(asked_at), took };
    turn.wait(since, Duration::from_millis(500)).await;
    asked_at.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn the_time_between_questions_grows_with_the_wait_of_the_youngest() {
    let quick = Duration::from_millis(3);
    for (waited_ms, expected) in [(0, 50), (800, 50), (1_600, 100), (4_800, 300), (60_000, 500)] {
        assert_eq!(gap(Duration::from_millis(waited_ms), quick).await, expected, "{waited_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_answers_slowly_is_asked_less() {
    assert_eq!(gap(Duration::ZERO, Duration::from_millis(80)).await, 320);
    assert_eq!(gap(Duration::ZERO, Duration::from_secs(2)).await, 500);
}

impl Listing {
    async fn unlisted_after_failure(mut self) -> Unlisted {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.kubelet = Kubelet::ReadOnly { port: gone.local_addr().unwrap().port() };
        drop(gone);
        self.newer_than(None, Instant::now()).await.unwrap_err()
    }
}
