use super::*;
use crate::testing::kubelet::{Front, Reply, TOKEN, TestKubelet, pod};
use std::error::Error as _;

/// A name that is found without asking anybody.
const NODE: &str = "localhost";

/// The kubelet's address with another verification or authentication.
fn with(kubelet: Kubelet, change: impl FnOnce(&mut Verification, &mut Authentication)) -> Kubelet {
    let Kubelet::Secure { port, node_name, mut verification, mut authentication } = kubelet else {
        unreachable!("the tests change only secure ones")
    };
    change(&mut verification, &mut authentication);
    Kubelet::Secure { port, node_name, verification, authentication }
}

#[tokio::test]
async fn the_pods_are_told_to_whoever_has_a_token_by_the_one_who_has_the_certificate() {
    let kubelet = TestKubelet::start(Front::Tls(NODE)).await;
    kubelet.reply(Reply::Pods(vec![pod("u1", "till", "c1")]));
    for name in [Some(NODE), None] {
        let list = kubelet.secure(name).pods().await.unwrap();
        assert_eq!(list.pod("u1").unwrap().metadata.name, "till", "{name:?}");
    }
    let bearer = Some(format!("Bearer {TOKEN}"));
    assert_eq!(kubelet.authorizations(), [bearer.clone(), bearer]);
}

#[tokio::test]
async fn a_stranger_on_the_kubelets_port_is_given_no_token() {
    let kubelet = TestKubelet::start(Front::Tls(NODE)).await;
    let (other, namesake) = (
        TestKubelet::start(Front::Tls(NODE)).await,
        TestKubelet::start(Front::Tls("node-2")).await,
    );
    let other_ca = with(kubelet.secure(Some(NODE)), |verification, _| {
        *verification = Verification::Authorities(other.ca_path());
    });
    for wrong in [namesake.secure(Some(NODE)), other_ca] {
        let error = wrong.pods().await.unwrap_err();
        assert!(matches!(error, KubeletError::Tls { .. }), "{error}");
    }
    let clear = TestKubelet::start(Front::Clear).await;
    let Kubelet::Secure { verification, authentication, .. } = kubelet.secure(None) else {
        unreachable!()
    };
    let downgraded =
        Kubelet::Secure { port: clear.port, node_name: None, verification, authentication };
    assert!(matches!(downgraded.pods().await, Err(KubeletError::Tls { .. })));
    assert_eq!([&kubelet, &namesake, &clear].map(TestKubelet::requests), [0; 3]);
}

#[tokio::test]
async fn an_operator_may_say_that_anybody_is_the_kubelet() {
    let kubelet = TestKubelet::start(Front::Tls("somebody-else")).await;
    let skipped =
        with(kubelet.secure(Some(NODE)), |verification, _| *verification = Verification::Skipped);
    assert!(skipped.pods().await.unwrap().is_empty());
}

#[tokio::test]
async fn in_the_clear_and_anonymously_there_is_no_token() {
    let clear = TestKubelet::start(Front::Clear).await;
    assert!(clear.clear().pods().await.unwrap().is_empty());
    let secure = TestKubelet::start(Front::Tls(NODE)).await;
    let anonymous = with(secure.secure(None), |_, authentication| {
        *authentication = Authentication::Anonymous;
    });
    assert!(anonymous.pods().await.unwrap().is_empty());
    assert_eq!([clear.authorizations(), secure.authorizations()], [[None], [None]]);
}

#[tokio::test]
async fn the_token_is_read_for_each_request() {
    let kubelet = TestKubelet::start(Front::Tls(NODE)).await;
    let secure = kubelet.secure(Some(NODE));
    secure.pods().await.unwrap();
    std::fs::write(kubelet.token_path(), "rotated").unwrap();
    secure.pods().await.unwrap();
    assert_eq!(kubelet.authorizations()[1].as_deref(), Some("Bearer rotated"));
    for useless in ["", " \n", "two\nlines"] {
        std::fs::write(kubelet.token_path(), useless).unwrap();
        let error = secure.pods().await.unwrap_err();
        assert!(matches!(error, KubeletError::Token { .. }), "{useless:?}: {error}");
    }
    std::fs::remove_file(kubelet.token_path()).unwrap();
    assert!(matches!(secure.pods().await, Err(KubeletError::Token { .. })));
    assert_eq!(kubelet.requests(), 2);
}

#[tokio::test]
async fn what_is_no_list_is_an_error_that_says_what_came() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    for status in [302, 401, 403, 404, 429, 500] {
        kubelet.reply(Reply::Status(status, "no\n"));
        let error = kubelet.clear().pods().await.unwrap_err();
        assert!(error.to_string().contains(&format!("answers {status}")), "{error}");
        assert!(error.to_string().contains(r#""no""#), "{error}");
    }
    kubelet.reply(Reply::Status(403, ""));
    let error = kubelet.clear().pods().await.unwrap_err().to_string();
    assert!(error.contains("nodes/pods"), "{error}");
    for body in ["<html>", "{\"items\":[{\"metadata\":", "[]"] {
        kubelet.reply(Reply::Body(Bytes::from_static(body.as_bytes())));
        let error = kubelet.clear().pods().await.unwrap_err();
        assert!(matches!(error, KubeletError::Malformed(_)), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_list_without_end_is_not_read_to_its_end() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Body(vec![b' '; MAX_BODY_BYTES + 1].into()));
    assert!(matches!(kubelet.clear().pods().await, Err(KubeletError::TooLarge)));
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_without_end() {
    let kubelet = TestKubelet::start(Front::Clear).await;
    kubelet.reply(Reply::Silence);
    let clear = kubelet.clear();
    let waiting = async {
        kubelet.asked(1).await;
        // From here on time passes as soon as nothing else happens.
        tokio::time::pause();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = clear.pods() => assert!(matches!(answer, Err(KubeletError::Timeout))),
        () = waiting => unreachable!(),
    }
}

#[tokio::test]
async fn nobody_on_the_port_is_told_as_that() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Kubelet::ReadOnly { port }.pods().await.unwrap_err();
    assert!(matches!(error, KubeletError::Connect { .. }), "{error}");
    assert!(error.source().is_some(), "{error:?}");
}
