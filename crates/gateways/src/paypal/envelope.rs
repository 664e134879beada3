//! Which event a body is. <https://developer.paypal.com/api/rest/webhooks/rest/#link-samplewebhookpayload>

use domain::{Mode, Timestamp};
use http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::certificate_url::{environment, environment_of};
use crate::json::{self, Raw, tolerant};
use crate::{Envelope, NotAnEvent};

/// A key that is repeated here is refused: readers would differ over which event it
/// is.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de> + Default"))]
pub(super) struct Document<'a, R> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    create_time: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_version: Option<&'a RawValue>,
    #[serde(borrow)]
    links: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) resource: R,
}

tolerant! { Linked { links: Raw<'de> = "links" } }
tolerant! { Link { href: Raw<'de> = "href" } }

/// Reads which event a delivery is, and refuses what PayPal does not send. Nothing but
/// `id` and `event_type` is required: PayPal's own samples have months that do not
/// exist. It is of the sandbox (test) where the certificate's URL or one of the links
/// is.
pub fn envelope(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, NotAnEvent> {
    let text = json::document(body)?;
    let linked = Document::<Linked<'_>>::read(text).map(|document| (raw(document.links), document.resource.links));
    let document = Document::<IgnoredAny>::read(text)?;
    let (event_id, event_type) = document.identity()?;
    let (of_event, of_resource) = linked.unwrap_or_default();
    let is_test = environment(headers) == Ok(Mode::Test)
        || [of_event, of_resource]
            .into_iter()
            .flat_map(Raw::items)
            .any(|link| is_of_sandbox(link.read::<Link<'_>>().href));
    Ok(Envelope {
        event_id,
        event_type,
        api_version: raw(document.resource_version).id(),
        mode: Mode::from_livemode(!is_test),
        connected_account: None,
        created_at: document.created(),
    })
}

fn is_of_sandbox(href: Raw<'_>) -> bool {
    href.text().is_some_and(|href| environment_of(&href) == Some(Mode::Test))
}

impl<'a, R: Deserialize<'a> + Default> Document<'a, R> {
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
        let id = name(self.id).ok_or(NotAnEvent("`id` is missing or no id"))?;
        let event_type = name(self.event_type).ok_or(NotAnEvent("`event_type` is missing or no name"))?;
        Ok((id, event_type))
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        raw(self.create_time).text().and_then(|text| Timestamp::parse(&text))
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
