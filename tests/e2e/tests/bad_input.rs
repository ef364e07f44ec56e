//! Every kind of bad input, in one table: each is refused with the field, the value and a mend, by the same sentence
//! wherever the plan speaks, and what was fenced stays fenced.
//!
//! The table is walked three times: on a server that knows CEL, on one that does not (as Kubernetes 1.24), and by
//! `catalyst render`. What only CEL keeps is lost where there is none: [`Server::Alone`].

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use catalyst_e2e::{
    Installation, catalyst_render, condition, documents, essence, is_ready, repository, says,
};
use serde_json::Value;

/// From the last file to the last verdict: the promise is 5 s for each, and a machine may be busy.
const TOLD: Duration = Duration::from_secs(10);

/// Words that a message must hold: the field, the value, the mend.
type Words = &'static [&'static str];

/// What the API server says when a row is applied.
#[derive(Clone, Copy)]
enum Server {
    /// Nothing: it is for the plan to say.
    Takes,
    /// No, by the schema or by server-side apply itself, on every server.
    Refuses(Words),
    /// No, by CEL. Where there is none, the plan says it.
    RefusesByCel(Words),
    /// No, by CEL, which alone knows what was there before. Where there is none, the rule is lost.
    Alone(Words),
}

/// What the object says of itself once it is taken.
#[derive(Clone, Copy)]
enum Plan {
    /// `Stalled`: to be mended.
    Stalled(&'static str, Words),
    /// `Reconciling`: right as soon as something else is there.
    Waits(&'static str, Words),
    /// Ready, with a warning.
    Warns(Words),
    /// It is not asked.
    Silent,
}

/// What `catalyst render` says of the file.
#[derive(Clone, Copy)]
enum Render {
    /// What the condition says.
    Same,
    /// That it can't be read.
    Refuses(Words),
    /// What the plan says, which is never asked where a server has refused before.
    Plans(Words),
    /// Nothing: only a cluster knows.
    Silent,
}

/// One bad input.
struct Row {
    kind: &'static str,
    namespace: Option<String>,
    name: String,
    /// A spec that is right, and is there before.
    before: Option<&'static str>,
    spec: String,
    server: Server,
    plan: Plan,
    render: Render,
}

impl Row {
    /// `EgressPolicy/name` in the project of the table, `EgressPolicy/namespace/name` elsewhere, `Project/name`.
    fn new(object: &str, spec: impl Into<String>) -> Self {
        let kinds = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];
        let (kind, place) = object.split_once('/').expect("a kind");
        let kind = kinds.into_iter().find(|known| *known == kind).expect("one of our kinds");
        let (namespace, name) = match (kind, place.split_once('/')) {
            ("Region" | "Project", _) => (None, place),
            (_, Some((namespace, name))) => (Some(namespace), name),
            (_, None) => (Some("prj-team"), place),
        };
        Self {
            kind,
            namespace: namespace.map(Into::into),
            name: name.into(),
            before: None,
            spec: spec.into(),
            server: Server::Takes,
            plan: Plan::Silent,
            render: Render::Same,
        }
    }

    fn place(&self) -> (&str, Option<&str>, &str) {
        (self.kind, self.namespace.as_deref(), &self.name)
    }

    /// As messages and `render` call it.
    fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }

    fn yaml(&self, spec: &str) -> String {
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map_or(String::new(), |name| format!(", namespace: {name}"));
        format!(
            "apiVersion: cra.diagrid.io/v1beta1\nkind: {}\nmetadata: {{name: {}{namespace}}}\nspec: {spec}\n",
            self.kind, self.name
        )
    }

    /// Whether the object gets a verdict on such a server.
    fn is_judged(&self, cel: bool) -> bool {
        match self.server {
            Server::Takes => true,
            Server::RefusesByCel(_) => !cel,
            Server::Refuses(_) | Server::Alone(_) => false,
        }
    }
}

/// What the schema or server-side apply refuse, and in what words `render` does.
fn schema(object: &str, spec: impl Into<String>, server: Words, render: Words) -> Row {
    let render = Render::Refuses(render);
    Row { server: Server::Refuses(server), render, ..Row::new(object, spec) }
}

/// What the schema refuses by a pattern; `render` has the plan's words for it, which are better.
fn pattern(object: &str, spec: impl Into<String>, server: Words, plan: Words) -> Row {
    Row { render: Render::Plans(plan), ..schema(object, spec, server, &[]) }
}

/// What CEL refuses, and the plan where there is no CEL.
fn cel(object: &str, spec: &str, cel: Words, reason: &'static str, plan: Words) -> Row {
    let plan = Plan::Stalled(reason, plan);
    Row { server: Server::RefusesByCel(cel), plan, ..Row::new(object, spec) }
}

/// What the plan refuses.
fn plan(object: &str, spec: &str, reason: &'static str, words: Words) -> Row {
    Row { plan: Plan::Stalled(reason, words), ..Row::new(object, spec) }
}

/// The same, of a Project that was right before, and so has a fence.
fn spoilt(object: &str, spec: &str, reason: &'static str, words: Words) -> Row {
    Row { before: Some("{}"), ..plan(object, spec, reason, words) }
}

