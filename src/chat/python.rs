//! What templates call on strings, lists and dictionaries, as Python answers it.
//!
//! Strings: `capitalize count endswith find format index isalnum isalpha isascii isdigit islower isnumeric isspace isupper join lower lstrip
//! removeprefix removesuffix replace rfind rsplit rstrip split splitlines startswith strip title upper zfill`. Lists: `count index`.
//! Dictionaries: `get items keys values`. Nothing that changes a value: transformers' sandbox refuses that too.
//!
//! White space is Python's (the separators U+001C to U+001F too). Classes of characters beyond ASCII are those of Rust, whose `isdigit` takes
//! what Python calls numeric.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};

type Answer = Result<Value, Error>;

/// The method `name` of a value.
///
/// # Errors
///
/// [`ErrorKind::UnknownMethod`] where the type has none of this name; whatever is wrong with the arguments.
pub fn method(_: &mut State, value: &Value, name: &str, args: &[Value]) -> Answer {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => of_string(text, name, args),
        (None, ValueKind::Map) => of_dict(value, name, args),
        (None, ValueKind::Seq | ValueKind::Iterable) => of_list(value, name, args),
        _ => Err(unknown(value.kind(), name)),
    }
}

/// Filters and tests that differ from Jinja2's.
pub(super) fn add_filters(environment: &mut Environment) {
    environment.add_filter("trim", |value: &Value, chars: Option<String>| strip(&text_of(value), chars.as_deref(), Side::Both).to_owned());
    environment.add_filter("capitalize", |value: &Value| capitalize(&text_of(value)));
    environment.add_filter("replace", |value: &Value, old: Value, new: Value, count: Option<i64>| {
        replace(&text_of(value), &text_of(&old), &text_of(&new), count)
    });
    let length = |value: &Value| match value.len() {
        Some(n) => Ok(n),
        None if value.is_undefined() => Ok(0),
        None => value.try_iter().map(Iterator::count),
    };
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("int", |value: &Value, default: Option<i64>| int(value).unwrap_or(default.unwrap_or(0)));
    environment.add_filter("float", |value: &Value, default: Option<f64>| float(value).unwrap_or(default.unwrap_or(0.0)));
    environment.add_test("iterable", |value: &Value| {
        let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String);
        is_list || value.is_undefined()
    });
    environment.add_test("sequence", |value: &Value| {
        value.is_undefined() || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String)
    });
}

/// The text of a value, as printing it gives it.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| super::shown(value), str::to_owned)
}

fn unknown(kind: ValueKind, name: &str) -> Error {
    Error::new(ErrorKind::UnknownMethod, format!("{kind} has no method named {name}"))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn of_string(text: &str, name: &str, args: &[Value]) -> Answer {
    let none = || from_args::<()>(args);
    let one = || from_args::<(String,)>(args).map(|(word,)| word);
    Ok(match name {
        "upper" => Value::from(none().map(|()| text.to_uppercase())?),
        "lower" => Value::from(none().map(|()| text.to_lowercase())?),
        "title" => Value::from(none().map(|()| title(text))?),
        "capitalize" => Value::from(none().map(|()| capitalize(text))?),
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<String>,) = from_args(args)?;
            let side = [("strip", Side::Both), ("lstrip", Side::Left), ("rstrip", Side::Right)].into_iter().find(|(word, _)| *word == name);
            Value::from(strip(text, chars.as_deref(), side.map_or(Side::Both, |(_, side)| side)))
        }
        "startswith" => Value::from(any_of(args, |word| text.starts_with(word))?),
        "endswith" => Value::from(any_of(args, |word| text.ends_with(word))?),
        "removeprefix" => Value::from(one().map(|word| text.strip_prefix(word.as_str()).unwrap_or(text).to_owned())?),
        "removesuffix" => Value::from(one().map(|word| text.strip_suffix(word.as_str()).unwrap_or(text).to_owned())?),
        "replace" => {
            let (old, new, count, named): (String, String, Option<i64>, Kwargs) = from_args(args)?;
            let count = count.or(named.get("count")?);
            named.assert_all_used()?;
            Value::from(replace(text, &old, &new, count)?)
        }
        "split" | "rsplit" => split(text, args, name == "rsplit")?,
        "splitlines" => splitlines(text, args)?,
        "join" => {
            let (items,): (Value,) = from_args(args)?;
            let words = items.try_iter()?.map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong("join: an item is no string")));
            Value::from(words.collect::<Result<Vec<String>, Error>>()?.join(text))
        }
        "count" => Value::from(one().map(|word| if word.is_empty() { text.chars().count() + 1 } else { text.matches(&word).count() })?),
        "find" => Value::from(place(text, text.find(&one()?))),
        "rfind" => Value::from(place(text, text.rfind(&one()?))),
        "index" => Value::from(text.find(&one()?).map(|at| place(text, Some(at))).ok_or_else(|| wrong("index: substring not found"))?),
        "format" => Value::from(format(FormatStyle::StrFormat, text, args)?),
        "zfill" => {
            let (width,): (u16,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let zeros = usize::from(width).saturating_sub(text.chars().count());
            Value::from(format!("{sign}{}{digits}", "0".repeat(zeros)))
        }
        "isascii" => Value::from(none().map(|()| text.is_ascii())?),
        "isalnum" => Value::from(none().map(|()| is_all(text, char::is_alphanumeric))?),
        "isalpha" => Value::from(none().map(|()| is_all(text, char::is_alphabetic))?),
        "isdigit" | "isnumeric" | "isdecimal" => Value::from(none().map(|()| is_all(text, char::is_numeric))?),
        "isspace" => Value::from(none().map(|()| is_all(text, is_space))?),
        "isupper" => Value::from(none().map(|()| text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))?),
        "islower" => Value::from(none().map(|()| text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))?),
        _ => return Err(unknown(ValueKind::String, name)),
    })
}

