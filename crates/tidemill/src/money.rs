//! Money in the commands: which ledger pays and in whose name, what a job would cost, and what became of it.

mod earners;
mod payer;
mod quote;
mod settlement;

use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_ledger::{EscrowView, Escrows, keystore::Account};
use tidemill_net::wire::Money;

pub use self::{
    earners::{COORDINATOR_COINS, coordinator, fund, poll, provider_sender, register},
    payer::{Payer, forget_escrow},
    quote::{Quote, shown, tide},
    settlement::{PaymentSummary, settlement},
};
use crate::{
    exit::{Code, Exit, WithCode},
    ledger::{self, AccountArgs, Ledger, LedgerArgs, TREASURY, kept, own::OwnLedger},
};

/// The options of every command that may pay for work.
#[derive(clap::Args)]
pub struct PayArgs {
    #[command(flatten)]
    pub account: AccountArgs,
    #[command(flatten)]
    pub ledger: LedgerArgs,
}

/// A ledger that a command uses: somebody's, or that of this home, which then is served as long as the command lasts.
pub enum Source {
    /// It is there.
    There(Box<Ledger>),
    /// It is served by this process.
    Own(Box<Ledger>, OwnLedger),
}

impl Source {
    /// The ledger that is meant, or else that of this home, which is made the first time. Says so where it is made.
    ///
    /// # Errors
    /// With a code when it does not answer, or cannot be made.
    pub async fn find_or_host(args: &LedgerArgs, quiet: bool) -> anyhow::Result<Self> {
        if args.ledger.is_some() {
            return Ok(Self::There(Box::new(args.connect().await?)));
        }
        let meant = match kept()? {
            None => None,
            Some(kept) => match args.connect().await {
                Ok(ledger) => return Ok(Self::There(Box::new(ledger))),
                Err(error) if !ledger::own::exists()? => return Err(error),
                // Nobody serves the ledger of this home: then this process does, if that is the one.
                Err(error) => Some((kept.book.chain_id, error)),
            },
        };
        let (own, made) = OwnLedger::host().await?;
        if let Some((chain_id, error)) = meant
            && chain_id != own.book.chain_id
        {
            own.stop().await;
            return Err(error);
        }
        if let Some((chain_id, treasury)) = made
            && !quiet
        {
            eprint!("{}", treasury.words(chain_id));
        }
        let mut ledger = ledger::connect(&own.url, Some(own.book.clone())).await?;
        if let Some(confirmations) = args.confirmations {
            ledger.settings.confirmations = confirmations;
        }
        Ok(Self::Own(Box::new(ledger), own))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        match self {
            Self::There(ledger) | Self::Own(ledger, _) => ledger,
        }
    }

    /// Waits until what is served for it cannot go on, and says why; for ever, when all goes well.
    pub async fn failed(&self) -> String {
        match self {
            Self::There(_) => std::future::pending().await,
            Self::Own(_, own) => own.failed().await,
        }
    }

    /// Ends what was served for it.
    pub async fn close(self) {
        if let Self::Own(_, own) = self {
            own.stop().await;
        }
    }
}

impl PayArgs {
    /// The account that pays: the one that is named, the only one there is, or the treasury of this home's own ledger.
    ///
    /// # Errors
    /// As those of [`AccountArgs::unlock`].
    pub fn payer(&self) -> anyhow::Result<Account> {
        self.account.unlock_or(TREASURY)
    }
}

/// The escrows of a ledger.
///
/// # Errors
/// With a code when its address book names none or it does not answer.
pub async fn escrows(ledger: &Ledger) -> anyhow::Result<Escrows> {
    Escrows::new(ledger.chain.clone(), &ledger.book).await.code(Code::Host)
}

/// An escrow as of now: where blocks come only with transactions, the newest is an old one, and the next will be of now.
pub fn as_of_now(view: EscrowView) -> EscrowView {
    EscrowView { now_s: view.now_s.max(unix_s()), ..view }
}

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Checks that a network pays on this ledger.
///
/// # Errors
/// With [`Code::Usage`] when it pays on another one.
pub fn same_ledger(money: &Money, escrows: &Escrows) -> anyhow::Result<()> {
    let (theirs, ours) = (money.contract, escrows.contract());
    if theirs == ours {
        return Ok(());
    }
    let message = format!(
        "the network pays on the ledger {} (escrows at {}), and this home is set to the ledger {} (escrows at {})",
        theirs.chain_id, theirs.address, ours.chain_id, ours.address
    );
    Err(Exit::new(Code::Usage, message)
        .hint("`tidemill ledger use URL` with a node of the network's ledger; ask whoever runs the coordinator for it")
        .into())
}
