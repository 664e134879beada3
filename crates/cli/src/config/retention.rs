//! For how long what is stored stays.

use std::time::Duration;

use anyhow::bail;

use super::file::{File, Source};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Some hundred years: further back there is nothing.
const DAYS_MAX: u64 = 36_500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// After which bodies are dropped; never where it is not configured.
    pub bodies: Option<Duration>,
}

impl Retention {
    pub fn of(source: &Source, file: &File) -> anyhow::Result<Self> {
        let Some(said) = &file.retention.bodies else { return Ok(Self::default()) };
        let days = said.get_ref().strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
        match days.filter(|days| (1..=DAYS_MAX).contains(days)) {
            Some(days) => Ok(Self { bodies: Some(DAY * u32::try_from(days)?) }),
            None => bail!("{}: it is a number of days like 90d", source.at(said.span(), "retention.bodies")),
        }
    }

    /// In days.
    pub fn days(self) -> Option<u64> {
        self.bodies.map(|bodies| bodies.as_secs() / DAY.as_secs())
    }
}
