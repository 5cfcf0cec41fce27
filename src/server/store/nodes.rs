//! Attested nodes: attestation, renewal, eviction and bans, each in one transaction.

use super::{
    entries,
    error::StoreError,
    node::Node,
    open::Store,
    rows::{PUT_NODE, put_node},
    tables::Effect,
    tokens,
    transaction::Transaction,
};
use crate::{
    spiffe::{Entry, SpiffeId},
    transport::status::Kind,
};
use std::sync::Arc;

/// Why a node was not attested. The texts are SPIRE's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AttestError {
    /// The join token was never there, or somebody has used it.
    #[error("join token does not exist or has already been used")]
    TokenUnknown,
    /// The join token came too late. It is gone now.
    #[error("join token expired")]
    TokenExpired,
    /// An operator has banned this agent.
    #[error("agent is banned")]
    Banned,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AttestError {
    /// What the error means to a peer whose request met it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::TokenUnknown | Self::TokenExpired => Kind::Invalid,
            Self::Banned => Kind::Denied,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Store {
    /// The node with this identity.
    #[must_use]
    pub fn node(&self, id: &SpiffeId) -> Option<Arc<Node>> {
        self.read(|tables| tables.nodes.get(id).map(|(_, node)| Arc::clone(node)))
    }

    /// All nodes in the order of their rows.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.read(|tables| tables.nodes.all().cloned().collect())
    }

    /// At most `limit` nodes behind the row `row`, each with its row, in the order of rows.
    #[must_use]
    pub fn nodes_after(&self, row: i64, limit: usize) -> Vec<(i64, Arc<Node>)> {
        self.read(|tables| {
            let behind = tables.nodes.after(row).take(limit);
            behind.map(|(row, node)| (row, Arc::clone(node))).collect()
        })
    }

    /// Uses up the join token, if the attestation rests on one, and stores the node in the place of an
    /// earlier one with its identity. A token is used up even when it has expired.
    ///
    /// A node that attests again is the same agent with a renewed SVID: what it holds stays good until it
    /// uses the new one, so that neither an answer that was lost nor its calls under way end its session.
    ///
    /// # Errors
    /// When the token or the node is refused, or nothing was written.
    pub async fn attest_node(
        &self,
        node: Node,
        join_token: Option<String>,
    ) -> Result<Arc<Node>, AttestError> {
        let attested = self
            .write(move |transaction| {
                if let Some(token) = join_token {
                    let expires_at = tokens::take(transaction, &token)?;
                    let expires_at = expires_at.ok_or(AttestError::TokenUnknown)?;
                    if expires_at < transaction.now() {
                        // Not an error here: the token's removal is to be kept.
                        return Ok(None);
                    }
                }
                let current = transaction.node(&node.id);
                if current.as_ref().is_some_and(|(_, current)| current.banned) {
                    return Err(AttestError::Banned);
                }
                let (row, node) = match current {
                    Some((row, current)) => (Some(row), succeed(&current, node)),
                    None => (None, node),
                };
                Ok(Some(put(transaction, row, node)?))
            })
            .await?;
        attested.ok_or(AttestError::TokenExpired)
    }

    /// Notes the serial of a renewed SVID, which counts once the agent has used it.
    ///
    /// # Errors
    /// When the node is not known or nothing was written.
    pub async fn set_new_serial(
        &self,
        id: &SpiffeId,
        serial: String,
        expires_at: i64,
    ) -> Result<Arc<Node>, StoreError> {
        self.change_node(id, move |node| {
            node.new_serial = serial;
            node.new_expires_at = expires_at;
        })
        .await
    }

    /// Makes the renewed SVID with this serial the one in use; any other serial changes nothing.
    ///
    /// # Errors
    /// When the node is not known or nothing was written.
    pub async fn promote_serial(
        &self,
        id: &SpiffeId,
        serial: String,
    ) -> Result<Arc<Node>, StoreError> {
        self.change_node(id, move |node| {
            if !serial.is_empty() && node.new_serial == serial {
                node.serial = std::mem::take(&mut node.new_serial);
                node.expires_at = std::mem::take(&mut node.new_expires_at);
            }
        })
        .await
    }

    /// Notes the version that the agent says to be.
    ///
    /// # Errors
    /// When the node is not known or nothing was written.
    pub async fn set_agent_version(
        &self,
        id: &SpiffeId,
        version: String,
    ) -> Result<Arc<Node>, StoreError> {
        self.change_node(id, move |node| node.agent_version = version).await
    }

    /// Forgets a node, and the alias entry that came with its join token. Returns whether there was one.
    ///
    /// # Errors
    /// When nothing was deleted.
    pub async fn delete_node(&self, id: &SpiffeId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |transaction| delete(transaction, id)).await
    }

    /// Bans a node: it keeps its row and loses its serials, so that nothing it holds is accepted.
    /// Returns whether there was one.
    ///
    /// # Errors
    /// When nothing was written.
    pub async fn ban_node(&self, id: &SpiffeId) -> Result<bool, StoreError> {
        let banned = self
            .change_node(id, |node| {
                node.banned = true;
                node.serial.clear();
                node.new_serial.clear();
                node.new_expires_at = 0;
            })
            .await;
        match banned {
            Ok(_) => Ok(true),
            Err(StoreError::UnknownNode(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Applies `change` to a node; what leaves it equal is not written.
    async fn change_node(
        &self,
        id: &SpiffeId,
        change: impl FnOnce(&mut Node) + Send + 'static,
    ) -> Result<Arc<Node>, StoreError> {
        let id = id.clone();
        self.write(move |transaction| {
            let Some((row, current)) = transaction.node(&id) else {
                return Err(StoreError::UnknownNode(id));
            };
            let mut node = Node::clone(&current);
            change(&mut node);
            if node == *current { Ok(current) } else { put(transaction, Some(row), node) }
        })
        .await
    }
}

/// What is stored of a node that is there already and has been attested anew.
fn succeed(current: &Node, node: Node) -> Node {
    if !node.can_reattest || !current.can_reattest || current.serial.is_empty() {
        return node;
    }
    Node {
        serial: current.serial.clone(),
        expires_at: current.expires_at,
        new_serial: node.serial,
        new_expires_at: node.expires_at,
        agent_version: current.agent_version.clone(),
        ..node
    }
}

fn put(
    transaction: &mut Transaction<'_>,
    row: Option<i64>,
    node: Node,
) -> Result<Arc<Node>, StoreError> {
    transaction.statement(PUT_NODE, |statement| put_node(statement, row, &node))?;
    let row = row.unwrap_or_else(|| transaction.inserted_row());
    let node = Arc::new(node);
    transaction.record(Effect::PutNode(row, Arc::clone(&node)));
    Ok(node)
}

fn delete(transaction: &mut Transaction<'_>, id: SpiffeId) -> Result<bool, StoreError> {
    let Some((row, node)) = transaction.node(&id) else { return Ok(false) };
    if node.attestation_type == "join_token" {
        let children = transaction.children(&id);
        for alias in children.into_iter().filter(|entry| is_join_token_alias(entry)) {
            entries::delete(transaction, &alias.id)?;
        }
    }
    transaction.execute("DELETE FROM nodes WHERE row = ?", [row])?;
    transaction.record(Effect::DropNode(id));
    Ok(true)
}

/// Whether an entry has the form that a join token with an alias creates: its only selector is the
/// agent itself. Other children of the agent are its users' and stay (SPIRE 1.15: sqlstore.go).
fn is_join_token_alias(entry: &Entry) -> bool {
    let [selector] = entry.spec.selectors.as_slice() else { return false };
    selector.kind() == "spiffe_id" && selector.value() == entry.spec.parent_id.as_str()
}
