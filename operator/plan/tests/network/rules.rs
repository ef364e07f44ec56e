//! What is refused, by which sentence, and that a mistake never widens.

use catalyst_plan::network::validate_region;
use serde_json::{Value, json};

use crate::verdict::assert_valid;
use crate::world::{Fence, policy, project, region, world};

/// The fence of `shop` with one EgressPolicy `p`, under a platform that delegates 10.20.0.0/16 and `databases`.
fn with(spec: &Value) -> Fence {
    let own =
        json!({"egress": {"delegated": {"cidrs": ["10.20.0.0/16"], "namespaces": ["databases"]}}});
    let fence = Fence::of(&own, &world(&json!({}), vec![policy("p", spec)]));
    assert_valid(&fence.policies);
    fence
}

#[test]
fn a_bad_entry_is_named_and_counts_for_nothing() {
    for (rule, sentence) in [
        (
            json!({"cidrs": ["10.4.5.6/8"]}),
            "spec.allowed[0].cidrs[0] is \"10.4.5.6/8\": host bits are set; write 10.0.0.0/8",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32", "10.4.5.6"]}),
            "spec.allowed[0].cidrs[1] is \"10.4.5.6\": the prefix length is missing; write 10.4.5.6/32",
        ),
        (json!({}), "spec.allowed[0] has neither cidrs nor namespaces"),
        (
            json!({"cidrs": ["10.20.0.1/32"], "podLabels": {"a": "b"}}),
            "spec.allowed[0].podLabels narrows namespaces, and there are none",
        ),
        (json!({"namespaces": ["Databases"]}), "spec.allowed[0].namespaces[0] is \"Databases\""),
        (
            json!({"namespaces": ["databases"], "podLabels": {"app": "a b"}}),
            "spec.allowed[0].podLabels[app] is \"a b\"",
        ),
        (
            json!({"namespaces": ["databases"], "podLabels": {"a b": "c"}}),
            "spec.allowed[0].podLabels has the key \"a b\"",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32"], "ports": [{"port": 0}]}),
            "spec.allowed[0].ports[0].port is 0: write a port from 1 to 65535",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32"], "ports": [{"port": 65536}]}),
            "spec.allowed[0].ports[0].port is 65536",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32"], "ports": [{"port": 443, "endPort": 80}]}),
            "spec.allowed[0].ports[0].endPort is 80: write the last port of the range, from 443",
        ),
    ] {
        let mut rule = rule;
        rule["name"] = json!("bad");
        let good = json!({"name": "good", "cidrs": ["10.20.9.9/32"]});
        let fence = with(&json!({"allowed": [rule, good]}));
        let (reason, message) = fence.problem("p");
        assert_eq!(reason, "InvalidEgress");
        assert!(message.starts_with(sentence), "{message}");
        assert!(!fence.opens("orders", "10.20.0.1", 443), "{message}");
        assert!(!fence.opens_pods("orders", "databases", &[("app", "a b")], 443));
        assert!(fence.opens("orders", "10.20.9.9", 443), "the good entry stands");
        assert!(fence.plan.problem.is_none(), "the Project is not to blame");
    }
}

#[test]
fn several_problems_give_one_reason_and_the_first_sentences() {
    let bad = |name: &str| json!({"name": name, "cidrs": ["10.0.0.1/8"]});
    let metadata = json!({"name": "imds", "cidrs": ["169.254.169.254/32"]});
    let fence = with(&json!({"allowed": [metadata, bad("a"), bad("b"), bad("c"), bad("d")]}));
    let (reason, message) = fence.problem("p");
    assert_eq!(reason, "InvalidEgress", "{message}");
    assert!(message.ends_with("(and 2 more)"), "{message}");
}

#[test]
fn names_are_unique_and_a_double_never_widens() {
    let fence = with(&json!({
        "blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}, {"name": "x", "cidrs": ["9.9.9.0/24"]}],
        "allowed": [{"name": "x", "cidrs": ["10.20.0.1/32"]}, {"name": "x", "cidrs": ["10.20.0.2/32"]}],
    }));
    assert!(
        fence.problem("p").1.starts_with("spec.blocked[1].name is \"x\", as an entry before it")
    );
    assert!(!fence.opens("orders", "8.8.8.8", 1) && !fence.opens("orders", "9.9.9.9", 1));
    assert!(fence.opens("orders", "10.20.0.1", 1) && !fence.opens("orders", "10.20.0.2", 1));
}

