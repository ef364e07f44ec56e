//! The promises of "What an app may reach", of order, and of teardown, one test each.

use std::sync::Arc;

use catalyst_plan::network::{World, plan};
use catalyst_plan::{Keep, Key, Live};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::verdict::{Peer, assert_valid, may_reach};
use crate::world::{Fence, labelled, pod, policy, project, standing, world};

#[test]
fn by_default_an_app_reaches_the_internet_and_nothing_private() {
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![]));
    assert_valid(&fence.policies);
    for open in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "9.255.255.255", "11.0.0.0"] {
        assert!(fence.opens("orders", open, 443), "{open}");
    }
    for closed in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "255.255.255.255",
        "fd00:ec2::254",
        "fe80::1",
        "::1",
        "64:ff9b::a9fe:a9fe",
        "2001:db8::1",
        "2002::1",
        "ff02::1",
    ] {
        assert!(!fence.opens("orders", closed, 443), "{closed}");
        assert!(!fence.opens("", closed, 80), "{closed}");
    }
}

#[test]
fn the_floor_stays_open_whatever_is_blocked() {
    let none = json!({"egress": {"default": "None"}});
    let mut world = world(&none, vec![]);
    world.resolvers = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
    let fence = Fence::of(&json!({}), &world);
    assert_valid(&fence.policies);
    assert!(fence.opens_pods("orders", "kube-system", &[("k8s-app", "coredns")], 53));
    assert!(!fence.opens_pods("orders", "kube-system", &[("k8s-app", "coredns")], 80));
    assert!(!fence.opens_pods("orders", "kube-system", &[("k8s-app", "metrics-server")], 53));
    assert!(!fence.opens_pods("orders", "tenant", &[("k8s-app", "coredns")], 53));
    for resolver in ["169.254.20.10", "10.96.0.10", "fd00::a"] {
        assert!(fence.opens("orders", resolver, 53), "{resolver}");
        assert!(!fence.opens("orders", resolver, 80), "{resolver}");
        let to = Peer::Address(resolver.parse().unwrap());
        assert!(may_reach(&fence.policies, &pod("orders"), &to, 53, "UDP"));
    }
    for (part, port) in [
        ("dapr-sentry", 50001),
        ("config-stream", 6500),
        ("dapr-placement-server", 50005),
        ("dapr-scheduler-server", 50006),
    ] {
        assert!(fence.opens_pods("orders", "catalyst-dapr", &[("app", part)], port));
        assert!(!fence.opens_pods("orders", "catalyst-dapr", &[("app", "other")], port));
        assert!(!fence.opens_pods("orders", "catalyst-dapr", &[("app", part)], 443));
    }
    assert!(fence.opens_pods("orders", "prj-shop", &[], 50002));
    assert!(!fence.opens("orders", "8.8.8.8", 443));
}

#[test]
fn ingress_is_closed_but_for_project_release_and_monitoring() {
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![]));
    assert!(fence.lets_in("prj-shop", &[], 12345));
    assert!(fence.lets_in("catalyst-system", &[], 3500));
    assert!(fence.lets_in("catalyst-system", &[], 50001));
    assert!(!fence.lets_in("catalyst-system", &[], 50002));
    assert!(fence.lets_in("monitoring", &[], 9090));
    assert!(!fence.lets_in("monitoring", &[], 3500));
    for stranger in ["default", "prj-blog", "kube-system", "catalyst-dapr", "catalyst-secrets"] {
        for port in [80, 3500, 9090, 50001, 50002] {
            assert!(!fence.lets_in(stranger, &[], port), "{stranger}:{port}");
        }
    }
}

#[test]
fn region_and_project_open_ingress() {
    let from = |namespace: &str| {
        json!({"ingress": {"allowed": [{"name": "x", "namespaces": [namespace],
        "podLabels": {"app": "gateway"}, "ports": [{"port": 8080, "endPort": 8090}]}]}})
    };
    let fence = Fence::of(&from("edge"), &world(&from("mesh"), vec![]));
    assert_valid(&fence.policies);
    for namespace in ["edge", "mesh"] {
        assert!(fence.lets_in(namespace, &[("app", "gateway")], 8085));
        assert!(!fence.lets_in(namespace, &[("app", "gateway")], 8091));
        assert!(!fence.lets_in(namespace, &[("app", "other")], 8085));
    }
}

