use super::*;
use crate::rotation::{Evidence, Step, Terms, Waive, Windows};

const OURS: &str = "aa";
const THEIRS: &str = "bb";

fn mappings(rules: &[(&str, &str, Option<&str>)]) -> Mappings {
    let mut found = Mappings::default();
    for (mapped, name, authority) in rules {
        let mapped: Mapped = mapped.parse().unwrap();
        let rule = Rule::new(&mapped, name.parse().unwrap(), authority.map(str::to_owned)).unwrap();
        let set = match found.0.remove(&mapped) {
            Some(set) => set.add((*name).to_owned(), rule, 1).unwrap(),
            None => Set::genesis((*name).to_owned(), rule, 1),
        };
        found.0.insert(mapped, set);
    }
    found
}

fn leaf(uris: &[&str], dns_names: &[&str], common_name: Option<&str>) -> Certified {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Certified {
        uris: texts(uris),
        dns_names: texts(dns_names),
        common_name: common_name.map(str::to_owned),
        serial: "1".into(),
        key_sha256: String::new(),
        algorithm: None,
        key: Vec::new(),
        expires_ms: 0,
        until_ms: 0,
        root: 0,
        intermediates: Vec::new(),
    }
}

fn named(mappings: &Mappings, leaf: &Certified) -> Result<Option<String>, Ambiguous> {
    mappings.principal(leaf, THEIRS).map(|found| found.map(|id| id.to_string()))
}

fn all() -> Mappings {
    mappings(&[
        ("service/billing", "uri:spiffe://old.example/ns/pay/sa/billing", None),
        ("service/billing", "dns:billing.pay.example", None),
        ("service/*", "uri:spiffe://old.example/sa/*", None),
        ("node/*", "dns:*.nodes.example", Some(THEIRS)),
        ("node/pier1", "dns:first.example", Some(OURS)),
        ("user/mira", "cn:Mira Holt", None),
        ("user/*", "cn:staff-*", None),
    ])
}

#[test]
fn rules_say_who_is_called_so() {
    let some = |id: &str| Ok(Some(id.to_owned()));
    let table = [
        (leaf(&["spiffe://old.example/ns/pay/sa/billing"], &[], None), some("service/billing")),
        (leaf(&["spiffe://old.example/sa/ledger"], &[], None), some("service/ledger")),
        (leaf(&[], &["PIER2.Nodes.example"], None), some("node/pier2")),
        // Only DNS names are the same in upper case.
        (leaf(&[], &[], Some("staff-Tomas")), some("user/Tomas")),
        (leaf(&["spiffe://old.example/sa/Ledger"], &[], None), some("service/Ledger")),
        (leaf(&[], &["billing.pay.example", "other.example"], None), some("service/billing")),
        (leaf(&[], &[], Some("Mira Holt")), some("user/mira")),
        (leaf(&[], &[], Some("staff-tomas")), some("user/tomas")),
        // The first kind of names that says something decides.
        (leaf(&["spiffe://old.example/sa/x"], &["pier2.nodes.example"], Some("Mira Holt")), some("service/x")),
        (leaf(&["spiffe://else.example/x"], &["pier2.nodes.example"], Some("Mira Holt")), some("node/pier2")),
        // Two names that are one principal's are no contradiction; two principals' are.
        (leaf(&[], &["pier2.nodes.example", "PIER2.nodes.example"], None), some("node/pier2")),
        (leaf(&[], &["pier2.nodes.example", "billing.pay.example"], Some("Mira Holt")), Err(Ambiguous)),
    ];
    for (leaf, expected) in table {
        assert_eq!(named(&all(), &leaf), expected, "{leaf:?}");
    }
}

#[test]
fn near_misses_name_nobody() {
    let table = [
        leaf(&["spiffe://old.example/ns/pay/sa/billing/x"], &[], None),
        leaf(&["SPIFFE://old.example/sa/ledger"], &[], None),
        leaf(&["spiffe://old.example/sa/"], &[], None),
        leaf(&["spiffe://old.example/sa/a/b"], &[], None),
        leaf(&["spiffe://old.example/sa/..%2fadmin"], &[], None),
        leaf(&[], &["a.pier2.nodes.example"], None),
        leaf(&[], &[".nodes.example"], None),
        leaf(&[], &["nodes.example"], None),
        leaf(&[], &["pier2.nodes.example.evil"], None),
        leaf(&[], &["*.nodes.example"], None),
        // Of another authority's only.
        leaf(&[], &["first.example"], None),
        leaf(&[], &[], Some("mira holt")),
        leaf(&[], &[], Some("staff-")),
        leaf(&[], &[], Some("staff-a/b")),
        leaf(&[], &[], None),
    ];
    for leaf in table {
        assert_eq!(named(&all(), &leaf), Ok(None), "{leaf:?}");
    }
}

#[test]
fn what_is_no_rule_is_refused() {
    for name in ["", "mira", "dns:", "mail:x", "dns:a\nb", &format!("cn:{}", "a".repeat(256))] {
        assert!(matches!(name.parse::<Name>(), Err(MappingError::Name(_))), "{name}");
    }
    for name in ["dns:*.*.example", "dns:pier*.example", "uri:spiffe://a/x*/y", "cn:**"] {
        assert!(matches!(name.parse::<Name>(), Err(MappingError::Wildcard(_))), "{name}");
    }
    for mapped in ["", "root/a", "*", "group/*", "node/a*"] {
        assert!(mapped.parse::<Mapped>().is_err(), "{mapped}");
    }
    for (mapped, name) in [("node/*", "dns:a.example"), ("node/a", "dns:*.example")] {
        let rule = Rule::new(&mapped.parse().unwrap(), name.parse().unwrap(), None);
        assert!(matches!(rule, Err(MappingError::OneSided { .. })), "{mapped} {name}");
    }
}

#[test]
fn a_rule_counts_until_it_is_removed_and_every_state_survives() {
    let mut mappings = mappings(&[("user/mira", "cn:old", None), ("user/mira", "cn:new", None)]);
    let (windows, evidence) = (Windows::default(), Evidence::default());
    let terms = Terms { windows: &windows, evidence: &evidence, now_ms: 2, waive: Waive::Nothing };
    let (old, new) = (leaf(&[], &[], Some("old")), leaf(&[], &[], Some("new")));
    let both = |mappings: &Mappings| [&old, &new].map(|leaf| named(mappings, leaf).unwrap().is_some());
    assert_eq!(both(&mappings), [true, true]);
    for (id, step, expected) in [
        ("cn:new", Step::Activate, [true, true]),
        ("cn:old", Step::Retire, [false, true]),
        ("cn:old", Step::Compromise, [false, true]),
    ] {
        let (mapped, set) = mappings.0.pop_first().unwrap();
        mappings.0.insert(mapped, set.step(id, step, &terms).unwrap());
        assert_eq!(both(&mappings), expected, "{id}: {step}");
        let stored = serde_json::to_value(&mappings).unwrap();
        assert_eq!(serde_json::from_value::<Mappings>(stored).unwrap(), mappings);
    }
}
