//! Checks a template against the shapes of its data, as Go's types do at each execution.
//!
//! Follows dot and the variables through the blocks of a template as far as shapes are known, and refuses
//! fields that do not exist, functions that Go does not have, and templates that could take long.

use super::fields::{Shape, Struct};
use gotmpl::{
    TemplateError,
    parse::{
        BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Parser, PipeNode, SmolStr,
        TemplateNode,
    },
};

/// What a template is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod and its node.
    Pod,
    /// A node alone.
    Node,
}

/// Why a template that parses cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// Not the syntax of a Go template.
    #[error(transparent)]
    Syntax(#[from] TemplateError),
    /// Blocks that do not pair with their ends.
    #[error(
        "a block has no {{{{ end }}}}, or {{{{ end }}}} or {{{{ else }}}} stands outside of every block"
    )]
    Unbalanced,
    /// Go's struct has no such field.
    #[error(
        "{of} has no field {field} (methods cannot be called): write fields as in Go, such as .PodMeta.Name"
    )]
    UnknownField {
        /// The struct.
        of: &'static str,
        /// The field.
        field: String,
    },
    /// Go's struct has it, but the controller drops it.
    #[error("the controller does not keep the field {field} of {of}, to save memory")]
    NotKept {
        /// The struct.
        of: &'static str,
        /// The field.
        field: String,
    },
    /// A field of something that has none.
    #[error("{of} has no fields, so no {field}")]
    NoFields {
        /// What it is.
        of: &'static str,
        /// The field.
        field: String,
    },
    /// `index` into something that has no elements.
    #[error("{0} cannot be indexed: name its fields")]
    NoElements(&'static str),
    /// Not a function of Go's templates.
    #[error("there is no function {0}: templates have Go's own functions only, without Sprig's")]
    UnknownFunction(String),
    /// A template that is not defined.
    #[error("there is no template {0:?}")]
    UnknownTemplate(String),
    /// A template that could run for ever.
    #[error("the template {0:?} invokes itself")]
    Recursion(String),
    /// A template that could run for long.
    #[error("the template has more than {MAX_NODES} parts, counting those of templates it invokes")]
    TooComplex,
}

/// Functions of `text/template`.
const FUNCTIONS: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];
/// The most complex template that users show has 40.
const MAX_NODES: usize = 4_000;

/// Parses and checks a template.
///
/// # Errors
/// The first thing that Go would refuse.
pub(super) fn check(source: &str, subject: Subject) -> Result<(), ShapeError> {
    // For its own errors, which the mark would change.
    parse(source)?;
    let marked = format!("{source}{MARK}");
    let (mut tree, defines) = parse(&marked)?;
    if !tree.nodes.pop().is_some_and(|node| is_mark(&node)) {
        return Err(ShapeError::Unbalanced);
    }
    let root = Shape::Struct(match subject {
        Subject::Pod => Struct::PodData,
        Subject::Node => Struct::NodeData,
    });
    let mut checker =
        Checker { defines: &defines, variables: Vec::new(), invoked: Vec::new(), nodes: 0 };
    checker.body(&tree, root)
}

fn parse(source: &str) -> Result<(ListNode, Vec<DefineNode>), TemplateError> {
    Parser::new(source, "{{", "}}").and_then(Parser::parse)
}

/// gotmpl's parser takes the end of the text for the end of open blocks, and an `{{ end }}` too many for
/// the end of the text. What is put behind a template comes out last only if its blocks are in order.
const MARK: &str = r#"{{"end of the template"}}"#;

fn is_mark(node: &Node) -> bool {
    let Node::Action(action) = node else { return false };
    let [CommandNode { args, .. }] = &action.pipe.commands[..] else { return false };
    matches!(&args[..], [Expr::String(_, text)] if &**text == "end of the template")
}

struct Checker<'a> {
    defines: &'a [DefineNode],
    /// In scope, the innermost last.
    variables: Vec<(SmolStr, Shape)>,
    /// Templates whose bodies are being checked.
    invoked: Vec<&'a SmolStr>,
    nodes: usize,
}

