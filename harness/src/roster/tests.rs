use super::*;
use crate::fixture::Fixture;

fn read(fixture: &Fixture, settings: &Settings) -> Roster {
    Roster::read(&fixture.workspace(), settings)
}

fn models(value: impl Into<OsString>) -> Settings {
    Settings { models: Some(value.into()), ..Settings::default() }
}

/// The one problem there is.
fn problem(roster: &Roster) -> &Problem {
    let [problem] = roster.problems.as_slice() else {
        panic!("{} problems: {:#?}", roster.problems.len(), roster.problems);
    };
    problem
}

fn names(roster: &Roster) -> Vec<&str> {
    roster.entries.iter().map(|entry| entry.golden.index.model.as_str()).collect()
}

#[test]
fn carried_models_with_goldens_are_the_roster() {
    let roster = read(&Fixture::carrying(&["b", "a"]), &Settings::default());
    assert_eq!(names(&roster), ["a", "b"]);
    assert_eq!(roster.problems, []);
    assert!(roster.entries.iter().all(|entry| entry.model.is_some() && entry.refused.is_none() && entry.not_tested.is_none()));
}

#[test]
fn a_named_folder_of_models_joins_the_roster() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("more/b");
    fixture.golden("golden/b", "more/b", "b", false);
    for value in ["more", "more/b", "more/"] {
        let roster = read(&fixture, &models(value));
        assert_eq!(names(&roster), ["a", "b"], "{value}");
        assert_eq!(roster.problems, [], "{value}");
        assert_eq!(roster.entries[1].model.as_ref().map(|model| model.path.clone()), Some(fixture.path("more/b")));
    }
    let absolute = read(&fixture, &models(fixture.path("more")));
    assert_eq!(names(&absolute), ["a", "b"]);
    assert_eq!(absolute.problems, []);
}

#[test]
fn named_goldens_join_too() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("more/b");
    fixture.golden("goldens/b", "more/b", "b", false);
    for value in ["goldens", "goldens/b"] {
        let settings = Settings { golden: Some(value.into()), ..models("more") };
        let roster = read(&fixture, &settings);
        assert_eq!(names(&roster), ["a", "b"], "{value}");
        assert_eq!(roster.problems, [], "{value}");
    }
}

#[test]
fn a_value_that_names_nothing_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("hollow/README.md", "");
    for (value, says) in [
        ("nowhere", "nowhere is no folder"),
        ("", "entry 1 is empty"),
        ("hollow", "hollow holds no folder"),
        ("golden/a/index.json", "is no folder"),
    ] {
        let roster = read(&fixture, &models(value));
        assert!(problem(&roster).observed.contains(says), "{value}: {:?}", roster.problems);
        assert_eq!(names(&roster), ["a"], "what is good is still judged");
        let settings = Settings { golden: Some(value.into()), ..Settings::default() };
        assert!(problem(&read(&fixture, &settings)).observed.contains(says), "{value}");
    }
}

#[test]
fn an_empty_entry_is_red_wherever_it_stands() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("more/b");
    fixture.golden("golden/b", "more/b", "b", false);
    for (value, position) in [(":more", 1), ("more:", 2), ("more::more/b", 2)] {
        let roster = read(&fixture, &models(value));
        let subject = format!("variable::GROUND_TRUTH_MODELS::{position}");
        assert!(roster.problems.iter().any(|problem| problem.subject == subject), "{value}: {:?}", roster.problems);
    }
}

#[test]
fn two_models_of_one_name_are_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("more/a");
    let roster = read(&fixture, &models("more"));
    assert!(problem(&roster).observed.contains("testdata/models/a and more/a"), "{:?}", roster.problems);
}

#[test]
fn two_goldens_of_one_name_are_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.golden("goldens/a", "testdata/models/a", "a", true);
    let settings = Settings { golden: Some("goldens".into()), ..Settings::default() };
    assert!(problem(&read(&fixture, &settings)).observed.contains("golden/a and goldens/a"));
}

#[test]
fn a_model_without_golden_is_red_with_the_command() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.remove("golden/a");
    let roster = read(&fixture, &Settings::default());
    let observed = &problem(&roster).observed;
    assert!(observed.contains("golden/a/index.json is absent"), "{observed}");
    assert!(observed.ends_with("uv run golden/oracle.py testdata/models/a --carried"), "{observed}");
}

