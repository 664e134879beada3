//! Which event a body is.

use domain::Mode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::{self, Raw};
use crate::{Envelope, NotAnEvent};

/// A snapshot event shows its object in `data`; a thin one names it in
/// `related_object`. A key that is repeated here is refused: readers would differ
/// over which event it is.
#[derive(Deserialize)]
#[serde(bound(deserialize = "D: Deserialize<'de> + Default"))]
pub(super) struct Document<'a, D> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    livemode: Option<&'a RawValue>,
    #[serde(borrow)]
    account: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    related_object: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) data: D,
}

/// Reads which event a body is, and refuses what Stripe does not send. Nothing
/// but `id`, `type` and `object` is required.
pub fn envelope(body: &[u8]) -> Result<Envelope, NotAnEvent> {
    let document = Document::<IgnoredAny>::read(json::document(body)?)?;
    let (event_id, event_type) = document.identity()?;
    Ok(Envelope {
        event_id,
        event_type,
        api_version: raw(document.api_version).id(),
        mode: Mode::from_livemode(raw(document.livemode).flag().unwrap_or(false)),
        connected_account: raw(document.account).id().or_else(|| raw(document.context).id()),
        created_at: document.created().instant(),
    })
}

impl<'a, D: Deserialize<'a> + Default> Document<'a, D> {
    pub(super) fn read(text: &'a str) -> Result<Self, NotAnEvent> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(NotAnEvent("the body is not a JSON object")); // A derived reader would take an array.
        }
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => NotAnEvent("a key of the event is repeated"),
            _ => NotAnEvent("the body is not JSON"),
        })
    }

    /// The event's id and type.
    pub(super) fn identity(&self) -> Result<(String, String), NotAnEvent> {
        match raw(self.object).text().as_deref() {
            Some("event" | "v2.core.event") => {}
            _ => return Err(NotAnEvent("`object` is neither `event` nor `v2.core.event`")),
        }
        let id = name(self.id).ok_or(NotAnEvent("`id` is missing or no id"))?;
        let event_type = name(self.event_type).ok_or(NotAnEvent("`type` is missing or no name"))?;
        Ok((id, event_type))
    }

    pub(super) fn created(&self) -> Raw<'a> {
        raw(self.created)
    }

    pub(super) fn related_object(&self) -> Raw<'a> {
        raw(self.related_object)
    }
}

fn raw(value: Option<&RawValue>) -> Raw<'_> {
    value.map(Raw::from).unwrap_or_default()
}

/// A string only: an event's own id is never an object.
fn name(value: Option<&RawValue>) -> Option<String> {
    let text = raw(value).text()?;
    json::is_id(&text).then(|| text.into_owned())
}
