//! The one thing that is asked of etcd itself: to forget what was before, by the JSON gateway on its client port.

use std::io::{Error, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// Compacts all revisions but the last. Whoever watches from one of them is told that it is too old.
pub(crate) fn compact(port: u16) -> Result<(), Error> {
    // Any key, base64: every answer says the revision.
    let answer = post(port, "/v3/kv/range", &json!({"key": "AA=="}))?;
    let revision = &answer["header"]["revision"];
    post(port, "/v3/kv/compaction", &json!({"revision": revision, "physical": true})).map(drop)
}

fn post(port: u16, path: &str, body: &Value) -> Result<Value, Error> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let body = body.to_string();
    // 1.0, so that the answer ends with the connection.
    write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
        return Err(Error::other(answer));
    }
    Ok(serde_json::from_str(body)?)
}
