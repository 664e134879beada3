//! Join-semilattices: values that only move up, so that merging is commutative,
//! associative and idempotent. `docs/adr/0002-state-is-a-fold.md` says what for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

pub trait Join {
    /// The least upper bound of both, in place.
    fn join(&mut self, other: Self);
}

/// The largest value seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Largest<T>(Option<T>);

impl<T> Default for Largest<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy> Largest<T> {
    pub const fn of(value: T) -> Self {
        Self(Some(value))
    }

    pub const fn get(&self) -> Option<T> {
        self.0
    }

    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> From<Option<T>> for Largest<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: Ord> Join for Largest<T> {
    fn join(&mut self, other: Self) {
        if other.0 > self.0 {
            self.0 = other.0; // `None` is less than any value.
        }
    }
}

/// The earliest instant seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Earliest(Option<Timestamp>);

impl Earliest {
    pub const fn of(at: Timestamp) -> Self {
        Self(Some(at))
    }

    pub const fn get(&self) -> Option<Timestamp> {
        self.0
    }

    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub const fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl Join for Earliest {
    fn join(&mut self, other: Self) {
        self.0 = match (self.0, other.0) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }
}

/// What was said last, by the gateway's own time. Two statements of one instant
/// are ordered by the event's id, then by value: arbitrary, but the same for all.
/// Fit for what has no version of its own (a description, metadata), never for
/// what decides about money. Boxed, because most of them are never said and maps of
/// facts have room for more than they hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latest<T>(Option<Box<(Timestamp, String, T)>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Latest<T> {
    pub const fn unsaid() -> Self {
        Self(None)
    }

    pub fn said(at: Timestamp, event_id: &str, value: T) -> Self {
        Self(Some(Box::new((at, event_id.to_owned(), value))))
    }

    pub fn get(&self) -> Option<&T> {
        self.0.as_deref().map(|(_, _, value)| value)
    }

    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Ord> Join for Latest<T> {
    fn join(&mut self, other: Self) {
        if other.0 > self.0 {
            self.0 = other.0;
        }
    }
}

/// "Was it ever so."
impl Join for bool {
    fn join(&mut self, other: Self) {
        *self |= other;
    }
}

impl<T: Ord> Join for BTreeSet<T> {
    fn join(&mut self, mut other: Self) {
        self.append(&mut other);
    }
}

/// By key; a value that both have is joined.
impl<K: Ord, V: Join> Join for BTreeMap<K, V> {
    fn join(&mut self, other: Self) {
        for (key, theirs) in other {
            match self.entry(key) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(theirs);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().join(theirs),
            }
        }
    }
}

/// Joins a struct field by field: a product of semilattices is one.
macro_rules! join_by_field {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::lattice::Join for $type {
            fn join(&mut self, other: Self) {
                let Self { $($field),+ } = other; // A field that is left out does not compile.
                $($crate::lattice::Join::join(&mut self.$field, $field);)+
            }
        }
    };
}
pub(crate) use join_by_field;

/// For `skip_serializing_if`: the bottom says nothing and takes no space.
pub(crate) fn is_bottom<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
