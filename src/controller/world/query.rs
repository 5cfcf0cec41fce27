//! A label selector made ready: the rules of `metav1.LabelSelectorAsSelector`.

use super::labels::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Which labels are asked for; every demand must hold, and none means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelQuery(Vec<Demand>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// Why a label selector is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not one of the four operators.
    #[error("label selector operator {0:?}: expected In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    /// `In` or `NotIn` nothing.
    #[error("label selector {operator} on {key:?} has no values, expected at least one")]
    NoValues {
        /// The operator.
        operator: String,
        /// The label's key.
        key: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("label selector {operator} on {key:?} has values, expected none")]
    Values {
        /// The operator.
        operator: String,
        /// The label's key.
        key: String,
    },
    /// Something that no label can have as its key.
    #[error("label key {0:?}: expected [prefix/]name of letters, digits, '-', '_' and '.'")]
    Key(String),
    /// Something that no label can have as its value.
    #[error("label value {0:?}: expected at most 63 letters, digits, '-', '_' and '.'")]
    Value(String),
}

impl LabelQuery {
    /// Makes a label selector ready; nothing asks for nothing.
    ///
    /// # Errors
    /// When no labels could ever be asked for in this way.
    pub fn compile(selector: Option<&LabelSelector>) -> Result<Self, QueryError> {
        let Some(selector) = selector else { return Ok(Self::default()) };
        let mut demands = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            demands.push(Demand::new(key, Test::In(vec![value.clone()]))?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let test = Test::new(&expression.operator, &expression.key, values)?;
            demands.push(Demand::new(&expression.key, test)?);
        }
        Ok(Self(demands))
    }

    /// Whether labels are what is asked for.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|demand| demand.holds(labels))
    }

    /// Whether it asks for nothing, so that everything matches.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl Demand {
    fn new(key: &str, test: Test) -> Result<Self, QueryError> {
        if !is_key(key) {
            return Err(QueryError::Key(key.to_owned()));
        }
        if let Test::In(values) | Test::NotIn(values) = &test
            && let Some(value) = values.iter().find(|value| !is_value(value))
        {
            return Err(QueryError::Value(value.clone()));
        }
        Ok(Self { key: key.to_owned(), test })
    }

    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.value(&self.key);
        let is_among =
            |values: &[String]| value.is_some_and(|value| values.iter().any(|v| v == value));
        match &self.test {
            Test::In(values) => is_among(values),
            // A label that is not there is not among them either.
            Test::NotIn(values) => !is_among(values),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

impl Test {
    fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Self, QueryError> {
        let named = || (operator.to_owned(), key.to_owned());
        match (operator, values.is_empty()) {
            ("In", false) => Ok(Self::In(values)),
            ("NotIn", false) => Ok(Self::NotIn(values)),
            ("Exists", true) => Ok(Self::Exists),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist),
            ("In" | "NotIn", true) => {
                let (operator, key) = named();
                Err(QueryError::NoValues { operator, key })
            }
            ("Exists" | "DoesNotExist", false) => {
                let (operator, key) = named();
                Err(QueryError::Values { operator, key })
            }
            _ => Err(QueryError::Operator(operator.to_owned())),
        }
    }
}

/// `[prefix/]name` of apimachinery's `IsQualifiedName`; the prefix is a DNS name.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let is_prefix = |prefix: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        !prefix.is_empty() && prefix.len() <= 253 && prefix.bytes().all(allowed)
    };
    prefix.is_none_or(is_prefix) && !name.is_empty() && is_value(name)
}

/// A label's value: nothing, or 63 bytes that begin and end with a letter or digit.
fn is_value(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || value.len() <= 63
            && value.bytes().all(allowed)
            && value.starts_with(is_edge)
            && value.ends_with(is_edge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn compile(selector: &Value) -> Result<LabelQuery, QueryError> {
        LabelQuery::compile(Some(&serde_json::from_value(selector.clone()).unwrap()))
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn each_operator_asks_as_kubernetes_does() {
        let labels = Labels::from_iter([("app", "web"), ("empty", "")]);
        for (selector, answer) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "other": "x"}}), false),
            (expression("app", "In", &["db", "web"]), true),
            (expression("nope", "In", &["web"]), false),
            (expression("app", "NotIn", &["web"]), false),
            (expression("nope", "NotIn", &["web"]), true),
            (expression("empty", "Exists", &[]), true),
            (expression("nope", "Exists", &[]), false),
            (expression("nope", "DoesNotExist", &[]), true),
            (expression("empty", "DoesNotExist", &[]), false),
        ] {
            assert_eq!(compile(&selector).unwrap().matches(&labels), answer, "{selector}");
        }
        assert!(LabelQuery::compile(None).unwrap().is_everything());
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        let refused = |selector: &Value| compile(selector).unwrap_err();
        assert!(matches!(refused(&expression("a", "Like", &["b"])), QueryError::Operator(_)));
        assert!(matches!(refused(&expression("a", "In", &[])), QueryError::NoValues { .. }));
        assert!(matches!(refused(&expression("a", "Exists", &["b"])), QueryError::Values { .. }));
        assert!(matches!(refused(&expression("a b", "Exists", &[])), QueryError::Key(_)));
        assert!(matches!(refused(&expression("", "Exists", &[])), QueryError::Key(_)));
        assert!(matches!(refused(&expression("A/b", "Exists", &[])), QueryError::Key(_)));
        assert!(matches!(refused(&expression("a", "In", &["-"])), QueryError::Value(_)));
    }
}