/// At most `count` times, all if it is negative.
fn replace(text: &str, old: &str, new: &str, count: Option<i64>) -> Result<String, Error> {
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let times = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(most);
    if text.len().saturating_add(times.saturating_mul(new.len())) > super::MAX_TEXT_BYTES {
        return Err(wrong("replace: the text is too long"));
    }
    Ok(text.replacen(old, new, times))
}

fn int(value: &Value) -> Option<i64> {
    match value.as_str().map(|text| strip(text, None, Side::Both)) {
        Some(text) => text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|float| float.is_finite()).map(|float| float as i64)),
        None if value.kind() == ValueKind::Bool => Some(i64::from(value.is_true())),
        None => i64::try_from(value.clone()).ok().or_else(|| f64::try_from(value.clone()).ok().map(|float| float as i64)),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value.as_str().map(|text| strip(text, None, Side::Both)) {
        Some(text) => text.parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    }
}

fn of_dict(dict: &Value, name: &str, args: &[Value]) -> Answer {
    let pairs = || -> Result<Vec<(Value, Value)>, Error> {
        from_args::<()>(args)?;
        dict.try_iter()?.map(|key| dict.get_item(&key).map(|value| (key, value))).collect()
    };
    Ok(match name {
        "items" => pairs()?.into_iter().map(|(key, value)| Value::from(Tuple::from([key, value]))).collect(),
        "keys" => pairs()?.into_iter().map(|(key, _)| key).collect(),
        "values" => pairs()?.into_iter().map(|(_, value)| value).collect(),
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(args)?;
            let value = dict.as_object().and_then(|dict| dict.get_value(&key));
            value.or(default).unwrap_or_else(|| Value::from(()))
        }
        _ => return Err(unknown(ValueKind::Map, name)),
    })
}

fn of_list(list: &Value, name: &str, args: &[Value]) -> Answer {
    let wanted = || from_args::<(Value,)>(args).map(|(wanted,)| wanted);
    match name {
        "count" => {
            let wanted = wanted()?;
            Ok(Value::from(list.try_iter()?.filter(|item| *item == wanted).count()))
        }
        "index" => {
            let wanted = wanted()?;
            list.try_iter()?.position(|item| item == wanted).map(Value::from).ok_or_else(|| wrong("index: not in the list"))
        }
        _ => Err(unknown(list.kind(), name)),
    }
}

/// Python's white space.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

fn is_all(text: &str, of: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(of)
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
    Both,
}

