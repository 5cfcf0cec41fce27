//! A template that is compiled, and its bounds.

use super::{
    data::Data,
    functions,
    shape::{self, ShapeError, Subject},
};
use gotmpl::TemplateError;
use std::fmt;

/// A template that parses, and names only what exists.
pub struct Template {
    source: String,
    compiled: gotmpl::Template,
}

/// Why a text is no template.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Longer than any template has reason to be.
    #[error("the template has {0} bytes, expected at most {MAX_SOURCE_BYTES}")]
    TooLong(usize),
    /// Not the syntax of a Go template.
    #[error(transparent)]
    Syntax(#[from] TemplateError),
    /// It asks for what does not exist.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Why a template gives no text for a pod.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It asks of a value what it cannot give.
    #[error(transparent)]
    Execution(TemplateError),
    /// Something in it has no value, such as a label that the pod does not have.
    #[error(
        "the template {template:?} gives {output:?}: something in it has no value for this pod"
    )]
    NoValue {
        /// The template.
        template: String,
        /// What it gave.
        output: String,
    },
    /// It goes on and on.
    #[error("the template {template:?} gives more than {MAX_OUTPUT_BYTES} bytes")]
    TooLong {
        /// The template.
        template: String,
    },
}

/// The longest that upstream's users show has 300 bytes.
const MAX_SOURCE_BYTES: usize = 16 * 1024;
/// Twice what the longest selector may have; a SPIFFE ID has 2048 at most.
const MAX_OUTPUT_BYTES: usize = 8 * 1024;
/// All rounds of all ranges together; a pod with 50 containers of 10 ports takes 550.
const MAX_ROUNDS: u64 = 2_000;
/// What Go prints for a key that is not there, and for nothing at all.
const NO_VALUES: [&str; 2] = ["<no value>", "<nil>"];

impl Template {
    /// Compiles a template about `subject`.
    ///
    /// # Errors
    /// When it is too long, does not parse, or asks for what does not exist.
    pub fn compile(source: &str, subject: Subject) -> Result<Self, CompileError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(CompileError::TooLong(source.len()));
        }
        shape::check(source, subject)?;
        let compiled = gotmpl::Template::new("")
            .func("index", functions::index)
            .max_range_iters(MAX_ROUNDS)
            .parse(source)?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// The text for one pod or node.
    ///
    /// # Errors
    /// When something in it has no value, or it gives too much.
    pub fn render(&self, data: &Data) -> Result<String, RenderError> {
        let mut output = Output(String::new());
        match self.compiled.execute_fmt(&mut output, data.value()) {
            Ok(()) => {}
            Err(TemplateError::Write) => {
                return Err(RenderError::TooLong { template: self.source.clone() });
            }
            Err(error) => return Err(RenderError::Execution(error)),
        }
        let Output(output) = output;
        if NO_VALUES.iter().any(|marker| output.contains(marker)) {
            return Err(RenderError::NoValue { template: self.source.clone(), output });
        }
        Ok(output)
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

/// A text of bounded length.
struct Output(String);

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
