//! `tidemill escrow end`: no more work out of an escrow.

use tidemill_api::SettledEscrow;
use tidemill_ledger::{escrow, escrow::Phase, ours};
use tidemill_net::wire::{Refusal, Reply, Request};
use tidemill_types::EscrowId;

use super::which::Which;
use crate::{
    commands::bond,
    exit::{self, Code, Exit},
    json,
    ledger::{Acting, Purse, TREASURY},
    money::{Payer, print_payment, settlement},
    network::{self, Join},
    requester::{Requester, off_the_protocol},
    runtime,
};

/// End an escrow: its providers are paid, and the rest comes back.
///
/// Its coordinator is asked first: with the word of every provider it closes at once. Where it does not answer, or with
/// `--on-ledger`, the escrow is ended on the ledger: providers collect their vouchers, and the rest is yours after the
/// collect window (`tidemill escrow refund`).
#[derive(clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    /// Which one: its id, or how that begins
    escrow: Which,
    /// Do not ask the coordinator
    #[arg(long)]
    on_ledger: bool,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let ticket = match args.on_ledger {
        true => None,
        false => network::known(args.join.join.as_deref())?,
    };
    runtime::block_on(async {
        let id = args.escrow.find(&args.acting).await?;
        if let Some(ticket) = ticket {
            match ask(args, id, ticket).await {
                Ok(()) => return Ok(()),
                Err(error) if is_no_help(&error) => {
                    eprintln!("{error:#}; the escrow is ended on the ledger instead");
                }
                Err(error) => return Err(error),
            }
        }
        end(args, id).await
    })
}

/// Whether the coordinator cannot end it: it is not there, or no job of this node has used the escrow.
fn is_no_help(error: &anyhow::Error) -> bool {
    exit::code_of(error) == Code::Host || error.to_string() == Refusal::NoSuchEscrow.to_string()
}

/// Has the coordinator settle it.
async fn ask(args: &Args, id: EscrowId, ticket: tidemill_net::ticket::Ticket) -> anyhow::Result<()> {
    let mut requester = Requester::connect(ticket).await?;
    match requester.call(Request::CloseEscrow { escrow: id }).await? {
        Reply::Escrow(_) => {}
        _ => return Err(off_the_protocol()),
    }
    let payment = settlement(&mut requester, id, args.acting.json).await?;
    requester.close().await;
    if args.acting.json {
        json::print(&SettledEscrow { payment });
    } else {
        print_payment(&payment);
    }
    Ok(())
}

/// Ends it on the ledger.
async fn end(args: &Args, id: EscrowId) -> anyhow::Result<()> {
    let purse = Purse::open(&args.acting.ledger, args.acting.account.unlock_or(TREASURY)?).await?;
    let sending = async {
        let payer = Payer::new(purse.ledger.clone(), purse.account.clone()).await?;
        let view = payer.view(id).await?;
        if view.phase() != Phase::Open {
            let message =
                format!("the escrow {id} is not open: it is {}", super::list::phase(view.phase()).word());
            return Err(Exit::new(Code::Usage, message).into());
        }
        let account = ours(purse.address());
        if ![view.requester, view.coordinator, view.voucher_key].contains(&account) {
            let message = format!("the escrow {id} is that of {}, and not of {account}", view.requester);
            return Err(Exit::new(Code::Usage, message).into());
        }
        let label = format!("end the escrow {}", id.short());
        purse.call(&label, payer.escrows.address(), escrow::end(id)).await
    };
    let sent = sending.await;
    purse.close().await;
    bond::print(&[sent?], args.acting.json);
    Ok(())
}