#[test]
fn a_bad_block_never_widens() {
    let fence = with(&json!({"blocked": [{"name": "x", "cidrs": ["8.8.8.8/8"]}]}));
    assert_eq!(
        fence.problem("p").1,
        "spec.blocked[0].cidrs[0] is \"8.8.8.8/8\": host bits are set; write 8.0.0.0/8"
    );
    assert!(!fence.opens("orders", "8.1.1.1", 443) && fence.opens("orders", "9.9.9.9", 443));

    for unreadable in [json!(["010.0.0.0/8"]), json!(["8.8.8.8"]), json!(["everything"]), json!([])]
    {
        let fence =
            with(&json!({"appIds": ["orders"], "blocked": [{"name": "x", "cidrs": unreadable}]}));
        assert!(fence.problem("p").1.ends_with("until then all is blocked that nothing allows"));
        assert!(!fence.opens("orders", "9.9.9.9", 443));
        assert!(fence.opens("payments", "9.9.9.9", 443), "it names orders only");
    }
}

#[test]
fn app_ids_never_widen() {
    let empty = with(&json!({"appIds": [], "blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}],
        "allowed": [{"name": "x", "cidrs": ["10.20.0.1/32"]}]}));
    assert!(empty.problem("p").1.starts_with("spec.appIds is empty"));
    assert!(!empty.opens("orders", "10.20.0.1", 1));
    assert!(!empty.opens("orders", "8.8.8.8", 1) && !empty.opens("", "8.8.8.8", 1));
    assert_eq!(empty.finding("p").status["networkPolicies"], json!(["base-egress"]));

    let partly = with(
        &json!({"appIds": ["Orders", "payments"], "allowed": [{"name": "x", "cidrs": ["10.20.0.1/32"]}]}),
    );
    assert!(partly.problem("p").1.starts_with("spec.appIds[0] is \"Orders\""));
    assert!(partly.opens("payments", "10.20.0.1", 1) && !partly.opens("orders", "10.20.0.1", 1));
}

