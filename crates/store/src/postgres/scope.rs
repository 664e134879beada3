//! Whether a statement says of which account it is. A sharded PostgreSQL sends it to one
//! node then, and only then lets it lock rows. Every statement of the hot paths is looked
//! at in every test that runs on PostgreSQL.

use super::distribute::is_distributed;

/// Which accounts there is something to do for: the one thing that is asked of all nodes.
/// Each answers for its own accounts, if what is searched beside is of the same account.
const WHOSE: &str = "SELECT a.account FROM account a WHERE ";

/// What is wrong with it, if anything is.
pub(super) fn fault(sql: &str) -> Option<&'static str> {
    let sql = sql.replace(['(', ')', ','], " ");
    let words: Vec<&str> = sql.split_ascii_whitespace().collect();
    let is_of_all = words.join(" ").starts_with(WHOSE);
    let (mut searched, mut compared) = (0, usize::from(is_of_all));
    let mut is_named = is_of_all;
    for (index, word) in words.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).map_or("", |index| words[index]);
        match before(1) {
            "INTO" if is_distributed(word) => {
                let after = &words[index + 1..];
                let values = after.iter().skip_while(|word| !["VALUES", "SELECT"].contains(word));
                let of_account = after.first() == Some(&"account") && values.skip(1).take(1).any(|word| is_first(word));
                if !of_account {
                    return Some("what it inserts does not begin with the account, as $1");
                }
                is_named = true;
            }
            "FROM" | "JOIN" | "UPDATE" if is_distributed(word) => searched += 1,
            "=" if is_account(before(2)) && is_account(word) => compared += 1,
            "=" if is_account(before(2)) && word.starts_with('$') => {
                compared += 1;
                is_named = true;
            }
            _ => {}
        }
    }
    if searched > compared {
        return Some("it names a table without comparing its account");
    }
    (searched > 0 && !is_named).then_some("it does not say which account")
}

fn is_account(word: &str) -> bool {
    word == "account" || word.ends_with(".account")
}

fn is_first(word: &str) -> bool {
    word == "$1" || word.starts_with("$1::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_of_which_account_it_is() {
        for sql in [
            "SELECT a.account FROM account a
             WHERE (SELECT min(e.due_at) FROM event e WHERE e.account = a.account) <= $1 ORDER BY a.account",
            "SELECT nextval('payment_number') FROM generate_series(1, $1)",
            "SELECT true FROM account WHERE account = $1 FOR NO KEY UPDATE",
            "SELECT e.seq FROM unnest($2::bigint[]) AS k (seq) JOIN event e ON e.account = $1 AND e.seq = k.seq
             FOR UPDATE OF e SKIP LOCKED",
            "SELECT f.seq FROM event_facts f JOIN event e ON e.account = f.account WHERE f.account = $2",
            "UPDATE event e SET state = k.state FROM unnest($2::text[]) AS k (state) WHERE e.account = $1
             AND e.due_at IS NOT DISTINCT FROM k.due_at",
            "INSERT INTO payment (account, id) VALUES ($1, $2) ON CONFLICT (account, id) DO UPDATE SET id = excluded.id",
            "WITH block AS (SELECT nextval('event_seq') AS start)
             INSERT INTO event (account, seq) SELECT $1::text, start FROM block",
        ] {
            assert_eq!(fault(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_statement_that_does_not_is_found() {
        for sql in [
            "SELECT seq FROM event",
            "SELECT account FROM event ORDER BY account",
            "SELECT account FROM account ORDER BY account",
            "SELECT a.account FROM account a WHERE EXISTS (SELECT 1 FROM event e WHERE e.due_at <= $1)",
            "SELECT e.seq FROM unnest($1::text[]) AS k (account) JOIN event e ON e.account = k.account",
            "SELECT f.seq FROM event_facts f JOIN event e ON e.seq = f.seq WHERE f.account = $1",
            "UPDATE event SET state = 'pending' WHERE seq = $1",
            "DELETE FROM payment WHERE id IN (SELECT payment_id FROM refund WHERE account = $1)",
            "INSERT INTO payment (id, account) VALUES ($1, $2)",
            "INSERT INTO payment (account, id) SELECT k.* FROM unnest($1::text[], $2::text[]) AS k",
        ] {
            assert!(fault(sql).is_some(), "{sql}");
        }
    }
}