#[test]
fn allow_wins_over_block() {
    let network = json!({"egress": {"allowed": [
        {"name": "rds", "cidrs": ["10.4.5.6/32"], "ports": [{"port": 5432, "protocol": "TCP"}]}]}});
    let fence = Fence::of(&json!({}), &world(&network, vec![]));
    assert!(fence.opens("orders", "10.4.5.6", 5432));
    assert!(!fence.opens("orders", "10.4.5.6", 5433));
    assert!(!fence.opens("orders", "10.4.5.7", 5432));
}

#[test]
fn an_allow_for_one_app_opens_for_no_other() {
    let orders = policy(
        "orders",
        &json!({"appIds": ["orders"], "allowed": [
        {"name": "pg", "namespaces": ["databases"], "podLabels": {"app": "postgres"}, "ports": [{"port": 5432}]},
        {"name": "app", "cidrs": ["10.20.0.15/32"]}]}),
    );
    let delegated =
        json!({"egress": {"delegated": {"cidrs": ["10.20.0.0/16"], "namespaces": ["databases"]}}});
    let fence = Fence::of(&delegated, &world(&json!({}), vec![orders]));
    assert_valid(&fence.policies);
    assert!(fence.finding("orders").problem.is_none(), "{:?}", fence.finding("orders"));
    assert!(fence.opens_pods("orders", "databases", &[("app", "postgres")], 5432));
    assert!(!fence.opens_pods("orders", "databases", &[("app", "other")], 5432));
    assert!(fence.opens("orders", "10.20.0.15", 1));
    for other in ["payments", ""] {
        assert!(!fence.opens_pods(other, "databases", &[("app", "postgres")], 5432));
        assert!(!fence.opens(other, "10.20.0.15", 1));
    }
    assert_eq!(fence.finding("orders").status["networkPolicies"], json!(["egress-orders"]));
    assert_eq!(fence.finding("orders").generation, 7);
}

#[test]
fn a_block_for_one_app_really_blocks_it_and_no_other() {
    let tight = policy(
        "tight",
        &json!({"appIds": ["orders"], "blocked": [{"name": "dns", "cidrs": ["8.8.8.0/24"]}]}),
    );
    let wide = policy("wide", &json!({"blocked": [{"name": "one", "cidrs": ["1.0.0.0/8"]}]}));
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![wide, tight]));
    assert_valid(&fence.policies);
    assert!(!fence.opens("orders", "8.8.8.8", 443));
    assert!(fence.opens("orders", "8.8.9.0", 443));
    assert!(!fence.opens("orders", "10.0.0.1", 443));
    for other in ["payments", ""] {
        assert!(fence.opens(other, "8.8.8.8", 443));
    }
    for app in ["orders", "payments", ""] {
        assert!(!fence.opens(app, "1.1.1.1", 443));
    }
    assert_eq!(fence.finding("tight").status["networkPolicies"], json!(["base-egress-orders"]));
    assert_eq!(
        fence.finding("wide").status["networkPolicies"],
        json!(["base-egress-orders", "base-egress"])
    );
}

#[test]
fn default_none_closes_the_base_and_a_project_can_only_tighten() {
    let none = json!({"egress": {"default": "None"}});
    let internet = json!({"egress": {"default": "Internet"}});
    for (region, project, opens) in [
        (&json!({}), &json!({}), true),
        (&none, &json!({}), false),
        (&json!({}), &none, false),
        (&internet, &none, false),
        (&none, &internet, false),
    ] {
        let fence = Fence::of(project, &world(region, vec![]));
        assert_eq!(fence.opens("orders", "8.8.8.8", 443), opens, "{region} {project}");
    }
    let fence = Fence::of(&internet, &world(&none, vec![]));
    assert!(fence.plan.warnings[0].contains("None holds"), "{:?}", fence.plan.warnings);
}

#[test]
fn an_empty_block_list_in_the_region_opens_all_of_the_base() {
    let open = json!({"egress": {"blocked": []}});
    let fence = Fence::of(&json!({}), &world(&open, vec![]));
    assert_valid(&fence.policies);
    assert!(fence.opens("orders", "10.0.0.1", 443));
    assert!(!fence.opens("orders", "fd00::1", 443), "outside of the IPv6 base");
}

