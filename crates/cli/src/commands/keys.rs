//! `quittance keys`

use std::process::ExitCode;

use anyhow::Context;
use domain::AccountId;
use engine::Clock;
use store::{ApiKey, KeyScope};

use crate::config::Config;
use crate::{say, tell};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key; it is printed once and kept only as a hash
    Create {
        /// What it may do: read, write or admin
        #[arg(long, value_name = "SCOPE", default_value = "read", value_parser = scope)]
        scope: KeyScope,
        /// The account it is for
        #[arg(long, value_name = "ACCOUNT", default_value = AccountId::DEFAULT, value_parser = account)]
        account: AccountId,
        /// For every account
        #[arg(long, conflicts_with = "account")]
        all_accounts: bool,
        /// What it is for, for people
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        name: String,
    },
    /// List keys, without the keys themselves
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

fn scope(text: &str) -> Result<KeyScope, String> {
    KeyScope::parse(text).ok_or_else(|| format!("scope is one of {}", KeyScope::ALL.map(KeyScope::as_str).join(", ")))
}

pub fn account(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text).ok_or_else(|| format!("{text:?} is no account"))
}

pub async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    let store = match command {
        Command::Create { .. } => super::open(config).await?, // A key may be made before the first start.
        Command::List { .. } | Command::Revoke { .. } => super::open_existing(config).await?,
    };
    let done = match command {
        Command::Create { scope, account, all_accounts, name } => {
            let key = ApiKey {
                id: random_id("key", ID_BYTES)?,
                account: (!all_accounts).then(|| account.clone()),
                scope: *scope,
                name: name.clone(),
                created_at: Clock::System.now(),
                revoked_at: None,
            };
            let secret = random_id("qk", SECRET_BYTES)?;
            store.create_key(&key, &secret).await?;
            let account = key.account.as_ref().map_or("all accounts", AccountId::as_str);
            tell!("{}: may {} for {account}. It is shown only now:", key.id, key.scope.as_str());
            say!("{secret}")?;
            ExitCode::SUCCESS
        }
        Command::List { json } => {
            let keys = store.list_keys().await?;
            if *json {
                say!("{}", serde_json::to_string(&keys)?)?;
            } else {
                for key in keys {
                    let account = key.account.as_ref().map_or("(all)", AccountId::as_str);
                    let revoked = key.revoked_at.map_or(String::new(), |at| format!("  revoked {at}"));
                    let (scope, made) = (key.scope.as_str(), key.created_at.to_string());
                    let line = format!("{}  {scope:5}  {account}  {made:27}  {}{revoked}", key.id, key.name);
                    say!("{}", line.trim_end())?;
                }
            }
            ExitCode::SUCCESS
        }
        Command::Revoke { id } => {
            let revoked = store.revoke_key(id, Clock::System.now()).await?;
            tell!(
                "{id} {}",
                if revoked { "is revoked" } else { "is no key that could be revoked: see `quittance keys list`" }
            );
            if revoked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    };
    store.close().await;
    Ok(done)
}

const ID_BYTES: usize = 8;
/// 256 bits: nobody guesses it.
const SECRET_BYTES: usize = 32;

/// `prefix_` and random hex digits, from the operating system.
pub fn random_id(prefix: &str, bytes: usize) -> anyhow::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).context("the operating system gives no random bytes")?;
    Ok(random.iter().fold(format!("{prefix}_"), |id, byte| format!("{id}{byte:02x}")))
}
