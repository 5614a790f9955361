//! `tidemill coordinator-key`: a coordinator whose bond belongs to an account that is not on its machine.

use tidemill_api as api;
use tidemill_ledger::{
    Address, B256, PrivateKeySigner, evm, ours,
    staking::{Role, Staking},
};
use tidemill_types::Coin;

use super::bond;
use crate::{
    exit::{self, Code, Exit, WithCode},
    home::identity,
    json,
    ledger::{Acting, Ledger, LedgerArgs, Purse, Sent, address_of},
    money::escrows,
    runtime,
};

/// Let this home's key sign vouchers for an account that keeps the bond and the fees.
///
/// `tidemill serve` signs with the result key of this home. Whoever steals that key has the coordinator's bond and its
/// fees, unless the key is bound to another account: one that is kept offline, or a contract such as a multisig. Then
/// escrows name that account as their coordinator, its bond answers for what the key signs, and the fees are its.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Show(Show),
    Bind(Bind),
    Call(Call),
    Unbind(Unbind),
}

/// Show whose coordinator this home's key signs for, and the bond that answers for it.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
struct Show {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Bind this home's key to an account of this home, which becomes a coordinator if it is not one yet.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
struct Bind {
    #[command(flatten)]
    acting: Acting,
}

/// Print the call with which an account elsewhere binds this home's key: a multisig's, or one that is kept offline.
///
/// Send it from that account, as it is. It works for that account alone, and registers it as a coordinator if it is not
/// one yet.
#[derive(clap::Args)]
#[command(after_help = after_help())]
struct Call {
    /// The account that is to be the coordinator
    #[arg(long = "for", value_name = "ADDRESS")]
    coordinator: String,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Take a key out of use: no more escrows are opened with it. Those that were opened keep it.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
struct Unbind {
    /// The key's address [default: that of this home]
    key: Option<String>,
    #[command(flatten)]
    acting: Acting,
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill coordinator-key call --for 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n\n{}",
        exit::HELP
    )
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Show(args) => show(args),
        What::Bind(args) => bind(args),
        What::Call(args) => call(args),
        What::Unbind(args) => unbind(args),
    }
}

fn show(args: &Show) -> anyhow::Result<()> {
    let key = key()?.address();
    let shown = runtime::block_on(async {
        let ledger = args.ledger.connect().await?;
        let escrows = escrows(&ledger).await?;
        let coordinator = escrows.coordinator_of(ours(key)).await.code(Code::Host)?;
        let bond = escrows.coordinator_bond(ours(key)).await.code(Code::Host)?;
        let record = staking(&ledger)?.voucher_key(key).await.code(Code::Host)?;
        anyhow::Ok(api::CoordinatorKey {
            key: key.to_string(),
            coordinator: evm(coordinator).to_string(),
            bound: coordinator != ours(key),
            belongs_to: record.map(|record| record.coordinator.to_string()),
            bond_wei: bond,
        })
    })?;
    if args.json {
        json::print(&shown);
        return Ok(());
    }
    println!("key          {key}");
    match (shown.bound, &shown.belongs_to) {
        (true, _) => println!("coordinator  {}", shown.coordinator),
        (false, None) => {
            println!("coordinator  its own account: whoever has the key has the bond and the fees")
        }
        (false, Some(of)) => println!("coordinator  its own account; {of} has taken it out of use"),
    }
    println!("bond         {}", shown.bond_wei);
    Ok(())
}

fn bind(args: &Bind) -> anyhow::Result<()> {
    let key = key()?;
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sent = bind_to(&purse, &key).await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}

async fn bind_to(purse: &Purse, key: &PrivateKeySigner) -> anyhow::Result<Sent> {
    let staking = staking(&purse.ledger)?;
    let data = binding(&staking, purse.address(), key).await?;
    purse.call(&format!("let the key {} sign vouchers", key.address()), staking.address(), data).await
}

fn call(args: &Call) -> anyhow::Result<()> {
    let key = key()?;
    let coordinator = address_of(&args.coordinator)?;
    let call = runtime::block_on(async {
        let staking = staking(&args.ledger.connect().await?)?;
        let data = binding(&staking, coordinator, &key).await?;
        anyhow::Ok(api::CallToSend {
            from: coordinator.to_string(),
            to: staking.address().to_string(),
            value_wei: Coin::ZERO,
            data: tidemill_ledger::Bytes::from(data).to_string(),
        })
    })?;
    if args.json {
        json::print(&call);
    } else {
        println!("send from  {}\nto         {}\nvalue      0\ndata       {}", call.from, call.to, call.data);
    }
    Ok(())
}

fn unbind(args: &Unbind) -> anyhow::Result<()> {
    let key = match &args.key {
        Some(key) => address_of(key)?,
        None => key()?.address(),
    };
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let unbinding = async {
            let staking = staking(&purse.ledger)?;
            let label = format!("take the key {key} out of use");
            purse.call(&label, staking.address(), staking.unbind_voucher_key(key)).await
        };
        let sent = unbinding.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], args.acting.json);
    Ok(())
}

/// The call that binds the key to a coordinator, and registers that one where it is not a coordinator yet.
async fn binding(staking: &Staking, coordinator: Address, key: &PrivateKeySigner) -> anyhow::Result<Vec<u8>> {
    let record = staking.voucher_key(key.address()).await.code(Code::Host)?;
    match record {
        Some(record) if record.coordinator != coordinator => {
            let message =
                format!("the key {} belongs to the account {} for ever", key.address(), record.coordinator);
            return Err(Exit::new(Code::Usage, message)
                .hint("a home with another TIDEMILL_HOME has another key")
                .into());
        }
        Some(record) if record.unbound_at_s.is_none() => {
            let message = format!("the key {} signs for {coordinator} already", key.address());
            return Err(Exit::new(Code::Usage, message).into());
        }
        _ => {}
    }
    let is_registered = staking.is_registered(Role::Coordinator, coordinator).await.code(Code::Host)?;
    Ok(match is_registered {
        true => staking.bind_voucher_key(coordinator, key),
        false => staking.register_with_voucher_key(coordinator, key),
    })
}

fn staking(ledger: &Ledger) -> anyhow::Result<Staking> {
    Staking::new(ledger.chain.clone(), &ledger.book).code(Code::Usage)
}

/// The key with which the coordinator of this home signs, unless it is told to act for an account.
fn key() -> anyhow::Result<PrivateKeySigner> {
    PrivateKeySigner::from_bytes(&B256::from(identity()?.result.to_bytes())).code(Code::Host)
}
