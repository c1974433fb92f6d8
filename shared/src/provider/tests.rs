//! Tests of the table: names, addresses, sources.

use super::*;
use std::collections::BTreeSet;

#[test]
fn every_kind_reads_its_own_name() {
    for kind in ProviderKind::ALL {
        assert_eq!(ProviderKind::parse(kind.as_str()), Some(*kind));
    }
    let names: BTreeSet<&str> = ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), ProviderKind::ALL.len());
}

#[test]
fn a_variable_belongs_to_one_kind() {
    let all: Vec<&str> = ProviderKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().key_variables.iter().chain(kind.facts().url_variables))
        .copied()
        .collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
}

#[test]
fn every_difference_has_a_source_and_every_special_field_is_explained() {
    for kind in ProviderKind::ALL {
        let facts = kind.facts();
        for quirk in facts.quirks {
            assert!(quirk.what.ends_with('.') && !quirk.source.is_empty() && quirk.as_of.len() == 10, "{quirk:?}");
        }
        let is_special = facts.has_cost
            || facts.has_reasoning_outside
            || facts.takes_top_k
            || facts.takes_reasoning_content
            || !facts.takes_stream_options
            || !facts.takes_newer_cap
            || !facts.takes_user
            || facts.says_any
            || facts.may_choose_tier
            || facts.cap_field != CapField::MaxTokens;
        assert!(!is_special || !facts.quirks.is_empty(), "{} differs and does not say why", facts.name);
    }
}

#[test]
fn a_usual_address_is_https_unless_it_is_this_machine() {
    for kind in ProviderKind::ALL {
        let Some(url) = kind.default_base_url() else { continue };
        let here = kind.is_local() && url.starts_with("http://127.0.0.1:");
        assert!(!url.ends_with('/') && (here || url.starts_with("https://")), "{url}");
    }
}