#[test]
fn a_model_from_elsewhere_without_golden_is_red_with_its_command() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("my models/b");
    let settings = models("my models");
    let roster = read(&fixture, &settings);
    let observed = &problem(&roster).observed;
    assert!(observed.ends_with("uv run golden/oracle.py 'my models/b'"), "{observed}");
}

#[test]
fn a_carried_model_that_is_absent_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.remove("testdata/models/a");
    let roster = read(&fixture, &Settings::default());
    let entry = &roster.entries[0];
    assert!(entry.refused.as_ref().is_some_and(|reason| reason.contains("testdata/models/a is absent")), "{entry:?}");
    assert_eq!(entry.not_tested, None);
}

#[test]
fn a_model_that_is_not_carried_may_be_absent_unless_all_is_required() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.model("more/b");
    fixture.golden("golden/b", "more/b", "b", false);
    let roster = read(&fixture, &Settings::default());
    assert!(roster.entries[1].not_tested.as_ref().is_some_and(|reason| reason.contains("`b` is not carried")));
    assert_eq!((&roster.entries[1].refused, roster.problems), (&None, vec![]));
    let settings = Settings { require_all: Some("1".into()), ..Settings::default() };
    let roster = read(&fixture, &settings);
    assert!(roster.entries[1].refused.as_ref().is_some_and(|reason| reason.contains("GROUND_TRUTH_REQUIRE_ALL")));
    assert_eq!(roster.entries[1].not_tested, None);
}

#[test]
fn carried_is_where_the_model_lies() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.golden("golden/a", "testdata/models/a", "a", false);
    let refused = &read(&fixture, &Settings::default()).entries[0].refused;
    assert!(refused.as_ref().is_some_and(|reason| reason.contains("`carried: false`")), "{refused:?}");
}

#[test]
fn an_emptied_workspace_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.remove("golden");
    assert_eq!(problem(&read(&fixture, &Settings::default())).subject, "model::a");
    fixture.remove("testdata");
    assert_eq!(problem(&read(&fixture, &Settings::default())).subject, "empty");
}

#[test]
fn a_folder_of_golden_without_index_is_red_and_schemas_are_none_of_them() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("golden/schema/index.schema.json", "{}");
    fixture.write("golden/vectors/rope.json", "{}");
    fixture.write("golden/oracle.py", "");
    assert_eq!(read(&fixture, &Settings::default()).problems, []);
    fixture.write("golden/b/code.json", "{}");
    let roster = read(&fixture, &Settings::default());
    assert!(problem(&roster).observed.contains("golden/b/index.json is absent"), "{:?}", roster.problems);
}

#[test]
fn an_index_that_cannot_be_read_is_red_once_and_named() {
    for (content, says) in
        [("", "index.json"), ("{", "index.json"), ("[]", "index.json"), (r#"{"schema":"ground-truth/golden/2"}"#, "index.json")]
    {
        let fixture = Fixture::carrying(&["a"]);
        fixture.write("golden/a/index.json", content);
        let roster = read(&fixture, &Settings::default());
        assert!(problem(&roster).observed.contains(says), "{content}: {:?}", roster.problems);
    }
}

#[test]
fn an_index_that_names_what_cannot_be_listed_is_red() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [(Edit, &str); 8] = [
        (|index| index["model"] = "b".into(), "field `model` is `b`"),
        (|index| index["model"] = "../a".into(), "`model`"),
        (|index| index["prompts"] = serde_json::json!([]), "`prompts` is empty"),
        (|index| index["prompts"][0]["name"] = "a::b".into(), "`prompts[0].name`"),
        (|index| index["prompts"][1]["name"] = "arithmetic".into(), "repeats `arithmetic`"),
        (|index| index["golden_files"][0]["name"] = "../../etc/passwd".into(), "not a plain file name"),
        (|index| index["model_files"][0]["name"] = "/etc/passwd".into(), "not a plain file name"),
        (|index| index["perplexity"][0] = "../x.json".into(), "not a plain file name"),
    ];
    for (edit, says) in edits {
        let fixture = Fixture::carrying(&["a"]);
        let mut index = fixture.index("golden/a", "testdata/models/a", "a", true);
        edit(&mut index);
        fixture.write("golden/a/index.json", index.to_string());
        let roster = read(&fixture, &Settings::default());
        assert!(roster.problems.iter().any(|problem| problem.observed.contains(says)), "{says}: {:?}", roster.problems);
        assert!(roster.entries.is_empty(), "{says}");
    }
}

#[test]
fn a_folder_that_cannot_be_named_or_is_no_model_is_red() {
    for (folder, says) in [("a b", "cannot be a part of a test name"), ("x::y", "cannot be a part of a test name"), ("-x", "cannot be")] {
        let fixture = Fixture::carrying(&["a"]);
        fixture.model(&format!("testdata/models/{folder}"));
        assert!(problem(&read(&fixture, &Settings::default())).observed.contains(says), "{folder}");
    }
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("testdata/models/b/model.safetensors", "");
    assert!(problem(&read(&fixture, &Settings::default())).observed.contains("testdata/models/b holds no config.json"));
}

#[test]
fn a_given_file_that_cannot_be_one_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("b.gguf", "");
    for (value, says) in [
        ("a=a.gguf", "is absent"),
        ("b=b.gguf", "no golden of a model `b`"),
        ("b.gguf", "model=file"),
        ("", "model=file"),
        ("=x", "model=file"),
    ] {
        let settings = Settings { artifacts: Some(value.into()), ..Settings::default() };
        assert!(problem(&read(&fixture, &settings)).observed.contains(says), "{value}");
    }
}

