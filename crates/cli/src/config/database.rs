//! How the database is used, and how it is named to people.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::bail;
use store::Options;
use toml::Spanned;

use super::file::{File, Source};

const LANES: RangeInclusive<u64> = 1..=64;
const CONNECTIONS_MAX: u64 = 1_000;
const STATEMENT_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3_600;

pub fn options(source: &Source, file: &File) -> anyhow::Result<Options> {
    let given = &file.database;
    let defaults = Options::default();
    let within = |value: &Option<Spanned<u64>>, key: &str, range: RangeInclusive<u64>| match value {
        Some(number) if !range.contains(number.get_ref()) => {
            bail!("{}: it is a number from {} to {}", source.at(number.span(), key), range.start(), range.end())
        }
        number => Ok(number.as_ref().map(|number| *number.get_ref())),
    };
    let lanes = match within(&given.lanes, "database.lanes", LANES)? {
        Some(lanes) => u32::try_from(lanes)?,
        None => defaults.lanes,
    };
    let fewest = Options { lanes, ..defaults }.connections_min();
    let connections = match within(&given.connections, "database.connections", fewest.into()..=CONNECTIONS_MAX)? {
        Some(connections) => u32::try_from(connections)?,
        None => defaults.connections.max(fewest),
    };
    let key = "database.statement_timeout_seconds";
    let statement_timeout = within(&given.statement_timeout_seconds, key, STATEMENT_TIMEOUT_SECONDS)?
        .map_or(defaults.statement_timeout, Duration::from_secs);
    Ok(Options { connections, lanes, statement_timeout })
}

/// A database's URL without its password, for people. Rather too little is shown than a
/// part of one that was written with a special character as such.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let scheme = url.split(':').next().unwrap_or_default();
        return if url.contains('@') { format!("{scheme}:…") } else { url.to_owned() };
    };
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if parameters.contains('@') {
        return format!("{scheme}://…");
    }
    let authority = &address[..address.find('/').unwrap_or(address.len())];
    let address = match (authority.rsplit_once('@'), address.rsplit_once('@')) {
        (Some((user, _)), _) => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{name}:…@{}", &address[user.len() + 1..])
        }
        (None, Some((_, behind))) => format!("…@{behind}"),
        (None, None) => address.to_owned(),
    };
    let hidden = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}=…"),
        _ => parameter.to_owned(),
    };
    let parameters: Vec<String> = parameters.split('&').filter(|pair| !pair.is_empty()).map(hidden).collect();
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{scheme}://{address}{mark}{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:quittance.db", "sqlite:quittance.db"),
            ("postgres://db:5432/shop", "postgres://db:5432/shop"),
            ("postgres://me:p@ss@db:5432/shop", "postgres://me:…@db:5432/shop"),
            ("postgres://me@db/shop@home", "postgres://me:…@db/shop@home"),
            ("postgres://me:p@a,b:5433/shop?sslmode=require", "postgres://me:…@a,b:5433/shop?sslmode=require"),
            (
                "postgres://db/shop?user=me&password=p&sslmode=require",
                "postgres://db/shop?user=me&password=…&sslmode=require",
            ),
            ("postgres://me:p/q@db/shop", "postgres://…@db/shop"),
            ("postgres://me:p?q@db/shop", "postgres://…"),
            ("postgres:me:p@db/shop", "postgres:…"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn options_have_bounds_and_connections_for_every_lane() {
        let options = |text: &str| {
            let file = toml::from_str(&format!("[database]\n{text}")).expect(text);
            super::options(&Source::default(), &file).map(|options| (options.connections, options.lanes))
        };
        assert_eq!(options("").expect("defaults"), (8, 2));
        assert_eq!(options("connections = 20\nlanes = 4").expect("fine"), (20, 4));
        assert_eq!(options("lanes = 16").expect("as many connections as it takes"), (20, 16));
        for (text, named) in [
            ("lanes = 0", "database.lanes: it is a number from 1 to 64"),
            ("connections = 5", "database.connections: it is a number from 6 to 1000"),
            ("connections = 10\nlanes = 8", "database.connections: it is a number from 12 to 1000"),
            ("statement_timeout_seconds = 0", "database.statement_timeout_seconds: it is a number from 1 to 3600"),
        ] {
            let error = options(text).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
