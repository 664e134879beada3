//! The words a merchant reads.

/// Declares an enum whose variants have one text each, in serde, SQL and the API.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

text_enum! {
    /// Of payments, and of the orders that they add up to.
    PaymentStatus {
        Pending = "pending",
        RequiresAction = "requires_action",
        Processing = "processing",
        Authorized = "authorized",
        Paid = "paid",
        PartiallyRefunded = "partially_refunded",
        Refunded = "refunded",
        Failed = "failed",
        Canceled = "canceled",
    }
}

impl PaymentStatus {
    /// Whether money was collected, whatever became of it.
    pub const fn is_collected(self) -> bool {
        matches!(self, Self::Paid | Self::PartiallyRefunded | Self::Refunded)
    }
}

text_enum! {
    /// In the order in which one of several disputes decides: the last wins.
    DisputeStatus {
        None = "none",
        Won = "won",
        Open = "open",
        Lost = "lost",
    }
}

text_enum! {
    /// What an observation says while nothing final is known. The order breaks a
    /// tie between observations of one instant: the last wins.
    Phase {
        Pending = "pending",
        Failed = "failed",
        RequiresAction = "requires_action",
        Processing = "processing",
        Authorized = "authorized",
    }
}

impl From<Phase> for PaymentStatus {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Failed => Self::Failed,
            Phase::RequiresAction => Self::RequiresAction,
            Phase::Processing => Self::Processing,
            Phase::Authorized => Self::Authorized,
        }
    }
}