#[test]
fn a_missing_app_is_a_warning_and_fenced_before_it_comes() {
    let fence =
        with(&json!({"appIds": ["later"], "blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}]}));
    let finding = fence.finding("p");
    assert!(finding.problem.is_none());
    assert_eq!(
        finding.status["warnings"],
        json!(["spec.appIds[0] is \"later\": there is no AppIdentity of that name"])
    );
    assert!(!fence.opens("later", "8.8.8.8", 1));
}

#[test]
fn service_ports_and_idle_blocks_are_warned_of() {
    let fence = with(&json!({
        "blocked": [{"name": "x", "cidrs": ["10.20.1.0/24"]}],
        "allowed": [
            {"name": "a", "namespaces": ["databases"], "ports": [{"port": 443}]},
            {"name": "b", "cidrs": ["10.20.0.0/16"]},
            {"name": "c", "cidrs": ["8.8.8.8/32"], "ports": [{"port": 443}]}],
    }));
    let warnings = &fence.finding("p").warnings;
    assert!(fence.finding("p").problem.is_none());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("spec.allowed[0].ports[0].port is 443"));
    assert!(warnings[1].starts_with("spec.blocked holds 10.20.1.0/24, which is allowed"));
}

#[test]
fn what_is_not_delegated_counts_for_nothing_and_the_rest_stands() {
    for (rule, sentence) in [
        (
            json!({"cidrs": ["10.21.0.0/16"]}),
            "spec.allowed[0].cidrs[0] is \"10.21.0.0/16\": Region or Project block 10.0.0.0/8, and neither delegates it",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32", "10.0.0.0/8"]}),
            "spec.allowed[0].cidrs[1] is \"10.0.0.0/8\"",
        ),
        (
            json!({"cidrs": ["0.0.0.0/0"]}),
            "spec.allowed[0].cidrs[0] is \"0.0.0.0/0\": it touches 100.100.100.200/32",
        ),
        (
            json!({"namespaces": ["kube-system"]}),
            "spec.allowed[0].namespaces[0] is \"kube-system\": neither Region nor Project delegates it",
        ),
        (
            json!({"namespaces": ["databases", "prj-blog"]}),
            "spec.allowed[0].namespaces[1] is \"prj-blog\": neither Region nor Project delegates it",
        ),
        (
            json!({"cidrs": ["10.20.0.1/32"], "namespaces": ["other"]}),
            "spec.allowed[0].namespaces[0] is \"other\"",
        ),
    ] {
        let mut rule = rule;
        rule["name"] = json!("bad");
        let good = json!({"name": "good", "namespaces": ["databases"]});
        let fence = with(&json!({"allowed": [rule, good]}));
        let (reason, message) = fence.problem("p");
        assert_eq!(reason, "NotDelegated");
        assert!(message.starts_with(sentence), "{message}");
        assert!(!fence.opens("orders", "10.20.0.1", 443), "{message}");
        assert!(fence.opens_pods("orders", "databases", &[], 443), "the good entry stands");
    }
}

#[test]
fn a_team_may_name_what_is_open_anyway() {
    let fence = with(
        &json!({"allowed": [{"name": "dns", "cidrs": ["8.8.8.8/32"]}, {"name": "own", "namespaces": ["prj-shop"]}]}),
    );
    assert!(fence.finding("p").problem.is_none(), "{:?}", fence.finding("p"));

    let dns = policy("p", &json!({"allowed": [{"name": "dns", "cidrs": ["8.8.8.8/32"]}]}));
    let closing = [
        (json!({"egress": {"default": "None"}}), json!({})),
        (json!({}), json!({"egress": {"default": "None"}})),
        (json!({"egress": {"blocked": [{"name": "x", "cidrs": ["unreadable"]}]}}), json!({})),
    ];
    for (of_region, of_project) in closing {
        let fence = Fence::of(&of_project, &world(&of_region, vec![dns.clone()]));
        assert_eq!(fence.problem("p").0, "NotDelegated");
        assert!(!fence.opens("orders", "8.8.8.8", 443));
    }
}

#[test]
fn no_team_opens_what_is_never_delegable() {
    let all = json!({"egress": {"default": "None", "blocked": [], "delegated": {
        "cidrs": ["0.0.0.0/0", "::/0"],
        "namespaces": ["catalyst-system", "catalyst-dapr", "catalyst-secrets"]}}});
    for never in [
        "169.254.169.254/32",
        "169.254.0.0/24",
        "160.0.0.0/4",
        "0.0.0.0/0",
        "fe80::1/128",
        "fd00:ec2::254/128",
        "fd00::/8",
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fd20:ce::254/128",
        "64:ff9b::a9fe:a9fe/128",
        "::/0",
    ] {
        let p = policy("p", &json!({"allowed": [{"name": "x", "cidrs": [never]}]}));
        let fence = Fence::of(&json!({}), &world(&all, vec![p]));
        assert_eq!(fence.problem("p").0, "NotDelegated", "{never}");
        assert!(fence.named("egress-p").is_none());
    }
    for never in ["catalyst-system", "catalyst-dapr", "catalyst-secrets"] {
        let p = policy("p", &json!({"allowed": [{"name": "x", "namespaces": [never]}]}));
        let fence = Fence::of(&json!({}), &world(&all, vec![p]));
        assert!(fence.problem("p").1.contains("belongs to Catalyst"), "{never}");
    }
}

#[test]
fn what_the_platform_leaves_unblocked_outside_of_the_base_is_not_open_anyway() {
    // NAT64 shows 10.0.0.0/8 at 64:ff9b::a00:0/104, which no IPv4 block covers.
    let few = json!({"egress": {"blocked": [{"name": "x", "cidrs": ["10.0.0.0/8"]}]}});
    let p = policy("p", &json!({"allowed": [{"name": "x", "cidrs": ["64:ff9b::a00:0/104"]}]}));
    let fence = Fence::of(&json!({}), &world(&few, vec![p]));
    assert!(
        fence.problem("p").1.contains("it lies outside of 2000::/3"),
        "{:?}",
        fence.problem("p")
    );
}

#[test]
fn another_project_consents_by_its_ingress() {
    let p = policy(
        "p",
        &json!({"allowed": [{"name": "x", "namespaces": ["prj-blog"], "ports": [{"port": 8080}]}]}),
    );
    let ingress = |rule: Value| project("blog", &json!({"ingress": {"allowed": [rule]}}));
    let mut world = world(&json!({}), vec![p]);
    assert!(
        Fence::of(&json!({}), &world).problem("p").1.contains("Project \"blog\" to name prj-shop")
    );
    world.projects = vec![ingress(json!({"name": "shop", "namespaces": ["prj-shop"]}))];
    let fence = Fence::of(&json!({}), &world);
    assert!(fence.finding("p").problem.is_none());
    assert!(
        fence.opens_pods("orders", "prj-blog", &[], 8080)
            && !fence.opens_pods("orders", "prj-blog", &[], 8081)
    );
    assert!(!fence.lets_in("prj-blog", &[], 8080), "consent goes one way");

    // An entry that counts for nothing is no consent; nor is one for somebody else.
    for rule in [
        json!({"name": "shop", "namespaces": ["prj-shop"], "ports": [{"port": 0}]}),
        json!({"name": "shop", "namespaces": ["prj-other"]}),
    ] {
        world.projects = vec![ingress(rule)];
        assert_eq!(Fence::of(&json!({}), &world).problem("p").0, "NotDelegated");
    }
}

#[test]
fn a_mistake_of_the_project_is_told_to_it_and_the_rest_stands() {
    let own = json!({
        "egress": {"allowed": [{"name": "bad", "cidrs": ["10.4.5.6/8"]}, {"name": "good", "cidrs": ["10.5.0.0/16"]}],
                   "delegated": {"cidrs": ["10.6.0.1/16"]}},
        "ingress": {"allowed": [{"name": "bad"}]}});
    let fence = Fence::of(&own, &world(&json!({}), vec![]));
    assert_valid(&fence.policies);
    let problem = fence.plan.problem.as_ref().unwrap();
    assert_eq!((problem.reason, problem.waits), ("InvalidEgress", false));
    assert_eq!(
        problem.message,
        "spec.network.egress.allowed[0].cidrs[0] is \"10.4.5.6/8\": host bits are set; write 10.0.0.0/8; \
         also spec.network.egress.delegated.cidrs[0] is \"10.6.0.1/16\": host bits are set; write 10.6.0.0/16; \
         also spec.network.ingress.allowed[0] has neither cidrs nor namespaces, which would mean everywhere: name one of them"
    );
    assert!(fence.opens("orders", "10.5.0.1", 1) && !fence.opens("orders", "10.4.5.6", 1));
    assert!(fence.named("allow-ingress").is_none());

    let ingress =
        Fence::of(&json!({"ingress": {"allowed": [{"name": "bad"}]}}), &world(&json!({}), vec![]));
    assert_eq!(ingress.plan.problem.unwrap().reason, "InvalidIngress");
}

#[test]
fn a_mistake_of_the_region_is_told_to_it_and_widens_nobody() {
    let network = json!({
        "egress": {"blocked": [{"name": "x", "cidrs": ["10.0.0.0"]}], "allowed": [{"name": "a", "cidrs": ["8.8.8.8/32"]}, {"name": "b", "cidrs": ["10.4.5.6/8"]}]},
        "dns": {"addresses": ["10.0.0.10/32"], "namespace": "Kube"}, "monitoringNamespaces": ["A"]});
    let (problem, _) = validate_region(&region(&network).spec);
    let problem = problem.unwrap();
    assert_eq!(problem.reason, "InvalidEgress");
    assert!(problem.message.starts_with("spec.network.egress.blocked[0].cidrs[0] is \"10.0.0.0\": the prefix length is missing; write 10.0.0.0/32"));
    assert!(problem.message.contains("spec.network.egress.allowed[1].cidrs[0] is \"10.4.5.6/8\": host bits are set; write 10.0.0.0/8"));
    assert!(problem.message.ends_with("(and 2 more)"), "{}", problem.message);

    let fence = Fence::of(&json!({}), &world(&network, vec![]));
    assert_valid(&fence.policies);
    assert!(fence.plan.problem.is_none() && fence.plan.warnings[0].contains("Region"));
    assert!(fence.opens("orders", "8.8.8.8", 1) && !fence.opens("orders", "9.9.9.9", 1));
    assert_eq!(validate_region(&region(&json!({})).spec), (None, vec![]));
}

#[test]
fn no_team_can_make_the_shared_base_too_large_to_store() {
    let many: Vec<_> = (0..9000u32)
        .map(|n| format!("8.{}.{}.{}/32", n >> 15, (n >> 7) & 255, (n & 127) * 2))
        .collect();
    let p = policy("p", &json!({"appIds": ["orders"], "blocked": [{"name": "x", "cidrs": many}]}));
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![p]));
    assert!(fence.problem("p").1.contains("more than 8192 networks"));
    assert!(!fence.opens("orders", "9.9.9.9", 1), "closed, not widened");
    assert!(fence.opens("payments", "9.9.9.9", 1));
    let size = serde_json::to_vec(&fence.policies).unwrap().len();
    assert!(size < 20_000, "{size}");
}

