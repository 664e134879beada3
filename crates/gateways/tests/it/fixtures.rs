//! What comes out of our own fixtures, one snapshot each.

use std::path::Path;

use gateways::stripe::{envelope, normalise};
use serde_json::{Value, json};

use crate::support::read;

#[test]
fn fixtures_state_what_their_snapshots_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stripe");
    let files = std::fs::read_dir(&folder).expect("fixtures").map(|entry| entry.expect("fixture").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    assert!(files.len() >= 20, "{} fixtures", files.len());
    for path in files {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        insta::assert_json_snapshot!(name, said(&read(&path)));
    }
}

fn said(body: &[u8]) -> Value {
    let envelope = envelope(body).expect("an event");
    let statement = normalise(body).expect("an event");
    json!({
        "event": {
            "id": envelope.event_id,
            "type": envelope.event_type,
            "api_version": envelope.api_version,
            "mode": envelope.mode,
            "connected_account": envelope.connected_account,
            "created_at": envelope.created_at,
        },
        "object_id": statement.object_id,
        "needs_fetch": statement.needs_fetch,
        "facts": statement.facts,
    })
}
