//! Functions of templates that depend on Go's types.

use gotmpl::{TemplateError, Value};

/// Go's `index`. All maps that a template sees hold texts, and an absent key of such a map gives "".
pub(super) fn index(arguments: &[Value]) -> Result<Value, TemplateError> {
    let Some((value, keys)) = arguments.split_first() else {
        return Err(TemplateError::ArgCount { name: "index".to_owned(), expected: 1, got: 0 });
    };
    keys.iter().try_fold(value.clone(), |value, key| match (&value, key) {
        (Value::Map(texts), Value::String(key)) => {
            Ok(texts.get(&**key).cloned().unwrap_or_else(|| Value::String("".into())))
        }
        _ => value.index(key),
    })
}
