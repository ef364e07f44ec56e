//! From bytes to documents: what YAML may cost, and how reading goes on after a document that can't be read.

use std::ops::ControlFlow;

use serde_saphyr::{DuplicateKeyPolicy, Error, MessageFormatter, Options, UserMessageFormatter};

use super::node::{At, Node, at};

/// What one document may cost: as a tree in memory, a node takes up to 200 bytes. A List of some ten thousand objects
/// passes; aliases that multiply don't.
fn options() -> Options {
    serde_saphyr::options! {
        // Found by us, all of them and not just the first.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A snippet would show the line, and with it a secret.
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_events: 1_000_000,
            max_nodes: 400_000,
            max_total_scalar_bytes: 16 * 1024 * 1024,
            max_aliases: 10_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

/// One document, or where and why it can't be read.
pub(super) type Document = Result<Node, (At, String)>;

/// The documents of a YAML stream (JSON is YAML), one after the other, until `take` wants no more.
pub(super) fn parse(bytes: &[u8], mut take: impl FnMut(Document) -> ControlFlow<()>) {
    if let Err(error) = std::str::from_utf8(bytes) {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count() as u64;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() as u64 + 1;
        let message = "this is no UTF-8 text: save the file as UTF-8";
        let _ = take(Err((At { line, column }, message.into())));
        return;
    }
    let (mut rest, mut lines) = (bytes, 0);
    loop {
        let mut broken = None;
        for document in serde_saphyr::read_with_options::<_, Node>(&mut { rest }, options()) {
            let document = match document {
                Ok(mut node) => {
                    node.moved(lines);
                    broken = None;
                    Ok(node)
                }
                Err(error) => {
                    let error = error.without_snippet();
                    let mut at = error.location().map(at).unwrap_or_default();
                    broken = (at.line > 0 && !is_bomb(error)).then_some(at.line);
                    at.line += lines;
                    Err((at, message(error)))
                }
            };
            if take(document).is_break() {
                return;
            }
        }
        // Where the parser lost its way, the next document is a new start.
        let Some((skipped, next)) = broken.and_then(|line| next_document(rest, line)) else {
            return;
        };
        (rest, lines) = (next, lines + skipped);
    }
}

/// What is wrong, on one line and without what a terminal would obey.
fn message(error: &Error) -> String {
    if is_bomb(error) {
        return "is more than can be read, most likely by aliases that multiply: write out what they stand for, or \
                split the file"
            .into();
    }
    let said = UserMessageFormatter.format_message(error);
    said.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// Whether it cost too much to read on: more of it would cost the same again.
fn is_bomb(error: &Error) -> bool {
    match error {
        Error::AliasError { error, .. } => is_bomb(error),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => true,
        _ => false,
    }
}

/// What begins with the first `---` after a line, and how many lines are before it.
fn next_document(bytes: &[u8], after: u64) -> Option<(u64, &[u8])> {
    let mut start = 0;
    for (line, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let opens = text
            .strip_prefix(b"---")
            .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
        if line > after && opens {
            return Some((line - 1, &bytes[start..]));
        }
        start += text.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> (Vec<Node>, Vec<(At, String)>) {
        let (mut nodes, mut faults) = (Vec::new(), Vec::new());
        parse(bytes, |document| {
            match document {
                Ok(node) => nodes.push(node),
                Err(fault) => faults.push(fault),
            }
            ControlFlow::Continue(())
        });
        (nodes, faults)
    }

    fn one(text: &str) -> Node {
        let (mut nodes, faults) = all(text.as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        nodes.remove(0)
    }

    #[test]
    fn keys_and_values_know_their_place_in_the_file_not_in_the_document() {
        let (nodes, _) = all(b"a: 1\n---\nb:\n  c: [x, y]\n");
        let (key, list) = &nodes[1].get("b").unwrap().entries()[0];
        assert_eq!(key.at, At { line: 4, column: 3 });
        assert_eq!(list.items()[1].at, At { line: 4, column: 10 });
    }

    #[test]
    fn keys_that_are_there_twice_are_kept_for_whoever_reports_them() {
        assert_eq!(one("a: 1\na: 2\n").entries().len(), 2);
    }

    #[test]
    fn one_bad_document_does_not_hide_the_others() {
        let (nodes, faults) = all(b"a: *nowhere\n---\nb: 1\n");
        assert_eq!((nodes.len(), faults.len()), (1, 1));
        assert_eq!(faults[0].0, At { line: 1, column: 4 });
        assert_eq!(nodes[0].entries()[0].0.at, At { line: 3, column: 1 });
    }

    #[test]
    fn bytes_that_are_no_text_are_pointed_at() {
        let (_, faults) = all(b"a: 1\nb: \xff\n");
        assert_eq!(faults[0].0, At { line: 2, column: 4 });
    }
}
