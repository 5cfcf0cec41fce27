//! Filters by selectors and trust domains: what both `entry` and `agent` commands understand.

use crate::{
    cli::go::quote::quoted,
    wire::proto::spire::api::types::{
        FederatesWithMatch, Selector, SelectorMatch, selector_match::MatchBehavior,
    },
};

/// A filter that cannot be asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not one of the four ways to match.
    #[error("match behavior {} unknown", quoted(.0))]
    Behavior(String),
    /// A selector without type.
    #[error(transparent)]
    Selector(#[from] SelectorError),
}

/// A text that is no selector.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {} must be formatted as type:value", quoted(.0))]
pub(super) struct SelectorError(String);

impl SelectorError {
    /// What was typed.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Splits `type:value` at its first colon; what both parts may hold is the server's to judge.
///
/// # Errors
/// When there is no colon.
pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let (kind, value) = text.split_once(':').ok_or_else(|| SelectorError(text.to_owned()))?;
    Ok(Selector { r#type: kind.to_owned(), value: value.to_owned() })
}

/// Reads every selector.
///
/// # Errors
/// The first that has no colon.
pub(super) fn selectors(texts: &[String]) -> Result<Vec<Selector>, SelectorError> {
    texts.iter().map(|text| selector(text)).collect()
}

/// The filter by selectors; none when none are given.
///
/// # Errors
/// When a selector or the way to match is unknown.
pub(super) fn by_selectors(texts: &[String], how: &str) -> Result<Option<SelectorMatch>, Error> {
    if texts.is_empty() {
        return Ok(None);
    }
    let r#match = behavior(how)?;
    Ok(Some(SelectorMatch { selectors: selectors(texts)?, r#match }))
}

/// The filter by trust domains; none when none are given.
///
/// # Errors
/// When the way to match is unknown.
pub(super) fn by_trust_domains(
    trust_domains: &[String],
    how: &str,
) -> Result<Option<FederatesWithMatch>, Error> {
    if trust_domains.is_empty() {
        return Ok(None);
    }
    let r#match = behavior(how)?;
    Ok(Some(FederatesWithMatch { trust_domains: trust_domains.to_vec(), r#match }))
}

/// The number of a way to match, which is the same in both messages.
fn behavior(how: &str) -> Result<i32, Error> {
    let behavior = match how {
        "exact" => MatchBehavior::MatchExact,
        "any" => MatchBehavior::MatchAny,
        "superset" => MatchBehavior::MatchSuperset,
        "subset" => MatchBehavior::MatchSubset,
        _ => return Err(Error::Behavior(how.to_owned())),
    };
    Ok(behavior.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::spire::api::types::federates_with_match;

    #[test]
    fn both_messages_number_the_ways_to_match_alike() {
        for how in ["exact", "any", "superset", "subset"] {
            let number = behavior(how).unwrap();
            let selectors = MatchBehavior::try_from(number).unwrap().as_str_name();
            let domains = federates_with_match::MatchBehavior::try_from(number).unwrap();
            assert_eq!(selectors, domains.as_str_name());
            assert_eq!(selectors, format!("MATCH_{}", how.to_uppercase()));
        }
    }

    #[test]
    fn a_selector_is_split_at_its_first_colon() {
        let read = selector("k8s:pod-label:a:b").unwrap();
        assert_eq!((read.r#type.as_str(), read.value.as_str()), ("k8s", "pod-label:a:b"));
    }
}
