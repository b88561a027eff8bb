//! Chat templates against what transformers made of them: `golden/chat`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ground_truth::Checkpoint;
use ground_truth::chat::{ChatTemplate, Clock, Conversation, Templates};
use ground_truth::convert::{Request, convert, fs::RealFilesystem};
use ground_truth::format::Format;
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/chat").join(name);
    serde_json::from_slice(&fs::read(path).expect("a golden")).expect("JSON")
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().expect("an array")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a string")
}

/// What the engine makes of a case: a text, or the words of its refusal.
fn rendered(source: &str, messages: &Value, tools: &Value, variables: &Value, prompt: bool, now: &str) -> Result<String, String> {
    let tools = (!tools.is_null()).then(|| tools.to_string());
    let mut conversation =
        Conversation::parse(&messages.to_string(), tools.as_deref(), &variables.to_string()).map_err(|error| error.to_string())?;
    conversation.add_generation_prompt = prompt;
    conversation.now = Some(Clock::parse(now).map_err(|error| error.to_string())?);
    let template = ChatTemplate::new(source, Path::new("template")).map_err(|error| error.to_string())?;
    template.render(&conversation).map_err(|error| error.to_string())
}

/// Why an answer is not the golden's.
fn difference(case: &Value, found: &Result<String, String>) -> Option<String> {
    match (case.get("text").and_then(Value::as_str), found) {
        (Some(due), Ok(text)) if text == due => None,
        (None, Err(_)) => None,
        (Some(due), found) => Some(format!("{due:?} is due, there is {found:?}")),
        (None, Ok(text)) => Some(format!("a refusal is due ({}), there is {text:?}", case["refused"])),
    }
}

#[test]
fn every_conversation_has_the_text_that_transformers_gives_it() {
    let conversations = golden("conversations.json");
    let by_name: BTreeMap<&str, &Value> = array(&conversations, "conversations").iter().map(|c| (text(c, "name"), c)).collect();
    let mut wrong = Vec::new();
    let mut n = 0;
    for style in array(&golden("chat.json"), "styles") {
        let style = golden(&format!("{}.json", text(style, "name")));
        for case in array(&style, "cases") {
            let name = text(case, "conversation");
            let conversation = by_name[name];
            let mut variables = style["variables"].clone();
            let fields = variables.as_object_mut().expect("an object");
            fields.extend(conversation["variables"].as_object().expect("an object").clone());
            let prompt = case["add_generation_prompt"] == true;
            let found = rendered(
                text(&style, "template"),
                &conversation["messages"],
                &conversation["tools"],
                &variables,
                prompt,
                text(&style, "now"),
            );
            n += 1;
            wrong.extend(difference(case, &found).map(|why| format!("{} {name} {prompt}: {why}", style["style"])));
        }
    }
    assert!(n >= 800 && wrong.is_empty(), "{} of {n}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What minijinja takes otherwise than Jinja2, and how. Everything else of the golden is the same.
const OTHERWISE: [(&str, &str); 18] = [
    ("concat-float", "`~` writes a float that Python writes with an exponent without one"),
    ("percent-string", "no `%` between a string and values: refused"),
    ("percent-one", "the same"),
    ("compare-kinds", "`<` between a string and a number is false, and no error"),
    ("slice-back", "a slice backwards to 0 includes the first item"),
    ("is-callable", "no such test: refused"),
    ("wordcount", "no such filter: refused"),
    ("truncate", "no such filter: refused"),
    ("center", "no such filter: refused"),
    ("for-none", "a loop over none is one over nothing, and no error"),
    ("namespace-underscore", "a name with an underscore is like any other"),
    ("macro-varargs", "a macro has no `varargs` and no `kwargs`: refused"),
    ("autoescape", "nothing is escaped"),
    ("sandbox-format", "`format` finds no field with an underscore: refused, where Jinja2 writes nothing"),
    ("cycler", "no such function: refused"),
    ("joiner", "no such function: refused"),
    ("self-variable", "`self` is not there"),
    ("unicode-identifier", "names are ASCII: refused"),
];

#[test]
fn the_language_is_what_jinja_says() {
    let golden = golden("language.json");
    let mut wrong = Vec::new();
    let mut otherwise = Vec::new();
    for case in array(&golden, "language") {
        let found = rendered(text(case, "template"), &golden["messages"], &Value::Null, &golden["variables"], true, text(&golden, "now"));
        let Some(why) = difference(case, &found) else { continue };
        if OTHERWISE.iter().any(|(name, _)| *name == text(case, "name")) {
            otherwise.push(text(case, "name"));
        } else {
            wrong.push(format!("{}: {} {why}", text(case, "name"), case["template"]));
        }
    }
    assert_eq!(otherwise, OTHERWISE.map(|(name, _)| name), "what is said to be otherwise is not");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), array(&golden, "language").len(), wrong.join("\n"));
}

/// Between the letters and around them there is nothing once more than there are letters.
#[test]
fn nothing_is_counted_as_python_counts_it() {
    let golden = golden("language.json");
    let now = text(&golden, "now");
    let count = |word: &str| {
        rendered(&format!("{{{{ 'añb'.count('{word}') }}}}"), &golden["messages"], &Value::Null, &golden["variables"], true, now)
    };
    assert_eq!((count(""), count("b"), count("z")), (Ok("4".to_owned()), Ok("1".to_owned()), Ok("0".to_owned())));
}

