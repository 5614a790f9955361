//! `tidemill bond`: stake of one's own.

use tidemill_api::Transactions;
use tidemill_ledger::{
    B256, PrivateKeySigner,
    staking::{Role, Staking},
};
use tidemill_net::{endpoint::node_id, key::KeyKind};
use tidemill_types::Amount;

use crate::{
    exit::{self, Code, Exit, WithCode},
    home::{self, data_directory, identity},
    json,
    ledger::{Acting, Purse, Sent},
    network::private_directory,
    runtime,
};

/// Stake TIDE of your own, as a provider or as a coordinator.
///
/// The first time, the account is registered in that role. For a provider that binds the keys of this home's provider
/// (`tidemill provide`) to the account. Bonded TIDE is at risk: a proven fault takes from it. `tidemill unbond` gets it
/// back after the thaw period.
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// How much, like "500 TIDE"
    amount: Amount,
    /// What the bond answers for
    #[arg(long = "as", value_enum, default_value_t = As::Provider, value_name = "ROLE")]
    role: As,
    /// What a provider keeps of its delegators' part of its pay, in percent; counts at the first bond alone
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = percent)]
    commission: Ppm,
    /// The most that others may delegate to a provider; at first they may nothing
    #[arg(long, value_name = "AMOUNT")]
    max_delegated: Option<Amount>,
    #[command(flatten)]
    acting: Acting,
}

/// The roles as they are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum As {
    /// Runs tasks
    Provider,
    /// Places tasks and signs vouchers
    Coordinator,
}

/// Parts per million.
#[derive(Clone, Copy)]
pub struct Ppm(pub u32);

impl From<As> for Role {
    fn from(role: As) -> Self {
        match role {
            As::Provider => Self::Provider,
            As::Coordinator => Self::Coordinator,
        }
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  tidemill bond \"500 TIDE\"\n  tidemill bond \"500 TIDE\" --commission 7.5 --max-delegated \"2000 TIDE\" --account ann\n  tidemill bond \"10000 TIDE\" --as coordinator\n\n{}",
        exit::HELP
    )
}

/// Reads a percentage.
pub fn percent(text: &str) -> Result<Ppm, String> {
    let wrong =
        || format!("{text:?} is no percentage: write a number from 0 to 100 with at most four decimals");
    let (whole, decimals) =
        text.trim_end_matches('%').split_once('.').unwrap_or((text.trim_end_matches('%'), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 4 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let decimals: u32 = format!("{decimals:0<4}").parse().map_err(|_| wrong())?;
    let ppm =
        whole.checked_mul(10_000).and_then(|ppm| ppm.checked_add(decimals)).filter(|ppm| *ppm <= 1_000_000);
    ppm.map(Ppm).ok_or_else(wrong)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let account = args.acting.account.unlock()?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&args.acting.ledger, account).await?;
        let sent = bond(args, &purse).await;
        purse.close().await;
        sent
    })?;
    print(&sent, args.acting.json);
    Ok(())
}

async fn bond(args: &Args, purse: &Purse) -> anyhow::Result<Vec<Sent>> {
    let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
    let (role, operator): (Role, _) = (args.role.into(), purse.address());
    if args.max_delegated.is_some() && role != Role::Provider {
        return Err(
            Exit::new(Code::Usage, "nobody delegates to a coordinator: leave out --max-delegated").into()
        );
    }
    let mut sent = Vec::new();
    if !staking.is_registered(role, operator).await.code(Code::Host)? {
        let (label, call) = match role {
            Role::Provider => {
                let (node_key, result_key) = provider_keys()?;
                let Ppm(commission) = args.commission;
                let call = staking.register_provider(operator, B256::ZERO, commission, node_key, &result_key);
                ("register as a provider", call)
            }
            Role::Coordinator => ("register as a coordinator", staking.register_coordinator(B256::ZERO)),
        };
        sent.push(purse.call(label, staking.address(), call).await?);
    }
    if let Some(most) = args.max_delegated {
        let label = format!("let others delegate up to {most}");
        sent.push(purse.call(&label, staking.address(), staking.set_max_delegated(most)).await?);
    }
    let call = staking.bond(purse.account.signer(), role, args.amount).await.code(Code::Host)?;
    sent.push(purse.call(&format!("bond {}", args.amount), staking.address(), call).await?);
    Ok(sent)
}

/// The two keys that this home's provider is known by. They are made when it has not run yet.
fn provider_keys() -> anyhow::Result<(B256, PrivateKeySigner)> {
    let directory = data_directory().code(Code::Host)?.join("provider");
    private_directory(&directory).code(Code::Host)?;
    let node = node_id(&home::key(&directory.join("node.key"), KeyKind::Node)?);
    let secret = B256::from(identity()?.result.to_bytes());
    Ok((B256::from(node.0), PrivateKeySigner::from_bytes(&secret).code(Code::Host)?))
}

/// Says what was sent.
pub fn print(sent: &[Sent], json: bool) {
    if json {
        json::print(&Transactions { transactions: sent.iter().map(Sent::summary).collect() });
    } else {
        sent.iter().for_each(Sent::print);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        let ppm = |text| percent(text).map(|Ppm(ppm)| ppm).ok();
        assert_eq!(ppm("10"), Some(100_000));
        assert_eq!(ppm("7.5%"), Some(75_000));
        assert_eq!(ppm("0.0001"), Some(1));
        assert_eq!(ppm("100"), Some(1_000_000));
        for text in ["", ".5", "100.0001", "-1", "1e1", "0.00001", "4294967295"] {
            assert_eq!(ppm(text), None, "{text}");
        }
    }
}