#[test]
fn a_policy_that_cannot_be_read_closes_what_is_open_by_default() {
    let mut world = world(&json!({}), Vec::new());
    world.unreadable = vec!["web".into()];
    let fence = Fence::of(&json!({}), &world);
    assert!(!fence.opens("orders", "8.8.8.8", 443));
    assert!(fence.plan.warnings.iter().any(|warning| warning.contains("EgressPolicy web")));
}

#[test]
fn an_app_that_is_not_there_costs_no_policy_and_has_nothing_open_by_default() {
    let blocked = json!([{"name": "b", "cidrs": ["1.1.1.0/24"]}]);
    let fence = with(&json!({"appIds": ["ghost", "orders"], "blocked": blocked}));
    assert!(fence.named("base-egress-orders").is_some());
    assert!(fence.named("base-egress-ghost").is_none());
    assert!(!fence.opens("ghost", "8.8.8.8", 443));
    assert!(fence.opens("payments", "1.1.1.1", 443));
}

#[test]
fn a_network_policy_of_somebody_else_is_named_since_it_may_open_more() {
    let mut world = world(&json!({}), Vec::new());
    world.foreign = vec!["everything".into()];
    let fence = Fence::of(&json!({}), &world);
    assert!(fence.plan.problem.is_none());
    assert!(fence.plan.warnings[0].contains("NetworkPolicy everything in prj-shop"));
}
