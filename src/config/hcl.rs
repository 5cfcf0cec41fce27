//! Reads HCL 1 into the tree: `hcl/parser` of HCL 1, with its rules and its error texts.
//!
//! Newlines are blanks, an item may be followed by one comma, and `a "b" { }` is a block `b` in a block `a`.

use super::error::{Fault, SyntaxError};
use super::scanner::{Kind, Scanner, Token};
use super::tree::{Entry, Form, MAX_DEPTH, Node, Position, Value};

type Result<T> = std::result::Result<T, SyntaxError>;

/// The items of a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut parser = Parser::new(text)?;
    let mut entries = Vec::new();
    while parser.next.kind != Kind::End {
        entries.push(parser.item()?);
    }
    Ok(entries)
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    next: Token<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        let mut scanner = Scanner::new(text);
        let next = scanner.token()?;
        Ok(Self { scanner, next, depth: 0 })
    }

    fn advance(&mut self) -> Result<Token<'a>> {
        let following = self.scanner.token()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    fn fault<T>(&self, fault: Fault) -> Result<T> {
        Err(SyntaxError { at: self.next.at, fault })
    }

    fn item(&mut self) -> Result<Entry> {
        let keys = self.keys()?;
        let (form, value) = if self.next.kind == Kind::Assign {
            self.advance()?;
            (Form::Assigned, self.value()?)
        } else {
            (Form::Block, self.object()?)
        };
        if self.next.kind == Kind::Comma {
            self.advance()?;
        }
        self.nest(keys, form, value)
    }

    /// The keys before a value; one for an assignment, any number for a block.
    fn keys(&mut self) -> Result<Vec<Token<'a>>> {
        let mut keys = Vec::new();
        loop {
            match self.next.kind {
                Kind::Word | Kind::String => keys.push(self.advance()?),
                Kind::Assign if keys.is_empty() => return self.fault(Fault::NoKey),
                Kind::Assign if keys.len() > 1 => return self.fault(Fault::NestedAssignment),
                Kind::OpenObject if keys.is_empty() => {
                    return self.fault(Fault::Unexpected {
                        expected: "IDENT | STRING",
                        found: self.next.kind.name(),
                    });
                }
                Kind::Assign | Kind::OpenObject => return Ok(keys),
                Kind::End | Kind::CloseObject if !keys.is_empty() => {
                    let keys: Vec<_> = keys.iter().map(spelled).collect();
                    return self.fault(Fault::NoValue { keys: keys.join(" ") });
                }
                found => {
                    return self.fault(Fault::Unexpected {
                        expected: "IDENT | STRING | ASSIGN | LBRACE",
                        found: found.name(),
                    });
                }
            }
        }
    }

    /// `a "b" { … }` as the entry `a` that holds an object with the one entry `b`.
    fn nest(&self, keys: Vec<Token<'a>>, form: Form, value: Node) -> Result<Entry> {
        if self.depth.saturating_add(keys.len()) > MAX_DEPTH {
            return self.fault(Fault::TooDeep { limit: MAX_DEPTH });
        }
        let mut keys = keys.into_iter().rev().map(|key| (key.text.into_owned(), key.at));
        let Some((key, at)) = keys.next() else {
            return self.fault(Fault::NoKey);
        };
        let innermost = Entry { key, at, form, value };
        Ok(keys.fold(innermost, |inner, (key, at)| Entry {
            key,
            at,
            form: Form::Block,
            value: Node { at: inner.at, value: Value::Object(vec![inner]) },
        }))
    }

    fn value(&mut self) -> Result<Node> {
        match self.next.kind {
            Kind::OpenObject => self.object(),
            Kind::OpenList => self.list(),
            Kind::Number | Kind::Float | Kind::Bool | Kind::String | Kind::Heredoc => {
                self.literal()
            }
            Kind::End if self.depth > 0 => self.open_object(),
            Kind::End => {
                self.fault(Fault::Unexpected { expected: "a value", found: Kind::End.name() })
            }
            found => self.fault(Fault::NoSuchValue {
                at: self.next.at,
                found: found.name(),
                text: self.next.text.to_string(),
            }),
        }
    }

    fn literal(&mut self) -> Result<Node> {
        let token = self.advance()?;
        let value = match token.kind {
            Kind::Bool => Value::Bool(token.text == "true"),
            Kind::Number | Kind::Float => Value::Number(token.text.into_owned()),
            _ => Value::String(token.text.into_owned()),
        };
        Ok(Node { at: token.at, value })
    }

    fn enter(&mut self) -> Result<Position> {
        if self.depth >= MAX_DEPTH {
            return self.fault(Fault::TooDeep { limit: MAX_DEPTH });
        }
        self.depth = self.depth.saturating_add(1);
        Ok(self.advance()?.at)
    }

    fn leave(&mut self) -> Result<()> {
        self.depth = self.depth.saturating_sub(1);
        self.advance()?;
        Ok(())
    }

    fn object(&mut self) -> Result<Node> {
        let at = self.enter()?;
        let mut entries = Vec::new();
        loop {
            match self.next.kind {
                Kind::CloseObject => break,
                Kind::End => return self.open_object(),
                _ => entries.push(self.item()?),
            }
        }
        self.leave()?;
        Ok(Node { at, value: Value::Object(entries) })
    }

    /// HCL 1 asks for a token once more after the end, and counts a column for it.
    fn open_object<T>(&self) -> Result<T> {
        Err(SyntaxError { at: self.next.at.right(), fault: Fault::OpenObject })
    }

    fn list(&mut self) -> Result<Node> {
        let at = self.enter()?;
        let mut elements = Vec::new();
        let mut needs_comma = false;
        loop {
            let found = self.next.kind;
            match found {
                Kind::CloseList => break,
                Kind::Comma => {
                    self.advance()?;
                    needs_comma = false;
                    continue;
                }
                _ if needs_comma => {
                    return self.fault(Fault::ListSeparator { found: found.name() });
                }
                Kind::OpenObject => elements.push(self.inner("object", Self::object)?),
                Kind::OpenList => elements.push(self.inner("list", Self::list)?),
                Kind::Number | Kind::Float | Kind::Bool | Kind::String | Kind::Heredoc => {
                    elements.push(self.literal()?);
                }
                _ => {
                    return self.fault(Fault::ListElement { found: found.name() });
                }
            }
            // HCL 1 forgets to ask for the comma after a list in a list.
            needs_comma = found != Kind::OpenList;
        }
        self.leave()?;
        Ok(Node { at, value: Value::List(elements) })
    }

    fn inner(&mut self, what: &'static str, read: fn(&mut Self) -> Result<Node>) -> Result<Node> {
        let at = self.next.at;
        read(self).map_err(|error| match error.fault {
            Fault::TooDeep { .. } => error,
            inner => SyntaxError {
                at,
                fault: Fault::InList { what, at: error.at, fault: Box::new(inner) },
            },
        })
    }
}

/// A key as the file spells it, near enough for a message.
fn spelled(key: &Token<'_>) -> String {
    match key.kind {
        Kind::String => format!("{:?}", key.text),
        _ => key.text.to_string(),
    }
}
