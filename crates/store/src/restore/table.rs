//! Comparing a table with what its rows should be.

use std::cmp::Ordering;

use domain::{AccountId, Facts};

use crate::Result;
use crate::connection::{Row, Tx};
use crate::sql::{Value, values};

/// Rows that are read, or written, at a time.
const PAGE: u32 = 500;
/// Characters of a value that people are told.
const TOLD_MAX: usize = 80;

/// A table whose rows are derived.
pub(super) struct Table {
    /// What people call a row of it.
    pub noun: &'static str,
    /// What makes a row one, the account apart; its texts come in this order.
    key: &'static [&'static str],
    columns: Vec<(&'static str, u8)>,
    compared: Vec<usize>,
    /// What people are told first of a row.
    told: &'static [&'static str],
    select: &'static str,
}

/// A row that is not what it should be.
pub(super) struct Deviation<'d, D> {
    pub key: Vec<String>,
    pub stored: Option<Vec<Value<'static>>>,
    pub derived: Option<(D, Vec<Value<'d>>)>,
    /// Of the columns, where both are there.
    differing: Vec<usize>,
}

impl Table {
    /// `columns` are in the order of the derived rows; those in `aside` are not compared.
    pub fn new(
        (noun, name): (&'static str, &'static str),
        key: &'static [&'static str],
        columns: &[(&'static str, u8)],
        aside: &[&str],
        told: &'static [&'static str],
    ) -> Self {
        let names: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
        let places: Vec<String> = (0..key.len()).map(|place| format!("${}", place + 2)).collect();
        let by = key.join(", ");
        let select = format!(
            "SELECT {} FROM {name} WHERE account = $1 AND ({by}) > ({}) ORDER BY {by} LIMIT {PAGE}",
            names.join(", "),
            places.join(", ")
        );
        let is_compared = |(index, column): (usize, &&str)| {
            (*column != "account" && !key.contains(column) && !aside.contains(column)).then_some(index)
        };
        let compared = names.iter().enumerate().filter_map(is_compared).collect();
        Self { noun, key, columns: columns.to_vec(), compared, told, select: select.leak() }
    }

    /// Where this column is in a row.
    pub fn index(&self, column: &str) -> usize {
        self.columns.iter().position(|(name, _)| *name == column).unwrap_or_default()
    }

