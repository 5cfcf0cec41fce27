//! An error with its causes, as one line for the operator.

use std::error::Error;

/// The error and its causes on one line. A cause that the words before it already hold is left out.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot start")]
        Apart(#[source] std::fmt::Error),
        #[error("cannot start: {0}")]
        Inside(#[source] std::fmt::Error),
    }

    #[test]
    fn every_cause_is_said_once() {
        let cause = std::fmt::Error;
        let expected = format!("cannot start: {cause}");
        assert_eq!(chain(&Outer::Apart(cause)), expected);
        assert_eq!(chain(&Outer::Inside(cause)), expected);
    }
}
