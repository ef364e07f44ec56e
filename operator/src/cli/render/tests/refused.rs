//! What is wrong with input, by line and column, with the mend.

use super::{WORLD, render};

/// The errors of an input that must have some, and nothing else.
fn errors(input: &str) -> Vec<String> {
    let (well, out, err) = render(input.as_bytes());
    assert!(!well && out.is_empty(), "{input}\n{out}\n{err}");
    err.lines().map(|line| line.strip_prefix("error: ").expect("an error").to_string()).collect()
}

#[test]
fn a_typo_is_pointed_at_with_what_was_meant() {
    let typo = WORLD.replace("    egress:\n", "    egres:\n").replace("appIds:", "appIDs:");
    assert_eq!(
        errors(&typo),
        [
            "-:8:5: spec.network.egres is no field of Region: write egress",
            "-:25:3: spec.appIDs is no field of EgressPolicy: write appIds",
        ]
    );
    let nested = WORLD.replace("protocol: TCP", "protocoll: TCP");
    assert_eq!(
        errors(&nested),
        ["-:27:61: spec.allowed[0].ports[0].protocoll is no field of EgressPolicy: write protocol"]
    );
    let metadata = WORLD.replace("{name: shop}", "{name: shop, lables: {a: b}}");
    assert_eq!(
        errors(&metadata),
        ["-:13:24: metadata.lables is no field of Project: write labels"]
    );
    let kind = WORLD.replace("kind: SecretRef", "kind: SecretRefs");
    assert_eq!(
        errors(&kind),
        ["-:30:7: kind is \"SecretRefs\", which cra.diagrid.io lacks: write SecretRef"]
    );
    let version = WORLD.replacen("v1beta1", "v1", 1);
    assert_eq!(
        errors(&version),
        ["-:2:13: apiVersion is \"cra.diagrid.io/v1\": write cra.diagrid.io/v1beta1"]
    );
}

#[test]
fn wrong_types_and_words_are_pointed_at_with_the_mend() {
    for (good, bad, error) in [
        ("[orders]", "orders", "spec.appIds is \"orders\": write a list, [\"orders\"]"),
        (
            "port: 5432",
            "port: \"5432\"",
            "spec.allowed[0].ports[0].port is \"5432\": write it without quotes, 5432",
        ),
        ("port: 5432", "port: 0", "spec.allowed[0].ports[0].port is 0: write 1 to 65535"),
        (
            "protocol: TCP",
            "protocol: tcp",
            "spec.allowed[0].ports[0].protocol is \"tcp\": write TCP",
        ),
        ("[orders]", "[1]", "spec.appIds[0] is the number 1: write it in quotes, \"1\""),
        (
            "{name: rds,",
            "{",
            "spec.allowed[0] lacks name: A name for people: it is unique in its list and appears in messages",
        ),
        (
            "trust: {domain: eu.example.com}",
            "trust: {}",
            "spec.trust lacks domain: The SPIFFE trust domain, such as `eu.example.com`",
        ),
        (
            "{hard: {pods: 10}}",
            "{hard: {pods: [10]}}",
            "spec.quota.hard.pods is a list: write a number or a text",
        ),
        (
            "remote: {name: database}",
            "remote:",
            "spec.remote is empty: give it a value, or remove it",
        ),
        (
            "{name: orders, namespace: prj-shop}\nspec",
            "{name: orders}\nspec",
            "metadata.namespace is missing: write one, such as prj-shop",
        ),
        (
            "{name: shop}",
            "{name: Shop}",
            "metadata.name is \"Shop\": write at most 253 lowercase letters, digits, dots and dashes, beginning and ending with a letter or digit",
        ),
        (
            "{name: shop}",
            "{name: shop, labels: {a: yes}}",
            "metadata.labels.a is the boolean `true`: write a string",
        ),
    ] {
        let faults = errors(&WORLD.replacen(good, bad, 1));
        let messages: Vec<&str> = faults
            .iter()
            .map(|fault| fault.splitn(4, ':').nth(3).expect("a place").trim())
            .collect();
        assert_eq!(messages, [error], "{bad}");
    }
}

#[test]
fn what_the_crd_refuses_because_it_is_empty_is_refused_here_too() {
    for (good, bad, error) in [
        (
            "[orders]",
            "[]",
            "spec.appIds is empty: name at least one, or remove it, which means every app of the project",
        ),
        (
            "[{port: 5432, protocol: TCP}]",
            "[]",
            "spec.allowed[0].ports is empty: name at least one, or remove it, which means all ports and protocols",
        ),
        (
            "ports:",
            "namespaces: [a], podLabels: {}, ports:",
            "spec.allowed[0].podLabels is empty: name at least one, or remove it",
        ),
        (
            "remote: {name: database}",
            "{remote: {name: database}, keys: []}",
            "spec.keys is empty: name at least one, or remove it, which means all, by their own names",
        ),
        (
            "    egress:",
            "    ipFamilies: []\n    egress:",
            "spec.network.ipFamilies is empty: name at least one, or remove it, which means both",
        ),
    ] {
        let faults = errors(&WORLD.replacen(good, bad, 1));
        assert!(faults.len() == 1 && faults[0].ends_with(error), "{bad}: {faults:?}");
    }
    // An empty block list is no mistake: it replaces the default one.
    assert!(
        render(WORLD.replace("      delegated:", "      blocked: []\n      delegated:").as_bytes())
            .0
    );
}

#[test]
fn what_is_there_twice_is_pointed_at_both_times() {
    let key = WORLD.replace("  trust:", "  trust: {domain: a}\n  trust:");
    assert_eq!(
        errors(&key),
        ["-:7:3: spec.trust is there twice: remove one, the first is in line 6"]
    );
    let object = format!(
        "{WORLD}---\napiVersion: cra.diagrid.io/v1beta1\nkind: Project\nmetadata: {{name: shop}}\n"
    );
    assert_eq!(
        errors(&object),
        ["-:41:1: Project shop is there twice: remove one, the first is at -:11"]
    );
    let entry = WORLD.replace("[10.20.5.6/32]", "[10.20.5.6/32, 10.20.5.6/32]");
    assert_eq!(
        errors(&entry),
        ["-:27:39: spec.allowed[0].cidrs[1] is \"10.20.5.6/32\", as in [0]: remove one"]
    );
}

#[test]
fn errors_of_all_documents_are_gathered() {
    let input = "a: *x\n---\nkind: Project\n---\napiVersion: cra.diagrid.io/v1beta1\nkind: Region\nmetadata: {name: eu}\n";
    let faults = errors(input);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("-:1:4: "));
    assert_eq!(faults[1], "-:3:1: is no Kubernetes object: write its apiVersion and kind");
    assert_eq!(faults[2], "-:5:1: lacks spec: add it");
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let before = level - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        bomb.extend([format!("a{level}: &a{level} [{ten}]\n")]);
    }
    let began = std::time::Instant::now();
    assert_eq!(errors(&bomb).len(), 1);
    assert!(began.elapsed().as_secs() < 10);
}