/// A copy of a carried model's folder, with the file of chat templates that it lacks.
fn folder(name: &str, content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/llama-tiny");
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(source.join(file), folder.path().join(file)).expect("a copy");
    }
    fs::write(folder.path().join(name), content).expect("written");
    folder
}

/// What Jinja 3.1.6 makes of the same lines, with the filter `tojson` of transformers.
#[test]
fn numbers_are_read_and_written_as_in_jinja() {
    let variables = serde_json::json!({"big": u64::MAX, "small": i64::MIN});
    let said = |source: &str| {
        rendered(source, &serde_json::json!([{"role": "user", "content": "hi"}]), &Value::Null, &variables, false, "2026-07-05T09:08:07")
    };
    for (source, due) in [
        ("{{ big }}", "18446744073709551615"),
        ("{{ big | tojson }}", "18446744073709551615"),
        ("{{ small }}", "-9223372036854775808"),
        ("{{ true | float }}|{{ false | float }}|{{ '2.5' | float }}|{{ ' 7 ' | float }}|{{ none | float }}", "1.0|0.0|2.5|7.0|0.0"),
        ("{{ true | int }}|{{ '7.9' | int }}|{{ none | int }}|{{ 7.9 | int }}|{{ 'x' | int }}", "1|7|0|7|0"),
        ("{{ {'b': 1, 'a': 2} | tojson(false, none, none, true) }}", "{\"a\": 2, \"b\": 1}"),
        ("{{ [1, 2] | tojson(false, 1) }}", "[\n 1,\n 2\n]"),
    ] {
        assert_eq!(said(source).as_deref(), Ok(due), "{source}");
    }
    assert!(said("{{ [1] | tojson(false, none, none, false, 1) }}").is_err(), "one argument too many");
}

fn converted(source: &Path, destination: &Path, format: Format) -> Templates {
    let request = Request { source, destination, format, quantization: None, shard_bytes: None };
    convert(&request, &mut |_, _| {}, &RealFilesystem).unwrap_or_else(|error| panic!("{error}"));
    Checkpoint::open(destination).expect("a model").chat_templates
}

/// The templates travel with the model: to GGUF, to APR, and back to a folder.
#[test]
fn a_conversion_carries_the_templates() {
    let one = "{{ bos_token }}{% for m in messages %}\n{{ m.content }}\r\n{% endfor %}\n\n";
    let several = r#"{"bos_token": "<s>", "chat_template": [{"name": "default", "template": "a\u00e9b"}, {"name": "tool_use", "template": "{{ tools }}"}]}"#;
    for (name, content) in [("chat_template.jinja", one), ("tokenizer_config.json", several)] {
        let source = folder(name, content);
        let due = Templates::of_folder(source.path()).expect("templates");
        assert!(!due.is_empty());
        let made = tempfile::tempdir().expect("a folder");
        let (gguf, apr, back) = (made.path().join("m.gguf"), made.path().join("m.apr"), made.path().join("back"));
        assert_eq!(converted(source.path(), &gguf, Format::Gguf), due, "{name} to GGUF");
        assert_eq!(converted(&gguf, &apr, Format::Apr), due, "{name} to APR");
        assert_eq!(converted(&apr, &back, Format::Safetensors), due, "{name} to a folder");
        assert_eq!(due.template(None, true, source.path()).is_ok(), due.template(None, false, source.path()).is_ok());
    }
}

/// A name that is no part of a key is refused by GGUF, and kept by the others.
#[test]
fn a_name_that_gguf_cannot_say_is_refused() {
    let source = folder("tokenizer_config.json", r#"{"chat_template": [{"name": "RAG 2", "template": "x"}]}"#);
    let made = tempfile::tempdir().expect("a folder");
    let destination = made.path().join("m.gguf");
    let request = Request { source: source.path(), destination: &destination, format: Format::Gguf, quantization: None, shard_bytes: None };
    let refusal = convert(&request, &mut |_, _| {}, &RealFilesystem).expect_err("no such key").to_string();
    assert!(refusal.contains("chat_template") && refusal.contains("RAG 2"), "{refusal}");
    assert!(!destination.exists());
    assert!(!converted(source.path(), &made.path().join("m.apr"), Format::Apr).is_empty());
}

/// The file beside the configuration comes before what stands in it, and one for tools is taken where there are some.
#[test]
fn the_template_that_is_meant_is_taken() {
    let source = folder("chat_template.jinja", "of the file");
    fs::write(source.path().join("tokenizer_config.json"), r#"{"chat_template": "of the configuration"}"#).expect("written");
    fs::create_dir(source.path().join("chat_templates")).expect("a folder");
    fs::write(source.path().join("chat_templates/tool_use.jinja"), "with {{ tools | length }} tools").expect("written");
    let templates = Templates::of_folder(source.path()).expect("templates");
    let render = |name: Option<&str>, tools: Option<&str>| {
        let conversation = Conversation::parse(r#"[{"role": "user", "content": "hi"}]"#, tools, "{}").expect("a conversation");
        templates.template(name, tools.is_some(), source.path()).and_then(|template| template.render(&conversation)).expect("a text")
    };
    assert_eq!(render(None, None), "of the file");
    assert_eq!(render(None, Some("[{}]")), "with 1 tools");
    assert_eq!(render(Some("default"), Some("[{}]")), "of the file");
    assert!(templates.template(Some("rag"), false, source.path()).is_err());
}
