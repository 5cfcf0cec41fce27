//! Cuts HCL 1 text into tokens, as `hcl/scanner` of HCL 1 does; strings come out decoded.

use std::borrow::Cow;

use super::error::{Fault, SyntaxError};
use super::text::Text;
use super::tree::Position;

/// A token, where it begins, and its text: decoded for strings, as spelled for all else.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) at: Position,
    pub(super) text: Cow<'a, str>,
}

/// The kinds of token the grammar can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Word,
    Number,
    Float,
    Bool,
    String,
    Heredoc,
    OpenList,
    CloseList,
    OpenObject,
    CloseObject,
    Comma,
    Period,
    Assign,
    Plus,
    Minus,
}

impl Kind {
    /// HCL 1's name for the token, as its error messages say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::End => "EOF",
            Self::Word => "IDENT",
            Self::Number => "NUMBER",
            Self::Float => "FLOAT",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::Heredoc => "HEREDOC",
            Self::OpenList => "LBRACK",
            Self::CloseList => "RBRACK",
            Self::OpenObject => "LBRACE",
            Self::CloseObject => "RBRACE",
            Self::Comma => "COMMA",
            Self::Period => "PERIOD",
            Self::Assign => "ASSIGN",
            Self::Plus => "ADD",
            Self::Minus => "SUB",
        }
    }
}

type Result<T> = std::result::Result<T, SyntaxError>;

const fn fault<T>(at: Position, fault: Fault) -> Result<T> {
    Err(SyntaxError { at, fault })
}

