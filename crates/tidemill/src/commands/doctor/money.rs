//! Money: the ledger, what accounts have there, and whether an escrow could be opened, without opening one.

use std::time::Duration;

use alloy::{providers::Provider, rpc::types::TransactionRequest};
use tidemill_api::{Check, Grade};
use tidemill_ledger::{
    Escrows,
    keystore::Account,
    staking::{Pool, Portfolio, Role, Staking},
};
use tidemill_net::wire::Money;
use tidemill_types::{Amount, Coin, EscrowId, EscrowTerms, ResultKey, Signable, Voucher};
use tokio::time::timeout;

use super::{Findings, bundle::without_login, home::broken};
use crate::{
    exit::{Code, WithCode},
    ledger::{AccountArgs, Ledger, LedgerArgs, TREASURY, accounts, kept, password_beside, unreachable},
    money::{escrows, same_ledger, shown, unix_s},
};

/// How long a ledger may take to answer, its start included where it is this home's.
const LEDGER: Duration = Duration::from_secs(60);

/// A block whose time is so far ahead of this machine's clock says that the clock is behind.
const AHEAD_S: u64 = 120;

/// What the escrow that is not opened would lock.
const TRIAL: Amount = Amount::tide(1);

/// How long it would stay open.
const TRIAL_OPEN_S: u64 = 3600;

/// Looks at the ledger that is meant, and at the account.
pub async fn look(findings: &mut Findings, args: &LedgerArgs, account: &AccountArgs, money: Option<&Money>) {
    match kept() {
        Ok(None) if args.ledger.is_none() => {
            let found =
                "none is configured; networks that are free need none, and the first paid job makes one";
            return findings.add(Check::new("ledger", Grade::Skipped, found));
        }
        Ok(_) => {}
        Err(error) => return findings.add(broken("ledger", &error)),
    }
    let ledger = match timeout(LEDGER, args.connect()).await {
        Ok(Ok(ledger)) => ledger,
        Ok(Err(error)) => return findings.add(broken("ledger", &error)),
        Err(_) => {
            let check = Check::new("ledger", Grade::Fault, format!("it did not answer within {LEDGER:?}"));
            return findings.add(check.mend("see whether its node runs and is reached from here"));
        }
    };
    match reached(&ledger).await {
        Ok(check) => findings.add(check),
        Err(error) => return findings.add(broken("ledger", &error)),
    }
    match accounts() {
        Ok(entries) if entries.is_empty() => {
            let check = Check::new("funds", Grade::Note, "this home has no account");
            return findings.add(
                check.mend("`tidemill wallet new NAME` makes one, which a requester or delegator needs"),
            );
        }
        Ok(_) => {}
        Err(error) => return findings.add(broken("funds", &error)),
    }
    if let Err(error) = accounted(findings, &ledger, account, money).await {
        findings.add(broken("funds", &error));
    }
}

/// Whether the ledger's clock and ours agree.
async fn reached(ledger: &Ledger) -> anyhow::Result<Check> {
    let block = ledger.chain.newest().await.map_err(unreachable)?;
    let found = format!(
        "{} answers: chain {}, block {}, with the contracts of its address book",
        without_login(&ledger.url),
        ledger.chain.chain_id(),
        block.number
    );
    Ok(in_time(found, block.time_s, unix_s()))
}

/// A block may be old, since an embedded ledger makes one only with a transaction; none is of the future.
fn in_time(found: String, block_s: u64, now_s: u64) -> Check {
    match block_s.saturating_sub(now_s) {
        ahead if ahead > AHEAD_S => {
            let found = format!("{found}; its newest block is {ahead} s ahead of this machine's clock");
            Check::new("ledger", Grade::Warning, found)
                .mend("set this machine's clock: deadlines are in its time")
        }
        _ => Check::new("ledger", Grade::Good, found),
    }
}

async fn accounted(
    findings: &mut Findings,
    ledger: &Ledger,
    args: &AccountArgs,
    money: Option<&Money>,
) -> anyhow::Result<()> {
    let entry = args.entry_or(TREASURY)?;
    let Some(address) = entry.address else {
        let found = format!("the file of the account {} does not say its address", entry.name);
        findings.add(Check::new("funds", Grade::Skipped, found));
        return Ok(());
    };
    let coins = ledger.chain.balance(address).await.map_err(unreachable)?;
    let staking = Staking::new(ledger.chain.clone(), &ledger.book).code(Code::Usage)?;
    let portfolio = staking.portfolio(address).await.code(Code::Host)?;
    let name = format!("{} ({address})", entry.name);
    findings.add(funds(&name, coins, &portfolio));
    findings.add(bond(&portfolio));
    // Nobody is asked for a password by a look, unless the account is named.
    if !args.is_given() && !password_beside(&entry.path).is_file() {
        let found = "the account has a password: name it with `--account` to try an escrow";
        findings.add(Check::new("escrow", Grade::Skipped, found));
        return Ok(());
    }
    let account = args.unlock_or(TREASURY)?;
    let escrows = escrows(ledger).await?;
    findings.add(voucher(&escrows, &account));
    findings.add(match money {
        None => Check::new("escrow", Grade::Skipped, "no coordinator answered that pays for work"),
        Some(money) => match same_ledger(money, &escrows) {
            Err(error) => broken("escrow", &error),
            Ok(()) if portfolio.free < TRIAL || coins.is_zero() => {
                let found =
                    format!("an escrow over {TRIAL} needs that much and some coin, and the account has less");
                Check::new("escrow", Grade::Skipped, found)
            }
            Ok(()) => match trial(&escrows, &account, money).await {
                Ok(()) => {
                    let found = format!("the ledger would open an escrow over {TRIAL}; nothing was sent");
                    Check::new("escrow", Grade::Good, found)
                }
                Err(error) => broken("escrow", &error),
            },
        },
    });
    Ok(())
}

