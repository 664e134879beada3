//! JSON with places to fill in: the string `"$name"` stands for any value.

use std::sync::LazyLock;

/// Values by name, each as JSON text. A place without a value is null.
pub(super) type Values = Vec<(&'static str, String)>;

pub(super) struct Template {
    pieces: Vec<Piece>,
    text_len: usize,
}

enum Piece {
    Text(String),
    Place(&'static str),
}

/// An event's object is two levels down.
const OBJECT_INDENT: &str = "\n    ";

pub(super) static EVENT: LazyLock<Template> = LazyLock::new(|| Template::parse(include_str!("event.json"), "\n"));
pub(super) static INTENT: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("payment_intent.json")));
pub(super) static CHARGE: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("charge.json")));
pub(super) static REFUND: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("refund.json")));
pub(super) static DISPUTE: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("dispute.json")));
pub(super) static SESSION: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("checkout_session.json")));
pub(super) static READER: LazyLock<Template> = LazyLock::new(|| of_object(include_str!("reader.json")));

fn of_object(text: &'static str) -> Template {
    Template::parse(text, OBJECT_INDENT)
}

impl Template {
    fn parse(text: &'static str, line_break: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text.trim_end();
        while let Some(start) = rest.find("\"$") {
            let (before, place) = rest.split_at(start);
            let place = &place["\"$".len()..];
            let end = place.find('"').unwrap_or(place.len());
            pieces.push(Piece::Text(before.replace('\n', line_break)));
            pieces.push(Piece::Place(&place[..end]));
            rest = place.get(end + 1..).unwrap_or_default();
        }
        pieces.push(Piece::Text(rest.replace('\n', line_break)));
        Self { pieces, text_len: text.len() * 2 }
    }

    pub(super) fn fill(&self, values: &Values) -> String {
        debug_assert!(values.iter().all(|(name, _)| self.has(name)), "every value has its place: {values:?}");
        let mut json = String::with_capacity(self.text_len);
        for piece in &self.pieces {
            json.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Place(name) => values.iter().find(|(n, _)| n == name).map_or("null", |(_, json)| json),
            });
        }
        json
    }

    fn has(&self, name: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Place(place) if *place == name))
    }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON object, written out at the depth of an event object's own fields.
pub(super) fn object(fields: &[(&str, String)]) -> String {
    if fields.is_empty() {
        return "{}".to_owned();
    }
    let lines: Vec<String> = fields.iter().map(|(key, json)| format!("        {}: {json}", quoted(key))).collect();
    format!("{{\n{}\n      }}", lines.join(",\n"))
}
