//! Reads JSON (RFC 8259) into the tree, with positions; the form the Helm chart renders.
//!
//! Repeated keys stay in the tree: `section` reports them with both places.

use super::error::{Fault, Found, SyntaxError};
use super::text::Text;
use super::tree::{Entry, Form, MAX_DEPTH, Node, Value};

type Result<T> = std::result::Result<T, SyntaxError>;

/// The members of the object that is the file.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut reader = Reader { text: Text::new(text), depth: 0 };
    reader.skip_blanks();
    let entries = reader.object()?;
    reader.skip_blanks();
    if reader.text.peek().is_some() {
        return reader.expected("the end of the file");
    }
    Ok(entries)
}

struct Reader<'a> {
    text: Text<'a>,
    depth: usize,
}

impl Reader<'_> {
    fn expected<T>(&self, expected: &'static str) -> Result<T> {
        let found = self.text.peek().map_or(Found::End, Found::Character);
        self.fault(Fault::Json { expected, found })
    }

    const fn fault<T>(&self, fault: Fault) -> Result<T> {
        Err(SyntaxError { at: self.text.at(), fault })
    }

    fn skip_blanks(&mut self) {
        self.text.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return self.fault(Fault::TooDeep { limit: MAX_DEPTH });
        }
        self.depth = self.depth.saturating_add(1);
        self.text.next();
        self.skip_blanks();
        Ok(())
    }

    const fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn value(&mut self) -> Result<Node> {
        let at = self.text.at();
        let value = match self.text.peek() {
            Some('{') => Value::Object(self.object()?),
            Some('[') => Value::List(self.list()?),
            Some('"') => Value::String(self.string()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            Some('t') => self.word("true", Value::Bool(true))?,
            Some('f') => self.word("false", Value::Bool(false))?,
            Some('n') => self.word("null", Value::Null)?,
            _ => return self.expected("a value"),
        };
        self.skip_blanks();
        Ok(Node { at, value })
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value> {
        for letter in word.chars() {
            if !self.text.take(letter) {
                return self.expected(word);
            }
        }
        Ok(value)
    }

    fn object(&mut self) -> Result<Vec<Entry>> {
        self.enter()?;
        let mut entries = Vec::new();
        if !self.text.take('}') {
            loop {
                entries.push(self.member()?);
                if self.text.take('}') {
                    break;
                }
                if !self.text.take(',') {
                    return self.expected("',' or '}'");
                }
                self.skip_blanks();
            }
        }
        self.leave();
        Ok(entries)
    }

    fn member(&mut self) -> Result<Entry> {
        let at = self.text.at();
        if self.text.peek() != Some('"') {
            return self.expected("a key in double quotes");
        }
        let key = self.string()?;
        self.skip_blanks();
        if !self.text.take(':') {
            return self.expected("':'");
        }
        self.skip_blanks();
        Ok(Entry { key, at, form: Form::Assigned, value: self.value()? })
    }

    fn list(&mut self) -> Result<Vec<Node>> {
        self.enter()?;
        let mut elements = Vec::new();
        if !self.text.take(']') {
            loop {
                elements.push(self.value()?);
                if self.text.take(']') {
                    break;
                }
                if !self.text.take(',') {
                    return self.expected("',' or ']'");
                }
                self.skip_blanks();
            }
        }
        self.leave();
        Ok(elements)
    }

    fn number(&mut self) -> Result<String> {
        let start = self.text.rest();
        self.text.take('-');
        if !self.text.take('0') {
            self.digits()?;
        }
        if self.text.take('.') {
            self.digits()?;
        }
        if self.text.take('e') || self.text.take('E') {
            if !self.text.take('-') {
                self.text.take('+');
            }
            self.digits()?;
        }
        Ok(self.text.since(start).to_owned())
    }

    fn digits(&mut self) -> Result<()> {
        if self.text.take_while(|c| c.is_ascii_digit()).is_empty() {
            return self.expected("a digit");
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        self.text.next();
        let mut decoded = String::new();
        loop {
            match self.text.peek() {
                Some('"') => {
                    self.text.next();
                    return Ok(decoded);
                }
                Some('\\') => {
                    self.text.next();
                    decoded.push(self.escape()?);
                }
                Some(character) if character >= ' ' => {
                    decoded.push(character);
                    self.text.next();
                }
                _ => return self.expected("'\"' at the end of the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let character = match self.text.peek() {
            Some('u') => return self.escaped_code(),
            Some(character @ ('"' | '\\' | '/')) => character,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            _ => return self.expected("an escape sequence"),
        };
        self.text.next();
        Ok(character)
    }

    fn escaped_code(&mut self) -> Result<char> {
        let at = self.text.at();
        let high = self.code_unit()?;
        let mut units = vec![high];
        let is_half = (0xD800..0xDC00).contains(&high);
        if is_half && self.text.take('\\') {
            units.push(self.code_unit()?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(SyntaxError { at, fault: Fault::IllegalEscape }),
        }
    }

    fn code_unit(&mut self) -> Result<u16> {
        if !self.text.take('u') {
            return self.expected("a second \\u escape");
        }
        let mut unit = 0_u16;
        for _ in 0..4 {
            let digit = self.text.peek().and_then(|c| c.to_digit(16));
            let Some(digit) = digit.and_then(|digit| u16::try_from(digit).ok()) else {
                return self.expected("four hexadecimal digits");
            };
            self.text.next();
            unit = (unit << 4) | digit;
        }
        Ok(unit)
    }
}