fn strip<'a>(text: &'a str, chars: Option<&str>, side: Side) -> &'a str {
    let goes = |letter: char| chars.map_or_else(|| is_space(letter), |chars| chars.contains(letter));
    let text = if side == Side::Right { text } else { text.trim_start_matches(goes) };
    if side == Side::Left { text } else { text.trim_end_matches(goes) }
}

/// Whether the word, or one of a tuple of words, fits.
fn any_of(args: &[Value], fits: impl Fn(&str) -> bool) -> Result<bool, Error> {
    let (words,): (Value,) = from_args(args)?;
    if let Some(word) = words.as_str() {
        return Ok(fits(word));
    }
    let mut any = false;
    for word in words.try_iter()? {
        any |= fits(word.as_str().ok_or_else(|| wrong("a string or a tuple of strings is due"))?);
    }
    Ok(any)
}

/// The number of characters before a place in bytes; -1 for none.
fn place(text: &str, at: Option<usize>) -> i64 {
    at.map_or(-1, |at| text[..at].chars().count() as i64)
}

fn is_cased(letter: char) -> bool {
    letter.is_lowercase() || letter.is_uppercase()
}

/// A letter as it begins a word.
fn begin(letter: char) -> String {
    let mut upper = letter.to_uppercase();
    let first = upper.next().map(String::from).unwrap_or_default();
    first + &upper.flat_map(char::to_lowercase).collect::<String>()
}

fn title(text: &str) -> String {
    let (mut title, mut in_word) = (String::new(), false);
    for letter in text.chars() {
        if in_word {
            title.extend(letter.to_lowercase());
        } else {
            title.push_str(&begin(letter));
        }
        in_word = is_cased(letter);
    }
    title
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(begin).unwrap_or_default() + &letters.as_str().to_lowercase()
}

fn split(text: &str, args: &[Value], from_right: bool) -> Answer {
    let (Rest(given), named): (Rest<Value>, Kwargs) = from_args(args)?;
    if given.len() > 2 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let separator = given.first().cloned().or(named.get("sep")?).filter(|separator| !separator.is_none());
    let most = given.get(1).cloned().or(named.get("maxsplit")?).map(i64::try_from).transpose()?;
    named.assert_all_used()?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX).saturating_add(1);
    let Some(separator) = separator else {
        return Ok(words(text, most, from_right).into_iter().map(Value::from).collect());
    };
    let Some(separator) = separator.as_str().filter(|separator| !separator.is_empty()) else {
        return Err(wrong("split: a separator that is a string and not empty is due"));
    };
    if !from_right {
        return Ok(text.splitn(most, separator).map(Value::from).collect());
    }
    let mut parts: Vec<&str> = text.rsplitn(most, separator).collect();
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Words between white space, `most` at most: the last one, or the first from the right, keeps what is left.
fn words(text: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = strip(rest, None, if from_right { Side::Right } else { Side::Left });
        if rest.is_empty() {
            break;
        }
        let end = if from_right {
            rest.rfind(is_space).map(|at| at + rest[at..].chars().next().map_or(1, char::len_utf8))
        } else {
            rest.find(is_space)
        };
        match end.filter(|_| words.len() + 1 < most) {
            Some(end) if from_right => {
                words.push(&rest[end..]);
                rest = &rest[..end];
            }
            Some(end) => {
                words.push(&rest[..end]);
                rest = &rest[end..];
            }
            None => {
                words.push(rest);
                break;
            }
        }
    }
    if from_right {
        words.reverse();
    }
    words
}

fn splitlines(text: &str, args: &[Value]) -> Answer {
    let (keep, named): (Option<bool>, Kwargs) = from_args(args)?;
    let keep = keep.or(named.get("keepends")?).unwrap_or(false);
    named.assert_all_used()?;
    let is_end =
        |letter: char| matches!(letter, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(end) = rest.find(is_end) else {
            lines.push(Value::from(rest));
            break;
        };
        let width = if rest[end..].starts_with("\r\n") { 2 } else { rest[end..].chars().next().map_or(1, char::len_utf8) };
        lines.push(Value::from(if keep { &rest[..end + width] } else { &rest[..end] }));
        rest = &rest[end + width..];
    }
    Ok(Value::from(lines))
}
