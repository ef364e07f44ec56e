//! A GitOps tool may send files in any order, and the operator may be down meanwhile: the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use catalyst_e2e::{Installation, declared, documents, examples, region_secrets, state};
use serde_json::Value;

/// How many orders.
const ORDERS: u64 = 24;

/// How long a file may be refused until it must be accepted: a namespace of a Project that is not there yet, say.
const ACCEPTED: Duration = Duration::from_mins(1);

/// How often a GitOps tool that is refused tries again.
const AGAIN: Duration = Duration::from_secs(1);

/// From the last file to the last Ready.
const READY: Duration = Duration::from_secs(30);

/// Kubernetes takes 5 s for a namespace.
const GONE: Duration = Duration::from_mins(1);

/// What the operator does in an order, by the number of files that were sent before.
#[derive(Clone, Copy, Debug)]
enum Operator {
    Runs,
    StartsAfter(usize),
    /// It is started again once all files were sent.
    KilledAfter(usize),
}

/// The files, each with the objects in it.
struct File {
    name: String,
    text: String,
    objects: Vec<Value>,
}

fn files() -> Vec<File> {
    let file = |(path, text): (std::path::PathBuf, String)| {
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts[parts.len().saturating_sub(2)..].join("/");
        File { name, objects: documents(&text), text }
    };
    examples().into_iter().map(file).collect()
}

/// A shuffle that is the same for a seed, on any machine: Fisher-Yates by `SplitMix64`.
/// <https://prng.di.unimi.it/splitmix64.c>
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for last in (1..items.len()).rev() {
        let count = u64::try_from(last + 1).expect("a small number");
        items.swap(last, usize::try_from(next() % count).expect("a small number"));
    }
}

/// The orders, of the files by their index. The first one holds every namespaced kind before its Project.
fn orders(files: &[File]) -> Vec<(Vec<usize>, Operator)> {
    let namespaced = |file: &File| {
        let inside = |object: &Value| object["metadata"]["namespace"].is_string();
        file.objects.iter().any(inside)
    };
    let mut backwards: Vec<usize> = (0..files.len()).collect();
    backwards.sort_by_key(|index| !namespaced(&files[*index]));
    let shuffled = (1..ORDERS).map(|seed| {
        let mut order: Vec<usize> = (0..files.len()).collect();
        shuffle(&mut order, seed);
        order
    });
    let operator = |seed: usize, files: usize| match seed % 3 {
        // Down for the first part of the files, or all; or for the last part, in the middle of its work.
        1 => Operator::StartsAfter((seed / 3 * 2) % (files + 1)),
        2 => Operator::KilledAfter(1 + (seed / 3 * 2) % (files - 1)),
        _ => Operator::Runs,
    };
    let orders = std::iter::once(backwards).chain(shuffled).enumerate();
    orders.map(|(seed, order)| (order, operator(seed, files.len()))).collect()
}

/// Sends each file in turn, again every second until it is accepted. Files that wait don't hold up those behind them,
/// as each is a unit of its own to a GitOps tool.
fn send(stage: &mut Installation, files: &[File], order: &[usize], operator: Operator) {
    let begun = Instant::now();
    let mut waiting: Vec<(usize, Instant)> = order.iter().map(|file| (*file, begun)).collect();
    let mut sent = 0;
    while !waiting.is_empty() {
        let now = Instant::now();
        let mut refusals = BTreeMap::new();
        for (file, due) in std::mem::take(&mut waiting) {
            match operator {
                Operator::StartsAfter(count) if sent == count => stage.mend(),
                Operator::KilledAfter(count) if sent == count => stage.kill(),
                _ => {}
            }
            sent += 1;
            if due > now {
                waiting.push((file, due));
            } else if let Err(refused) = stage.try_apply(&files[file].text) {
                refusals.insert(&files[file].name, refused.to_string());
                waiting.push((file, Instant::now() + AGAIN));
            }
        }
        // All were sent once.
        stage.mend();
        assert!(begun.elapsed() < ACCEPTED, "still refused: {refusals:#?}");
        if !waiting.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Waits until all that is declared is Ready, as a person does.
fn ready(stage: &Installation) {
    let kinds = "regions,projects,appidentities,egresspolicies,secretrefs";
    let wait = format!("wait --for=condition=Ready --timeout={}s", READY.as_secs());
    let met = stage.kubectl(&format!("{wait} {kinds} --all --all-namespaces"));
    let met = met.lines().filter(|line| line.ends_with(" condition met")).count();
    assert_eq!(met, declared().len());
}

/// Deletes all of it at once, and waits until it is gone. What is left in the end is the region's secrets.
fn clear(stage: &Installation) {
    let names = |kind: &str| -> Vec<String> {
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
        stage.list(kind, None, "").iter().filter_map(name).collect()
    };
    let namespaces = names("Namespace").into_iter().filter(|name| name.starts_with("prj-"));
    let namespaces = namespaces.map(|name| ("Namespace", name));
    let projects = names("Project").into_iter().map(|name| ("Project", name));
    let going: Vec<_> = projects.chain(namespaces).collect();
    for (kind, name) in &going {
        stage.delete(kind, None, name);
    }
    for (kind, name) in &going {
        stage.gone(GONE, kind, None, name);
    }
    for region in names("Region") {
        stage.delete("Region", None, &region);
    }
}

#[test]
fn the_examples_in_any_order_end_in_the_same_state_all_ready() {
    let mut stage = Installation::start();
    region_secrets(&stage);
    let files = files();
    let orders = orders(&files);
    assert_eq!(orders.len(), usize::try_from(ORDERS).unwrap());
    let mut first: Option<BTreeMap<String, Value>> = None;
    for (number, (order, operator)) in orders.iter().enumerate() {
        let names: Vec<_> = order.iter().map(|file| files[*file].name.as_str()).collect();
        let told = format!("order {number}, operator {operator:?}: {}", names.join(", "));
        let failed = Told(&told);
        if matches!(operator, Operator::StartsAfter(_)) {
            stage.kill();
        }
        send(&mut stage, &files, order, *operator);
        ready(&stage);
        if let Some(first) = &first {
            // What counts apps, say, follows a moment after they are Ready.
            stage.until(READY, "all is as after the first order", || same(first, &state(&stage)));
        } else {
            stage.calm();
            first = Some(state(&stage));
        }
        clear(&stage);
        drop(failed);
    }
}

/// Compares place by place, so that a difference is readable.
fn same(first: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Result<(), String> {
    let places: BTreeSet<&String> = first.keys().chain(now.keys()).collect();
    let differs = |place: &&String| first.get(*place) != now.get(*place);
    let Some(place) = places.into_iter().find(differs) else { return Ok(()) };
    let shown = |state: &BTreeMap<String, Value>| {
        state.get(place).map_or("not there".to_owned(), |object| format!("{object:#}"))
    };
    Err(format!("{place} was, after the first order:\n{}\nand is:\n{}", shown(first), shown(now)))
}

/// Says which order it was that failed.
struct Told<'a>(&'a str);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
