//! Jobs that are paid for, as a person runs them. Another client confirms who has what in the end.

mod deaths;
mod network;
mod outage;
mod sharing;
mod stakes;

use std::process::Command;

use serde_json::Value;

use crate::{
    ledger::{
        TIDE, balance,
        foundry::{self, Anvil},
        json, start, stop, wei,
    },
    support::{Place, wait_for},
};

/// Where the password of a place's accounts is.
const PASSWORD: [&str; 2] = ["--password-file", "password"];

const SUPPLY: u128 = 600_000_000 * TIDE;
/// The seed of the liquid stake, which is there from the beginning and belongs to nobody.
const SEED: u128 = TIDE;
/// What the treasury has at first.
const TREASURY: u128 = SUPPLY - SEED;

/// What the protocol takes of a payment.
const PROTOCOL_PERCENT: u128 = 2;

/// A dozen tasks of three sorts.
fn job(more: &str) -> String {
    format!(
        "name = \"paid\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"{{what}}\", \"{{n}}\"]\n\
         [tasks.matrix]\nwhat = [\"quick\", \"slow\", \"large\"]\nn = [1, 2, 3, 4]\n{more}"
    )
}

/// The contracts of a ledger, for a client that is not ours.
struct Witness {
    url: String,
    tide: String,
    staking: String,
    escrow: String,
    manager: String,
}

impl Witness {
    /// That of the ledger which this place's home is set to.
    fn of(place: &Place) -> Self {
        let status = json(place, &["ledger", "status"]);
        let at = |name: &str| {
            let contracts = status["contracts"].as_array().expect("a list");
            let contract = contracts.iter().find(|one| one["name"] == name).expect("it is there");
            contract["address"].as_str().expect("an address").to_owned()
        };
        let url = status["url"].as_str().expect("a URL").to_owned();
        Self {
            url,
            tide: at("Tide"),
            staking: at("ProviderStaking"),
            escrow: at("JobEscrow"),
            manager: at("AccessManager"),
        }
    }

    /// What Foundry's client answers.
    fn cast(&self, args: &[&str]) -> String {
        let ran = Command::new(foundry::program("cast")).args(args).args(["--rpc-url", &self.url]).output();
        let ran = ran.expect("cast starts");
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("text").trim().to_owned()
    }