#[test]
fn blocking_everything_renders_no_base() {
    let halves = json!({"egress": {"blocked": [{"name": "all", "cidrs": ["0.0.0.0/1", "128.0.0.0/1", "::/0"]}]}});
    let fence = Fence::of(&json!({}), &world(&halves, vec![]));
    assert_valid(&fence.policies);
    assert!(fence.named("base-egress").is_none());
}

#[test]
fn a_family_that_is_not_served_stays_closed() {
    let v4 = json!({"ipFamilies": ["IPv4"], "egress": {"allowed": [{"name": "six", "cidrs": ["fd00::/8"]}]}});
    let own = json!({"egress": {"allowed": [{"name": "six", "cidrs": ["fd01::/16"]}]}});
    let fence = Fence::of(&own, &world(&v4, vec![]));
    assert_valid(&fence.policies);
    assert!(
        fence.opens("orders", "8.8.8.8", 443) && !fence.opens("orders", "2606:4700::1111", 443)
    );
    assert!(fence.named("allow-egress").is_none(), "never a rule without peers");
    assert!(fence.plan.problem.is_none());
    assert!(
        fence.plan.warnings[0].contains("spec.network.egress.allowed[0].cidrs[0] is \"fd01::/16\"")
    );
}

#[test]
fn dns_follows_the_region() {
    let network = json!({"dns": {"addresses": ["10.0.0.10", "169.254.25.10"], "namespace": "dns", "podLabels": {"app": "unbound"}}});
    let fence = Fence::of(&json!({}), &world(&network, vec![]));
    assert!(fence.opens("orders", "10.0.0.10", 53) && fence.opens("orders", "169.254.25.10", 53));
    assert!(!fence.opens("orders", "169.254.20.10", 53));
    assert!(fence.opens_pods("orders", "dns", &[("app", "unbound")], 53));
    assert!(!fence.opens_pods("orders", "kube-system", &[("k8s-app", "kube-dns")], 53));
}

#[test]
fn monitoring_namespaces_replace_the_default() {
    let fence =
        Fence::of(&json!({}), &world(&json!({"monitoringNamespaces": ["metrics"]}), vec![]));
    assert!(fence.lets_in("metrics", &[], 9090) && !fence.lets_in("monitoring", &[], 9090));
    let fence = Fence::of(&json!({}), &world(&json!({"monitoringNamespaces": []}), vec![]));
    assert_valid(&fence.policies);
    assert!(fence.named("allow-monitoring").is_none());
}

#[test]
fn a_new_namespace_is_closed_first_and_a_fenced_one_last() {
    let mut world = world(&json!({}), vec![]);
    assert_eq!(Fence::of(&json!({}), &world).names()[0], "default-deny");
    world.standing = vec![standing("default-deny")];
    assert_eq!(Fence::of(&json!({}), &world).names().last(), Some(&"default-deny"));
    world.standing[0].1.labels = std::sync::Arc::default();
    assert_eq!(Fence::of(&json!({}), &world).names()[0], "default-deny", "somebody else's");
}

#[test]
fn an_app_has_a_base_of_its_own_before_it_leaves_the_shared_one() {
    let tight = policy(
        "tight",
        &json!({"appIds": ["orders"], "blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}]}),
    );
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![tight]));
    let at = |name| fence.names().iter().position(|other| *other == name).unwrap();
    assert!(at("base-egress-orders") < at("base-egress"));
}

#[test]
fn children_carry_our_labels_and_no_owner() {
    let fence = Fence::of(&json!({}), &world(&json!({}), vec![]));
    for policy in &fence.policies {
        assert_eq!(policy.metadata.namespace.as_deref(), Some("prj-shop"));
        assert!(policy.metadata.owner_references.is_none());
        let labels = policy.metadata.labels.as_ref().unwrap();
        assert_eq!(
            *labels,
            labelled(&[
                ("app.kubernetes.io/managed-by", "catalyst"),
                ("cra.diagrid.io/controller", "network"),
                ("cra.diagrid.io/owner-uid", "uid-of-shop"),
                ("cra.diagrid.io/project", "shop"),
            ])
        );
    }
}

