//! A kubelet that lists the pods it is told to, by HTTPS as a real one or in the clear.

use crate::{
    k8s::{
        kubelet::Kubelet,
        tls::{Authentication, Verification},
    },
    runtime::{Clock, TaskSet},
    spiffe::svid::leaf_subject,
    testing::ca::TestCa,
    x509::{
        KeyPair, KeyType, lint, pem,
        template::{LeafTemplate, Validity},
    },
};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use std::{convert::Infallible, fs, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

/// What the kubelet answers from now on.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A list of these pods.
    Pods(Vec<Value>),
    /// A status with this body.
    Status(u16, &'static str),
    /// 200 OK and this body.
    Body(Bytes),
    /// Nothing, for as long as the other waits.
    Silence,
}

/// How it is reached.
#[derive(Clone, Copy, Debug)]
pub enum Front {
    /// In the clear.
    Clear,
    /// By HTTPS, with a certificate for this name.
    Tls(&'static str),
}

/// A running kubelet. Dropping it ends it with the runtime.
pub struct TestKubelet {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    directory: TempDir,
    reply: Arc<Mutex<Reply>>,
    seen: watch::Receiver<Vec<Option<String>>>,
}

/// The token that [`TestKubelet::secure`] has its clients send.
pub const TOKEN: &str = "the-agent's-token";

impl TestKubelet {
    /// Starts one that lists no pods.
    pub async fn start(front: Front) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let reply = Arc::new(Mutex::new(Reply::Pods(Vec::new())));
        let (tell, seen) = watch::channel(Vec::new());
        let tls = match front {
            Front::Clear => None,
            Front::Tls(name) => Some(TlsAcceptor::from(Arc::new(server_config(&directory, name)))),
        };
        fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let (tasks, answers) = (TaskSet::new(), Arc::clone(&reply));
        let tell = Arc::new(tell);
        tasks.clone().spawn("kubelet", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answers, tell) = (tls.clone(), Arc::clone(&answers), Arc::clone(&tell));
                tasks.spawn("kubelet's connection", async move {
                    match tls {
                        None => serve(stream, answers, tell).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answers, tell).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, directory, reply, seen }
    }

    /// Answers otherwise from now on.
    pub fn reply(&self, reply: Reply) {
        *self.reply.lock() = reply;
    }

    /// How many requests have come.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen.borrow().len()
    }

    /// The Authorization header of each request.
    #[must_use]
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.seen.borrow().clone()
    }

    /// Waits until `count` requests have come.
    pub async fn asked(&self, count: usize) {
        let asked = async {
            self.seen.clone().wait_for(|seen| seen.len() >= count).await.map(drop).unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    }

    /// The file of the authority that its certificate comes from.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// The file that [`TOKEN`] is in.
    #[must_use]
    pub fn token_path(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// How to reach it in the clear.
    #[must_use]
    pub const fn clear(&self) -> Kubelet {
        Kubelet::ReadOnly { port: self.port }
    }

    /// How to reach it as the kubelet of `node_name`.
    #[must_use]
    pub fn secure(&self, node_name: Option<&str>) -> Kubelet {
        Kubelet::Secure {
            port: self.port,
            node_name: node_name.map(str::to_owned),
            verification: Verification::Authorities(self.ca_path()),
            authentication: Authentication::Token(self.token_path()),
        }
    }
}

/// A pod as the kubelet lists it, with one running container.
#[must_use]
pub fn pod(uid: &str, name: &str, container_id: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "labels": {"app": name},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "uid": "o1"}]},
        "spec": {"serviceAccountName": "till", "nodeName": "node-1"},
        "status": {"containerStatuses": [{
            "name": "main", "image": "registry.local/till:1", "imageID": "registry.local/till@sha256:12",
            "containerID": format!("containerd://{container_id}"), "state": {"running": {}},
        }]},
    })
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: Arc<Mutex<Reply>>,
    tell: Arc<watch::Sender<Vec<Option<String>>>>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        tell.send_modify(|seen| seen.push(authorization));
        let reply = reply.lock().clone();
        async move {
            let (status, body) = match reply {
                Reply::Pods(pods) => {
                    (200, json!({"kind": "PodList", "items": pods}).to_string().into())
                }
                Reply::Status(status, body) => (status, Bytes::from_static(body.as_bytes())),
                Reply::Body(body) => (200, body),
                Reply::Silence => std::future::pending().await,
            };
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Response::builder().status(status).body(Full::new(body)).unwrap();
            Ok::<_, Infallible>(answer)
        }
    });
    // A client that goes away in the middle is nothing to tell.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A fresh authority, whose certificate goes to `ca.crt`, and a certificate for `name`.
fn server_config(directory: &TempDir, name: &str) -> ServerConfig {
    let now = Clock::system().now();
    let ca = TestCa::new("cluster.local", now);
    let authority = ca.authority().certificate();
    let root = pem::certificates(std::slice::from_ref(authority));
    fs::write(directory.path().join("ca.crt"), root).unwrap();
    let key = KeyPair::generate(KeyType::EcP256).unwrap();
    let template = LeafTemplate {
        subject: leaf_subject(None),
        uri: "spiffe://cluster.local/kubelet".to_owned(),
        dns_names: vec![name.to_owned()],
        public_key: key.public_key().clone(),
        validity: Validity { not_before: now, not_after: now + Duration::from_secs(3_600) },
    };
    let leaf = ca.authority().sign(lint::leaf(template, authority).unwrap()).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = key.secret_key().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.pkcs8_der().to_vec().into());
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}