/// What an account can pay with.
fn funds(name: &str, coins: Coin, portfolio: &Portfolio) -> Check {
    let found = format!("{name} has {} and {coins}", shown(portfolio.free));
    if coins.is_zero() {
        return Check::new("funds", Grade::Warning, format!("{found}: it cannot pay for a transaction")).mend(
            "send it some of the chain's coin; on this home's own ledger the treasury has some: `tidemill wallet send \
             \"0.1 ETH\" ADDRESS --account treasury`",
        );
    }
    if portfolio.free.is_zero() {
        return Check::new("funds", Grade::Note, format!("{found}: it cannot pay for jobs"));
    }
    Check::new("funds", Grade::Good, found)
}

/// What an account has at stake, and what it has earned.
fn bond(portfolio: &Portfolio) -> Check {
    let of = |wanted: Role| {
        let positions = portfolio.positions.iter();
        let values = positions.filter_map(|position| match position.pool {
            Pool::Bond(role, _) if role == wanted => Some(position.value),
            _ => None,
        });
        values.fold(Amount::ZERO, |sum, value| sum.checked_add(value).unwrap_or(sum))
    };
    let (provider, coordinator) = (of(Role::Provider), of(Role::Coordinator));
    let earned = match portfolio.earned.is_zero() {
        true => String::new(),
        false => format!("; {} earned, which `tidemill withdraw` pays out", shown(portfolio.earned)),
    };
    if provider.is_zero() && coordinator.is_zero() {
        let found = format!("nothing is bonded{earned}; a provider without a bond is checked more often");
        return Check::new("bond", Grade::Note, found)
            .mend("`tidemill bond \"500 TIDE\"`, where it is to provide");
    }
    let found =
        format!("{} bonded as a provider, {} as a coordinator{earned}", shown(provider), shown(coordinator));
    Check::new("bond", Grade::Good, found)
}

/// Signs a voucher for the ledger's contract and checks it, as a coordinator and a provider do.
fn voucher(escrows: &Escrows, account: &Account) -> Check {
    let trip = || -> anyhow::Result<()> {
        let key = ResultKey::from_bytes(&account.signer().to_bytes().0)?;
        let voucher = Voucher {
            escrow: EscrowId([0; 32]),
            provider: key.address(),
            amount: TRIAL,
            sequence: 1,
            total: TRIAL,
        };
        let contract = escrows.contract();
        Ok(voucher.sign(&contract, &key)?.verify(&contract, key.address())?)
    };
    match trip() {
        Ok(()) => Check::new("voucher", Grade::Good, "a voucher was signed and checked; it pays nobody"),
        Err(error) => broken("voucher", &error),
    }
}

/// Has the ledger say whether it would open an escrow.
async fn trial(escrows: &Escrows, account: &Account, money: &Money) -> anyhow::Result<()> {
    let chain = escrows.chain();
    let now_s = chain.now().await.map_err(unreachable)?.max(unix_s());
    let terms = EscrowTerms {
        coordinator: escrows.coordinator_of(money.account).await.code(Code::Host)?,
        voucher_key: money.account,
        budget: TRIAL,
        deadline_s: now_s.saturating_add(TRIAL_OPEN_S),
        fee_ppm: money.fee_ppm,
        spec_hash: [0; 32],
    };
    let mut salt = [0; 32];
    getrandom::fill(&mut salt)?;
    let call = escrows.open(account.signer(), &terms, salt).await.code(Code::Host)?;
    let request =
        TransactionRequest::default().from(account.address()).to(escrows.address()).input(call.into());
    let answer = chain.provider().call(request).await;
    answer.map(|_| ()).map_err(|error| unreachable(chain.error("eth_call", error)))
}

#[cfg(test)]
mod tests {
    use tidemill_ledger::{evm, staking::Position};

    use super::*;

    fn portfolio(free: Amount) -> Portfolio {
        Portfolio {
            free,
            earned: Amount::ZERO,
            positions: Vec::new(),
            thaws: Vec::new(),
            moves: Vec::new(),
            now: 0,
        }
    }

    #[test]
    fn an_account_without_coins_cannot_pay_for_a_transaction() {
        let without = funds("ann", Coin::ZERO, &portfolio(Amount::tide(5)));
        assert_eq!(without.grade, Grade::Warning);
        assert!(without.mend.expect("a command").contains("wallet send"));
    }

    #[test]
    fn bonds_are_told_by_role() {
        assert_eq!(bond(&portfolio(Amount::ZERO)).grade, Grade::Note);
        let operator = evm(tidemill_types::Address([7; 20]));
        let position = Position {
            pool: Pool::Bond(Role::Provider, operator),
            value: Amount::tide(500),
            shares: alloy::primitives::U256::from(1),
        };
        let bonded = bond(&Portfolio { positions: vec![position], ..portfolio(Amount::ZERO) });
        assert_eq!(bonded.grade, Grade::Good);
        assert!(bonded.found.contains("500 TIDE bonded as a provider"), "{}", bonded.found);
    }

    #[test]
    fn a_ledger_of_the_future_says_that_this_clock_is_behind() {
        assert_eq!(in_time("x".to_owned(), 1000, 5000).grade, Grade::Good);
        assert_eq!(in_time("x".to_owned(), 5100, 5000).grade, Grade::Good);
        assert_eq!(in_time("x".to_owned(), 5121, 5000).grade, Grade::Warning);
    }
}