    /// Reads the table beside what is derived, both in the order of the key. `each` is
    /// shown every stored row, `found` a page's deviations at a time. Returns how many
    /// rows are stored.
    pub fn compare<'d, D: Copy>(
        &self,
        tx: &Tx<'_>,
        account: &AccountId,
        derived: impl Iterator<Item = (Vec<&'d str>, D)>,
        row: impl Fn(D) -> Result<Vec<Value<'d>>>,
        mut each: impl FnMut(&[Value<'static>]),
        mut found: impl FnMut(Vec<Deviation<'d, D>>) -> Result<()>,
    ) -> Result<u64> {
        let mut derived = derived.peekable();
        let mut after = vec![String::new(); self.key.len()];
        let mut count = 0;
        loop {
            let page = self.page(tx, account, &after)?;
            let is_last = page.len() < PAGE as usize;
            let mut deviations = Vec::new();
            for (key, stored) in page {
                count += 1;
                each(&stored);
                after.clone_from(&key);
                while let Some((missing, value)) = derived.next_if(|(next, _)| order(next, &key) == Ordering::Less) {
                    deviations.push(Deviation::missing(&missing, value, row(value)?));
                    if deviations.len() >= PAGE as usize {
                        found(std::mem::take(&mut deviations))?;
                    }
                }
                let same = derived.next_if(|(next, _)| order(next, &key) == Ordering::Equal);
                let same = same.map(|(_, value)| row(value).map(|row| (value, row))).transpose()?;
                let differing = same.as_ref().map(|(_, row)| self.differing(&stored, row)).unwrap_or_default();
                if same.is_none() || !differing.is_empty() {
                    deviations.push(Deviation { key, stored: Some(stored), derived: same, differing });
                }
            }
            if is_last {
                for (missing, value) in derived.by_ref() {
                    deviations.push(Deviation::missing(&missing, value, row(value)?));
                    if deviations.len() >= PAGE as usize {
                        found(std::mem::take(&mut deviations))?;
                    }
                }
            }
            if !deviations.is_empty() {
                found(deviations)?;
            }
            if is_last {
                return Ok(count);
            }
        }
    }

    fn page(
        &self,
        tx: &Tx<'_>,
        account: &AccountId,
        after: &[String],
    ) -> Result<Vec<(Vec<String>, Vec<Value<'static>>)>> {
        let bound: Vec<Value<'_>> =
            std::iter::once(Value::from(account.as_str())).chain(after.iter().map(Value::from)).collect();
        let keys: Vec<usize> = self.key.iter().map(|column| self.index(column)).collect();
        tx.query(self.select, &bound, |row| {
            let values: Vec<Value<'static>> = self
                .columns
                .iter()
                .enumerate()
                .map(|(index, (_, letter))| value(row, index, *letter))
                .collect::<Result<_>>()?;
            let key = keys.iter().map(|index| row.get(*index)).collect::<Result<_>>()?;
            Ok((key, values))
        })
    }

    fn differing(&self, stored: &[Value<'_>], derived: &[Value<'_>]) -> Vec<usize> {
        let differs = |index: &usize| {
            let (stored, derived) = (&stored[*index], &derived[*index]);
            stored != derived && !self.says_the_same(*index, stored, derived)
        };
        self.compared.iter().copied().filter(differs).collect()
    }

    /// An earlier version may have spelt the same otherwise.
    fn says_the_same(&self, index: usize, stored: &Value<'_>, derived: &Value<'_>) -> bool {
        let (Value::Text(Some(stored)), Value::Text(Some(derived))) = (stored, derived) else { return false };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        match self.columns[index].0 {
            "facts" => {
                let facts = |text: &str| serde_json::from_str::<Facts>(text).ok();
                facts(stored).is_some_and(|stored| Some(stored) == facts(derived))
            }
            "gateway_response" | "metadata" | "flags" => {
                json(stored).is_some_and(|stored| Some(stored) == json(derived))
            }
            _ => false,
        }
    }

    /// What is told of each side of a deviation.
    pub fn describe<D>(&self, deviation: &Deviation<'_, D>) -> (String, String) {
        let stored = deviation.stored.as_deref().map(|row| self.words(row, &deviation.differing));
        let derived = deviation.derived.as_ref().map(|(_, row)| self.words(row, &deviation.differing));
        let or_nothing = |words: Option<String>| words.unwrap_or_else(|| "nothing".to_owned());
        (or_nothing(stored), or_nothing(derived))
    }

    fn words(&self, row: &[Value<'_>], differing: &[usize]) -> String {
        let told = self.told.iter().map(|column| self.index(column));
        let mut words: Vec<String> = told.clone().map(|index| text(&row[index])).collect();
        let further = differing.iter().filter(|index| told.clone().all(|told| told != **index));
        words.extend(further.map(|index| format!("{} {}", self.columns[*index].0, text(&row[*index]))));
        words.join(", ")
    }
}

impl<'d, D> Deviation<'d, D> {
    fn missing(key: &[&str], value: D, row: Vec<Value<'d>>) -> Self {
        let key = key.iter().map(|text| (*text).to_owned()).collect();
        Self { key, stored: None, derived: Some((value, row)), differing: Vec::new() }
    }
}

fn order(derived: &[&str], stored: &[String]) -> Ordering {
    derived.iter().copied().cmp(stored.iter().map(String::as_str))
}

fn value(row: &Row<'_>, index: usize, letter: u8) -> Result<Value<'static>> {
    Ok(match letter {
        b'i' => Value::Int(row.get(index)?),
        b'b' => Value::Bool(row.get(index)?),
        _ => row.get::<Option<String>>(index)?.into(),
    })
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Int(Some(number)) => number.to_string(),
        Value::Bool(Some(is)) => is.to_string(),
        Value::Text(Some(text)) if text.chars().count() > TOLD_MAX => {
            let begin: String = text.chars().take(TOLD_MAX).collect();
            format!("{begin}…")
        }
        Value::Text(Some(text)) => text.to_string(),
        Value::Int(None) | Value::Bool(None) | Value::Text(None) | Value::Bytes(_) => "none".to_owned(),
    }
}

/// Removes rows that nothing makes.
pub(super) fn delete(tx: &Tx<'_>, sql: &'static str, account: &AccountId, keys: &[String]) -> Result<()> {
    let [account] = values![account.as_str()];
    let bound: Vec<Value<'_>> = std::iter::once(account).chain(keys.iter().map(Value::from)).collect();
    tx.execute(sql, &bound)?;
    Ok(())
}
