//! Says what is wrong once, and again only when it is something else: a retry loop that fails for an
//! hour for one reason is one fact.

use std::{error::Error, fmt::Write as _};

/// What was last said to be wrong.
#[derive(Debug, Default)]
pub struct Complaint(String);

/// Whether an error is worth an operator's attention.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is new: the error and its causes on one line.
    New(String),
    /// It is the same as last time.
    Again,
}

impl Complaint {
    /// Takes note of `error`.
    pub fn note(&mut self, error: &dyn Error) -> Noted {
        let text = with_causes(error);
        if text == self.0 {
            return Noted::Again;
        }
        self.0.clone_from(&text);
        Noted::New(text)
    }

    /// All is well; says whether that is news.
    pub fn settle(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// Whether something is wrong.
    #[must_use]
    pub const fn is_standing(&self) -> bool {
        !self.0.is_empty()
    }
}

/// An error and its causes on one line; a cause that the error has repeated already is left out.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        if !text.ends_with(&detail) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, ": {detail}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn only_another_error_is_news() {
        let (mut complaint, first) = (Complaint::default(), io::Error::other("first"));
        assert_eq!(complaint.note(&first), Noted::New("first".to_owned()));
        assert_eq!(complaint.note(&first), Noted::Again);
        assert_eq!(complaint.note(&io::Error::other("second")), Noted::New("second".to_owned()));
        assert!(complaint.settle() && !complaint.settle());
        assert_eq!(complaint.note(&first), Noted::New("first".to_owned()));
    }
}
