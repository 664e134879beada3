//! API keys.

use store::{ApiKey, KeyScope};

use crate::scratch::{NOW, Scratch, account, at};

on_each!(a_key_is_found_by_its_secret_until_it_is_revoked, keys_are_listed_oldest_first, a_key_is_kept_as_a_hash);

fn key(id: &str, scope: KeyScope, seconds: i64) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        account: (scope != KeyScope::Admin).then(|| account("shop")),
        scope,
        name: format!("key {id}"),
        created_at: at(seconds),
        revoked_at: None,
    }
}

async fn a_key_is_found_by_its_secret_until_it_is_revoked(db: Scratch) {
    for (index, scope) in KeyScope::ALL.into_iter().enumerate() {
        let key = key(&format!("key_{index}"), scope, 0);
        let secret = format!("qk_secret_{index}");
        db.create_key(&key, &secret).await.unwrap();
        assert_eq!(db.key_by_secret(&secret).await.unwrap(), Some(key.clone()));
        assert!(db.revoke_key(&key.id, at(9)).await.unwrap());
        assert_eq!(db.key_by_secret(&secret).await.unwrap(), None);
        assert!(!db.revoke_key(&key.id, at(10)).await.unwrap(), "once");
    }
    for unknown in ["", "qk_secret_", "key_0", "qk_secret_0 ", "' OR true --"] {
        assert_eq!(db.key_by_secret(unknown).await.unwrap(), None, "{unknown:?}");
    }
    assert!(!db.revoke_key("key_of_nobody", NOW).await.unwrap());
}

async fn keys_are_listed_oldest_first(db: Scratch) {
    for (id, seconds) in [("key_b", 20), ("key_a", 20), ("key_c", 10)] {
        db.create_key(&key(id, KeyScope::Read, seconds), id).await.unwrap();
    }
    db.revoke_key("key_b", at(30)).await.unwrap();
    let listed: Vec<_> = db.list_keys().await.unwrap().into_iter().map(|key| (key.id, key.revoked_at)).collect();
    let expected = [("key_c", None), ("key_a", None), ("key_b", Some(at(30)))];
    assert_eq!(listed, expected.map(|(id, revoked_at)| (id.to_owned(), revoked_at)));
}

async fn a_key_is_kept_as_a_hash(db: Scratch) {
    db.create_key(&key("key_a", KeyScope::Read, 0), "qk_a_secret").await.unwrap();
    assert!(db.create_key(&key("key_b", KeyScope::Read, 0), "qk_a_secret").await.is_err(), "two keys, one secret");
    assert!(db.create_key(&key("key_a", KeyScope::Read, 0), "qk_another").await.is_err(), "two keys, one id");
    let dump = format!("{:?}", db.dump().await);
    assert!(dump.contains("key_a") && !dump.contains("qk_a_secret"), "the secret itself is nowhere");
}