impl<'a> Checker<'a> {
    /// A whole template, to which `$` is what it was given.
    fn body(&mut self, list: &'a ListNode, dot: Shape) -> Result<(), ShapeError> {
        let outside = std::mem::replace(&mut self.variables, vec![(SmolStr::new_static("$"), dot)]);
        let result = self.list(list, dot);
        self.variables = outside;
        result
    }

    fn list(&mut self, list: &'a ListNode, dot: Shape) -> Result<(), ShapeError> {
        list.nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &'a Node, dot: Shape) -> Result<(), ShapeError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(ShapeError::TooComplex);
        }
        match node {
            Node::List(list) => self.list(list, dot),
            Node::Action(action) => self.pipe(&action.pipe, dot).map(drop),
            Node::If(branch) => self.branch(branch, dot, |_| dot),
            Node::With(branch) => self.branch(branch, dot, |shape| shape),
            Node::Range(branch) => self.range(branch, dot),
            Node::Template(template) => self.template(template, dot),
            // Checked where it is invoked, with what it is given.
            Node::Define(_) | Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(
        &mut self,
        branch: &'a BranchNode,
        dot: Shape,
        inner: impl Fn(Shape) -> Shape,
    ) -> Result<(), ShapeError> {
        let depth = self.variables.len();
        let shape = self.pipe(&branch.pipe, dot)?;
        self.list(&branch.body, inner(shape))?;
        if let Some(otherwise) = &branch.else_body {
            self.list(otherwise, dot)?;
        }
        self.variables.truncate(depth);
        Ok(())
    }

    fn range(&mut self, branch: &'a BranchNode, dot: Shape) -> Result<(), ShapeError> {
        let depth = self.variables.len();
        let (key, element) = match self.commands(&branch.pipe, dot)? {
            Shape::List(element) => (Shape::Number, *element),
            Shape::Texts => (Shape::Text, Shape::Text),
            Shape::Number => (Shape::Number, Shape::Number),
            _ => (Shape::Unknown, Shape::Unknown),
        };
        let shapes = match branch.pipe.decl.len() {
            1 => vec![element],
            _ => vec![key, element],
        };
        for (name, shape) in branch.pipe.decl.iter().zip(shapes) {
            self.bind(name, shape, &branch.pipe);
        }
        self.list(&branch.body, element)?;
        self.variables.truncate(depth);
        match &branch.else_body {
            Some(otherwise) => self.list(otherwise, dot),
            None => Ok(()),
        }
    }

    fn template(&mut self, node: &'a TemplateNode, dot: Shape) -> Result<(), ShapeError> {
        let given = match &node.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Shape::Unknown,
        };
        let Some(define) = self.defines.iter().rev().find(|define| define.name == node.name) else {
            return Err(ShapeError::UnknownTemplate(node.name.to_string()));
        };
        if self.invoked.contains(&&define.name) {
            return Err(ShapeError::Recursion(node.name.to_string()));
        }
        self.invoked.push(&define.name);
        let result = self.body(&define.body, given);
        self.invoked.pop();
        result
    }

    fn pipe(&mut self, pipe: &'a PipeNode, dot: Shape) -> Result<Shape, ShapeError> {
        let shape = self.commands(pipe, dot)?;
        for name in &pipe.decl {
            self.bind(name, shape, pipe);
        }
        Ok(shape)
    }

    fn bind(&mut self, name: &SmolStr, shape: Shape, pipe: &PipeNode) {
        let bound = self.variables.iter_mut().rev().find(|(other, _)| other == name);
        match bound {
            // Which of the two it holds depends on the way that was taken.
            Some((_, old)) if pipe.is_assign && *old != shape => *old = Shape::Unknown,
            Some(_) if pipe.is_assign => {}
            _ => self.variables.push((name.clone(), shape)),
        }
    }

