//! Reads the rules that people write: what they mean, what is wrong with them, what is probably not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use catalyst_crds::network::{AllowRule, BlockRule, Delegated, PortRange};
use catalyst_crds::region::IpFamily;
use ipnet::IpNet;

use super::sums::{Allow, Blocks, Bounds, MAX_NETWORKS};
use super::words;
use crate::cidr;
use crate::plan::Invalid;

/// What a block that can't be read means.
pub(super) const CLOSED: &str = "until then all is blocked that nothing allows";

/// Reads the rules of one object and gathers what there is to say of them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// The families that the cluster serves.
    families: &'a [IpFamily],
    /// The reason of the problems that are found next.
    pub(super) reason: &'static str,
    /// What is wrong, in the order of the fields.
    pub(super) problems: Vec<Invalid>,
    /// What is probably not meant.
    pub(super) warnings: Vec<String>,
    /// The first network of a family that is not served, and how many there are.
    unserved: Option<(String, usize)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(families: &'a [IpFamily]) -> Self {
        Self {
            families,
            reason: "InvalidEgress",
            problems: Vec::new(),
            warnings: Vec::new(),
            unserved: None,
        }
    }

    /// Notes a problem with what stands at a path.
    pub(super) fn refuse(&mut self, path: impl Display, problem: impl Display) {
        let message = format!("{path} {problem}");
        self.problems.push(Invalid::new(self.reason, message));
    }

    /// The entries of a list that can count, each with its path.
    pub(super) fn allowed(&mut self, list: &str, rules: &[AllowRule]) -> Vec<(String, Allow)> {
        let mut seen = BTreeSet::new();
        let mut total = 0;
        let mut read = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("{list}[{index}]");
            let named = self.name(&path, &rule.name, &mut seen);
            let Some(allow) = self.allow(&path, rule).filter(|_| named) else {
                continue;
            };
            total += allow.cidrs.len();
            if total > MAX_NETWORKS {
                self.refuse(
                    &path,
                    format!(
                        "brings {list} to {total} networks, more than {MAX_NETWORKS}: join them"
                    ),
                );
                continue;
            }
            read.push((path, allow));
        }
        read
    }

    /// One entry; `None` where anything is wrong with it, so that half an entry never counts.
    fn allow(&mut self, path: &str, rule: &AllowRule) -> Option<Allow> {
        let before = self.problems.len();
        if rule.cidrs.is_empty() && rule.namespaces.is_empty() {
            self.refuse(
                path,
                "has neither cidrs nor namespaces, which would mean everywhere: name one of them",
            );
        }
        if rule.namespaces.is_empty() && !rule.pod_labels.is_empty() {
            self.refuse(
                format!("{path}.podLabels"),
                "narrows namespaces, and there are none: add namespaces, or remove podLabels",
            );
        }
        let allow = Allow {
            cidrs: self.cidrs(&format!("{path}.cidrs"), &rule.cidrs),
            namespaces: self.namespaces(&format!("{path}.namespaces"), &rule.namespaces),
            pod_labels: rule.pod_labels.clone(),
            ports: rule.ports.clone(),
        };
        self.labels(&format!("{path}.podLabels"), &rule.pod_labels);
        for (index, port) in rule.ports.iter().enumerate() {
            self.port(&format!("{path}.ports[{index}]"), port);
        }
        (self.problems.len() == before).then_some(allow)
    }

    /// What a list of blocks takes out. A bad entry never widens: host bits are masked, and what
    /// can't be read closes the base.
    pub(super) fn blocked(&mut self, list: &str, rules: &[BlockRule]) -> Blocks {
        let mut seen = BTreeSet::new();
        let mut read = Blocks::default();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("{list}[{index}]");
            self.name(&path, &rule.name, &mut seen);
            if rule.cidrs.is_empty() {
                read.closed = true;
                self.refuse(
                    format_args!("{path}.cidrs"),
                    format_args!("is empty: name the networks, or remove the entry; {CLOSED}"),
                );
            }
            for (index, value) in rule.cidrs.iter().enumerate() {
                match self.block(&format!("{path}.cidrs[{index}]"), value) {
                    Some(net) => read.nets.push(net),
                    None => read.closed = true,
                }
            }
        }
        let mut blocks = Blocks::default();
        if !blocks.add(&read) {
            self.refuse(
                list,
                format_args!("comes to more than {MAX_NETWORKS} networks: join them; {CLOSED}"),
            );
        }
        blocks
    }

    /// The network that a block means; `None` where it can't be read.
    fn block(&mut self, path: &str, value: &str) -> Option<IpNet> {
        match cidr::parse(value) {
            Ok(net) => {
                self.serves(path, net);
                Some(net)
            }
            Err(unreadable) if unreadable.masked.is_some() => {
                self.refuse(path, format_args!("is {unreadable}"));
                unreadable.masked
            }
            Err(unreadable) => {
                self.refuse(path, format_args!("is {unreadable}; {CLOSED}"));
                None
            }
        }
    }

    /// What may be opened by those below. A bad entry delegates nothing.
    pub(super) fn delegated(&mut self, path: &str, delegated: &Delegated) -> Bounds {
        let cidrs = self.cidrs(&format!("{path}.cidrs"), &delegated.cidrs);
        let namespaces = self.namespaces(&format!("{path}.namespaces"), &delegated.namespaces);
        Bounds {
            cidrs: cidr::aggregate(cidrs.into_iter().map(|(_, net)| net)),
            namespaces: namespaces.into_iter().map(|(_, name)| name).collect(),
        }
    }

    fn cidrs(&mut self, path: &str, values: &[String]) -> Vec<(usize, IpNet)> {
        let mut nets = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match cidr::parse(value) {
                Ok(net) if self.serves(&path, net) => nets.push((index, net)),
                Ok(_) => {}
                Err(unreadable) => self.refuse(path, format!("is {unreadable}")),
            }
        }
        nets
    }

    /// Namespaces by name; one that no namespace can have is refused.
    pub(super) fn namespaces(&mut self, path: &str, values: &[String]) -> Vec<(usize, String)> {
        let mut names = Vec::new();
        for (index, value) in values.iter().enumerate() {
            if self.namespace(format_args!("{path}[{index}]"), value) {
                names.push((index, value.clone()));
            }
        }
        names
    }

    /// Whether a namespace can be called so.
    pub(super) fn namespace(&mut self, path: impl Display, value: &str) -> bool {
        let is_name = words::is_dns_label(value);
        if !is_name {
            self.refuse(
                path,
                format_args!(
                    "is \"{value}\", which no namespace can be called: write its name, of a-z, 0-9 \
                     and -, at most 63 of them"
                ),
            );
        }
        is_name
    }

    /// Labels that pods can carry.
    pub(super) fn labels(&mut self, path: &str, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            if !words::is_label_key(key) {
                self.refuse(
                    path,
                    format!(
                        "has the key \"{key}\", which no label can have: write the label's key"
                    ),
                );
            }
            if !words::is_label_value(value) {
                self.refuse(
                    format!("{path}[{key}]"),
                    format!("is \"{value}\", which no label can have: write the label's value"),
                );
            }
        }
    }

    fn port(&mut self, path: &str, range: &PortRange) {
        let all = 1..=65_535;
        if !all.contains(&range.port) {
            self.refuse(
                format!("{path}.port"),
                format!("is {}: write a port from 1 to 65535", range.port),
            );
        }
        let Some(end) = range.end_port else { return };
        if !all.contains(&end) || end < range.port {
            self.refuse(
                format!("{path}.endPort"),
                format!(
                    "is {end}: write the last port of the range, from {} to 65535, or remove it",
                    range.port.clamp(1, 65_535)
                ),
            );
        }
    }

    /// Whether the rule's name is one, and new in its list.
    fn name<'r>(&mut self, path: &str, name: &'r str, seen: &mut BTreeSet<&'r str>) -> bool {
        let is_name = words::is_label_value(name) && !name.is_empty();
        if !is_name {
            self.refuse(
                format!("{path}.name"),
                format!("is \"{name}\": write letters, digits, -, _ and ., at most 63 of them"),
            );
        }
        let is_new = seen.insert(name);
        if !is_new {
            self.refuse(
                format!("{path}.name"),
                format!("is \"{name}\", as an entry before it: give each entry a name of its own"),
            );
        }
        is_name && is_new
    }

    /// Whether the cluster serves the family of a network. If not, it does nothing, which is a
    /// warning only, since one configuration may serve many clusters.
    fn serves(&mut self, path: &str, net: IpNet) -> bool {
        let served = self.families.contains(&cidr::family(&net));
        if !served {
            let first = || (format!("{path} is \"{net}\""), 0);
            self.unserved.get_or_insert_with(first).1 += 1;
        }
        served
    }

    /// What is wrong, in a sentence or a few, and what is probably not meant.
    pub(super) fn finish(mut self) -> (Option<Invalid>, Vec<String>) {
        if let Some((first, count)) = self.unserved {
            let more = match count {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            self.warnings.push(format!(
                "{first}, of a family that the Region's spec.network.ipFamilies leaves out: it does \
                 nothing{more}"
            ));
        }
        (first_of(&self.problems), self.warnings)
    }
}

/// What is wrong, in one sentence or a few: the first problem gives the reason.
fn first_of(problems: &[Invalid]) -> Option<Invalid> {
    const SHOWN: usize = 3;
    let first = problems.first()?;
    let shown: Vec<_> = problems.iter().take(SHOWN).map(|p| p.message.as_str()).collect();
    let more = problems.len() - shown.len();
    let rest = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(Invalid {
        reason: first.reason,
        message: format!("{}{rest}", shown.join("; also ")),
        waits: problems.iter().all(|problem| problem.waits),
    })
}
