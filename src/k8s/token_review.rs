//! Whose token is this? Asked of the API server, which issued it (TokenReview).

use super::{client::KubeClient, error::KubeError};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use std::collections::BTreeMap;

/// What the API server says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good, and this user's.
    Authenticated(TokenUser),
    /// It is not.
    Refused {
        /// The API server's words, if it has any.
        error: Option<String>,
    },
}

/// Whose a token is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUser {
    /// `system:serviceaccount:` and namespace and name, for a service account.
    pub username: String,
    /// Of the audiences that were asked for, those that the token is for.
    pub audiences: Vec<String>,
    /// What the token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl KubeClient {
    /// Has `token` reviewed for `audiences`; none are the API server's own.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn review_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Verdict, KubeError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(audiences.to_vec()).filter(|audiences| !audiences.is_empty()),
            },
            ..TokenReview::default()
        };
        let ask = async |client| Api::all(client).create(&PostParams::default(), &review).await;
        let status = self.call(ask).await?.status.unwrap_or_default();
        // SPIRE 1.15: an error counts even beside `authenticated`.
        let error = status.error.filter(|error| !error.is_empty());
        if error.is_some() || status.authenticated != Some(true) {
            return Ok(Verdict::Refused { error });
        }
        let user = status.user.unwrap_or_default();
        Ok(Verdict::Authenticated(TokenUser {
            username: user.username.unwrap_or_default(),
            audiences: status.audiences.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }
}