/// What waits for somebody else.
fn waits(object: &str, spec: &str, reason: &'static str, words: Words) -> Row {
    Row { plan: Plan::Waits(reason, words), ..Row::new(object, spec) }
}

/// What is right, and probably not meant.
fn warns(object: &str, spec: &str, words: Words) -> Row {
    Row { plan: Plan::Warns(words), ..Row::new(object, spec) }
}

/// What may not follow what was there before.
fn change(object: &str, before: &'static str, spec: &str, words: Words) -> Row {
    let server = Server::Alone(words);
    Row { before: Some(before), server, render: Render::Silent, ..Row::new(object, spec) }
}

/// What is refused since somebody else's object is in the way, which is in no file.
fn live(object: &str, spec: &str, reason: &'static str, words: Words) -> Row {
    Row { render: Render::Silent, ..plan(object, spec, reason, words) }
}

/// A spec with one entry of `allowed`.
fn allowed(fields: &str) -> String {
    format!("{{allowed: [{{name: entry, {fields}}}]}}")
}

/// A spec of a Project with these egress rules.
fn egress(fields: &str) -> String {
    format!("{{network: {{egress: {{{fields}}}}}}}")
}

/// The region, and what it has; a namespace that does not consent; the projects.
const PLATFORM: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
  network:
    ipFamilies: [IPv4]
    egress:
      delegated:
        cidrs: [10.20.0.0/16, 169.254.0.0/16, 100.100.0.0/16, 168.63.0.0/16]
        namespaces: [databases, catalyst-system, catalyst-dapr]
---
{apiVersion: v1, kind: Namespace, metadata: {name: prj-private}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: healthy}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: team}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: other}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: small}, spec: {quota: {maxAppIdentities: 0}}}
---
apiVersion: v1
kind: Secret
metadata: {name: healthy.database, namespace: catalyst-secrets}
stringData: {password: example}
---
apiVersion: v1
kind: Secret
metadata: {name: other.database, namespace: catalyst-secrets}
stringData: {password: example}
---
apiVersion: v1
kind: Secret
metadata: {name: team.mail, namespace: catalyst-secrets}
stringData: {host: mail.example.com, password: example}
---
apiVersion: v1
kind: Secret
metadata: {name: team.queue, namespace: catalyst-secrets}
stringData: {password: another}
";

