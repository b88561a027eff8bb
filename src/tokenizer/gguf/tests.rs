use rstest::rstest;

use super::*;

#[rstest]
fn every_pre_that_is_listed_is_known() {
    for pre in gpt2::PRES {
        assert!(gpt2::Pre::named(pre).is_some(), "{pre}");
    }
    assert!(gpt2::Pre::named("default").is_none());
}