#[test]
fn the_order_of_the_world_changes_nothing() {
    let policies: Vec<_> = ["a", "b", "c"]
        .map(|name| policy(name, &json!({"blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}]})))
        .into();
    let forth = Fence::of(&json!({}), &world(&json!({}), policies.clone()));
    let back = Fence::of(&json!({}), &world(&json!({}), policies.into_iter().rev().collect()));
    assert_eq!(forth.plan.objects, back.plan.objects);
}

#[test]
fn without_its_namespace_it_waits() {
    let shop = project("shop", &json!({}));
    let ready = world(&json!({}), vec![]);
    let missing = World { namespace: None, ..ready.clone() };
    let unbound = World { bound: false, ..ready.clone() };
    let going = World { namespace: Some(Live { deleting: true, ..Live::default() }), ..ready };
    for world in [missing, unbound, going] {
        let invalid = plan(&shop, &world).unwrap_err();
        assert_eq!((invalid.reason, invalid.waits), ("WaitingForNamespace", true));
    }
}

#[test]
fn suspension_never_covers_the_fence() {
    let mut shop = (*project("shop", &json!({}))).clone();
    shop.spec.suspend = true;
    let ready = world(&json!({}), vec![]);
    let fence = plan(&shop, &ready).unwrap();
    assert_eq!(fence.objects, plan(&project("shop", &json!({})), &ready).unwrap().objects);
    assert!(!fence.suspended, "the fence works, so that it is not told as suspended");
    let nowhere = plan(&shop, &World { namespace: None, ..ready }).unwrap();
    assert!(nowhere.suspended && nowhere.keep == Keep::All && nowhere.objects.is_empty());
}

#[test]
fn without_its_region_a_namespace_is_closed_and_what_stands_is_kept() {
    let named = policy("orders", &json!({}));
    let mut world = world(&json!({}), vec![named]);
    let mut shop = (*project("shop", &json!({}))).clone();
    shop.spec.region = Some("us".into());
    let mistaken = Fence::read(plan(&shop, &world).unwrap());
    world.region = None;
    let missing = Fence::of(&json!({}), &world);
    for fence in [mistaken, missing] {
        assert_eq!(fence.names(), ["default-deny"]);
        assert_eq!(fence.plan.keep, Keep::All);
        let problem = fence.plan.problem.as_ref().unwrap();
        assert_eq!((problem.reason, problem.waits), ("UnknownRegion", true));
        assert_eq!(fence.problem("orders").0, "UnknownRegion");
    }
}

#[test]
fn mode_off_plans_nothing_and_says_so() {
    let orders = policy("orders", &json!({"blocked": [{"name": "x", "cidrs": ["8.8.8.0/24"]}]}));
    let mut world = world(&json!({"mode": "Off"}), vec![orders]);
    world.standing = vec![standing("default-deny")];
    let fence = Fence::of(&json!({}), &world);
    assert!(fence.plan.objects.is_empty() && fence.plan.keep == Keep::These(vec![]));
    assert!(fence.plan.warnings[0].contains("Off"));
    let finding = fence.finding("orders");
    assert!(finding.problem.is_none() && finding.warnings[0].contains("Off"));
    assert!(!finding.status.contains_key("networkPolicies"));
}

#[test]
fn a_deleted_project_keeps_its_fence_until_its_apps_are_gone() {
    let mut shop = (*project("shop", &json!({}))).clone();
    shop.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let mut world = world(&json!({}), vec![]);
    world.standing = vec![standing("default-deny")];
    let retained = plan(&shop, &world).unwrap();
    assert!(retained.objects.is_empty() && retained.keep == Keep::All);

    shop.metadata.finalizers = Some(vec!["cra.diagrid.io/fence".into()]);
    world.remaining_children =
        vec![Key::of::<catalyst_crds::AppIdentity>(Some("prj-shop"), "orders")];
    let waiting = plan(&shop, &world).unwrap();
    assert!(waiting.objects.is_empty() && waiting.keep == Keep::All);
    assert!(waiting.problem.unwrap().message.contains("AppIdentity prj-shop/orders"));

    world.remaining_children.clear();
    let going = plan(&shop, &world).unwrap();
    assert!(going.objects.is_empty() && going.keep == Keep::These(vec![]));
}

#[test]
fn a_policy_that_is_being_deleted_is_gone() {
    let mut leaving =
        (*policy("orders", &json!({"allowed": [{"name": "x", "cidrs": ["10.0.0.0/8"]}]}))).clone();
    leaving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let fence =
        Fence::of(&json!({}), &world(&json!({"egress": {"blocked": []}}), vec![Arc::new(leaving)]));
    assert!(fence.plan.findings.is_empty() && fence.named("egress-orders").is_none());
}
