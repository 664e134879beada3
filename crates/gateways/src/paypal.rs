//! PayPal: webhook signatures, events, and what they state about payments.
//! <https://developer.paypal.com/api/rest/webhooks/>

mod amount;
mod certificate;
mod certificate_url;
mod envelope;
mod facts;
mod sign;
mod verify;

pub use certificate::{Certificates, NotCertificates, Trust};
pub use certificate_url::{CertificateUrl, certificate_url, environment_of_base};
pub use envelope::envelope;
pub use facts::{normalise, resource_facts};
pub use sign::{Delivery, Signer};
pub use verify::{
    ALGORITHM_HEADER, CERTIFICATE_URL_HEADER, SIGNATURE_HEADER, TOLERANCE_SECONDS, TRANSMISSION_ID_HEADER,
    TRANSMISSION_TIME_HEADER, Transmission, WebhookId, secret, transmission_id, verify, webhook_id,
};

/// Events that confirm or fail a payment.
/// <https://developer.paypal.com/api/rest/webhooks/event-names/>
pub(crate) const DECIDING_TYPES: [&str; 13] = [
    "CHECKOUT.ORDER.APPROVED",
    "CHECKOUT.ORDER.COMPLETED",
    "CHECKOUT.ORDER.VOIDED",
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
    "PAYMENT.AUTHORIZATION.CREATED",
    "PAYMENT.AUTHORIZATION.VOIDED",
    "PAYMENT.CAPTURE.COMPLETED",
    "PAYMENT.CAPTURE.DECLINED",
    "PAYMENT.CAPTURE.DENIED",
    "PAYMENT.CAPTURE.PENDING",
    "PAYMENT.SALE.COMPLETED",
    "PAYMENT.SALE.DENIED",
    "PAYMENT.SALE.PENDING",
];
