//! `tidemill api-key fund`, and the same for a key that is made.

use tidemill_api::OpenedEscrow;
use tidemill_http::{KeyId, Keys};
use tidemill_types::{Amount, EscrowId, Millis};

use super::failed;
use crate::{
    exit::{self, Code, Exit},
    json,
    ledger::Sent,
    money::{PayArgs, Payer},
    network::{self, Join},
    requester::Requester,
    runtime, serving,
};

/// How long money stays locked for a key where nobody says, in milliseconds: near the longest that the contract takes.
const USUALLY_OPEN: Millis = Millis(13 * 86_400_000);

/// Lock money for an API key: what it asks is paid out of that from now on, in the place of what paid before.
///
/// `tidemill escrow top-up` adds to it, and `tidemill escrow end` ends it and gives the rest back.
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// The key's id, as `tidemill api-key list` shows it
    #[arg(value_name = "ID")]
    id: KeyId,
    /// How much, like "5 TIDE"
    #[arg(value_name = "AMOUNT")]
    amount: Amount,
    #[command(flatten)]
    source: Source,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Where the money of a key comes from, and in which network it counts.
#[derive(clap::Args)]
pub struct Source {
    /// How long the money stays locked, at most about 14 days; then what is left goes back
    #[arg(long, value_name = "TIME", default_value_t = USUALLY_OPEN)]
    open_for: Millis,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    pay: PayArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let keys = serving::keys()?;
    let (escrow, sent) = args.source.fund(&keys, args.id, args.amount)?;
    if args.json {
        json::print(&OpenedEscrow { escrow: escrow.to_string(), transaction: sent.summary() });
    } else {
        sent.print();
        println!("{}", in_words(args.id, args.amount, escrow));
    }
    Ok(())
}

/// What a person is told of money that was locked.
pub fn in_words(id: KeyId, amount: Amount, escrow: EscrowId) -> String {
    format!(
        "{amount} pay for what {id} asks. `tidemill escrow top-up {} AMOUNT` adds to it; `tidemill escrow end {}` gives back \
         what is left",
        escrow.short(),
        escrow.short(),
    )
}

impl Source {
    /// Locks money for a key.
    ///
    /// # Errors
    /// With a code when there is no such key, the network is free, the account has too little, or the ledger refuses.
    pub fn fund(&self, keys: &Keys, id: KeyId, amount: Amount) -> anyhow::Result<(EscrowId, Sent)> {
        keys.get(id).map_err(failed)?;
        let ticket = network::required(self.join.join.as_deref())?;
        runtime::block_on(async {
            let mut requester = Requester::connect(ticket).await?;
            let terms = requester.terms_of(Vec::new()).await?;
            requester.close().await;
            let money = terms.money.ok_or_else(|| {
                Exit::new(Code::Usage, "this network is free: its API keys need no money")
                    .hint("make the key without `--budget`")
            })?;
            let payer = Payer::new(self.pay.ledger.connect().await?, self.pay.payer()?).await?;
            let note = |pay: &_| keys.set_pay(id, pay).map_err(failed);
            let (pay, sent) = payer.open_noted(id.node(), &money, amount, Some(self.open_for), note).await?;
            Ok((pay.escrow, sent))
        })
    }
}