/// Hands out the tokens of a text, without comments.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: Text<'a>,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text: Text::new(text) }
    }

    /// The next token; `Kind::End` for ever after the last.
    pub(super) fn token(&mut self) -> Result<Token<'a>> {
        self.skip_blanks_and_comments()?;
        let at = self.text.at();
        let start = self.text.rest();
        let Some(first) = self.text.next() else {
            return Ok(Token { kind: Kind::End, at, text: Cow::Borrowed("") });
        };
        let kind = match first {
            '"' => {
                let text = Cow::Owned(self.string()?);
                return Ok(Token { kind: Kind::String, at, text });
            }
            '<' => {
                let text = Cow::Owned(self.heredoc()?);
                return Ok(Token { kind: Kind::Heredoc, at, text });
            }
            first => self.plain(first, at)?,
        };
        let text = self.text.since(start);
        let kind = match text {
            "true" | "false" => Kind::Bool,
            _ => kind,
        };
        Ok(Token { kind, at, text: Cow::Borrowed(text) })
    }

    fn plain(&mut self, first: char, at: Position) -> Result<Kind> {
        let next_is_digit = self.text.peek().is_some_and(|c| c.is_ascii_digit());
        Ok(match first {
            '[' => Kind::OpenList,
            ']' => Kind::CloseList,
            '{' => Kind::OpenObject,
            '}' => Kind::CloseObject,
            ',' => Kind::Comma,
            '=' => Kind::Assign,
            '+' => Kind::Plus,
            '.' if next_is_digit => {
                self.digits();
                self.exponent();
                Kind::Float
            }
            '.' => Kind::Period,
            '-' if next_is_digit => {
                let first = self.text.next().unwrap_or_default();
                self.number(first)?
            }
            '-' => Kind::Minus,
            '0'..='9' => self.number(first)?,
            '\0' => return fault(at, Fault::Nul),
            letter if is_letter(letter) => {
                self.text.take_while(|c| is_letter(c) || is_digit(c) || c == '-' || c == '.');
                Kind::Word
            }
            _ => return fault(at, Fault::IllegalCharacter),
        })
    }

    fn skip_blanks_and_comments(&mut self) -> Result<()> {
        loop {
            self.text.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let at = self.text.at();
            match self.text.peek() {
                Some('#') => self.line_comment()?,
                Some('/') => {
                    self.text.next();
                    match self.text.peek() {
                        Some('/') => self.line_comment()?,
                        Some('*') => self.block_comment()?,
                        _ => return fault(at, Fault::LoneSlash),
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn line_comment(&mut self) -> Result<()> {
        self.text.take_while(|c| c != '\n' && c != '\0');
        match self.text.peek() {
            Some('\0') => fault(self.text.at(), Fault::Nul),
            _ => Ok(()),
        }
    }

    fn block_comment(&mut self) -> Result<()> {
        self.text.next();
        loop {
            let at = self.text.at();
            match self.text.next() {
                Some('*') if self.text.take('/') => return Ok(()),
                Some('\0') => return fault(at, Fault::Nul),
                Some(_) => {}
                None => return fault(at, Fault::OpenComment),
            }
        }
    }

    fn digits(&mut self) -> &'a str {
        self.text.take_while(|c| c.is_ascii_digit())
    }

    fn number(&mut self, first: char) -> Result<Kind> {
        if first == '0' && (self.text.take('x') || self.text.take('X')) {
            let digits = self.text.take_while(|c| c.is_ascii_hexdigit());
            if digits.is_empty() {
                return fault(self.text.at(), Fault::IllegalHexadecimal);
            }
            return Ok(Kind::Number);
        }
        let digits = self.digits();
        let fraction = self.text.take('.');
        if fraction {
            self.digits();
        }
        if self.exponent() || fraction {
            return Ok(Kind::Float);
        }
        if first == '0' && digits.contains(['8', '9']) {
            return fault(self.text.at(), Fault::IllegalOctal);
        }
        Ok(Kind::Number)
    }

    fn exponent(&mut self) -> bool {
        if !self.text.take('e') && !self.text.take('E') {
            return false;
        }
        if !self.text.take('-') {
            self.text.take('+');
        }
        self.digits();
        true
    }

    /// A quoted string after its first quote. What stands in `${…}` is kept as it is, quotes and newlines included.
    fn string(&mut self) -> Result<String> {
        let mut decoded = String::new();
        let mut braces = 0_usize;
        loop {
            let at = self.text.at();
            let start = self.text.rest();
            let Some(character) = self.text.next() else {
                return fault(at, Fault::OpenString);
            };
            match character {
                '\0' => return fault(at, Fault::Nul),
                '\n' if braces == 0 => return fault(at, Fault::OpenString),
                '"' if braces == 0 => return Ok(decoded),
                '\\' => {
                    let escaped = self.escape()?;
                    if braces == 0 {
                        decoded.push(escaped);
                    } else {
                        decoded.push_str(self.text.since(start));
                    }
                    continue;
                }
                '$' if braces == 0 && self.text.take('{') => {
                    decoded.push_str("${");
                    braces = 1;
                    continue;
                }
                '{' if braces > 0 => braces = braces.saturating_add(1),
                '}' => braces = braces.saturating_sub(1),
                _ => {}
            }
            decoded.push(character);
        }
    }

    fn escape(&mut self) -> Result<char> {
        let at = self.text.at();
        Ok(match self.text.peek() {
            Some('0'..='7') => return self.escaped_code(8, 3),
            Some(kind) => {
                self.text.next();
                match kind {
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    '\\' | '"' => kind,
                    'x' => return self.escaped_code(16, 2),
                    'u' => return self.escaped_code(16, 4),
                    'U' => return self.escaped_code(16, 8),
                    _ => return fault(at, Fault::IllegalEscape),
                }
            }
            None => return fault(at, Fault::IllegalEscape),
        })
    }

    fn escaped_code(&mut self, base: u32, digits: u32) -> Result<char> {
        let start = self.text.at();
        let mut code = 0_u32;
        for _ in 0..digits {
            let at = self.text.at();
            let Some(digit) = self.text.peek().and_then(|c| c.to_digit(base)) else {
                return fault(at, Fault::IllegalEscape);
            };
            self.text.next();
            code = code.wrapping_mul(base).wrapping_add(digit);
        }
        // `\x` and octal name a byte in Go; one above 127 alone is not UTF-8.
        let is_byte = digits < 4;
        match char::from_u32(code) {
            Some(character) if !is_byte || character.is_ascii() => Ok(character),
            _ => fault(start, Fault::IllegalEscape),
        }
    }

    /// A heredoc after its first `<`: the lines up to the anchor, without the anchor's indentation after `<<-`.
    fn heredoc(&mut self) -> Result<String> {
        if !self.text.take('<') {
            return fault(self.text.at(), Fault::LoneLess);
        }
        let is_indented = self.text.take('-');
        let anchor = self.text.take_while(|c| is_letter(c) || is_digit(c));
        match self.text.peek() {
            None => return fault(self.text.at(), Fault::OpenHeredoc),
            Some('\n') if anchor.is_empty() => {
                return fault(self.text.at(), Fault::EmptyHeredocAnchor);
            }
            Some('\n') => self.text.next(),
            Some(_) => return fault(self.text.at(), Fault::HeredocAnchor),
        };
        let mut lines = Vec::new();
        loop {
            let line = self.text.take_while(|c| c != '\n' && c != '\0');
            let at = self.text.at();
            match self.text.next() {
                None => return fault(at, Fault::OpenHeredoc),
                Some('\0') => return fault(at, Fault::Nul),
                Some(_) => {}
            }
            if line.trim_ascii_start().trim_end_matches('\r') == anchor {
                let indentation = line.split(anchor).next().unwrap_or_default();
                return Ok(join(&lines, if is_indented { indentation } else { "" }));
            }
            lines.push(line);
        }
    }
}

/// The lines as one text, less `indentation` if every line has it.
fn join(lines: &[&str], indentation: &str) -> String {
    let cut = lines.iter().all(|line| line.starts_with(indentation));
    let cut = if cut { indentation.len() } else { 0 };
    lines.iter().flat_map(|line| [line.get(cut..).unwrap_or_default(), "\n"]).collect()
}

fn is_letter(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn is_digit(character: char) -> bool {
    character.is_numeric()
}