    /// The first number of what a call gives.
    fn number(&self, args: &[&str]) -> u128 {
        let answer = self.cast(&[&["call"], args].concat());
        let word = answer.split_whitespace().next().expect("a number");
        word.parse().unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    fn tide_of(&self, account: &str) -> u128 {
        self.number(&[&self.tide, "balanceOf(address)(uint256)", account])
    }

    /// Checks that a run was settled as it says, and gives what its providers earned.
    fn confirms(&self, paid: &Value, payer: &str, had: u128) -> u128 {
        assert_eq!(paid["stage"], "closed", "{paid}");
        let [settled] = paid["transactions"].as_array().expect("a list").as_slice() else {
            panic!("a small job closes with one transaction: {paid}")
        };
        let hash = settled["transaction"].as_str().expect("a hash");
        let status = self.cast(&["receipt", hash, "status"]);
        assert!(status.starts_with('1') || status == "true", "{status}");
        assert_eq!(self.cast(&["receipt", hash, "gasUsed"]), settled["gas_used"].to_string());

        let of = |name: &str| wei(&paid[name]);
        let payees = paid["payees"].as_array().expect("a list");
        let sum = |name: &str| payees.iter().map(|payee| wei(&payee[name])).sum::<u128>();
        assert!(of("earned_wei") > 0 && !payees.is_empty());
        assert_eq!(of("earned_wei"), sum("earned_wei"));
        assert_eq!(sum("earned_wei"), sum("paid_wei"), "everyone is paid what it earned");
        assert_eq!(sum("paid_wei"), sum("received_wei") + of("fees_wei"));
        assert_eq!(of("deposited_wei"), of("earned_wei") + of("refunded_wei"));
        for payee in payees {
            assert_eq!(payee["released"], true, "{payee}");
        }
        assert_eq!(had - self.tide_of(payer), of("earned_wei"), "the rest is back");
        of("earned_wei")
    }

    /// Checks that what was paid is with the providers, as they know themselves, less so many percent of fees, which are
    /// still in the escrows' contract. `of`: the directories of the providers, or none for those of the home.
    fn shares(&self, place: &Place, of: &[&str], earned: u128, fees_percent: u128) {
        let (with_providers, fees) = (self.tide_of(&self.staking), self.tide_of(&self.escrow));
        assert_eq!(with_providers + fees, earned);
        // Of each payment they are rounded down once.
        let most = earned * fees_percent / 100;
        assert!(fees <= most && fees + 100 > most, "{fees} of {earned} are fees");
        let known = wait_for("what providers know", || {
            let known = match of {
                [] => vec![received(place, &[])],
                of => of.iter().map(|directory| received(place, &["--directory", directory])).collect(),
            };
            let known = known.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            (known.1 == with_providers).then_some(known)
        });
        assert_eq!(known, (earned, with_providers));
    }

    /// All TIDE there is: with these accounts, in the escrows, and with providers.
    fn is_all_there(&self, accounts: &[&str]) {
        let with = [accounts, &[self.escrow.as_str(), self.staking.as_str()]].concat();
        let sum: u128 = with.iter().map(|account| self.tide_of(account)).sum();
        assert_eq!(sum + SEED, SUPPLY);
        assert_eq!(self.number(&[&self.tide, "totalSupply()(uint256)"]), SUPPLY);
    }
}

/// What the providers of this home, or the one that is named, say that they have earned, and what reached them.
fn received(place: &Place, of: &[&str]) -> (u128, u128) {
    let earnings = json(place, &[&["earnings"], of].concat());
    let providers = earnings["providers"].as_array().expect("a list").iter();
    let escrows: Vec<_> = providers.flat_map(|one| one["escrows"].as_array().expect("a list")).collect();
    let sum = |name: &str| escrows.iter().map(|escrow| wei(&escrow[name])).sum();
    (sum("earned_wei"), sum("received_net_wei"))
}

/// The escrows of the treasury.
fn escrows(place: &Place, which: &[&str]) -> Vec<Value> {
    let list = json(place, &[&["escrow", "list", "--account", "treasury"], which].concat());
    list["escrows"].as_array().expect("a list").clone()
}

#[test]
fn a_run_ends_with_a_settled_escrow_on_the_ledger_of_its_home() {
    let place = Place::at_home("home");
    place.job(&job(""));
    let run = |out: &str| {
        let json = place.tidemill(&["run", "job.toml", "--out", out, "--json"]).code(0).json();
        assert_eq!(json["network"]["embedded"], true);
        json["payment"].clone()
    };
    let (first, second) = (run("one"), run("two"));
    place.run_job(&["--out", "here"]).code(0);
    assert!(place.tree("one") == place.tree("here"), "a run in a network gives other bytes");

    let node = start(&place);
    let witness = Witness::of(&place);
    let treasury = balance(&place, "treasury")["address"].as_str().expect("an address").to_owned();
    let (of_first, of_second) = (wei(&first["earned_wei"]), wei(&second["earned_wei"]));
    let earned = witness.confirms(&second, &treasury, TREASURY - of_first) + of_first;
    witness.confirms(&first, &treasury, TREASURY - of_second);
    witness.shares(&place, &[], earned, PROTOCOL_PERCENT);
    witness.is_all_there(&[&treasury]);

    assert_eq!(escrows(&place, &[]).len(), 0, "none is open");
    assert_eq!(escrows(&place, &["--all"]).len(), 2);
    stop(node);
}

#[test]
fn a_run_ends_with_a_settled_escrow_on_another_chain() {
    let anvil = Anvil::start();
    let place = Place::at_home("home");
    place.job(&job(""));
    let rich = rich(&place, &anvil);
    let as_rich = ["--account", "rich", "--password-file", "password", "--confirmations", "1"];
    let run = ["run", "job.toml", "--out", "out", "--json"];
    let json = place.tidemill(&[&run[..], &as_rich].concat()).code(0).json();
    let witness = Witness::of(&place);
    let earned = witness.confirms(&json["payment"], &rich, TREASURY);
    witness.shares(&place, &[], earned, PROTOCOL_PERCENT);
    witness.is_all_there(&[&rich]);
}

/// Puts the contracts on anvil, for an account `rich` that has all TIDE; gives its address.
fn rich(place: &Place, anvil: &Anvil) -> String {
    place.write("password", "of a test");
    place.write("key", foundry::rich().to_bytes().to_string());
    json(place, &["wallet", "import", "rich", "--key-file", "key", "--password-file", "password"]);
    let deploy = ["ledger", "deploy", "--rpc", anvil.url(), "--password-file", "password", "--yes"];
    json(place, &deploy);
    foundry::rich().address().to_string()
}

#[test]
fn a_job_costs_at_most_its_max_price() {
    let place = Place::at_home("home");
    // One task at its limits is above that: nothing is locked.
    place.job(&job("[policy]\nmax_price = \"0.000000001 TIDE\"\n"));
    place
        .tidemill(&["run", "job.toml", "--out", "out"])
        .code(2)
        .says(&["max_price", "a single task may cost"]);
    assert!(!place.path("out").exists());

    // Enough for what the tasks use, though not for all of them at their limits at a time.
    place.job(&job("[policy]\nmax_price = \"0.5 TIDE\"\n"));
    let json = place.tidemill(&["run", "job.toml", "--out", "out", "--json"]).code(0).json();
    let paid = &json["payment"];
    assert_eq!(wei(&paid["deposited_wei"]), TIDE / 2, "{paid}");
    assert!(wei(&paid["earned_wei"]) <= TIDE / 2);
}

#[test]
fn a_free_run_needs_no_ledger_and_pays_nobody() {
    let place = Place::at_home("home");
    place.job(&job(""));
    let json = place.tidemill(&["run", "job.toml", "--out", "out", "--free", "--json"]).code(0).json();
    assert_eq!(json["payment"], Value::Null);
    assert!(!place.path("home/ledger").exists());
    place.tidemill(&["earnings"]).code(0);
    place.tidemill(&["run", "job.toml", "--free", "--account", "treasury"]).code(2);
}

/// A requester who fails its job still pays for what was done of it.
#[test]
fn what_a_failed_job_did_is_paid() {
    let place = Place::at_home("home");
    place.job(
        "name = \"fails\"\nretries = 0\n[program]\npath = \"puppet.wasm\"\nargs = [\"{what}\"]\n\
         [tasks.matrix]\nwhat = [\"slow\", \"exit\"]\n",
    );
    let json = place.tidemill(&["run", "job.toml", "--out", "out", "--json"]).code(1).json();
    let paid = &json["payment"];
    assert_eq!(paid["stage"], "closed", "{json}");
    assert_eq!(wei(&paid["deposited_wei"]), wei(&paid["earned_wei"]) + wei(&paid["refunded_wei"]));
    let net: u128 =
        paid["payees"].as_array().expect("a list").iter().map(|one| wei(&one["received_wei"])).sum();
    assert_eq!(received(&place, &[]), (wei(&paid["earned_wei"]), net));
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let place = Place::at_home("home");
    let node = start(&place);
    let unknown = format!("0x{}", "ab".repeat(32));
    let as_treasury = ["--account", "treasury"];
    let refused = |args: &[&str], words: &[&str]| {
        place.tidemill(&[args, &as_treasury].concat()).code(2).says(words);
    };
    refused(&["escrow", "top-up", &unknown, "1 TIDE"], &["knows no escrow", "escrow list"]);
    refused(&["escrow", "top-up", &unknown, "0 TIDE"], &["nothing would be added"]);
    refused(&["escrow", "end", &unknown, "--on-ledger"], &["knows no escrow"]);
    refused(&["collect", &unknown], &["no provider of this home has a voucher", "tidemill earnings"]);
    place.tidemill(&["earnings", "--directory", "nowhere"]).code(2).says(&["is no directory"]);
    stop(node);
}

#[test]
fn the_key_of_a_node_becomes_an_account_that_can_withdraw() {
    let place = Place::at_home("home");
    place.job(&job(""));
    place.tidemill(&["run", "job.toml", "--out", "out"]).code(0);
    let node = start(&place);
    let earnings = json(&place, &["earnings"]);
    let directory = earnings["providers"][0]["directory"].as_str().expect("a path");
    let key = format!("{directory}/result.key");
    let told = place.tidemill(&["earnings"]).code(0).stdout;
    assert!(told.contains(&key), "{told}");
    // Escrows, jobs and rows name each other.
    let of_provider = &earnings["providers"][0]["escrows"][0];
    let of_account = &escrows(&place, &["--all"])[0];
    assert_eq!(of_provider["escrow"], of_account["escrow"]);
    assert_eq!(
        (&of_account["jobs"][0]["job_id"], &of_account["jobs"][0]["job"]),
        (&of_provider["jobs"][0]["job_id"], &"paid".into())
    );
    let [escrow, job] =
        [&of_account["escrow"], &of_account["jobs"][0]["job_id"]].map(|id| id.as_str().expect("an id"));
    let (escrow, job) = (&escrow[..10], &job[..8]);
    assert!(told.contains(&format!("{job}  {escrow}")), "{told}");
    assert!(told.contains(&format!("escrow {escrow} for the job {job}: earned")), "{told}");
    let list = place.tidemill(&["escrow", "list", "--all", "--account", "treasury"]).code(0).stdout;
    assert!(list.contains(&format!("{escrow}  {job}  closed")), "{list}");
    assert!(list.contains(&format!("pays for the job {job} (paid)")), "{list}");
    place.write("password", "of a test");
    json(&place, &["wallet", "import", "node", "--key-file", &key, "--password-file", "password"]);
    let earned = wei(&balance(&place, "node")["earned_wei"]);
    assert_eq!(earned, received(&place, &["--directory", directory]).1);
    json(&place, &["wallet", "send", "0.1 ETH", "node", "--account", "treasury"]);
    json(&place, &["withdraw", "--account", "node", "--password-file", "password"]);
    let after = balance(&place, "node");
    assert_eq!((wei(&after["earned_wei"]), wei(&after["free_wei"])), (0, earned));
    stop(node);
}