    fn commands(&mut self, pipe: &'a PipeNode, dot: Shape) -> Result<Shape, ShapeError> {
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Shape::Unknown))
    }

    fn command(
        &mut self,
        command: &'a CommandNode,
        piped: Option<Shape>,
        dot: Shape,
    ) -> Result<Shape, ShapeError> {
        let Some((first, rest)) = command.args.split_first() else { return Ok(Shape::Unknown) };
        let mut arguments = Vec::with_capacity(rest.len());
        for argument in rest {
            arguments.push(self.expression(argument, dot)?);
        }
        arguments.extend(piped);
        match first {
            Expr::Identifier(_, name) => call(name, &arguments),
            Expr::Chain(_, inner, fields) => {
                let Expr::Identifier(_, name) = &**inner else {
                    return self.expression(first, dot);
                };
                walk(call(name, &arguments)?, fields)
            }
            _ => self.expression(first, dot),
        }
    }

    fn expression(&mut self, expression: &'a Expr, dot: Shape) -> Result<Shape, ShapeError> {
        match expression {
            Expr::Dot(_) => Ok(dot),
            Expr::Field(_, fields) => walk(dot, fields),
            Expr::Variable(_, name, fields) => {
                let bound = self.variables.iter().rev().find(|(other, _)| other == name);
                walk(bound.map_or(Shape::Unknown, |(_, shape)| *shape), fields)
            }
            Expr::Identifier(_, name) => call(name, &[]),
            Expr::String(..) => Ok(Shape::Text),
            Expr::Number(..) => Ok(Shape::Number),
            Expr::Bool(..) => Ok(Shape::Flag),
            Expr::Nil(_) => Ok(Shape::Unknown),
            Expr::Pipe(_, pipe) => self.pipe(pipe, dot),
            Expr::Chain(_, inner, fields) => walk(self.expression(inner, dot)?, fields),
        }
    }
}

fn walk(shape: Shape, fields: &[SmolStr]) -> Result<Shape, ShapeError> {
    fields.iter().try_fold(shape, |shape, field| field_of(shape, field))
}

fn field_of(shape: Shape, name: &str) -> Result<Shape, ShapeError> {
    let field = name.to_owned();
    match shape {
        Shape::Unknown => Ok(Shape::Unknown),
        Shape::Texts => Ok(Shape::Text),
        Shape::Struct(of) => match of.field(name) {
            Some(shape) => Ok(shape),
            None if of.drops(name) => Err(ShapeError::NotKept { of: of.go_name(), field }),
            None => Err(ShapeError::UnknownField { of: of.go_name(), field }),
        },
        Shape::Nothing => {
            Err(ShapeError::NoFields { of: "the pod, in a template about a node alone,", field })
        }
        Shape::Text => Err(ShapeError::NoFields { of: "a string", field }),
        Shape::Number => Err(ShapeError::NoFields { of: "a number", field }),
        Shape::Flag => Err(ShapeError::NoFields { of: "a bool", field }),
        Shape::List(_) => Err(ShapeError::NoFields { of: "a list", field }),
    }
}

fn call(name: &str, arguments: &[Shape]) -> Result<Shape, ShapeError> {
    if !FUNCTIONS.contains(&name) {
        return Err(ShapeError::UnknownFunction(name.to_owned()));
    }
    Ok(match (name, arguments) {
        ("index", [first, keys @ ..]) => {
            return keys.iter().try_fold(*first, |shape, _| element_of(shape));
        }
        ("slice", [first, ..]) => *first,
        ("and" | "or", [first, rest @ ..]) if rest.iter().all(|shape| shape == first) => *first,
        ("print" | "printf" | "println" | "html" | "js" | "urlquery", _) => Shape::Text,
        ("len", _) => Shape::Number,
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge" | "not", _) => Shape::Flag,
        _ => Shape::Unknown,
    })
}

fn element_of(shape: Shape) -> Result<Shape, ShapeError> {
    match shape {
        Shape::List(element) => Ok(*element),
        Shape::Texts => Ok(Shape::Text),
        Shape::Text => Ok(Shape::Number),
        Shape::Unknown => Ok(Shape::Unknown),
        Shape::Struct(of) => Err(ShapeError::NoElements(of.go_name())),
        Shape::Number => Err(ShapeError::NoElements("a number")),
        Shape::Flag => Err(ShapeError::NoElements("a bool")),
        Shape::Nothing => Err(ShapeError::NoElements("a pod that is not there")),
    }
}
