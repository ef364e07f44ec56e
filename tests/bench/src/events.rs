//! What watches tell, in the order in which they tell it.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::floor::{Client, api};

/// The longest wait for one event.
const PATIENCE: Duration = Duration::from_mins(1);

/// What happened to an object.
pub(crate) struct News {
    pub(crate) kind: &'static str,
    pub(crate) object: Value,
    pub(crate) deleted: bool,
    /// When it came.
    pub(crate) at: Instant,
}

impl News {
    /// Whether it is about the object of this kind, namespace and name.
    pub(crate) fn is_of(&self, (kind, namespace, name): (&str, &str, &str)) -> bool {
        let metadata = &self.object["metadata"];
        self.kind == kind && metadata["name"] == name && metadata["namespace"] == namespace
    }

    /// Whether it is the very state that a write answered with.
    pub(crate) fn is(&self, answer: &Value) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        !self.deleted && version(&self.object) == version(answer)
    }
}

/// Watches over some kinds. Each tells in order, but not one beside the other: what comes while something else is
/// waited for is kept.
pub(crate) struct Events {
    line: UnboundedReceiver<News>,
    kept: Vec<News>,
    /// Ends with this.
    _watches: JoinSet<()>,
}

impl Events {
    /// Watches that have had their first lists.
    pub(crate) async fn of(client: &Client, kinds: &[(&'static str, &'static str)]) -> Self {
        let watches = kinds.iter().map(|&(version, kind)| {
            let api = api(&client.inner, version, kind, None);
            watcher(api, Config::default()).map(move |event| (kind, event)).boxed()
        });
        let mut watches = futures::stream::select_all(watches);
        let (tell, line) = unbounded_channel();
        let (listed, first) = oneshot::channel();
        let mut missing = kinds.len();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut listed = Some(listed);
            while let Some((kind, event)) = watches.next().await {
                let at = Instant::now();
                let (object, deleted) = match event.expect("a watch") {
                    Event::Apply(object) => (object, false),
                    Event::Delete(object) => (object, true),
                    Event::InitDone => {
                        missing = missing.saturating_sub(1);
                        if let Some(listed) = listed.take_if(|_| missing == 0) {
                            let _ = listed.send(());
                        }
                        continue;
                    }
                    _ => continue,
                };
                // Whoever listened is done.
                if tell.send(News { kind, object: json!(object), deleted, at }).is_err() {
                    return;
                }
            }
        });
        first.await.expect("first lists");
        Self { line, kept: Vec::new(), _watches: task }
    }

    /// Forgets what came so far.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
        while self.line.try_recv().is_ok() {}
    }

    /// The first one that is looked for.
    pub(crate) async fn until(&mut self, is: impl Fn(&News) -> bool) -> News {
        if let Some(index) = self.kept.iter().position(&is) {
            return self.kept.remove(index);
        }
        let found = async {
            loop {
                let news = self.line.recv().await.expect("the watches go on");
                if is(&news) {
                    return news;
                }
                self.kept.push(news);
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the event comes in time")
    }
}