/// What lies in the projects, and is right.
const RESIDENTS: &str = "
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: orders, namespace: prj-team}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: web, namespace: prj-healthy}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: db, namespace: prj-healthy}
spec: {allowed: [{name: db, cidrs: [10.20.5.6/32], ports: [{port: 5432}]}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: SecretRef
metadata: {name: database, namespace: prj-healthy}
spec: {remote: {name: database}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: SecretRef
metadata: {name: mail, namespace: prj-team}
spec: {remote: {name: mail}}
";

/// A Secret of the team's own, which only a cluster knows.
const TENANTS: &str = "
apiVersion: v1
kind: Secret
metadata: {name: tenants, namespace: prj-team}
stringData: {password: example}
";

/// All bad input that we know of.
fn rows() -> Vec<Row> {
    let mut rows = networks();
    rows.extend(entries());
    rows.extend(lists());
    rows.extend(emptied());
    rows.extend(delegation());
    rows.extend(names());
    rows.extend(projects());
    rows.extend(secrets());
    rows.extend(changes());
    rows
}

/// Networks that are none.
fn networks() -> Vec<Row> {
    const FIELD: &str = "spec.allowed[0].cidrs[0]";
    let bad = |name: &str, cidr: &str, words: Words| {
        let spec = allowed(&format!("cidrs: ['{cidr}']"));
        plan(&format!("EgressPolicy/{name}"), &spec, "InvalidEgress", words)
    };
    vec![
        bad("host-bits", "10.20.4.5/24", &[FIELD, "\"10.20.4.5/24\"", "write 10.20.4.0/24"]),
        bad("zeros", "10.020.4.0/24", &[FIELD, "\"10.020.4.0/24\"", "leading zeros", "10.20.4.0"]),
        bad("prefix-zeros", "10.20.4.0/024", &[FIELD, "\"10.20.4.0/024\"", "write 10.20.4.0/24"]),
        bad("long-prefix", "10.20.4.0/64", &[FIELD, "\"10.20.4.0/64\"", "none of 0 to 32"]),
        bad("mapped", "::ffff:10.20.4.0/120", &[FIELD, "IPv4-mapped", "write the IPv4 address"]),
        bad("octet", "10.20.4.256/32", &[FIELD, "\"10.20.4.256/32\"", "no IP address; write"]),
        bad("short", "10.20.4/24", &[FIELD, "\"10.20.4/24\"", "no IP address; write"]),
        warns(
            "EgressPolicy/family",
            &allowed("cidrs: ['2600::/16']"),
            &[FIELD, "\"2600::/16\"", "spec.network.ipFamilies"],
        ),
        pattern(
            "EgressPolicy/no-prefix",
            allowed("cidrs: [10.20.4.5]"),
            &[FIELD, "10.20.4.5", "should match"],
            &[FIELD, "\"10.20.4.5\"", "write 10.20.4.5/32"],
        ),
        pattern(
            "EgressPolicy/host-name",
            allowed("cidrs: [db.example.com]"),
            &[FIELD, "db.example.com", "should match"],
            &[FIELD, "\"db.example.com\"", "CIDR"],
        ),
        plan(
            "EgressPolicy/blocked-host-bits",
            "{appIds: [ghost], blocked: [{name: entry, cidrs: [8.8.8.8/24]}]}",
            "InvalidEgress",
            &["spec.blocked[0].cidrs[0]", "\"8.8.8.8/24\"", "write 8.8.8.0/24"],
        ),
        plan(
            "EgressPolicy/blocked-nonsense",
            "{appIds: [ghost], blocked: [{name: entry, cidrs: [8.8.8.999/24]}]}",
            "InvalidEgress",
            &["spec.blocked[0].cidrs[0]", "\"8.8.8.999/24\"", "until then all is blocked"],
        ),
        spoilt(
            "Project/delegated-host-bits",
            &egress("delegated: {cidrs: [10.30.1.2/16]}"),
            "InvalidEgress",
            &["spec.network.egress.delegated.cidrs[0]", "\"10.30.1.2/16\"", "write 10.30.0.0/16"],
        ),
    ]
}

/// Entries that are no rule.
fn entries() -> Vec<Row> {
    const PORT: &str = "spec.allowed[0].ports[0].port";
    let ports = |ports: &str| allowed(&format!("cidrs: [10.20.4.0/24], ports: [{{{ports}}}]"));
    vec![
        schema(
            "EgressPolicy/port-0",
            ports("port: 0"),
            &[PORT, "0", "greater than or equal to 1"],
            &[PORT, "is 0", "write 1 to 65535"],
        ),
        schema(
            "EgressPolicy/port-65536",
            ports("port: 65536"),
            &[PORT, "65536", "less than or equal to 65535"],
            &[PORT, "is 65536", "write 1 to 65535"],
        ),
        schema(
            "EgressPolicy/port-name",
            ports("port: https"),
            &["ports[0].port", "expected numeric"],
            &[PORT, "\"https\"", "write a whole number"],
        ),
        schema(
            "EgressPolicy/protocol",
            ports("port: 53, protocol: tcp"),
            &["spec.allowed[0].ports[0].protocol", "\"tcp\"", "\"TCP\""],
            &["spec.allowed[0].ports[0].protocol", "\"tcp\"", "write TCP"],
        ),
        cel(
            "EgressPolicy/end-port",
            &ports("port: 9000, endPort: 8999"),
            &["spec.allowed[0].ports[0]", "raise endPort, or remove it"],
            "InvalidEgress",
            &["spec.allowed[0].ports[0].endPort", "is 8999", "from 9000 to 65535"],
        ),
        cel(
            "EgressPolicy/everywhere",
            &allowed("ports: [{port: 443}]"),
            &["spec.allowed[0]", "name the networks in cidrs"],
            "InvalidEgress",
            &["spec.allowed[0]", "neither cidrs nor namespaces", "name one of them"],
        ),
        cel(
            "EgressPolicy/labels-alone",
            &allowed("cidrs: [10.20.4.0/24], podLabels: {app: db}"),
            &["spec.allowed[0]", "add namespaces, or remove podLabels"],
            "InvalidEgress",
            &["spec.allowed[0].podLabels", "add namespaces, or remove podLabels"],
        ),
        schema(
            "EgressPolicy/typo",
            "{alowed: [{name: entry, cidrs: [10.20.4.0/24]}]}",
            &[".spec.alowed", "not declared"],
            &["spec.alowed", "write allowed"],
        ),
        pattern(
            "EgressPolicy/namespace",
            allowed("namespaces: ['prj_team']"),
            &["spec.allowed[0].namespaces[0]", "prj_team", "should match"],
            &["spec.allowed[0].namespaces[0]", "\"prj_team\"", "write its name"],
        ),
        pattern(
            "EgressPolicy/app-ids",
            "{appIds: [or.ders], allowed: [{name: entry, cidrs: [10.20.4.0/24]}]}",
            &["spec.appIds[0]", "or.ders", "should match"],
            &["spec.appIds[0]", "\"or.ders\"", "write the app's name"],
        ),
    ]
}

/// Lists that are empty, too long, or hold something twice.
fn lists() -> Vec<Row> {
    const CIDRS: &str = "spec.allowed[0].cidrs";
    let many = |count: usize| {
        (0..count).fold(String::new(), |mut list, at| {
            write!(list, "10.20.{}.{}/32, ", at / 256, at % 256).expect("it has room");
            list
        })
    };
    vec![
        schema(
            "EgressPolicy/no-apps",
            "{appIds: [], allowed: [{name: entry, cidrs: [10.20.4.0/24]}]}",
            &["spec.appIds", "at least 1 items"],
            &["spec.appIds", "is empty", "every app of the project"],
        ),
        schema(
            "EgressPolicy/no-ports",
            allowed("cidrs: [10.20.4.0/24], ports: []"),
            &["spec.allowed[0].ports", "at least 1 items"],
            &["spec.allowed[0].ports", "is empty", "all ports"],
        ),
        schema(
            "EgressPolicy/no-labels",
            allowed("namespaces: [databases], podLabels: {}"),
            &["spec.allowed[0].podLabels", "at least 1 properties"],
            &["spec.allowed[0].podLabels", "is empty", "name at least one"],
        ),
        schema(
            "EgressPolicy/no-blocked",
            "{blocked: [{name: entry, cidrs: []}]}",
            &["spec.blocked[0].cidrs", "at least 1 items"],
            &["spec.blocked[0].cidrs", "is empty", "name at least one"],
        ),
        schema(
            "EgressPolicy/twice",
            "{allowed: [{name: db, cidrs: [10.20.4.0/24]}, {name: db, cidrs: [10.20.5.0/24]}]}",
            &[".spec.allowed", "duplicate", "db"],
            &["spec.allowed[1].name", "\"db\"", "name it otherwise"],
        ),
        schema(
            "EgressPolicy/same-network",
            allowed("cidrs: [10.20.4.0/24, 10.20.4.0/24]"),
            &["cidrs", "duplicate", "10.20.4.0/24"],
            &["spec.allowed[0].cidrs[1]", "\"10.20.4.0/24\"", "remove one"],
        ),
        schema(
            "EgressPolicy/ten-thousand",
            allowed(&format!("cidrs: [{}]", many(10_000))),
            &[CIDRS, "10000", "at most 1024"],
            &[CIDRS, "10000", "at most 1024"],
        ),
    ]
}

/// Lists that held something, and are emptied: server-side apply removes each entry, and must not leave the list absent,
/// which would mean all.
fn emptied() -> Vec<Row> {
    let emptied = |name: &str, before: &'static str, spec: &str, server: Words, render: Words| {
        let row = schema(&format!("EgressPolicy/{name}"), spec, server, render);
        Row { before: Some(before), ..row }
    };
    vec![
        emptied(
            "emptied-apps",
            "{appIds: [orders], blocked: [{name: entry, cidrs: [8.8.4.0/24]}]}",
            "{appIds: [], blocked: [{name: entry, cidrs: [8.8.4.0/24]}]}",
            &["spec.appIds"],
            &["spec.appIds is empty"],
        ),
        emptied(
            "emptied-blocked",
            "{appIds: [orders], blocked: [{name: entry, cidrs: [8.8.4.0/24]}]}",
            "{appIds: [orders], blocked: [{name: entry, cidrs: []}]}",
            &["spec.blocked[0].cidrs"],
            &["spec.blocked[0].cidrs is empty"],
        ),
        emptied(
            "emptied-ports",
            "{blocked: [], allowed: [{name: entry, namespaces: [databases], ports: [{port: 5432}]}]}",
            "{allowed: [{name: entry, namespaces: [databases], ports: []}]}",
            &["spec.allowed[0].ports"],
            &["spec.allowed[0].ports is empty"],
        ),
        emptied(
            "emptied-labels",
            "{allowed: [{name: entry, namespaces: [databases], podLabels: {app: db}}]}",
            "{allowed: [{name: entry, namespaces: [databases], podLabels: {}}]}",
            &["spec.allowed[0].podLabels"],
            &["spec.allowed[0].podLabels is empty"],
        ),
        Row {
            before: Some("{remote: {name: mail}, keys: [{name: password}]}"),
            ..schema(
                "SecretRef/emptied-keys",
                "{remote: {name: mail}, keys: []}",
                &["spec.keys"],
                &["spec.keys is empty"],
            )
        },
    ]
}

/// Entries that no team may write.
fn delegation() -> Vec<Row> {
    const CIDR: &str = "spec.allowed[0].cidrs[0]";
    const NAMESPACE: &str = "spec.allowed[0].namespaces[0]";
    let bad = |name: &str, fields: &str, words: Words| {
        plan(&format!("EgressPolicy/{name}"), &allowed(fields), "NotDelegated", words)
    };
    vec![
        bad(
            "foreign",
            "cidrs: [10.99.0.0/16]",
            &[CIDR, "\"10.99.0.0/16\"", "10.0.0.0/8", "delegated.cidrs of Project \"team\""],
        ),
        bad(
            "half",
            "cidrs: [10.20.1.0/24, 10.21.0.0/16]",
            &["spec.allowed[0].cidrs[1]", "\"10.21.0.0/16\"", "ask the platform team"],
        ),
        bad("too-wide", "cidrs: [0.0.0.0/0]", &[CIDR, "\"0.0.0.0/0\"", "leave it out"]),
        bad(
            "metadata-aws",
            "cidrs: [169.254.169.254/32]",
            &[CIDR, "\"169.254.169.254/32\"", "metadata service", "leave it out"],
        ),
        bad(
            "metadata-alibaba",
            "cidrs: [100.100.100.200/32]",
            &[CIDR, "\"100.100.100.200/32\"", "metadata service", "leave it out"],
        ),
        bad(
            "metadata-azure",
            "cidrs: [168.63.129.0/24]",
            &[CIDR, "\"168.63.129.0/24\"", "168.63.129.16/32", "leave it out"],
        ),
        bad(
            "other-project",
            "namespaces: [prj-other]",
            &[NAMESPACE, "\"prj-other\"", "Project \"other\"", "spec.network.ingress.allowed"],
        ),
        bad(
            "system",
            "namespaces: [kube-system]",
            &[NAMESPACE, "\"kube-system\"", "delegated.namespaces of Project \"team\""],
        ),
        bad(
            "release",
            "namespaces: [catalyst-system]",
            &[NAMESPACE, "\"catalyst-system\"", "belongs to Catalyst", "leave it out"],
        ),
        bad(
            "control-plane",
            "namespaces: [catalyst-dapr]",
            &[NAMESPACE, "\"catalyst-dapr\"", "belongs to Catalyst", "leave it out"],
        ),
    ]
}

/// Names that can't be, and places where nothing of ours belongs.
fn names() -> Vec<Row> {
    const RULE: Words = &["metadata.name", "letters, digits and dashes", "at most 58"];
    let app = |name: &str, words: Words| {
        cel(&format!("AppIdentity/{name}"), "{}", RULE, "InvalidName", words)
    };
    let project = |name: &str, words: Words| {
        let rule: Words = &["metadata.name", "prj-<name>", "at most 59"];
        cel(&format!("Project/{name}"), "{}", rule, "InvalidName", words)
    };
    let lost = |object: &str, spec: &str| {
        let words: Words = &["metadata.namespace", "\"default\"", "prj-<project>"];
        plan(object, spec, "NotAProjectNamespace", words)
    };
    vec![
        app(&"a".repeat(59), &["metadata.name", "\"aaa", "at most 58"]),
        app("or.ders", &["metadata.name", "\"or.ders\"", "letters, digits and dashes"]),
        app("0rders", &["metadata.name", "\"0rders\"", "beginning with a letter"]),
        project(&"p".repeat(60), &["metadata.name", "\"ppp", "at most 59"]),
        project("web.shop", &["metadata.name", "\"web.shop\"", "letters, digits and dashes"]),
        schema(
            "AppIdentity/Orders",
            "{}",
            &["metadata.name", "Orders", "lower case"],
            &["metadata.name", "\"Orders\"", "lowercase letters"],
        ),
        plan(
            &format!("EgressPolicy/{}", "e".repeat(241)),
            &allowed("cidrs: [10.20.4.0/24]"),
            "InvalidEgress",
            &["metadata.name", "longer than 240", "choose a shorter name"],
        ),
        lost("AppIdentity/default/lost", "{}"),
        lost("EgressPolicy/default/lost", &allowed("cidrs: [1.1.1.1/32]")),
        lost("SecretRef/default/lost", "{remote: {name: mail}}"),
    ]
}

/// Regions and Projects that can't be, and what there is no room for.
fn projects() -> Vec<Row> {
    vec![
        plan(
            "Region/us",
            "{trust: {domain: us.example.com}, network: {mode: 'Off'}}",
            "SecondRegion",
            &["\"eu\"", "delete this one"],
        ),
        pattern(
            "Region/shouting",
            "{trust: {domain: EU.example.com}}",
            &["spec.trust.domain", "EU.example.com", "should match"],
            &["spec.trust.domain", "\"EU.example.com\"", "lowercase"],
        ),
        schema(
            "Region/nobody",
            "{}",
            &["spec.trust", "Required"],
            &["spec lacks trust", "Who vouches"],
        ),
        waits(
            "Project/abroad",
            "{region: us}",
            "UnknownRegion",
            &["spec.region", "\"us\"", "\"eu\"", "apply this Project to the cluster of"],
        ),
        plan(
            "Project/private",
            "{}",
            "NamespaceExists",
            &["prj-private", "set its label cra.diagrid.io/project: private"],
        ),
        spoilt(
            "Project/blocked-host-bits",
            &egress("blocked: [{name: office, cidrs: [8.8.8.8/24]}]"),
            "InvalidEgress",
            &["spec.network.egress.blocked[0].cidrs[0]", "\"8.8.8.8/24\"", "write 8.8.8.0/24"],
        ),
        spoilt(
            "Project/blocked-nonsense",
            &egress("blocked: [{name: office, cidrs: [8.8.8.999/24]}]"),
            "InvalidEgress",
            &["spec.network.egress.blocked[0].cidrs[0]", "\"8.8.8.999/24\"", "all is blocked"],
        ),
        Row {
            before: Some("{}"),
            ..cel(
                "Project/everywhere",
                &egress("allowed: [{name: all}]"),
                &["spec.network.egress.allowed[0]", "name the networks in cidrs"],
                "InvalidEgress",
                &["spec.network.egress.allowed[0]", "would mean everywhere", "name one of them"],
            )
        },
        Row {
            before: Some("{}"),
            ..cel(
                "Project/anybody",
                "{network: {ingress: {allowed: [{name: all}]}}}",
                &["spec.network.ingress.allowed[0]", "name the networks in cidrs"],
                "InvalidIngress",
                &["spec.network.ingress.allowed[0]", "would mean everywhere", "name one of them"],
            )
        },
        Row {
            before: Some("{}"),
            ..schema(
                "Project/policy",
                "{deletionPolicy: Orphan}",
                &["spec.deletionPolicy", "\"Orphan\"", "\"Retain\""],
                &["spec.deletionPolicy", "\"Orphan\"", "Retain"],
            )
        },
        Row {
            before: Some("{}"),
            ..pattern(
                "Project/quota",
                "{quota: {hard: {pods: many}}}",
                &["spec.quota.hard", "many"],
                &["spec.quota.hard", "many"],
            )
        },
        waits(
            "AppIdentity/prj-small/one-too-many",
            "{}",
            "OverCapacity",
            &["no more than 0", "spec.quota.maxAppIdentities", "Project \"small\""],
        ),
        schema(
            "AppIdentity/revision",
            "{apiTokenRevision: 0}",
            &["spec.apiTokenRevision", "0", "greater than or equal to 1"],
            &["spec.apiTokenRevision", "is 0", "write 1 or more"],
        ),
        schema(
            "Region/nameless",
            "{trust: {}}",
            &["spec.trust.domain", "Required"],
            &["spec.trust lacks domain", "SPIFFE trust domain"],
        ),
    ]
}

/// References to what is not the project's.
fn secrets() -> Vec<Row> {
    vec![
        waits(
            "SecretRef/others",
            "{remote: {name: database}}",
            "NotFound",
            &["spec.remote.name", "\"database\"", "\"team.database\"", "create it there"],
        ),
        waits(
            "SecretRef/others-by-name",
            "{remote: {name: other.database}}",
            "NotFound",
            &["spec.remote.name", "\"other.database\"", "\"team.other.database\""],
        ),
        waits(
            "SecretRef/no-such-key",
            "{remote: {name: mail}, keys: [{name: password, remoteKey: passwort}]}",
            "NotFound",
            &["spec.keys[0].remoteKey", "\"passwort\"", "has the keys host, password"],
        ),
        plan(
            "SecretRef/same-key",
            "{remote: {name: mail}, keys: [{name: password}, {name: password, remoteKey: host}]}",
            "InvalidKeys",
            &["spec.keys[1].name", "\"password\"", "call each key otherwise"],
        ),
        schema(
            "SecretRef/no-keys",
            "{remote: {name: mail}, keys: []}",
            &["spec.keys", "at least 1 items"],
            &["spec.keys", "is empty", "name at least one"],
        ),
        pattern(
            "SecretRef/path",
            "{remote: {name: ../other/database}}",
            &["spec.remote.name", "../other/database", "should match"],
            &["spec.remote.name", "\"../other/database\""],
        ),
        live(
            "SecretRef/tenants-target",
            "{remote: {name: mail}, target: {secretName: tenants}}",
            "TargetExists",
            &["spec.target.secretName is \"tenants\"", "write another name", "delete that Secret"],
        ),
        live(
            "SecretRef/tenants",
            "{remote: {name: mail}}",
            "TargetExists",
            &["metadata.name is \"tenants\"", "write another name", "delete that Secret"],
        ),
        plan(
            "SecretRef/same-target",
            "{remote: {name: queue}, target: {secretName: mail}}",
            "TargetExists",
            &["spec.target.secretName is \"mail\"", "write another name"],
        ),
        plan(
            "SecretRef/apps-target",
            "{remote: {name: mail}, target: {secretName: orders-dapr}}",
            "TargetExists",
            &["spec.target.secretName is \"orders-dapr\"", "write another name"],
        ),
    ]
}

/// What never changes, or only goes up: only a server with CEL sees both sides.
fn changes() -> Vec<Row> {
    const DOMAIN: Words =
        &["spec.trust", "domain", "can't be changed", "write the domain that was"];
    const REGION: Words = &["spec", "region can't be changed or removed", "write the region that"];
    const COUNT: Words = &["spec", "apiTokenRevision", "only goes up", "write the one that was"];
    vec![
        change(
            "Region/zz",
            "{trust: {domain: zz.example.com}}",
            "{trust: {domain: us.example.com}}",
            DOMAIN,
        ),
        Row {
            before: Some("{trust: {domain: yy.example.com}}"),
            ..schema(
                "Region/yy",
                "{trust: {}}",
                &["spec.trust", "must be of type object"],
                &["spec.trust lacks domain", "SPIFFE trust domain"],
            )
        },
        change("Project/moved", "{region: eu}", "{region: us}", REGION),
        change("Project/homeless", "{region: eu}", "{}", REGION),
        change("AppIdentity/lowered", "{apiTokenRevision: 2}", "{apiTokenRevision: 1}", COUNT),
        change("AppIdentity/forgotten", "{apiTokenRevision: 2}", "{}", COUNT),
    ]
}

#[test]
fn each_is_told_with_field_value_and_mend_and_no_fence_moves() {
    walk(&Installation::start(), true);
}

#[test]
fn without_cel_the_plan_says_what_cel_would() {
    let folder = std::env::temp_dir().join(format!("catalyst-without-cel-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let installation = Installation::with_crds(without_cel(&folder));
    fs::remove_dir_all(&folder).expect("it goes");
    walk(&installation, false);
}

#[test]
fn render_refuses_what_no_server_would_take() {
    let rows = rows();
    let verdicts = rendered(&rows);
    let mut missing = Vec::new();
    for row in &rows {
        match row.render {
            Render::Refuses(words) => {
                let (manifests, said) = catalyst_render(&row.yaml(&row.spec));
                missing.extend(lacks(row, "render", &said, words));
                if !manifests.is_empty() {
                    missing.push(format!("{}: render printed manifests", row.key()));
                }
            }
            // Beside the world's it would be a second one.
            Render::Plans(words) if row.kind == "Region" => {
                let (_, said) = catalyst_render(&row.yaml(&row.spec));
                missing.extend(lacks(row, "render", &said, words));
            }
            Render::Plans(words) => {
                missing.extend(lacks(row, "render", verdict_in(&verdicts, row), words));
            }
            Render::Same | Render::Silent => {}
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n\n"));
}

/// A file whose aliases multiply to 10^20 words.
fn bomb() -> String {
    let level = |level: u32| {
        let before = level - 1;
        format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", "))
    };
    let levels: String = (1..20).map(level).collect();
    format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}")
}

#[test]
fn render_points_at_what_is_no_yaml_or_not_what_it_seems() {
    let twice = "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: shop}
spec:
  region: eu
  region: us
";
    let files: [(String, Words); 3] = [
        (twice.into(), &["-:7:3: spec.region is there twice", "remove one", "line 6"]),
        (twice.replace("{name: shop}", "{name: shop"), &["-:5:5: ", "expected ',' or '}'"]),
        (bomb(), &["aliases that multiply", "write out what they stand for"]),
    ];
    for (file, words) in files {
        let began = Instant::now();
        let (manifests, said) = catalyst_render(&file);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
        assert_eq!(manifests, "", "it printed manifests");
        assert!(began.elapsed() < TOLD, "it took {:?}", began.elapsed());
    }
}

/// Our definitions as a server without CEL keeps them.
fn without_cel(folder: &std::path::Path) -> Vec<PathBuf> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("x-kubernetes-validations");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let entries = fs::read_dir(repository("crds")).expect("crds/");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let yaml = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let stripped = yaml.map(|path| {
        let text = fs::read_to_string(&path).expect("a definition");
        assert!(!text.contains("messageExpression"), "{}", path.display());
        let mut definition = documents(&text).remove(0);
        strip(&mut definition);
        let file = folder.join(path.with_extension("json").file_name().expect("a name"));
        fs::write(&file, definition.to_string()).expect("it is written");
        file
    });
    stripped.collect()
}

/// Applies the table, and compares what is said. All that is amiss is told at once.
fn walk(installation: &Installation, cel: bool) {
    let rows = rows();
    settle(installation, &rows);
    let before = Standing::of(installation, &rows);

    let mut amiss = Vec::new();
    for row in &rows {
        amiss.extend(apply(installation, row, cel));
    }
    let since = Instant::now();
    let render = rendered(&rows);
    for row in rows.iter().filter(|row| row.is_judged(cel)) {
        match judged(installation, row, since) {
            Ok((reason, message)) => {
                let (Plan::Stalled(_, words) | Plan::Waits(_, words) | Plan::Warns(words)) =
                    row.plan
                else {
                    continue;
                };
                amiss.extend(lacks(row, "the condition", &message, words));
                let line = format!("{}: {reason}: {message}", row.key());
                if matches!(row.render, Render::Same)
                    && !render.lines().any(|said| said.starts_with(&line))
                {
                    let said = verdict_in(&render, row);
                    amiss.push(format!("render differs:\n  cluster: {line}\n  render:  {said}"));
                }
            }
            Err(seen) => amiss.push(format!("{} has not its verdict:\n{seen}", row.key())),
        }
    }
    amiss.extend(before.moved(installation));
    for row in rows.iter().filter(|row| row.kind == "EgressPolicy" && row.before.is_none()) {
        let carrying = format!("egress-{}", row.name);
        let carried = carrying.len() <= 253
            && installation.get("NetworkPolicy", row.namespace.as_deref(), &carrying).is_some();
        if carried {
            amiss.push(format!("{} has opened something", row.key()));
        }
    }
    assert!(amiss.is_empty(), "{} rows:\n\n{}", amiss.len(), amiss.join("\n\n"));
}

/// Applies the world, and what is right before it is spoilt.
fn settle(installation: &Installation, rows: &[Row]) {
    installation.apply(PLATFORM);
    let earlier = || rows.iter().filter_map(|row| Some((row, row.before?)));
    for (row, before) in earlier().filter(|(row, _)| row.kind == "Project") {
        installation.apply(&row.yaml(before));
    }
    for project in ["healthy", "team", "other", "small"] {
        installation.ready("Project", None, project);
    }
    installation.apply(RESIDENTS);
    installation.apply(TENANTS);
    for (row, before) in earlier().filter(|(row, _)| row.kind != "Project") {
        installation.apply(&row.yaml(before));
    }
    for (row, _) in earlier().filter(|(row, _)| row.kind != "Region") {
        let (kind, namespace, name) = row.place();
        installation.ready(kind, namespace, name);
    }
    for (kind, namespace, name) in HEALTHY {
        installation.ready(kind, namespace, name);
    }
    installation.calm();
}

/// What is right all the time.
const HEALTHY: [(&str, Option<&str>, &str); 8] = [
    ("Region", None, "eu"),
    ("Project", None, "healthy"),
    ("Project", None, "team"),
    ("AppIdentity", Some("prj-healthy"), "web"),
    ("EgressPolicy", Some("prj-healthy"), "db"),
    ("SecretRef", Some("prj-healthy"), "database"),
    ("AppIdentity", Some("prj-team"), "orders"),
    ("SecretRef", Some("prj-team"), "mail"),
];

/// Secrets that others want.
const WANTED: [&str; 3] = ["mail", "orders-dapr", "tenants"];

/// Objects that are right, and what stands: fences, and Secrets.
struct Standing {
    healthy: Vec<Value>,
    stands: Vec<Value>,
}

impl Standing {
    fn of(installation: &Installation, rows: &[Row]) -> Self {
        let spoilt = rows.iter().filter(|row| row.kind == "Project" && row.before.is_some());
        let namespaces = spoilt.map(|row| format!("prj-{}", row.name)).chain(["prj-team".into()]);
        let deny =
            |namespace: String| installation.the("NetworkPolicy", Some(&namespace), "default-deny");
        let mut stands: Vec<Value> = namespaces.map(deny).collect();
        stands.extend(installation.list("NetworkPolicy", Some("prj-healthy"), ""));
        stands.extend(WANTED.map(|name| installation.the("Secret", Some("prj-team"), name)));
        Self { healthy: healthy(installation), stands }
    }

    /// What is no longer as it was.
    fn moved(&self, installation: &Installation) -> Vec<String> {
        let mut moved = Vec::new();
        for (was, now) in self.healthy.iter().zip(healthy(installation)) {
            let name = format!("{} {}", was["kind"], was["metadata"]["name"]);
            if let Err(seen) = is_ready(&now) {
                moved.push(format!("{name} is not Ready:\n{seen}"));
            } else if was["status"]["conditions"] != now["status"]["conditions"] {
                moved.push(format!("{name} has another status:\n{:#}", now["status"]));
            }
        }
        for was in &self.stands {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &was["metadata"];
            let [kind, namespace, name] =
                [&was["kind"], &metadata["namespace"], &metadata["name"]].map(text);
            let now = installation.get(&kind, Some(&namespace), &name).unwrap_or_default();
            if essence(&now) != essence(was) {
                moved.push(format!("{kind} {namespace}/{name} is not what it was"));
            }
        }
        moved
    }
}

fn healthy(installation: &Installation) -> Vec<Value> {
    let the = |(kind, namespace, name)| installation.the(kind, namespace, name);
    HEALTHY.into_iter().map(the).collect()
}

/// Applies a row, and compares what the server says.
fn apply(installation: &Installation, row: &Row, cel: bool) -> Option<String> {
    let words = match row.server {
        Server::Takes => None,
        Server::Refuses(words) => Some(words),
        Server::RefusesByCel(words) | Server::Alone(words) => cel.then_some(words),
    };
    let (kind, namespace, name) = row.place();
    let applied = installation.try_apply(&row.yaml(&row.spec));
    match (applied, words) {
        (Ok(()), None) => None,
        (Ok(()), Some(_)) => {
            let kept = installation.the(kind, namespace, name);
            Some(format!("{} was accepted, as {}", row.key(), kept["spec"]))
        }
        (Err(refused), None) => Some(format!("{} was refused: {refused}", row.key())),
        (Err(refused), Some(words)) => {
            let there = row.before.is_none() && installation.get(kind, namespace, name).is_some();
            let there = there.then(|| format!("{} was refused, and is there", row.key()));
            lacks(row, "the server", &refused.message, words).or(there)
        }
    }
}

/// Waits for the verdict of a row: reason and message.
fn judged(
    installation: &Installation,
    row: &Row,
    since: Instant,
) -> Result<(String, String), String> {
    loop {
        let over = since.elapsed() > TOLD;
        let (kind, namespace, name) = row.place();
        let object = installation.the(kind, namespace, name);
        let said = match row.plan {
            Plan::Stalled(reason, _) => says(&object, "Stalled", reason),
            Plan::Waits(reason, _) => says(&object, "Reconciling", reason),
            Plan::Warns(_) | Plan::Silent => is_ready(&object).map(|()| {
                condition(&object, "Ready")["message"].as_str().unwrap_or_default().to_owned()
            }),
        };
        match said {
            Ok(message) => {
                let reason = condition(&object, "Ready")["reason"].as_str().unwrap_or_default();
                return Ok((reason.to_owned(), message));
            }
            Err(seen) if over => return Err(seen),
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}

/// What `render` says of the world with all rows in it that can be read.
fn rendered(rows: &[Row]) -> String {
    let mut files = vec![PLATFORM.to_owned(), RESIDENTS.to_owned()];
    let planned = |row: &&Row| matches!(row.render, Render::Same | Render::Plans(_));
    files.extend(rows.iter().filter(planned).map(|row| row.yaml(&row.spec)));
    let (_, verdicts) = catalyst_render(&files.join("---\n"));
    verdicts
}

/// What `render` says of a row's object.
fn verdict_in<'a>(verdicts: &'a str, row: &Row) -> &'a str {
    let start = format!("{}: ", row.key());
    verdicts.lines().find(|line| line.starts_with(&start)).unwrap_or("nothing")
}

/// The words that a message should hold, and does not.
fn lacks(row: &Row, who: &str, said: &str, words: Words) -> Option<String> {
    let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
    let short: String = said.chars().take(1000).collect();
    (!missing.is_empty())
        .then(|| format!("{}: {who} lacks {missing:?} in:\n  {}", row.key(), short.trim()))
}
