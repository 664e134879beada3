//! Terminal readers. <https://docs.stripe.com/api/terminal/readers/object>

use domain::Facts;
use domain::reader::{ReaderAction, ReaderFacts, ReaderStatus};

use super::details::word;
use super::{Object, Said};
use crate::json::{Raw, TEXT_CHARS_MAX, tolerant};

tolerant! {
    /// What a reader does is described under the action's own name.
    Action {
        status: Raw<'de> = "status",
        failure_code: Raw<'de> = "failure_code",
        failure_message: Raw<'de> = "failure_message",
        process: Raw<'de> = "process_payment_intent",
        confirm: Raw<'de> = "confirm_payment_intent",
        collect: Raw<'de> = "collect_payment_method",
        refund: Raw<'de> = "refund_payment",
    }
}

tolerant! { Work { payment_intent: Raw<'de> = "payment_intent" } }

pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let Some(reader_id) = object.id.id() else { return };
    let action: Action<'_> = object.action.read();
    let kinds = [action.process, action.confirm, action.collect, action.refund];
    let mut intents = kinds.into_iter().filter_map(|work| work.read::<Work<'_>>().payment_intent.id());
    let Some(intent_id) = intents.next() else { return };
    let mut reader = ReaderFacts::default();
    if let Some(status) = action.status.text().and_then(|status| ReaderStatus::parse(&status)) {
        reader.action = said.latest(ReaderAction {
            status,
            failure_code: word(action.failure_code),
            failure_message: action.failure_message.short_text(TEXT_CHARS_MAX),
        });
    }
    let key = format!("{reader_id}/{intent_id}");
    reader.intents.insert(intent_id);
    facts.readers.insert(key, reader);
}