#[test]
fn a_given_file_joins_its_model_once_also_if_it_cannot_be_read() {
    let fixture = Fixture::carrying(&["a", "b"]);
    fixture.write("files/x.gguf", "no such magic");
    let settings = Settings { artifacts: Some("b=files/x.gguf:b=files/x.gguf".into()), ..Settings::default() };
    let roster = read(&fixture, &settings);
    assert_eq!(roster.problems, []);
    let [a, b] = roster.entries.as_slice() else { panic!("two models") };
    assert!(a.given.is_empty());
    let [given] = b.given.as_slice() else { panic!("one file") };
    assert_eq!((given.name.as_str(), given.quantization.as_str()), ("x.gguf", "unreadable"));
    assert!(given.unreadable.as_ref().is_some_and(|reason| reason.contains("x.gguf")));
}

#[test]
fn data_and_require_all_are_held_to_what_they_may_be() {
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("data/x", "");
    let with = |data: &str, all: &str| Settings { data: Some(data.into()), require_all: Some(all.into()), ..Settings::default() };
    let roster = read(&fixture, &with("data", "0"));
    assert_eq!((roster.data, roster.problems), (Some(fixture.path("data")), vec![]));
    for wrong in ["nowhere", "", "data/x"] {
        assert_eq!(problem(&read(&fixture, &with(wrong, ""))).subject, "variable::GROUND_TRUTH_DATA", "{wrong}");
    }
    assert!(problem(&read(&fixture, &with("data", "yes"))).observed.contains("`yes`"));
}

/// YaRN with another ramp than llama.cpp's: a field that GGUF can state and llama.cpp reads past.
#[test]
fn a_model_that_gguf_has_no_words_for_is_known_by_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let model = ModelFolder { name: "m".to_owned(), path: folder.path().to_owned(), carried: false };
    let write = |beta_fast: f64| {
        let text = format!(
            r#"{{"model_type": "llama", "vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 16, "max_position_embeddings": 64, "rope_scaling": {{"rope_type": "yarn", "factor": 2.0,
                "original_max_position_embeddings": 32, "beta_fast": {beta_fast}, "beta_slow": 1.0}}}}"#
        );
        fs::write(folder.path().join("config.json"), text).unwrap();
    };
    assert_eq!(unsayable(&model), None, "a folder without a configuration is the gate's to judge");
    write(32.0);
    assert_eq!(unsayable(&model), None);
    write(16.0);
    assert!(unsayable(&model).is_some_and(|why| why.contains("rope_scaling.beta_fast")), "{:?}", unsayable(&model));
}

#[test]
fn a_roster_is_fast_or_whole_and_any_other_word_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    let read = |word: &str| Roster::read(&fixture.workspace(), &Settings { roster: Some(word.into()), ..Settings::default() });
    assert!(read("fast").fast && read("fast").problems.is_empty());
    assert!(!read("").fast && read("").problems.is_empty());
    let roster = read("quick");
    assert!(!roster.fast && roster.problems.iter().any(|problem| problem.subject == "variable::GROUND_TRUTH_ROSTER"));
}
