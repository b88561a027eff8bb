//! `tojson`, as transformers has it: what Python's `json.dumps` writes.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// The deepest nesting that is written.
const MAX_DEPTH: usize = 128;

/// How it is laid out.
struct Layout {
    ensure_ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

/// The filter: `tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(value: &Value, Rest(given): Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    const NAMES: [&str; 4] = ["ensure_ascii", "indent", "separators", "sort_keys"];
    if given.len() > NAMES.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let argument = |place: usize| -> Result<Option<Value>, Error> {
        let named = kwargs.get::<Option<Value>>(NAMES[place])?;
        Ok(given.get(place).cloned().or(named).filter(|value| !value.is_none()))
    };
    let is_set = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ensure_ascii = is_set(argument(0)?);
    let indent = match argument(1)? {
        None => None,
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(number) => Some(" ".repeat(usize::try_from(i64::try_from(number)?.clamp(0, 64)).unwrap_or(0))),
    };
    let (item, key) = match argument(2)? {
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
        Some(pair) => {
            let word = |i: i64| pair.get_item(&Value::from(i)).ok().and_then(|word| word.as_str().map(str::to_owned));
            match (pair.len(), word(0), word(1)) {
                (Some(2), Some(item), Some(key)) => (item, key),
                _ => return Err(wrong("separators: two strings are due".to_owned())),
            }
        }
    };
    let sort_keys = is_set(argument(3)?);
    kwargs.assert_all_used()?;
    let mut text = String::new();
    write(value, &Layout { ensure_ascii, indent, item, key, sort_keys }, 0, &mut text)?;
    Ok(text)
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn write(value: &Value, layout: &Layout, depth: usize, text: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH || text.len() > super::MAX_TEXT_BYTES {
        return Err(wrong("tojson: the value is too deep or too large".to_owned()));
    }
    match value.kind() {
        ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => text.push_str(&value.to_string()),
        ValueKind::Number => text.push_str(&json_float(f64::try_from(value.clone())?)),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), layout.ensure_ascii, text),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.collect::<Vec<_>>();
            let put = |item: &Value, text: &mut String| write(item, layout, depth + 1, text);
            list(&items, ('[', ']'), layout, depth, text, put)?;
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter()? {
                entries.push((name(&key)?, value.get_item(&key)?));
            }
            if layout.sort_keys {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            let put = |(key, value): &(String, Value), text: &mut String| {
                quote(key, layout.ensure_ascii, text);
                text.push_str(&layout.key);
                write(value, layout, depth + 1, text)
            };
            list(&entries, ('{', '}'), layout, depth, text, put)?;
        }
        kind => return Err(wrong(format!("tojson: {kind} is no JSON"))),
    }
    Ok(())
}

fn list<T>(
    items: &[T],
    brackets: (char, char),
    layout: &Layout,
    depth: usize,
    text: &mut String,
    mut put: impl FnMut(&T, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, text: &mut String| {
        if let Some(indent) = &layout.indent {
            text.push('\n');
            (0..depth).for_each(|_| text.push_str(indent));
        }
    };
    text.push(brackets.0);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push_str(&layout.item);
        }
        line(depth + 1, text);
        put(item, text)?;
    }
    if !items.is_empty() {
        line(depth, text);
    }
    text.push(brackets.1);
    Ok(())
}

/// A key as Python writes it: a number or a constant becomes its text.
fn name(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number if key.is_integer() => Ok(key.to_string()),
        ValueKind::Number => Ok(json_float(f64::try_from(key.clone())?)),
        kind => Err(wrong(format!("tojson: {kind} is no key"))),
    }
}

fn quote(value: &str, ensure_ascii: bool, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            other if ensure_ascii && !(' '..='~').contains(&other) => {
                other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

fn json_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => float(value),
    }
}

/// A float as Python writes it: the fewest digits that stand for it, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if value != 0.0 && !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => {
            let plain = value.to_string();
            if plain.contains('.') { plain } else { format!("{plain}.0") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (value, due) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float(value), due);
        }
    }
}
